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
    ACT_AS_OWNER = "act_as_owner";
    ADOPT = "adopt";
    APPLY_LOCK = "apply_lock";
    ARM = "arm";
    ARM_APPLIED = "arm_applied";
    CANCEL = "cancel";
    CHECK_INSTALLATION = "check_installation";
    CHECK_LIMITS = "check_limits";
    CHECK_ROLE = "check_role";
    CHECK_SERVER = "check_server";
    CHECK_TARGETS = "check_targets";
    CHECK_VACUUM = "check_vacuum";
    CHECK_WORK = "check_work";
    CLAIM = "claim";
    CREATE_JOB = "create_job";
    CREATE_ROLES = "create_roles";
    CREATE_SCHEMA = "create_schema";
    CREATE_SCHEMA_FOR_OWNER = "create_schema_for_owner";
    DELETE_JOB = "delete_job";
    DEPLOYED = "deployed";
    DISARM = "disarm";
    DUE_UNTIL = "due_until";
    EDIT_JOB = "edit_job";
    FENCE = "fence";
    FINISH = "finish";
    HOLD = "hold";
    HOLDS = "holds";
    HOLD_DEFINITIONS = "hold_definitions";
    HORIZON = "horizon";
    INSTALLATION = "installation";
    JOB = "job";
    JOBS = "jobs";
    JOB_FOR_RUN = "job_for_run";
    JOB_NAMES = "job_names";
    JOB_SCHEDULE = "job_schedule";
    JOIN_RUN = "join_run";
    KILL = "kill";
    LAST_RUN = "last_run";
    LEAVE_RUN = "leave_run";
    LIMIT_SESSION = "limit_session";
    LIMIT_STATEMENTS = "limit_statements";
    LISTEN = "listen";
    MARK_REMOVED = "mark_removed";
    MARK_SESSION = "mark_session";
    MIGRATION_HISTORY = "migration_history";
    MIGRATION_LOCK = "migration_lock";
    MIGRATION_LOCK_HOLDER = "migration_lock_holder";
    MIGRATION_SERVER = "migration_server";
    MIGRATION_UNLOCK = "migration_unlock";
    NOTE_APPLIED = "note_applied";
    NOTE_PROGRESS = "note_progress";
    NOTE_RESOURCES = "note_resources";
    OBSERVE = "observe";
    PAUSE = "pause";
    PAUSE_ALL = "pause_all";
    PING = "ping";
    PLAN = "plan";
    PROPOSE = "propose";
    PRUNE = "prune";
    PURGE_ARCHIVE = "purge_archive";
    PURGE_CASCADES = "purge_cascades";
    PURGE_CHILDREN = "purge_children";
    PURGE_CUTOFF = "purge_cutoff";
    PURGE_DONE_BEFORE = "purge_done_before";
    PURGE_FOREIGN_KEYS = "purge_foreign_keys";
    PURGE_HOLDS = "purge_holds";
    PURGE_INDEX = "purge_index";
    PURGE_KEY = "purge_key";
    PURGE_NAMES = "purge_names";
    PURGE_PARTITIONS = "purge_partitions";
    PURGE_PLANNER = "purge_planner";
    PURGE_PLANNER_FAMILY = "purge_planner_family";
    PURGE_PLAN_CACHED = "purge_plan_cached";
    PURGE_PRESSURE = "purge_pressure";
    PURGE_REFERENCES = "purge_references";
    PURGE_SAME_NAMES = "purge_same_names";
    PURGE_SCHEMA = "purge_schema";
    PURGE_SIZE = "purge_size";
    PURGE_TARGET = "purge_target";
    PURGE_TRIGGERS = "purge_triggers";
    PURGE_WAL = "purge_wal";
    READ_DEFINITIONS = "read_definitions";
    REJECT = "reject";
    REPLICA_KNOWS = "replica_knows";
    REPLICA_START = "replica_start";
    REQUESTED = "requested";
    RESET_CUTOFF = "reset_cutoff";
    RESET_ROLE = "reset_role";
    RESET_SESSION = "reset_session";
    RESET_TARGET = "reset_target";
    RESOURCE_LOCK = "resource_lock";
    RESUME = "resume";
    RESUME_ALL = "resume_all";
    RUNNING = "running";
    RUNS = "runs";
    RUN_NOW = "run_now";
    RUN_SESSION_SETTINGS = "run_session_settings";
    SCAN = "scan";
    SERVER = "server";
    SKIP = "skip";
    SPLIT = "split";
    SQL_DISCARD = "sql_discard";
    SQL_LIMITS = "sql_limits";
    SQL_READ_ONLY = "sql_read_only";
    SQL_RIGHTS = "sql_rights";
    SQL_TRAMPOLINE = "sql_trampoline";
    TAKE_BACK = "take_back";
    TERMINATE_HOLDER = "terminate_holder";
    TRY_LOCK = "try_lock";
    UNHOLD = "unhold";
    UNLOCK = "unlock";
    UPKEEP_DEBRIS = "upkeep_debris";
    UPKEEP_INDEX = "upkeep_index";
    UPKEEP_INDEXES = "upkeep_indexes";
    UPKEEP_MATVIEW = "upkeep_matview";
    UPKEEP_SIZE = "upkeep_size";
    UPKEEP_TABLES = "upkeep_tables";
    VACUUM_STATE = "vacuum_state";
    WHERE_AM_I = "where_am_i";
    WHY = "why";
}
