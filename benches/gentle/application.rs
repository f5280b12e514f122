//! The application: sessions that work by a timetable, or as fast as they can.
//!
//! What is easy to get wrong: a session that is late must not shift its timetable, or the queue that a purge causes goes
//! unseen.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sexton::{Result, protocol::connect::Connector};
use tokio_postgres::{Client, Statement};

/// Sessions of the application.
pub const SESSIONS: u64 = 8;
/// What they make of what they could.
pub const SHARE: f64 = 0.3;
const ACCOUNTS: i64 = 100_000;
/// How long the sessions run as fast as they can, to see how fast that is.
const CALIBRATION: Duration = Duration::from_secs(5);

/// A transaction of the application: when it should have begun, since the run did, and how long after that it was over.
#[derive(Clone, Copy)]
pub struct Done {
    pub at: Duration,
    pub took: Duration,
}

/// Transactions a second, each session beginning the next when the last is over.
pub async fn as_fast_as_possible(connector: &Connector) -> Result<f64> {
    let began = Instant::now();
    let count = Arc::new(AtomicU64::new(0));
    let mut sessions = Vec::new();
    for number in 0..SESSIONS {
        let (session, count) = (Session::open(connector, number).await?, Arc::clone(&count));
        sessions.push(tokio::spawn(async move {
            let mut session = session;
            while began.elapsed() < CALIBRATION {
                session.transact().await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, sexton::Error>(())
        }));
    }
    for session in sessions {
        session.await.expect("a session of the application does not panic")?;
    }
    Ok(count.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64())
}

/// The application at work.
pub struct Application {
    over: Arc<AtomicBool>,
    sessions: Vec<tokio::task::JoinHandle<Result<Vec<Done>>>>,
}

impl Application {
    /// Starts it, by its timetable of so many transactions a second.
    pub async fn start(connector: &Connector, rate: f64, began: Instant) -> Result<Application> {
        let over = Arc::new(AtomicBool::new(false));
        let mut sessions = Vec::new();
        let between = Duration::from_secs_f64(SESSIONS as f64 / rate);
        for number in 0..SESSIONS {
            let (session, over) = (Session::open(connector, number).await?, Arc::clone(&over));
            let first = began + between.mul_f64(number as f64 / SESSIONS as f64);
            sessions.push(tokio::spawn(async move {
                let (mut session, mut next, mut done) = (session, first, Vec::new());
                while !over.load(Ordering::Relaxed) {
                    tokio::time::sleep_until(next.into()).await;
                    session.transact().await?;
                    done.push(Done { at: next - began, took: next.elapsed() });
                    next += between;
                }
                Ok(done)
            }));
        }
        Ok(Application { over, sessions })
    }

    /// Stops it; all that it did.
    pub async fn stop(self) -> Result<Vec<Done>> {
        self.over.store(true, Ordering::Relaxed);
        let mut done = Vec::new();
        for session in self.sessions {
            done.extend(session.await.expect("a session of the application does not panic")?);
        }
        Ok(done)
    }
}

/// A session of the application.
struct Session {
    client: Client,
    dice: u64,
    insert: Statement,
    read: Statement,
    update: Statement,
}

impl Session {
    async fn open(connector: &Connector, number: u64) -> Result<Session> {
        let client = connector.open("application", &[]).await?.client;
        let insert = "INSERT INTO audit_log (created_at, user_id, detail) VALUES (now(), $1::bigint, repeat(md5($1::bigint::text), 6))";
        let read = "SELECT id, detail FROM audit_log WHERE user_id = $1 ORDER BY created_at DESC LIMIT 20";
        let update = "UPDATE account SET seen_at = now(), visits = visits + 1 WHERE id = $1";
        let (insert, read, update) =
            (client.prepare(insert).await?, client.prepare(read).await?, client.prepare(update).await?);
        Ok(Session { client, dice: number + 1, insert, read, update })
    }

    async fn transact(&mut self) -> Result<()> {
        // Knuth's multiplier: spread enough, and the same in each run.
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let account = (self.dice >> 33) as i64 % ACCOUNTS + 1;
        let transaction = self.client.transaction().await?;
        transaction.query(&self.read, &[&account]).await?;
        transaction.execute(&self.insert, &[&account]).await?;
        transaction.execute(&self.update, &[&account]).await?;
        Ok(transaction.commit().await?)
    }
}
