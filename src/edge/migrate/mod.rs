//! Creates and upgrades the schema `sexton`: refinery, with what it lacks.
//!
//! refinery takes no lock (35 of 40 concurrent starts failed), knows transactions alone, and panics on odd history
//! rows; so there is a lock here, a driver of our own, and a task around it. What is easy to get wrong: the lock must be
//! polled, never waited for, since a waiter's snapshot and `CREATE INDEX CONCURRENTLY` deadlock.
//!
//! The roles are those of the project's security model: `sexton_owner` (nobody logs in as it) owns the schema and its
//! definer functions; `sexton_runner`, `sexton_operator`, `sexton_author` and `sexton_viewer` are granted what they
//! need. One thing is left to a person: `sexton.terminate_holder` ends sessions of the runner's login role only if
//! `sexton_owner` is a member of that role or of `pg_signal_backend`.

mod driver;
mod fence;
mod print;
mod roles;
mod status;
#[cfg(all(test, feature = "cli"))]
mod tests;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use refinery_core::{Migration, Runner};
use tokio_postgres::Client;

use self::{
    driver::Driver,
    roles::{Place, SEXTON, Schema},
};
pub use self::{
    fence::fence,
    print::print,
    status::{Status, check},
};
use crate::{
    error::{Error, ErrorKind, Result},
    protocol::connect::{Connector, Opened},
    statements,
};

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// The history's table. refinery pastes it unquoted.
const HISTORY: &str = "sexton.schema_history";

/// Who may do what; the same however often it is run.
const GRANTS: &str = include_str!("../../../sql/grants.sql");

/// The key of the lock of those who migrate: "sexton" in ASCII, and 1. One key for all, so that programs of all
/// versions meet at it.
const LOCK_KEY: i64 = 0x73_65_78_74_6f_6e_00_01;

/// Read back at the start, to see that settings reach the server: waits for a table lock end then.
const LOCK_TIMEOUT: &str = "30s";

/// The oldest server that we work with.
const SERVER_VERSION_MIN: i32 = 140_000;

/// Which roles there shall be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Roles {
    /// The group roles, created where they are missing and the migrating role may; else as [`Roles::One`], with a note.
    #[default]
    Groups,
    /// Everything belongs to the one role that migrates.
    One,
}

/// How to migrate.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which roles there shall be. Default: the group roles, where they can be had.
    pub roles: Roles,
    /// How long to wait for somebody else who migrates. Default 2 minutes.
    pub lock_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options { roles: Roles::Groups, lock_timeout: Duration::from_secs(120) }
    }
}

/// What happens, as it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Somebody else migrates; we wait.
    Waiting {
        /// Who, in words.
        holder: String,
    },
    /// A migration starts.
    Applying {
        /// Such as `V2__protocol`.
        name: String,
    },
    /// Rights are being granted.
    Granting,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Migrated {
    /// The migrations that were applied, in order; none if the schema was up to date.
    pub applied: Vec<String>,
    /// The role that owns the schema.
    pub owner: String,
    /// What a person should know, a sentence each.
    pub notes: Vec<String>,
}

/// Brings the schema `sexton` up to date: any number of programs may do so at once. Running it again has no effect,
/// except that rights are granted again, to roles too that came later.
///
/// ```no_run
/// # async fn example(connector: sexton::protocol::connect::Connector) -> sexton::Result<()> {
/// let done = sexton::migrate(&connector, &Default::default(), |_| {}).await?;
/// println!("applied: {:?}", done.applied);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`ErrorKind::Unsuitable`] on a standby, behind a transaction pooler, or on a server older than 14;
/// [`ErrorKind::Denied`] with the right that is missing; [`ErrorKind::Schema`] if the schema is too new for this
/// program, or a migration fails; [`ErrorKind::Refused`] if somebody else still migrates after
/// [`Options::lock_timeout`], with who it is.
///
/// # Cancel safety
/// Dropping the future does not end a migration that has begun: it goes on in its task, to its end.
pub async fn run(
    connector: &Connector,
    options: &Options,
    progress: impl FnMut(Progress) + Send + 'static,
) -> Result<Migrated> {
    run_these(connector, options, known()?, Box::new(progress)).await
}

type Report = Box<dyn FnMut(Progress) + Send>;

async fn run_these(
    connector: &Connector,
    options: &Options,
    known: Vec<Migration>,
    progress: Report,
) -> Result<Migrated> {
    let (connector, options) = (connector.clone(), options.clone());
    // refinery panics on history rows that it cannot read; in a task of its own that is an error.
    let task = tokio::spawn(async move { migrate(&connector, &options, known, progress).await });
    task.await.unwrap_or_else(|panic| {
        Err(Error::new(ErrorKind::Schema, "the migration history cannot be read")
            .with_remedy("look at sexton.schema_history: applied_on must be RFC 3339, checksum a number")
            .caused_by(panic))
    })
}

async fn migrate(
    connector: &Connector,
    options: &Options,
    known: Vec<Migration>,
    mut progress: Report,
) -> Result<Migrated> {
    let Opened { mut client, messages: _messages, .. } = open(connector).await?;
    let (owner, mut notes) = begin(&client, options, SEXTON, &mut progress).await?;
    let status = status::compare(&client, &known).await?;
    if matches!(status, Status::TooNew { .. }) {
        status.may_run()?;
    }
    let mut applied = Vec::new();
    if matches!(status, Status::Newer { .. }) {
        notes.push(format!("{status}; nothing was changed"));
    } else {
        let progress = Arc::new(Mutex::new(progress));
        applied = apply(&mut client, &known, &progress).await?;
        tell(&progress, Progress::Granting);
        client.batch_execute(GRANTS).await.map_err(|error| Error::from(error).about("the grants"))?;
    }
    unlock(&client).await?;
    Ok(Migrated { applied, owner, notes })
}

/// A session to migrate on.
async fn open(connector: &Connector) -> Result<Opened> {
    let settings = [("lock_timeout", LOCK_TIMEOUT), ("search_path", "pg_catalog, pg_temp")];
    connector.open("sexton/migrate", &settings).await
}

/// Takes the lock and becomes the owner of the schema, which is there from then on.
async fn begin(
    client: &Client,
    options: &Options,
    schema: Schema,
    progress: &mut Report,
) -> Result<(String, Vec<String>)> {
    suitable(&Place::ask(client, schema).await?)?;
    lock(client, options.lock_timeout, progress).await?;
    // Asked again: whoever held the lock before us may have created what was missing.
    let place = Place::ask(client, schema).await?;
    roles::become_owner(client, &place, options.roles, schema).await
}

fn tell(progress: &Mutex<Report>, what: Progress) {
    (progress.lock().unwrap_or_else(PoisonError::into_inner))(what);
}

fn suitable(place: &Place) -> Result<()> {
    let unsuitable =
        |message: String, remedy: &str| Err(Error::new(ErrorKind::Unsuitable, message).with_remedy(remedy));
    if place.standby {
        return unsuitable(
            "this server is a standby, which can only be read".to_owned(),
            "connect to the primary; with several hosts, target_session_attrs=read-write finds it",
        );
    }
    if place.version < SERVER_VERSION_MIN {
        return unsuitable(
            format!("this server is PostgreSQL {}", place.version / 10_000),
            "Sexton needs PostgreSQL 14 or newer",
        );
    }
    if place.lock_timeout != LOCK_TIMEOUT {
        return unsuitable(
            format!(
                "the session's settings do not reach the server (lock_timeout is {})",
                place.lock_timeout
            ),
            "a connection pooler drops them: connect to PostgreSQL directly",
        );
    }
    Ok(())
}

/// Takes the lock of those who migrate, by polling.
async fn lock(client: &Client, timeout: Duration, progress: &mut Report) -> Result<()> {
    let started = Instant::now();
    let mut told = String::new();
    while !client.query_one(statements::MIGRATION_LOCK, &[&LOCK_KEY]).await?.get::<_, bool>(0) {
        let holder = holder(client).await?;
        if started.elapsed() >= timeout {
            return Err(Error::new(
                ErrorKind::Refused,
                format!("somebody else still migrates after {timeout:?}: {holder}"),
            )
            .with_remedy("wait for it, or end that session: SELECT pg_terminate_backend(PID)"));
        }
        if told != holder {
            told.clone_from(&holder);
            progress(Progress::Waiting { holder });
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(50..150))).await;
    }
    Ok(())
}

async fn holder(client: &Client) -> Result<String> {
    Ok(match client.query_opt(statements::MIGRATION_LOCK_HOLDER, &[&LOCK_KEY]).await? {
        Some(row) => {
            let (pid, role, name): (i32, &str, &str) = (row.get(0), row.get(1), row.get(2));
            format!("pid {pid}, role {role}, application_name \"{name}\"")
        }
        None => "it has just ended".to_owned(),
    })
}

async fn unlock(client: &Client) -> Result<()> {
    if client.query_one(statements::MIGRATION_UNLOCK, &[&LOCK_KEY]).await?.get(0) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsuitable,
        "the migration lock was lost on the way, although all migrations were applied",
    )
    .with_remedy("a connection pooler in transaction mode stands in between: connect to PostgreSQL directly"))
}

/// Applies what is missing, and returns its names.
async fn apply(
    client: &mut Client,
    known: &[Migration],
    progress: &Arc<Mutex<Report>>,
) -> Result<Vec<String>> {
    let (texts, report) = (known.to_vec(), Arc::clone(progress));
    let before = move |sql: &str| {
        if let Some(migration) = texts.iter().find(|migration| migration.sql() == Some(sql)) {
            tell(&report, Progress::Applying { name: migration.to_string() });
        }
    };
    let mut driver = Driver { client, before };
    let mut runner = Runner::new(known).set_abort_missing(false);
    runner.set_migration_table_name(HISTORY);
    let report = runner.run_async(&mut driver).await.map_err(explain)?;
    match status::compare(driver.client, known).await? {
        Status::Missing { names } => Err(Error::new(
            ErrorKind::Schema,
            format!("{} cannot be applied any more, since later ones are", names.join(", ")),
        )),
        _ => Ok(report.applied_migrations().iter().map(Migration::to_string).collect()),
    }
}

fn explain(error: refinery_core::Error) -> Error {
    use std::error::Error as _;
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        if let Some(db) = source.downcast_ref::<tokio_postgres::Error>().and_then(|error| error.as_db_error())
        {
            message = format!("{} [{}]", db.message(), db.code().code());
        }
        cause = source.source();
    }
    let kind = if message.ends_with("[42501]") { ErrorKind::Denied } else { ErrorKind::Schema };
    let about = error.kind();
    let subject = match about {
        refinery_core::error::Kind::Connection(what, _) => what.clone(),
        _ => "migrations".to_owned(),
    };
    Error::new(kind, message)
        .about(subject)
        .with_remedy("what was applied before stays; mend the cause and run it again")
}

/// The migrations of this program, in order.
///
/// # Errors
/// If another crate of this build turned on refinery's feature `int8-versions`, which changes every checksum.
fn known() -> Result<Vec<Migration>> {
    if std::mem::size_of::<refinery::SchemaVersion>() != 4 {
        return Err(Error::new(
            ErrorKind::Schema,
            "this program was built with refinery's feature int8-versions",
        )
        .with_remedy("another crate of the build turns it on: migrate with the sexton program instead"));
    }
    let mut known = embedded::migrations::runner().get_migrations().clone();
    known.sort();
    Ok(known)
}
