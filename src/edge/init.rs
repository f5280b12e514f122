//! `sexton init`: looks at a database and proposes a `sexton.toml`.
//!
//! It reads the catalog and the statistics alone: nothing is scanned, nothing written. What is easy to get wrong: how
//! long rows are to be kept is no question for a program. What it writes there is a careful placeholder, and no job is
//! armed, so that the file can be applied as it is and only reports.

use std::{collections::BTreeSet, fmt::Write as _, io::Write as _, path::Path};

use tokio_postgres::{Client, Row};

use crate::{
    error::{Error, ErrorKind, Result},
    statements,
};

/// A table that may want a purge.
struct Candidate {
    table: String,
    name: String,
    partitioned: bool,
    bytes: i64,
    estimate: Option<i64>,
    by: String,
    by_type: String,
    others: Vec<String>,
    indexed: bool,
    older: Option<Vec<Option<i64>>>,
    unindexed: Vec<String>,
    may_delete: bool,
}

impl Candidate {
    fn read(row: &Row) -> Self {
        Candidate {
            table: row.get(0),
            name: row.get(1),
            partitioned: row.get(2),
            bytes: row.get(3),
            estimate: row.get(4),
            by: row.get(5),
            by_type: row.get(6),
            others: row.get(7),
            indexed: row.get(8),
            older: row.get(9),
            unindexed: row.get(10),
            may_delete: row.get(11),
        }
    }

    /// Rows that have expired or were deleted softly are done with; others may still be wanted.
    fn placeholder(&self) -> &'static str {
        let done_with = ["expire", "expiry", "valid_until", "deleted", "archived"];
        if done_with.iter().any(|word| self.by.contains(word)) { "30 days" } else { "365 days" }
    }
}

/// The text of a `sexton.toml` for this database: a purge for each table with an age column, the largest first.
///
/// # Errors
/// If the session is lost.
///
/// # Cancel safety
/// Nothing is lost if the future is dropped.
pub async fn propose(client: &Client) -> Result<String> {
    let rows = client.query(statements::PROPOSE, &[]).await?;
    let candidates: Vec<Candidate> = rows.iter().map(Candidate::read).collect();
    let mut text = HEAD.to_owned();
    if candidates.iter().all(|candidate| !candidate.may_delete) {
        text += "\n# No table with an age column that this role may delete from was found.\n[jobs]\n";
    }
    let mut taken = BTreeSet::new();
    for candidate in &candidates {
        let name = free_name(&candidate.name, &mut taken);
        let job = describe(candidate) + &job(candidate, &name);
        let commented =
            |line: &str| if line.starts_with('#') { line.to_owned() } else { format!("# {line}") };
        text.push('\n');
        for line in job.lines() {
            let line = if candidate.may_delete { line.to_owned() } else { commented(line) };
            let _ = writeln!(text, "{line}");
        }
    }
    Ok(text)
}

const HEAD: &str = "\
# What this application wants maintained. Proposed from the catalog and the statistics; now it is yours:
# - decide how long rows are kept: every `retention` below is a placeholder,
# - delete the jobs that you do not want,
# - `sexton apply --dry-run` shows what would change, `sexton apply` makes it so.
# No job deletes anything until it says `armed = true`: before that it only reports what it would delete.

app = \"default\"
";

fn describe(candidate: &Candidate) -> String {
    let mut text = format!("# {}: {}", candidate.table, size(candidate.bytes));
    let _ = match candidate.estimate {
        Some(rows) => write!(text, ", about {} rows", grouped(rows)),
        None => write!(text, ", never analyzed"),
    };
    if candidate.partitioned {
        text += ", partitioned";
    }
    text.push('\n');
    if !candidate.may_delete {
        text += "# This role may not delete from it: GRANT DELETE first.\n";
    }
    for index in &candidate.unindexed {
        let _ =
            writeln!(text, "# A foreign key references it without an index, which a purge refuses: {index}");
    }
    if !candidate.indexed {
        let _ = writeln!(text, "# No index begins with {}: each run reads the whole table.", candidate.by);
    }
    if !candidate.others.is_empty() {
        let _ = writeln!(text, "# Other columns that could tell the age: {}", candidate.others.join(", "));
    }
    text
}

fn job(candidate: &Candidate, name: &str) -> String {
    format!(
        "[jobs.{name}]\nschedule = \"daily 03:00\"\n\n[jobs.{name}.purge]\ntable     = {}\nby        = {} # {}\n{}retention = \"{}\"\n",
        quote(&candidate.table),
        quote(&quote_column(&candidate.by)),
        candidate.by_type,
        older(candidate),
        candidate.placeholder()
    )
}

/// How much each choice would delete, by the statistics.
fn older(candidate: &Candidate) -> String {
    let Some(older) = &candidate.older else {
        return format!("# ANALYZE {} to see here how many rows are how old\n", candidate.table);
    };
    let mut text = String::new();
    for (days, rows) in [30, 90, 365].into_iter().zip(older) {
        let rows =
            rows.map_or("an unknown number of".to_owned(), |rows| format!("about {}", grouped(rows.max(0))));
        let _ = writeln!(text, "# retention = \"{days} days\" would delete {rows} rows");
    }
    text
}

/// A job's name from a table's: safe in URLs, and not given before.
pub(super) fn free_name(table: &str, taken: &mut BTreeSet<String>) -> String {
    let words = table.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut base = words.collect::<Vec<_>>().join("-").to_lowercase();
    base.truncate(90);
    if base.is_empty() {
        base = "table".to_owned();
    }
    let mut name = base.clone();
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{base}-{number}");
        number += 1;
    }
    name
}

pub(super) fn quote(text: &str) -> String {
    toml::Value::String(text.replace("${", "$${")).to_string()
}

/// A column as SQL names it.
fn quote_column(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn size(bytes: i64) -> String {
    let mut rest = bytes;
    for unit in ["bytes", "kB", "MB"] {
        if rest < 10_240 {
            return format!("{rest} {unit}");
        }
        rest /= 1024;
    }
    format!("{rest} GB")
}

/// A number with its thousands apart.
fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes a proposal to a file that is not there yet.
///
/// # Errors
/// [`ErrorKind::Refused`] if the file exists: nothing is overwritten; [`ErrorKind::Outside`] if it cannot be written.
pub fn write_new(path: &Path, text: &str) -> Result<()> {
    let subject = format!("file {}", path.display());
    let write =
        || std::fs::OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes());
    write().map_err(|error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Error::new(ErrorKind::Refused, "is there already and is not overwritten")
                .about(subject)
                .with_remedy("name another with -o, or leave -o out to see the proposal")
        }
        _ => Error::new(ErrorKind::Outside, "cannot be written").about(subject).caused_by(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_and_different() {
        let mut taken = BTreeSet::new();
        let names: Vec<String> =
            ["audit_log", "Audit Log", "été", "$"].iter().map(|table| free_name(table, &mut taken)).collect();
        assert_eq!(names, ["audit-log", "audit-log-2", "t", "table"]);
    }

    #[test]
    fn numbers_are_for_people() {
        assert_eq!((grouped(1_234_567), grouped(12)), ("1,234,567".to_owned(), "12".to_owned()));
        assert_eq!((size(8192), size(50 << 20)), ("8192 bytes".to_owned(), "50 MB".to_owned()));
    }
}
