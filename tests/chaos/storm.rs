//! Operators who cannot leave well alone: a verb every few dozen milliseconds, and how long each took.
//!
//! What is easy to get wrong: a wish counts as accepted only if its acceptance is committed, so both are one transaction.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

use crate::world::{Result, World};

/// A storm that goes on until it is told to stop.
pub struct Storm {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<Duration>>,
}

impl Storm {
    /// Over these jobs. The last one is deleted and created anew now and then.
    pub fn start(world: World, seed: u64, jobs: Vec<String>) -> Storm {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let task = tokio::spawn(async move {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut took = Vec::new();
            while !told.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(rng.u64(30..150))).await;
                let sql = verb(&mut rng, &jobs);
                let Ok(Ok(session)) = tokio::time::timeout(Duration::from_secs(5), world.session()).await
                else {
                    continue;
                };
                let began = Instant::now();
                // Refusals are answers too: nothing to cancel, paused, being run already.
                if session.batch_execute(&sql).await.is_ok() {
                    took.push(began.elapsed());
                }
            }
            took
        });
        Storm { stop, task }
    }

    /// Ends it; how long each accepted verb took.
    pub async fn stop(self) -> Result<Vec<Duration>> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.task.await?)
    }
}

fn verb(rng: &mut fastrand::Rng, jobs: &[String]) -> String {
    let job = &jobs[rng.usize(..jobs.len())];
    let fickle = &jobs[jobs.len() - 1];
    let accepted = |verb: &str| {
        format!(
            "BEGIN; INSERT INTO chaos.accepted (job_id, verb) SELECT id, '{verb}' FROM sexton.job WHERE name = '{job}' FOR UPDATE;
             SELECT sexton.{verb}('{job}'); COMMIT"
        )
    };
    match rng.u8(0..100) {
        0..20 => accepted("run_now"),
        20..32 => accepted("cancel"),
        32..44 => format!("SELECT sexton.kill('{job}')"),
        44..54 => format!("SELECT sexton.pause('{job}', 'storm', now() + interval '300 ms')"),
        54..62 => format!("SELECT sexton.pause('{job}')"),
        62..80 => "SELECT sexton.resume(name) FROM sexton.job WHERE paused_at IS NOT NULL".to_owned(),
        80..86 => format!(
            "UPDATE sexton.job SET params = params || jsonb_build_object('rest_ms', {}) WHERE name = '{job}' AND kind = 'steps'",
            rng.u8(0..20)
        ),
        86..89 => format!("SELECT sexton.terminate_holder('{job}')"),
        89..91 => "SELECT sexton.pause_all('storm')".to_owned(),
        91..95 => "SELECT sexton.resume_all()".to_owned(),
        95..97 => "SELECT sexton.disarm(name) FROM (SELECT name FROM sexton.job WHERE kind = 'purge' ORDER BY random() LIMIT 1) j".to_owned(),
        97 => format!("SELECT pg_notify('sexton', E'{}\\n\"; {}')", rng.u64(..), "x".repeat(rng.usize(..7000))),
        98 => "SELECT sexton.arm(name) FROM sexton.job WHERE kind = 'purge'".to_owned(),
        _ => format!(
            "BEGIN; DELETE FROM sexton.job WHERE name = '{fickle}';
             INSERT INTO sexton.job (name, kind, schedule, params, max_attempts, backoff)
               VALUES ('{fickle}', 'steps', 'every 1s', '{{\"steps\": 5}}', 1000, '20 ms'); COMMIT"
        ),
    }
}
