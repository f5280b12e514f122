//! Cron patterns: five fields, read by croner after we have resolved `H` and looked at what it would let pass.
//!
//! Which instants follow is not computed here (`wall.rs`). What is easy to get wrong: croner drops empty parts of
//! a list without a word, takes `MON` for a one in any field and six fields for seconds, and names no field in
//! its errors; so each field is checked by itself first.

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::civil::Time;

use super::{
    error::{ScheduleError, nearest},
    seed::Seed,
    text::Piece,
    wall::{Dates, Flow, WallTimes},
};

/// One of the five fields.
struct Field {
    name: &'static str,
    /// What it takes, for errors.
    takes: &'static str,
    /// The least and greatest value that `H` gives.
    least: u64,
    greatest: u64,
    /// The words that may stand in it.
    words: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", takes: "0-59", least: 0, greatest: 59, words: &[] },
    Field { name: "hour", takes: "0-23", least: 0, greatest: 23, words: &[] },
    // No later than the 28th, so that `H` comes every month.
    Field { name: "day", takes: "1-31, L or 15W", least: 1, greatest: 28, words: &["L", "W", "LW"] },
    Field { name: "month", takes: "1-12 or JAN-DEC", least: 1, greatest: 12, words: &MONTHS },
    Field { name: "weekday", takes: "0-7, SUN-SAT, FRI#2 or FRI#L", least: 0, greatest: 6, words: &WEEKDAYS },
];

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 8] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "L"];

const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * SUN"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// Reads a pattern; the text that comes back is the pattern as it is written canonically, `H` included.
pub(super) fn read(pattern: Piece<'_>, seed: &Seed) -> Result<(WallTimes, String), ScheduleError> {
    if pattern.text().starts_with('@') {
        return read_nickname(pattern);
    }
    let words: Vec<Piece<'_>> = pattern.words().collect();
    let fields: [Piece<'_>; 5] =
        words.try_into().map_err(|words: Vec<Piece<'_>>| wrong_number(pattern, &words))?;
    let mut resolved = Vec::with_capacity(fields.len());
    for (position, piece) in fields.into_iter().enumerate() {
        resolved.push(read_field(position, piece, seed)?);
    }
    let text = fields.map(|piece| piece.text().to_ascii_uppercase()).join(" ");
    let times = wall_times(&resolved.join(" "), &text).map_err(|why| ScheduleError::at(pattern, why))?;
    Ok((times, text))
}

fn read_nickname(pattern: Piece<'_>) -> Result<(WallTimes, String), ScheduleError> {
    let name = pattern.text().to_ascii_lowercase();
    let Some((name, meaning)) = NICKNAMES.iter().find(|(nickname, _)| *nickname == name) else {
        let remedy = match name.as_str() {
            "@reboot" => "`at start` runs when a replica starts and no other is alive".to_owned(),
            _ => match nearest(&name, NICKNAMES.iter().map(|(nickname, _)| *nickname)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "there are @hourly, @daily, @weekly, @monthly and @yearly".to_owned(),
            },
        };
        return Err(ScheduleError::at(pattern, format!("unknown nickname `{pattern}`")).remedy_is(remedy));
    };
    let times = wall_times(meaning, meaning).map_err(|why| ScheduleError::at(pattern, why))?;
    Ok((times, (*name).to_owned()))
}

fn wrong_number(pattern: Piece<'_>, words: &[Piece<'_>]) -> ScheduleError {
    let message = format!("a cron pattern has 5 fields (minute hour day month weekday), not {}", words.len());
    let remedy = match words {
        [seconds, rest @ ..] if rest.len() == 5 => {
            let rest: Vec<&str> = rest.iter().map(|word| word.text()).collect();
            match seconds.text() {
                "0" | "00" => format!("without seconds it is `{}`", rest.join(" ")),
                _ => "there is no field for seconds: `every 10s` runs several times a minute".to_owned(),
            }
        }
        _ => "`0 3 * * *` is every day at 03:00".to_owned(),
    };
    ScheduleError::at(pattern, message).remedy_is(remedy)
}

/// Checks one field and gives it back as croner takes it, with numbers for `H`.
fn read_field(position: usize, piece: Piece<'_>, seed: &Seed) -> Result<String, ScheduleError> {
    let field = &FIELDS[position];
    let wrong = |why: String| {
        ScheduleError::at(piece, format!("`{piece}` is no {} of a cron pattern{why}", field.name)).remedy_is(
            format!("the {} takes {}, lists, ranges, steps as in */2, and H", field.name, field.takes),
        )
    };
    let text = piece.text().to_ascii_uppercase();
    if text.split(',').any(str::is_empty) {
        return Err(wrong(": a part of the list is empty".to_owned()));
    }
    let parts: Option<Vec<String>> = text.split(',').map(|part| resolve_part(field, part, seed)).collect();
    let resolved = parts.ok_or_else(|| wrong(String::new()))?.join(",");
    let mut alone = ["*"; FIELDS.len()];
    alone[position] = &resolved;
    croner_reads(&alone.join(" ")).map_err(|why| wrong(format!(": {why}")))?;
    Ok(resolved)
}

/// One part of a field's list with a number for `H`, or none if it holds a word that has no place there.
fn resolve_part(field: &Field, part: &str, seed: &Seed) -> Option<String> {
    if let Some(hashed) = part.strip_prefix('H') {
        return resolve_hash(field, hashed, seed);
    }
    let known = |word: &str| {
        let last = word.strip_suffix('L').filter(|name| !name.is_empty());
        word.is_empty() || field.words.contains(&word) || last.is_some_and(|day| WEEKDAYS.contains(&day))
    };
    part.split(|c: char| !c.is_alphabetic()).all(known).then(|| part.to_owned())
}

/// What `H`, `H(a-b)`, `H/n` or `H(a-b)/n` stands for in this job; `hashed` is what follows the letter.
fn resolve_hash(field: &Field, hashed: &str, seed: &Seed) -> Option<String> {
    let (range, step) = match hashed.split_once('/') {
        Some((range, step)) => (range, Some(step.parse::<u64>().ok().filter(|step| *step > 0)?)),
        None => (hashed, None),
    };
    let (least, greatest) = match range {
        "" => (field.least, field.greatest),
        _ => {
            let (least, greatest) = range.strip_prefix('(')?.strip_suffix(')')?.split_once('-')?;
            (least.parse().ok()?, greatest.parse().ok()?)
        }
    };
    let length = u64::checked_sub(greatest, least)?.checked_add(1)?;
    match step {
        Some(step) => {
            let first = least + seed.pick(field.name, step.min(length));
            Some(format!("{first}-{greatest}/{step}"))
        }
        None => Some((least + seed.pick(field.name, length)).to_string()),
    }
}

/// Reads a pattern of numbers; `written` is the same with `H` as written.
fn wall_times(resolved: &str, written: &str) -> Result<WallTimes, String> {
    let cron = croner_reads(resolved)?;
    let mut times = Vec::new();
    for hour in cron.pattern.hours.values() {
        for minute in cron.pattern.minutes.values() {
            let (hour, minute) = (i8::try_from(hour).ok(), i8::try_from(minute).ok());
            times.extend(hour.zip(minute).and_then(|(hour, minute)| Time::new(hour, minute, 0, 0).ok()));
        }
    }
    let follows_clock = written.split(' ').take(2).any(is_interval);
    let flow = if follows_clock { Flow::Real } else { Flow::Wall };
    Ok(WallTimes { dates: Dates::Matching(Box::new(cron)), times, flow })
}

/// Whether a field of minutes or hours says "again and again" (`*`, `*/2`, `H/2`) and no times of its own.
fn is_interval(field: &str) -> bool {
    field.split(',').any(|part| part.starts_with('*') || part.starts_with("H/"))
}

fn croner_reads(pattern: &str) -> Result<Cron, String> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser.parse(pattern).map_err(|error| {
        let why = error.to_string();
        let why = why.strip_prefix("Component error: ").unwrap_or(&why);
        why.trim_end_matches('.').to_lowercase()
    })
}
