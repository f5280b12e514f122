//! When a purge steps back: for standbys, slots and the archiver that fall behind, a VACUUM on the table or on one whose
//! rows go along, others who wait for a lock on these, or a query of the author's own.
//!
//! It is looked at between batches, at most once a second, while no transaction is open; rests grow from one second to
//! half a minute, and after `yield_for` in a row the run ends, to come back. What is easy to get wrong: a purge makes WAL
//! itself, so small backlogs are normal, and only those count that would take a while.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_postgres::Row;

use super::{
    params::{Pacing, Params},
    statement::{Quoted, Scope},
    walk::{Walk, failed},
};
use crate::{
    kind::{RunContext, Stop, Stopped, interval::Limit},
    statements,
};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The longest rest before the next look.
const REST_MOST: Duration = Duration::from_secs(30);
/// How long a run steps back at a stretch before it ends, unless `yield_for` says otherwise.
const YIELD_FOR: Duration = Duration::from_secs(300);
/// How long the author's query may take.
const QUERY_LIMIT: Duration = Duration::from_secs(5);
/// WAL that a standby or the archiver may be behind.
const BEHIND_MOST: f64 = 256.0 * 1024.0 * 1024.0;
/// WAL that a slot may retain: one that nobody reads at the moment is no news.
const RETAINED_MOST: f64 = 4.0 * 1024.0 * 1024.0 * 1024.0;

/// What a run steps back for, and how long it did.
#[derive(Debug, Default)]
pub struct Pressure {
    /// The table, and those whose rows go with its own.
    oids: Vec<u32>,
    /// Whether the server is asked, besides the author's query.
    server: bool,
    query: Option<String>,
    patience: Duration,
    looked: Option<Instant>,
    /// Time stepped back at a stretch.
    stretch: Duration,
    rest: Duration,
    /// By reason: times and time.
    yielded: BTreeMap<&'static str, (u32, Duration)>,
    /// What the run ended for.
    halted_by: Option<&'static str>,
    unreadable: bool,
}

impl Pressure {
    /// For a run with these parameters, on these tables. The author's query was found to be one boolean expression.
    pub fn new(params: &Params, oids: Vec<u32>) -> Self {
        Pressure {
            oids,
            server: params.pace() == Pacing::Gentle,
            query: params.yield_when.as_deref().map(|text| Scope::ask(&Quoted::expression(text))),
            patience: params.yield_for.map_or(YIELD_FOR, |Limit(time)| time),
            rest: LOOK_EVERY,
            ..Pressure::default()
        }
    }

    /// The same, with nothing done so far: for another session.
    pub fn afresh(&self) -> Self {
        let Pressure { oids, server, query, patience, .. } = self;
        Pressure {
            oids: oids.clone(),
            server: *server,
            query: query.clone(),
            patience: *patience,
            rest: LOOK_EVERY,
            ..Pressure::default()
        }
    }

    /// Whether it asks the server, or a query of the author's.
    pub fn asks(&self) -> bool {
        self.server || self.query.is_some()
    }

    /// Adds what another part of the walk stepped back for.
    pub fn absorb(&mut self, other: Pressure) {
        for (reason, (times, time)) in other.yielded {
            let own = self.yielded.entry(reason).or_default();
            *own = (own.0 + times, own.1 + time);
        }
        self.halted_by = self.halted_by.or(other.halted_by);
        self.unreadable |= other.unreadable;
    }

    /// For the report.
    pub fn to_json(&self) -> Value {
        let yielded: BTreeMap<&str, Value> = self
            .yielded
            .iter()
            .map(|(reason, (times, time))| (*reason, json!({"times": times, "ms": time.as_millis() as u64})))
            .collect();
        json!({
            "yielded": (!yielded.is_empty()).then_some(yielded),
            "yielded_at_last_to": self.halted_by,
            "pressure_unreadable": self.unreadable.then_some(true),
        })
    }
}

/// Steps back for as long as there is a reason to. Says so if the run should end.
pub async fn heed(walk: &mut Walk<'_>, context: &mut RunContext) -> Result<Option<Stopped>, Stop> {
    loop {
        if !walk.pressure.asks() {
            return Ok(None);
        }
        if walk.pressure.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return Ok(None);
        }
        let reason = look(walk, context).await?;
        walk.pressure.looked = Some(Instant::now());
        let Some(reason) = reason else {
            (walk.pressure.stretch, walk.pressure.rest) = (Duration::ZERO, LOOK_EVERY);
            return Ok(None);
        };
        let pressure = &mut walk.pressure;
        let left = pressure.patience.saturating_sub(pressure.stretch);
        if left.is_zero() {
            pressure.halted_by = Some(reason);
            return Ok(Some(Stopped::BackPressure));
        }
        let rest = walk.budget.rest(pressure.rest.min(left));
        pressure.rest = (pressure.rest * 2).min(REST_MOST);
        pressure.stretch += rest;
        pressure.looked = None;
        let (times, time) = pressure.yielded.entry(reason).or_default();
        (*times, *time) = (*times + 1, *time + rest);
        walk.rest(context, rest).await?;
        if let Some(stopped) = walk.budget.spent(walk.tally.deleted) {
            return Ok(Some(stopped));
        }
    }
}

/// The reason to step back, if there is one.
async fn look(walk: &mut Walk<'_>, context: &mut RunContext) -> Result<Option<&'static str>, Stop> {
    walk.limit_statements(context, QUERY_LIMIT).await?;
    let pressure = &mut walk.pressure;
    if pressure.server {
        match context.query(statements::PURGE_PRESSURE, &[&pressure.oids]).await {
            Ok(rows) => {
                if let Some(reason) = rows.first().and_then(of_server) {
                    return Ok(Some(reason));
                }
            }
            // A server that does not tell is no reason to stop; the report says that nobody looked.
            Err(Stop::Failed(error)) if error.sqlstate().is_some() => {
                (pressure.server, pressure.unreadable) = (false, true);
            }
            Err(stop) => return Err(stop),
        }
    }
    let Some(query) = &pressure.query else { return Ok(None) };
    match context.query(query, &[]).await {
        Ok(rows) => {
            let told = rows.first().and_then(|row| row.get::<_, Option<bool>>(0));
            Ok(told.unwrap_or(false).then_some("yield_when"))
        }
        Err(Stop::Failed(error)) if error.sqlstate() == Some("57014") => Ok(Some("yield_when")),
        Err(Stop::Failed(error)) => Err(failed(&format!("yield_when: {error}"))),
        Err(stop) => Err(stop),
    }
}

fn of_server(row: &Row) -> Option<&'static str> {
    let more = |name: &str, most: f64| row.get::<_, Option<f64>>(name).is_some_and(|bytes| bytes > most);
    [
        ("waiting", row.get("waiting")),
        ("vacuum", row.get("vacuum")),
        ("standby", more("standby", BEHIND_MOST)),
        ("archiver", row.get::<_, bool>("archiver_failing") || more("archiver", BEHIND_MOST)),
        ("slot", more("slot", RETAINED_MOST)),
    ]
    .into_iter()
    .find_map(|(reason, is)| is.then_some(reason))
}
