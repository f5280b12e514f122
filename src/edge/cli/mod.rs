//! The command line: what may be typed, and which function answers.
//!
//! Each verb goes through [`operate`](crate::protocol::operate), so it does what the same function does in psql; its
//! name and its help come from [`verbs`]. What is easy to get wrong: standard output is the answer and
//! nothing else, so that it can be piped; logs, progress and errors go to standard error.

mod board;
mod demo;
mod doctor;
mod exec;
mod exit;
mod file;
mod format;
mod global;
mod jobs;
mod kinds;
mod locks;
mod narrow;
mod next;
mod notices;
mod oneshot;
mod output;
mod plan;
mod replica;
mod restore;
mod run;
mod runs;
mod schema;
mod shell;
mod show;
mod steer;
mod submit;
mod watch;

use clap::{Parser, Subcommand};

use crate::{edge::telemetry, error::Result, kind::Registry, outside::Outside, protocol::verbs};

pub use exit::Exit;
use global::Global;
use output::Output;

/// Runs the maintenance of applications on PostgreSQL, above all the purges: exactly once, however many replicas run.
#[derive(Debug, Parser)]
#[command(
    name = "sexton",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 refused or guarded, 4 database unreachable.\n\
                  Everything here is also SQL: SELECT * FROM sexton.jobs; SELECT sexton.why('audit-logs');"
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// One variant a verb; the order is that of the help.
#[derive(Debug, Subcommand)]
enum Command {
    #[command(about = verbs::DEMO.help, after_help = "Example: sexton demo --keep")]
    Demo(demo::DemoArgs),
    #[command(about = verbs::INIT.help, after_help = "Example: sexton init -o sexton.toml")]
    Init(file::InitArgs),
    #[command(about = verbs::IMPORT.help, after_help = "Example: sexton import pg_cron -o sexton.toml")]
    Import(file::ImportArgs),
    #[command(about = verbs::MIGRATE.help, after_help = "Example: sexton migrate\n         sexton migrate --print | psql")]
    Migrate(schema::MigrateArgs),
    #[command(about = verbs::APPLY.help, after_help = "Example: sexton apply --dry-run\n         sexton apply -f base.toml -f prod.toml")]
    Apply(file::ApplyArgs),
    #[command(about = verbs::RUN.help, after_help = "Example: sexton run --slots 2 --identity prod-main")]
    Run(run::RunArgs),
    #[command(about = verbs::ONESHOT.help, after_help = "Example: sexton oneshot --within 5m\n         sexton oneshot audit-logs --limit-rows 10000")]
    Oneshot(oneshot::OneshotArgs),
    #[command(about = verbs::JOBS.help, after_help = "Example: sexton jobs --json | jq '.[] | select(.state == \"paused\") | .name'")]
    Jobs,
    #[command(about = verbs::RUNS.help, after_help = "Example: sexton runs audit-logs -n 5")]
    Runs(runs::RunsArgs),
    #[command(about = verbs::SHOW.help, after_help = "Example: sexton show audit-logs")]
    Show(show::ShowArgs),
    #[command(about = verbs::WHY.help, after_help = "Example: sexton why audit-logs")]
    Why(jobs::WhyArgs),
    #[command(about = verbs::NEXT.help, after_help = "Example: sexton next audit-logs -n 3")]
    Next(next::NextArgs),
    #[command(about = verbs::PLAN.help, after_help = "Example: sexton plan audit-logs")]
    Plan(plan::PlanArgs),
    #[command(about = verbs::WATCH.help, after_help = "Example: sexton watch audit-logs")]
    Watch(watch::WatchArgs),
    #[command(about = verbs::RUN_NOW.help, after_help = "Example: sexton run-now audit-logs --dry-run\n         sexton run-now erase-tenant --input tenant=42")]
    RunNow(narrow::RunNowArgs),
    #[command(about = verbs::SUBMIT.help, after_help = "Example: sexton submit erase-tenant --input tenant=42 --key tenant-42")]
    Submit(submit::SubmitArgs),
    #[command(about = verbs::PAUSE.help, after_help = "Example: sexton pause audit-logs --reason \"incident 42\" --until 2h")]
    Pause(steer::PauseArgs),
    #[command(about = verbs::RESUME.help, after_help = "Example: sexton resume audit-logs")]
    Resume(steer::JobArgs),
    #[command(about = verbs::PAUSE_ALL.help, after_help = "Example: sexton pause-all --reason \"restoring a table\"")]
    PauseAll(steer::PauseAllArgs),
    #[command(about = verbs::RESUME_ALL.help, after_help = "Example: sexton resume-all")]
    ResumeAll,
    #[command(about = verbs::ARM.help, after_help = "Example: sexton arm audit-logs --approve 250000")]
    Arm(steer::ArmArgs),
    #[command(about = verbs::DISARM.help, after_help = "Example: sexton disarm audit-logs")]
    Disarm(steer::JobArgs),
    #[command(about = verbs::CANCEL.help, after_help = "Example: sexton cancel audit-logs")]
    Cancel(steer::JobArgs),
    #[command(about = verbs::KILL.help, after_help = "Example: sexton kill audit-logs --terminate")]
    Kill(steer::KillArgs),
    #[command(about = verbs::HOLD.help, after_help = "Example: sexton hold audit_log \"tenant_id = 7\" --reason \"case 2027/15\"")]
    Hold(steer::HoldArgs),
    #[command(about = verbs::UNHOLD.help, after_help = "Example: sexton unhold 3")]
    Unhold(steer::UnholdArgs),
    #[command(about = verbs::ADOPT.help, after_help = "Example: sexton adopt")]
    Adopt,
    #[command(about = verbs::NOTICES.help, after_help = "Example: sexton notices --failed\n         sexton notices test mail:ops@example.org --config local.toml\n         sexton notices on webhook:cdn")]
    Notices(notices::NoticesArgs),
    #[command(about = verbs::LOCKS.help, after_help = "Example: sexton locks app:42")]
    Locks(locks::LocksArgs),
    #[command(about = verbs::EXEC.help, after_help = "Example: sexton exec --lock app:42 --lock backup --shared --wait 10m -- ./update.sh 42\n\n\
        Exit codes: the command's own, 128 and the signal that ended it; 3 if a resource is held, 4 if the session was lost.")]
    Exec(exec::ExecArgs),
    #[command(about = verbs::RESTORE.help, after_help = "Example: sexton restore --storage offsite --list\n         sexton restore --storage offsite latest --set users --into users_old\n         sexton restore --storage cold --archive --job audit-logs --since 2027-01-01T00:00Z")]
    Restore(restore::RestoreArgs),
    #[command(about = verbs::KINDS.help, after_help = "Example: sexton kinds purge")]
    Kinds(kinds::KindsArgs),
    #[command(about = verbs::DOCTOR.help, after_help = "Example: sexton doctor --json | jq '.[] | select(.verdict != \"ok\")'")]
    Doctor(doctor::DoctorArgs),
    #[command(about = verbs::COMPLETIONS.help, after_help = "Example: sexton completions bash > /etc/bash_completion.d/sexton")]
    Completions(shell::CompletionsArgs),
}

impl Command {
    /// Whether it runs jobs, and so tells by its log what it does.
    fn is_replica(&self) -> bool {
        matches!(self, Command::Run(_) | Command::Oneshot(_))
    }

    fn is_oneshot(&self) -> bool {
        matches!(self, Command::Oneshot(_))
    }
}

/// What every command gets.
struct Context {
    global: Global,
    output: Output,
    registry: Registry,
    /// What the kinds of the registry know locally: filled from the local file by the commands that run jobs.
    outside: Outside,
    log: telemetry::Log,
}

impl Cli {
    /// What was typed; leaves the process with the usage, the help or the version where that was asked for or due.
    pub fn from_args() -> Cli {
        Cli::parse()
    }

    /// Does it. Errors are told here, on standard error. `outside` is what the kinds of the registry were given; the
    /// local file is read into it.
    ///
    /// # Cancel safety
    /// As the commands': dropping the future of a replica is a crash of it.
    pub async fn execute(self, registry: Registry, outside: Outside) -> Exit {
        let output = Output::new(&self.global);
        let log = match self.global.start_logging(&self.command) {
            Ok(log) => log,
            Err(error) => return exit::tell(&error),
        };
        let mut global = self.global;
        let embedded = match global.embed().await {
            Ok(embedded) => embedded,
            Err(error) => return exit::tell(&error),
        };
        let context = Context { global, output, registry, outside, log };
        let exit = dispatch(&context, self.command).await.unwrap_or_else(|error| exit::tell(&error));
        drop(embedded);
        exit
    }
}

async fn dispatch(context: &Context, command: Command) -> Result<Exit> {
    match command {
        Command::Demo(args) => demo::demo(&args).await,
        Command::Init(args) => file::init(context, &args).await,
        Command::Import(args) => file::import(context, &args).await,
        Command::Apply(args) => file::apply(context, &args).await,
        Command::Migrate(args) => schema::migrate(context, &args).await,
        Command::Run(args) => run::run(context, &args).await,
        Command::Oneshot(args) => oneshot::oneshot(context, &args).await,
        Command::Jobs => jobs::list(context).await,
        Command::Runs(args) => runs::list(context, &args).await,
        Command::Show(args) => show::show(context, &args).await,
        Command::Why(args) => jobs::why(context, &args).await,
        Command::Next(args) => next::next(context, &args).await,
        Command::Plan(args) => plan::plan(context, &args).await,
        Command::Watch(args) => watch::watch(context, &args).await,
        Command::RunNow(args) => narrow::run_now(context, &args).await,
        Command::Submit(args) => submit::submit(context, &args).await,
        Command::Locks(args) => locks::list(context, &args).await,
        Command::Exec(args) => exec::exec(context, &args).await,
        Command::Pause(args) => steer::pause(context, &args).await,
        Command::Resume(args) => steer::resume(context, &args).await,
        Command::PauseAll(args) => steer::pause_all(context, &args).await,
        Command::ResumeAll => steer::resume_all(context).await,
        Command::Arm(args) => steer::arm(context, &args).await,
        Command::Disarm(args) => steer::disarm(context, &args).await,
        Command::Cancel(args) => steer::cancel(context, &args).await,
        Command::Kill(args) => steer::kill(context, &args).await,
        Command::Hold(args) => steer::hold(context, &args).await,
        Command::Unhold(args) => steer::unhold(context, &args).await,
        Command::Adopt => steer::adopt(context).await,
        Command::Notices(args) => notices::notices(context, &args).await,
        Command::Restore(args) => restore::restore(context, &args).await,
        Command::Kinds(args) => kinds::list(context, &args),
        Command::Doctor(args) => doctor::doctor(context, &args).await,
        Command::Completions(args) => shell::completions(context, &args),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn commands_are_the_verbs_and_each_has_an_example() {
        let command = Cli::command();
        command.clone().debug_assert();
        let typed: BTreeSet<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        let declared: BTreeSet<&str> = verbs::ALL.iter().map(|verb| verb.command).collect();
        assert_eq!(typed, declared);
        for subcommand in command.get_subcommands() {
            let verb = verbs::ALL.iter().find(|verb| verb.command == subcommand.get_name());
            let about = subcommand.get_about().map(ToString::to_string);
            assert_eq!(about.as_deref(), verb.map(|verb| verb.help), "{}", subcommand.get_name());
            let example = subcommand.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(example.contains(&format!("sexton {}", subcommand.get_name())), "{example}");
        }
    }
}
