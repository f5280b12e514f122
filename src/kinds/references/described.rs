//! The kind in its own words: its parameters, and an example.

use crate::kind::Param;

/// A job of this kind, as a file has it.
pub const EXAMPLE: &str = r#"[jobs.team-members]
schedule = "daily 04:00"

[jobs.team-members.references]
table = "app.teams"
columns = ["member_ids", { name = "settings", path = "$.watchers[*].id" }]
valid = "SELECT id FROM app.users"
expired = "SELECT id FROM app.users WHERE expires_at < now()"
editor = "edited_by"
edited_at = "edited_at"
owner = "id"
recipients = "SELECT email FROM app.admins WHERE team_id = :owner"
audit = { table = "app.changes", columns = { team_id = "key", what = "removed", who = "'maintenance'" } }
"#;

/// The table of parameters.
pub const TABLE: &[Param] = &[
    Param {
        name: "table",
        takes: "table name",
        default: "none: it must be given",
        help: "The table, as SQL would name it; it is resolved once, when the job is saved. It needs a primary key.",
    },
    Param {
        name: "columns",
        takes: "column, { name, path, on_dangling, valid, expired }, or a list of these",
        default: "none: it must be given",
        help: "What holds references: an array, jsonb with the `path` of a list, or one id (then `on_dangling` is \"null\" or \"delete\" of the row); `valid` and `expired` here are for this column alone.",
    },
    Param {
        name: "valid",
        takes: "SQL query of one column",
        default: "none: this or `expired` must be given",
        help: "The ids that there are: what is not among them dangles, and is removed.",
    },
    Param {
        name: "expired",
        takes: "SQL query of one column",
        default: "none: this or `valid` must be given",
        help: "The ids whose time is over: what is among them is removed.",
    },
    Param {
        name: "allow_empty",
        takes: "true or false",
        default: "false: an empty `valid` refuses the run",
        help: "Whether `valid` may give no id at all, so that every reference dangles.",
    },
    Param {
        name: "where",
        takes: "SQL predicate",
        default: "every row",
        help: "Which rows are looked at; `:name` stands for a declared input.",
    },
    Param {
        name: "editor",
        takes: "column",
        default: "none: no such column is set",
        help: "A text column to set to 'maintenance' in each changed row.",
    },
    Param {
        name: "edited_at",
        takes: "column",
        default: "none: no such column is set",
        help: "A timestamptz or timestamp (UTC) column to set to the run's now in each changed row.",
    },
    Param {
        name: "owner",
        takes: "column or SQL expression",
        default: "none: no notices",
        help: "Whom a row belongs to: each owner of changed rows gets one notice a run.",
    },
    Param {
        name: "recipients",
        takes: "SQL query of one column",
        default: "none: the notice names the owner alone",
        help: "Where an owner is reached, such as mail addresses; `:owner` stands for the owner.",
    },
    Param {
        name: "audit",
        takes: "{ table, columns }",
        default: "none: `sexton.audit` alone",
        help: "A table of the application's that gets a row for each change; `columns` says what each column is set to: at, run, job, table, key, owner, removed, deleted, or a fixed text in single quotes.",
    },
    Param {
        name: "refuse_above",
        takes: "rows",
        default: "no limit",
        help: "Refuses to change more rows than this, unless an operator approves them.",
    },
    Param {
        name: "max_fraction",
        takes: "fraction from 0 to 1",
        default: "0.5",
        help: "Refuses to remove a larger share of the references than this, unless an operator approves the rows.",
    },
    Param {
        name: "limit_rows",
        takes: "rows",
        default: "no limit",
        help: "Ends the run as succeeded after that many changed rows; the rest waits for the next occurrence.",
    },
    Param {
        name: "time_limit",
        takes: "duration or seconds",
        default: "no limit",
        help: "Ends the run as succeeded after that long.",
    },
    Param {
        name: "batch",
        takes: "rows",
        default: "1000",
        help: "Rows looked at in a batch, from 1 to 100,000.",
    },
    Param {
        name: "pacing",
        takes: "\"gentle\" or \"full\"",
        default: "\"gentle\"",
        help: "Whether batches rest as long as the last one took, or not at all.",
    },
];
