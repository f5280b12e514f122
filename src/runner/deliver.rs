//! Sends notices: takes messages from the outbox, has them sent, and says what came of each.
//!
//! How a message is sent is the [`Deliver`] that the runner was given; a runner without one leaves notices to other
//! replicas. What is easy to get wrong: what came of an attempt may not reach the database, since the control session can
//! end meanwhile. It is kept and said by the next one; should that come too late, the message is sent again, under the
//! same key.

use std::{collections::VecDeque, fmt::Display, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    error::Result,
    protocol::{
        control::Control,
        notice::{Attempt, Message},
    },
};

/// How many messages a replica sends at a time.
const AT_ONCE: usize = 4;
/// The most that sending one may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// After this a replica that has taken a message is taken for dead. More than sending and saying so can take.
const LEASE: Duration = Duration::from_secs(90);

/// Sends messages to channels.
pub trait Deliver: Send + Sync {
    /// The channels that it sends to: names such as `webhook:cdn`, and `mail:@` for all mail addresses. Asked before each
    /// look, so that they may change while the replica runs.
    fn channels(&self) -> Vec<String>;

    /// Sends one. The same message may come again, under the same key: this is at least once.
    ///
    /// # Errors
    /// What went wrong. It is stored and shown to people, so no secret may be in it; it is tried again later.
    ///
    /// # Cancel safety
    /// Dropped after 30 s, and when the process must end at once: the message then comes again.
    fn deliver<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<()>>;
}

/// What was sent, or not.
struct Sent {
    attempt: Attempt,
    channel: String,
    event: String,
    error: Option<String>,
}

/// The messages that this replica is at work on.
pub(super) struct Deliveries {
    deliver: Option<Arc<dyn Deliver>>,
    replica: Uuid,
    sending: JoinSet<Sent>,
    /// Known here, and not yet said to the database.
    unsaid: VecDeque<Sent>,
}

impl Deliveries {
    pub(super) fn new(deliver: Option<Arc<dyn Deliver>>, replica: Uuid) -> Self {
        Deliveries { deliver, replica, sending: JoinSet::new(), unsaid: VecDeque::new() }
    }

    /// The channels that messages are taken for now.
    pub(super) fn channels(&self) -> Vec<String> {
        self.deliver.as_ref().map(|deliver| deliver.channels()).unwrap_or_default()
    }

    /// Says what came of messages, takes those that are due, and begins to send them.
    pub(super) async fn look(&mut self, control: &Control, channels: &[String]) -> Result<()> {
        self.say(control).await?;
        let free = AT_ONCE.saturating_sub(self.sending.len());
        let Some(deliver) = self.deliver.as_ref().filter(|_| free > 0 && !channels.is_empty()) else {
            return Ok(());
        };
        let most = i32::try_from(free).unwrap_or(i32::MAX);
        for (attempt, message) in control.take_deliveries(self.replica, channels, most, LEASE).await? {
            let deliver = Arc::clone(deliver);
            self.sending.spawn(async move { send(&*deliver, attempt, message).await });
        }
        Ok(())
    }

    async fn say(&mut self, control: &Control) -> Result<()> {
        while let Some(sent) = self.sending.try_join_next() {
            self.note(sent);
        }
        while let Some(sent) = self.unsaid.front() {
            let state = control.note_delivery(sent.attempt, sent.error.as_deref()).await?;
            let Some(sent) = self.unsaid.pop_front() else { break };
            let (channel, event, attempt) = (sent.channel, sent.event, sent.attempt.number);
            match sent.error {
                None => tracing::info!(channel, event, attempt, "notice.sent"),
                Some(error) => tracing::warn!(channel, event, attempt, error, "notice.failed"),
            }
            if state == "off" {
                tracing::error!(channel, "channel.switched_off");
            }
        }
        Ok(())
    }

    /// Waits until one has been sent, or not; for ever if none is on its way.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn one_ended(&mut self) {
        match self.sending.join_next().await {
            Some(sent) => self.note(sent),
            None => std::future::pending().await,
        }
    }

    fn note(&mut self, sent: std::result::Result<Sent, impl Display>) {
        match sent {
            Ok(sent) => self.unsaid.push_back(sent),
            // The message comes again when its lease is over.
            Err(error) => tracing::error!(%error, "slot.panicked"),
        }
    }

    /// Sends what is due until nothing is left: a replica's last look, after its runs have ended.
    pub(super) async fn finish(&mut self, control: &Control) -> Result<()> {
        let channels = self.channels();
        loop {
            self.look(control, &channels).await?;
            if self.sending.is_empty() {
                return Ok(());
            }
            self.one_ended().await;
        }
    }
}

async fn send(deliver: &dyn Deliver, attempt: Attempt, message: Message) -> Sent {
    let error = match tokio::time::timeout(SEND_TIMEOUT, deliver.deliver(&message)).await {
        Ok(sent) => sent.err().map(|error| error.to_string()),
        Err(_) => Some(format!("no answer within {} s", SEND_TIMEOUT.as_secs())),
    };
    Sent { attempt, channel: message.channel, event: message.event, error }
}
