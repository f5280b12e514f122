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
    BACKUP_MOMENT = "backup_moment";
    BACKUP_QUERY_USES = "backup_query_uses";
    BACKUP_TABLES = "backup_tables";
    CANCEL = "cancel";
    CHANNEL_ON = "channel_on";
    CHANNELS = "channels";
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
    FAN_OUT_DONE = "fan_out_done";
    FAN_OUT_TARGET = "fan_out_target";
    FENCE = "fence";
    FINISH = "finish";
    GIVE_ALL = "give_all";
    GIVE_RESOURCE = "give_resource";
    HOLD = "hold";
    HOLD_DEFINITIONS = "hold_definitions";
    HOLDS = "holds";
    HORIZON = "horizon";
    INSTALLATION = "installation";
    JOB = "job";
    JOB_FOR_RUN = "job_for_run";
    JOB_NAMES = "job_names";
    JOB_SCHEDULE = "job_schedule";
    JOBS = "jobs";
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
    NOTE_DELIVERY = "note_delivery";
    NOTE_PROGRESS = "note_progress";
    NOTE_RESOURCES = "note_resources";
    NOTICES = "notices";
    OBSERVE = "observe";
    PAUSE = "pause";
    PAUSE_ALL = "pause_all";
    PING = "ping";
    PLAN = "plan";
    PROPOSE = "propose";
    PRUNE = "prune";
    PURGE_ARCHIVE = "purge_archive";
    PURGE_CARE = "purge_care";
    PURGE_CASCADES = "purge_cascades";
    PURGE_CHILDREN = "purge_children";
    PURGE_CUTOFF = "purge_cutoff";
    PURGE_DETACHED = "purge_detached";
    PURGE_DONE_BEFORE = "purge_done_before";
    PURGE_FLUSH = "purge_flush";
    PURGE_FOREIGN_KEYS = "purge_foreign_keys";
    PURGE_HISTORY = "purge_history";
    PURGE_HOLDS = "purge_holds";
    PURGE_INDEX = "purge_index";
    PURGE_IS_DETACHED = "purge_is_detached";
    PURGE_KEY = "purge_key";
    PURGE_NAMES = "purge_names";
    PURGE_PARTITIONS = "purge_partitions";
    PURGE_PLAN_CACHED = "purge_plan_cached";
    PURGE_PLANNER = "purge_planner";
    PURGE_PLANNER_FAMILY = "purge_planner_family";
    PURGE_PRESSURE = "purge_pressure";
    PURGE_REFERENCES = "purge_references";
    PURGE_SAME_NAMES = "purge_same_names";
    PURGE_SCHEMA = "purge_schema";
    PURGE_SIZE = "purge_size";
    PURGE_TARGET = "purge_target";
    PURGE_TRIGGERS = "purge_triggers";
    PURGE_VACUUM_COST = "purge_vacuum_cost";
    PURGE_WAL = "purge_wal";
    RAISE_ALARMS = "raise_alarms";
    READ_DEFINITIONS = "read_definitions";
    REFERENCES_TARGET = "references_target";
    REJECT = "reject";
    RELATION_COLUMNS = "relation_columns";
    REPLICA_KNOWS = "replica_knows";
    REPLICA_START = "replica_start";
    REQUESTED = "requested";
    RESET_CUTOFF = "reset_cutoff";
    RESET_ROLE = "reset_role";
    RESET_SESSION = "reset_session";
    RESET_TARGET = "reset_target";
    RESOURCES = "resources";
    RESTORE_FOREIGN_KEYS = "restore_foreign_keys";
    RESTORE_SEQUENCES = "restore_sequences";
    RESTORE_TARGETS = "restore_targets";
    RESUME = "resume";
    RESUME_ALL = "resume_all";
    RUN_NOW = "run_now";
    RUN_SESSION_SETTINGS = "run_session_settings";
    RUNNING = "running";
    RUNS = "runs";
    SCAN = "scan";
    SEARCH_PATH = "search_path";
    SERVER = "server";
    SKIP = "skip";
    SPLIT = "split";
    SQL_DISCARD = "sql_discard";
    SQL_LIMITS = "sql_limits";
    SQL_READ_ONLY = "sql_read_only";
    SQL_RIGHTS = "sql_rights";
    SQL_TRAMPOLINE = "sql_trampoline";
    SUBMIT = "submit";
    SUBMIT_ROWS = "submit_rows";
    TAKE_BACK = "take_back";
    TAKE_DELIVERIES = "take_deliveries";
    TAKE_RESOURCES = "take_resources";
    TERMINATE_HOLDER = "terminate_holder";
    TRY_LOCK = "try_lock";
    TYPE_NAME = "type_name";
    UNHOLD = "unhold";
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
