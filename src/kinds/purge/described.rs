//! The parameters of a purge for people: one table, from which `sexton kinds purge`, the documentation and the hints in
//! errors come. What each is read into stands in `params`; a test there holds the two together.

use crate::kind::Param;

/// The table of parameters.
pub const TABLE: &[Param] = &[
    Param {
        name: "table",
        takes: "table name",
        default: "none: needed unless `targets` is given",
        help: "The table, as SQL would name it; it is resolved once, when the job is saved.",
    },
    Param {
        name: "targets",
        takes: "list of { table, … }",
        default: "none: one table",
        help: "Several tables, each with parameters of its own: all of these but `pacing`, `window`, `yield_when`, `yield_for`, `limit_rows` and `time_limit`, which are the job's.",
    },
    Param {
        name: "database",
        takes: "name of a database",
        default: "none: where the job works",
        help: "For one of several `targets`: the other database that its table is in, by the name that replicas' local files give it ([databases.NAME]). For a whole job, `database` stands beside its schedule.",
    },
    Param {
        name: "by",
        takes: "column or SQL expression",
        default: "none: needed unless `expires` is given or `where` has an input",
        help: "The age of a row: timestamptz, timestamp, date, integer (see `unit`) or UUIDv7. A row whose age is NULL is kept.",
    },
    Param {
        name: "unit",
        takes: "\"seconds\" or \"milliseconds\"",
        default: "none: needed if the age is an integer",
        help: "What an integer age counts since 1970.",
    },
    Param {
        name: "retention",
        takes: "interval or seconds",
        default: "none: needed with `by`, unless one of the next two is given",
        help: "How long rows are kept, such as \"30 days\"; months are calendar months. At least 1 hour.",
    },
    Param {
        name: "retention_column",
        takes: "column or SQL expression",
        default: "none: one `retention` for all rows",
        help: "How long each row is kept: an interval of its own. A row whose retention is NULL is kept.",
    },
    Param {
        name: "retention_query",
        takes: "{ query, key }",
        default: "none: one `retention` for all rows",
        help: "How long the rows of each tenant are kept: a SELECT of key and interval, and the column that is the key.",
    },
    Param {
        name: "expires",
        takes: "column or SQL expression",
        default: "none: `by` and `retention` say it",
        help: "Instead of `by` and `retention`: the instant at which a row expires, of the same types. NULL never expires.",
    },
    Param {
        name: "grace",
        takes: "interval or seconds",
        default: "none: no extra time",
        help: "How much longer rows are kept, after their retention or their expiry.",
    },
    Param {
        name: "cutoff",
        takes: "\"now\" or \"midnight\"",
        default: "\"now\"",
        help: "Whether the retention counts back from the run or from the last midnight in `time_zone`.",
    },
    Param {
        name: "time_zone",
        takes: "IANA zone",
        default: "\"UTC\"",
        help: "The zone of midnight, and of age columns that have none.",
    },
    Param {
        name: "where",
        takes: "SQL predicate",
        default: "every old row",
        help: "Which of the old rows; `:name` stands for a declared input.",
    },
    Param {
        name: "keep_last",
        takes: "{ rows, per }",
        default: "none: whatever is old goes",
        help: "So many of the newest rows of each key stay, exactly, whatever their age; `per` lists the key's columns.",
    },
    Param {
        name: "keep_min",
        takes: "rows",
        default: "none: whatever is old goes",
        help: "At least so many of the newest rows of the table stay, whatever their age.",
    },
    Param {
        name: "protect",
        takes: "SQL predicate, or { table, keys }",
        default: "none: nothing but legal holds",
        help: "Which rows stay, whatever their age: those for which it is true, or whose `keys` (columns of both) another table has.",
    },
    Param {
        name: "on_referenced",
        takes: "\"fail\" or \"skip\"",
        default: "\"fail\"",
        help: "When another row still references a row, without a cascade: the run fails, or the row stays.",
    },
    Param {
        name: "children",
        takes: "list of tables, or of { table, … }",
        default: "none: no other rows go first",
        help: "Tables whose rows go before those that they refer to, in the same batch; by foreign key, or by `column` and `parent_column`.",
    },
    Param {
        name: "archive",
        takes: "{ table }, or { storage, format, prefix }",
        default: "none: rows are gone",
        help: "What keeps the rows: a table, to which the statement that deletes them moves each, or a storage, to which each batch is written before it commits.",
    },
    #[cfg(feature = "http")]
    Param {
        name: "before_delete",
        takes: "table, see below",
        default: "none: rows just go",
        help: "Calls an HTTP endpoint for each row, which goes only when the call succeeded.",
    },
    Param { name: "batch", takes: "rows", default: "adaptive", help: "Rows a batch, from 1 to 1,000,000." },
    Param {
        name: "pacing",
        takes: "\"gentle\", \"full\", { rows_per_second = N } or { duty_cycle = SHARE }",
        default: "\"gentle\"",
        help: "Batches of about 5 ms, in slices of less than 1 ms, with a little more rest between (or by rate or share), or of 250 ms without rests.",
    },
    Param {
        name: "window",
        takes: "hours and IANA zone",
        default: "no window",
        help: "The hours in which the purge works, such as \"22:00-05:00 Europe/Paris\"; UTC without a zone.",
    },
    Param {
        name: "yield_when",
        takes: "SQL condition",
        default: "none: what the server shows of its load decides",
        help: "Rests while this is true; asked between batches, at most once a second.",
    },
    Param {
        name: "yield_for",
        takes: "duration or seconds",
        default: "\"5m\"",
        help: "How long a run rests at a stretch for others before it ends, to come back by `resume_after`.",
    },
    Param {
        name: "limit_rows",
        takes: "rows",
        default: "no limit",
        help: "Ends the run as succeeded after that many rows; the rest waits for the next occurrence.",
    },
    Param {
        name: "time_limit",
        takes: "duration or seconds",
        default: "no limit",
        help: "Ends the run as succeeded after that long; the rest waits for the next occurrence.",
    },
    Param {
        name: "refuse_above",
        takes: "rows",
        default: "no limit",
        help: "Refuses if more rows than this are eligible.",
    },
    Param {
        name: "max_fraction",
        takes: "fraction above 0, up to 1",
        default: "0.5",
        help: "Refuses if more than this share of the table is eligible.",
    },
    Param {
        name: "allow_unindexed_fk",
        takes: "true or false",
        default: "false",
        help: "Runs though a foreign key that references the table has no index, which makes each row slow.",
    },
    Param {
        name: "walk",
        takes: "\"auto\", \"index\", \"heap\" or \"partition\"",
        default: "\"auto\"",
        help: "Whether rows are found along the index on the age, in one pass, or go by whole partitions.",
    },
    Param {
        name: "workers",
        takes: "sessions, from 1 to 16",
        default: "1",
        help: "How many sessions delete at a time, each a part of its own; more than 1 need pacing = \"full\".",
    },
    Param {
        name: "straddling",
        takes: "\"rows\" or \"leave\"",
        default: "\"rows\"; \"leave\" with `archive_schema`",
        help: "With walk = \"partition\": whether old rows in partitions that do not go as a whole are deleted, or stay until theirs goes.",
    },
    Param {
        name: "archive_schema",
        takes: "schema name",
        default: "none: partitions are dropped",
        help: "With walk = \"partition\": partitions are moved to this schema instead of being dropped.",
    },
    Param {
        name: "exact_counts",
        takes: "true or false",
        default: "false",
        help: "Counts the rows of a partition before it goes; otherwise the report has an estimate.",
    },
    Param {
        name: "detach",
        takes: "\"plain\" or \"concurrently\"",
        default: "\"plain\"",
        help: "With walk = \"partition\": whether partitions are detached with the fence, or before it and without locks that readers wait for.",
    },
    Param {
        name: "vacuum",
        takes: "\"auto\", \"never\" or \"after\"",
        default: "\"auto\"",
        help: "After the walk, VACUUM (ANALYZE) the table: where autovacuum would come too, not at all, or wherever rows went.",
    },
];
