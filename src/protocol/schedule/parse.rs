//! The grammar of schedules: from text to rule, canonical text and zone.
//!
//! ```text
//! schedule = start {"," start} [ "," ["then"] rule ] | rule
//! start    = "at start" | "at deploy"
//! rule     = ["cron"] pattern [zone] | "every" span [zone] | "after" span [zone] | "daily" ["at"] time [zone]
//!          | "once" instant [zone] | "manual"
//! ```
//!
//! Cron patterns have a reader of their own (`cron.rs`). What is easy to get wrong: commas also stand within
//! patterns and spans, so only `at …` in front of the rule is split off, never a rule cut at its commas.

use jiff::{
    Span, Timestamp, Zoned,
    civil::{DateTime, Time},
    tz::TimeZone,
};

use super::{
    cron, display_time,
    error::{ScheduleError, nearest},
    rule::{Period, Rule, whole_micros},
    seed::Seed,
    text::Piece,
    wall::{Dates, Flow, WallTimes},
    zone::{Zone, first_shown, split_zone},
};

const EXAMPLES: &str = "a schedule is one of `daily 03:00`, `0 3 * * *`, `every 45m`, `after 45m`, `at start`, \
                        `at deploy`, `once 2027-01-01T00:00Z`, `manual`";

/// What a text says.
pub(super) struct Read {
    pub(super) at_start: bool,
    pub(super) at_deploy: bool,
    pub(super) rule: Rule,
    /// The rule's canonical text without zone; empty if there is no rule.
    pub(super) rule_text: String,
    pub(super) zone: Zone,
}

/// Reads a schedule, with the zone that stands beside it and the job's seed.
pub(super) fn read(text: &str, beside: Option<Zone>, seed: &Seed) -> Result<Read, ScheduleError> {
    let mut rest = Piece::new(text);
    if rest.is_empty() {
        return Err(ScheduleError::at(rest, "the schedule is empty").remedy_is(EXAMPLES));
    }
    let zone = beside.clone().unwrap_or_else(Zone::utc);
    let mut read =
        Read { at_start: false, at_deploy: false, rule: Rule::Never, rule_text: String::new(), zone };
    while rest.split_word().0.is("at") {
        let (start, after) = split_start(rest)?;
        match start {
            Start::Replica => read.at_start = true,
            Start::Deploy => read.at_deploy = true,
        }
        if after.is_empty() {
            return Ok(read);
        }
        rest = after_comma(after)?;
    }
    refuse_late_start(rest)?;
    let reader = RuleReader { beside, seed };
    let (rule, rule_text, zone) = reader.read(rest)?;
    if (read.at_start || read.at_deploy) && matches!(rule, Rule::Never | Rule::Once(_)) {
        return Err(ScheduleError::at(rest, "only a rule that repeats goes with `at start` or `at deploy`")
            .remedy_is("write `at start, then every 1h`, or leave the rest away"));
    }
    Ok(Read { rule, rule_text, zone, ..read })
}

enum Start {
    Replica,
    Deploy,
}

/// Splits `at start` or `at deploy` off.
fn split_start(piece: Piece<'_>) -> Result<(Start, Piece<'_>), ScheduleError> {
    let (what, rest) = piece.split_word().1.split_word();
    match what.text().to_ascii_lowercase().as_str() {
        "start" => return Ok((Start::Replica, rest)),
        "deploy" => return Ok((Start::Deploy, rest)),
        _ => {}
    }
    let remedy = match nearest(what.text(), ["start", "deploy", "startup"]) {
        Some("deploy") => "did you mean `at deploy`?".to_owned(),
        Some(_) => "did you mean `at start`?".to_owned(),
        None if read_time(what).is_ok() => format!("did you mean `daily {what}`?"),
        None => "there are `at start` and `at deploy`".to_owned(),
    };
    Err(ScheduleError::at(what, format!("`at {what}` is no schedule")).remedy_is(remedy))
}

/// What follows the comma (and `then`) after `at start`.
fn after_comma(piece: Piece<'_>) -> Result<Piece<'_>, ScheduleError> {
    let remedy = "a rule that follows is set off by a comma: `at start, then after 1h`";
    let Some(rest) = piece.without_prefix(',') else {
        return Err(ScheduleError::at(piece, format!("`{piece}` is unexpected here")).remedy_is(remedy));
    };
    let (word, after) = rest.split_word();
    let rest = if word.is("then") { after } else { rest };
    match rest.is_empty() {
        true => Err(ScheduleError::at(rest, "nothing follows the comma").remedy_is(remedy)),
        false => Ok(rest),
    }
}

/// Refuses `every 1h, at start`, whose comma would else be taken for part of the span.
fn refuse_late_start(piece: Piece<'_>) -> Result<(), ScheduleError> {
    for (at, _) in piece.text().match_indices(',') {
        let (rule, late) = piece.split_at(at);
        let Some(late) = late.without_prefix(',') else { continue };
        let word = late.split_word().0;
        if word.is("at") {
            return Err(ScheduleError::at(late, format!("`{late}` comes first"))
                .remedy_is(format!("write `{late}, then {rule}`")));
        }
        if word.is("then") {
            return Err(ScheduleError::at(late, "a schedule has one rule at most")
                .remedy_is("only `at start` and `at deploy` go before a rule"));
        }
    }
    Ok(())
}

type RuleRead = (Rule, String, Zone);

struct RuleReader<'a> {
    beside: Option<Zone>,
    seed: &'a Seed,
}

impl RuleReader<'_> {
    fn read(&self, piece: Piece<'_>) -> Result<RuleRead, ScheduleError> {
        let (word, rest) = piece.split_word();
        match word.text().to_ascii_lowercase().as_str() {
            "cron" => self.read_cron(rest),
            "every" => self.read_period("every", rest, Rule::Every),
            "after" => self.read_period("after", rest, Rule::After),
            "daily" => self.read_daily(rest),
            "once" => self.read_once(rest),
            "manual" => {
                refuse_rest(rest)?;
                Ok((Rule::Never, "manual".to_owned(), self.zone(None)?))
            }
            _ if looks_like_cron(piece) => self.read_cron(piece),
            _ => Err(unknown(piece)),
        }
    }

    /// The zone in force: that of the text, that beside it, or UTC. Two different ones are an error.
    fn zone(&self, text: Option<Piece<'_>>) -> Result<Zone, ScheduleError> {
        match text {
            Some(piece) => self.agreed(piece, Zone::read(piece)?),
            None => Ok(self.beside.clone().unwrap_or_else(Zone::utc)),
        }
    }

    fn agreed(&self, piece: Piece<'_>, zone: Zone) -> Result<Zone, ScheduleError> {
        match &self.beside {
            Some(beside) if beside.name != zone.name => {
                let message = format!("the schedule names zone {}, time_zone {}", zone.name, beside.name);
                Err(ScheduleError::at(piece, message).remedy_is("leave one of them away"))
            }
            _ => Ok(zone),
        }
    }

    fn read_cron(&self, piece: Piece<'_>) -> Result<RuleRead, ScheduleError> {
        let (pattern, zone) = match piece.split_quoted() {
            Some((pattern, rest)) => (pattern, Some(rest).filter(|rest| !rest.is_empty())),
            None => split_zone(piece),
        };
        let zone = self.zone(zone)?;
        let (times, text) = cron::read(pattern, self.seed)?;
        Ok((Rule::Wall(times), text, zone))
    }

    fn read_period(
        &self,
        word: &str,
        piece: Piece<'_>,
        rule: fn(Period) -> Rule,
    ) -> Result<RuleRead, ScheduleError> {
        let (body, zone) = split_zone(piece);
        let zone = self.zone(zone)?;
        let span = read_span(word, body)?;
        let Some(period) = Period::new(span) else {
            let error = match span.signum() {
                1 => ScheduleError::at(body, format!("`{body}` is under a second")),
                _ => ScheduleError::at(body, format!("`{body}` is not a positive length of time")),
            };
            return Err(error.remedy_is(format!("write `{word} 45m`; the shortest is `{word} 1s`")));
        };
        Ok((rule(period), format!("{word} {span:#}"), zone))
    }

    fn read_daily(&self, piece: Piece<'_>) -> Result<RuleRead, ScheduleError> {
        let (first, after) = piece.split_word();
        let piece = if first.is("at") { after } else { piece };
        let (time, zone) = piece.split_word();
        let time = read_time(time)?;
        let zone = self.zone(Some(zone).filter(|zone| !zone.is_empty()))?;
        let text = format!("daily {}", display_time(time));
        let times = WallTimes { dates: Dates::Every, times: vec![time], flow: Flow::Wall };
        Ok((Rule::Wall(times), text, zone))
    }

    fn read_once(&self, piece: Piece<'_>) -> Result<RuleRead, ScheduleError> {
        let (body, zone) = split_zone(piece);
        let text = body.text();
        let (instant, zone) = if let Ok(zoned) = text.parse::<Zoned>() {
            if let Some(second) = zone {
                return Err(ScheduleError::at(second, format!("`{second}` is a second time zone"))
                    .remedy_is("leave one of them away"));
            }
            // A bare offset in the brackets names no zone.
            let named = zoned.time_zone().iana_name().and_then(Zone::named);
            let zone = named.map_or_else(|| self.zone(None), |zone| self.agreed(body, zone))?;
            (Some(zoned.timestamp()), zone)
        } else {
            let zone = self.zone(zone)?;
            (read_instant(text, &zone.rules), zone)
        };
        let instant = instant.and_then(whole_micros).ok_or_else(|| {
            ScheduleError::at(body, format!("`{body}` is no date and time"))
                .remedy_is("write `once 2027-01-01T00:00Z` or `once 2027-01-01 03:00 Europe/Paris`")
        })?;
        Ok((Rule::Once(instant), format!("once {instant}"), zone))
    }
}

fn refuse_rest(rest: Piece<'_>) -> Result<(), ScheduleError> {
    match rest.is_empty() {
        true => Ok(()),
        false => Err(ScheduleError::at(rest, format!("`{rest}` is unexpected after `manual`"))
            .remedy_is("`manual` stands alone")),
    }
}

/// An instant with its offset, or a date and time that a clock in `zone` shows.
fn read_instant(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    text.parse::<Timestamp>()
        .ok()
        .or_else(|| text.parse::<DateTime>().ok().and_then(|wall| first_shown(zone, wall)))
}

fn read_time(piece: Piece<'_>) -> Result<Time, ScheduleError> {
    let text = piece.text();
    // `3:00` is clear enough, though no ISO 8601.
    let padded = if text.find(':') == Some(1) { format!("0{text}") } else { text.to_owned() };
    let time = padded.parse::<Time>().ok().filter(|time| time.subsec_nanosecond() == 0);
    let complete = padded.len() >= "03:00".len() && padded.contains(':');
    time.filter(|_| complete).ok_or_else(|| {
        let message = match piece.is_empty() {
            true => "the time of day is missing".to_owned(),
            false => format!("`{piece}` is no time of day"),
        };
        ScheduleError::at(piece, message).remedy_is("write `daily 03:00` or `daily 15:30 Europe/Paris`")
    })
}

fn read_span(word: &str, piece: Piece<'_>) -> Result<Span, ScheduleError> {
    let text = piece.text().to_lowercase();
    if let Ok(span) = text.parse::<Span>() {
        return Ok(span);
    }
    let message = match text.is_empty() {
        true => format!("how long is missing after `{word}`"),
        false => format!("`{piece}` is no length of time"),
    };
    let time = piece.words().find_map(|part| read_time(part).ok().map(|_| part));
    let remedy = match time {
        Some(time) => format!("did you mean `daily {time}`?"),
        None if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) => {
            format!("say of what: `{word} {text}s`, `{word} {text}m`, `{word} {text}h`")
        }
        None if format!("1 {text}").parse::<Span>().is_ok() => format!("write `{word} 1 {text}`"),
        None => format!("write `{word} 45m`, `{word} 1h 30m` or `{word} 2 days`"),
    };
    Err(ScheduleError::at(piece, message).remedy_is(remedy))
}

/// Several words, the first of nothing but what stands in a field of numbers; or a nickname.
fn looks_like_cron(piece: Piece<'_>) -> bool {
    let in_field = |c: char| c.is_ascii_digit() || "*/,-?#hH()".contains(c);
    let mut words = piece.words();
    piece.text().starts_with('@')
        || (words.next().is_some_and(|word| word.text().chars().all(in_field)) && words.next().is_some())
}

/// What to say of a text that begins with no word of ours.
fn unknown(piece: Piece<'_>) -> ScheduleError {
    const WORDS: [&str; 7] = ["every", "after", "daily", "once", "manual", "cron", "at"];
    let (word, rest) = piece.split_word();
    let remedy = match word.text().to_ascii_lowercase().as_str() {
        "hourly" | "weekly" | "monthly" | "yearly" => Some(format!("write `@{word}`").to_lowercase()),
        "midnight" => Some("write `daily 00:00`".to_owned()),
        "never" | "none" | "off" => Some("write `manual`".to_owned()),
        "start" | "startup" | "boot" => Some("write `at start`".to_owned()),
        "deploy" => Some("write `at deploy`".to_owned()),
        _ if read_time(word).is_ok() => Some(format!("write `daily {piece}`")),
        _ if read_span("every", piece).is_ok() => Some(format!("write `every {piece}`")),
        _ if read_instant(piece.text(), &TimeZone::UTC).is_some() => Some(format!("write `once {piece}`")),
        lower => nearest(lower, WORDS).map(|near| match rest.is_empty() {
            true => format!("did you mean `{near}`?"),
            false => format!("did you mean `{near} {rest}`?"),
        }),
    };
    ScheduleError::at(word, format!("unknown word `{word}`"))
        .remedy_is(remedy.unwrap_or_else(|| EXAMPLES.to_owned()))
}
