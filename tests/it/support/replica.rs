//! A replica in this process.
//!
//! What is easy to get wrong: its task is on the test's runtime, which has one thread. So a test that blocks the thread
//! stops its replicas too.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use sexton::{
    Error,
    runner::{Runner, RunnerBuilder, Shutdown, hooks::RunEvent},
};
use tokio::{task::JoinHandle, time::Instant};

use super::{Db, Steps, db::CAP};

/// A runner with the kinds of [`Steps`], on a task of its own.
pub struct Replica {
    shutdown: Shutdown,
    task: JoinHandle<Result<(), Error>>,
    events: Arc<Mutex<Vec<String>>>,
}

impl Replica {
    /// Starts one as it is by default.
    pub fn start(db: &Db) -> Replica {
        Self::with(db, |builder| builder)
    }

    /// Starts one with settings.
    pub fn with(db: &Db, settings: impl FnOnce(RunnerBuilder) -> RunnerBuilder) -> Replica {
        let events = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&events);
        let builder = Runner::builder(db.config.clone())
            .registry(Steps::registry())
            .on_run(move |event| log.lock().unwrap().push(told(event)));
        let runner = settings(builder).build();
        Replica { shutdown: runner.shutdown(), task: tokio::spawn(runner.run()), events }
    }

    /// Waits until some replica is registered, and its control session is open.
    pub async fn await_started(self, db: &Db) -> Replica {
        db.until("a replica is alive", "SELECT EXISTS (SELECT FROM sexton.replicas WHERE alive)", &[]).await;
        self
    }

    /// What ends it.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Drains it, and waits for its end.
    pub async fn drain(self) {
        self.shutdown.drain();
        self.ended().await.expect("a replica that drains ends well");
    }

    /// Waits for its end.
    pub async fn ended(self) -> Result<(), Error> {
        self.task.await.expect("a replica does not panic")
    }

    /// Lets it vanish as a process does that is killed: its sessions close.
    pub async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    /// Waits until its hook was told just this, in this order: `started JOB attempt`, `recovered JOB attempt`,
    /// `finished JOB outcome`, `lost JOB`. It is told after the row says so.
    pub async fn until_events(&self, wanted: &[&str]) {
        let deadline = Instant::now() + CAP;
        while self.events.lock().unwrap().len() < wanted.len() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        assert_eq!(*self.events.lock().unwrap(), wanted);
    }
}

fn told(event: &RunEvent<'_>) -> String {
    match event {
        RunEvent::Started(info) if info.recovered => format!("recovered {} {}", info.job, info.attempt),
        RunEvent::Started(info) => format!("started {} {}", info.job, info.attempt),
        RunEvent::Finished(info, settlement) => {
            format!("finished {} {}", info.job, settlement.outcome.as_str())
        }
        RunEvent::Lost(info) => format!("lost {}", info.job),
        _ => "an event of another kind".to_owned(),
    }
}
