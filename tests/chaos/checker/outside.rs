//! I6 to I8: what arrived outside of the database, by the receivers' own notes.
//!
//! A holder that was frozen or cut off may still act beside the next one, which nobody can prevent from here. The nemesis
//! says when it did that to whom; nothing else is an excuse. What is easy to get wrong: an excuse that is too wide makes
//! this a check of nothing, so it counts only if it falls between the two calls, or shortly before.

use std::collections::HashMap;

use super::{Indexed, Verdict};
use crate::history::{Call, Run};

/// After a fault of a holder was taken back, how long it may take to hear of it, in microseconds.
const AFTERMATH: i64 = 3_000_000;
/// What a caller that was killed may have left in the receiver's queue.
const QUEUE: i64 = 1_000_000;

/// Whether the holder of a run was frozen or cut off between these instants.
fn excused(indexed: &Indexed<'_>, run: Option<&&Run>, from: i64, until: i64) -> bool {
    run.is_some_and(|run| {
        indexed.history.excuses.iter().any(|excuse| {
            excuse.replica == run.holder && excuse.from <= until && excuse.until + AFTERMATH >= from
        })
    })
}

/// All three.
pub fn calls(indexed: &Indexed<'_>, verdict: &mut Verdict) {
    let history = indexed.history;
    let of_token: HashMap<(i64, String), &Run> =
        history.runs.iter().map(|run| ((run.job, format!("{}.{}", run.epoch, run.version)), run)).collect();
    verdict.seen.calls += history.calls.len();
    let mut keys: HashMap<&str, (i64, i64)> = HashMap::new();
    let mut occurrences: HashMap<(i64, i64), &str> = HashMap::new();
    let mut highest: HashMap<i64, (&Run, i64)> = HashMap::new();
    let mut in_order: Vec<&Call> = history.calls.iter().collect();
    in_order.sort_by_key(|call| call.at);
    for call in in_order {
        let what = format!("{} job {}: the call with token {}", call.kind, call.job, call.token);
        let Some(run) = of_token.get(&(call.job, call.token.clone())).copied() else {
            verdict.broken("I6", format!("{what} belongs to no run"));
            continue;
        };
        let occurrence = (run.job, run.occurrence);
        if *keys.entry(&call.key).or_insert(occurrence) != occurrence
            || *occurrences.entry(occurrence).or_insert(&call.key) != call.key
        {
            verdict.broken("I6", format!("{what} has the key {}, another attempt another", call.key));
        }
        let token = (run.epoch, run.version);
        let (before, since) = *highest.entry(call.job).or_insert((run, call.at));
        if token < (before.epoch, before.version)
            && call.at - since > QUEUE
            && !excused(indexed, Some(&run), since, call.at)
        {
            verdict.broken("I6", format!("{what} came after {}.{}", before.epoch, before.version));
        }
        if token > (before.epoch, before.version) {
            highest.insert(call.job, (run, call.at));
        }
        side_by_side(indexed, &of_token, call, &what, verdict);
        again(indexed, run, call, &what, verdict);
    }
    delivered(indexed, verdict);
}

/// I7: calls of two tokens overlap only if the older one's holder was frozen or cut off.
fn side_by_side(
    indexed: &Indexed<'_>,
    of_token: &HashMap<(i64, String), &Run>,
    call: &Call,
    what: &str,
    verdict: &mut Verdict,
) {
    let Some(other) = &call.beside else { return };
    let earlier = indexed.history.calls.iter().find(|c| c.job == call.job && &c.token == other);
    let from = earlier.map_or(call.at, |earlier| earlier.at);
    let both = [other, &call.token].map(|token| of_token.get(&(call.job, token.clone())));
    let older = both.into_iter().flatten().min_by_key(|run| (run.epoch, run.version));
    if other == &call.token || !excused(indexed, older, from, call.at) {
        verdict.broken("I7", format!("{what} came while that of {other} was still open"));
    }
}

/// An occurrence that succeeded is not called again.
fn again(indexed: &Indexed<'_>, run: &Run, call: &Call, what: &str, verdict: &mut Verdict) {
    let done = indexed.succeeded.get(&(run.job, run.occurrence)).filter(|other| {
        other.id != run.id && other.finished.is_some_and(|finished| finished + QUEUE < call.at)
    });
    if let Some(done) = done
        && !excused(indexed, Some(&run), done.finished.unwrap_or_default(), call.at)
    {
        verdict.broken("I8", format!("{what} came though the occurrence had succeeded"));
    }
}

/// I8: each run that says it succeeded was answered so.
fn delivered(indexed: &Indexed<'_>, verdict: &mut Verdict) {
    let answered: std::collections::HashSet<(i64, &str)> = indexed
        .history
        .calls
        .iter()
        .filter(|call| call.acknowledged)
        .map(|call| (call.job, call.token.as_str()))
        .collect();
    for run in indexed.history.runs.iter().filter(|run| run.outside && run.real && run.state == "succeeded") {
        if !answered.contains(&(run.job, format!("{}.{}", run.epoch, run.version).as_str())) {
            verdict.broken("I8", format!("{}: run {} succeeded and nobody was called", run.name, run.id));
        }
    }
}
