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
mod archive;
mod ahead;
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
mod family;
mod guard;
mod history;
mod hold;
mod keep;
mod kept;
mod left;
mod lifetime;
mod lineage;
mod moment;
mod own;
mod pace;
mod params;
mod partitions;
mod preflight;
mod pressure;
mod referenced;
mod remove;
mod report;
mod sample;
mod statement;
mod target;
mod text;
mod walk;
mod walk_detach;
mod walk_heap;
mod walk_index;
mod walk_partition;
mod window;
mod workers;

use serde_json::{Value, json};

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

use self::{
    budget::Budget,
    cursor::{Cursor, Cutoff, Place},
    family::Family,
    history::History,
    lifetime::Lifetime,
    moment::Moment,
    pace::Pace,
    pressure::Pressure,
    remove::Removal,
    report::{Before, Found, Sizes},
    statement::Scope,
    target::{Facts, ForeignKey},
    walk::Walk,
    walk_partition::Whole,
};
use crate::{
    kind::{Commits, Description, Kind, Mode, Nature, ParamError, Report, RunContext, Stop, Stopped},
    outside::Outside,
    statements,
};

/// Deletes the rows of a table whose time is over. See `docs/kinds/purge.md`.
#[derive(Clone, Debug, Default)]
pub struct Purge {
    outside: Outside,
}

impl Purge {
    /// Calls, where a job wants that, by what the replica knows locally.
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
        params.check()
    }

    #[cfg(feature = "http")]
    fn needs(&self, params: &Params) -> Vec<crate::kind::Need> {
        params.before_delete.as_ref().map(BeforeDelete::needs).unwrap_or_default()
    }

    async fn run(&self, context: &mut RunContext, params: Params) -> Result<Report, Stop> {
        if context.options().range.is_some() {
            return Err(Stop::refused(
                "a purge has no option range yet",
                "narrow it by `where` and an input",
            ));
        }
        let facts = Facts::read(context, &params).await?;
        preflight::table(context.job(), &facts)?;
        let family = family::read(context, &params, &facts).await?;
        let archive = match &params.archive {
            Some(archive) => Some(archive::read(context, archive, &facts, "archive").await?),
            None => None,
        };
        preflight::family(&facts, &family, archive.as_ref())?;
        let scope = target::scope(context, &params, &facts, &family).await?;
        let keys = target::all_foreign_keys(context, &facts, &family).await?;
        #[cfg(feature = "http")]
        let calls = match &params.before_delete {
            Some(before) => Some(before::Calls::read(context, before, &facts, &scope).await?),
            None => None,
        };
        let meant = Meant {
            facts,
            family,
            archive,
            scope,
            keys,
            #[cfg(feature = "http")]
            calls,
        };
        match context.mode() {
            Mode::Dry => dry_run(context, &params, &meant).await,
            Mode::Real => real_run(context, &params, &meant, &self.outside).await,
        }
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
    async fn warnings(&self, context: &mut RunContext) -> Result<Vec<String>, Stop> {
        preflight::warnings(context, &self.facts, &self.keys, &self.family, self.archive.as_ref()).await
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
    #[cfg_attr(not(feature = "http"), expect(unused_variables, reason = "only calls need it"))]
    outside: &Outside,
) -> Result<Report, Stop> {
    let Meant { facts, family, archive, scope, keys, .. } = meant;
    let since = tokio::time::Instant::now();
    preflight::foreign_keys(facts, keys, family, params)?;
    let done = rows_done_before(context).await?;
    let mut budget = Budget::new(params, context.options(), done, context.now())?;
    if budget.spent(0) == Some(Stopped::WindowClosed) {
        return Ok(report::of_closed_window(params, context.now()));
    }
    let mut before = Before {
        since,
        started: since,
        sizes: Sizes::read(context, facts.oid).await?,
        done,
        wal: report::wal(context).await?,
        warnings: meant.warnings(context).await?,
        approved: None,
    };
    let cursor = match context.cursor::<Cursor>()? {
        Some(cursor) => cursor,
        None => begin(context, params, facts, scope, keys, &mut before).await?,
    };
    let whole = match cursor.at {
        Place::Partition(_) => {
            Some(Whole::read(context, params, scope, facts, keys, cursor.cutoff.as_ref()).await?)
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
    let pace = Pace::new(params.pacing, unit, batch);
    choose::keep_planner(context, scope).await?;
    // A batch that a crash undoes is met again by the next run, which stands where the undone one began.
    context.commits(Commits::Relaxed);
    let pressure = Pressure::new(params, facts.oid);
    let mut walk = Walk::new(scope, cursor, pace, budget, pressure, meant.may_lock());
    walk.whole = whole;
    walk.removal = Removal::new(family, archive.as_ref(), scope);
    if let Some(removal) = &walk.removal {
        removal.prepare(context).await?;
    }
    #[cfg(feature = "http")]
    if let Some(calls) = &meant.calls {
        // One state of the local file for the whole run.
        let client = outside.http().map_err(before::refused)?;
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
    facts: &Facts,
    scope: &Scope,
    keys: &[ForeignKey],
    before: &mut Before,
) -> Result<Cursor, Stop> {
    sample::look(context, scope).await?;
    let cutoff = cutoff(context, params, scope).await?;
    let verdict = guard::judge(context, params, scope, facts, cutoff.as_ref()).await?.enforce()?;
    before.approved = verdict.approved;
    let eligible = verdict.eligible;
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
    };
    context.checkpoint(&cursor).await?;
    Ok(cursor)
}

async fn dry_run(context: &mut RunContext, params: &Params, meant: &Meant) -> Result<Report, Stop> {
    let Meant { facts, family, archive, scope, keys, .. } = meant;
    let cutoff = cutoff(context, params, scope).await?;
    let mut problems = Vec::new();
    note(preflight::foreign_keys(facts, keys, family, params), &mut problems)?;
    note(sample::look(context, scope).await, &mut problems)?;
    let verdict = guard::judge(context, params, scope, facts, cutoff.as_ref()).await?;
    let kept = match scope.keeps_some() {
        false => 0,
        true => guard::count_with_kept(context, scope, cutoff.as_ref())
            .await?
            .saturating_sub(verdict.eligible.rows),
    };
    let eligible = verdict.eligible;
    let chosen = choose::choose(context, params, scope, facts, keys, cutoff.as_ref(), eligible).await;
    let chosen = note(chosen, &mut problems)?;
    let whole = match chosen.as_ref().map(|chosen| chosen.at) {
        Some(Place::Partition(_)) => {
            Some(Whole::read(context, params, scope, facts, keys, cutoff.as_ref()).await?)
        }
        _ => None,
    };
    let mut missing: Vec<String> =
        preflight::unindexed(keys, family).into_iter().map(|(_, remedy)| remedy).collect();
    if let Some(chosen) = &chosen {
        missing.extend(choose::missing_index(context, scope, facts, chosen.at, eligible).await?);
    }
    let walk = chosen.map(|chosen| (chosen.at.walk(), chosen.why));
    let extent = extent(context, scope, cutoff.as_ref()).await?;
    let mut warnings = meant.warnings(context).await?;
    warnings.extend(whole.as_ref().and_then(Whole::warning));
    let whole = match whole {
        Some(whole) => whole.listed(context).await?,
        None => Value::Null,
    };
    let mut children = Vec::new();
    for table in family.tables() {
        let sql = family.count(scope, cutoff.as_ref(), table.facts.oid());
        let rows = guard::number(&context.query(&sql.text, &sql.values).await?);
        let archive = table.archive.as_ref().map(|archive| archive.table.as_str());
        children.push(json!({"table": table.facts.name(), "eligible": rows, "archive": archive}));
    }
    let children = (!children.is_empty()).then_some(children);
    let archive = archive.as_ref().map(|archive| archive.table.to_string());
    #[cfg(feature = "http")]
    let calls = match &meant.calls {
        Some(calls) => before::dry(context, calls, scope, cutoff.as_ref()).await?,
        None => Value::Null,
    };
    #[cfg(not(feature = "http"))]
    let calls = Value::Null;
    let history = History::read(context).await?;
    let life = Lifetime::of(context, params, cutoff.as_ref(), &history);
    let limit_rows = Budget::new(params, context.options(), 0, context.now())?.left(0);
    let found = Found {
        cutoff,
        verdict,
        walk,
        whole,
        children,
        archive,
        calls,
        extent,
        history,
        life,
        limit_rows,
        kept,
        problems,
        missing,
        warnings,
    };
    Ok(report::of_dry_run(params, scope, context.now(), found))
}

async fn cutoff(context: &mut RunContext, params: &Params, scope: &Scope) -> Result<Option<Cutoff>, Stop> {
    let Some(age) = &scope.age else { return Ok(None) };
    let cutoff = preflight::cutoff(context, params, age.ty).await?;
    match params.keep_min {
        Some(rows) => keep::at_least(context, scope, rows, cutoff).await.map(Some),
        None => Ok(Some(cutoff)),
    }
}

/// The oldest and the youngest age that would go.
async fn extent(
    context: &mut RunContext,
    scope: &Scope,
    cutoff: Option<&Cutoff>,
) -> Result<Option<(Option<Moment>, Option<Moment>)>, Stop> {
    let Some(sql) = scope.extent(cutoff) else { return Ok(None) };
    let rows = context.query(&sql.text, &sql.values).await?;
    Ok(rows.first().map(|row| (row.get(0), row.get(1))))
}

/// In a dry run, what a run would refuse is noted instead.
fn note<T>(result: Result<T, Stop>, problems: &mut Vec<(String, Option<String>)>) -> Result<Option<T>, Stop> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Stop::Refused { reason, remedy, .. }) => {
            problems.push((reason, remedy));
            Ok(None)
        }
        Err(stop) => Err(stop),
    }
}

async fn rows_done_before(context: &mut RunContext) -> Result<u64, Stop> {
    let run = context.run_id();
    Ok(guard::number(&context.query(statements::PURGE_DONE_BEFORE, &[&run]).await?))
}
