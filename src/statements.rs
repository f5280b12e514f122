//! Every file of `sql/` by name, and nothing else.
//!
//! There is no SQL text in `.rs` files, save what the purge's own statement builder quotes together. A test has the
//! server parse each of these, and fails for a file that nothing uses.

/// Declares a constant for each file, and the list of all for the test that has them parsed.
macro_rules! statements {
    ($($name:ident = $file:literal;)*) => {
        $(pub(crate) const $name: &str = include_str!(concat!("../sql/", $file, ".sql"));)*

        /// All of them: file name without ending, and text.
        #[doc(hidden)]
        pub const ALL: &[(&str, &str)] = &[$(($file, $name)),*];
    };
}

statements! {
    ACCEPT = "accept";
    CLAIM = "claim";
    DONE_BEFORE = "done_before";
    FENCE = "fence";
    FINISH = "finish";
    HORIZON = "horizon";
    INSTALLATION = "installation";
    JOB_FOR_RUN = "job_for_run";
    LAST_RUN = "last_run";
    LIMIT_SESSION = "limit_session";
    LIMIT_STATEMENTS = "limit_statements";
    LISTEN = "listen";
    MARK_SESSION = "mark_session";
    NOTE_PROGRESS = "note_progress";
    NOTE_RESOURCES = "note_resources";
    OBSERVE = "observe";
    PING = "ping";
    PLAN = "plan";
    PRUNE = "prune";
    REJECT = "reject";
    REPLICA_START = "replica_start";
    RESET_CUTOFF = "reset_cutoff";
    RESET_ROLE = "reset_role";
    RESET_SESSION = "reset_session";
    RESET_TARGET = "reset_target";
    RESOURCE_LOCK = "resource_lock";
    RUN_NOW = "run_now";
    RUN_SESSION_SETTINGS = "run_session_settings";
    SCAN = "scan";
    SERVER = "server";
    SKIP = "skip";
    SQL_CALL = "sql_call";
    SQL_DISCARD = "sql_discard";
    SQL_LIMITS = "sql_limits";
    SQL_READ_ONLY = "sql_read_only";
    SQL_RIGHTS = "sql_rights";
    SQL_TRAMPOLINE = "sql_trampoline";
    TRY_LOCK = "try_lock";
    UNLOCK = "unlock";
    UPKEEP_DEBRIS = "upkeep_debris";
    UPKEEP_INDEX = "upkeep_index";
    UPKEEP_INDEXES = "upkeep_indexes";
    UPKEEP_MATVIEW = "upkeep_matview";
    UPKEEP_SIZE = "upkeep_size";
    UPKEEP_TABLES = "upkeep_tables";
    VACUUM_STATE = "vacuum_state";
    WHERE_AM_I = "where_am_i";
}
