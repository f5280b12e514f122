//! The walk: batch after batch from a stored position on, whichever way rows are found.
//!
//! Never "the first n again": with an old snapshot open elsewhere, such a statement reads its own dead rows over and
//! over. A walk moves on, and its position is committed with each batch, so that any replica goes on where the last
//! commit stood. The ways to the next range stand in `walk_index` and `walk_heap`; whole partitions go by
//! `walk_partition`. What is easy to get wrong: a batch that met a lock leaves rows behind, so its range is remembered in
//! the same commit and visited again (`visits`).

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tokio::time::Instant;
use tokio_postgres::Row;

use super::{
    ahead::Ahead,
    budget::Budget,
    cursor::{Cursor, Cutoff, Place, Range},
    moment::Moment,
    pace::{Pace, Patience},
    pressure::{self, Pressure},
    remove::Removal,
    statement::{Form, Scope, Sql},
    tally::Tally,
    walk_heap, walk_index,
    walk_partition::{self, Whole},
    workers::Together,
};
use crate::{
    error::{Error, ErrorKind},
    kind::{Batch, RunContext, Slices, Stop, Stopped, Undone},
};

/// Batches that fail in a row before the run does.
const FAILURES_MOST: u32 = 10;
/// How long a read on the way to a range may take at last.
const READ_MOST: Duration = Duration::from_secs(300);
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

impl Step {
    /// A range of which nothing is known.
    pub fn of(range: Range, form: Form) -> Step {
        Step { range, form, units: 0, guessed: false }
    }
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
    /// How long the next read may take, after one that took too long.
    read_limit: Option<Duration>,
    pub(super) told: Instant,
    /// By how much the last rest was too long.
    overslept: Duration,
    pub(super) crowded: Option<Moment>,
    /// Where batches probably end.
    pub(super) ahead: Ahead,
    /// The next step, where it was settled before the last one was taken.
    pub(super) planned: Option<Step>,
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
            read_limit: None,
            told,
            overslept: Duration::ZERO,
            crowded: None,
            ahead: Ahead::default(),
            planned: None,
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
            let started = Instant::now();
            let next = match self.cursor.at {
                Place::Age(from) => walk_index::next(self, context, from).await?,
                Place::Block(from) => {
                    self.limit_statements(context, self.pace.limit()).await?;
                    // What was planned follows a batch that committed. After one that was undone, it would step over it.
                    match self.planned.take().filter(|step| step.range.begins_at(from)) {
                        Some(step) => Next::Step(step),
                        None => walk_heap::next(self, from),
                    }
                }
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
    ///
    /// A read that takes too long is tried again with more time: smaller batches do not make it shorter. It is the first
    /// of a run that may, where it passes over what earlier runs left and no VACUUM removed.
    pub(super) async fn read(
        &mut self,
        context: &mut RunContext,
        sql: &Sql<'_>,
    ) -> Result<Option<Vec<Row>>, Stop> {
        let limit = self.read_limit.unwrap_or(self.pace.limit());
        self.limit_statements(context, limit).await?;
        let found = context.query(&sql.text, &sql.values).await;
        let sqlstate = match &found {
            Err(Stop::Failed(error)) => error.sqlstate(),
            Ok(_) | Err(_) => None,
        };
        match sqlstate {
            Some("55P03") => self.back_off(context, Undone::LockTimeout).await.map(|()| None),
            Some("57014") if limit < READ_MOST => {
                self.read_limit = Some((limit * 2).min(READ_MOST));
                Ok(None)
            }
            _ => {
                let rows = found?;
                self.read_limit = None;
                self.limit_statements(context, self.pace.limit()).await?;
                Ok(Some(rows))
            }
        }
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
        self.planned = walk_heap::after(self, &step);
        loop {
            match self.send(context, &Step { form, ..step }, &after).await? {
                Batch::Committed { rows, took, commit, rested } => {
                    self.cursor = after;
                    if limit_of(form).is_some_and(|limit| rows < limit) {
                        // The range is through. The next batch stores that; till then it would merely be looked at again.
                        self.cursor.at = step.range.end();
                    }
                    let units = if step.guessed { self.learn(&step, rows) } else { step.units };
                    self.pace.learn(units, took.saturating_sub(commit + rested), commit);
                    return self.committed(context, rows, took, rested).await;
                }
                Batch::Undone(Undone::LockTimeout) if self.may_lock && !matches!(form, Form::Unlocked(_)) => {
                    form = Form::Unlocked(limit_of(form).map(|rows| i64::try_from(rows).unwrap_or(i64::MAX)));
                    after.remember(step.range);
                }
                Batch::Undone(Undone::StatementTimeout) if step.guessed => {
                    // It held more than was expected: the next one is looked up.
                    self.ahead.forget();
                    return Ok(());
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

    /// One batch over a range, in the way that its rows go.
    pub(super) async fn send(
        &mut self,
        context: &mut RunContext,
        step: &Step,
        after: &Cursor,
    ) -> Result<Batch, Stop> {
        let (scope, cutoff) = (self.scope, self.cursor.cutoff);
        let Step { range, form, units, .. } = step;
        #[cfg(feature = "http")]
        if let Some(before) = &mut self.before {
            let here = &self.cursor;
            return before.batch(context, scope, (cutoff.as_ref(), range, form), (here, after)).await;
        }
        if let Some(removal) = &mut self.removal {
            return removal.batch(context, scope, (cutoff.as_ref(), range, form), after).await;
        }
        let (number, rest) = match form {
            Form::Whole => self.pace.slices(*units),
            Form::Some(_) | Form::Unlocked(_) => (1, Duration::ZERO),
        };
        let ranges = range.cut(number);
        self.tally.slices += ranges.len() as u64;
        let deletes: Vec<Sql<'_>> =
            ranges.iter().map(|range| scope.delete(cutoff.as_ref(), range, form)).collect();
        let params: Vec<&[_]> = deletes.iter().map(|delete| delete.values.as_slice()).collect();
        let Some(Sql { text: effect, .. }) = deletes.first() else { return Err(failed("an empty batch")) };
        // The next batch goes by the same statement only after one that takes all of its range.
        let next = self.planned.as_ref().filter(|_| *form == Form::Whole);
        let next = next.map(|step| scope.delete(cutoff.as_ref(), &step.range, &step.form));
        let next = next.as_ref().map(|delete| delete.values.as_slice());
        let slices = Slices { effect, params: &params, rest, next };
        let begun = context.is_begun(&slices);
        let batch = context.batch_in_slices(&slices, after).await?;
        if begun && matches!(batch, Batch::Committed { .. }) {
            self.tally.ahead += 1;
        }
        Ok(batch)
    }

    pub(super) async fn committed(
        &mut self,
        context: &mut RunContext,
        rows: u64,
        took: Duration,
        rested: Duration,
    ) -> Result<(), Stop> {
        self.failures = 0;
        self.tally.count(rows, took, rested);
        if let Some(together) = &self.together {
            together.count(rows);
        }
        // Rows that go with their partition are no load by their number.
        let load = if matches!(self.cursor.at, Place::Partition(_)) { 0 } else { rows };
        let rest = self.pace.rest_after(load, took.saturating_sub(rested)).saturating_sub(rested);
        self.tell(context).await?;
        self.rest_between(context, rest).await
    }

    /// Rests between two batches. A timer wakes late, the more so on a busy machine: what was too long is made up for by
    /// the next rest, so that the share of the time is what the pace says.
    async fn rest_between(&mut self, context: &mut RunContext, time: Duration) -> Result<(), Stop> {
        let due = time.saturating_sub(self.overslept);
        let began = Instant::now();
        self.rest(context, due).await?;
        self.overslept = (self.overslept + began.elapsed()).saturating_sub(time).min(time);
        Ok(())
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
        let limit = if self.before.is_some() { limit.max(super::visits::LIMIT) } else { limit };
        if self.limit != Some(limit) {
            context.limit_statements(Some(limit)).await?;
            self.limit = Some(limit);
        }
        Ok(())
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
