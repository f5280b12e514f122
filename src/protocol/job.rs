//! A job as a replica reads it: enough to plan it, to try for it, and to run it.
//!
//! What is easy to get wrong: what is read here is a moment old. Nothing is decided by it alone; each function that
//! acts on it compares the version, the revision or the schedule that it was read with.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio_postgres::Row;

use super::{
    claim::Candidate,
    schedule::{Missed, Schedule, Seed},
};

/// What a job needs of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Its definition or schedule is new: validate and plan it.
    Plan,
    /// Its run's session is gone: recover it.
    Recover,
    /// It is due.
    Run,
}

/// Where an occurrence comes from, as far as planning cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The schedule.
    Schedule,
    /// Somebody or something asked for an extra one.
    Extra,
}

impl Origin {
    pub(crate) fn parse(text: &str) -> Self {
        if text == "schedule" { Origin::Schedule } else { Origin::Extra }
    }
}

/// The schedule's columns, as they were read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ScheduleColumns {
    pub(crate) text: String,
    pub(crate) time_zone: String,
    pub(crate) missed: String,
    pub(crate) max_lateness: Option<SignedDuration>,
    pub(crate) jitter: SignedDuration,
}

impl ScheduleColumns {
    /// Reads the schedule.
    ///
    /// # Errors
    /// What is wrong with it, with the remedy, as `sexton why` shall show it.
    pub(crate) fn read(&self, seed: &Seed) -> Result<(Schedule, Missed), String> {
        let described = |column: &str, error: super::schedule::ScheduleError| match error.remedy() {
            Some(remedy) => format!("{column}: {} ({remedy})", error.message()),
            None => format!("{column}: {}", error.message()),
        };
        let schedule = Schedule::parse(&self.text, Some(&self.time_zone), seed)
            .map_err(|error| described("schedule", error))?;
        let missed = self.missed.parse().map_err(|error| described("missed", error))?;
        Ok((schedule, missed))
    }

    /// When to try an occurrence of this instant: the instant itself, and the job's share of the jitter.
    pub(crate) fn due(&self, scheduled_at: Timestamp, seed: &Seed) -> Timestamp {
        scheduled_at.checked_add(seed.jitter(self.jitter)).unwrap_or(scheduled_at)
    }
}

/// A job that needs something.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) need: Need,
    pub(crate) candidate: Candidate,
    pub(crate) kind: String,
    pub(crate) params: Value,
    pub(crate) schedule: ScheduleColumns,
    pub(crate) timeout: SignedDuration,
    pub(crate) planned: bool,
    pub(crate) plan_from: Option<Timestamp>,
    pub(crate) last_scheduled_at: Option<Timestamp>,
    pub(crate) occurrence: Option<Timestamp>,
    pub(crate) origin: Option<Origin>,
    /// Whether a run began the occurrence, be it over or taken back.
    pub(crate) begun: bool,
    pub(crate) priority: i32,
    /// Of one-offs: how many of those with the same origin run or go before. Jobs of their own: 0.
    pub(crate) turn: i64,
    pub(crate) run_options: Value,
    pub(crate) inputs: Value,
    pub(crate) run_as: Option<String>,
    /// Another database that its work is done in.
    pub(crate) database: Option<String>,
    pub(crate) armed: bool,
    /// What it needs of a replica, as the one that validates it reads from its params; else empty.
    pub(crate) needs: Vec<String>,
}

impl Job {
    /// Reads a row of `scan.sql`.
    pub(crate) fn from_row(row: &Row) -> Self {
        let need = match row.get("need") {
            "plan" => Need::Plan,
            "recover" => Need::Recover,
            _ => Need::Run,
        };
        Job {
            need,
            candidate: Candidate {
                job_id: row.get("id"),
                job_name: row.get("name"),
                lock_id: row.get("lock_id"),
                version: row.get("version"),
                revision: row.get("revision"),
                parent_id: row.get("parent_id"),
                search_path: row.get("search_path"),
                target_name: row.get("target_name"),
                target_oid: row.get("target_oid"),
            },
            kind: row.get("kind"),
            params: row.get("params"),
            schedule: ScheduleColumns {
                text: row.get("schedule"),
                time_zone: row.get("time_zone"),
                missed: row.get("missed"),
                max_lateness: row.get::<_, Option<f64>>("max_lateness").map(seconds),
                jitter: seconds(row.get("jitter")),
            },
            timeout: seconds(row.get("timeout")),
            planned: row.get("planned"),
            plan_from: row.get("plan_from"),
            last_scheduled_at: row.get("last_scheduled_at"),
            occurrence: row.get("occurrence"),
            origin: row.get::<_, Option<&str>>("origin").map(Origin::parse),
            begun: row.get("begun"),
            priority: row.get("priority"),
            turn: row.get("turn"),
            run_options: row.get("run_options"),
            inputs: row.get("inputs"),
            run_as: row.get("run_as"),
            database: row.get("database"),
            armed: row.get("armed"),
            needs: Vec::new(),
        }
    }

    /// Whether its next run is asked to be a dry one.
    pub(crate) fn wants_dry_run(&self) -> bool {
        self.run_options.get("dry_run").and_then(Value::as_bool).unwrap_or(false)
    }
}

/// Seconds as the database gives them; a century stands for anything longer.
pub(crate) fn seconds(seconds: f64) -> SignedDuration {
    SignedDuration::try_from_secs_f64(seconds.min(3.2e9)).unwrap_or(SignedDuration::ZERO)
}
