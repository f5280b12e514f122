//! What a replica must know locally to run a job, and the names that it knows.
//!
//! Names alone: what stands behind them stays with the replica. What is easy to get wrong: a need is written to
//! `sexton.job.needs` when a revision is validated and compared there, so its text is part of the schema's contract
//! (`sexton.lacks`).

use std::fmt;

use tokio::sync::watch;

/// Something in a replica's local file that a job names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Need {
    /// A secret: `[secrets.NAME]`.
    Secret(String),
    /// A storage: `[storages.NAME]`.
    Storage(String),
    /// A command: `[commands.NAME]`.
    Command(String),
    /// An endpoint: `[endpoints.NAME]`.
    Endpoint(String),
    /// Leave to call a host: `hosts` of `[http]`, where it may be part of a pattern.
    Host(String),
    /// A way to send mail: `[mail]`.
    Mail,
    /// Another database: `[databases.NAME]`.
    Database(String),
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Need::Secret(name) => write!(f, "secret:{name}"),
            Need::Storage(name) => write!(f, "storage:{name}"),
            Need::Command(name) => write!(f, "command:{name}"),
            Need::Endpoint(name) => write!(f, "endpoint:{name}"),
            Need::Host(name) => write!(f, "host:{name}"),
            Need::Mail => write!(f, "mail"),
            Need::Database(name) => write!(f, "database:{name}"),
        }
    }
}

/// The names that a replica knows locally, as a list that may change while it runs. Default: none, for good.
#[derive(Clone, Debug, Default)]
pub struct Names(Option<watch::Receiver<Vec<String>>>);

impl Names {
    /// Names that follow this channel: each as [`Need`] writes it.
    pub fn of(receiver: watch::Receiver<Vec<String>>) -> Self {
        Names(Some(receiver))
    }

    /// The names now, sorted, each once.
    pub fn now(&self) -> Vec<String> {
        let mut names = self.0.as_ref().map(|receiver| receiver.borrow().clone()).unwrap_or_default();
        names.sort();
        names.dedup();
        names
    }

    /// Waits until they are others than these.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn differ_from(&mut self, known: &[String]) {
        loop {
            if self.now() != known {
                return;
            }
            let changed = match &mut self.0 {
                Some(receiver) => receiver.changed().await.is_ok(),
                None => false,
            };
            if !changed {
                // Whoever could change them is gone.
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_of_names_is_heard_and_the_same_names_are_none() {
        let (sender, receiver) = watch::channel(vec!["secret:b".to_owned(), "secret:a".to_owned()]);
        let mut names = Names::of(receiver);
        let known = names.now();
        assert_eq!(known, ["secret:a", "secret:b"]);
        let mut watching = names.clone();
        let mut waiting = std::pin::pin!(watching.differ_from(&known));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        sender.send_replace(vec!["secret:a".to_owned(), "secret:b".to_owned()]);
        assert!(futures_util::poll!(&mut waiting).is_pending(), "the order is no change");
        sender.send_replace(vec!["secret:a".to_owned()]);
        waiting.await;
        assert_eq!(names.now(), ["secret:a"]);
        drop(sender);
        let known = names.now();
        assert!(futures_util::poll!(std::pin::pin!(names.differ_from(&known))).is_pending());
    }
}
