//! A purge with several sessions: parts of the walk that do not touch one another, each with its own position.
//!
//! A heap walk is cut into ranges of blocks, an index walk into ranges of ages that hold about as many rows each, told
//! from a sample. There are more parts than workers, and workers take them in their order, so that all work where the
//! old rows are. What is easy to get wrong: budgets are the whole run's, so the rows of `limit_rows` are handed out
//! from one purse, and what a part did not need goes back into it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    ahead::Ahead,
    budget::{Budget, More},
    choose,
    cursor::{Cursor, Cutoff, Place},
    moment::{Block, Moment},
    pace::Pace,
    params::{Pacing, Params, WalkChoice},
    pressure::Pressure,
    remove::Removal,
    statement::Scope,
    tally::Tally,
    target::Facts,
    walk::{Walk, failed},
};
use crate::{
    kind::{ParamError, PartWork, RunContext, Stop, Stopped},
    statements,
};

/// Each is a connection, and more than this are of no use to the disks and processors of any one server.
pub const MOST: u16 = 16;
/// Parts of a heap: so many that the old rows, which often lie together, are in several.
const PARTS_OF_HEAP: u32 = 64;
/// A part has at least so many blocks.
const BLOCKS_OF_PART: u32 = 8;
/// Parts of an index walk for each worker: they hold about as many rows each, and the last to finish is waited for.
const PARTS_OF_WORKER: u64 = 8;
/// A part has at least about so many rows.
const ROWS_OF_PART: u64 = 100;
/// Blocks that ages are sampled from.
const SAMPLED_BLOCKS: f64 = 300.0;

/// How long a worker waits for rows of the budget that others may give back.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What the shape of the parameter alone cannot tell.
///
/// # Errors
/// If there may not be that many workers, or none at all beside what else is asked for.
pub fn check(params: &Params) -> Result<(), ParamError> {
    let wrong = |message: &str| Err(ParamError::new("workers", message));
    match params.workers {
        1 => Ok(()),
        2..=MOST if params.pace() != Pacing::Full => wrong(
            "more than 1 need pacing = \"full\": the other paces bound what they take together, and one is enough for that",
        ),
        2..=MOST if params.walk == WalkChoice::Partition => {
            wrong("more than 1 are for rows; walk = \"partition\" takes one partition after the other")
        }
        2..=MOST => Ok(()),
        _ => wrong(&format!("must be from 1 to {MOST}")),
    }
}

/// Walks, by workers if there are to be any and the walk can be cut into parts.
pub async fn run<'a>(
    walk: &mut Walk<'a>,
    context: &mut RunContext,
    params: &'a Params,
    facts: &Facts,
) -> Result<Stopped, Stop> {
    if params.workers == 1 {
        return walk.run(context).await;
    }
    if context.parts() == 0 {
        match cut(walk, context, params, facts).await? {
            Ok(cursors) => context.split(&cursors).await?,
            Err(why) => {
                walk.parts = json!({"workers": 1, "workers_why": why});
                return walk.run(context).await;
            }
        }
    }
    let team = Team::of(walk, params.workers);
    let workers = context.in_parts(params.workers, &team).await?.workers;
    Ok(team.tell(walk, workers))
}

/// The parts' cursors, or why there are none.
async fn cut(
    walk: &Walk<'_>,
    context: &mut RunContext,
    params: &Params,
    facts: &Facts,
) -> Result<Result<Vec<Cursor>, &'static str>, Stop> {
    let Cursor { at, end, cutoff, eligible, skipped, .. } = &walk.cursor;
    match (at, end, cutoff) {
        (Place::Partition(_), ..) => Ok(Err("whole partitions go one after the other")),
        _ if facts.partitioned() => Ok(Err("the table is partitioned")),
        // An earlier attempt began alone.
        _ if !skipped.is_empty() => Ok(Err("it was begun by one session")),
        (Place::Block(Block(0)), Some(end), _) => Ok(cursors_of_blocks(&walk.cursor, *end)),
        (Place::Age(Moment::BEGINNING), _, Some(cutoff)) => {
            let parts = (PARTS_OF_WORKER * u64::from(params.workers)).min(eligible / ROWS_OF_PART);
            let bounds = bounds(context, walk.scope, facts, cutoff, parts).await?;
            Ok(cursors_of_ages(&walk.cursor, bounds))
        }
        _ => Ok(Err("it was begun by one session")),
    }
}

fn cursors_of_blocks(whole: &Cursor, end: Block) -> Result<Vec<Cursor>, &'static str> {
    let parts = (end.0 / BLOCKS_OF_PART).min(PARTS_OF_HEAP);
    if parts < 2 {
        return Err("the table is small");
    }
    let bound = |part: u32| {
        Block(u32::try_from(u64::from(end.0) * u64::from(part) / u64::from(parts)).unwrap_or(end.0))
    };
    let cursor = |part| Cursor { at: Place::Block(bound(part)), end: Some(bound(part + 1)), ..whole.clone() };
    Ok((0..parts).map(cursor).collect())
}

fn cursors_of_ages(whole: &Cursor, mut bounds: Vec<Moment>) -> Result<Vec<Cursor>, &'static str> {
    bounds.dedup();
    bounds
        .retain(|bound| *bound > Moment::BEGINNING && whole.cutoff.is_some_and(|cutoff| *bound < cutoff.age));
    if bounds.is_empty() {
        return Err("few rows are eligible, or all of one age");
    }
    let from = [Moment::BEGINNING].into_iter().chain(bounds.iter().copied());
    let until = bounds.iter().copied().map(Some).chain([None]);
    let cursor = |(from, until)| Cursor { at: Place::Age(from), until, ..whole.clone() };
    Ok(from.zip(until).map(cursor).collect())
}

/// Ages that cut what is old into so many parts of about as many rows, in order.
async fn bounds(
    context: &mut RunContext,
    scope: &Scope,
    facts: &Facts,
    cutoff: &Cutoff,
    parts: u64,
) -> Result<Vec<Moment>, Stop> {
    if parts < 2 {
        return Ok(Vec::new());
    }
    let rows = context.query(statements::PURGE_SIZE, &[&facts.oid]).await?;
    let blocks = rows.first().map(|row| row.get::<_, i64>(2)).unwrap_or_default().max(1);
    let percent = (100.0 * SAMPLED_BLOCKS / blocks as f64).min(100.0);
    let shares: Vec<f64> = (1..parts).map(|part| part as f64 / parts as f64).collect();
    let sql =
        scope.quantiles(cutoff, &shares, &percent).ok_or_else(|| failed("an index walk without an age"))?;
    let rows = context.query(&sql.text, &sql.values).await?;
    Ok(rows.first().and_then(|row| row.get::<_, Option<Vec<Moment>>>(0)).unwrap_or_default())
}

/// What all workers of a run have deleted so far, for people who watch.
#[derive(Debug, Default)]
pub struct Together {
    rows: AtomicU64,
    batches: AtomicU64,
}

impl Together {
    /// One more batch.
    pub fn count(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    /// Rows and batches.
    pub fn counted(&self) -> (u64, u64) {
        (self.rows.load(Ordering::Relaxed), self.batches.load(Ordering::Relaxed))
    }
}

/// What came of a part.
struct Part {
    cursor: Cursor,
    tally: Tally,
    stopped: Stopped,
}

/// What workers share.
struct Team<'a> {
    scope: &'a Scope,
    may_lock: bool,
    budget: Budget,
    /// Of a walk that has learned nothing yet.
    fresh: Pace,
    /// What workers that are done with a part have learned, for their next one.
    learned: Mutex<Vec<(Pace, Ahead)>>,
    pressure: Mutex<Pressure>,
    /// What all of them removed besides, if rows do not just go.
    removal: Option<Mutex<Removal<'a>>>,
    together: Arc<Together>,
    parts: Mutex<BTreeMap<u32, Part>>,
}

impl<'a> Team<'a> {
    fn of(walk: &Walk<'a>, workers: u16) -> Team<'a> {
        Team {
            scope: walk.scope,
            may_lock: walk.may_lock,
            budget: walk.budget.shared(workers),
            fresh: walk.pace.clone(),
            learned: Mutex::default(),
            pressure: Mutex::new(walk.pressure.afresh()),
            removal: walk.removal.as_ref().map(|removal| Mutex::new(removal.afresh())),
            together: Arc::default(),
            parts: Mutex::default(),
        }
    }

    /// How a part removes rows that do not just go.
    fn afresh(&self) -> Option<Removal<'_>> {
        self.removal.as_ref().map(|removal| locked(removal).afresh())
    }

    /// Why the walk as a whole ended: as all its parts did, or else for the first of them that did not come to its end.
    fn stopped(&self) -> Stopped {
        let parts = locked(&self.parts);
        parts
            .values()
            .map(|part| part.stopped)
            .find(|stopped| *stopped != Stopped::Drained)
            .unwrap_or(Stopped::Drained)
    }

    /// Walks one part to its end, or to that of the budgets.
    async fn walk(&self, walk: &mut Walk<'_>, context: &mut RunContext) -> Result<Stopped, Stop> {
        loop {
            let ended = walk.run(context).await;
            walk.budget.give_back(walk.tally.deleted);
            match ended? {
                Stopped::LimitRows => {}
                stopped => return Ok(stopped),
            }
            // Another may have taken more rows than its part turns out to have.
            while walk.budget.more() == More::Later {
                context.rest(LOOK_AGAIN).await?;
            }
            if walk.budget.more() == More::Never {
                return Ok(Stopped::LimitRows);
            }
        }
    }

    /// Puts together what the parts did, in the walk of the run itself.
    fn tell(self, walk: &mut Walk<'a>, workers: u16) -> Stopped {
        let stopped = self.stopped();
        let parts = self.parts.into_inner().unwrap_or_else(PoisonError::into_inner);
        let of_part = |(number, Part { cursor, tally, stopped }): (&u32, &Part)| {
            let end = cursor.end.map_or_else(|| json!(cursor.until), |end| json!(end));
            json!({"part": number, "end": end, "deleted": tally.deleted, "batches": tally.batches,
                   "skipped_locked": tally.skipped_locked, "busy_ms": tally.busy.as_millis() as u64,
                   "stopped": stopped})
        };
        let listed: Vec<Value> = parts.iter().map(of_part).collect();
        walk.parts = json!({"workers": workers, "parts": listed});
        for part in parts.values() {
            walk.tally.absorb(&part.tally);
        }
        walk.pressure = self.pressure.into_inner().unwrap_or_else(PoisonError::into_inner);
        walk.removal =
            self.removal.map(|removal| removal.into_inner().unwrap_or_else(PoisonError::into_inner));
        stopped
    }
}

impl PartWork for Team<'_> {
    type Done = ();

    async fn prepare(&self, context: &mut RunContext) -> Result<(), Stop> {
        choose::keep_planner(context, self.scope).await?;
        match self.afresh() {
            Some(removal) => removal.prepare(context).await,
            None => Ok(()),
        }
    }

    async fn work(&self, context: &mut RunContext) -> Result<(), Stop> {
        let (Some(number), Some(cursor)) = (context.part(), context.cursor::<Cursor>()?) else {
            return Err(failed("a part of a purge has no cursor"));
        };
        if self.stopped() != Stopped::Drained {
            return Ok(());
        }
        let learned = locked(&self.learned).pop();
        let (pace, ahead) = learned.unwrap_or_else(|| (self.fresh.clone(), Ahead::default()));
        let pressure = locked(&self.pressure).afresh();
        let mut walk = Walk::new(self.scope, cursor, pace, self.budget.clone(), pressure, self.may_lock);
        walk.together = Some(Arc::clone(&self.together));
        walk.ahead = ahead;
        walk.removal = self.afresh();
        let stopped = self.walk(&mut walk, context).await?;
        locked(&self.pressure).absorb(walk.pressure);
        locked(&self.learned).push((walk.pace, walk.ahead));
        if let (Some(all), Some(removal)) = (&self.removal, &walk.removal) {
            locked(all).absorb(removal);
        }
        locked(&self.parts).insert(number, Part { cursor: walk.cursor, tally: walk.tally, stopped });
        Ok(())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(at: Place, end: Option<Block>) -> Cursor {
        let age = "2026-01-09T00:00:00Z".parse().expect("a moment");
        Cursor {
            cutoff: Some(Cutoff { at: jiff::Timestamp::UNIX_EPOCH, age, base: None }),
            at,
            by_partition: false,
            end,
            until: None,
            why: String::new(),
            skipped: Vec::new(),
            detaching: None,
            eligible: 1000,
            counted: true,
            among: None,
            receipts: Vec::new(),
        }
    }

    #[test]
    fn parts_of_a_heap_meet_and_leave_nothing_out() {
        for end in [16, 17, 100, 511, 512, 100_003, u32::MAX] {
            let parts = cursors_of_blocks(&whole(Place::Block(Block(0)), Some(Block(end))), Block(end))
                .expect("parts");
            let mut next = Block(0);
            for part in &parts {
                assert_eq!(part.at, Place::Block(next));
                next = part.end.expect("an end");
            }
            assert_eq!(next, Block(end), "{} parts", parts.len());
        }
        assert!(cursors_of_blocks(&whole(Place::Block(Block(0)), None), Block(15)).is_err());
    }

    #[test]
    fn parts_of_ages_meet_and_go_from_the_beginning_to_the_cutoff() {
        let day = |day: u32| format!("2026-01-0{day}T00:00:00Z").parse::<Moment>().expect("a moment");
        let cursor = whole(Place::Age(Moment::BEGINNING), None);
        let parts =
            cursors_of_ages(&cursor, vec![Moment::BEGINNING, day(2), day(2), day(5), day(9)]).expect("parts");
        let ranges: Vec<(Place, Option<Moment>)> = parts.iter().map(|part| (part.at, part.until)).collect();
        let place = |from| Place::Age(from);
        assert_eq!(
            ranges,
            [(place(Moment::BEGINNING), Some(day(2))), (place(day(2)), Some(day(5))), (place(day(5)), None)]
        );
        assert!(cursors_of_ages(&cursor, vec![day(9), day(9)]).is_err(), "nothing lies between");
    }
}
