//! The kind `purge`: deletes the rows of a table whose time is over, in batches, each once.
//!
//! A run reads top down here: look at the table (`target`, `preflight`), fix the cutoff, ask the guards, choose the
//! walk, store all that (`cursor`), walk (`walk`, `walk_index`, `walk_heap`, `walk_partition`; at the pace of `pace`,
//! with regard to `pressure`, within `budget`), report. All statements come from one builder (`statement`), for the run
//! and the dry run alike. Where other tables' rows go along (`children`, `family`) or rows are kept (`archive`), `remove`
//! makes each batch.
//!
//! What is easy to get wrong: the cutoff belongs to the occurrence, not to the attempt. It is computed by the database
//! from the run's now, once, and committed with the cursor before the first row goes.

mod age;
mod ahead;
mod among;
mod archive;
#[cfg(feature = "http")]
mod before;
mod budget;
mod care;
mod check;
mod children;
mod choose;
mod counts;
mod cursor;
mod described;
mod dry;
mod elsewhere;
mod family;
mod guard;
mod history;
mod hold;
mod keep;
mod kept;
mod left;
mod lifetime;
mod lineage;
mod locked;
mod moment;
mod own;
mod pace;
mod params;
mod partitions;
mod preflight;
mod pressure;
mod progress;
mod referenced;
mod remove;
mod report;
mod sample;
mod statement;
#[cfg(feature = "backup")]
mod stored;
mod summary;
mod tally;
mod target;
mod targets;
mod text;
mod turns;
mod visits;
mod walk;
mod walk_detach;
mod walk_heap;
mod walk_index;
mod walk_partition;
mod window;
mod workers;

pub use crate::kind::interval::{Limit, Retention};
pub use age::AgeUnit;
pub use archive::Archive;
#[cfg(feature = "http")]
pub use before::{BeforeDelete, TABLE as BEFORE_DELETE};
pub use children::{Child, ChildTable, Columns};
pub use hold::{Listed, Protect};
pub use keep::KeepLast;
pub use own::RetentionQuery;
pub use params::{CutoffFrom, Detach, OnReferenced, Pacing, Params, Straddling, VacuumChoice, WalkChoice};
pub use window::Window;

#[cfg(feature = "backup")]
use self::stored::Stores;
use self::{
    among::Among,
    budget::Budget,
    cursor::{Cursor, Cutoff, Place},
    family::Family,
    guard::Approval,
    pace::Pace,
    partitions::Partitions,
    pressure::Pressure,
    remove::Removal,
    report::{Before, Sizes},
    statement::Scope,
    target::{Facts, ForeignKey},
    walk::Walk,
    walk_partition::Whole,
};
use crate::{
    kind::{Commits, Description, Kind, Mode, Nature, Need, ParamError, Report, RunContext, Stop, Stopped},
    outside::Outside,
    statements,
};

/// Deletes the rows of a table whose time is over. See `docs/kinds/purge.md`.
#[derive(Clone, Debug, Default)]
pub struct Purge {
    outside: Outside,
}

impl Purge {
    /// Calls, and keeps rows in storages, where a job wants that, by what the replica knows locally.
    pub fn new(outside: Outside) -> Self {
        Purge { outside }
    }
}

impl Kind for Purge {
    type Params = Params;

    fn name(&self) -> &'static str {
        "purge"
    }

    fn describe(&self) -> Description {
        Description {
            summary: "Deletes the rows of a table that are older than a retention, in batches, each once.",
            nature: Nature::Destructive,
            params: described::TABLE,
            example: "[jobs.audit-logs]\n\
                      schedule = \"daily 03:00\"\n\
                      \n\
                      [jobs.audit-logs.purge]\n\
                      table = \"audit_log\"\n\
                      by = \"created_at\"\n\
                      retention = \"1 year\"\n",
        }
    }

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        params.check_job()
    }

    fn needs(&self, params: &Params) -> Vec<Need> {
        params.needs()
    }

    fn elsewhere(&self, params: &Params) -> Result<(), String> {
        params.elsewhere()
    }

    async fn run(&self, context: &mut RunContext, params: Params) -> Result<Report, Stop> {
        if context.options().range.is_some() {
            return Err(Stop::refused(
                "a purge has no option range yet",
                "narrow it by `where` and an input",
            ));
        }
        if let Some(targets) = params.each_target() {
            return turns::run(context, &params, &targets, &self.outside).await;
        }
        let done = rows_done_before(context).await?;
        let budget = Budget::new(&params, context.options(), done, context.now())?;
        let mut turn = Turn {
            table: context.target().map(|(name, oid)| (name.to_owned(), oid)),
            number: None,
            approval: Approval { rows: context.approved_rows(), alone: true },
            budget,
            done,
            cursor: context.cursor::<Cursor>()?,
            among: None,
            outside: self.outside.clone(),
        };
        let mut report = one(context, &params, &mut turn).await?;
        if let Some(database) = context.database() {
            report.details.insert("database".to_owned(), database.into());
        }
        Ok(report)
    }
}

/// What a purge of one table knows of the job around it.
struct Turn {
    /// The table's name and oid, if it was found when the job was saved.
    table: Option<(String, u32)>,
    /// Which of several targets it is.
    number: Option<usize>,
    /// What an operator approved, or what is left of it.
    approval: Approval,
    budget: Budget,
    /// Rows of the table that earlier attempts deleted.
    done: u64,
    /// Where an earlier attempt left off.
    cursor: Option<Cursor>,
    /// How the job stands with all its targets.
    among: Option<Among>,
    /// What the replica knows locally, for calls and storages.
    #[cfg_attr(
        not(any(feature = "http", feature = "backup")),
        expect(dead_code, reason = "only these need it")
    )]
    outside: Outside,
}

/// The purge of one table.
async fn one(context: &mut RunContext, params: &Params, turn: &mut Turn) -> Result<Report, Stop> {
    let meant = Meant::read(context, params, turn.table.clone()).await?;
    match context.mode() {
        Mode::Dry => dry::run(context, params, &meant, turn).await,
        Mode::Real => real_run(context, params, &meant, turn).await,
    }
}

/// What the params mean, by the server's judgment.
struct Meant {
    facts: Facts,
    family: Family,
    archive: Option<archive::Into>,
    scope: Scope,
    keys: Vec<ForeignKey>,
    #[cfg(feature = "http")]
    calls: Option<before::Calls>,
}

impl Meant {
    async fn read(
        context: &mut RunContext,
        params: &Params,
        table: Option<(String, u32)>,
    ) -> Result<Self, Stop> {
        let facts = Facts::read(context, params, table).await?;
        preflight::table(context.job(), &facts)?;
        let family = family::read(context, params, &facts).await?;
        let archive = match &params.archive {
            Some(archive) => Some(archive::read(context, archive, &facts, "archive").await?),
            None => None,
        };
        preflight::family(&facts, &family, archive.as_ref())?;
        let scope = target::scope(context, params, &facts, &family).await?;
        let keys = target::all_foreign_keys(context, &facts, &family).await?;
        #[cfg(feature = "http")]
        let calls = match &params.before_delete {
            Some(before) => Some(before::Calls::read(context, before, &facts, &scope).await?),
            None => None,
        };
        Ok(Meant {
            facts,
            family,
            archive,
            scope,
            keys,
            #[cfg(feature = "http")]
            calls,
        })
    }

    async fn warnings(&self, context: &mut RunContext) -> Result<Vec<String>, Stop> {
        preflight::warnings(context, &self.facts, &self.keys, &self.family, self.archive.as_ref()).await
    }

    /// Where rows of the table and its children are kept.
    #[cfg(feature = "backup")]
    fn archives(&self) -> impl Iterator<Item = &archive::Into> {
        self.archive.iter().chain(self.family.tables().into_iter().filter_map(|node| node.archive.as_ref()))
    }

    /// Whether rows that others have locked can be stepped around.
    fn may_lock(&self) -> bool {
        self.facts.may_lock && self.family.nodes.iter().all(|node| node.facts.may_lock)
    }
}

async fn real_run(
    context: &mut RunContext,
    params: &Params,
    meant: &Meant,
    turn: &mut Turn,
) -> Result<Report, Stop> {
    let Meant { facts, family, archive, scope, keys, .. } = meant;
    let since = tokio::time::Instant::now();
    preflight::foreign_keys(facts, keys, family, params)?;
    let mut budget = turn.budget.clone();
    if budget.spent(0) == Some(Stopped::WindowClosed) {
        return Ok(report::of_closed_window(params, context.now()));
    }
    let mut before = Before {
        since,
        started: since,
        sizes: Sizes::read(context, facts.oid).await?,
        done: turn.done,
        wal: report::wal(context).await?,
        warnings: meant.warnings(context).await?,
        approved: None,
        target: turn.number,
    };
    let (cursor, found) = match turn.cursor.take() {
        Some(cursor) => (Cursor { among: turn.among.clone(), ..cursor }, None),
        None => begin(context, params, meant, turn, &mut before).await?,
    };
    let whole = match cursor.at {
        Place::Partition(_) => {
            Some(Whole::read(context, params, scope, facts, keys, cursor.cutoff.as_ref(), found).await?)
        }
        Place::Age(_) | Place::Block(_) => None,
    };
    before.warnings.extend(whole.as_ref().and_then(Whole::warning));
    let rows = guard::table_rows(context, scope).await?;
    let unit = choose::unit(context, facts, cursor.at, rows).await?;
    #[cfg(feature = "http")]
    let batch = params.batch.or(meant.calls.as_ref().map(|_| before::RANGE));
    #[cfg(not(feature = "http"))]
    let batch = params.batch;
    let pace = Pace::new(params.pace(), unit, batch);
    choose::keep_planner(context, scope).await?;
    // A batch that a crash undoes is met again by the next run, which stands where the undone one began.
    context.commits(Commits::Relaxed);
    let along = family.nodes.iter().map(|node| node.facts.oid);
    let pressure = Pressure::new(params, [facts.oid].into_iter().chain(along).collect());
    let mut walk = Walk::new(scope, cursor, pace, budget, pressure, meant.may_lock());
    walk.whole = whole;
    walk.removal = Removal::new(family, archive.as_ref(), scope);
    #[cfg(feature = "backup")]
    if let Some(removal) = &mut walk.removal {
        removal.stores = Stores::open(meant.archives(), &turn.outside.contents())?;
        if let Some(stores) = &removal.stores {
            stores.settle_earlier(context).await?;
        }
    }
    if let Some(removal) = &walk.removal {
        removal.prepare(context).await?;
    }
    #[cfg(feature = "http")]
    if let Some(calls) = &meant.calls {
        // One state of the local file for the whole run.
        let client = turn.outside.http().map_err(before::refused)?;
        let before = before::Before::new(context, calls, client, meant.may_lock());
        before.tidy(context, scope, walk.cursor.cutoff.as_ref(), &walk.cursor).await?;
        walk.before = Some(before);
    }
    before.started = tokio::time::Instant::now();
    let ended = workers::run(&mut walk, context, params, facts).await;
    // However it ended: the run's end is written on this session. A session that is gone says so again there.
    let reset = context.limit_statements(None).await;
    let stopped = ended?;
    reset?;
    report::of_run(context, params, before, walk, stopped, facts.oid).await
}

/// Fixes what the whole occurrence means: cutoff, guards passed, walk.
async fn begin(
    context: &mut RunContext,
    params: &Params,
    Meant { facts, scope, keys, .. }: &Meant,
    turn: &mut Turn,
    before: &mut Before,
) -> Result<(Cursor, Option<Partitions>), Stop> {
    sample::look(context, scope).await?;
    let cutoff = cutoff(context, params, scope).await?;
    let table = (scope, facts);
    let verdict = guard::judge(context, params, table, cutoff.as_ref(), turn.approval).await?.enforce()?;
    before.approved = verdict.approved;
    let eligible = verdict.eligible;
    if let (Some(among), Some(_)) = (&mut turn.among, verdict.approved) {
        among.use_approval(eligible.rows);
    }
    let chosen = choose::choose(context, params, scope, facts, keys, cutoff.as_ref(), eligible).await?;
    let cursor = Cursor {
        cutoff,
        at: chosen.at,
        by_partition: matches!(chosen.at, Place::Partition(_)),
        end: chosen.end,
        until: None,
        why: chosen.why,
        skipped: Vec::new(),
        detaching: None,
        eligible: eligible.rows,
        counted: eligible.counted,
        among: turn.among.clone(),
        receipts: Vec::new(),
    };
    context.checkpoint(&cursor).await?;
    Ok((cursor, chosen.partitions))
}

async fn cutoff(context: &mut RunContext, params: &Params, scope: &Scope) -> Result<Option<Cutoff>, Stop> {
    let Some(age) = &scope.age else { return Ok(None) };
    let cutoff = preflight::cutoff(context, params, age.ty).await?;
    match params.keep_min {
        Some(rows) => keep::at_least(context, scope, rows, cutoff).await.map(Some),
        None => Ok(Some(cutoff)),
    }
}

async fn rows_done_before(context: &mut RunContext) -> Result<u64, Stop> {
    let run = context.run_id();
    Ok(guard::number(&context.query_home(statements::PURGE_DONE_BEFORE, &[&run]).await?))
}
