//! I4 again, by the logs of the replicas: whatever one was told of a claim or an outcome is what the database has.
//!
//! `sexton run` keeps no diary, but its log names each claim that it won and each outcome that was recorded. What is easy
//! to get wrong: a log says nothing of what was lost on its way, so only what stands there counts.

use super::{Indexed, Verdict};

/// A claim that was won is a run of that replica, and an outcome that was recorded is the one that stands.
pub fn as_it_is(indexed: &Indexed<'_>, verdict: &mut Verdict) {
    for (replica, run, outcome) in &indexed.history.told {
        let Some(there) = indexed.runs.get(run) else {
            verdict.broken("I4", format!("{replica} was told that run {run} is its own, and there is none"));
            continue;
        };
        if &there.holder != replica {
            verdict.broken(
                "I4",
                format!("{replica} was told that run {run} is its own, which {} has", there.holder),
            );
        }
        // A cancel that came first is for the occurrence, whatever its holder had to say.
        let other = |outcome: &&String| *outcome != &there.state && there.state != "cancelled";
        if let Some(outcome) = outcome.as_ref().filter(other) {
            let what = format!(
                "{}: {replica} was told that run {run} is {outcome}, and it is {}",
                there.name, there.state
            );
            verdict.broken("I4", what);
        }
    }
}
