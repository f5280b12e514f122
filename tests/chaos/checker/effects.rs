//! I1, I2 and I4: what was written, by whom, and how often.

use std::collections::{HashMap, HashSet};

use super::{Indexed, Verdict};
use crate::history::{Change, Fence, Run};

/// I1, with G9: at the commit of each batch the row carried the batch's token, and nobody had said stop.
pub fn no_superseded_commit(indexed: &Indexed<'_>, verdict: &mut Verdict) {
    for fence in &indexed.history.fences {
        verdict.seen.batches += 1;
        let Some(run) = indexed.runs.get(&fence.run) else {
            verdict.broken("I1", format!("a batch of run {} committed, of which there is no row", fence.run));
            continue;
        };
        let changes = indexed.changes_of(run.job);
        let by_moment = changes.iter().rev().find(|change| change.moment < fence.moment).copied();
        let by_commit = fence.committed.and_then(|committed| {
            let earlier = |change: &&&Change| change.committed.is_some_and(|at| at < committed);
            changes.iter().filter(earlier).max_by_key(|change| (change.committed, change.moment)).copied()
        });
        for (order, row) in [("lock", by_moment), ("commit", by_commit)] {
            let refusal = match row {
                Some(row) => refusal(row, run),
                None if order == "commit" => None,
                None => Some("the job had no row"),
            };
            if let Some(refusal) = refusal {
                verdict.broken("I1", describe(run, fence, order, refusal));
            }
        }
        if run.destructive && run.real && indexed.is_halted(fence.committed) {
            verdict.broken("I1", describe(run, fence, "commit", "everything destructive was halted"));
        }
    }
}

/// Why the row, as it stood, should have refused a batch of this run.
fn refusal(row: &Change, run: &Run) -> Option<&'static str> {
    if row.deleted {
        Some("the job was deleted")
    } else if !row.running || row.version != run.version || row.run != Some(run.id) {
        Some("its token was superseded")
    } else if row.revision != run.revision {
        Some("the job was edited")
    } else if row.cancelled {
        Some("it was cancelled")
    } else if row.paused {
        Some("the job was paused")
    } else if run.destructive && run.real && row.armed_revision != Some(row.revision) {
        Some("the job was disarmed")
    } else {
        None
    }
}

fn describe(run: &Run, fence: &Fence, order: &str, refusal: &str) -> String {
    format!(
        "{}: a batch of run {} (version {}, revision {}) committed though {refusal} (by {order} order, moment {})",
        run.name, run.id, run.version, run.revision, fence.moment
    )
}

/// I4: each transaction that changed the application's rows recorded just that progress, for the same run.
pub fn effect_is_progress(indexed: &Indexed<'_>, verdict: &mut Verdict) {
    let mut recorded: HashMap<i64, (i64, HashSet<uuid::Uuid>)> = HashMap::new();
    let mut of_run: HashMap<uuid::Uuid, (i64, i64)> = HashMap::new();
    for fence in &indexed.history.fences {
        let entry = recorded.entry(fence.xid).or_default();
        entry.0 += fence.rows;
        entry.1.insert(fence.run);
        let totals = of_run.entry(fence.run).or_default();
        totals.0 += fence.steps;
        totals.1 += fence.rows;
    }
    let mut effects = indexed.history.gone.clone();
    // What a fan-out submits; 0 stands for a person.
    let submitted = |change: &&Change| change.source.is_some_and(|source| source > 0);
    for xid in indexed.history.changes.iter().filter(submitted).filter_map(|change| change.inserted_by) {
        *effects.entry(xid).or_default() += 1;
    }
    for step in &indexed.history.steps {
        *effects.entry(step.xid).or_default() += 1;
        if recorded.get(&step.xid).is_some_and(|(_, runs)| !runs.contains(&step.run)) {
            verdict.broken("I4", format!("{}: step {} was recorded for another run", step.job, step.step));
        }
    }
    verdict.seen.effects += effects.values().sum::<i64>().unsigned_abs() as usize;
    for (xid, rows) in &effects {
        let said = recorded.get(xid).map(|(rows, _)| *rows);
        if said != Some(*rows) {
            verdict.broken("I4", format!("transaction {xid} changed {rows} rows and recorded {said:?}"));
        }
    }
    for (xid, (rows, _)) in &recorded {
        if *rows != 0 && !effects.contains_key(xid) {
            verdict.broken("I4", format!("transaction {xid} recorded {rows} rows and changed none"));
        }
    }
    for run in &indexed.history.runs {
        let (batches, rows) = of_run.get(&run.id).copied().unwrap_or_default();
        let written = (run.batches.unwrap_or(batches), run.rows.unwrap_or(rows));
        // The totals are those of the parts as they stand at the end; a part's rows begin anew with each run.
        if written != (batches, rows) {
            verdict.broken(
                "I4",
                format!("{}: run {} says {written:?}, its batches {:?}", run.name, run.id, (batches, rows)),
            );
        }
    }
    for wrong in &indexed.history.wrongly_gone {
        verdict.broken("I4", wrong.clone());
    }
}

/// I2: each step of an occurrence took effect once, and a success has all of them.
pub fn each_step_once(indexed: &Indexed<'_>, verdict: &mut Verdict) {
    let mut times: HashMap<(i64, i64, i64, i32), usize> = HashMap::new();
    for step in &indexed.history.steps {
        let Some(run) = indexed.runs.get(&step.run) else { continue };
        let count = times.entry((run.job, step.occurrence, run.revision, step.step)).or_default();
        *count += 1;
        if *count == 2 {
            verdict.broken(
                "I2",
                format!("{}: step {} of one occurrence took effect twice", step.job, step.step),
            );
        }
    }
    let mut successes = HashSet::new();
    for run in indexed.history.runs.iter().filter(|run| run.state == "succeeded") {
        if !successes.insert((run.job, run.occurrence)) {
            verdict.broken("I2", format!("{}: one occurrence succeeded twice", run.name));
        }
        let Some(steps) = run.steps.filter(|_| run.real) else { continue };
        let has = |step: &i64| {
            i32::try_from(*step)
                .is_ok_and(|step| times.contains_key(&(run.job, run.occurrence, run.revision, step)))
        };
        if let Some(missing) = (1..=steps).find(|step| !has(step)) {
            verdict.broken("I2", format!("{}: run {} succeeded without step {missing}", run.name, run.id));
        }
    }
}

/// What a replica was told is committed is there.
pub fn acknowledged_is_durable(indexed: &Indexed<'_>, verdict: &mut Verdict) {
    let there: HashSet<_> = indexed.history.steps.iter().map(|step| (step.run, step.step)).collect();
    for (run, step) in &indexed.history.acknowledged {
        if !there.contains(&(*run, *step)) {
            verdict.broken(
                "I4",
                format!("run {run} was told that step {step} is committed, and it is not there"),
            );
        }
    }
}
