//! Partitions that are detached concurrently: no reader ever queues behind the purge.
//!
//! DETACH CONCURRENTLY runs in no transaction, so no fence goes with it, and it waits for every transaction that knows the
//! table. The three steps are therefore: the cursor says which partition (fenced: a hold or a pause stops here), the
//! server detaches it (unfenced, destroys nothing), and the partition, by then a table by itself, is dropped or moved with
//! the fence in one transaction. What is easy to get wrong: a run that ends in between leaves a table that no walk finds
//! by its parent. The next run knows it by the cursors of the earlier ones, and by oid and name together.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_postgres::{Row, types::ToSql};

use super::{
    choose,
    cursor::Place,
    moment::Moment,
    partitions::{self, Partition},
    statement::Quoted,
    walk::{Next, Walk, end_of},
    walk_partition::{self, LIMIT, TRIES},
};
use crate::{
    kind::{LockWait, RunContext, Stop, Stopped, Unfenced, vacuum},
    statements,
};

/// A partition that is being detached, as cursors remember it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detaching {
    oid: u32,
    /// Schema-qualified, quoted.
    name: String,
    /// Where it ends, exclusive.
    upper: Moment,
    /// Its rows, if anybody knows.
    rows: u64,
    counted: bool,
    bytes: i64,
}

/// One that an earlier run began with.
struct Begun {
    told: Detaching,
    /// Its name by now.
    name: String,
    state: String,
}

impl Begun {
    /// `None` for what is not remembered in this shape.
    fn of(row: &Row) -> Option<Self> {
        let told: Value = row.get("told");
        let told = serde_json::from_value(told).ok()?;
        Some(Begun { told, name: row.get("name"), state: row.get("state") })
    }
}

/// Finishes what earlier runs began, before the walk looks at any other partition.
pub async fn finish_begun(walk: &mut Walk<'_>, context: &mut RunContext) -> Result<Next, Stop> {
    if context.database().is_some() {
        // There none is ever begun; see `elsewhere`.
        return Ok(Next::Again);
    }
    let cutoff = end_of(walk.cursor.cutoff)?;
    let oid = walk_partition::state(walk)?.oid;
    let rows = context.query(statements::PURGE_DETACHED, &[&context.run_id(), &oid]).await?;
    for begun in rows.iter().filter_map(Begun::of) {
        let parent = walk.scope.table.clone();
        if matches!(begun.state.as_str(), "attached" | "elsewhere") || begun.name != begun.told.name {
            continue;
        }
        if begun.state == "pending" {
            let sql = format!("ALTER TABLE {} DETACH PARTITION {} FINALIZE", parent.as_str(), begun.name);
            unfenced(walk, context, &sql).await?;
        }
        // A hold on the table that it is by now does not concern its former parent.
        let held = !context.query(statements::PURGE_HOLDS, &[&begun.told.oid]).await?.is_empty();
        let why = match (held, begun.told.upper > cutoff) {
            (true, _) => "an earlier run detached it, and a hold keeps its rows".to_owned(),
            (false, true) => format!(
                "an earlier run detached it, and it is no longer old as a whole: attach it to {} again",
                parent.as_str()
            ),
            (false, false) => String::new(),
        };
        if !why.is_empty() {
            walk_partition::state(walk)?.keep(&begun.name, why);
            continue;
        }
        match drop_detached(walk, context, &begun.told).await? {
            Next::Again => {}
            other => return Ok(other),
        }
    }
    Ok(Next::Again)
}

/// Detaches a partition, and drops or moves it.
pub async fn remove(
    walk: &mut Walk<'_>,
    context: &mut RunContext,
    partition: &Partition,
    counted: Option<u64>,
    rows: u64,
) -> Result<Next, Stop> {
    let upper = partition.upper.unwrap_or(Moment::BEGINNING);
    if !still_goes(walk, context, partition).await? {
        walk.cursor.at = Place::Partition(upper);
        return Ok(Next::Again);
    }
    let told = Detaching {
        oid: partition.oid,
        name: partition.name.as_str().to_owned(),
        upper,
        rows,
        counted: counted.is_some(),
        bytes: partition.bytes,
    };
    walk.cursor.detaching = Some(told.clone());
    context.checkpoint(&walk.cursor).await?;
    let (parent, name) = (walk.scope.table.as_str(), partition.name.as_str());
    let sql = format!("ALTER TABLE {parent} DETACH PARTITION {name} CONCURRENTLY");
    unfenced(walk, context, &sql).await?;
    drop_detached(walk, context, &told).await
}

/// A second look, since the first may be hours old.
async fn still_goes(
    walk: &mut Walk<'_>,
    context: &mut RunContext,
    partition: &Partition,
) -> Result<bool, Stop> {
    let cutoff = end_of(walk.cursor.cutoff)?;
    let (column, ty) = walk_partition::column(walk)?;
    let whole = walk_partition::state(walk)?;
    let schema = &whole.params.archive_schema;
    for few in whole.found.looks(partition) {
        let values: [&(dyn ToSql + Sync); 4] = [&whole.oid, &column, schema, &few];
        let rows = context.query(statements::PURGE_PARTITIONS, &values).await?;
        if partitions::tell_apart(partitions::read(&rows, ty), cutoff).goes(partition) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Executes what waits for as long as the application's transactions take. The session's settings are those of its start
/// afterwards, so the walk's own are made again.
async fn unfenced(walk: &mut Walk<'_>, context: &mut RunContext, sql: &str) -> Result<(), Stop> {
    let done = context.execute_unfenced(sql, LockWait::Patient).await;
    walk.forget_limit();
    let done = done?;
    choose::keep_planner(context, walk.scope).await?;
    match done {
        Unfenced::Done => Ok(()),
        Unfenced::Undone(undone) => Err(vacuum::undone(sql, undone)),
    }
}

/// Drops or moves what is detached, with the fence in one transaction.
async fn drop_detached(
    walk: &mut Walk<'_>,
    context: &mut RunContext,
    told: &Detaching,
) -> Result<Next, Stop> {
    let mut after = walk.cursor.clone();
    after.detaching = None;
    if let Place::Partition(at) = after.at {
        after.at = Place::Partition(at.max(told.upper));
    }
    walk.limit_statements(context, LIMIT).await?;
    for tries in 0..TRIES {
        let started = Instant::now();
        if attempt(walk, context, told, &after).await? {
            let whole = walk_partition::state(walk)?;
            whole.gone.push(json!({
                "name": told.name, "until": told.upper, "bytes": told.bytes, "rows": told.rows, "counted": told.counted,
            }));
            whole.estimated |= !told.counted;
            walk.cursor = after;
            walk.committed(context, told.rows, started.elapsed(), Duration::ZERO).await?;
            return Ok(Next::Again);
        }
        walk.rest(context, Duration::from_millis(500 << tries.min(5))).await?;
    }
    walk_partition::state(walk)?.halt = Some(format!(
        "{} is detached, but was in use at each of {TRIES} tries to drop it: the next run does so",
        told.name
    ));
    Ok(Next::End(Stopped::BackPressure))
}

/// One try; false if somebody uses it.
async fn attempt(
    walk: &Walk<'_>,
    context: &mut RunContext,
    told: &Detaching,
    after: &super::cursor::Cursor,
) -> Result<bool, Stop> {
    let archive = walk.whole.as_ref().and_then(|whole| whole.archive.as_ref()).map(Quoted::as_str);
    let away = match archive {
        Some(schema) => format!("ALTER TABLE {} SET SCHEMA {schema}", told.name),
        None => format!("DROP TABLE {}", told.name),
    };
    let mut transaction = context.begin().await?;
    let done = async {
        let lock = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE NOWAIT", told.name);
        transaction.execute(&lock, &[]).await?;
        // Under the lock: whose name it is now, and that nobody attached it.
        let rows = transaction.query(statements::PURGE_IS_DETACHED, &[&told.oid, &told.name]).await?;
        if !rows.first().is_some_and(|row| row.get::<_, bool>(0)) {
            let reason = format!("{} is no longer the partition that was detached", told.name);
            return Err(Stop::refused(reason, "see what became of it, and run the job again"));
        }
        transaction.execute(&away, &[]).await
    }
    .await;
    let tried = match done {
        Ok(_) => transaction.commit(told.rows, after).await,
        Err(stop) => {
            transaction.roll_back().await?;
            Err(stop)
        }
    };
    match tried {
        Ok(()) => Ok(true),
        Err(Stop::Failed(error)) if matches!(error.sqlstate(), Some("55P03" | "57014" | "40P01")) => {
            Ok(false)
        }
        Err(stop) => Err(stop),
    }
}
