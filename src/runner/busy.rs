//! The jobs that a replica tries for or runs, and whether the server still knows of it.
//!
//! Something in between may keep a connection open that the server has long ended: its run would wait for an answer until
//! the job's timeout, and hold a slot so long. What is easy to get wrong: a try has no session that the database could
//! know of, and may take its time; so only runs are ended.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

use crate::{error::Result, protocol::control::Control};

/// The jobs that this replica is at work on.
#[derive(Default)]
pub(super) struct Busy {
    jobs: HashMap<i64, Work>,
}

struct Work {
    /// When its session was last known to be there, or the try began.
    seen: Instant,
    /// Ends the run whose session is not.
    gone: Arc<Notify>,
}

impl Busy {
    /// Begins with a job; returns what tells its run that its session is gone.
    pub(super) fn begin(&mut self, job_id: i64) -> Arc<Notify> {
        let gone = Arc::new(Notify::new());
        self.jobs.insert(job_id, Work { seen: Instant::now(), gone: Arc::clone(&gone) });
        gone
    }

    /// Is done with a job.
    pub(super) fn end(&mut self, job_id: i64) {
        self.jobs.remove(&job_id);
    }

    /// Is done with all of them.
    pub(super) fn clear(&mut self) {
        self.jobs.clear();
    }

    /// Which they are.
    pub(super) fn jobs(&self) -> HashSet<i64> {
        self.jobs.keys().copied().collect()
    }

    /// Ends runs whose session is gone, where nothing said so. The server is asked each time that a session would have
    /// been ended for its silence.
    pub(super) async fn end_unheard(
        &mut self,
        control: &Control,
        replica_id: Uuid,
        lease: Duration,
    ) -> Result<()> {
        if self.jobs.values().all(|work| work.seen.elapsed() < lease) {
            return Ok(());
        }
        let held = control.held_jobs(replica_id).await?;
        for (id, work) in &mut self.jobs {
            if held.contains(id) {
                work.seen = Instant::now();
            } else if work.seen.elapsed() >= lease {
                work.gone.notify_waiters();
            }
        }
        Ok(())
    }
}
