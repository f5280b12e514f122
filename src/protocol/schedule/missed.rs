//! What becomes of regular instants that pass without a run: a replica was down, or the last run took too long.
//!
//! Pure: decides which instant is next and how many are counted as passed over (`run.coalesced`), and leaves the
//! writing to others. What is easy to get wrong: every instant must be either run or counted, exactly once, so
//! that runs + coalesced = elapsed instants; an instant that [`Schedule::too_late`] passes over counts itself.

use std::{fmt, str::FromStr};

use jiff::{SignedDuration, Timestamp};

use super::{
    Schedule,
    error::{ScheduleError, nearest},
    rule::Rule,
    text::Piece,
};

/// Under [`Missed::Skip`], how late a run may start if nothing else is said: one minute.
pub const SKIP_LATENESS: SignedDuration = SignedDuration::from_mins(1);

/// The most runs that [`Missed::Each`] may make up for.
pub const EACH_MAX: u32 = 10_000;

/// What to do about missed runs. Written `once` (the default), `skip`, `each(10)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missed {
    /// One run makes up for all that were missed.
    #[default]
    Once,
    /// None is made up for: what is later than its `max_lateness` (default [`SKIP_LATENESS`]) does not run.
    Skip,
    /// Each is made up for by a run of its own, but only the most recent ones, at most this many (1 to
    /// [`EACH_MAX`]); older ones are passed over.
    Each(u32),
}

/// Which regular instant is next, and how many were passed over to get there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Plan {
    /// The next regular instant (it may lie in the past: then it is due at once), or none if none follows.
    pub scheduled_at: Option<Timestamp>,
    /// Instants before it that no run was or will be for: to be added to `run.coalesced`.
    pub coalesced: u64,
}

impl Schedule {
    /// Plans what follows when the run for the regular instant `last` is settled at `now`.
    ///
    /// The instants in `(last, now]` passed while the job was waiting or running. Under `once` and `skip` they are
    /// coalesced and the next lies after `now`; under `each(n)` the `n` most recent of them still get their runs.
    /// For `after`, the next is one period after `now`, whatever `last` is. The next is always later than `last`,
    /// even if the clock was set back.
    ///
    /// A run that was for no regular instant (run now, at start, at deploy) leaves `scheduled_at` as it is, unless
    /// the schedule [follows the last run](Schedule::follows_last_run).
    pub fn plan_next(&self, missed: Missed, last: Timestamp, now: Timestamp) -> Plan {
        if self.follows_last_run() {
            return Plan { scheduled_at: self.next_after(now.max(last)), coalesced: 0 };
        }
        let mut passed = self.pass(last, now, u64::MAX);
        if let Missed::Each(most) = missed {
            passed = self.pass(last, now, passed.count.saturating_sub(most.into()));
        }
        Plan { scheduled_at: self.next_after(passed.position), coalesced: passed.count }
    }

    /// Decides, before the first attempt for the regular instant `scheduled_at`, whether it is too late for it.
    ///
    /// None means: run it. Otherwise no run is made for it, `scheduled_at` moves on to the plan's, and the plan's
    /// `coalesced` counts it and all others that were passed over. It is too late if `now` is more than
    /// `max_lateness` after it (under every policy; under `skip` the default is [`SKIP_LATENESS`], else there is
    /// none), or if under `each(n)` at least `n` more recent instants have passed. The plan's instant is the first
    /// that is not too late, so it may be due at once. Not to be asked about retries: what was begun is finished.
    pub fn too_late(
        &self,
        missed: Missed,
        max_lateness: Option<SignedDuration>,
        scheduled_at: Timestamp,
        now: Timestamp,
    ) -> Option<Plan> {
        let (lateness, most) = match missed {
            Missed::Once => (max_lateness, None),
            Missed::Skip => (Some(max_lateness.unwrap_or(SKIP_LATENESS)), None),
            Missed::Each(most) => (max_lateness, Some(u64::from(most))),
        };
        let stale = lateness.map_or(0, |lateness| self.count_stale(lateness, scheduled_at, now));
        let passed = |most| (self.pass(scheduled_at, now, u64::MAX).count + 1).saturating_sub(most);
        let coalesced = stale.max(most.map_or(0, passed));
        if coalesced == 0 {
            return None;
        }
        if self.follows_last_run() {
            return Some(Plan { scheduled_at: self.next_after(now), coalesced });
        }
        // `scheduled_at` itself is the first of those passed over.
        let position = self.pass(scheduled_at, now, coalesced - 1).position;
        Some(Plan { scheduled_at: self.next_after(position), coalesced })
    }

    /// How many instants from `scheduled_at` on, itself included, are more than `lateness` before `now`.
    fn count_stale(&self, lateness: SignedDuration, scheduled_at: Timestamp, now: Timestamp) -> u64 {
        let lateness = lateness.max(SignedDuration::ZERO);
        let Ok(oldest) = now.checked_sub(lateness) else { return 0 };
        let Ok(before) = oldest.checked_sub(SignedDuration::from_nanos(1)) else { return 0 };
        match scheduled_at <= before {
            true => 1 + self.pass(scheduled_at, before, u64::MAX).count,
            false => 0,
        }
    }

    /// Whether the next instant follows from the end of a run (`after`), so that the end of any run, even one
    /// started by hand, moves it.
    pub fn follows_last_run(&self) -> bool {
        matches!(self.rule, Rule::After(_))
    }
}

impl FromStr for Missed {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let piece = Piece::new(text);
        let (word, count) = piece.split_at(piece.text().find('(').unwrap_or(piece.text().len()));
        if word.is("each") {
            return read_each(piece, count);
        }
        match (word.text().to_ascii_lowercase().as_str(), count.is_empty()) {
            ("once", true) => Ok(Missed::Once),
            ("skip", true) => Ok(Missed::Skip),
            (other, _) => {
                let near = nearest(other, ["once", "skip", "each"]).map(|near| match near {
                    "each" => "did you mean `each(10)`?".to_owned(),
                    _ => format!("did you mean `{near}`?"),
                });
                let remedy = near.unwrap_or("it is `once`, `skip` or `each(10)`".to_owned());
                Err(ScheduleError::at(piece, format!("unknown policy for missed runs `{piece}`"))
                    .remedy_is(remedy))
            }
        }
    }
}

fn read_each(piece: Piece<'_>, count: Piece<'_>) -> Result<Missed, ScheduleError> {
    let number = count.text().strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let number = number.and_then(|number| number.trim().parse::<u32>().ok());
    number.filter(|number| (1..=EACH_MAX).contains(number)).map(Missed::Each).ok_or_else(|| {
        ScheduleError::at(piece, format!("`{piece}` does not say how many missed runs to make up for"))
            .remedy_is(format!("write a number from 1 to {EACH_MAX} in parentheses: `each(10)`"))
    })
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missed::Once => f.write_str("once"),
            Missed::Skip => f.write_str("skip"),
            Missed::Each(most) => write!(f, "each({most})"),
        }
    }
}
