//! The parameters of `before_delete`, each in a sentence.

use crate::kind::Param;

/// The table of parameters.
pub const TABLE: &[Param] = &[
    Param {
        name: "url",
        takes: "URL with columns in braces",
        default: "none: it must be given",
        help: "What is called for a row: {uid} is a column of the row, {target.node} one of its target; percent-encoded, but for the address at the beginning.",
    },
    Param { name: "method", takes: "method of HTTP", default: "DELETE", help: "How it is called." },
    Param {
        name: "auth",
        takes: "{ basic }, { bearer }, { hmac }, { hawk } or { tokenlib }",
        default: "\"none\"",
        help: "How the call proves who sends it, as for the kind http, with secrets by name; claims of a tokenlib token take columns in braces.",
    },
    Param {
        name: "ok",
        takes: "list of statuses and classes",
        default: "[\"2xx\", 404]",
        help: "Which statuses are a success.",
    },
    Param {
        name: "timeout",
        takes: "duration or seconds, up to 10m",
        default: "60s",
        help: "The most that one call may take.",
    },
    Param {
        name: "concurrency",
        takes: "calls, from 1 to 256",
        default: "64",
        help: "Calls at a time, in all.",
    },
    Param {
        name: "per_target",
        takes: "calls, from 1 to 256",
        default: "16",
        help: "Calls at a time to one target: one address.",
    },
    Param {
        name: "retries",
        takes: "calls, from 0 to 10",
        default: "2",
        help: "How often a call that failed in passing is repeated at once, after 250 ms, doubling up to 10 s, with jitter, or as Retry-After says.",
    },
    Param {
        name: "breaker",
        takes: "failures, from 1 to 1000",
        default: "5",
        help: "After so many failures in a row a target is left alone for 30 s, or as Retry-After says; its rows are deferred.",
    },
    Param {
        name: "defer",
        takes: "duration or seconds",
        default: "5m",
        help: "How long a row is left alone after it failed in passing; doubles each time, up to a day, with jitter.",
    },
    Param {
        name: "give_up_after",
        takes: "rounds, from 1 to 1000",
        default: "20",
        help: "After so many rounds in which its call failed, a row is not tried again.",
    },
    Param {
        name: "columns",
        takes: "table of SQL expressions",
        default: "empty",
        help: "Names for expressions over the row, to be used in braces.",
    },
    Param {
        name: "target",
        takes: "{ table, column, key, down }",
        default: "none: all stands in the row",
        help: "The table in which targets stand: `column` of the row is `key` there; where `down`, a column or an SQL condition, is true, rows stay without a call.",
    },
    Param {
        name: "guard",
        takes: "SQL condition",
        default: "none: every row is called for",
        help: "Rows for which it is true when their call would be made go without one.",
    },
    Param {
        name: "force",
        takes: "true or false",
        default: "false",
        help: "Calls targets that are marked as down too.",
    },
    Param {
        name: "override",
        takes: "URL",
        default: "none: each target is called at its own address",
        help: "Called instead of each target's address, as where its data was moved.",
    },
    Param {
        name: "on_delete",
        takes: "SQL statement",
        default: "none: nothing but the row goes",
        help: "Executed in the transaction that deletes, once for each batch; the deleted rows are its table `deleted`.",
    },
];
