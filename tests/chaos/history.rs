//! What happened, as the recorder in the database and the replicas themselves noted it.
//!
//! Read once, when all is quiet; the checker works on this and nothing else. Instants are microseconds since 1970.

use std::collections::HashMap;

use jiff::Timestamp;
use uuid::Uuid;

use crate::world::{Result, World};

/// One change of a row of `sexton.job`.
#[derive(Clone, Debug)]
pub struct Change {
    pub moment: i64,
    /// When it was made, by the clock of the database.
    pub at: i64,
    /// When it was committed, by the server's commit timestamp; none where the server does not keep them.
    pub committed: Option<i64>,
    pub deleted: bool,
    pub job: i64,
    pub name: String,
    pub running: bool,
    pub version: i64,
    pub run: Option<Uuid>,
    pub revision: i64,
    pub armed_revision: Option<i64>,
    pub paused: bool,
    pub cancelled: bool,
    pub scheduled_at: Option<i64>,
    pub due_at: Option<i64>,
    pub paused_until: Option<i64>,
    /// Of a one-off: the job that it belongs to, the job that submitted it (0: a person), its key.
    pub parent: Option<i64>,
    pub source: Option<i64>,
    pub key: Option<String>,
    pub max_running: i32,
    /// Its transaction, of a row that was inserted.
    pub inserted_by: Option<i64>,
    pub taken_from_live: bool,
}

impl Change {
    /// Whether it began a run, the job's state before it being this.
    pub fn begins(&self, before: Option<&Change>) -> bool {
        self.running && before.is_none_or(|before| before.run != self.run)
    }
}

/// One change of a row of `sexton.run_part`: progress that was recorded.
#[derive(Clone, Debug)]
pub struct Fence {
    pub moment: i64,
    pub committed: Option<i64>,
    pub xid: i64,
    pub run: Uuid,
    pub steps: i64,
    pub rows: i64,
}

/// One row of the ledger that the kind `steps` writes.
#[derive(Clone, Debug)]
pub struct Step {
    pub xid: i64,
    pub job: String,
    pub occurrence: i64,
    pub step: i32,
    pub run: Uuid,
}

/// One row of `sexton.run`.
#[derive(Clone, Debug)]
pub struct Run {
    pub id: Uuid,
    pub job: i64,
    pub name: String,
    /// Of a one-off: the job that it belongs to.
    pub parent: Option<i64>,
    pub occurrence: i64,
    pub origin: String,
    pub attempt: i32,
    pub epoch: i64,
    pub version: i64,
    pub revision: i64,
    pub real: bool,
    pub destructive: bool,
    pub state: String,
    pub coalesced: i64,
    pub batches: Option<i64>,
    pub rows: Option<i64>,
    pub steps: Option<i64>,
    /// The name of the replica.
    pub holder: String,
    pub finished: Option<i64>,
    /// Whether its effect is a call or a program that notes what comes.
    pub outside: bool,
}

/// A call that a receiver noted, or a program that was started.
#[derive(Clone, Debug)]
pub struct Call {
    pub kind: &'static str,
    pub job: i64,
    pub key: String,
    pub token: String,
    /// When it came.
    pub at: i64,
    /// A call was answered well, a program came to its end.
    pub acknowledged: bool,
    /// The token of another one for this job that was still under way a second later.
    pub beside: Option<String>,
}

/// A time in which a replica was frozen or cut off.
#[derive(Clone, Debug)]
pub struct Excuse {
    pub replica: String,
    pub from: i64,
    pub until: i64,
}

/// A job as it stands at the end.
#[derive(Clone, Debug)]
pub struct Job {
    pub id: i64,
    pub name: String,
    /// For a schedule `every Ns` that was never edited: the period in microseconds.
    pub period: Option<i64>,
    pub planned: bool,
    pub scheduled_at: Option<i64>,
    pub missed_count: i64,
    pub occurrence: Option<i64>,
    pub max_attempts: i32,
}

/// A wish that was accepted.
#[derive(Clone, Debug)]
pub struct Wish {
    pub moment: i64,
    pub job: i64,
    pub verb: String,
    /// Of what was submitted.
    pub key: Option<String>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// In the order of `moment`.
    pub changes: Vec<Change>,
    pub fences: Vec<Fence>,
    pub steps: Vec<Step>,
    pub runs: Vec<Run>,
    pub jobs: Vec<Job>,
    pub wishes: Vec<Wish>,
    /// Halts and their ends: commit timestamp, halted.
    pub halts: Vec<(Option<i64>, bool)>,
    /// Rows that purges took, by transaction.
    pub gone: HashMap<i64, i64>,
    /// Rows that are gone though they should not be, and rows taken more than once: said by the oracle.
    pub wrongly_gone: Vec<String>,
    /// What replicas know to be committed: run and step.
    pub acknowledged: Vec<(Uuid, i32)>,
    /// Tokens handed to the outside: job, token, run.
    pub tokens: Vec<(String, String, Uuid)>,
    /// What receivers outside noted.
    pub calls: Vec<Call>,
    pub excuses: Vec<Excuse>,
    /// Runs beside which something stood that may not, and what.
    pub beside: Vec<(Uuid, String)>,
    /// What replicas say in their logs of runs: replica, run, and the outcome that it came to.
    pub told: Vec<(String, Uuid, Option<String>)>,
}

fn micros(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_microsecond)
}

const COMMITTED: &str = "CASE WHEN current_setting('track_commit_timestamp')::bool
    THEN pg_xact_commit_timestamp(xid::xid) END AS committed";

impl History {
    /// Reads what the recorder wrote. Nothing may be at work any more.
    pub async fn read(world: &World) -> Result<History> {
        let mut history = History::default();
        let sql =
            format!("SELECT *, xid::text::bigint AS number, {COMMITTED} FROM chaos.trail ORDER BY moment");
        for row in world.rows(&sql, &[]).await? {
            history.changes.push(Change {
                moment: row.get("moment"),
                at: row.get::<_, Timestamp>("at").as_microsecond(),
                committed: micros(row.get("committed")),
                deleted: row.get::<_, &str>("op") == "DELETE",
                job: row.get("job_id"),
                name: row.get("name"),
                running: row.get::<_, &str>("state") == "running",
                version: row.get("version"),
                run: row.get("run_id"),
                revision: row.get("revision"),
                armed_revision: row.get("armed_revision"),
                paused: row.get("paused"),
                cancelled: row.get("cancelled"),
                scheduled_at: micros(row.get("scheduled_at")),
                due_at: micros(row.get("due_at")),
                paused_until: micros(row.get("paused_until")),
                parent: row.get("parent_id"),
                source: row.get("source_id"),
                key: row.get("submit_key"),
                max_running: row.get("max_running"),
                inserted_by: (row.get::<_, &str>("op") == "INSERT").then(|| row.get("number")),
                taken_from_live: row.get("taken_from_live"),
            });
        }
        history.read_progress(world).await?;
        history.read_tables(world).await?;
        Ok(history)
    }

    async fn read_progress(&mut self, world: &World) -> Result<()> {
        let sql =
            format!("SELECT *, xid::text::bigint AS number, {COMMITTED} FROM chaos.fence ORDER BY moment");
        for row in world.rows(&sql, &[]).await? {
            self.fences.push(Fence {
                moment: row.get("moment"),
                committed: micros(row.get("committed")),
                xid: row.get("number"),
                run: row.get("run_id"),
                steps: row.get("steps"),
                rows: row.get("rows"),
            });
        }
        for row in
            world.rows("SELECT *, xid::text::bigint AS number FROM chaos.ledger ORDER BY id", &[]).await?
        {
            self.steps.push(Step {
                xid: row.get("number"),
                job: row.get("job"),
                occurrence: row.get::<_, Timestamp>("occurrence").as_microsecond(),
                step: row.get("step"),
                run: row.get("run_id"),
            });
        }
        for row in world.rows("SELECT xid::text::bigint, count(*) FROM chaos.gone GROUP BY 1", &[]).await? {
            self.gone.insert(row.get(0), row.get(1));
        }
        // Whose turn it was with a hold is told by commit timestamps alone, where the server keeps them.
        let sql = "SELECT what FROM chaos.wrong UNION ALL SELECT what FROM chaos.wrongly_held
            WHERE current_setting('track_commit_timestamp')::bool LIMIT 20";
        for row in world.rows(sql, &[]).await? {
            self.wrongly_gone.push(row.get(0));
        }
        for row in world.rows(&format!("SELECT halted, {COMMITTED} FROM chaos.halt"), &[]).await? {
            self.halts.push((micros(row.get("committed")), row.get("halted")));
        }
        self.halts.sort_unstable();
        let sql = "SELECT moment, job_id, verb, key FROM chaos.accepted ORDER BY moment";
        for row in world.rows(sql, &[]).await? {
            let (moment, job, verb, key) = (row.get(0), row.get(1), row.get(2), row.get(3));
            self.wishes.push(Wish { moment, job, verb, key });
        }
        for row in world.rows("SELECT run_id, what FROM chaos.beside", &[]).await? {
            self.beside.push((row.get(0), row.get(1)));
        }
        Ok(())
    }

    async fn read_tables(&mut self, world: &World) -> Result<()> {
        let sql = "SELECT *, CASE WHEN kind = 'steps' THEN (params ->> 'steps')::bigint END AS steps
                     FROM chaos.run ORDER BY job_id, epoch, version";
        for row in world.rows(sql, &[]).await? {
            self.runs.push(Run {
                id: row.get("id"),
                job: row.get("job_id"),
                name: row.get("job_name"),
                parent: row.get("parent_id"),
                occurrence: row.get::<_, Timestamp>("occurrence").as_microsecond(),
                origin: row.get("origin"),
                attempt: row.get("attempt"),
                epoch: row.get("epoch"),
                version: row.get("version"),
                revision: row.get("revision"),
                real: row.get::<_, &str>("mode") == "real",
                destructive: row.get("destructive"),
                state: row.get("state"),
                coalesced: row.get("coalesced"),
                batches: row.get("batches"),
                rows: row.get("rows_done"),
                steps: row.get("steps"),
                holder: row.get("holder"),
                finished: micros(row.get("finished_at")),
                outside: matches!(row.get("kind"), "http" | "command"),
            });
        }
        let sql = "SELECT *, CASE WHEN j.schedule ~ '^every [0-9]+s$' AND missed = 'once' AND NOT EXISTS
                (SELECT FROM sexton.audit a WHERE a.job_id = j.id AND a.verb IN ('create', 'edit')
                    AND a.detail ->> 'schedule' <> j.schedule)
                THEN substr(j.schedule, 7, length(j.schedule) - 7)::bigint * 1000000 END AS period FROM sexton.job j";
        for row in world.rows(sql, &[]).await? {
            self.jobs.push(Job {
                id: row.get("id"),
                name: row.get("name"),
                period: row.get("period"),
                planned: row.get("planned"),
                scheduled_at: micros(row.get("scheduled_at")),
                missed_count: row.get("missed_count"),
                occurrence: micros(row.get("occurrence")),
                max_attempts: row.get("max_attempts"),
            });
        }
        Ok(())
    }
}
