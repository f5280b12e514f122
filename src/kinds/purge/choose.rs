//! Which walk: along the index on the age, once through the heap, or by whole partitions.
//!
//! The index walk reads nothing but what it deletes, yet in the index's order; where the heap is in another order, each
//! row costs a block of its own. Measured on the prototype: along the index 0.75 to 0.96 of the speed of one single
//! DELETE where ages follow the heap; on scattered ages the heap walk was twice as fast, at a tenth of the p95.

use super::{
    cursor::{Cutoff, Place},
    guard::Eligible,
    moment::{Block, Moment},
    pace::Unit,
    params::{Params, Straddling, WalkChoice},
    partitions::{self, Partitions},
    statement::Scope,
    target::{Facts, ForeignKey},
};
use crate::{
    kind::{RunContext, Stop},
    statements,
};

/// From this correlation of age and heap on, the index walk is the quicker one.
const FOLLOWS_HEAP: f64 = 0.9;
/// One value with more rows than this is better met in the heap, where a batch can end within it.
const COMMON_ROWS: f64 = 20_000.0;
/// Tables of fewer blocks than this are in memory anyway.
const SMALL_BLOCKS: i64 = 1024;

/// A walk, at its beginning.
#[derive(Debug)]
pub struct Chosen {
    /// Where it begins.
    pub at: Place,
    /// Where the heap ends, for a walk through it.
    pub end: Option<Block>,
    /// Why this one.
    pub why: String,
    /// The partitions, for a walk by these.
    pub partitions: Option<Partitions>,
}

/// Chooses.
pub async fn choose(
    context: &mut RunContext,
    params: &Params,
    scope: &Scope,
    facts: &Facts,
    keys: &[ForeignKey],
    cutoff: Option<&Cutoff>,
    eligible: Eligible,
) -> Result<Chosen, Stop> {
    let blocks = blocks(context, facts).await?;
    let column = scope.age.as_ref().and_then(|age| age.column);
    let found = match column {
        Some(column) => context.query(statements::PURGE_INDEX, &[&facts.oid, &column]).await?,
        None => Vec::new(),
    };
    let row = found.first();
    let index: Option<String> = row.and_then(|row| row.get("index"));
    let not_whole = match by_partition(context, params, scope, facts, keys, cutoff, index.as_deref()).await? {
        Ok(chosen) => return Ok(chosen),
        Err(why) => why,
    };
    let heap = |why: String| {
        let end = Some(Block(u32::try_from(blocks).unwrap_or(u32::MAX)));
        Ok(Chosen { at: Place::Block(Block(0)), end, why, partitions: None })
    };
    let by_index =
        |why: String| Ok(Chosen { at: Place::Age(Moment::BEGINNING), end: None, why, partitions: None });
    if params.walk == WalkChoice::Heap && !facts.partitioned() {
        return heap("as the job says".to_owned());
    }
    let Some(index) = index else {
        let remedy = remedy(params, facts);
        if facts.partitioned() {
            return Err(Stop::refused(
                format!("{} is partitioned, and no index leads with its age", facts.name),
                remedy,
            ));
        }
        if params.walk == WalkChoice::Index {
            return Err(Stop::refused(
                "walk = \"index\", but no index leads with the age".to_owned(),
                remedy,
            ));
        }
        return heap("no index leads with the age".to_owned());
    };
    match params.walk {
        WalkChoice::Index => return by_index(format!("as the job says, along {index}")),
        WalkChoice::Heap => {
            let remedy = "name a partition, or set walk = \"index\"";
            return Err(Stop::refused(
                format!("{} is partitioned: it has no heap of its own", facts.name),
                remedy,
            ));
        }
        WalkChoice::Auto | WalkChoice::Partition if facts.partitioned() => {
            return by_index(format!("along {index}, not by partitions: {not_whole}"));
        }
        WalkChoice::Auto | WalkChoice::Partition => {}
    }
    let number = |name: &str| row.and_then(|row| row.get::<_, Option<f64>>(name));
    let (correlation, commonest) = (number("correlation"), number("commonest").unwrap_or(0.0));
    if commonest * eligible.of as f64 > COMMON_ROWS {
        return heap("many rows share one age".to_owned());
    }
    let few = few(eligible, blocks);
    match correlation {
        _ if blocks <= SMALL_BLOCKS => by_index(format!("small table, along {index}")),
        _ if few => by_index(format!("few rows are eligible, along {index}")),
        Some(correlation) if correlation.abs() >= FOLLOWS_HEAP => {
            by_index(format!("age follows the heap (correlation {correlation:.2}), along {index}"))
        }
        Some(correlation) => heap(format!("ages are scattered over the heap (correlation {correlation:.2})")),
        None => heap("no statistics on the age".to_owned()),
    }
}

/// The index that a walk through the heap would be better off with, as a statement: `auto` would walk along it, since few
/// rows of a large table are eligible. It is what one makes once; a purge never does by itself.
pub async fn missing_index(
    context: &mut RunContext,
    scope: &Scope,
    facts: &Facts,
    at: Place,
    eligible: Eligible,
) -> Result<Option<String>, Stop> {
    let Some((age, column)) = scope.age.as_ref().and_then(|age| Some((age, age.column?))) else {
        return Ok(None);
    };
    let blocks = blocks(context, facts).await?;
    if !matches!(at, Place::Block(_)) || blocks <= SMALL_BLOCKS || !few(eligible, blocks) {
        return Ok(None);
    }
    let rows = context.query(statements::PURGE_INDEX, &[&facts.oid, &column]).await?;
    let there = rows.first().is_some_and(|row| row.get::<_, Option<String>>("index").is_some());
    Ok((!there).then(|| format!("CREATE INDEX CONCURRENTLY ON {} ({});", facts.name, age.sql.as_str())))
}

/// Whether reading each eligible row by itself costs less than reading the heap through.
fn few(eligible: Eligible, blocks: i64) -> bool {
    i64::try_from(eligible.rows).unwrap_or(i64::MAX).saturating_mul(4) < blocks
}

/// The partition walk, where it is asked for or the quicker one; else why not.
async fn by_partition(
    context: &mut RunContext,
    params: &Params,
    scope: &Scope,
    facts: &Facts,
    keys: &[ForeignKey],
    cutoff: Option<&Cutoff>,
    index: Option<&str>,
) -> Result<Result<Chosen, String>, Stop> {
    let asked = params.walk == WalkChoice::Partition;
    if !asked && (params.walk != WalkChoice::Auto || !facts.partitioned()) {
        return Ok(Err(String::new()));
    }
    let found = match partitions::consider(context, params, scope, facts, keys, cutoff).await? {
        Ok(found) => found,
        Err((reason, remedy)) if asked => {
            return Err(Stop::refused(format!("walk = \"partition\", but {reason}"), remedy));
        }
        Err((reason, _)) => return Ok(Err(reason)),
    };
    let rows_follow = params.straddling() == Straddling::Rows;
    if asked && rows_follow && index.is_none() {
        let reason =
            format!("no index of {} leads with its age, for the old rows of other partitions", facts.name);
        let remedy = format!("{}; or set straddling = \"leave\"", remedy(params, facts));
        return Err(Stop::refused(reason, remedy));
    }
    let triggers = !context.query(statements::PURGE_TRIGGERS, &[&facts.oid]).await?.is_empty();
    match found.unheard(triggers) {
        _ if asked => {}
        _ if found.going.is_empty() => return Ok(Err("none is old as a whole".to_owned())),
        Some(unheard) => return Ok(Err(format!("{unheard} would not hear of it"))),
        None if index.is_none() => return Ok(Err("the rows of others need an index".to_owned())),
        None => {}
    }
    let asked = if asked { "as the job says: " } else { "" };
    let then = index.filter(|_| rows_follow).map(|index| format!(", then along {index}")).unwrap_or_default();
    let why = format!("{asked}{} partitions end by the cutoff{then}", found.going.len());
    Ok(Ok(Chosen { at: Place::Partition(Moment::BEGINNING), end: None, why, partitions: Some(found) }))
}

/// Keeps the planner on the walk that was chosen.
pub async fn keep_planner(context: &mut RunContext, scope: &Scope) -> Result<(), Stop> {
    context.query(statements::PURGE_PLANNER, &[]).await?;
    // A batch's own plan may be kept only where nothing but its range decides: a kept plan does not know how narrow that
    // is, and would sooner read all rows of a tenant.
    if scope.is_all_old() {
        context.query(statements::PURGE_PLANS_KEPT, &[]).await?;
    }
    Ok(())
}

/// What sizes of this walk are counted in.
pub async fn unit(context: &mut RunContext, facts: &Facts, at: Place, rows: u64) -> Result<Unit, Stop> {
    match at {
        Place::Age(_) | Place::Partition(_) => Ok(Unit::ROW),
        Place::Block(_) => {
            let blocks = blocks(context, facts).await?.max(1);
            Ok(Unit { rows: (rows as f64 / blocks as f64).max(1.0) })
        }
    }
}

/// How long the heap is; a partitioned table has none, and the sizes of all partitions would be read for it.
pub async fn blocks(context: &mut RunContext, facts: &Facts) -> Result<i64, Stop> {
    if facts.partitioned() {
        return Ok(0);
    }
    let rows = context.query(statements::PURGE_SIZE, &[&facts.oid]).await?;
    Ok(rows.first().map(|row| row.get(2)).unwrap_or_default())
}

fn remedy(params: &Params, facts: &Facts) -> String {
    let age = params.age().map(|(_, text)| text).unwrap_or_default();
    if facts.partitioned() {
        return format!("CREATE INDEX ON {} ({age}); or name a partition", facts.name);
    }
    format!("CREATE INDEX CONCURRENTLY ON {} ({age}); or leave walk out", facts.name)
}
