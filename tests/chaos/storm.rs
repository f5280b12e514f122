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
use tokio_postgres::Client;

use crate::{
    jobs::ONE_OFFS,
    world::{Result, World},
};

/// How long accepted verbs took, and an empty statement on the same session just before each.
#[derive(Clone, Debug, Default)]
pub struct Verbs {
    /// The first of a session, for which the server reads its catalogs and compiles the functions.
    pub first: Vec<(&'static str, Duration)>,
    /// The others.
    pub later: Vec<(&'static str, Duration)>,
    pub empty: Vec<Duration>,
}

impl Verbs {
    pub fn count(&self) -> usize {
        self.first.len() + self.later.len()
    }

    pub fn add(&mut self, other: &Verbs) {
        self.first.extend(&other.first);
        self.later.extend(&other.later);
        self.empty.extend(&other.empty);
    }
}

/// Verbs that are given by one session.
const VERBS_A_SESSION: usize = 10;

/// A storm that goes on until it is told to stop.
pub struct Storm {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Verbs>,
}

impl Storm {
    /// Over these jobs. The last one is deleted and created anew now and then.
    pub fn start(world: World, seed: u64, jobs: Vec<String>) -> Storm {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let task = tokio::spawn(async move {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut verbs, mut kept) = (Verbs::default(), None);
            while !told.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(rng.u64(30..150))).await;
                let (name, sql) = verb(&mut rng, &jobs);
                let (session, given) = match kept.take() {
                    Some((session, given)) if !Client::is_closed(&session) && given < VERBS_A_SESSION => {
                        (session, given)
                    }
                    _ => match tokio::time::timeout(Duration::from_secs(5), world.session()).await {
                        Ok(Ok(session)) => (session, 0),
                        _ => continue,
                    },
                };
                let began = Instant::now();
                if session.batch_execute("SELECT").await.is_err() {
                    continue;
                }
                let (empty, began) = (began.elapsed(), Instant::now());
                // Refusals are answers too: nothing to cancel, paused, being run already.
                if session.batch_execute(&sql).await.is_ok() {
                    let verbs_so_far = if given == 0 { &mut verbs.first } else { &mut verbs.later };
                    verbs_so_far.push((name, began.elapsed()));
                    verbs.empty.push(empty);
                } else {
                    // What was refused half way leaves its transaction.
                    let _ = session.batch_execute("ROLLBACK").await;
                }
                kept = Some((session, given + 1));
            }
            verbs
        });
        Storm { stop, task }
    }

    /// Ends it; how long each accepted verb took.
    pub async fn stop(self) -> Result<Verbs> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.task.await?)
    }
}

/// One of few keys, so that some are pending or running already.
fn submit(rng: &mut fastrand::Rng) -> String {
    let key = rng.u8(1..8);
    format!(
        "BEGIN; SELECT sexton.submit('{ONE_OFFS}', '{{\"tenant\": {key}}}', key => '{key}');
         INSERT INTO chaos.accepted (job_id, verb, key) SELECT id, 'submit', '{key}' FROM sexton.job WHERE name = '{ONE_OFFS}'; COMMIT"
    )
}

fn verb(rng: &mut fastrand::Rng, jobs: &[String]) -> (&'static str, String) {
    let job = &jobs[rng.usize(..jobs.len())];
    let fickle = &jobs[jobs.len() - 1];
    let accepted = |verb: &str| {
        format!(
            "BEGIN; INSERT INTO chaos.accepted (job_id, verb) SELECT id, '{verb}' FROM sexton.job WHERE name = '{job}' FOR UPDATE;
             SELECT sexton.{verb}('{job}'); COMMIT"
        )
    };
    match rng.u8(0..100) {
        0..20 => ("run_now", accepted("run_now")),
        20..32 => ("cancel", accepted("cancel")),
        32..44 => ("kill", format!("SELECT sexton.kill('{job}')")),
        44..54 => ("pause", format!("SELECT sexton.pause('{job}', 'storm', now() + interval '300 ms')")),
        54..62 => ("pause", format!("SELECT sexton.pause('{job}')")),
        62..66 => ("submit", submit(rng)),
        66..80 => ("resume", "SELECT sexton.resume(name) FROM (SELECT name FROM sexton.job WHERE paused_at IS NOT NULL AND parent_id IS NULL ORDER BY random() LIMIT 1) j".to_owned()),
        80..86 => ("edit", format!(
            "UPDATE sexton.job SET params = params || jsonb_build_object('rest_ms', {}, 'steps', {}) WHERE name = '{job}' AND kind = 'steps'",
            rng.u8(0..20), rng.u8(3..10)
        )),
        86..89 => ("terminate_holder", format!("SELECT sexton.terminate_holder('{job}')")),
        89..91 => ("pause_all", "SELECT sexton.pause_all('storm')".to_owned()),
        91..95 => ("resume_all", "SELECT sexton.resume_all()".to_owned()),
        95 => ("disarm", "SELECT sexton.disarm(name) FROM (SELECT name FROM sexton.job WHERE kind = 'purge' ORDER BY random() LIMIT 1) j".to_owned()),
        96 => ("hold", format!("SELECT sexton.hold('public.by_index', 'id % 10 = {}', 'storm')", rng.u8(0..10))),
        97 => ("unhold", "SELECT sexton.unhold(id) FROM (SELECT id FROM sexton.hold WHERE lifted_at IS NULL ORDER BY random() LIMIT 1) h".to_owned()),
        98 if rng.bool() => ("notify", format!("SELECT pg_notify('sexton', E'{}\\n\"; {}')", rng.u64(..), "x".repeat(rng.usize(..7000)))),
        98 => ("arm", "SELECT sexton.arm(name) FROM (SELECT name FROM sexton.job WHERE kind = 'purge' ORDER BY random() LIMIT 1) j".to_owned()),
        _ => ("delete", format!(
            "BEGIN; DELETE FROM sexton.job WHERE name = '{fickle}';
             INSERT INTO sexton.job (name, kind, schedule, params, max_attempts, backoff)
               VALUES ('{fickle}', 'steps', 'every 1s', '{{\"steps\": 5}}', 1000, '20 ms'); COMMIT"
        )),
    }
}
