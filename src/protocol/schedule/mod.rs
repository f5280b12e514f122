//! Schedules: when a job is regularly due, read from text and computed, and what becomes of missed runs.
//!
//! Pure: no clock, no database, no waiting. The caller passes every instant and gets the next one. Replicas plan
//! with this and stamp the result into the job's row, so two of them must come to the same: nothing here may
//! depend on the machine, save its time zone database.
//!
//! Where the clock is put forward or back, two kinds of rule behave differently:
//!
//! * **Wall times** (`daily 03:00`; cron with minutes and hours given as numbers, lists or ranges): once for each
//!   date and time, at the first instant at which the clock shows that time *or a later one*. In a gap (spring)
//!   that is the gap's end, in an overlap (autumn) the first pass. Several times in one gap share one run.
//! * **Intervals** (cron with `*`, `*/n` or `H/n` as minute or hour; `every` in hours or less): as real time goes,
//!   twice what is shown twice, nothing for what is leaped over.
//!
//! `every 2 days`, weeks, months and years step from the last instant along the calendar and keep its wall time.
//! They have no memory beyond it: once moved by a gap, or from the 31st to the 30th, they stay there. Where the
//! time or day matters say `daily 03:00` or `0 3 L * *`.
//!
//! What is easy to get wrong: an instant is the occurrence's identity, so it must never be shifted. Jitter
//! ([`Seed::jitter`]) and backoff belong into `due_at` alone.

mod cron;
mod error;
mod missed;
mod parse;
mod rule;
mod seed;
mod text;
mod wall;
mod zone;

#[cfg(test)]
mod tests;

use std::fmt;

use jiff::{SignedDuration, Timestamp, civil::Time};

pub use self::{
    error::ScheduleError,
    missed::{EACH_MAX, Missed, Plan, SKIP_LATENESS},
    seed::Seed,
};
use self::{
    rule::{Passed, Rule},
    text::Piece,
    wall::{Dates, WallTimes},
    zone::Zone,
};

/// A job's schedule, read and checked.
#[derive(Clone)]
pub struct Schedule {
    at_start: bool,
    at_deploy: bool,
    rule: Rule,
    rule_text: String,
    text: String,
    zone: Zone,
}

impl Schedule {
    /// Reads a schedule, and the time zone that stands beside it (none: what the text names, or UTC).
    ///
    /// `seed` decides what `H` in a cron pattern is for this job.
    ///
    /// ```
    /// use sexton::protocol::schedule::{Schedule, Seed};
    ///
    /// let seed = Seed::new(uuid::Uuid::nil(), "audit-logs");
    /// let schedule = Schedule::parse("daily 03:00 Europe/Paris", None, &seed)?;
    /// assert_eq!((schedule.text(), schedule.time_zone()), ("daily 03:00", "Europe/Paris"));
    ///
    /// let now = "2026-03-28T12:00:00Z".parse()?;
    /// assert_eq!(schedule.first(now), Some("2026-03-29T01:00:00Z".parse()?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The text is no schedule, an unknown zone is named or two different ones, or the rule never comes
    /// (31 February).
    pub fn parse(text: &str, time_zone: Option<&str>, seed: &Seed) -> Result<Schedule, ScheduleError> {
        let beside = time_zone.map(Zone::beside).transpose()?;
        let read = parse::read(text, beside, seed)?;
        if let Some(why) = why_never(&read.rule, &read.zone) {
            let message = format!("`{}` never comes in {}", read.rule_text, read.zone.name);
            return Err(ScheduleError::at(Piece::new(text), message).remedy_is(why));
        }
        let text = canonical(read.at_start, read.at_deploy, &read.rule_text);
        let parse::Read { at_start, at_deploy, rule, rule_text, zone } = read;
        Ok(Schedule { at_start, at_deploy, rule, rule_text, text, zone })
    }

    /// The canonical text, without zone. Reading it again, with [`Schedule::time_zone`] beside it, gives the same.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The IANA name of the zone in which times of day are meant.
    pub fn time_zone(&self) -> &str {
        &self.zone.name
    }

    /// Whether the job is due when a replica starts while no other is alive.
    pub fn runs_at_start(&self) -> bool {
        self.at_start
    }

    /// Whether the job is due after a deploy.
    pub fn runs_at_deploy(&self) -> bool {
        self.at_deploy
    }

    /// The first regular instant strictly later than `after`, or none if none follows.
    ///
    /// For `every`, `after` must be the last regular instant (its grid goes on from there); for `after`, the end
    /// of the last run. Whole microseconds at the finest.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        self.rule.next_after(&self.zone.rules, after)
    }

    /// The first regular instant of a job that is new, or whose schedule was edited, at `now`: never at once.
    ///
    /// `every` and `after` begin one period after `now`. None for `manual`, for `at start` alone, and for `once`
    /// in the past, of which the caller should warn.
    pub fn first(&self, now: Timestamp) -> Option<Timestamp> {
        self.next_after(now)
    }

    /// The first `count` regular instants after `after`, for people to look at.
    ///
    /// Of `after 45m` only one, since the others depend on how long runs take.
    pub fn upcoming(&self, after: Timestamp, count: usize) -> impl Iterator<Item = Timestamp> {
        let known = if self.follows_last_run() { count.min(1) } else { count };
        std::iter::successors(self.next_after(after), |last| self.next_after(*last)).take(known)
    }

    /// The longest time between two regular instants of those that follow `after`: 3,000 of them, or a year and a month. Of
    /// `after 45m` it is that period, from the end of a run. None where no instant follows another.
    pub fn longest_gap(&self, after: Timestamp) -> Option<SignedDuration> {
        let first = self.next_after(after)?;
        if self.follows_last_run() {
            return Some(first.duration_since(after));
        }
        let (mut last, mut longest) = (first, None);
        for _ in 0..GAPS_MOST {
            let Some(next) = self.next_after(last) else { break };
            longest = longest.max(Some(next.duration_since(last)));
            last = next;
            if last.duration_since(first) > GAPS_WITHIN {
                break;
            }
        }
        longest
    }

    /// The schedule in English: `every day at 03:00 Europe/Paris`.
    pub fn describe(&self) -> String {
        let mut parts = Vec::new();
        if self.at_start {
            parts.push("when the first replica starts".to_owned());
        }
        if self.at_deploy {
            parts.push("after each deploy".to_owned());
        }
        parts.extend(self.describe_rule());
        match parts.is_empty() {
            true => "only when asked to".to_owned(),
            false => parts.join(", and "),
        }
    }

    fn describe_rule(&self) -> Option<String> {
        let zone = &self.zone.name;
        match &self.rule {
            Rule::Wall(times) => Some(describe_wall(times, zone)),
            Rule::Every(period) if period.is_calendar() => {
                Some(format!("{}, by the calendar of {zone}", self.rule_text))
            }
            Rule::Every(_) => Some(self.rule_text.clone()),
            Rule::After(_) => {
                let period = self.rule_text.trim_start_matches("after ");
                Some(format!("{period} from the end of the last run"))
            }
            Rule::Once(instant) => {
                let local = self.zone.rules.to_datetime(*instant);
                Some(format!("once, at {} {zone}", local.strftime("%Y-%m-%d %H:%M:%S")))
            }
            Rule::Never => None,
        }
    }

    fn pass(&self, after: Timestamp, until: Timestamp, limit: u64) -> Passed {
        self.rule.pass(&self.zone.rules, after, until, limit)
    }

    /// Whether the zone makes a difference to when the job is due.
    fn depends_on_zone(&self) -> bool {
        match &self.rule {
            Rule::Wall(_) => true,
            Rule::Every(period) | Rule::After(period) => period.is_calendar(),
            Rule::Once(_) | Rule::Never => false,
        }
    }
}

/// How far [`Schedule::longest_gap`] looks.
const GAPS_MOST: usize = 3000;
const GAPS_WITHIN: SignedDuration = SignedDuration::from_hours(24 * 400);

/// From here on a rule must come at least once to be accepted: 2025-01-01T00:00Z. A fixed instant, so that what is
/// accepted does not depend on the day.
const REFERENCE: Timestamp = Timestamp::constant(1_735_689_600, 0);

/// Why a rule that should repeat has not even one instant, if so.
fn why_never(rule: &Rule, zone: &Zone) -> Option<&'static str> {
    let why = match rule {
        Rule::Wall(_) => "no date has that day, month and weekday, or the clock never shows that time then",
        Rule::Every(_) | Rule::After(_) => "it lies beyond the year 9999, where time ends here",
        Rule::Once(_) | Rule::Never => return None,
    };
    rule.next_after(&zone.rules, REFERENCE).is_none().then_some(why)
}

fn canonical(at_start: bool, at_deploy: bool, rule: &str) -> String {
    let starts = [(at_start, "at start"), (at_deploy, "at deploy")];
    let starts: Vec<&str> = starts.into_iter().filter_map(|(said, text)| said.then_some(text)).collect();
    match (starts.is_empty(), rule.is_empty()) {
        (true, _) => rule.to_owned(),
        (false, true) => starts.join(", "),
        (false, false) => format!("{}, then {rule}", starts.join(", ")),
    }
}

fn describe_wall(rule: &WallTimes, zone: &str) -> String {
    let (cron, every_day) = match &rule.dates {
        Dates::Every => (None, true),
        Dates::Matching(cron) => {
            let pattern = &cron.pattern;
            let days_free = pattern.is_dom_wildcard() && pattern.is_dow_wildcard();
            (Some(pattern), days_free && pattern.months.values().len() == 12)
        }
    };
    match (rule.times.as_slice(), cron) {
        ([time], _) if every_day => format!("every day at {} {zone}", display_time(*time)),
        (_, Some(pattern)) => {
            let english = pattern.describe();
            // croner says "At every 30 minutes."
            let every = english.strip_prefix("At ").filter(|rest| rest.starts_with("every"));
            let (first, rest) = every.unwrap_or(&english).split_at(1);
            format!("{}{} ({zone})", first.to_lowercase(), rest.trim_end_matches('.'))
        }
        (times, None) => {
            let times: Vec<String> = times.iter().map(|time| display_time(*time)).collect();
            format!("every day at {} {zone}", times.join(", "))
        }
    }
}

/// `03:00`, with seconds only where there are any.
fn display_time(time: Time) -> String {
    time.strftime(if time.second() == 0 { "%H:%M" } else { "%H:%M:%S" }).to_string()
}

impl fmt::Display for Schedule {
    /// The canonical text, with the zone if it makes a difference; it can be read again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.depends_on_zone() {
            write!(f, " {}", self.zone.name)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Schedule {
    /// Short: croner's own prints 15 kB.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({:?}, {})", self.text, self.zone.name)
    }
}
