//! How a session to PostgreSQL is opened: where to, by which TLS, with which settings, within what time.
//!
//! It is not a pool and never will be: a session here *is* the identity of what it holds (advisory locks die
//! with it), and a pool's recycling would hide just the event that we live from. What is easy to get wrong:
//! the client library's `connect_timeout` covers the TCP connect of one address alone, so a server that
//! accepts and stays silent would hang us; hence the timeout around the whole of it, divided evenly among the
//! hosts, so that one that is silent leaves time for the next.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_postgres::{AsyncMessage, CancelToken, Client, Config, NoTls};

use crate::error::{Error, ErrorKind, Result};

use super::refusal;

/// How the session is encrypted.
#[derive(Clone)]
#[non_exhaustive]
pub enum Tls {
    /// In clear text; for Unix sockets and loopback.
    None,
    /// By rustls. What it verifies is up to its configuration; `tokio_postgres::Config::ssl_mode` says whether
    /// a server without TLS is accepted.
    #[cfg(feature = "tls")]
    Rustls(tokio_postgres_rustls::MakeRustlsConnect),
}

/// Where to connect to: what a connection string comes down to.
#[derive(Clone)]
pub struct Target {
    /// Hosts, user, password, database, keepalives.
    pub config: Config,
    /// What to try next, in this order: hosts whose password or encryption differs from the first one's.
    pub fallbacks: Vec<Config>,
    /// Encryption.
    pub tls: Tls,
    /// The most that opening a session may take, over all hosts, TLS and login. Default 10 s.
    pub timeout: Duration,
}

impl From<Config> for Target {
    fn from(config: Config) -> Self {
        Target { config, fallbacks: Vec::new(), tls: Tls::None, timeout: Duration::from_secs(10) }
    }
}

/// Opens sessions. Cheap to clone; each session is a new connection.
///
/// The source is asked anew each time, so that a password file that was rotated is read again.
#[derive(Clone)]
pub struct Connector {
    source: Arc<dyn Fn() -> Result<Target> + Send + Sync>,
}

impl Connector {
    /// Connects to where `source` says, asked anew for each session.
    pub fn new(source: impl Fn() -> Result<Target> + Send + Sync + 'static) -> Self {
        Connector { source: Arc::new(source) }
    }

    /// Opens a session whose `application_name` is `name`, with `settings` as `SET` would take them (name,
    /// value) in force from its first statement on.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`] if no host lets us in within the timeout; the hosts after one that answers and
    /// refuses are not tried. [`ErrorKind::Unsuitable`] if what answers refuses settings at the start of a
    /// session, as transaction poolers do, or cannot be written to where that was asked for.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    pub async fn open(&self, name: &str, settings: &[(&str, &str)]) -> Result<Opened> {
        let target = (self.source)()?;
        let deadline = Instant::now() + target.timeout;
        let mut attempts: VecDeque<Config> = target.fallbacks.iter().cloned().collect();
        attempts.push_front(target.config.clone());
        let mut refusals = Vec::new();
        while let Some(mut config) = attempts.pop_front() {
            ask_for(&mut config, name, settings);
            let left = u32::try_from(attempts.len() + 1).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            match tokio::time::timeout(share, dial(&config, &target)).await {
                Ok(Ok(opened)) => return Ok(opened),
                Ok(Err(error)) if refusal::is_final(&error) => return Err(refusal::explain(error, &config)),
                Ok(Err(error)) => refusals.push(refusal::explain(error, &config)),
                Err(_) => refusals.push(refusal::silence(share, &config)),
            }
        }
        Err(refusal::of_all(refusals))
    }
}

impl From<Target> for Connector {
    fn from(target: Target) -> Self {
        Connector::new(move || Ok(target.clone()))
    }
}

impl From<Config> for Connector {
    fn from(config: Config) -> Self {
        Target::from(config).into()
    }
}

/// A session just opened. The connection is driven by a task of its own, which ends with the session.
pub struct Opened {
    /// Sends statements; dropping it ends the session.
    pub client: Client,
    /// What the server says unasked (notifications, notices); closed when the session ends.
    pub messages: tokio::sync::mpsc::UnboundedReceiver<AsyncMessage>,
    /// Cancels the statement that runs on the session.
    pub canceler: Canceler,
}

/// Cancels the statement that a session runs, by a connection of its own.
#[derive(Clone)]
pub struct Canceler {
    token: CancelToken,
    tls: Tls,
    timeout: Duration,
}

impl Canceler {
    /// Asks the server to cancel the statement in flight; no effect if there is none.
    ///
    /// # Errors
    /// If the server cannot be reached within the time that opening a session may take. The statement then
    /// ends with its session at the latest.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the server was asked.
    pub async fn cancel(&self) -> Result<()> {
        match tokio::time::timeout(self.timeout, self.ask()).await {
            Ok(asked) => Ok(asked?),
            Err(_) => Err(Error::new(
                ErrorKind::Unreachable,
                format!(
                    "the server did not take the request to cancel within {} ms",
                    self.timeout.as_millis()
                ),
            )),
        }
    }

    async fn ask(&self) -> std::result::Result<(), tokio_postgres::Error> {
        match &self.tls {
            Tls::None => self.token.cancel_query(NoTls).await,
            #[cfg(feature = "tls")]
            Tls::Rustls(tls) => self.token.cancel_query(tls.clone()).await,
        }
    }
}

/// Asks for a session of this name with these settings, besides the options that the configuration has.
fn ask_for(config: &mut Config, name: &str, settings: &[(&str, &str)]) {
    config.application_name(fit_application_name(name));
    if !settings.is_empty() {
        let given = config.get_options().map(|o| format!("{o} ")).unwrap_or_default();
        config.options(format!("{given}{}", startup_options(settings)));
    }
}

/// Opens one session.
async fn dial(config: &Config, target: &Target) -> std::result::Result<Opened, tokio_postgres::Error> {
    match &target.tls {
        Tls::None => {
            let (client, connection) = config.connect(NoTls).await?;
            Ok(drive(client, connection, target))
        }
        #[cfg(feature = "tls")]
        Tls::Rustls(connector) => {
            let (client, connection) = config.connect(connector.clone()).await?;
            Ok(drive(client, connection, target))
        }
    }
}

/// Polls the connection for messages on a task of its own. The usual `tokio::spawn(connection)` would throw
/// notifications away.
fn drive<S, T>(client: Client, mut connection: tokio_postgres::Connection<S, T>, target: &Target) -> Opened
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, messages) = tokio::sync::mpsc::unbounded_channel();
    let canceler =
        Canceler { token: client.cancel_token(), tls: target.tls.clone(), timeout: target.timeout };
    tokio::spawn(async move {
        while let Some(message) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            match message {
                Ok(message) => drop(sender.send(message)),
                Err(error) => {
                    tracing::debug!(error = %error, "session.ended");
                    break;
                }
            }
        }
    });
    Opened { client, messages, canceler }
}

/// `application_name` is cut at 63 bytes by the server, silently and perhaps within a character; so by us.
fn fit_application_name(name: &str) -> String {
    let mut end = name.len().min(63);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_owned()
}

/// `-c name=value …` as the start-up packet's `options` want it: spaces and backslashes escaped.
fn startup_options(settings: &[(&str, &str)]) -> String {
    let escape = |value: &str| value.replace('\\', "\\\\").replace(' ', "\\ ");
    settings.iter().map(|(name, value)| format!("-c {name}={}", escape(value))).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_escape_spaces_and_backslashes() {
        assert_eq!(
            startup_options(&[
                ("default_transaction_isolation", "read committed"),
                ("lock_timeout", "200ms")
            ]),
            r"-c default_transaction_isolation=read\ committed -c lock_timeout=200ms"
        );
        assert_eq!(startup_options(&[("search_path", r#"a\b, "c d""#)]), r#"-c search_path=a\\b,\ "c\ d""#);
    }

    #[test]
    fn application_names_end_at_a_character() {
        let long = format!("{}é", "x".repeat(62));
        assert_eq!(fit_application_name(&long).len(), 62);
        assert_eq!(fit_application_name("sexton/0011aabb/audit-logs"), "sexton/0011aabb/audit-logs");
    }
}
