//! The client: sends one call by the rules of the local file, and says what came of it.
//!
//! What is easy to get wrong: a name could resolve to a public address when it is checked and to a private one when it is
//! connected to. So the resolver of the client itself checks, and what it lets through is what is connected to. Never
//! a redirect, never a proxy from the environment.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use reqwest::{
    Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use tokio::time::Instant;

use super::{
    Answer, Call, Class, Target,
    resolve::{Checked, Forbidden},
    sign::{Signed, sign},
    tls::tls,
};
use crate::{
    error::{Error, ErrorKind, Result},
    outside::Contents,
};

/// How much of an answer is read.
const READ_MAX: usize = 64 * 1024;
/// How much of it is kept.
const KEPT_MAX: usize = 10_000;

/// Sends calls by one state of the local file. It keeps connections; make it once.
pub struct Client {
    contents: Arc<Contents>,
    /// For public addresses alone, and for private ones too.
    public: reqwest::Client,
    private: reqwest::Client,
    /// Why no certificate can be verified here.
    no_roots: Option<String>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// Where a call goes, by the rules.
struct Place {
    url: Url,
    private_addresses: bool,
}

impl Client {
    /// A client by these contents.
    ///
    /// # Errors
    /// If the certificates that `[http]` names cannot be read.
    pub fn new(contents: Arc<Contents>) -> Result<Self> {
        let (tls, no_roots) = tls(&contents)?;
        let build = |private_addresses| {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .dns_resolver(Arc::new(Checked { private_addresses }))
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .user_agent(concat!("sexton/", env!("CARGO_PKG_VERSION")))
                .build()
                .map_err(|cause| {
                    Error::new(ErrorKind::Outside, "the HTTP client does not start").caused_by(cause)
                })
        };
        Ok(Client { public: build(false)?, private: build(true)?, contents, no_roots })
    }

    /// Sends a call and reads its answer.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`], [`ErrorKind::NotFound`] or [`ErrorKind::Invalid`] if the replica's rules do not let
    /// it go out: nothing was sent. Whatever the other side or the network does is an [`Answer`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; whether the other side acted is not known.
    pub async fn send(&self, call: &Call) -> Result<Answer> {
        let place = self.locate(call)?;
        let url = place.url.clone();
        let content_type = content_type(call);
        let signed = sign(call, &url, &content_type, &self.contents.secrets, Timestamp::now())?;
        let headers = headers(call, &content_type, &signed)?;
        let client = if place.private_addresses { &self.private } else { &self.public };
        let method = reqwest::Method::from_bytes(call.method.as_str().as_bytes())
            .map_err(|cause| Error::invalid("no method of HTTP").caused_by(cause))?;
        let mut request = client.request(method, url).headers(headers);
        if let Some(body) = &call.body {
            request = request.body(body.text.clone());
        }
        let begun = Instant::now();
        let exchanged = tokio::time::timeout(call.timeout, exchange(request, call)).await;
        let duration = begun.elapsed();
        let mut answer = match exchanged {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => unanswered(&error, &place)?,
            Err(_) => Answer::none(Class::Timeout, format!("no whole answer within {:?}", call.timeout)),
        };
        answer.duration = duration;
        answer.strike_out(&signed.hidden);
        Ok(answer)
    }

    /// Finds the URL, and whether the replica may call it.
    fn locate(&self, call: &Call) -> Result<Place> {
        let rules = &self.contents.http;
        let (text, private_addresses, plain_http, section) = match &call.target {
            Target::Url(url) => (url.clone(), rules.private_addresses, rules.plain_http, "http".to_owned()),
            Target::Endpoint { name, path } => {
                let endpoint = self.contents.endpoints.get(name).ok_or_else(|| {
                    Error::new(
                        ErrorKind::NotFound,
                        format!("this replica has no endpoint of the name {name}"),
                    )
                    .with_remedy(format!("add [endpoints.{name}] to its local file"))
                })?;
                let url = match path.as_str() {
                    "" => endpoint.url.clone(),
                    path => {
                        format!("{}/{}", endpoint.url.trim_end_matches('/'), path.trim_start_matches('/'))
                    }
                };
                (url, endpoint.private_addresses, endpoint.plain_http, format!("endpoints.{name}"))
            }
        };
        let mut url = parse_url(&text)?;
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        let host = url.host_str().unwrap_or_default();
        if matches!(call.target, Target::Url(_)) && !rules.hosts.iter().any(|pattern| pattern.matches(host)) {
            return Err(Error::new(
                ErrorKind::Refused,
                format!("the host {host} is not in this replica's list"),
            )
            .with_remedy("add it to `hosts` of [http] in the local file"));
        }
        if url.scheme() == "http" && !plain_http {
            return Err(Error::new(ErrorKind::Refused, format!("{host} would be called without TLS"))
                .with_remedy(format!(
                    "use https://, or set plain_http = true in [{section}] of the local file"
                )));
        }
        if let (Some(reason), "https") = (&self.no_roots, url.scheme()) {
            return Err(Error::new(
                ErrorKind::Refused,
                format!("no certificate can be verified here: {reason}"),
            )
            .with_remedy("install the system's CA certificates, or name a file as `roots` of [http]"));
        }
        // An address as the host does not come to the resolver.
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            let forbidden = Checked { private_addresses }.forbids(address);
            if let Some(reach) = forbidden {
                return Err(Forbidden { host: host.to_owned(), address, reach }.refusal(&section));
            }
        }
        Ok(Place { url, private_addresses })
    }
}

/// Reads a URL that a call may go to: http or https, with a host, without credentials; its fragment is cut off.
///
/// # Errors
/// [`ErrorKind::Invalid`], saying what is wrong.
pub fn parse_url(text: &str) -> Result<Url> {
    let mut url = Url::parse(text).map_err(|cause| Error::invalid("is no URL").caused_by(cause))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(Error::invalid("takes a URL that begins with https:// or http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::invalid("must hold no credentials; `auth` names them"));
    }
    url.set_fragment(None);
    Ok(url)
}

fn content_type(call: &Call) -> String {
    let own = call.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let by_body = || call.body.as_ref().map_or("", |body| body.content_type).to_owned();
    own.map_or_else(by_body, |(_, value)| value.clone())
}

fn headers(call: &Call, content_type: &str, signed: &Signed) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let mut add = |name: &str, value: &str| -> Result<()> {
        let wrong = || Error::invalid(format!("the header {name} cannot be sent"));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok(())
    };
    if !content_type.is_empty() {
        add(CONTENT_TYPE.as_str(), content_type)?;
    }
    for (name, value) in &signed.headers {
        add(name, value)?;
    }
    add("idempotency-key", &call.idempotency_key)?;
    if let Some(token) = &call.token {
        add("sexton-token", token)?;
    }
    Ok(headers)
}

async fn exchange(request: reqwest::RequestBuilder, call: &Call) -> Result<Answer, reqwest::Error> {
    let mut response = request.send().await?;
    let status = response.status().as_u16();
    let named = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let headers = response.headers().iter().map(named).collect();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?));
    let (mut body, mut more) = (Vec::new(), false);
    while !more && let Some(chunk) = response.chunk().await? {
        more = body.len() + chunk.len() > READ_MAX;
        body.extend_from_slice(&chunk[..chunk.len().min(READ_MAX - body.len())]);
    }
    let (class, error) = match status {
        _ if call.ok.contains(status) => (Class::Ok, None),
        400..=499 => (Class::Http4xx, Some(format!("status {status}"))),
        500..=599 => (Class::Http5xx, Some(format!("status {status}"))),
        300..=399 => (Class::Other, Some(format!("status {status}: redirects are not followed"))),
        _ => (Class::Other, Some(format!("status {status}"))),
    };
    let text = String::from_utf8_lossy(&body).into_owned();
    let body_bytes = body.len();
    let duration = Duration::ZERO;
    Ok(Answer {
        class,
        status: Some(status),
        headers,
        body: text,
        body_bytes,
        more,
        duration,
        retry_after,
        error,
    })
}

/// Seconds, or a date: RFC 9110, 10.2.3.
fn retry_after(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO))
}

/// What it means that no whole answer came.
fn unanswered(error: &reqwest::Error, place: &Place) -> Result<Answer> {
    let mut texts = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(found) = cause {
        if let Some(forbidden) = found.downcast_ref::<Forbidden>() {
            let section = if place.private_addresses { "" } else { "http" };
            return Err(forbidden.refusal(section));
        }
        let text = found.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
        cause = found.source();
    }
    let class = if error.is_timeout() {
        Class::Timeout
    } else if error.is_connect() {
        Class::Connect
    } else {
        Class::Other
    };
    let what = if class == Class::Connect { "cannot be connected to" } else { "gave no whole answer" };
    let host = place.url.host_str().unwrap_or_default();
    Ok(Answer::none(class, format!("{host} {what}: {}", texts.join(": "))))
}

impl Answer {
    fn none(class: Class, error: String) -> Self {
        Answer {
            class,
            status: None,
            headers: Vec::new(),
            body: String::new(),
            body_bytes: 0,
            more: false,
            duration: Duration::ZERO,
            retry_after: None,
            error: Some(error),
        }
    }

    /// Strikes out secrets, cuts the body to what is kept, and replaces what the database cannot store.
    fn strike_out(&mut self, hidden: &[String]) {
        let clean = |text: &mut String| {
            for secret in hidden {
                // As it was sent, and as JSON would quote it.
                let quoted = serde_json::Value::from(secret.as_str()).to_string();
                for written in [secret.as_str(), quoted.trim_matches('"')] {
                    if text.contains(written) {
                        *text = text.replace(written, "[secret]");
                    }
                }
            }
            if text.contains('\0') {
                *text = text.replace('\0', "\u{fffd}");
            }
        };
        clean(&mut self.body);
        self.headers.iter_mut().for_each(|(_, value)| clean(value));
        self.error.iter_mut().for_each(clean);
        if self.body.len() > KEPT_MAX {
            let border = (0..=KEPT_MAX).rev().find(|at| self.body.is_char_boundary(*at)).unwrap_or(0);
            self.body.truncate(border);
        }
    }
}
