//! Which migrations a database has, against those that this program knows.
//!
//! It needs SELECT rights alone, since replicas ask it at their start. What is easy to get wrong: an older program on
//! a newer schema is normal while a deployment rolls; only a schema that says so (`meta.min_level`) shuts it out.

use std::fmt;

use refinery_core::Migration;
use tokio_postgres::Client;

use super::known;
use crate::{
    error::{Error, ErrorKind, Result},
    statements,
};

/// What [`check`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// The schema is the one that this program knows.
    UpToDate {
        /// Its level: the version of its last migration.
        level: i64,
    },
    /// Migrations are missing, in this order.
    Missing {
        /// Such as `V2__protocol`.
        names: Vec<String>,
    },
    /// The schema is newer, in ways that this program can live with.
    Newer {
        /// The schema's level.
        level: i64,
        /// The level that this program knows.
        known: i64,
    },
    /// The schema is newer, and refuses programs that know less than `min_level`.
    TooNew {
        /// The schema's level.
        level: i64,
        /// The level that this program knows.
        known: i64,
        /// The level that the schema asks for.
        min_level: i64,
    },
    /// There is no schema `sexton`, or nothing was migrated into it.
    Absent,
}

impl Status {
    /// Whether this program may work with the schema.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] with the remedy, unless the schema is up to date or newer without a break.
    pub fn may_run(&self) -> Result<()> {
        let remedy = match self {
            Status::UpToDate { .. } | Status::Newer { .. } => return Ok(()),
            Status::Missing { .. } | Status::Absent => "run `sexton migrate`",
            Status::TooNew { .. } => "install the newer program here as well",
        };
        Err(Error::new(ErrorKind::Schema, self.to_string()).with_remedy(remedy))
    }

    /// What `sexton migrate --check` is about: whether `sexton migrate` has nothing to do.
    pub fn is_complete(&self) -> bool {
        matches!(self, Status::UpToDate { .. } | Status::Newer { .. })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::UpToDate { level } => write!(f, "the schema sexton is up to date (level {level})"),
            Status::Missing { names } => write!(f, "the schema sexton lacks {}", names.join(", ")),
            Status::Newer { level, known } => {
                write!(
                    f,
                    "the schema sexton is newer (level {level}) than this program (level {known}), which may still run"
                )
            }
            Status::TooNew { level, known, min_level } => write!(
                f,
                "the schema sexton is at level {level} and refuses programs below level {min_level}; this one knows level {known}"
            ),
            Status::Absent => f.write_str("this database has no schema sexton"),
        }
    }
}

/// Compares the migrations of a database with those that this program knows. Writes nothing.
///
/// # Errors
/// [`ErrorKind::Denied`] with the grant that is missing; [`ErrorKind::Schema`] if a migration was changed after it was
/// applied, or the history is one that this build cannot read.
///
/// # Cancel safety
/// Nothing is lost if the future is dropped.
pub async fn check(client: &Client) -> Result<Status> {
    compare(client, &known()?).await
}

pub(super) async fn compare(client: &Client, known: &[Migration]) -> Result<Status> {
    let rows = match client.query(statements::MIGRATION_HISTORY, &[]).await {
        Ok(rows) => rows,
        Err(error) => {
            let missing = matches!(error.code().map(|code| code.code()), Some("3F000" | "42P01"));
            return if missing { Ok(Status::Absent) } else { Err(explain(error)) };
        }
    };
    let Some(last) = rows.last() else { return Ok(Status::Absent) };
    check_type(last.get(3))?;
    let (level, min_level) = (last.get::<_, i64>(0), last.get::<_, Option<i32>>(4).map_or(1, i64::from));
    let ours = known.iter().map(|m| i64::from(m.version())).max().unwrap_or(0);
    if min_level > ours {
        return Ok(Status::TooNew { level, known: ours, min_level });
    }
    for row in &rows {
        check_unchanged(known, row.get(0), row.get(1), row.get(2))?;
    }
    let applied: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let names: Vec<String> =
        known.iter().filter(|m| !applied.contains(&m.version().into())).map(Migration::to_string).collect();
    Ok(match names.is_empty() {
        false => Status::Missing { names },
        true if level > ours => Status::Newer { level, known: ours },
        true => Status::UpToDate { level },
    })
}

/// refinery's feature `int8-versions` changes the column's type and every checksum; a host application that turns it
/// on for its own migrations would change ours. Reading such a history panics in refinery.
fn check_type(version_type: &str) -> Result<()> {
    if version_type == "integer" {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Schema,
        format!("sexton.schema_history.version is of type {version_type} instead of integer"),
    )
    .with_remedy("it was written by a program built with refinery's feature int8-versions; migrate with the sexton program"))
}

fn check_unchanged(known: &[Migration], version: i64, name: &str, checksum: &str) -> Result<()> {
    match known.iter().find(|migration| i64::from(migration.version()) == version) {
        Some(ours) if ours.name() != name || ours.checksum().to_string() != checksum => Err(Error::new(
            ErrorKind::Schema,
            format!("migration V{version}__{name} of this database is not the one that this program knows as {ours}"),
        )
        .with_remedy("migrations never change once released: use a released program, or line ends as in the repository (LF)")),
        _ => Ok(()),
    }
}

fn explain(error: tokio_postgres::Error) -> Error {
    let error = Error::from(error).about("schema sexton");
    if error.kind() != ErrorKind::Denied {
        return error;
    }
    let remedy = if error.to_string().contains("for schema") {
        "GRANT USAGE ON SCHEMA sexton to this role, or make it a member of sexton_runner, sexton_operator, sexton_author or sexton_viewer"
    } else {
        "GRANT SELECT ON sexton.schema_history, sexton.meta to this role, or make it a member of sexton_runner, sexton_operator, sexton_author or sexton_viewer"
    };
    error.with_remedy(remedy)
}
