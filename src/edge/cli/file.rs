//! `sexton apply`, `sexton init` and `sexton import`: the file of jobs.
//!
//! What is easy to get wrong: a problem of a file is shown at its place, by its line, and not as one line of error; the
//! exit code is that of wrong input all the same.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{Context, Exit, output};
use crate::{
    edge::{
        apply::{self, Failure, Options, Overwrite, Prune},
        config::{self, Colors, Config, Problems, local},
        import, init, telemetry,
    },
    error::Result,
};

/// What `apply` takes.
#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    /// A file; several are merged by key, later ones win; `-` is standard input
    #[arg(short = 'f', long = "file", value_name = "FILE", default_value = "sexton.toml")]
    files: Vec<PathBuf>,
    /// Tell what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Delete jobs that are gone from the file, in place of pausing them
    #[arg(long)]
    prune: bool,
    /// Also change jobs that were edited by hand since
    #[arg(long)]
    overwrite: bool,
    /// Print the effective values with their source, and do nothing; needs no database
    #[arg(long, conflicts_with_all = ["dry_run", "prune", "overwrite"])]
    show: bool,
}

/// What `init` takes.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Write to this file, which must not be there yet; else to standard output
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What `import` takes.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// Whose jobs: pg_cron or pg_timetable
    #[arg(value_name = "SOURCE")]
    source: Source,
    /// Write to this file, which must not be there yet; else to standard output
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What jobs can be read from.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Source {
    /// The table of the extension pg_cron, in this database
    #[value(name = "pg_cron")]
    PgCron,
    /// The chains of pg_timetable, in this database
    #[value(name = "pg_timetable")]
    PgTimetable,
}

pub(super) async fn apply(context: &Context, args: &ApplyArgs) -> Result<Exit> {
    let config = match config::load(&args.files, &context.registry) {
        Ok(config) => config,
        Err(problems) => return Ok(tell(context, &problems)),
    };
    if args.show {
        output::write_out(&config::show(&config))?;
        return Ok(Exit::Done);
    }
    match make_so(context, args, &config).await {
        Ok(exit) => Ok(exit),
        Err(Failure::Problems(problems)) => Ok(tell(context, &problems)),
        Err(Failure::Error(error)) => Err(error),
    }
}

async fn make_so(context: &Context, args: &ApplyArgs, config: &Config) -> Result<Exit, Failure> {
    let options = Options {
        prune: if args.prune { Prune::Delete } else { Prune::Keep },
        overwrite: if args.overwrite { Overwrite::HandEdits } else { Overwrite::Nothing },
    };
    let connector = context.global.connector()?;
    let outcome = if args.dry_run {
        apply::plan(&connector, config, &options).await?
    } else {
        apply::execute(&connector, config, &options).await?
    };
    context.output.answer(&outcome, apply::render)?;
    Ok(if outcome.left_alone() > 0 { Exit::Refused } else { Exit::Done })
}

/// Reads the local file into what the kinds know; `Some` if it is wrong, which is told.
pub(super) fn read_local(context: &Context, path: Option<&Path>) -> Option<Exit> {
    match path.map(local::load).transpose() {
        Ok(local) => {
            context.outside.replace(local.unwrap_or_default().outside);
            None
        }
        Err(problems) => Some(tell(context, &problems)),
    }
}

/// Shows what is wrong with files, each at its place.
pub(super) fn tell(context: &Context, problems: &Problems) -> Exit {
    let colors = match context.global.ansi() {
        telemetry::Ansi::Colored => Colors::Ansi,
        telemetry::Ansi::Plain => Colors::Plain,
    };
    anstream::eprintln!("{}", problems.render(colors));
    Exit::Usage
}

pub(super) async fn init(context: &Context, args: &InitArgs) -> Result<Exit> {
    let session = context.global.connector()?.open("sexton/init", &[]).await?;
    propose(context, args.output.as_deref(), &init::propose(&session.client).await?)
}

pub(super) async fn import(context: &Context, args: &ImportArgs) -> Result<Exit> {
    let session = context.global.connector()?.open("sexton/import", &[]).await?;
    let proposal = match args.source {
        Source::PgCron => import::pg_cron(&session.client, &context.registry).await?,
        Source::PgTimetable => import::pg_timetable(&session.client, &context.registry).await?,
    };
    propose(context, args.output.as_deref(), &proposal)
}

/// Shows a proposed file, or writes it where none is yet.
fn propose(context: &Context, path: Option<&Path>, proposal: &str) -> Result<Exit> {
    let Some(path) = path else {
        output::write_out(proposal)?;
        return Ok(Exit::Done);
    };
    init::write_new(path, proposal)?;
    let said = format!("Wrote {}. Look at it, then: `sexton apply -f {0}`.", path.display());
    context.output.sentence(&said)?;
    Ok(Exit::Done)
}
