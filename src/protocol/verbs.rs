//! The words that people steer Sexton with, declared once: verbs, and the states of a job.
//!
//! SQL function, command and one line of help for each. The command line's help is made from it, and a test holds that
//! the functions of the schema, the commands and docs/cli.md say the same words; outcomes stand in
//! [`run::Outcome`](super::run::Outcome). What is easy to get wrong: a verb that is only in one of the three places
//! is a verb that somebody looks for in vain.

/// Something that a person can do or ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verb {
    /// The command: `pause-all`.
    pub command: &'static str,
    /// The function of the schema `sexton` behind it; empty where there is none: a view is read, or the work is
    /// the program's own.
    pub function: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
}

/// Declares a constant for each verb, and the list of all.
macro_rules! verbs {
    ($($name:ident = $command:literal $(($function:literal))?, $help:literal;)*) => {
        $(#[doc = $help]
        pub const $name: Verb =
            Verb { command: $command, function: concat!($($function)?), help: $help };)*

        /// All of them, in the order in which help lists them.
        pub const ALL: &[Verb] = &[$($name),*];
    };
}

verbs! {
    DEMO = "demo", "Show three replicas purge a table exactly once, one of them killed half way";
    INIT = "init", "Look at a database and propose a sexton.toml for it";
    IMPORT = "import", "Read the jobs of pg_cron or pg_timetable and propose a sexton.toml for them";
    MIGRATE = "migrate", "Create or upgrade the schema `sexton` in the database";
    APPLY = "apply", "Make the jobs in the database as the file says";
    RUN = "run", "Run a replica: take due jobs and run them until told to stop";
    ONESHOT = "oneshot", "Run what is due, or the jobs named, then exit";
    JOBS = "jobs", "List the jobs: state, what is next, how the last run went";
    RUNS = "runs", "List the runs, the latest first";
    SHOW = "show", "Show a job or a run in full";
    WHY = "why" ("why"), "Say why a job runs, or does not, in a sentence or two";
    NEXT = "next", "List the coming instants of a job";
    PLAN = "plan", "Tell what a job would do, without doing it";
    WATCH = "watch", "Watch what runs: progress, speed, time left";
    RUN_NOW = "run-now" ("run_now"), "Make a job due at once, for a replica to run";
    SUBMIT = "submit" ("submit"), "Run a manual job once with inputs of its own, as soon as a place is free";
    PAUSE = "pause" ("pause"), "Keep a job from starting, and stop its run at the batch border";
    RESUME = "resume" ("resume"), "End a pause";
    PAUSE_ALL = "pause-all" ("pause_all"), "Halt everything destructive, everywhere, now";
    RESUME_ALL = "resume-all" ("resume_all"), "End the halt of pause-all";
    ARM = "arm" ("arm"), "Let a destructive job delete, in its present revision";
    DISARM = "disarm" ("disarm"), "Let a job only report";
    CANCEL = "cancel" ("cancel"), "End the present run, or drop a pending retry";
    KILL = "kill" ("kill"), "Take a job from its holder at once";
    HOLD = "hold" ("hold"), "Keep rows of a table from every purge, from its next batch on";
    UNHOLD = "unhold" ("unhold"), "Lift a hold";
    ADOPT = "adopt" ("adopt"), "Say that this restored or cloned database shall be maintained";
    NOTICES = "notices", "List the notices and whether they arrived; test a channel, or switch it on";
    LOCKS = "locks", "List the resources: who holds which, who waits, since when";
    EXEC = "exec", "Run a command while it holds resources";
    RESTORE = "restore", "List, verify and restore backups and archives";
    KINDS = "kinds", "List the kinds of work, or explain one";
    DOCTOR = "doctor", "Check everything that Sexton depends on";
    COMPLETIONS = "completions", "Print completions for a shell";
}

/// What else people may call in SQL, and what is left out of the command line since a file or `INSERT` does it there.
pub const SQL_ONLY: &[(&str, &str)] = &[
    ("terminate_holder", "End the session of a job's last holder; `sexton kill --terminate` calls it"),
    ("schedule", "Create a job, or change its schedule, kind and params"),
    ("schedule_purge", "Create a purge of rows that are older than a retention"),
    ("unschedule", "Delete a job; its history stays"),
    ("rename", "Rename a job; its history stays with it"),
    ("subscribe", "Let a channel hear of events of all jobs of a name or pattern"),
    ("unsubscribe", "End that"),
    ("channel_on", "Switch a channel on that failed ten times in a row; `sexton notices on` calls it"),
    ("arm_applied", "Arm a job as `sexton apply` does: not if a person disarmed it"),
    ("deployed", "Make a job \"at deploy\" due, if this deployment is new to it"),
];

/// What a job is doing, as the view `sexton.jobs` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobState {
    /// A run of it is on.
    Running,
    /// A replica refused its schedule or params; it waits for an edit.
    Invalid,
    /// A person, or too many failures, paused it.
    Paused,
    /// An attempt failed; it is tried again.
    Retrying,
    /// Its time has come; it waits for a replica.
    Due,
    /// Its time has not come.
    Idle,
}

impl JobState {
    /// All of them, in the order in which the view decides.
    pub const ALL: [JobState; 6] = [
        JobState::Running,
        JobState::Invalid,
        JobState::Paused,
        JobState::Retrying,
        JobState::Due,
        JobState::Idle,
    ];

    /// As the view says it.
    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Running => "running",
            JobState::Invalid => "invalid",
            JobState::Paused => "paused",
            JobState::Retrying => "retrying",
            JobState::Due => "due",
            JobState::Idle => "idle",
        }
    }

    /// The state that the view calls `text`.
    pub fn parse(text: &str) -> Option<JobState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::protocol::run::Outcome;

    const TABLES: &str = include_str!("../../migrations/V1__tables.sql");
    const VIEWS: &str = include_str!("../../migrations/V4__views.sql");

    /// The table of docs/cli.md.
    fn table() -> String {
        let mut table = String::from("| Command | SQL | Does |\n|---|---|---|\n");
        for verb in ALL {
            let sql =
                if verb.function.is_empty() { String::new() } else { format!("`sexton.{}`", verb.function) };
            table.push_str(&format!("| `sexton {}` | {sql} | {} |\n", verb.command, verb.help));
        }
        for (function, help) in SQL_ONLY {
            table.push_str(&format!("| | `sexton.{function}` | {help} |\n"));
        }
        table
    }

    #[test]
    fn the_documentation_has_this_very_table() {
        let documented = include_str!("../../docs/cli.md");
        assert!(documented.contains(&table()), "docs/cli.md must hold this table:\n{}", table());
        for state in JobState::ALL {
            assert!(documented.contains(&format!("`{}`", state.as_str())), "{state:?}");
        }
        for outcome in Outcome::ALL {
            let glossary = include_str!("../../docs/glossary.md");
            assert!(documented.contains(&format!("`{}`", outcome.as_str())), "{outcome:?}");
            assert!(glossary.contains(outcome.as_str()), "{outcome:?}");
        }
    }

    /// The words in single quotes of `text`.
    fn quoted(text: &str) -> BTreeSet<&str> {
        text.split('\'').skip(1).step_by(2).collect()
    }

    #[test]
    fn the_view_knows_the_same_states() {
        let view = VIEWS.split("CREATE VIEW sexton.jobs AS").nth(1).expect("the view is there");
        let states = view.split(" AS state").next().expect("the column is there");
        let decided: BTreeSet<&str> = states
            .split("THEN ")
            .skip(1)
            .filter_map(|branch| quoted(branch).first().copied())
            .chain(states.rsplit("ELSE ").next().and_then(|last| quoted(last).first().copied()))
            .collect();
        assert_eq!(decided, JobState::ALL.iter().map(|state| state.as_str()).collect());
        assert!(JobState::ALL.iter().all(|state| JobState::parse(state.as_str()) == Some(*state)));
    }

    #[test]
    fn the_table_of_runs_knows_the_same_outcomes() {
        let check =
            TABLES.split("state       text   NOT NULL CHECK (state IN (").nth(1).expect("it is there");
        let allowed = quoted(check.split("))").next().expect("it ends"));
        let known: BTreeSet<&str> =
            Outcome::ALL.iter().map(|outcome| outcome.as_str()).chain(["running"]).collect();
        assert_eq!(allowed, known);
    }
}
