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
    ACT_AS = "act_as";
    APPLY_LOCK = "apply_lock";
    ARM_APPLIED = "arm_applied";
    CLAIM = "claim";
    CREATE_JOB = "create_job";
    CREATE_ROLES = "create_roles";
    CREATE_SCHEMA = "create_schema";
    CREATE_SCHEMA_FOR_OWNER = "create_schema_for_owner";
    DELETE_JOB = "delete_job";
    DEPLOYED = "deployed";
    EDIT_JOB = "edit_job";
    FENCE = "fence";
    FINISH = "finish";
    HOLD_DEFINITIONS = "hold_definitions";
    HORIZON = "horizon";
    INSTALLATION = "installation";
    JOB_FOR_RUN = "job_for_run";
    LISTEN = "listen";
    MARK_REMOVED = "mark_removed";
    MIGRATION_HISTORY = "migration_history";
    MIGRATION_LOCK = "migration_lock";
    MIGRATION_LOCK_HOLDER = "migration_lock_holder";
    MIGRATION_SERVER = "migration_server";
    MIGRATION_UNLOCK = "migration_unlock";
    NOTE_APPLIED = "note_applied";
    NOTE_PROGRESS = "note_progress";
    NOTE_RESOURCES = "note_resources";
    OBSERVE = "observe";
    PING = "ping";
    PLAN = "plan";
    PROPOSE = "propose";
    PRUNE = "prune";
    READ_DEFINITIONS = "read_definitions";
    REJECT = "reject";
    REPLICA_START = "replica_start";
    RESOURCE_LOCK = "resource_lock";
    RUN_SESSION_SETTINGS = "run_session_settings";
    SCAN = "scan";
    SERVER = "server";
    SKIP = "skip";
    TAKE_BACK = "take_back";
    TRY_LOCK = "try_lock";
    UNLOCK = "unlock";
}
