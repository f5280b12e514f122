//! How a job with several targets stands: which are over, which one has its turn, and which wait.
//!
//! It is part of the cursor, so that it commits with each batch. What is easy to get wrong: a target that failed is over
//! for this attempt only. The next attempt of the occurrence tries it again at its own cursor, by the same cutoff, and
//! does not touch those that succeeded.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::cursor::Cursor;
use crate::error::Error;

/// How a job with several targets stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Among {
    /// The targets that are not over, by their numbers: the first one has its turn.
    pub left: VecDeque<usize>,
    /// What is left of the rows that an operator approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<u64>,
    /// Each target, in the order in which the job lists them.
    pub of: Vec<Share>,
}

/// What became of a target so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Rows deleted by all attempts before the present turn.
    pub rows: u64,
    /// How it came to an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// Where it failed, for the next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Box<Cursor>>,
}

/// How a target came to an end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Nothing is left to do.
    Drained,
    /// It was refused.
    Refused {
        /// What looked wrong.
        reason: String,
        /// What can be done about it.
        remedy: Option<String>,
        /// So many rows would have to be approved, if that would do.
        approve: Option<u64>,
    },
    /// It failed.
    Failed(String),
}

impl Ended {
    /// For reports.
    pub fn outcome(&self) -> &'static str {
        match self {
            Ended::Drained => "succeeded",
            Ended::Refused { .. } => "refused",
            Ended::Failed(_) => "failed",
        }
    }

    /// One that failed, with its remedy and of bounded length.
    pub fn failed(error: &Error) -> Ended {
        const MOST: usize = 400;
        let text = error.remedy().map_or_else(|| error.to_string(), |remedy| format!("{error}. {remedy}"));
        Ended::Failed(text.chars().take(MOST).collect())
    }
}

impl Among {
    /// So many targets, of which this one has the first turn and the others follow in their order.
    pub fn new(targets: usize, first: usize, approved: Option<u64>) -> Self {
        let left = (0..targets).map(|step| (first + step) % targets).collect();
        Among { left, approved, of: vec![Share::default(); targets] }
    }

    /// A new attempt of the occurrence, by which `total` rows are gone: what did not succeed is tried again, last.
    pub fn try_again(&mut self, total: u64) {
        let known: u64 = self.of.iter().map(|share| share.rows).sum();
        // Whatever is not written down yet went in the turn that an attempt did not survive.
        if let Some(share) = self.left.front().and_then(|first| self.of.get_mut(*first)) {
            share.rows += total.saturating_sub(known);
        }
        for (number, share) in self.of.iter().enumerate() {
            let again = matches!(share.ended, Some(Ended::Refused { .. } | Ended::Failed(_)));
            // What it came to stands until it has its turn, which a budget may not leave it.
            if again && !self.left.contains(&number) {
                self.left.push_back(number);
            }
        }
    }

    /// A target went by so many of the approved rows.
    pub fn use_approval(&mut self, rows: u64) {
        self.approved = self.approved.map(|left| left.saturating_sub(rows));
    }
}

/// Who has the first turn after a run that a budget ended. Of each target in its order, the rows that it got, or `None`
/// if nothing was left of it; `first` had the first turn. Of those that were cut short, the one that got least; among
/// equals the one whose turn comes next.
pub fn next_turn(got: &[Option<u64>], first: usize) -> Option<usize> {
    let targets = got.len();
    let after = |number: usize| (number + targets - first - 1) % targets;
    let cut = got.iter().enumerate().filter_map(|(number, rows)| Some(((*rows)?, after(number), number)));
    cut.min().map(|(_, _, number)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_got_least_is_next_and_nobody_waits_for_ever() {
        assert_eq!(next_turn(&[Some(990), Some(10)], 0), Some(1));
        assert_eq!(next_turn(&[None, Some(10), None], 0), Some(1));
        assert_eq!(next_turn(&[None, None], 1), None);
        let (mut first, mut turns) = (0, vec![0; 5]);
        for _ in 0..20 {
            turns[first] += 1;
            // Each has more than a run can take.
            let got: Vec<_> = (0..5).map(|number| Some(if number == first { 100 } else { 0 })).collect();
            first = next_turn(&got, first).expect("all were cut");
        }
        assert_eq!(turns, [4; 5]);
    }

    #[test]
    fn what_failed_is_tried_again_behind_what_waits_and_what_succeeded_is_not() {
        let mut among = Among::new(4, 1, Some(10));
        assert_eq!(among.left, [1, 2, 3, 0]);
        among.of[1] = Share { rows: 5, ended: Some(Ended::Failed("x".to_owned())), cursor: None };
        among.of[2] = Share { rows: 7, ended: Some(Ended::Drained), cursor: None };
        among.left = [3, 0].into();
        among.try_again(20);
        assert_eq!(among.left, [3, 0, 1]);
        assert_eq!(among.of.iter().map(|share| share.rows).collect::<Vec<_>>(), [0, 5, 7, 8]);
        among.use_approval(4);
        assert_eq!(among.approved, Some(6));
        let text = serde_json::to_value(&among).expect("JSON");
        assert_eq!(serde_json::from_value::<Among>(text).expect("and back"), among);
    }
}
