//! What tests of notices share: a way to send that remembers, and moments of the past.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use futures_util::{FutureExt, future::BoxFuture};
use sexton::{
    Error, ErrorKind,
    protocol::notice::{ANY_ADDRESS, Message},
    runner::{RunnerBuilder, deliver::Deliver},
};

use crate::support::{Db, Replica};

/// Remembers what it was to send, and sends nothing.
#[derive(Clone, Default)]
pub struct Recorder {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    sent: Mutex<Vec<Message>>,
    broken: Mutex<Vec<String>>,
    hangs: AtomicBool,
}

impl Recorder {
    /// Channels that fail from now on, in place of those before.
    pub fn break_down(&self, channels: &[&str]) {
        *self.inner.broken.lock().unwrap() = channels.iter().map(|channel| (*channel).to_owned()).collect();
    }

    /// From now on nothing that is sent comes to an end.
    pub fn hang(&self) {
        self.inner.hangs.store(true, Ordering::SeqCst);
    }

    /// What it was to send, attempts that failed included.
    pub fn messages(&self) -> Vec<Message> {
        self.inner.sent.lock().unwrap().clone()
    }

    /// `EVENT JOB CHANNEL` of each, sorted.
    pub fn told(&self) -> Vec<String> {
        let line = |message: &Message| {
            format!("{} {} {}", message.event, message.job.as_deref().unwrap_or("-"), message.channel)
        };
        let mut told: Vec<String> = self.messages().iter().map(line).collect();
        told.sort();
        told
    }

    /// For a runner's builder.
    pub fn given(&self) -> impl FnOnce(RunnerBuilder) -> RunnerBuilder + use<> {
        let recorder = self.clone();
        move |builder| builder.deliver(recorder)
    }

    /// A replica that sends by it.
    pub fn replica(&self, db: &Db) -> Replica {
        Replica::with(db, self.given())
    }
}

impl Deliver for Recorder {
    fn channels(&self) -> Vec<String> {
        vec![ANY_ADDRESS.to_owned(), "webhook:cdn".to_owned()]
    }

    fn deliver<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), Error>> {
        self.inner.sent.lock().unwrap().push(message.clone());
        let broken = self.inner.broken.lock().unwrap().contains(&message.channel);
        let hangs = self.inner.hangs.load(Ordering::SeqCst);
        async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            if broken { Err(Error::new(ErrorKind::Outside, "told to fail")) } else { Ok(()) }
        }
        .boxed()
    }
}

/// Writes a notice about a job, as the protocol's functions do.
pub async fn put(db: &Db, event: &str, job: &str) {
    let sql = "SELECT sexton.put_notice($1, j, NULL, '{}')::text FROM sexton.job j WHERE name = $2";
    db.client.query_one(sql, &[&event, &job]).await.unwrap();
}

/// Lets the time pass for all that notices remember, and hints at it.
pub async fn pass_time(db: &Db, interval: &str) {
    db.execute(&format!(
        "UPDATE sexton.throttle SET heard_at = heard_at - interval '{interval}', told_at = told_at - interval '{interval}';
         UPDATE sexton.delivery SET due_at = due_at - interval '{interval}', taken_at = taken_at - interval '{interval}';
         UPDATE sexton.channel SET failed_at = failed_at - interval '{interval}', retry_at = retry_at - interval '{interval}';
         NOTIFY sexton"
    ))
    .await;
}

/// Who hears of what, of one job.
pub async fn notify(db: &Db, job: &str, notices: serde_json::Value) {
    db.client.execute("UPDATE sexton.job SET notices = $2 WHERE name = $1", &[&job, &notices]).await.unwrap();
}

/// Waits until no delivery is due or under way.
pub async fn until_quiet(db: &Db) {
    let quiet = "SELECT NOT EXISTS (SELECT FROM sexton.delivery WHERE state = 'waiting' AND (due_at <= now() OR taken_by IS NOT NULL))";
    db.until("all notices that are due were sent", quiet, &[]).await;
}

/// `STATE+HELD_BACK` of the deliveries to a channel, in their order.
pub async fn deliveries(db: &Db, channel: &str) -> String {
    let sql = "SELECT coalesce(string_agg(state || '+' || held_back, ' ' ORDER BY id), '') FROM sexton.delivery WHERE channel = $1";
    db.get(sql, &[&channel]).await
}
