//! After-care: VACUUM of what the walk left full of dead rows, and what would give the space back.
//!
//! By default only a table is vacuumed that autovacuum would come for as well, at once instead of when a worker is free. A
//! VACUUM of ours never queues: it passes over a table that an autovacuum works on or that somebody has locked. What is
//! easy to get wrong: the purge is done by now. Whatever the VACUUM meets is a line of the report and no failure, and a
//! shutdown breaks it off without taking back what the run did.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_postgres::Row;

use super::params::{Pacing, Params, VacuumChoice};
use crate::{
    kind::{
        RunContext, Stop, Stopped,
        vacuum::{self, Cleaned, Cleaning},
    },
    statements,
};

/// The most tables that a report tells of one by one.
const TOLD: usize = 50;
/// The share of a table's rows from which on it is said how its space would come back: with less, a rewrite is not worth
/// its locks. Our own figure; that of `autovacuum_vacuum_scale_factor`, from which PostgreSQL itself tidies up.
const WORTH_SAYING: f64 = 0.2;

/// How long the statistics of PostgreSQL 14, which cannot be told to make haste, lag behind: twice its half a second.
const STATISTICS_LAG: Duration = Duration::from_secs(1);

/// What came of it.
#[derive(Debug, Default)]
pub struct Care {
    /// For the report.
    pub details: Value,
    /// What people should know.
    pub warnings: Vec<String>,
    /// This replica shuts down: nothing more can be asked.
    pub interrupted: bool,
}

/// A table with storage of its own.
struct Heap {
    oid: u32,
    name: String,
    dead: i64,
    live: i64,
    /// As of the last VACUUM or ANALYZE.
    tuples: i64,
    threshold: f64,
}

impl From<&Row> for Heap {
    fn from(row: &Row) -> Self {
        Heap {
            oid: row.get("oid"),
            name: row.get("name"),
            dead: row.get("dead"),
            live: row.get("live"),
            tuples: row.get("tuples"),
            threshold: row.get("threshold"),
        }
    }
}

/// Vacuums what wants it, as `vacuum` says, after a run that deleted so many rows of the table `oid`.
///
/// # Errors
/// As [`RunContext::execute_interruptible`], but for what is only a line of the report: failures, and a shutdown.
pub async fn after(
    context: &mut RunContext,
    params: &Params,
    oid: u32,
    deleted: u64,
    stopped: Stopped,
) -> Result<Care, Stop> {
    let mut care = Care::default();
    if deleted == 0 {
        return Ok(care);
    }
    let Some(mut heaps) = heaps(context, oid).await? else {
        care.interrupted = true;
        return Ok(care);
    };
    if let ([heap], true) = (heaps.as_mut_slice(), params.workers > 1) {
        // The server may still be adding up what the sessions of workers did.
        heap.dead = heap.dead.max(i64::try_from(deleted).unwrap_or(i64::MAX));
    }
    let (mut done, mut skipped) = (Vec::new(), Vec::new());
    let alone = heaps.len() == 1;
    if let Some(why) = not_now(params, stopped) {
        care.details = json!({ "vacuum": { "skipped": why }, "space": space(params, &heaps, deleted) });
        return Ok(care);
    }
    for heap in &heaps {
        if let Some(why) = not_needed(params.vacuum, heap) {
            if alone {
                skipped.push(json!({ "table": heap.name, "why": why }));
            }
            continue;
        }
        context.progress(&json!({ "vacuum": heap.name })).await?;
        if params.pace() != Pacing::Full {
            context.query(statements::PURGE_VACUUM_COST, &[]).await?;
        }
        match vacuum::clean_afterwards(context, heap.oid, Cleaning::VacuumAnalyze).await {
            Ok(Cleaned::Done { before, after, took }) => done.push(json!({
                "table": heap.name, "took_ms": milliseconds(took), "before": before, "after": after,
            })),
            Ok(Cleaned::Skipped(why)) => skipped.push(json!({ "table": heap.name, "why": why })),
            Err(Stop::Drained) => {
                skipped.push(json!({ "table": heap.name, "why": "this replica shut down" }));
                care.interrupted = true;
                break;
            }
            Err(Stop::Failed(error)) => {
                tracing::warn!(job = context.job(), table = heap.name, %error, "purge.vacuum_failed");
                care.warnings.push(format!("{} was not vacuumed: {error}", heap.name));
            }
            Err(stop) => return Err(stop),
        }
    }
    done.truncate(TOLD);
    skipped.truncate(TOLD);
    care.details = json!({
        "vacuum": { "done": done, "skipped": skipped }, "space": space(params, &heaps, deleted),
    });
    Ok(care)
}

/// The table, or its leaves; `None` if this replica shuts down.
async fn heaps(context: &mut RunContext, oid: u32) -> Result<Option<Vec<Heap>>, Stop> {
    let read = async {
        context.query(statements::PURGE_FLUSH, &[]).await?;
        let mut rows = context.query(statements::PURGE_CARE, &[&oid]).await?;
        if rows.first().is_some_and(|row| !row.get::<_, bool>("flushes")) {
            context.rest(STATISTICS_LAG).await?;
            context.query(statements::PURGE_FLUSH, &[]).await?;
            rows = context.query(statements::PURGE_CARE, &[&oid]).await?;
        }
        Ok(rows)
    };
    match read.await {
        Ok(rows) => Ok(Some(rows.iter().map(Heap::from).collect())),
        Err(Stop::Drained) => Ok(None),
        Err(stop) => Err(stop),
    }
}

/// Why nothing is vacuumed after such a run.
fn not_now(params: &Params, stopped: Stopped) -> Option<&'static str> {
    match (params.vacuum, stopped) {
        (VacuumChoice::Never, _) => Some("as the job says"),
        (_, Stopped::WindowClosed) => Some("the window had closed"),
        (_, Stopped::BackPressure) => Some("the run had stepped back"),
        _ => None,
    }
}

/// Why this one is not vacuumed.
fn not_needed(choice: VacuumChoice, heap: &Heap) -> Option<String> {
    let enough = match choice {
        VacuumChoice::Never => false,
        VacuumChoice::Auto => heap.dead as f64 > heap.threshold,
        VacuumChoice::After => heap.dead > 0,
    };
    (!enough)
        .then(|| format!("{} dead tuples; autovacuum would come for {:.0}", heap.dead, heap.threshold.ceil()))
}

/// What would give the space back to the operating system, and what each costs; `None` where little was deleted, or where
/// partitions do it.
fn space(params: &Params, heaps: &[Heap], deleted: u64) -> Option<Value> {
    let [heap] = heaps else { return None };
    // The statistics may not know yet of what others inserted a moment ago.
    let left = heap.live.max(heap.tuples.saturating_sub_unsigned(deleted)).max(0);
    let share = deleted as f64 / (deleted as f64 + left as f64);
    if share < WORTH_SAYING {
        return None;
    }
    let name = &heap.name;
    let mut ways = vec![
        format!(
            "pg_repack --table={name}: locks but for moments; needs that extension, a primary or unique key, and room for a copy"
        ),
        format!(
            "VACUUM FULL {name}: keeps readers and writers out while it writes the table anew; needs room for a copy"
        ),
        format!("CLUSTER {name}: the same, and in the order of an index"),
    ];
    if params.by.is_some() {
        ways.push(
            "partitions by range of the age: each gives its space back as it goes, without dead rows"
                .to_owned(),
        );
    }
    Some(json!({
        "free_share": (share * 100.0).round() / 100.0,
        "free_for": "new rows of this table; the operating system gets back only what lies at its end",
        "given_back_by": ways,
    }))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heap(dead: i64) -> Heap {
        Heap { oid: 1, name: "public.t".to_owned(), dead, live: 100, tuples: 0, threshold: 70.0 }
    }

    #[test]
    fn auto_comes_where_autovacuum_would() {
        for (choice, dead, needed) in [
            (VacuumChoice::Auto, 70, false),
            (VacuumChoice::Auto, 71, true),
            (VacuumChoice::After, 1, true),
            (VacuumChoice::After, 0, false),
            (VacuumChoice::Never, 1000, false),
        ] {
            assert_eq!(not_needed(choice, &heap(dead)).is_none(), needed, "{choice:?} {dead}");
        }
    }

    #[test]
    fn ways_to_get_space_back_are_named_only_where_much_went() {
        let params = json!({"table": "t", "by": "at", "retention": "1 day"});
        let params: Params = serde_json::from_value(params).expect("params");
        assert_eq!(space(&params, &[heap(0)], 20), None);
        let told = space(&params, &[heap(0)], 300).expect("much went");
        assert_eq!(told["free_share"], 0.75);
        assert!(
            told["given_back_by"].to_string().contains("VACUUM FULL public.t: keeps readers and writers out")
        );
    }
}
