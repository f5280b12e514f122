//! A batch: rows of a range are read, called for, and deleted or deferred, some hundred at a time.
//!
//! What is easy to get wrong: the calls cannot be taken back. So a transaction that met a lock is tried again with what
//! the calls came to, and only the last one of a range moves the walk's position on; a run that dies in between leaves
//! rows whose call is repeated under the same key.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    caller::{Caller, Failure, Outcome},
    calls::{Calls, Waiting},
    rows::Row,
    told::Told,
};
use crate::{
    kind::{Batch, RunContext, Stop, Undone},
    kinds::purge::{
        cursor::{Cutoff, Range},
        remove::contention,
        statement::{Form, Scope},
    },
    outside::http::Client,
    statements,
};

/// About how many rows a range has, unless the job says otherwise: calls take longer than rows.
pub const RANGE: u64 = 1000;
/// Rows that are called for at a time, and go in one transaction.
const ROWS: i64 = 500;
/// How often a transaction that met a lock is tried again, and after how long.
const TRIES: u32 = 10;
const AGAIN: Duration = Duration::from_millis(200);
/// The longest that a row is left alone between two tries.
const DEFER_MOST: Duration = Duration::from_secs(86_400);

/// The calls of a run.
pub struct Before<'a> {
    calls: &'a Calls,
    caller: Caller<'a>,
    job: i64,
    run: Uuid,
    now: Timestamp,
    since: Instant,
    /// Whether rows are called for though they are not due, and targets though they are marked as down.
    force: bool,
    /// Whether rows that others have locked can be stepped around.
    may_lock: bool,
    pub(super) told: Told,
}

impl<'a> Before<'a> {
    /// With nothing called so far.
    pub fn new(context: &RunContext, calls: &'a Calls, client: Arc<Client>, may_lock: bool) -> Self {
        let caller = Caller::new(calls, client, context.token(), context.lasting_key("row"));
        Before {
            calls,
            caller,
            job: context.job_id(),
            run: context.run_id(),
            now: context.now(),
            since: Instant::now(),
            force: context.options().force == Some(true),
            may_lock,
            told: Told::default(),
        }
    }

    /// Forgets rows that somebody else deleted, or that need not go any more.
    pub async fn tidy(
        &self,
        context: &mut RunContext,
        scope: &Scope,
        cutoff: Option<&Cutoff>,
        here: &impl Serialize,
    ) -> Result<(), Stop> {
        let sql = self.calls.settled_otherwise(scope, cutoff, &self.job);
        let found = context.query(&sql.text, &sql.values).await?;
        if found.is_empty() {
            return Ok(());
        }
        let done: Vec<String> = found.iter().map(|row| row.get(0)).collect();
        let mut transaction = context.begin().await?;
        transaction.query(statements::NOTE_DEFERRED, &[&self.run, &json!([]), &done]).await?;
        transaction.commit(0, here).await
    }

    fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.since.elapsed()).unwrap_or_default();
        self.now.checked_add(elapsed).unwrap_or(self.now)
    }

    /// One batch of the walk: all of a range, or as many rows of it as are to go.
    pub async fn batch(
        &mut self,
        context: &mut RunContext,
        scope: &Scope,
        (cutoff, range, form): (Option<&Cutoff>, &Range, &Form),
        (here, after): (&impl Serialize, &impl Serialize),
    ) -> Result<Batch, Stop> {
        let most = match form {
            Form::Whole | Form::Unlocked(None) => i64::MAX,
            Form::Some(rows) | Form::Unlocked(Some(rows)) => *rows,
        };
        let (mut deleted, mut took, mut last) = (0, Duration::ZERO, None);
        loop {
            let limit = most.saturating_sub(i64::try_from(deleted).unwrap_or(i64::MAX)).min(ROWS);
            let found = {
                let (now, force) = (self.now(), self.force);
                let waiting = Waiting { job: &self.job, now: &now, run: &self.run, force: &force };
                let sql = self.calls.select(scope, (cutoff, range), last.as_ref(), waiting, &limit);
                context.query(&sql.text, &sql.values).await
            };
            let found = match found {
                Ok(found) => found,
                Err(stop) => return contention(stop),
            };
            let through = i64::try_from(found.len()).unwrap_or(i64::MAX) < limit;
            let (mut rows, mut furthest) = (Vec::with_capacity(found.len()), None);
            if let Some(row) = found.last() {
                furthest = Some(Row::of(row).0);
            }
            for row in &found {
                let (row, down) = Row::of(row);
                if down && !row.guarded && !self.force && !self.calls.given.force {
                    self.told.down(row.url(self.calls).ok().map(|(_, target)| target));
                } else {
                    rows.push(row);
                }
            }
            let outcomes = match rows.is_empty() {
                true => Vec::new(),
                false => context.keep_while(self.caller.all(&rows)).await?,
            };
            let begun = Instant::now();
            let settled = Settled::of(&rows, outcomes, self);
            // The last one of a range, even if it is empty, moves the position on.
            let full = i64::try_from(deleted + settled.may_go()).unwrap_or(i64::MAX) >= most;
            let committed = if through || full {
                self.settle(context, scope, cutoff, &settled, after).await?
            } else {
                self.settle(context, scope, cutoff, &settled, here).await?
            };
            took += begun.elapsed();
            match committed {
                Ok(rows) => deleted += rows,
                Err(undone) => return Ok(Batch::Undone(undone)),
            }
            if through || full {
                return Ok(Batch::Committed {
                    rows: deleted,
                    took,
                    commit: Duration::ZERO,
                    rested: Duration::ZERO,
                });
            }
            last = furthest;
        }
    }

    /// Writes what the calls came to, in one fenced transaction.
    async fn settle(
        &mut self,
        context: &mut RunContext,
        scope: &Scope,
        cutoff: Option<&Cutoff>,
        settled: &Settled<'_>,
        position: &impl Serialize,
    ) -> Result<Result<u64, Undone>, Stop> {
        let mut tries = 0;
        loop {
            let around = tries > 0 && self.may_lock;
            match self.write(context, scope, (cutoff, around), settled, position).await {
                Ok(deleted) => {
                    self.told.settled(settled, deleted);
                    return Ok(Ok(deleted));
                }
                Err(stop) => match contention(stop)? {
                    Batch::Undone(undone) if tries == TRIES => return Ok(Err(undone)),
                    _ => tries += 1,
                },
            }
            context.rest(AGAIN).await?;
        }
    }

    async fn write(
        &self,
        context: &mut RunContext,
        scope: &Scope,
        (cutoff, around): (Option<&Cutoff>, bool),
        settled: &Settled<'_>,
        position: &impl Serialize,
    ) -> Result<u64, Stop> {
        let mut transaction = context.begin().await?;
        let mut done: Vec<String> = Vec::new();
        for (picked, guarded) in [(&settled.free, false), (&settled.guarded, true)] {
            if picked.rows.is_empty() {
                continue;
            }
            let sql = self.calls.delete(scope, cutoff, (&picked.keys, &picked.same), (guarded, around));
            match transaction.query(&sql.text, &sql.values).await {
                Ok(rows) => done.extend(rows.iter().map(|row| row.get::<_, String>(0))),
                Err(stop) => {
                    transaction.roll_back().await?;
                    return Err(stop);
                }
            }
        }
        if !done.is_empty() || !settled.deferred.is_empty() {
            let notes = Value::from(settled.deferred.clone());
            transaction.query(statements::NOTE_DEFERRED, &[&self.run, &notes, &done]).await?;
        }
        let deleted = done.len() as u64;
        transaction.commit(deleted, position).await?;
        Ok(deleted)
    }

    /// When a row is tried again.
    fn next_try(&self, attempts: i32, failure: &Failure) -> Value {
        let given = &self.calls.given;
        if attempts >= i32::from(given.give_up_after) {
            return "infinity".into();
        }
        let first = if failure.in_passing { given.defer() } else { DEFER_MOST.max(given.defer()) };
        let doubled = u32::try_from(attempts - 1).unwrap_or(0).min(16);
        let wait = first.saturating_mul(1 << doubled).min(DEFER_MOST.max(given.defer()));
        let wait = wait.mul_f64(0.8 + fastrand::f64() * 0.4).max(failure.not_before);
        let at = SignedDuration::try_from(wait).ok().and_then(|wait| self.now().checked_add(wait).ok());
        at.map_or("infinity".into(), |at| at.to_string().into())
    }

    /// What the run says of it.
    pub async fn to_json(&self, context: &mut RunContext) -> Result<Value, Stop> {
        let rows = context.query(statements::PURGE_DEFERRED, &[&self.job]).await?;
        Ok(self.told.to_json(&self.caller, &rows))
    }
}

/// Rows that go, as the statement takes them.
#[derive(Debug, Default)]
pub struct Picked<'r> {
    rows: Vec<&'r Row>,
    keys: Vec<Vec<&'r str>>,
    same: Vec<&'r str>,
}

impl<'r> Picked<'r> {
    fn push(&mut self, row: &'r Row) {
        self.keys.resize(row.key.len(), Vec::new());
        for (list, text) in self.keys.iter_mut().zip(&row.key) {
            list.push(text);
        }
        self.same.push(&row.same);
        self.rows.push(row);
    }
}

/// What the calls for some rows came to.
#[derive(Debug, Default)]
pub struct Settled<'r> {
    /// Called, or without a target.
    free: Picked<'r>,
    guarded: Picked<'r>,
    deferred: Vec<Value>,
    pub(super) called: u64,
    pub(super) no_target: u64,
    pub(super) skipped: u64,
    pub(super) classes: Vec<&'static str>,
}

impl<'r> Settled<'r> {
    fn of(rows: &'r [Row], outcomes: Vec<Outcome>, before: &Before<'_>) -> Self {
        let mut settled = Settled::default();
        for (row, outcome) in rows.iter().zip(outcomes) {
            match outcome {
                Outcome::Called => {
                    settled.called += 1;
                    settled.free.push(row);
                }
                Outcome::NoTarget => {
                    settled.no_target += 1;
                    settled.free.push(row);
                }
                Outcome::Guarded => {
                    settled.skipped += 1;
                    settled.guarded.push(row);
                }
                Outcome::Deferred(failure) => {
                    let attempts = row.attempts + i32::from(failure.called);
                    settled.classes.push(failure.class.as_str());
                    settled.deferred.push(json!({
                        "row_key": row.key_text, "class": failure.class, "target": failure.target,
                        "attempts": attempts, "error": failure.error,
                        "next_try": before.next_try(attempts, &failure),
                    }));
                }
            }
        }
        settled
    }

    fn may_go(&self) -> u64 {
        (self.free.rows.len() + self.guarded.rows.len()) as u64
    }
}
