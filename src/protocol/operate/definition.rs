//! What a job's author and its operators have set, and which run it is in: the columns of `sexton.job`, as a type.
//!
//! The views' rows (see `rows`) say what follows from these.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

use super::rows::rows;

rows! {
    /// A job's definition and switches: the table's own columns.
    pub struct JobDefinition {
        /// Its name.
        name: String,
        /// Whose file it belongs to.
        app: String,
        /// What it does.
        kind: String,
        /// The settings of its kind.
        params: Value,
        /// The values that run now may set, and their types.
        inputs: Value,
        /// The role whose rights it uses.
        run_as: Option<String>,
        /// The database that it works in, if it is another.
        database: Option<String>,
        /// Its schedule, without zone.
        schedule: String,
        /// The zone of the schedule's times.
        time_zone: String,
        /// What becomes of missed runs.
        missed: String,
        /// An occurrence later than this is not run.
        max_lateness: Option<String>,
        /// Upper bound of its delay.
        jitter: String,
        /// The most that one attempt may take.
        timeout: String,
        /// Attempts for one occurrence.
        max_attempts: i32,
        /// Wait after the first failed attempt.
        backoff: String,
        /// The longest wait.
        backoff_max: String,
        /// When a run with work left comes back.
        resume_after: String,
        /// Pauses itself after that many failures.
        pause_after: Option<i32>,
        /// The higher first.
        priority: i32,
        /// Of the run's session.
        search_path: Option<String>,
        /// Overdue when its last success is older.
        expect_success_every: Option<String>,
        /// Finished runs that are kept; `None`: as the installation says.
        keep_runs: Option<i32>,
        /// How long they are kept at the most; `None`: as the installation says.
        keep_runs_for: Option<String>,
        /// Who hears of what.
        notices: Value,
        /// Resources that its runs hold.
        resources: Value,
        /// What becomes of an occurrence while another holds one: `wait` or `skip`.
        when_held: String,
        /// Whether it may run beside other jobs on its table.
        shares_table: bool,
        /// How many of its one-offs may run at a time.
        max_running: i32,
        /// Since when it is paused.
        paused_at: Option<Timestamp>,
        /// By whom.
        paused_by: Option<String>,
        /// Why.
        pause_reason: Option<String>,
        /// Until when.
        paused_until: Option<Timestamp>,
        /// Since when some revision of it is armed.
        armed_at: Option<Timestamp>,
        /// By whom.
        armed_by: Option<String>,
        /// When a person disarmed it.
        disarmed_at: Option<Timestamp>,
        /// Who.
        disarmed_by: Option<String>,
        /// Rows that one run may delete past the guards.
        approved_rows: Option<i64>,
        /// Who approved that.
        approved_by: Option<String>,
        /// Counts edits of the definition.
        revision: i64,
        /// Why a replica refuses it.
        invalid_reason: Option<String>,
        /// The table that it works on.
        target_name: Option<String>,
        /// Of the file that was applied last.
        generation: Option<i64>,
        /// When it was created.
        created_at: Timestamp,
        /// When it was edited last.
        edited_at: Timestamp,
        /// By whom.
        edited_by: String,
        /// Where the next or present occurrence comes from.
        origin: Option<String>,
        /// What the next or present run is for.
        occurrence: Option<Timestamp>,
        /// When to try it.
        due_at: Option<Timestamp>,
        /// Attempts made.
        attempt: i32,
        /// Options of that occurrence.
        run_options: Value,
        /// Inputs of that occurrence.
        run_inputs: Value,
        /// The replica that runs it.
        holder: Option<String>,
        /// The backend that it runs on.
        holder_pid: Option<i32>,
        /// Its run.
        run_id: Option<Uuid>,
    }
}
