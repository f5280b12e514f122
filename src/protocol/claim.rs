//! Taking a job: its advisory lock first, then the update that bumps its version.
//!
//! The row decides who owns a run; the lock only tells whether the holder is still there. So a lost race is the
//! normal case and a value, `Claimed::Lost`; and an orphaned run is recovered by the very same claim: whoever holds
//! the lock while the row says running knows that the old session is gone.
//!
//! What is easy to get wrong: a claim is only worth something on the session that holds the lock. Hence `Claim` has
//! no public constructor, is not `Clone`, and travels inside `Held` together with its session.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    connect::Connector,
    fence::contention,
    held::Held,
    resource::Wanted,
    run::Mode,
    session::{RunSession, Settings},
    worker::{Part, Terms},
};
use crate::{error::Result, failpoint::failpoint, statements};

/// What is needed to try for a job: as the scan of due jobs gives it.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) job_id: i64,
    pub(crate) job_name: String,
    pub(crate) lock_id: i32,
    pub(crate) version: i64,
    pub(crate) revision: i64,
    /// Of a one-off: the job that it is a run of.
    pub(crate) parent_id: Option<i64>,
    pub(crate) search_path: Option<String>,
    pub(crate) target_name: Option<String>,
    pub(crate) target_oid: Option<u32>,
}

impl Candidate {
    /// One-offs with the same are runs of one definition, which may follow one another on a session. None for a job of
    /// its own: it has its sessions to itself.
    pub(crate) fn definition(&self) -> Option<(i64, i64)> {
        self.parent_id.map(|parent| (parent, self.revision))
    }

    /// The `application_name` of its session, which for a one-off tells the job.
    fn session_name(&self, replica_id: Uuid) -> String {
        let replica = replica_id.simple().to_string();
        let job = self.job_name.rsplit_once('~').filter(|_| self.parent_id.is_some());
        // The tail of a v7 uuid is its random part; its head is the time, alike in replicas that start together.
        format!("sexton/{}/{}", &replica[replica.len() - 8..], job.map_or(&*self.job_name, |(job, _)| job))
    }
}

/// Who tries.
#[derive(Clone, Debug)]
pub(crate) struct Claimant {
    pub(crate) replica_id: Uuid,
    /// Host name and process id, for people.
    pub(crate) holder: String,
    /// Program and time zone data, with their versions.
    pub(crate) program: String,
    pub(crate) install_id: Uuid,
    pub(crate) lock_class: i32,
}

/// What the kind is, as far as the protocol cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Runs are dry unless armed, and stop at `pause_all()`.
    pub(crate) destructive: bool,
    /// Runs wait for `adopt()` in a restored database.
    pub(crate) outside: bool,
}

/// A live claim: the token of a run.
pub(crate) struct Claim {
    pub(crate) job_id: i64,
    pub(crate) job_name: String,
    pub(crate) version: i64,
    /// Of the job's definition; the claim is lost where the candidate's is out of date.
    pub(crate) revision: i64,
    pub(crate) run_id: Uuid,
    pub(crate) epoch: i64,
    pub(crate) occurrence: Timestamp,
    pub(crate) attempt: u32,
    pub(crate) mode: Mode,
    pub(crate) approved_rows: Option<u64>,
    pub(crate) claimed_at: Timestamp,
    pub(crate) install_id: Uuid,
    pub(crate) target_name: Option<String>,
    pub(crate) target_oid: Option<u32>,
    /// The options of this occurrence.
    pub(crate) options: Value,
    /// The inputs of this occurrence.
    pub(crate) inputs: Value,
    /// Batches that this run knows to be committed; kept when it ends.
    pub(crate) batches: i64,
    /// The advisory lock of the job.
    pub(super) lock: (i32, i32),
    pub(super) workers: Terms,
}

impl Claim {
    /// The token, for the session of a worker, which never ends the run.
    pub(super) fn for_worker(&self) -> Claim {
        Claim {
            job_name: self.job_name.clone(),
            target_name: self.target_name.clone(),
            options: self.options.clone(),
            inputs: self.inputs.clone(),
            workers: self.workers.clone(),
            ..*self
        }
    }
}

/// What became of a try.
#[must_use]
pub(crate) enum Claimed {
    /// The job is ours.
    Won(Box<Held>),
    /// An orphaned run was put in order; nothing started, for this reason.
    Settled(String),
    /// Somebody else has it, or it is not to be had now, for this reason. The session, if it was that of a one-off.
    Lost(String, Option<Box<RunSession>>),
}

/// Tries for a job, on a session of its own: the one that is given, if that serves, or a new one.
///
/// # Errors
/// If the database cannot be reached, or what stands in between breaks sessions. Nothing is claimed then: a claim
/// whose answer is lost is an orphan as soon as its session is closed, and that is on return.
///
/// # Cancel safety
/// Dropping the future closes the session, and with it gives up whatever was taken.
pub(crate) async fn claim(
    connector: &Connector,
    candidate: &Candidate,
    claimant: &Claimant,
    rules: Rules,
    mut settings: Settings,
    session: Option<RunSession>,
) -> Result<Claimed> {
    settings.search_path.clone_from(&candidate.search_path);
    let name = candidate.session_name(claimant.replica_id);
    let session = match session.filter(|session| session.serves(&settings)) {
        Some(session) => session,
        None => RunSession::open(connector, &name, &settings).await?,
    };
    if !session.try_lock(claimant.lock_class, candidate.lock_id).await? {
        return Ok(lost("its lock is held", candidate, session).await);
    }
    failpoint!("claim.locked");
    let run_id = Uuid::now_v7();
    let row = session
        .client()
        .query_typed_one(
            statements::CLAIM,
            &[
                (&candidate.job_id, Type::INT8),
                (&candidate.version, Type::INT8),
                (&candidate.revision, Type::INT8),
                (&run_id, Type::UUID),
                (&claimant.replica_id, Type::UUID),
                (&claimant.holder, Type::TEXT),
                (&claimant.program, Type::TEXT),
                (&rules.destructive, Type::BOOL),
                (&rules.outside, Type::BOOL),
            ],
        )
        .await;
    let row = match row {
        Err(error) if contention(&error).is_some() => {
            return Ok(lost("its row is locked", candidate, session).await);
        }
        answer => answer?,
    };
    let reason = row.get::<_, Option<&str>>("reason").unwrap_or_default();
    match row.get::<_, &str>("result") {
        "won" => {}
        "settled" => return Ok(Claimed::Settled(reason.to_owned())),
        _ => return Ok(lost(reason, candidate, session).await),
    }
    failpoint!("claim.won");
    let terms = Terms { name, settings, lock_class: claimant.lock_class, lock_id: row.get("worker_lock_id") };
    let claim = Claim {
        job_id: candidate.job_id,
        job_name: candidate.job_name.clone(),
        version: row.get("version"),
        revision: candidate.revision,
        run_id,
        epoch: row.get("epoch"),
        occurrence: row.get("occurrence"),
        attempt: row.get::<_, i32>("attempt").unsigned_abs(),
        mode: if row.get::<_, &str>("mode") == "dry" { Mode::Dry } else { Mode::Real },
        approved_rows: row.get::<_, Option<i64>>("approved_rows").map(i64::unsigned_abs),
        claimed_at: row.get("claimed_at"),
        install_id: claimant.install_id,
        target_name: candidate.target_name.clone(),
        target_oid: candidate.target_oid,
        options: row.get("run_options"),
        inputs: row.get("run_inputs"),
        batches: 0,
        lock: (claimant.lock_class, candidate.lock_id),
        workers: terms,
    };
    let parts = inherited(row.get("parts"));
    let resources = Wanted::list(&row.get("resources"));
    Ok(Claimed::Won(Box::new(Held::new(claim, session, parts, resources))))
}

/// A try that came to nothing, and gives up what it took.
async fn lost(reason: &str, candidate: &Candidate, session: RunSession) -> Claimed {
    let session = match candidate.definition() {
        Some(_) => session.renewed().await.map(Box::new),
        None => None,
    };
    Claimed::Lost(reason.to_owned(), session)
}

/// The cursors of the parts, which the database gives as `{"0": …, "1": …}`.
fn inherited(parts: Option<Value>) -> BTreeMap<i32, Part> {
    let Some(Value::Object(parts)) = parts else { return BTreeMap::new() };
    let part = |(number, cursor): (String, Value)| {
        Some((number.parse().ok()?, Part { cursor: Some(cursor).filter(|cursor| !cursor.is_null()), seq: 0 }))
    };
    parts.into_iter().filter_map(part).collect()
}
