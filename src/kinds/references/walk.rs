//! The walk along the table's key: range after range, each looked at once, each batch fenced.
//!
//! The survey walks first and writes nothing: by what it counts the guards judge, and it is all that a dry run does. What
//! is easy to get wrong: the ids may change between the survey and a batch (somebody empties the table of users), so each
//! batch is held to the guards again before it commits.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    guard::{self, Found},
    params::Params,
    statement::{KeyText, Rows, Target, Wait},
};
use crate::{
    Error, ErrorKind,
    kind::{RunContext, Stop, Stopped, interval::Limit},
};

/// How often in a row a range may meet contention before its locked rows are passed over.
const PATIENCE: u32 = 10;
/// The same for anything else.
const FAILURES_MOST: u32 = 20;
/// Between two attempts.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// A walk that changes nothing stores its position, and asks whether it still holds its job, this often.
const STORE_EVERY: Duration = Duration::from_secs(1);

/// What a run remembers, committed with each batch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cursor {
    /// What the survey found.
    pub found: Found,
    /// Whether an operator approved that.
    pub approved: bool,
    /// The key up to which all is done; none at the beginning.
    pub after: Option<KeyText>,
    /// Whether the table is done.
    pub through: bool,
    /// Rows changed by all attempts, those deleted among them.
    pub changed: u64,
    /// Rows deleted.
    pub deleted: u64,
    /// References removed.
    pub removed: u64,
    /// Rows that stayed since somebody had them locked.
    pub locked: u64,
}

impl Cursor {
    /// At the beginning.
    pub fn new(found: Found, approved: bool) -> Self {
        Cursor { found, approved, after: None, through: false, changed: 0, deleted: 0, removed: 0, locked: 0 }
    }
}

/// Counts what a run would do, range by range, within `time_limit`.
///
/// # Errors
/// Whatever ends a run.
///
/// # Cancel safety
/// As [`RunContext::query`].
pub async fn survey(context: &mut RunContext, target: &Target, batch: u64) -> Result<Found, Stop> {
    let (mut found, mut after, mut pinged) = (Found::default(), None, Instant::now());
    loop {
        let to = bound(context, target, after.as_ref(), batch).await?;
        found.add(&survey_of(context, target, Rows::Range(after.as_ref(), to.as_ref())).await?);
        if to.is_none() {
            return Ok(found);
        }
        after = to;
        if pinged.elapsed() >= STORE_EVERY {
            context.ping().await?;
            context.progress(&serde_json::json!({ "surveyed": found.rows })).await?;
            pinged = Instant::now();
        }
    }
}

async fn survey_of(context: &mut RunContext, target: &Target, rows: Rows<'_>) -> Result<Found, Stop> {
    let sql = target.survey(rows);
    let rows = context.query(&sql.text, &sql.values).await?;
    rows.first().map(Found::from).ok_or_else(|| failed("the survey gives no row"))
}

async fn bound(
    context: &mut RunContext,
    target: &Target,
    after: Option<&KeyText>,
    batch: u64,
) -> Result<Option<KeyText>, Stop> {
    let rows = i64::try_from(batch.saturating_sub(1)).unwrap_or(i64::MAX);
    let sql = target.bound(after, &rows);
    Ok(context.query(&sql.text, &sql.values).await?.first().map(key_of))
}

fn key_of(row: &Row) -> KeyText {
    (0..row.len()).map(|at| row.get(at)).collect()
}

/// The walk of a run.
pub struct Walk<'a> {
    params: &'a Params,
    target: &'a Target,
    /// Where it stands.
    pub cursor: Cursor,
    run_id: Uuid,
    limit_rows: Option<u64>,
    until: Option<Instant>,
    batch: u64,
    failures: u32,
    stored: Instant,
}

/// What became of a range.
enum Went {
    /// All of it is done.
    Through,
    /// Its first rows are done; the budget of rows is used up.
    Partly,
    /// It met contention.
    Undone(Stop),
}

impl<'a> Walk<'a> {
    /// A walk from where the cursor stands, within the narrower of params and options.
    ///
    /// # Errors
    /// If the options cannot be read.
    pub fn new(
        context: &RunContext,
        params: &'a Params,
        target: &'a Target,
        cursor: Cursor,
    ) -> Result<Self, Stop> {
        let options = context.options();
        let asked = options.time_limit.as_deref().map(Limit::parse).transpose().map_err(|message| {
            Stop::refused(format!("option time_limit: {message}"), "write it such as 10m")
        })?;
        let time = [params.time_limit, asked].into_iter().flatten().map(|limit| limit.0).min();
        let limit_rows = [params.limit_rows, options.limit_rows].into_iter().flatten().min();
        let now = Instant::now();
        let until = time.and_then(|time| now.checked_add(time));
        Ok(Walk {
            params,
            target,
            cursor,
            run_id: context.run_id(),
            limit_rows,
            until,
            batch: params.batch,
            failures: 0,
            stored: now,
        })
    }

    /// Walks until the table is done or a budget is used up.
    ///
    /// # Errors
    /// Whatever ends a run.
    ///
    /// # Cancel safety
    /// What was not committed by then takes no effect.
    pub async fn run(&mut self, context: &mut RunContext) -> Result<Stopped, Stop> {
        while !self.cursor.through {
            if self.rows_left() == 0 {
                return Ok(Stopped::LimitRows);
            }
            if self.until.is_some_and(|until| Instant::now() >= until) {
                return Ok(Stopped::TimeLimit);
            }
            let started = Instant::now();
            let to = bound(context, self.target, self.cursor.after.as_ref(), self.batch).await?;
            match self.range(context, to).await? {
                Went::Through => self.failures = 0,
                Went::Partly => return Ok(Stopped::LimitRows),
                Went::Undone(stop) => self.give_way(context, stop).await?,
            }
            context.rest(self.params.pacing.rest_after(started.elapsed())).await?;
        }
        Ok(Stopped::Drained)
    }

    fn rows_left(&self) -> u64 {
        self.limit_rows.map_or(u64::MAX, |limit| limit.saturating_sub(self.cursor.changed))
    }

    /// After contention: a smaller batch, a rest, and an end to patience.
    async fn give_way(&mut self, context: &mut RunContext, stop: Stop) -> Result<(), Stop> {
        self.failures += 1;
        if self.failures >= FAILURES_MOST {
            return Err(stop);
        }
        if let Stop::Failed(error) = &stop
            && error.sqlstate() == Some("57014")
        {
            self.batch = (self.batch / 2).max(1);
        }
        context.rest(AGAIN_AFTER).await
    }

    /// One range: its rows are locked, judged anew, changed, and the position is committed with them.
    async fn range(&mut self, context: &mut RunContext, to: Option<KeyText>) -> Result<Went, Stop> {
        match self.attempt(context, to).await {
            Err(stop) if is_contention(&stop) => Ok(Went::Undone(stop)),
            went => went,
        }
    }

    async fn attempt(&mut self, context: &mut RunContext, to: Option<KeyText>) -> Result<Went, Stop> {
        let most = i64::try_from(self.rows_left()).unwrap_or(i64::MAX);
        let wait = if self.failures >= PATIENCE { Wait::Never } else { Wait::Briefly };
        let after = self.cursor.after.clone();
        let range = Rows::Range(after.as_ref(), to.as_ref());
        let mut next = self.cursor.clone();
        let mut transaction = context.begin().await?;
        let lock = self.target.lock(range, &most, wait);
        let locked = transaction.query(&lock.text, &lock.values).await?;
        let lists: Vec<KeyText> = (0..self.target.keys.len())
            .map(|column| locked.iter().map(|row| row.get(column)).collect())
            .collect();
        let run = self.run_id;
        let mut changed = 0;
        if !locked.is_empty() {
            let apply = self.target.apply(Rows::Listed(&lists), &run);
            let rows = transaction.query(&apply.text, &apply.values).await?;
            let row = rows.first().ok_or_else(|| failed("a batch gives no row"))?;
            let [rows, removed, deleted] = [0, 1, 2].map(|at| row.get::<_, i64>(at).unsigned_abs());
            next.changed += rows;
            next.removed += removed;
            next.deleted += deleted;
            changed = rows;
            let none_valid: Vec<bool> = row.get(3);
            if let Some(refusal) = guard::of_batch(self.params, self.target, &next, &none_valid) {
                transaction.roll_back().await?;
                return Err(refusal);
            }
        }
        let partly = locked.len() as u64 == self.rows_left();
        if !partly {
            next.through = to.is_none();
            next.after = to.clone().or(after.clone());
        }
        if locked.is_empty() && !next.through && wait == Wait::Briefly && self.stored.elapsed() < STORE_EVERY
        {
            transaction.roll_back().await?;
        } else {
            transaction.commit(changed, &next).await?;
            self.stored = Instant::now();
        }
        self.cursor = next;
        if changed > 0 || self.stored.elapsed() < AGAIN_AFTER {
            let done = serde_json::json!({ "rows": self.cursor.changed, "of": self.cursor.found.changed });
            context.progress(&done).await?;
        }
        if wait == Wait::Never {
            let range = Rows::Range(after.as_ref(), to.as_ref());
            self.cursor.locked += survey_of(context, self.target, range).await?.changed;
        }
        Ok(if partly { Went::Partly } else { Went::Through })
    }
}

/// Whether the same may be tried again: a lock, a timeout, a deadlock, a conflict.
fn is_contention(stop: &Stop) -> bool {
    match stop {
        Stop::Failed(error) => {
            error.sqlstate().is_some_and(|code| ["55P03", "57014", "40P01", "40001"].contains(&code))
        }
        _ => false,
    }
}

fn failed(message: &str) -> Stop {
    Stop::Failed(Error::new(ErrorKind::Database, message))
}
