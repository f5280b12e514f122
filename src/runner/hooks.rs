//! What an embedding application may hear of its runs.

use jiff::Timestamp;
use uuid::Uuid;

use crate::protocol::{
    claim::Claim,
    job::{Job, Need},
    run::{Mode, Settlement},
};

/// Which run an event is about.
#[derive(Clone, Debug)]
pub struct RunInfo<'a> {
    /// The job's name.
    pub job: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// The run's id.
    pub run_id: Uuid,
    /// What it is for.
    pub occurrence: Timestamp,
    /// 1 for the first run of an occurrence.
    pub attempt: u32,
    /// The job's version, as of the claim.
    pub version: i64,
    /// Whether it writes.
    pub mode: Mode,
    /// Whether it took over from a replica that is gone.
    pub recovered: bool,
}

impl<'a> RunInfo<'a> {
    pub(crate) fn new(claim: &Claim, job: &'a Job) -> Self {
        RunInfo {
            job: &job.candidate.job_name,
            kind: &job.kind,
            run_id: claim.run_id,
            occurrence: claim.occurrence,
            attempt: claim.attempt,
            version: claim.version,
            mode: claim.mode,
            recovered: job.need == Need::Recover,
        }
    }
}

/// Something that happened to a run of this replica.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunEvent<'a> {
    /// It was claimed and begins.
    Started(&'a RunInfo<'a>),
    /// It ended here, with this settlement.
    Finished(&'a RunInfo<'a>, &'a Settlement),
    /// It is no longer this replica's: fenced, or its session is gone.
    Lost(&'a RunInfo<'a>),
}
