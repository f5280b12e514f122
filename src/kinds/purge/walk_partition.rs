//! The partition walk: one whole partition after another, the oldest first, each gone with the fence in one transaction.
//!
//! DETACH and DROP need ACCESS EXCLUSIVE on the parent, and readers queue behind whoever waits for that. So it is waited
//! for only as long as any statement of a run waits (200 ms), and after a pause, without a transaction, tried again.
//! What is easy to get wrong: what was read before the locks were held may be true no longer, so all of it is read
//! again under them.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_postgres::types::ToSql;

use super::{
    age::AgeType,
    cursor::{Cursor, Cutoff, Place},
    guard::number,
    moment::Moment,
    params::{Detach, Params, Straddling},
    partitions::{self, Partition, Partitions},
    statement::{Quoted, Scope},
    target::{Facts, ForeignKey},
    walk::{Next, Walk, end_of, failed},
    walk_detach,
};
use crate::{
    kind::{RunContext, Stop, Stopped},
    statements,
};

/// How often the locks are tried for before the run ends, to come back.
pub(super) const TRIES: u32 = 8;
/// How long a statement may take that removes a partition.
pub(super) const LIMIT: Duration = Duration::from_secs(10);
/// How long one may take that counts its rows.
const COUNT_LIMIT: Duration = Duration::from_secs(300);

/// What the walk works with, and what it did.
#[derive(Debug)]
pub struct Whole<'a> {
    pub(super) params: &'a Params,
    pub(super) oid: u32,
    pub(super) found: Partitions,
    pub(super) archive: Option<Quoted>,
    triggers: bool,
    /// As reports have them.
    pub(super) gone: Vec<Value>,
    pub(super) estimated: bool,
    /// The partition at which it stopped, and why.
    pub(super) halt: Option<String>,
    /// Whether what earlier runs began to detach was seen to.
    settled: bool,
}

impl<'a> Whole<'a> {
    /// Reads what there is, but for what the choice of the walk has `found` already.
    pub async fn read(
        context: &mut RunContext,
        params: &'a Params,
        scope: &Scope,
        facts: &Facts,
        keys: &[ForeignKey],
        cutoff: Option<&Cutoff>,
        found: Option<Partitions>,
    ) -> Result<Self, Stop> {
        let found = match found {
            Some(found) => found,
            None => partitions::consider(context, params, scope, facts, keys, cutoff)
                .await?
                .map_err(|(reason, remedy)| Stop::refused(reason, remedy))?,
        };
        let archive = match &params.archive_schema {
            Some(schema) => Some(partitions::archive(context, schema, &facts.role).await?),
            None => None,
        };
        let triggers = !context.query(statements::PURGE_TRIGGERS, &[&facts.oid]).await?.is_empty();
        let gone = Vec::new();
        let settled = params.detach == Detach::Plain;
        Ok(Whole {
            params,
            oid: facts.oid,
            found,
            archive,
            triggers,
            gone,
            estimated: false,
            halt: None,
            settled,
        })
    }

    /// What people should know beforehand.
    pub fn warning(&self) -> Option<String> {
        let unheard = self.found.unheard(self.triggers)?;
        Some(format!("{unheard} will not hear of rows that go with their partition"))
    }

    /// Tells of one that stays.
    pub(super) fn keep(&mut self, name: &str, why: String) {
        self.found.kept.retain(|(other, _)| other.as_str() != name);
        self.found.kept.push((Quoted::by_server(name.to_owned()), why));
    }

    /// What a run did.
    pub fn to_json(&self) -> Value {
        json!({
            "partitions": self.gone, "partitions_kept": self.found.kept_to_json(),
            "detach": (self.params.detach == Detach::Concurrently).then_some("concurrently"),
            "archive_schema": self.archive.as_ref().map(Quoted::as_str),
            "deleted_estimated": self.estimated.then_some(true), "halted": self.halt,
        })
    }

    /// What a run would do.
    pub async fn listed(mut self, context: &mut RunContext) -> Result<Value, Stop> {
        for partition in &self.found.going {
            let counted = match self.params.exact_counts {
                true => Some(number(&context.query(&partition.count(), &[]).await?)),
                false => None,
            };
            self.gone.push(partition.to_json(counted));
        }
        Ok(self.to_json())
    }
}

/// What became of a try to remove a partition.
enum Tried {
    Gone,
    /// It is no longer one to remove.
    Changed,
    /// Somebody uses the table.
    Locked,
}

/// Removes the next partition that ends after `after`.
pub async fn next(walk: &mut Walk<'_>, context: &mut RunContext, after: Moment) -> Result<Next, Stop> {
    if !state(walk)?.settled {
        match walk_detach::finish_begun(walk, context).await? {
            Next::Again => state(walk)?.settled = true,
            end => return Ok(end),
        }
    }
    let whole = state(walk)?;
    let next = whole.found.going.iter().find(|partition| partition.upper.is_some_and(|upper| upper > after));
    let Some(partition) = next.cloned() else {
        if whole.params.straddling() == Straddling::Leave {
            return Ok(Next::Done);
        }
        walk.cursor.at = Place::Age(Moment::BEGINNING);
        return Ok(Next::Again);
    };
    let counted = count(walk, context, &partition).await?;
    let rows = counted.or(partition.rows).unwrap_or_default();
    if walk.rows_left().is_some_and(|left| rows > left.unsigned_abs()) {
        let name = partition.name.as_str();
        state(walk)?.halt = Some(format!("{name} holds {rows} rows, more than limit_rows leaves"));
        return Ok(Next::End(Stopped::LimitRows));
    }
    match state(walk)?.params.detach {
        Detach::Plain => remove(walk, context, &partition, counted, rows).await,
        Detach::Concurrently => walk_detach::remove(walk, context, &partition, counted, rows).await,
    }
}

/// Its rows, if they are to be counted, or if nobody has an estimate.
async fn count(
    walk: &mut Walk<'_>,
    context: &mut RunContext,
    partition: &Partition,
) -> Result<Option<u64>, Stop> {
    if !state(walk)?.params.exact_counts && partition.rows.is_some() {
        return Ok(None);
    }
    walk.limit_statements(context, COUNT_LIMIT).await?;
    Ok(Some(number(&context.query(&partition.count(), &[]).await?)))
}

/// Removes it, in several tries if need be.
async fn remove(
    walk: &mut Walk<'_>,
    context: &mut RunContext,
    partition: &Partition,
    counted: Option<u64>,
    rows: u64,
) -> Result<Next, Stop> {
    let mut after = walk.cursor.clone();
    after.at = Place::Partition(partition.upper.unwrap_or(Moment::BEGINNING));
    walk.limit_statements(context, LIMIT).await?;
    for tries in 0..TRIES {
        if let Some(stopped) = walk.budget.spent(walk.tally.deleted) {
            return Ok(Next::End(stopped));
        }
        let started = Instant::now();
        match attempt(walk, context, partition, rows, &after).await? {
            Tried::Gone => {
                let whole = state(walk)?;
                whole.gone.push(partition.to_json(counted));
                whole.estimated |= counted.is_none();
                walk.cursor = after;
                walk.committed(context, rows, started.elapsed(), Duration::ZERO).await?;
                return Ok(Next::Again);
            }
            Tried::Changed => {
                walk.cursor.at = after.at;
                return Ok(Next::Again);
            }
            Tried::Locked => walk.rest(context, Duration::from_millis(500 << tries.min(5))).await?,
        }
    }
    let name = partition.name.as_str();
    state(walk)?.halt = Some(format!("{name} or its parent was in use at each of {TRIES} tries"));
    Ok(Next::End(Stopped::BackPressure))
}

/// One try: locks, a second look, removal and fence. What it took is given back before this returns.
async fn attempt(
    walk: &Walk<'_>,
    context: &mut RunContext,
    partition: &Partition,
    rows: u64,
    after: &Cursor,
) -> Result<Tried, Stop> {
    let scope = walk.scope;
    let (column, ty) = column(walk)?;
    let cutoff = end_of(walk.cursor.cutoff)?;
    let whole = walk.whole.as_ref().ok_or_else(no_whole)?;
    let (parent, schema) = (&scope.table, &whole.params.archive_schema);
    let mut transaction = context.begin().await?;
    let done = async {
        // Before the locks, which readers wait for.
        transaction.query(statements::PURGE_PLAN_ONCE, &[]).await?;
        for sql in partition.locks(parent) {
            transaction.execute(&sql, &[]).await?;
        }
        let mut goes = false;
        for few in whole.found.looks(partition) {
            let values: [&(dyn ToSql + Sync); 4] = [&whole.oid, &column, schema, &few];
            let rows = transaction.query(statements::PURGE_PARTITIONS, &values).await?;
            goes = partitions::tell_apart(partitions::read(&rows, ty), cutoff).goes(partition);
            if goes {
                break;
            }
        }
        if !goes {
            return Ok(Tried::Changed);
        }
        for sql in partition.removal(parent, whole.archive.as_ref()) {
            transaction.execute(&sql, &[]).await?;
        }
        Ok(Tried::Gone)
    }
    .await;
    let tried = match done {
        Ok(Tried::Gone) => transaction.commit(rows, after).await.map(|()| Tried::Gone),
        other => {
            transaction.roll_back().await?;
            other
        }
    };
    tried.or_else(|stop| match &stop {
        Stop::Failed(error) if matches!(error.sqlstate(), Some("55P03" | "57014" | "40P01")) => {
            Ok(Tried::Locked)
        }
        _ => Err(stop),
    })
}

/// The number and type of the age's column.
pub(super) fn column(walk: &Walk<'_>) -> Result<(i16, AgeType), Stop> {
    let column = walk.scope.age.as_ref().and_then(|age| age.column.map(|column| (column, age.ty)));
    column.ok_or_else(|| failed("a partition walk whose age is no column"))
}

pub(super) fn state<'w, 'a>(walk: &'w mut Walk<'a>) -> Result<&'w mut Whole<'a>, Stop> {
    walk.whole.as_mut().ok_or_else(no_whole)
}

fn no_whole() -> Stop {
    failed("a partition walk without partitions")
}
