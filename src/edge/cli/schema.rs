//! `sexton migrate`: the schema, created, upgraded, checked or printed.

use clap::Args;
use serde_json::json;

use super::{Context, Exit, output};
use crate::{
    edge::migrate::{self, Migrated, Options, Progress, Roles},
    error::Result,
};

/// What `migrate` takes.
#[derive(Debug, Args)]
pub(super) struct MigrateArgs {
    /// Print the SQL that is missing, for psql, and change nothing
    #[arg(long, conflicts_with = "check")]
    print: bool,
    /// Say whether migrations are missing, and change nothing; exit 1 if so
    #[arg(long)]
    check: bool,
    /// Create no roles: everything belongs to the role that migrates
    #[arg(long)]
    no_roles: bool,
    /// Create the schema sexton_fence instead, in a database in which jobs of another one shall work
    #[arg(long, conflicts_with_all = ["print", "check"])]
    fence: bool,
}

pub(super) async fn migrate(context: &Context, args: &MigrateArgs) -> Result<Exit> {
    let roles = if args.no_roles { Roles::One } else { Roles::Groups };
    let connector = context.global.connector()?;
    if args.print || args.check {
        let session = connector.open("sexton/migrate", &[]).await?;
        let status = migrate::check(&session.client).await?;
        if args.print {
            output::write_out(&migrate::print(&status, roles)?)?;
            return Ok(Exit::Done);
        }
        let answer = json!({ "complete": status.is_complete(), "message": status.to_string() });
        context.output.answer(&answer, |_| status.to_string())?;
        return Ok(if status.is_complete() { Exit::Done } else { Exit::Failed });
    }
    let options = Options { roles, ..Options::default() };
    if args.fence {
        let migrated = migrate::fence(&connector, &options, tell).await?;
        context.output.answer(&migrated, described_fence)?;
        return Ok(Exit::Done);
    }
    let migrated = migrate::run(&connector, &options, tell).await?;
    context.output.answer(&migrated, described)?;
    Ok(Exit::Done)
}

/// On the way, for those who wait.
fn tell(progress: Progress) {
    match progress {
        Progress::Waiting { holder } => anstream::eprintln!("waiting for {holder}, who migrates"),
        Progress::Applying { name } => anstream::eprintln!("applying {name}"),
        _ => {}
    }
}

fn described_fence(migrated: &Migrated) -> String {
    let mut text = format!(
        "The schema sexton_fence is up to date; it belongs to {}.\n\
         Next: grant sexton_runner to the login that replicas use here, and the rights on the tables that jobs name.\n",
        migrated.owner
    );
    for note in &migrated.notes {
        text.push_str(&format!("Note: {note}\n"));
    }
    text
}

fn described(migrated: &Migrated) -> String {
    let mut text = match migrated.applied.len() {
        0 => "The schema sexton is up to date.\n".to_owned(),
        count => format!(
            "The schema sexton is up to date: {count} migration(s) applied; it belongs to {}.\n\
             Next: `sexton init` proposes a sexton.toml, `sexton apply` makes its jobs, `sexton run` runs them.\n",
            migrated.owner
        ),
    };
    for note in &migrated.notes {
        text.push_str(&format!("Note: {note}\n"));
    }
    text
}
