//! The SQL that `run` would execute, for whoever must read or run it by hand.
//!
//! What it prints leaves the database as `run` does, history included, so that `--check` is content afterwards. What is
//! easy to get wrong: it is for psql, which takes each statement by itself; nothing here opens a transaction around a
//! migration that must not have one.

use std::fmt::Write;

use refinery_core::{Migration, traits::r#async::AsyncMigrate};
use tokio_postgres::Client;

use super::{GRANTS, HISTORY, Roles, Status, driver::NO_TRANSACTION, known};
use crate::{error::Result, statements};

/// A psql script that does what `run` would do where [`super::check`] found `status`; empty if there is nothing to do.
///
/// # Errors
/// If this build's own migrations cannot be read, see [`super::run`].
pub fn print(status: &Status, roles: Roles) -> Result<String> {
    let known = known()?;
    let missing: Vec<&Migration> = match status {
        Status::Absent => known.iter().collect(),
        Status::Missing { names } => known.iter().filter(|m| names.contains(&m.to_string())).collect(),
        _ => return Ok(String::new()),
    };
    let mut script = "-- Run with psql -v ON_ERROR_STOP=1, by one person at a time.\n".to_owned();
    if *status == Status::Absent {
        script += &create(roles);
    }
    let _ = writeln!(script, "{};", statements::ACT_AS_OWNER.trim_end());
    if *status == Status::Absent {
        let _ = writeln!(script, "\n{}", Client::assert_migrations_table_query(HISTORY));
    }
    for migration in missing {
        migration_text(&mut script, migration);
    }
    let _ = write!(script, "\n-- rights\nBEGIN;\n{GRANTS}COMMIT;\nRESET ROLE;\n");
    Ok(script)
}

fn create(roles: Roles) -> String {
    let statements: &[&str] = match roles {
        Roles::Groups => &[statements::CREATE_ROLES, statements::CREATE_SCHEMA_FOR_OWNER],
        Roles::One => &[statements::CREATE_SCHEMA],
    };
    statements.iter().map(|statement| format!("{};\n\n", statement.trim_end())).collect()
}

fn migration_text(script: &mut String, migration: &Migration) {
    let sql = migration.sql().unwrap_or_default().trim_end();
    let (begin, commit) = if sql.starts_with(NO_TRANSACTION) { ("", "") } else { ("BEGIN;\n", "COMMIT;\n") };
    let _ = write!(
        script,
        "\n-- {migration}\n{begin}{sql}\nINSERT INTO {HISTORY} (version, name, applied_on, checksum) VALUES ({}, '{}', \
         to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), '{}');\n{commit}",
        migration.version(),
        migration.name(),
        migration.checksum()
    );
}
