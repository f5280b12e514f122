//! The one way to send mail that the local file names.
//!
//! Only the data; sending is the feature `mail`'s. What is easy to get wrong: the password is the name of a secret.

/// `[mail]` of the local file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// `smtps://HOST[:PORT]` (TLS from the start), `smtp://HOST[:PORT]?tls=required` (STARTTLS), or plain `smtp://…`.
    /// No credentials in it.
    pub url: String,
    /// Whom to log in as; `None`: nobody.
    pub user: Option<String>,
    /// The name of the secret that is the password.
    pub password: Option<String>,
    /// The sender: `Sexton <sexton@example.com>`.
    pub from: String,
}
