//! `sexton locks` and `sexton exec`'s choice of locks: who holds which resource, and which are wanted.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, error::ErrorKind};
use comfy_table::Cell;

use super::{Context, Exit, format, output};
use crate::{error::Result, kind::Wanted, protocol::operate::ResourceRow};

/// The most characters that a resource's name has, as the table `sexton.resource` says.
const NAME_MAX: usize = 1000;

/// What `locks` takes.
#[derive(Debug, Args)]
pub(super) struct LocksArgs {
    /// Of this resource alone
    name: Option<String>,
}

pub(super) async fn list(context: &Context, args: &LocksArgs) -> Result<Exit> {
    let held = context.global.operator().await?.resources(args.name.as_deref()).await?;
    context.output.answer(&held, |held| described(held))?;
    Ok(Exit::Done)
}

fn described(held: &[ResourceRow]) -> String {
    if held.is_empty() {
        return "No resource is held, and nobody waits for one.".to_owned();
    }
    let mut table = output::table(&["RESOURCE", "HOW", "WHO", "BACKEND", "SINCE", "BEHIND"]);
    for row in held {
        let who = match (&row.job, &row.holder) {
            (Some(job), Some(holder)) => format!("{job} on {holder}"),
            (Some(who), None) | (None, Some(who)) => who.clone(),
            (None, None) => String::new(),
        };
        let how = match (row.waits, row.shared) {
            (true, _) => "waits",
            (false, true) => "shares",
            (false, false) => "holds",
        };
        table.add_row(vec![
            Cell::new(&row.name),
            Cell::new(how),
            Cell::new(who),
            Cell::new(row.backend_pid.map(|pid| pid.to_string()).unwrap_or_default()),
            Cell::new(row.since.map(|since| format::relative(since, row.now)).unwrap_or_default()),
            Cell::new(row.behind.as_deref().unwrap_or_default()),
        ]);
    }
    output::lines(&table)
}

/// `--lock NAME [--shared]`, as often as wanted: `--shared` is of the `--lock` before it, which derived options cannot say.
#[derive(Clone, Debug)]
pub(super) struct LockArgs {
    pub(super) wanted: Vec<Wanted>,
}

impl FromArgMatches for LockArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let wrong = |text: &str| clap::Error::raw(ErrorKind::ArgumentConflict, format!("{text}\n"));
        let places = |name| matches.indices_of(name).map(Iterator::collect).unwrap_or_default();
        let (locks, shared): (Vec<usize>, Vec<usize>) = (places("lock"), places("shared"));
        let names = matches.get_many::<String>("lock").into_iter().flatten();
        let mut wanted: Vec<Wanted> = Vec::new();
        for (index, name) in names.enumerate() {
            let next = locks.get(index + 1).copied().unwrap_or(usize::MAX);
            let own = |place: &&usize| locks[index] < **place && **place < next;
            if name.trim().is_empty() || name.chars().count() > NAME_MAX {
                return Err(wrong("--lock takes a name of 1 to 1,000 characters, such as app:42"));
            }
            if wanted.iter().any(|other| other.name() == name) {
                return Err(wrong(&format!("--lock {name} is there twice: name it once, shared or not")));
            }
            wanted.push(match shared.iter().find(own) {
                Some(_) => Wanted::shared(name),
                None => Wanted::exclusive(name),
            });
        }
        if shared.iter().any(|place| locks.first().is_none_or(|first| place < first)) {
            return Err(wrong("--shared stands behind the --lock that it is for"));
        }
        Ok(LockArgs { wanted })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for LockArgs {
    fn augment_args(command: Command) -> Command {
        let lock = Arg::new("lock").long("lock").value_name("NAME").action(ArgAction::Append).required(true);
        let shared = Arg::new("shared").long("shared").action(ArgAction::Append).num_args(0);
        command
            .arg(lock.help("A resource to hold, such as app:42; several are taken together, or not at all"))
            .arg(
                shared
                    .default_missing_value("true")
                    .value_parser(clap::value_parser!(bool))
                    .help("Hold the resource before it together with others who share it"),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Vec<Wanted>, clap::Error> {
        let command = LockArgs::augment_args(Command::new("exec"));
        let matches = command.try_get_matches_from(["exec"].into_iter().chain(line.split_whitespace()))?;
        LockArgs::from_arg_matches(&matches).map(|args| args.wanted)
    }

    #[test]
    fn shared_is_of_the_lock_before_it() {
        let (own, shared) = (Wanted::exclusive, Wanted::shared);
        assert_eq!(
            parsed("--lock a --lock b --shared --lock c").ok(),
            Some(vec![own("a"), shared("b"), own("c")])
        );
        assert_eq!(parsed("--lock a --shared --lock b --shared").ok(), Some(vec![shared("a"), shared("b")]));
        for wrong in ["--shared --lock a", "--lock a --lock a", ""] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", " ", "x".repeat(1001).as_str()] {
            let command = LockArgs::augment_args(Command::new("exec"));
            let matches =
                command.try_get_matches_from(["exec", "--lock", wrong]).expect("it has the right form");
            let error = LockArgs::from_arg_matches(&matches).expect_err("it is no name");
            assert!(error.to_string().contains("a name of 1 to 1,000 characters"), "{error}");
        }
    }
}
