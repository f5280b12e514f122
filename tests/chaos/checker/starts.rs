//! I1, I3 and I5 of how runs begin: not though somebody had said stop, not before their time, not beside what excludes them.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Indexed, Verdict};
use crate::history::Change;

/// A run begins only if its job was due, and neither paused, cancelled nor, if it is destructive, halted.
pub fn none_too_many(indexed: &Indexed<'_>, verdict: &mut Verdict) {
    for changes in indexed.changes.values() {
        let mut cancelled = HashSet::new();
        for pair in changes.windows(2) {
            let [before, change] = pair else { continue };
            let occurrence = |change: &Change| Some(indexed.runs.get(&change.run?)?.occurrence);
            if before.cancelled {
                cancelled.extend(occurrence(before));
            }
            if change.begins(Some(before))
                && occurrence(change).is_some_and(|occurrence| cancelled.contains(&occurrence))
            {
                verdict.broken(
                    "I1",
                    format!(
                        "{}: version {} began an occurrence that was cancelled",
                        change.name, change.version
                    ),
                );
            }
            if change.begins(Some(before))
                && let Some(refusal) = refusal(indexed, before, change)
            {
                let what = format!(
                    "{}: version {} began though {refusal} (moment {})",
                    change.name, change.version, change.moment
                );
                verdict.broken("I1", what);
            }
        }
    }
}

fn refusal(indexed: &Indexed<'_>, before: &Change, change: &Change) -> Option<&'static str> {
    let run = change.run.and_then(|run| indexed.runs.get(&run))?;
    if before.paused && before.paused_until.is_none_or(|until| until > change.at) {
        Some("the job was paused")
    } else if before.cancelled {
        Some("it was cancelled")
    } else if !before.running && before.due_at.is_none_or(|due| due > change.at) {
        Some("it was not due")
    } else if run.origin == "schedule" && run.occurrence > change.at {
        Some("its occurrence was to come")
    } else if run.destructive && run.real && indexed.is_halted(change.committed) {
        Some("everything destructive was halted")
    } else {
        None
    }
}

/// What the recorder saw beside runs that began.
pub fn none_beside(indexed: &Indexed<'_>, verdict: &mut Verdict) {
    for (run, what) in &indexed.history.beside {
        let name = indexed.runs.get(run).map_or("?", |run| run.name.as_str());
        verdict.broken("I5", format!("{name}: run {run} {what}"));
    }
}

/// Of one-offs, no more run at a time than their job allows, and of one key one.
pub fn places_kept(indexed: &Indexed<'_>, verdict: &mut Verdict) {
    let mut running: HashMap<i64, BTreeMap<i64, Option<&str>>> = HashMap::new();
    for change in &indexed.history.changes {
        let Some(parent) = change.parent else { continue };
        let now = running.entry(parent).or_default();
        if !change.running || change.deleted {
            now.remove(&change.job);
            continue;
        }
        now.insert(change.job, change.key.as_deref());
        let keys: Vec<&str> = now.values().flatten().copied().collect();
        if now.len() > usize::try_from(change.max_running).unwrap_or(0) {
            let what = format!("{}: {} one-offs run, {} may", change.name, now.len(), change.max_running);
            verdict.broken("I5", what);
        }
        if keys.iter().collect::<HashSet<_>>().len() < keys.len() {
            verdict.broken("I5", format!("{}: two one-offs of one key run: {keys:?}", change.name));
        }
    }
}
