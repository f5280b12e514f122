//! The application beside the purges: it changes its mind about rows that are about to go.
//!
//! A row that it has kept, by an UPDATE that found it and was committed, must never be deleted after that, however far a
//! batch had got with it. What is easy to get wrong: a row that is already gone is found by no UPDATE, so it is noted by a
//! trigger and not from here.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;

use crate::world::{Result, World};

/// An application that goes on until it is told to stop.
pub struct Application {
    stop: Arc<AtomicBool>,
    task: JoinHandle<usize>,
}

impl Application {
    pub fn start(world: World, seed: u64) -> Application {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let task = tokio::spawn(async move {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut rescued, mut session) = (0, None);
            while !told.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(rng.u64(20..120))).await;
                if session.as_ref().is_none_or(tokio_postgres::Client::is_closed) {
                    session = world.session().await.ok();
                }
                let Some(client) = &session else { continue };
                // It may be in the way of a batch, or a batch of it, and a fault of both.
                rescued += usize::from(client.batch_execute(&rescue(&mut rng)).await.is_ok());
            }
            rescued
        });
        Application { stop, task }
    }

    /// Ends it; how often it got its way.
    pub async fn stop(self) -> Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.task.await?)
    }
}

/// Keeps one of the oldest rows, which go next, and takes its time with the commit.
fn rescue(rng: &mut fastrand::Rng) -> String {
    let table = ["by_index", "by_heap", "by_workers", "by_child"][rng.usize(..4)];
    format!(
        "BEGIN; SET LOCAL lock_timeout = '500ms';
         UPDATE public.{table} SET keep = true WHERE id = (SELECT id FROM public.{table}
           WHERE created_at < now() - interval '61 minutes' AND NOT keep ORDER BY created_at LIMIT 1 OFFSET {});
         SELECT pg_sleep({}); COMMIT",
        rng.u8(0..20),
        f64::from(rng.u8(0..30)) / 1000.0
    )
}
