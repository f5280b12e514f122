//! The walk: batch after batch from a stored position on, whichever way rows are found.
//!
//! Never "the first n again": with an old snapshot open elsewhere, such a statement reads its own dead rows over and
//! over. A walk moves on, and its position is committed with each batch, so that any replica goes on where the last
//! commit stood. The ways to the next range stand in `walk_index` and `walk_heap`; whole partitions go by `walk_partition`. What is easy to get wrong: a
//! batch that met a lock leaves rows behind, so its range is remembered in the same commit and visited again.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_postgres::Row;

use super::{
    ahead::Ahead,
    budget::Budget,
    cursor::{Cursor, Cutoff, Place, Range},
    guard::number,
    moment::Moment,
    pace::{Pace, Patience},
    params::Pacing,
    pressure::{self, Pressure},
    remove::Removal,
    statement::{Form, Scope, Sql},
    walk_heap, walk_index,
    walk_partition::{self, Whole},
    workers::Together,
};
use crate::{
    error::{Error, ErrorKind},
    kind::{Batch, RunContext, Stop, Stopped, Undone},
};

/// Batches that fail in a row before the run does.
const FAILURES_MOST: u32 = 10;
/// Visits of a range with locked rows before these are left.
const VISITS: u32 = 3;
/// Between two visits.
const VISIT_AGAIN: Duration = Duration::from_millis(500);
/// How long a statement of a visit may take: it reads more than it deletes.
const VISIT_LIMIT: Duration = Duration::from_secs(10);

/// What a run did so far.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Rows deleted.
    pub deleted: u64,
    /// Batches that committed.
    pub batches: u64,
    /// Rows of the last batch.
    pub last: u64,
    /// Rows of the smallest and the largest batch.
    pub extremes: Option<(u64, u64)>,
    /// Time spent on batches and on finding them.
    pub busy: Duration,
    /// Time spent resting.
    pub rested: Duration,
    /// Rows left since they were locked.
    pub skipped_locked: u64,
    /// Ages that more rows share than one batch takes.
    pub crowded: u64,
    /// Batches whose end was guessed instead of looked up.
    pub guessed: u64,
    /// The longest batch.
    pub longest: Duration,
}

impl Tally {
    /// Adds what another part of the walk did.
    pub fn absorb(&mut self, other: &Tally) {
        self.deleted += other.deleted;
        self.batches += other.batches;
        self.last = other.last;
        self.extremes = match (self.extremes, other.extremes) {
            (Some((min, max)), Some((least, most))) => Some((min.min(least), max.max(most))),
            (one, other) => one.or(other),
        };
        self.busy += other.busy;
        self.rested += other.rested;
        self.skipped_locked += other.skipped_locked;
        self.crowded += other.crowded;
        self.guessed += other.guessed;
        self.longest = self.longest.max(other.longest);
    }
}

/// A range, and how much of it to take.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The range.
    pub range: Range,
    /// How much of it.
    pub form: Form,
    /// Its size as the pace counts it; 0 where that is not known.
    pub units: u64,
    /// Whether its end was guessed, so that its size is only expected.
    pub guessed: bool,
}

/// What to do next.
pub enum Next {
    /// This.
    Step(Step),
    /// The way there met contention: look again.
    Again,
    /// Nothing: the walk is through.
    Done,
    /// Nothing more in this run.
    End(Stopped),
}

/// A walk under way.
pub struct Walk<'a> {
    pub(super) scope: &'a Scope,
    pub(super) cursor: Cursor,
    pub(super) pace: Pace,
    pub(super) budget: Budget,
    pub(super) tally: Tally,
    pub(super) may_lock: bool,
    /// Where it is one of several: what all of them did.
    pub(super) together: Option<Arc<Together>>,
    /// What the report says of workers.
    pub(super) parts: Value,
    failures: u32,
    limit: Option<Duration>,
    told: Instant,
    pub(super) crowded: Option<Moment>,
    /// Where batches probably end.
    pub(super) ahead: Ahead,
    /// What the partition walk works with.
    pub(super) whole: Option<Whole<'a>>,
    /// What it steps back for.
    pub(super) pressure: Pressure,
    /// How it removes rows that do not just go.
    pub(super) removal: Option<Removal<'a>>,
    /// What it calls for rows before they go.
    #[cfg(feature = "http")]
    pub(super) before: Option<super::before::Before<'a>>,
}

impl<'a> Walk<'a> {
    /// A walk from where the cursor stands.
    pub fn new(
        scope: &'a Scope,
        cursor: Cursor,
        pace: Pace,
        budget: Budget,
        pressure: Pressure,
        may_lock: bool,
    ) -> Self {
        let (tally, told) = (Tally::default(), Instant::now());
        Walk {
            scope,
            cursor,
            pace,
            budget,
            tally,
            may_lock,
            together: None,
            parts: Value::Null,
            failures: 0,
            limit: None,
            told,
            crowded: None,
            ahead: Ahead::default(),
            whole: None,
            pressure,
            removal: None,
            #[cfg(feature = "http")]
            before: None,
        }
    }

    /// Walks until nothing is left or a budget is used up.
    pub async fn run(&mut self, context: &mut RunContext) -> Result<Stopped, Stop> {
        loop {
            if let Some(stopped) = self.budget.spent(self.tally.deleted) {
                return Ok(stopped);
            }
            if let Some(stopped) = pressure::heed(self, context).await? {
                return Ok(stopped);
            }
            self.limit_statements(context, self.pace.limit()).await?;
            let started = Instant::now();
            let next = match self.cursor.at {
                Place::Age(from) => walk_index::next(self, context, from).await?,
                Place::Block(from) => walk_heap::next(self, from),
                Place::Partition(after) => {
                    // It does all by itself, and counts its time itself.
                    match walk_partition::next(self, context, after).await? {
                        Next::End(stopped) => return Ok(stopped),
                        Next::Done => break,
                        Next::Step(_) | Next::Again => continue,
                    }
                }
            };
            self.tally.busy += started.elapsed();
            match next {
                Next::Step(step) => self.take(context, step).await?,
                Next::Again => {}
                Next::Done => break,
                Next::End(stopped) => return Ok(stopped),
            }
        }
        self.visit_skipped(context).await
    }

    /// Reads on the way to a range. `None` on contention, which was dealt with.
    pub(super) async fn read(
        &mut self,
        context: &mut RunContext,
        sql: &Sql<'_>,
    ) -> Result<Option<Vec<Row>>, Stop> {
        let undone = match context.query(&sql.text, &sql.values).await {
            Ok(rows) => return Ok(Some(rows)),
            Err(Stop::Failed(error)) => match error.sqlstate() {
                Some("55P03") => Undone::LockTimeout,
                Some("57014") => Undone::StatementTimeout,
                _ => return Err(Stop::Failed(error)),
            },
            Err(stop) => return Err(stop),
        };
        self.back_off(context, undone).await.map(|()| None)
    }

    /// Rows that the budget still allows, as a limit.
    pub(super) fn rows_left(&self) -> Option<i64> {
        self.budget.left(self.tally.deleted).map(|rows| i64::try_from(rows).unwrap_or(i64::MAX))
    }

    async fn take(&mut self, context: &mut RunContext, step: Step) -> Result<(), Stop> {
        let mut after = self.cursor.clone();
        if step.form == Form::Whole {
            after.at = step.range.end();
            if !moves_on(self.cursor.at, after.at) {
                return Err(failed("no progress: the walk does not move on"));
            }
        }
        let mut form = step.form;
        loop {
            match self.send(context, &step.range, &form, &after).await? {
                Batch::Committed { rows, took } => {
                    self.cursor = after;
                    if limit_of(form).is_some_and(|limit| rows < limit) {
                        // The range is through. The next batch stores that; till then it would merely be looked at again.
                        self.cursor.at = step.range.end();
                    }
                    let units = if step.guessed { self.learn(&step, rows) } else { step.units };
                    return self.committed(context, units, rows, took).await;
                }
                Batch::Undone(Undone::LockTimeout) if self.may_lock && !matches!(form, Form::Unlocked(_)) => {
                    form = Form::Unlocked(limit_of(form).map(|rows| i64::try_from(rows).unwrap_or(i64::MAX)));
                    after.remember(step.range);
                }
                Batch::Undone(undone) => return self.back_off(context, undone).await,
            }
        }
    }

    /// What a guessed range held says where the next one ends. Returns its size as the pace counts it.
    fn learn(&mut self, step: &Step, rows: u64) -> u64 {
        if let Range::Ages(from, to) = step.range {
            self.tally.guessed += 1;
            self.ahead.found(from, to, step.units, rows);
        }
        // A range that held little says little about the cost of a row.
        if rows * 2 < step.units { 0 } else { rows }
    }

    /// In full pace, the quicker way; else the one that leaves the application alone whatever becomes of this process.
    async fn send(
        &mut self,
        context: &mut RunContext,
        range: &Range,
        form: &Form,
        after: &Cursor,
    ) -> Result<Batch, Stop> {
        let (scope, cutoff) = (self.scope, self.cursor.cutoff);
        #[cfg(feature = "http")]
        if let Some(before) = &mut self.before {
            let here = &self.cursor;
            return before.batch(context, scope, (cutoff.as_ref(), range, form), (here, after)).await;
        }
        if let Some(removal) = &mut self.removal {
            return removal.batch(context, scope, (cutoff.as_ref(), range, form), after).await;
        }
        let sql = scope.delete(cutoff.as_ref(), range, form);
        match self.pace.pacing() {
            Pacing::Full => context.batch_in_two(&sql.text, &sql.values, after).await,
            _ => {
                let sql = sql.returning();
                context.batch(&sql.text, &sql.values, after).await
            }
        }
    }

    pub(super) async fn committed(
        &mut self,
        context: &mut RunContext,
        units: u64,
        rows: u64,
        took: Duration,
    ) -> Result<(), Stop> {
        self.failures = 0;
        let tally = &mut self.tally;
        tally.deleted += rows;
        tally.batches += 1;
        tally.last = rows;
        tally.extremes =
            Some(tally.extremes.map_or((rows, rows), |(min, max)| (min.min(rows), max.max(rows))));
        tally.busy += took;
        tally.longest = tally.longest.max(took);
        if let Some(together) = &self.together {
            together.count(rows);
        }
        // Rows that go with their partition are no load by their number.
        let load = if matches!(self.cursor.at, Place::Partition(_)) { 0 } else { rows };
        let rest = self.pace.took(units, load, took);
        self.tell(context).await?;
        self.rest(context, rest).await
    }

    /// Makes the next batch smaller, or waits, as contention asks; gives up after a number of times in a row.
    async fn back_off(&mut self, context: &mut RunContext, undone: Undone) -> Result<(), Stop> {
        self.ahead.forget();
        if undone == Undone::StatementTimeout {
            return match self.pace.too_long() {
                Patience::Left => Ok(()),
                Patience::Over => Err(failed("the smallest possible batch takes longer than 5 minutes")),
            };
        }
        self.failures += 1;
        if self.failures > FAILURES_MOST {
            return Err(failed(&format!(
                "{FAILURES_MOST} batches in a row met locks of the application, or deadlocks: see pg_blocking_pids"
            )));
        }
        let wait = Duration::from_millis(50 << self.failures.min(6));
        self.rest(context, wait).await
    }

    pub(super) async fn rest(&mut self, context: &mut RunContext, time: Duration) -> Result<(), Stop> {
        let time = self.budget.rest(time);
        if time.is_zero() {
            return Ok(());
        }
        self.tally.rested += time;
        context.rest(time).await
    }

    /// The patient pass over ranges where rows were locked.
    async fn visit_skipped(&mut self, context: &mut RunContext) -> Result<Stopped, Stop> {
        if !self.cursor.skipped.is_empty() {
            self.limit_statements(context, VISIT_LIMIT).await?;
        }
        while let Some(range) = self.cursor.skipped.first().copied() {
            if let Some(stopped) = self.budget.spent(self.tally.deleted) {
                return Ok(stopped);
            }
            let left = self.visit(context, range).await?;
            self.tally.skipped_locked += left;
            self.cursor.skipped.remove(0);
        }
        Ok(Stopped::Drained)
    }

    /// Visits a range; says how many rows are still locked.
    async fn visit(&mut self, context: &mut RunContext, range: Range) -> Result<u64, Stop> {
        let (scope, cutoff) = (self.scope, self.cursor.cutoff);
        let mut left = 0;
        for visit in 0..VISITS {
            if visit > 0 {
                self.rest(context, VISIT_AGAIN).await?;
            }
            let form = Form::Unlocked(self.rows_left());
            let cursor = self.cursor.clone();
            if let Batch::Committed { rows, took } = self.send(context, &range, &form, &cursor).await? {
                self.committed(context, 0, rows, took).await?;
            }
            let sql = scope.count_in(cutoff.as_ref(), &range);
            left = number(&context.query(&sql.text, &sql.values).await?);
            if left == 0 {
                break;
            }
        }
        Ok(left)
    }

    /// The session's settings are those of its start again.
    pub(super) fn forget_limit(&mut self) {
        self.limit = None;
    }

    pub(super) async fn limit_statements(
        &mut self,
        context: &mut RunContext,
        limit: Duration,
    ) -> Result<(), Stop> {
        // What the calls came to is not to be lost for a slow statement.
        #[cfg(feature = "http")]
        let limit = if self.before.is_some() { limit.max(VISIT_LIMIT) } else { limit };
        if self.limit != Some(limit) {
            context.limit_statements(Some(limit)).await?;
            self.limit = Some(limit);
        }
        Ok(())
    }

    /// Says how far it is, at most once a second.
    async fn tell(&mut self, context: &mut RunContext) -> Result<(), Stop> {
        if self.told.elapsed() < Duration::from_secs(1) {
            return Ok(());
        }
        self.told = Instant::now();
        let Cursor { at, end, eligible, .. } = &self.cursor;
        let own = (self.tally.deleted, self.tally.batches);
        let (rows, batches) = self.together.as_ref().map_or(own, |together| together.counted());
        let target = self.cursor.among.as_ref().and_then(|among| among.left.front());
        let progress = json!({
            "target": target, "rows": rows, "eligible": eligible, "batches": batches,
            "walk": at.walk(), "at": at, "end": end, "part": context.part(),
        });
        context.progress(&progress).await
    }
}

/// The cutoff's age, up to which the index walk goes.
pub(super) fn end_of(cutoff: Option<Cutoff>) -> Result<Moment, Stop> {
    cutoff.map(|cutoff| cutoff.age).ok_or_else(|| failed("the cursor of an index walk has no cutoff"))
}

fn limit_of(form: Form) -> Option<u64> {
    match form {
        Form::Whole | Form::Unlocked(None) => None,
        Form::Some(rows) | Form::Unlocked(Some(rows)) => Some(rows.unsigned_abs()),
    }
}

fn moves_on(from: Place, to: Place) -> bool {
    matches!(from.partial_cmp(&to), Some(std::cmp::Ordering::Less))
}

pub(super) fn failed(message: &str) -> Stop {
    Stop::Failed(Error::new(ErrorKind::Database, message))
}
