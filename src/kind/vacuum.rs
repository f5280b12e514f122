//! VACUUM and ANALYZE of one table, told before and after: for the kind `upkeep`, and after a purge.
//!
//! What is easy to get wrong: VACUUM of a table that the role does not own is no error but a warning, and a VACUUM that
//! waits longer than `deadlock_timeout` pushes an autovacuum of the same table aside. Hence a look at rights and locks first, and
//! short waits.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{LockWait, RunContext, Stop, Undone, Unfenced};
use crate::{
    error::{Error, ErrorKind},
    statements,
};

/// How often a lock is tried for, before the table is passed over.
const TRIES: u32 = 10;
/// The rest between two tries.
const REST: Duration = Duration::from_millis(500);

/// What is to be done with a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleaning {
    /// `VACUUM`.
    Vacuum,
    /// `VACUUM (ANALYZE)`.
    VacuumAnalyze,
    /// `ANALYZE`.
    Analyze,
}

impl Cleaning {
    /// As SQL has it.
    pub fn as_sql(self) -> &'static str {
        match self {
            Cleaning::Vacuum => "VACUUM",
            Cleaning::VacuumAnalyze => "VACUUM (ANALYZE)",
            Cleaning::Analyze => "ANALYZE",
        }
    }
}

/// A table at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Bytes of the table with its TOAST and its indexes.
    pub bytes: i64,
    /// Dead tuples, as the statistics have it: a second or so behind.
    pub dead: i64,
}

/// What came of it.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cleaned {
    /// It is done.
    Done {
        /// The table before.
        before: Size,
        /// The table after.
        after: Size,
        /// How long it took.
        took: Duration,
    },
    /// The table was passed over, for this reason.
    Skipped(&'static str),
}

/// Why a table was passed over: an autovacuum works on it.
pub const AUTOVACUUM: &str = "an autovacuum works on it";
/// Why a table was passed over: somebody holds a lock.
pub const LOCKED: &str = "somebody holds a lock on it";

/// A table as maintenance finds it.
struct State {
    name: String,
    size: Size,
    autovacuum: bool,
    may: bool,
}

/// Cleans a table, outside a transaction. Passes it over where an autovacuum works on it, somebody holds a lock for some
/// seconds, the role may not, or it is gone.
///
/// # Errors
/// As [`RunContext::execute_unfenced`].
///
/// # Cancel safety
/// As [`RunContext::execute_unfenced`].
pub async fn clean(context: &mut RunContext, oid: u32, cleaning: Cleaning) -> Result<Cleaned, Stop> {
    clean_by(context, oid, cleaning, Breaking::Late).await
}

/// The same, but a shutdown of this replica breaks it off: for a run whose work is done already.
///
/// # Errors
/// As [`RunContext::execute_interruptible`].
///
/// # Cancel safety
/// As [`RunContext::execute_interruptible`].
pub async fn clean_afterwards(
    context: &mut RunContext,
    oid: u32,
    cleaning: Cleaning,
) -> Result<Cleaned, Stop> {
    clean_by(context, oid, cleaning, Breaking::AtOnce).await
}

/// Whether a shutdown breaks a statement off.
#[derive(Clone, Copy)]
enum Breaking {
    AtOnce,
    /// When the replica's patience is over.
    Late,
}

async fn clean_by(
    context: &mut RunContext,
    oid: u32,
    cleaning: Cleaning,
    breaking: Breaking,
) -> Result<Cleaned, Stop> {
    let Some(state) = look(context, oid).await? else { return Ok(Cleaned::Skipped("it is gone")) };
    if !state.may {
        return Ok(Cleaned::Skipped("it belongs to another role"));
    }
    if state.autovacuum {
        return Ok(Cleaned::Skipped(AUTOVACUUM));
    }
    let begun = Instant::now();
    let sql = format!("{} {}", cleaning.as_sql(), state.name);
    if !in_several_tries(context, &sql, breaking).await? {
        return Ok(Cleaned::Skipped(LOCKED));
    }
    let took = begun.elapsed();
    let after = look(context, oid).await?.map_or(state.size, |state| state.size);
    Ok(Cleaned::Done { before: state.size, after, took })
}

/// Executes a statement outside a transaction that waits for locks but briefly, some ten times; whether it was done.
///
/// # Errors
/// As [`RunContext::execute_unfenced`].
///
/// # Cancel safety
/// As [`RunContext::execute_unfenced`].
pub async fn patiently(context: &mut RunContext, sql: &str) -> Result<bool, Stop> {
    in_several_tries(context, sql, Breaking::Late).await
}

async fn in_several_tries(context: &mut RunContext, sql: &str, breaking: Breaking) -> Result<bool, Stop> {
    for _ in 0..TRIES {
        let done = match breaking {
            Breaking::Late => context.execute_unfenced(sql, LockWait::Brief).await?,
            Breaking::AtOnce => context.execute_interruptible(sql, LockWait::Brief).await?,
        };
        match done {
            Unfenced::Done => return Ok(true),
            Unfenced::Undone(undone @ Undone::StatementTimeout) => return Err(self::undone(sql, undone)),
            Unfenced::Undone(Undone::LockTimeout | Undone::Conflict) => context.rest(REST).await?,
        }
    }
    Ok(false)
}

/// Whether an autovacuum works on a table.
///
/// # Errors
/// As [`RunContext::query`].
///
/// # Cancel safety
/// As [`RunContext::query`].
pub async fn autovacuum_at_work(context: &mut RunContext, oid: u32) -> Result<bool, Stop> {
    Ok(look(context, oid).await?.is_some_and(|state| state.autovacuum))
}

/// The failure of a statement that is not tried again.
pub fn undone(sql: &str, undone: Undone) -> Stop {
    let (what, remedy) = match undone {
        Undone::LockTimeout => ("a lock was not to be had", "run it at a quieter time"),
        Undone::StatementTimeout => {
            ("it was cancelled, or the job's time was over", "raise the job's timeout if it was too short")
        }
        Undone::Conflict => ("a deadlock came up", "run it at a quieter time"),
    };
    Stop::Failed(Error::new(ErrorKind::Database, format!("{sql}: {what}")).with_remedy(remedy))
}

async fn look(context: &mut RunContext, oid: u32) -> Result<Option<State>, Stop> {
    let rows = context.query(statements::VACUUM_STATE, &[&oid]).await?;
    Ok(rows.first().map(|row| State {
        name: row.get("name"),
        size: Size { bytes: row.get("bytes"), dead: row.get("dead") },
        autovacuum: row.get("autovacuum"),
        may: row.get("may"),
    }))
}
