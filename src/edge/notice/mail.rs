//! A notice as a mail, over SMTP.
//!
//! One connection for each message: notices are few, and the settings may change between two. What is easy to get wrong:
//! a server that is asked to authenticate without TLS sees the password in clear, so this is refused unless it is on this
//! machine; and what a server says to a login that it refuses may repeat it, so that is not passed on.

use std::time::Duration;

use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message as Mail, Tokio1Executor,
    message::{
        Mailbox,
        header::{ContentType, Header, HeaderName, HeaderValue},
    },
    transport::smtp::{self, PoolConfig, authentication::Credentials},
};

use super::text;
use crate::{
    error::{Error, ErrorKind, Result},
    outside::{self, Contents},
    protocol::notice::Message,
};

/// The most that one answer of the server may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Tells vacation responders and the like to stay silent (RFC 3834).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(AutoSubmitted)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// Sends one message to these addresses, as one mail.
pub(super) async fn send(contents: &Contents, message: &Message, to: &[String]) -> Result<()> {
    let settings = contents.mail.as_ref().ok_or_else(|| {
        Error::new(ErrorKind::NotFound, "this replica knows no mail server")
            .with_remedy("add [mail] to its local file")
    })?;
    let mail = written(&settings.from, message, to)?;
    transport(settings, contents)?.send(mail).await.map_err(explain)?;
    Ok(())
}

fn written(from: &str, message: &Message, to: &[String]) -> Result<Mail> {
    let wrong = |what: &str, text: &str| Error::invalid(format!("{what} is no mail address: {text}"));
    let from: Mailbox = from.parse().map_err(|_| wrong("`from` of [mail]", from))?;
    let id = format!("<sexton-{}@{}>", message.key, from.email.domain());
    let mut mail = Mail::builder()
        .from(from)
        .subject(text::subject(message))
        .message_id(Some(id))
        .header(AutoSubmitted)
        .header(ContentType::TEXT_PLAIN);
    for address in to {
        mail = mail.to(address.parse().map_err(|_| wrong("the recipient", address))?);
    }
    mail.body(text::body(message))
        .map_err(|cause| Error::new(ErrorKind::Outside, "the mail cannot be written").caused_by(cause))
}

fn transport(settings: &outside::Mail, contents: &Contents) -> Result<AsyncSmtpTransport<Tokio1Executor>> {
    let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(&settings.url)
        .map_err(|cause| Error::invalid("`url` of [mail] is wrong").caused_by(cause))?
        .timeout(Some(ANSWER_TIMEOUT))
        .pool_config(PoolConfig::new().max_size(1));
    let (Some(user), Some(password)) = (&settings.user, &settings.password) else {
        return Ok(builder.build());
    };
    if !keeps_secrets(&settings.url) {
        return Err(Error::new(ErrorKind::Refused, "the mail server would get the password in clear")
            .with_remedy("let `url` of [mail] be smtps://HOST or smtp://HOST?tls=required"));
    }
    let password = contents.secrets.get(password)?.expose().to_owned();
    Ok(builder.credentials(Credentials::new(user.clone(), password)).build())
}

/// Whether nobody in between can read along: TLS, or this machine.
fn keeps_secrets(url: &str) -> bool {
    let host = url.split("://").nth(1).unwrap_or_default();
    let host = host.split(['/', '?']).next().unwrap_or_default();
    let loopback = ["localhost", "127.0.0.1", "[::1]"];
    let here = loopback
        .iter()
        .any(|name| host.strip_prefix(name).is_some_and(|port| port.is_empty() || port.starts_with(':')));
    url.starts_with("smtps://") || url.contains("tls=required") || here
}

/// What went wrong, without what a server says to a login that it refuses.
fn explain(error: smtp::Error) -> Error {
    const REFUSED_LOGIN: [&str; 4] = ["530", "534", "535", "538"];
    let code = error.status().map(|code| code.to_string());
    match code {
        Some(code) if REFUSED_LOGIN.contains(&code.as_str()) => {
            Error::new(ErrorKind::Denied, format!("the mail server refuses the login ({code})"))
                .with_remedy("see to `user` and `password` of [mail]")
        }
        _ => Error::new(ErrorKind::Outside, "the mail server did not take it").caused_by(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_over_tls_or_stays_here() {
        for url in [
            "smtps://mail.example.org",
            "smtp://mail.example.org?tls=required",
            "smtp://localhost:2525",
            "smtp://[::1]:25",
        ] {
            assert!(keeps_secrets(url), "{url}");
        }
        for url in [
            "smtp://mail.example.org",
            "smtp://localhost.example.org",
            "smtp://mail.example.org?tls=opportunistic",
        ] {
            assert!(!keeps_secrets(url), "{url}");
        }
    }

    #[test]
    fn a_mail_has_one_of_each_header_whatever_stands_in_the_row() {
        let job = Some("x\r\nBcc: victim@example.org\r\n\r\ny".to_owned());
        let message = Message { job, ..Message::test("mail:ops@example.org") };
        let message = Message { event: "failed".to_owned(), ..message };
        let mail = written("Sexton <sexton@example.org>", &message, &["ops@example.org".to_owned()])
            .expect("a mail");
        let text = String::from_utf8(mail.formatted()).expect("it is text");
        let (headers, _) = text.split_once("\r\n\r\n").expect("headers and a body");
        assert!(!headers.lines().any(|line| line.to_lowercase().starts_with("bcc")), "{headers}");
        for header in [
            "From: ",
            "To: ",
            "Subject: ",
            "Message-ID: <sexton-",
            "Auto-Submitted: auto-generated",
            "Date: ",
        ] {
            assert_eq!(
                headers.lines().filter(|line| line.starts_with(header)).count(),
                1,
                "{header}: {headers}"
            );
        }
        assert_eq!(mail.envelope().to().len(), 1);
        assert!(
            written(
                "Sexton <sexton@example.org>",
                &message,
                &["a@b.example\r\nRCPT TO:<c@d.example>".to_owned()]
            )
            .is_err()
        );
    }
}
