//! The kind `references`: removes ids that dangle or whose time is over from arrays, jsonb lists and columns without a
//! foreign key.
//!
//! A run reads top down here: look at the table (`target`), survey it, ask the guards (`guard`), walk (`walk`), tell the
//! owners. All statements come from one builder (`statement`), for the run and the dry run alike. What is easy to get
//! wrong: a reference that somebody adds while we work must stay, although the ids that we know of are older than it; see
//! `statement`.

mod audit;
mod described;
mod guard;
mod judge;
mod params;
mod path;
mod place;
mod statement;
mod target;
mod walk;

pub use params::{Column, OnDangling, Params};
pub use path::Path;

use serde_json::json;

use self::{
    statement::Target,
    walk::{Cursor, Walk},
};
use crate::kind::{Description, Kind, Mode, Nature, ParamError, Report, RunContext, Stop, Stopped};

/// Removes references that dangle or whose time is over. See `docs/kinds/references.md`.
#[derive(Clone, Copy, Debug, Default)]
pub struct References;

/// Owners told in one transaction.
const OWNERS: i64 = 100;

impl Kind for References {
    type Params = Params;

    fn name(&self) -> &'static str {
        "references"
    }

    fn describe(&self) -> Description {
        Description {
            summary: "Removes references that dangle or expired from arrays, jsonb lists and columns, and tells the owners.",
            nature: Nature::Destructive,
            params: described::TABLE,
            example: described::EXAMPLE,
        }
    }

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        params.check()
    }

    async fn run(&self, context: &mut RunContext, params: Params) -> Result<Report, Stop> {
        if context.options().range.is_some() {
            return Err(Stop::refused("references has no option range", "narrow it by `where` and an input"));
        }
        let target = target::read(context, &params).await?;
        match context.mode() {
            Mode::Dry => dry_run(context, &params, &target).await,
            Mode::Real => real_run(context, &params, &target).await,
        }
    }
}

async fn dry_run(context: &mut RunContext, params: &Params, target: &Target) -> Result<Report, Stop> {
    let found = walk::survey(context, target, params.batch).await?;
    let verdict = guard::judge(context, params, target, &found);
    let report = Report::new(Stopped::Drained)
        .with("table", target.table_name.as_str())
        .with("rows", found.rows)
        .with("references", found.references)
        .with("would_change", found.changed)
        .with("would_remove", found.removed)
        .with("would_delete", found.deleted)
        .with("unreadable", found.unreadable);
    match verdict {
        Ok(_) => Ok(report),
        Err(Stop::Refused { reason, remedy, .. }) => {
            Ok(report.with("would_refuse", json!({ "reason": reason, "remedy": remedy })))
        }
        Err(stop) => Err(stop),
    }
}

async fn real_run(context: &mut RunContext, params: &Params, target: &Target) -> Result<Report, Stop> {
    let cursor = match context.cursor::<Cursor>()? {
        Some(cursor) => cursor,
        None => begin(context, params, target).await?,
    };
    let mut walk = Walk::new(context, params, target, cursor)?;
    let stopped = walk.run(context).await?;
    let cursor = walk.cursor;
    let told = tell_owners(context, target, &cursor).await?;
    let report = Report::new(stopped)
        .with("table", target.table_name.as_str())
        .with("rows", cursor.found.rows)
        .with("references", cursor.found.references)
        .with("changed", cursor.changed)
        .with("removed", cursor.removed)
        .with("deleted", cursor.deleted)
        .with("locked", cursor.locked)
        .with("unreadable", cursor.found.unreadable);
    Ok(match target.owner {
        Some(_) => report.with("owners", told),
        None => report,
    })
}

/// Fixes what the whole occurrence goes by: the survey, and that the guards passed it.
async fn begin(context: &mut RunContext, params: &Params, target: &Target) -> Result<Cursor, Stop> {
    let found = walk::survey(context, target, params.batch).await?;
    let approved = guard::judge(context, params, target, &found)?;
    let cursor = Cursor::new(found, approved);
    context.checkpoint(&cursor).await?;
    Ok(cursor)
}

/// Writes a notice for each owner of changed rows: of this run's, and of those that an earlier one left untold.
async fn tell_owners(context: &mut RunContext, target: &Target, cursor: &Cursor) -> Result<u64, Stop> {
    let mut told = 0;
    if target.owner.is_none() {
        return Ok(told);
    }
    let run = context.run_id();
    loop {
        let sql = target.notices(&run, &OWNERS);
        let mut transaction = context.begin().await?;
        let owners = transaction.query(&sql.text, &sql.values).await?.len() as u64;
        if owners == 0 {
            transaction.roll_back().await?;
            return Ok(told);
        }
        transaction.commit(0, cursor).await?;
        told += owners;
    }
}
