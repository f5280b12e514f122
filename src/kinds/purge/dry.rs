//! A dry run: what a run would do, by the same statements, and what would refuse it.
//!
//! What is easy to get wrong: a refusal is no reason to stop looking, since all that would refuse a run is to be known at
//! once.

use serde_json::{Value, json};

use super::{
    Meant, Turn,
    archive::Into,
    choose,
    cursor::Cutoff,
    cutoff, guard,
    history::History,
    lifetime::Lifetime,
    moment::Moment,
    params::Params,
    preflight,
    report::{self, Found},
    sample,
    statement::Scope,
    walk_partition::Whole,
};
use crate::kind::{Report, RunContext, Stop};

/// The dry run of the purge of one table.
pub(super) async fn run(
    context: &mut RunContext,
    params: &Params,
    meant: &Meant,
    turn: &Turn,
) -> Result<Report, Stop> {
    let Meant { facts, family, archive, scope, keys, .. } = meant;
    let cutoff = cutoff(context, params, scope).await?;
    let mut problems = Vec::new();
    note(preflight::foreign_keys(facts, keys, family, params), &mut problems)?;
    note(sample::look(context, scope).await, &mut problems)?;
    let verdict = guard::judge(context, params, (scope, facts), cutoff.as_ref(), turn.approval).await?;
    let kept = match scope.keeps_some() {
        false => 0,
        true => guard::count_with_kept(context, scope, cutoff.as_ref())
            .await?
            .saturating_sub(verdict.eligible.rows),
    };
    let eligible = verdict.eligible;
    let chosen = choose::choose(context, params, scope, facts, keys, cutoff.as_ref(), eligible).await;
    let mut chosen = note(chosen, &mut problems)?;
    let whole = match chosen.as_mut().and_then(|chosen| chosen.partitions.take()) {
        Some(found) => {
            Some(Whole::read(context, params, scope, facts, keys, cutoff.as_ref(), Some(found)).await?)
        }
        None => None,
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
        let archive = table.archive.as_ref().map(Into::shown);
        children.push(json!({"table": table.facts.name(), "eligible": rows, "archive": archive}));
    }
    let children = (!children.is_empty()).then_some(children);
    let archive = archive.as_ref().map(Into::shown);
    #[cfg(feature = "http")]
    let calls = match &meant.calls {
        Some(calls) => super::before::dry(context, calls, scope, cutoff.as_ref()).await?,
        None => Value::Null,
    };
    #[cfg(not(feature = "http"))]
    let calls = Value::Null;
    let history = History::read(context, turn.number).await?;
    let life = Lifetime::of(context, params, cutoff.as_ref(), &history);
    let limit_rows = turn.budget.left(0);
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
