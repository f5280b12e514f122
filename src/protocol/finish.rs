//! Ending a run: what the holder writes, and what it must read first to plan the next occurrence.
//!
//! What is easy to get wrong: a settlement may be refused, since another may hold the job by now. That is
//! `Recorded::Fenced`, a value and not an error; and an answer that never came is no reason to try again: whoever
//! recovers the job reads from the database how far it got.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_postgres::Client;

use super::{
    claim::Claim,
    job::{Origin, ScheduleColumns, seconds},
    run::Settlement,
};
use crate::{error::Result, failpoint::failpoint, statements};

/// The job as it is when its run ends.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Basis {
    /// The database's clock.
    pub(crate) now: Timestamp,
    pub(crate) schedule: ScheduleColumns,
    pub(crate) planned: bool,
    pub(crate) scheduled_at: Option<Timestamp>,
    pub(crate) occurrence: Option<Timestamp>,
    pub(crate) origin: Option<Origin>,
    pub(crate) backoff: SignedDuration,
    pub(crate) backoff_max: SignedDuration,
    pub(crate) resume_after: SignedDuration,
    pub(crate) attempt: i32,
}

/// What comes after a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Next {
    /// The next regular instant.
    pub(crate) scheduled_at: Option<Timestamp>,
    /// When to try it.
    pub(crate) due_at: Option<Timestamp>,
    /// Regular instants passed over.
    pub(crate) coalesced: i64,
    /// Come back for the rest then, as an extra occurrence.
    pub(crate) resume_at: Option<Timestamp>,
    /// The wait before a retry, if one follows.
    pub(crate) retry_after: Duration,
}

/// What became of a settlement.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// It stands; the job is due next then.
    Finished(Option<Timestamp>),
    /// The run was no longer this replica's to end.
    Fenced,
}

/// Reads what planning the next occurrence needs; `None` if the job is gone.
///
/// # Errors
/// If the database cannot be reached.
///
/// # Cancel safety
/// Safe.
pub(crate) async fn basis(client: &Client, job_id: i64) -> Result<Option<Basis>> {
    let rows = client.query(statements::JOB_FOR_RUN, &[&job_id]).await?;
    Ok(rows.first().map(|row| Basis {
        now: row.get(0),
        schedule: ScheduleColumns {
            text: row.get(1),
            time_zone: row.get(2),
            missed: row.get(3),
            max_lateness: row.get::<_, Option<f64>>(4).map(seconds),
            jitter: seconds(row.get(5)),
        },
        planned: row.get(6),
        scheduled_at: row.get(7),
        occurrence: row.get(8),
        origin: row.get::<_, Option<&str>>(9).map(Origin::parse),
        backoff: seconds(row.get(10)),
        backoff_max: seconds(row.get(11)),
        resume_after: seconds(row.get(12)),
        attempt: row.get(13),
    }))
}

/// Ends the run. Any session will do: the claim's version and run id are what counts.
///
/// # Errors
/// If the database cannot be reached, or refuses the transition. The run is then left to whoever recovers the job.
///
/// # Cancel safety
/// Dropping the future leaves it open whether the run was ended.
pub(crate) async fn finish(
    client: &Client,
    claim: Claim,
    settlement: &Settlement,
    basis: &Basis,
    next: &Next,
) -> Result<Recorded> {
    failpoint!("finish.before");
    let retry_after = next.retry_after.as_secs_f64();
    // A job that was not planned when it was read may have been planned since, and not by us.
    let planned_from = basis.planned.then_some(&basis.schedule.text);
    let answer = client
        .query_one(
            statements::FINISH,
            &[
                &claim.job_id,
                &claim.version,
                &claim.run_id,
                &settlement.outcome.as_str(),
                &settlement.error,
                &settlement.report,
                &claim.batches,
                &retry_after,
                &planned_from,
                &basis.schedule.time_zone,
                &next.scheduled_at,
                &next.due_at,
                &next.coalesced,
                &next.resume_at,
            ],
        )
        .await;
    failpoint!("finish.after");
    match answer {
        Ok(row) => Ok(Recorded::Finished(row.get(0))),
        Err(error) if error.code().is_some_and(|code| code.code() == "SX001") => Ok(Recorded::Fenced),
        Err(error) => Err(error.into()),
    }
}
