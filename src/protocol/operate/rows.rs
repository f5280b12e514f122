//! What the views tell, as types: each field a column, by the same name, in JSON too.
//!
//! Instants are RFC 3339 in JSON, spans of time seconds. What is easy to get wrong: these are what was true when
//! the row was read, on the database's clock (`now`), which need not be this machine's.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

/// Declares a row: its fields are the columns of a statement.
macro_rules! rows {
    ($($(#[$doc:meta])* pub struct $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
        $($(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl From<&Row> for $name {
            fn from(row: &Row) -> Self {
                $name { $($field: row.get(stringify!($field)),)* }
            }
        })*
    };
}

pub(super) use rows;

rows! {
    /// A resource that is held, or that a job waits for.
    pub struct ResourceRow {
        /// Its name.
        name: String,
        /// Whether others may hold it at the same time.
        shared: bool,
        /// Whether this is one who waits.
        waits: bool,
        /// The backend that holds it.
        backend_pid: Option<i32>,
        /// The job whose run holds it, or that waits.
        job: Option<String>,
        /// The replica that does, or the session where it is no run.
        holder: Option<String>,
        /// Since when.
        since: Option<Timestamp>,
        /// The run.
        run_id: Option<Uuid>,
        /// For whom it waits.
        behind: Option<String>,
        /// The database's clock.
        now: Timestamp,
    }

    /// A job as the view `sexton.jobs` shows it.
    pub struct JobRow {
        /// Its name.
        name: String,
        /// Whose file it belongs to.
        app: String,
        /// What it does.
        kind: String,
        /// See [`JobState`](super::super::verbs::JobState).
        state: String,
        /// Whether a destructive kind may delete.
        armed: bool,
        /// Its schedule, without zone.
        schedule: String,
        /// The zone of the schedule's times.
        time_zone: String,
        /// When it is tried next.
        next_due_at: Option<Timestamp>,
        /// The same in the job's zone, without offset.
        next_due_local: Option<String>,
        /// How the last run ended.
        last_outcome: Option<String>,
        /// Whether the last run was a dry one.
        last_mode: Option<String>,
        /// When.
        last_finished_at: Option<Timestamp>,
        /// Rows that it affected, or would have.
        last_rows: Option<i64>,
        /// Why it came to its end.
        last_stopped: Option<String>,
        /// Why it did not succeed, or why the job is invalid.
        last_error: Option<String>,
        /// When a run succeeded last.
        last_success_at: Option<Timestamp>,
        /// Rows that are old enough to go by now, as the last run and the rates have it.
        eligible: Option<i64>,
        /// The age of the oldest row that the last run left.
        oldest_overdue: Option<String>,
        /// For how long that one is eligible, in seconds.
        overdue_by: Option<f64>,
        /// Rows a day that come of age.
        arrival_per_day: Option<i64>,
        /// Rows a day that are deleted.
        drain_per_day: Option<i64>,
        /// Whether the job keeps up; `None` if its runs are too few to tell.
        catches_up: Option<bool>,
        /// Failed occurrences in a row.
        failure_count: i32,
        /// Counts edits of the definition.
        revision: i64,
        /// Counts changes of holder.
        version: i64,
        /// Who edited it last.
        edited_by: String,
        /// When.
        edited_at: Timestamp,
        /// When `apply` found it gone from its file.
        removed_at: Option<Timestamp>,
        /// The settings of its kind.
        params: Value,
        /// Its id.
        id: i64,
        /// The other database that it works in, or those of its targets.
        database: Option<String>,
        /// The database's clock.
        now: Timestamp,
    }

    /// A run as the view `sexton.runs` shows it.
    pub struct RunRow {
        /// Its id.
        id: Uuid,
        /// The job's name then.
        job: String,
        /// `running`, or its outcome.
        state: String,
        /// `real` or `dry`.
        mode: String,
        /// Where its occurrence came from.
        origin: String,
        /// What it is for.
        occurrence: Timestamp,
        /// When it was claimed.
        started_at: Timestamp,
        /// When it ended.
        finished_at: Option<Timestamp>,
        /// Seconds that it took, or takes until now.
        duration: f64,
        /// Seconds from the occurrence to the claim.
        late_by: f64,
        /// 1 for the first run of an occurrence.
        attempt: i32,
        /// Transactions that committed.
        batches: i64,
        /// Rows that these affected.
        rows_done: i64,
        /// Missed runs that it stands for besides its own.
        coalesced: i64,
        /// Why it came to its end.
        stopped: Option<String>,
        /// Why it did not succeed.
        error: Option<String>,
        /// What it said at its end.
        report: Option<Value>,
        /// The replica that ran it.
        holder: String,
        /// With the version, the order of all runs of a job.
        epoch: i64,
        /// The fencing token.
        version: i64,
        /// The definition that it ran with.
        revision: i64,
        /// Its params.
        params: Value,
        /// The options of its occurrence.
        options: Value,
        /// The inputs of its occurrence.
        inputs: Value,
        /// The program that ran it.
        program: String,
        /// The job, perhaps gone.
        job_id: i64,
    }

    /// A run that is on, as the view `sexton.running` shows it.
    pub struct RunningRow {
        /// The job's name.
        job: String,
        /// `real` or `dry`.
        mode: String,
        /// The replica that runs it.
        holder: String,
        /// The backend that it runs on.
        backend_pid: i32,
        /// When it was claimed.
        started_at: Timestamp,
        /// Seconds since then.
        duration: f64,
        /// 1 for the first run of an occurrence.
        attempt: i32,
        /// Transactions that committed.
        batches: Option<i64>,
        /// Rows that these affected.
        rows_done: Option<i64>,
        /// Rows a second, over the whole run.
        rows_per_second: Option<i64>,
        /// When the last batch committed.
        last_batch_at: Option<Timestamp>,
        /// What the run says of itself.
        progress: Option<Value>,
        /// What its backend waits for.
        waits_for: Option<String>,
        /// Why it must stop, if so.
        stops_because: Option<String>,
        /// Its id.
        run_id: Uuid,
        /// The fencing token.
        version: i64,
        /// The resources that it holds.
        resources: Value,
        /// Rows that earlier attempts for the same occurrence affected.
        rows_before: i64,
    }

    /// What the coming instants of a job are computed from.
    pub struct ScheduleRow {
        /// Seeds jitter and `H`.
        install_id: Uuid,
        /// The database's clock.
        now: Timestamp,
        /// The schedule, without zone.
        schedule: String,
        /// The zone of the schedule's times.
        time_zone: String,
        /// Upper bound of the delay, in seconds.
        jitter: f64,
        /// Whether a replica has worked out the next instant.
        planned: bool,
        /// The next regular instant.
        scheduled_at: Option<Timestamp>,
        /// The last regular instant that was settled.
        last_scheduled_at: Option<Timestamp>,
        /// Where what is due comes from.
        origin: Option<String>,
        /// When that is tried.
        due_at: Option<Timestamp>,
        /// Attempts made for it.
        attempt: i32,
        /// Why a replica refuses the job.
        invalid_reason: Option<String>,
        /// Whether the job is paused now.
        paused: bool,
    }

    /// A legal hold.
    pub struct HoldRow {
        /// Names it.
        id: i64,
        /// The other database that the table is in, by the name that jobs give it.
        database: Option<String>,
        /// The table that it is on.
        table_name: String,
        /// Which of its rows stay.
        predicate: String,
        /// Why.
        reason: String,
        /// Who set it.
        held_by: String,
        /// Since when.
        held_at: Timestamp,
    }

    /// A job that a oneshot has to wait for.
    pub struct DueRow {
        /// The job's name.
        name: String,
        /// When it is tried; `None` while it is to be planned.
        due_at: Option<Timestamp>,
        /// See [`JobState`](super::super::verbs::JobState).
        state: String,
        /// The database's clock.
        now: Timestamp,
    }

    /// What has become of a job that was asked to run now.
    pub struct RequestedRow {
        /// `idle` or `running`.
        state: String,
        /// What its next or present run is for.
        occurrence: Option<Timestamp>,
        /// Where that comes from.
        origin: Option<String>,
        /// When it is tried.
        due_at: Option<Timestamp>,
        /// Attempts made for it.
        attempt: i32,
        /// Whether it shall run once more after the present run.
        once_more: bool,
        /// Its present run.
        run_id: Option<Uuid>,
        /// Whether it is paused now.
        paused: bool,
        /// The database's clock.
        now: Timestamp,
    }
}
