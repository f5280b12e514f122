//! Names and fields of every event that is logged: a public contract, and the one place where it stands.
//!
//! A name is `noun.verb_past`, and the message of its log line. docs/events.md shows the same table; tests hold it, this
//! and what the code logs together. What is easy to
//! get wrong: the level. ERROR means that a human must look; WARN that one may have to soon; INFO is a change of
//! state; DEBUG is work as usual; TRACE is a race that was lost, which costs nothing.

use tracing::Level;

/// An event.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Its name, which is the message of the log line.
    pub name: &'static str,
    /// Its level.
    pub level: Level,
    /// The fields that it carries; those in brackets not always.
    pub fields: &'static [&'static str],
    /// What happened.
    pub meaning: &'static str,
}

/// Declares a constant for each event's name, and the list of all.
macro_rules! events {
    ($($name:ident = $text:literal $level:ident [$($field:literal),*] $meaning:literal;)*) => {
        $(#[doc = $meaning]
        pub const $name: &str = $text;)*

        /// All of them.
        pub const ALL: &[Event] = &[$(Event {
            name: $name, level: Level::$level, fields: &[$($field),*], meaning: $meaning,
        }),*];
    };
}

events! {
    REPLICA_STARTED = "replica.started" INFO ["replica", "name", "program", "slots", "kinds"]
        "A replica is registered and looks for work.";
    REPLICA_DRAINING = "replica.draining" INFO ["signal"]
        "A replica was told to stop: it takes nothing new and brings its runs to a batch border.";
    REPLICA_DRAIN_TIMED_OUT = "replica.drain_timed_out" WARN ["runs"]
        "Runs did not come to a batch border in time: their statements are cancelled.";
    REPLICA_RELOADED = "replica.reloaded" INFO ["file", "restart_needed"]
        "A replica reread its local file, on SIGHUP; whether something in it waits for the next start.";
    REPLICA_RELOAD_FAILED = "replica.reload_failed" ERROR ["file", "problems"]
        "The local file has a mistake: nothing of it was taken over.";
    REPLICA_STOPPED = "replica.stopped" INFO ["replica"]
        "A replica has given everything back and ends.";
    SESSION_LOST = "session.lost" WARN ["error"]
        "The control session ended; the replica opens another. Its runs go on by their own sessions.";
    SESSION_RECONNECT_FAILED = "session.reconnect_failed" DEBUG ["error"]
        "The database is still away; the replica tries again.";
    SESSION_ENDED = "session.ended" DEBUG ["error"]
        "A session ended other than by being closed.";
    SESSION_NOT_RENEWED = "session.not_renewed" DEBUG ["nothing_left", "discarded"]
        "A one-off left something in its session that could not be taken back for certain: the next one gets another.";
    SESSION_CANCEL_FAILED = "session.cancel_failed" DEBUG ["error"]
        "The statement of a session in doubt could not be cancelled; it ends with its session.";
    SESSION_WATCH_FAILED = "session.watch_failed" DEBUG ["error"]
        "A run that is busy could not be watched from a second session, which tries again.";
    SESSION_WORKER_LOST = "session.worker_lost" DEBUG ["stop"]
        "The session of a worker could not be given back in good order: what it did is cancelled, and it is closed.";
    INCARNATION_UNREADABLE = "incarnation.unreadable" DEBUG []
        "The server does not let this role look whether it is still the same database.";
    INCARNATION_NEW_TIMELINE = "incarnation.new_timeline" WARN []
        "The database failed over or was recovered to a point in time; work goes on.";
    INCARNATION_NEW_SYSTEM = "incarnation.new_system" ERROR []
        "The database was restored or cloned: destructive and outside kinds wait for `sexton adopt`.";
    JOB_PLANNED = "job.planned" DEBUG ["job", "[next]", "planned"]
        "A new or edited job is valid, and its next instant is worked out.";
    JOB_REJECTED = "job.rejected" WARN ["job", "reason"]
        "A job's schedule or params are invalid: it is not claimed until it is edited.";
    JOB_SKIPPED = "job.skipped" INFO ["job", "missed", "skipped"]
        "An occurrence came later than max_lateness allows, and is counted as missed.";
    JOB_PLANNING_FAILED = "job.planning_failed" ERROR ["error"]
        "The database refused to store what a replica found out about a job; it is tried again a second later.";
    CLAIM_WON = "claim.won" INFO ["job", "run", "version", "attempt", "mode"]
        "This replica holds the job and starts its run.";
    CLAIM_LOST = "claim.lost" TRACE ["job", "reason"]
        "Another replica was quicker, or nothing may start now.";
    CLAIM_SETTLED = "claim.settled" INFO ["job", "reason"]
        "A lost run was put in order, and nothing started: its attempts were used up, or a cancel was pending.";
    CLAIM_FAILED = "claim.failed" ERROR ["error"]
        "A job could not be tried for; DEBUG where the database is away, since session.lost says so already.";
    RUN_FINISHED = "run.finished" INFO ["job", "run", "outcome", "[error]", "[next]"]
        "A run has its outcome.";
    RUN_RELEASED = "run.released" INFO ["job", "run"]
        "A run is given back at a batch border, since its replica shuts down; it goes on at its cursor.";
    RUN_FENCED = "run.fenced" INFO ["job", "run", "[reason]"]
        "The database refused a write: the run must stop. Nothing was written.";
    RUN_LOST = "run.lost" WARN ["job", "run", "error"]
        "The run session is gone; the job goes on where its run is recovered.";
    RUN_FAILED = "run.failed" WARN ["job", "run", "error"]
        "The work failed; run.finished follows.";
    RUN_UNHEALTHY = "run.unhealthy" WARN ["job", "run", "error"]
        "The server has run out of something (disk, memory): the run is given back, and goes on after the backoff.";
    RUN_TIMED_OUT = "run.timed_out" WARN ["job", "run"]
        "The attempt took longer than the job's timeout; run.finished follows.";
    RUN_REFUSED = "run.refused" WARN ["job", "run", "reason"]
        "A guard refused; run.finished follows.";
    SLOT_FREED = "slot.freed" TRACE ["job_id", "[outcome]"]
        "A slot is free again.";
    SLOT_PANICKED = "slot.panicked" ERROR ["error"]
        "A defect in Sexton itself ended a task; the replica goes on.";
    HTTP_ANSWERED = "http.answered" DEBUG ["job", "class", "status"]
        "A call was answered, or was not, in this way.";
    PURGE_VACUUM_FAILED = "purge.vacuum_failed" WARN ["job", "table", "error"]
        "The VACUUM after a purge failed; the purge itself succeeded.";
    UPKEEP_STEP_FAILED = "upkeep.step_failed" WARN ["job", "step", "error"]
        "One step of an upkeep failed; the others go on.";
    UPLOAD_ABORT_FAILED = "upload.abort_failed" DEBUG ["storage", "key", "error"]
        "A storage did not take back an upload that was given up: parts of it may be left there.";
    ARCHIVE_LEFT_BEHIND = "archive.left_behind" DEBUG ["job", "error"]
        "What was written to a storage for a batch that was taken back could not be removed: no receipt names it, so no restore takes it.";
    PRUNE_FAILED = "prune.failed" DEBUG ["error"]
        "Old runs could not be removed; the next run does it.";
    NOTICE_SENT = "notice.sent" INFO ["channel", "event", "attempt"]
        "A notice was sent to a channel.";
    NOTICE_FAILED = "notice.failed" WARN ["channel", "event", "attempt", "error"]
        "A notice could not be sent; it is tried again.";
    NOTICE_LOOK_FAILED = "notice.look_failed" WARN ["error"]
        "Notices could not be looked after; the replica tries again with its next look.";
    CHANNEL_SWITCHED_OFF = "channel.switched_off" ERROR ["channel"]
        "A channel failed ten times in a row: nothing is sent to it until `sexton notices on CHANNEL`.";
    CLUSTER_REMOVE_FAILED = "cluster.remove_failed" WARN ["folder"]
        "The folder of a private cluster could not be removed.";
    CLUSTER_SWEPT = "cluster.swept" DEBUG ["folder"]
        "The folder of a private cluster whose owner is gone was removed.";
    CLUSTER_SWEEP_FAILED = "cluster.sweep_failed" DEBUG ["folder", "error"]
        "Such a folder could not be removed.";
}

/// The table of docs/events.md.
#[cfg(test)]
fn table() -> String {
    let mut table = String::from("| Event | Level | Fields | Meaning |\n|---|---|---|---|\n");
    for event in ALL {
        let fields: Vec<String> = event.fields.iter().map(|field| format!("`{field}`")).collect();
        let line =
            format!("| `{}` | {} | {} | {} |\n", event.name, event.level, fields.join(", "), event.meaning);
        table.push_str(&line);
    }
    table
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        fs,
        path::{Path, PathBuf},
    };

    use super::*;

    #[test]
    fn the_documentation_has_this_very_table() {
        let documented = include_str!("../docs/events.md");
        assert!(documented.contains(&table()), "docs/events.md must hold this table:\n{}", table());
    }

    #[test]
    fn what_the_code_logs_is_declared_here() {
        let mut declared: BTreeMap<String, Level> = BTreeMap::new();
        for event in ALL {
            assert!(is_event(event.name), "{} is no noun.verb_past", event.name);
            let twice = declared.insert(event.name.to_owned(), event.level);
            assert!(twice.is_none(), "{} stands here twice", event.name);
        }
        let mut logged: BTreeMap<String, Level> = BTreeMap::new();
        for file in sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))) {
            for (name, level) in events_in(&fs::read_to_string(file).expect("a source can be read")) {
                let severest = logged.entry(name).or_insert(level);
                *severest = (*severest).min(level);
            }
        }
        let differing = |one: &BTreeMap<String, Level>, other: &BTreeMap<String, Level>| -> Vec<String> {
            let only = one.iter().filter(|(name, level)| other.get(*name) != Some(level));
            only.map(|(name, level)| format!("{name} {level}")).collect()
        };
        let (missing, unused) = (differing(&logged, &declared), differing(&declared, &logged));
        assert!(missing.is_empty() && unused.is_empty(), "logged: {missing:?}, declared: {unused:?}");
    }

    fn is_event(text: &str) -> bool {
        let word = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') && !word.is_empty();
        text.split_once('.').is_some_and(|(noun, verb)| word(noun) && word(verb))
    }

    /// The last literal of each call of a logging macro, if it is an event's name.
    fn events_in(source: &str) -> Vec<(String, Level)> {
        const MACROS: [(&str, Level); 5] = [
            ("tracing::error!(", Level::ERROR),
            ("tracing::warn!(", Level::WARN),
            ("tracing::info!(", Level::INFO),
            ("tracing::debug!(", Level::DEBUG),
            ("tracing::trace!(", Level::TRACE),
        ];
        let calls = MACROS
            .into_iter()
            .flat_map(|(name, level)| source.split(name).skip(1).map(move |call| (call, level)));
        calls
            .filter_map(|(call, level)| {
                let literal = call.split("\")").next()?.rsplit('"').next()?;
                is_event(literal).then(|| (literal.to_owned(), level))
            })
            .collect()
    }

    fn sources(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).expect("a folder of sources can be read");
        let paths = entries.map(|entry| entry.expect("an entry can be read").path());
        paths
            .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
            .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
            .collect()
    }
}
