//! `sexton import pg_cron` and `pg_timetable`: reads their jobs and proposes a `sexton.toml`.
//!
//! It changes nothing, neither here nor there: they go on with their jobs until a person ends that. What is easy to get
//! wrong: a proposal is taken as it is. So no job is armed, each is checked as `sexton apply` checks it before
//! it is written down, and what has no counterpart stands there as a comment, with the reason.

mod command;
mod schedule;

use std::{collections::BTreeSet, fmt::Write as _};

use futures_util::TryStreamExt;
use serde::Deserialize;
use tokio_postgres::{Client, error::SqlState};

use self::command::{Meaning, Statement};
use super::{config, init};
use crate::{
    error::{Error, ErrorKind, Result},
    kind::Registry,
    statements,
};

/// Whose jobs they are.
struct Origin {
    name: &'static str,
    /// One of its jobs, as it calls it.
    item: &'static str,
    statement: &'static str,
    /// The table that it must have, and what to do where it is not as it should be.
    table: &'static str,
    remedy: &'static str,
    /// Where its time zone comes from.
    zone: &'static str,
    /// How its job is ended.
    end: &'static str,
}

const PG_CRON: Origin = Origin {
    name: "pg_cron",
    item: "job",
    statement: statements::IMPORT_PG_CRON,
    table: "cron.job",
    remedy: "pg_cron's jobs are in one database of the server, `postgres` unless cron.database_name says otherwise: name that \
             one with --database",
    zone: "cron.timezone",
    end: "SELECT cron.unschedule(ID)",
};

const PG_TIMETABLE: Origin = Origin {
    name: "pg_timetable",
    item: "chain",
    statement: statements::IMPORT_PG_TIMETABLE,
    table: "timetable.chain, or one of a version before 5",
    remedy: "name the database that pg_timetable keeps its chains in with --database; upgrade it first if it is older",
    zone: "the server's TimeZone",
    end: "UPDATE timetable.chain SET live = false WHERE chain_id = ID",
};

/// A line of the statement.
#[derive(Debug, Deserialize)]
struct Line {
    job: CronJob,
    known: bool,
    database: String,
    role: String,
    zone: String,
    /// Why it has no counterpart, if that is known already.
    #[serde(default)]
    why: Option<String>,
    #[serde(default)]
    notes: Vec<String>,
}

/// A row of `cron.job`, or what of a chain corresponds to it. Older versions have no name and no `active`.
#[derive(Debug, Deserialize)]
struct CronJob {
    jobid: i64,
    schedule: String,
    command: String,
    #[serde(default)]
    nodename: String,
    database: String,
    username: String,
    #[serde(default = "yes")]
    active: bool,
    #[serde(default)]
    jobname: Option<String>,
}

fn yes() -> bool {
    true
}

/// One job of the file: its text, as TOML or as a comment, and whether it is a job.
struct Proposed {
    text: String,
    is_job: bool,
}

/// The text of a `sexton.toml` with the jobs of pg_cron that the session's role sees: its own, or for a superuser all.
///
/// # Errors
/// [`ErrorKind::Invalid`] if there is no pg_cron in this database; an error of the database, such as a missing right.
///
/// # Cancel safety
/// Nothing is lost if the future is dropped.
pub async fn pg_cron(client: &Client, registry: &Registry) -> Result<String> {
    proposal(client, registry, &PG_CRON).await
}

/// The text of a `sexton.toml` with the chains of pg_timetable, from version 5 on.
///
/// # Errors
/// [`ErrorKind::Invalid`] if there is no pg_timetable in this database; an error of the database, such as a missing right.
///
/// # Cancel safety
/// Nothing is lost if the future is dropped.
pub async fn pg_timetable(client: &Client, registry: &Registry) -> Result<String> {
    proposal(client, registry, &PG_TIMETABLE).await
}

async fn proposal(client: &Client, registry: &Registry, origin: &Origin) -> Result<String> {
    let lines = read(client, origin).await?;
    let mut text = opening(origin);
    let zone = lines.first().map_or("GMT", |line| &line.zone);
    if !["GMT", "UTC", "Etc/UTC"].contains(&zone) {
        let _ = write!(text, "\n[defaults]\ntime_zone = {} # {}\n", init::quote(zone), origin.zone);
    }
    let (mut taken, mut jobs) = (BTreeSet::new(), 0);
    for line in &lines {
        let proposed = propose(client, registry, origin, line, &mut taken).await?;
        jobs += usize::from(proposed.is_job);
        text.push('\n');
        text.push_str(&proposed.text);
    }
    if jobs == 0 {
        let _ =
            write!(text, "\n# {} has no {} that could be a job here.\n[jobs]\n", origin.name, origin.item);
    }
    Ok(text)
}

fn opening(origin: &Origin) -> String {
    let Origin { name, end, .. } = origin;
    format!(
        "\
# What {name} does in this database, as jobs of Sexton. {name} was only read: it goes on with all of this. So:
# - look at each job, then `sexton apply --dry-run`, `sexton apply`,
# - `{end}` for each, then `sexton arm JOB` for those that delete or execute a statement:
#   before that they only report.
# {name} does not make up for runs that it missed. Here one run does; `missed = \"skip\"` is its way.

app = \"default\"
"
    )
}

async fn read(client: &Client, origin: &Origin) -> Result<Vec<Line>> {
    let stream = match client.copy_out(origin.statement).await {
        Err(error)
            if [Some(&SqlState::UNDEFINED_TABLE), Some(&SqlState::UNDEFINED_COLUMN)]
                .contains(&error.code()) =>
        {
            return Err(Error::new(ErrorKind::Invalid, format!("has no table {}", origin.table))
                .about("database")
                .with_remedy(origin.remedy));
        }
        stream => stream?,
    };
    let chunks: Vec<bytes::Bytes> = stream.try_collect().await?;
    let text = String::from_utf8_lossy(&chunks.concat()).into_owned();
    let lines: std::result::Result<_, _> = text.lines().map(serde_json::from_str).collect();
    lines.map_err(|error| {
        Error::new(ErrorKind::Unsuitable, format!("is not as {} makes it", origin.name))
            .about(format!("table {}", origin.table))
            .caused_by(error)
    })
}

async fn propose(
    client: &Client,
    registry: &Registry,
    origin: &Origin,
    line: &Line,
    taken: &mut BTreeSet<String>,
) -> Result<Proposed> {
    let job = &line.job;
    let head = head(origin, job);
    let base = job.jobname.clone().unwrap_or_else(|| format!("cron-{}", job.jobid));
    let name = init::free_name(&base, taken);
    let statement = match counterpart(line) {
        Ok(statement) => statement,
        Err(why) => return Ok(Proposed { text: format!("{head}# No counterpart: {why}.\n"), is_job: false }),
    };
    let translated = match schedule::translate(&job.schedule) {
        Ok(translated) => translated,
        Err(why) => {
            let why = one_line(&why);
            return Ok(Proposed {
                text: format!("{head}# No counterpart: its schedule: {why}.\n"),
                is_job: false,
            });
        }
    };
    let known = line.notes.iter().map(String::as_str).chain(translated.note);
    let mut notes: String = known.map(|note| format!("# {note}\n")).collect();
    let (kinds, more) = bodies(client, line, &statement).await?;
    notes.push_str(&more);
    let mut why = "no kind does that".to_owned();
    for kind in kinds {
        let body = format!(
            "[jobs.{name}]\nschedule = {}\n{}\n{}",
            init::quote(&translated.text),
            kind.keys,
            kind.table.replace("{name}", &name)
        );
        match check(&body, registry) {
            Err(error) => why = error,
            // A job that does not run there shall not run here because it was imported.
            Ok(()) if !job.active => {
                let body: String =
                    body.lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect();
                return Ok(Proposed {
                    text: format!("{head}# It is not active there, so it is left out here:\n{notes}{body}"),
                    is_job: false,
                });
            }
            Ok(()) => return Ok(Proposed { text: format!("{head}{notes}{body}"), is_job: true }),
        }
    }
    Ok(Proposed { text: format!("{head}# No counterpart: {why}.\n"), is_job: false })
}

/// Whose job it is, when it runs and what it says, as comments.
fn head(origin: &Origin, job: &CronJob) -> String {
    let named = job.jobname.as_deref().map(|name| format!(", {}", one_line(name))).unwrap_or_default();
    let mut head = format!(
        "# {}'s {} {}{named}, `{}`, as {}:\n",
        origin.name,
        origin.item,
        job.jobid,
        one_line(&job.schedule),
        one_line(&job.username)
    );
    for line in job.command.lines().filter(|line| !line.trim().is_empty()) {
        let _ = writeln!(head, "#   {}", line.trim_end());
    }
    head
}

/// Its one statement, if there may be a counterpart to it.
fn counterpart(line: &Line) -> std::result::Result<Statement, String> {
    let job = &line.job;
    if let Some(why) = &line.why {
        return Err(why.clone());
    }
    if job.database != line.database {
        let database = one_line(&job.database);
        return Err(format!(
            "it works in the database {database}; run `sexton import` against a Sexton of that one's own"
        ));
    }
    let here = job.nodename.is_empty() || job.nodename == "localhost" || job.nodename.starts_with('/');
    if !here {
        return Err(format!("it works on the server {}", one_line(&job.nodename)));
    }
    if !line.known {
        return Err(format!("there is no role {} any more", one_line(&job.username)));
    }
    let mut statements = command::statements(&job.command)?;
    match (statements.len(), statements.pop()) {
        (1, Some(statement)) => Ok(statement),
        (0, _) => Err("it has no statement".to_owned()),
        (count, _) => Err(format!(
            "a job has one statement, and this has {count}: make them jobs, or a procedure and CALL it"
        )),
    }
}

/// A way to say it: keys of the job, and the table of its kind.
struct Body {
    keys: String,
    table: String,
}

/// The ways to say it, the best first, and notes on the first.
async fn bodies(client: &Client, line: &Line, statement: &Statement) -> Result<(Vec<Body>, String)> {
    let other = line.job.username != line.role;
    let role = if other { format!("run_as = {}\n", init::quote(&line.job.username)) } else { String::new() };
    let sql = Body {
        keys: role,
        table: format!("[jobs.{{name}}.sql]\nstatement = {}\n", init::quote(&statement.text)),
    };
    let mut notes = String::new();
    let table = match statement.meaning() {
        Meaning::Purge { table, column, retention } => {
            let bare = bare(&column);
            let known = client.query_opt(statements::IMPORT_AGE, &[&table, &bare, &retention]).await;
            // A retention that is no interval is an error of the job's own, and stays one.
            let known = match known {
                Err(error) if error.as_db_error().is_some() => None,
                known => known?,
            };
            let Some(row) = known.filter(|row| row.get(1)) else { return Ok((vec![sql], notes)) };
            match row.get::<_, &str>(0) {
                "timestamp without time zone" => notes.push_str(
                    "# The column has no time zone: it is read as UTC unless `time_zone` says otherwise.\n",
                ),
                "date" => notes.push_str(
                    "# The column is a date: a row goes when its whole day, in UTC, is old enough.\n",
                ),
                _ => {}
            }
            let age = match retention {
                Some(retention) => {
                    format!("by = {}\nretention = {}\n", init::quote(&column), init::quote(&retention))
                }
                None => format!("expires = {}\n", init::quote(&column)),
            };
            format!("[jobs.{{name}}.purge]\ntable = {}\n{age}", init::quote(&table))
        }
        Meaning::Upkeep { actions, tables } => {
            let list =
                |names: &[String]| names.iter().map(|name| init::quote(name)).collect::<Vec<_>>().join(", ");
            let actions: Vec<String> = actions.iter().map(ToString::to_string).collect();
            let tables = match tables[..] {
                [] => {
                    notes.push_str("# Of the tables that the replica's role owns, those that need it.\n");
                    String::new()
                }
                _ => format!("tables = [{}]\n", list(&tables)),
            };
            format!("[jobs.{{name}}.upkeep]\n{tables}actions = [{}]\n", list(&actions))
        }
        Meaning::Refresh { view } => format!("[jobs.{{name}}.upkeep]\nrefresh = [{}]\n", init::quote(&view)),
        Meaning::Other => return Ok((vec![sql], notes)),
    };
    if other {
        let _ = writeln!(
            notes,
            "# It has the replica's rights here, not those of {}.",
            one_line(&line.job.username)
        );
    }
    Ok((vec![Body { keys: String::new(), table }, sql], notes))
}

/// The name of a column as the catalog has it.
fn bare(column: &str) -> String {
    match column.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(name) => name.replace("\"\"", "\""),
        None => column.to_owned(),
    }
}

/// Whether `sexton apply` would take this job, as far as the file tells.
fn check(body: &str, registry: &Registry) -> std::result::Result<(), String> {
    let file = [("proposal".into(), body.to_owned())];
    match config::parse(&file, registry, &|_| None) {
        Ok(_) => Ok(()),
        Err(problems) => {
            let text = problems.to_string();
            let first = text.lines().next().unwrap_or_default();
            Err(one_line(first.strip_prefix("error: ").unwrap_or(first)))
        }
    }
}

/// What somebody else wrote, so that it stays within a comment's line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
