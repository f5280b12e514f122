//! Values that mean nothing, put into every place of every kind's params: what is empty, there twice, negative or of
//! another shape is refused when the job is saved, at its place.
//!
//! What is easy to get wrong: a parameter that no job here has is not tried, so the jobs must have all that there are.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sexton::{Registry, kind::Registered};

/// Good params of each kind; together they have every parameter.
pub fn good() -> Vec<(&'static str, Value)> {
    let aged = |more: Value| merged(json!({"table": "t", "by": "at", "retention": "30 days"}), more);
    let sets =
        json!([{"table": "a.t", "where": "x > 1"}, {"name": "q", "query": "SELECT 1 AS x", "format": "csv"}]);
    let columns =
        json!(["ids", {"name": "doc", "path": "$.list[*].id", "valid": "SELECT 1", "expired": "SELECT 2"}]);
    let call = json!({
        "url": "https://{target.host}/x/{id}?y={short}", "method": "DELETE", "auth": {"basic": {"user": "u", "password": "secret:a"}},
        "ok": ["2xx", 404], "timeout": "10s", "concurrency": 2, "per_target": 1, "retries": 1, "breaker": 1, "defer": "1m",
        "give_up_after": 1, "columns": {"short": "left(id, 2)"}, "target": {"table": "n", "column": "n", "key": "id", "down": "is_down"},
        "guard": "active", "force": false, "on_delete": "UPDATE n SET c = c - 1"
    });
    vec![
        (
            "backup",
            json!({"storage": "s", "prefix": "p/q", "sets": sets, "keep": {"last": 1, "daily": 7, "weekly": 4}}),
        ),
        ("command", json!({"command": "c", "params": {"tenant": "x"}, "success_codes": [0, 3]})),
        (
            "fan_out",
            json!({"query": "SELECT 1 AS a", "key": "a", "job": "j", "batch": 5, "max_pending": 7, "wait": true}),
        ),
        (
            "http",
            json!({"url": "https://a.example.com", "method": "GET", "query": {"a": "b"}, "headers": {"A": "b"}, "body": "x",
            "auth": {"hmac": ["secret:a", "secret:b"]}, "ok": ["2xx", 404], "timeout": "2m"}),
        ),
        (
            "http",
            json!({"endpoint": "e", "path": "p", "auth": {"tokenlib": {"secret": "secret:a", "token": {"uid": 1}}}}),
        ),
        (
            "purge",
            aged(
                json!({"unit": "seconds", "grace": "1 day", "cutoff": "midnight", "time_zone": "Europe/Paris",
            "where": "x", "keep_last": {"rows": 3, "per": ["a", "b"]}, "keep_min": 3, "protect": {"table": "h", "keys": ["a", "b"]},
            "on_referenced": "skip", "children": ["c", {"table": "d", "column": ["x", "y"], "parent_column": ["x", "y"], "parent": "c",
            "protect": "held", "archive": {"table": "da"}}], "archive": {"table": "ta"}, "batch": 10, "pacing": {"duty_cycle": 0.5},
            "window": "22:00-05:00 UTC", "yield_when": "busy()", "yield_for": "1m", "limit_rows": 5, "time_limit": "1h", "refuse_above": 9,
            "max_fraction": 0.4, "allow_unindexed_fk": true, "walk": "index", "exact_counts": false, "vacuum": "never"}),
            ),
        ),
        (
            "purge",
            aged(
                json!({"walk": "partition", "archive_schema": "old", "detach": "concurrently", "straddling": "leave"}),
            ),
        ),
        ("purge", aged(json!({"pacing": "full", "workers": 2}))),
        ("purge", aged(json!({"before_delete": call}))),
        ("purge", json!({"table": "t", "by": "at", "retention_column": "kept"})),
        (
            "purge",
            json!({"table": "t", "by": "at", "retention_query": {"query": "SELECT 1, '1 day'::interval", "key": "tenant"}}),
        ),
        ("purge", json!({"table": "t", "expires": "until", "protect": "held"})),
        (
            "purge",
            json!({"targets": [{"table": "t", "expires": "until"}, {"table": "u", "expires": "until"}]}),
        ),
        ("purge", json!({"targets": [{"table": "t", "expires": "until", "database": "shard"}]})),
        (
            "references",
            json!({"table": "t", "columns": columns, "valid": "SELECT 1", "expired": "SELECT 2", "allow_empty": true,
            "where": "x", "editor": "e", "edited_at": "ea", "owner": "o", "recipients": "SELECT m FROM a WHERE t = :owner",
            "audit": {"table": "au", "columns": {"a": "owner"}}, "refuse_above": 5, "max_fraction": 0.5, "limit_rows": 7,
            "time_limit": "5m", "batch": 100, "pacing": "full"}),
        ),
        (
            "references",
            json!({"table": "t", "columns": {"name": "lead", "on_dangling": "delete"}, "valid": "SELECT 1"}),
        ),
        (
            "reset",
            json!({"table": "t", "column": "s", "from": ["a", "b"], "to": "c", "since": "at", "after": "1 hour", "where": "x",
            "set": {"e": "f"}, "touch": "at", "batch": 10, "limit_rows": 10}),
        ),
        (
            "sql",
            json!({"statement": "SELECT 1", "expect": {"min": 1, "max": 2}, "statement_timeout": "1m", "lock_timeout": "1s", "keep_rows": 5}),
        ),
        (
            "sql",
            json!({"statement": "DELETE FROM t", "repeat": true, "pacing": "full", "limit_rows": 5, "time_limit": "1m"}),
        ),
        (
            "upkeep",
            json!({"tables": ["a", "b"], "actions": ["vacuum", "reindex"], "dead_rows": 10, "dead_fraction": 0.1,
            "vacuumed_before": "7 days", "bloat_fraction": 0.5, "index_bytes": 100, "refresh": ["v", "w"], "time_limit": "1h",
            "create_indexes": [{"table": "a", "name": "i", "on": "(x)", "unique": true}]}),
        ),
    ]
}

/// What means something though it is empty, zero, or there twice.
const MEANT: &[&str] = &[
    // A state, a value of a column or of a program's argument, or what is sent may be an empty text.
    "reset /from/0 \"\"",
    "reset /from/0 \" \"",
    "reset /from/1 \"\"",
    "reset /from/1 \" \"",
    "reset /to \"\"",
    "reset /to \" \"",
    "reset /set/e \"\"",
    "reset /set/e \" \"",
    "command /params/tenant \"\"",
    "command /params/tenant \" \"",
    "http /query/a \"\"",
    "http /query/a \" \"",
    "http /headers/A \"\"",
    "http /headers/A \" \"",
    "http /body \"\"",
    "http /body \" \"",
    "http /auth/tokenlib/token/uid -1",
    "http /auth/tokenlib/token/uid 0",
    // At the storage's own prefix.
    "backup /prefix \"\"",
    // None of these; nothing is asked of them.
    "upkeep /refresh []",
    "upkeep /create_indexes []",
    "upkeep /dead_rows 0",
    "upkeep /dead_fraction 0",
    "upkeep /index_bytes 0",
    "backup /keep/last 0",
    "backup /keep/daily 0",
    "backup /keep/weekly 0",
    "purge /before_delete/retries 0",
    "sql /expect/min 0",
    // A user without a name, as RFC 7617 allows; several rules for one table.
    "purge /before_delete/auth/basic/user \"\"",
    "purge /before_delete/auth/basic/user \" \"",
    "purge /targets [{\"database\":\"shard\",\"expires\":\"until\",\"table\":\"t\"},{\"database\":\"shard\",\"expires\":\"until\",\"table\":\"t\"}]",
    "purge /targets [{\"expires\":\"until\",\"table\":\"t\"},{\"expires\":\"until\",\"table\":\"u\"},{\"expires\":\"until\",\"table\":\"t\"}]",
];

/// Where an author's SQL stands.
const SQL: &[&str] = &[
    "backup /sets/0/where",
    "backup /sets/1/query",
    "fan_out /query",
    "purge /where",
    "purge /children/1/protect",
    "purge /yield_when",
    "purge /before_delete/columns/short",
    "purge /before_delete/guard",
    "purge /before_delete/on_delete",
    "purge /retention_query/query",
    "purge /protect",
    "references /columns/1/valid",
    "references /columns/1/expired",
    "references /valid",
    "references /expired",
    "references /where",
    "references /recipients",
    "reset /where",
    "sql /statement",
    "upkeep /create_indexes/0/on",
];

fn merged(mut one: Value, other: Value) -> Value {
    let (Some(all), Value::Object(more)) = (one.as_object_mut(), other) else { panic!("two tables") };
    all.extend(more);
    one
}

/// What could stand wrongly in the place of a value.
fn instead(value: &Value) -> Vec<Value> {
    match value {
        Value::String(_) => vec![json!(""), json!(" ")],
        Value::Number(_) => vec![json!(-1), json!(0)],
        Value::Array(items) => {
            let twice = items.iter().chain(items.first()).cloned().collect();
            vec![json!([]), Value::Array(twice)]
        }
        Value::Object(_) => vec![json!([]), json!([1])],
        Value::Null | Value::Bool(_) => Vec::new(),
    }
}

/// The places of all values.
fn places(value: &Value, path: &str, found: &mut Vec<String>) {
    let within: Vec<(String, &Value)> = match value {
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect()
        }
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), field)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in within {
        let path = format!("{path}/{name}");
        places(value, &path, found);
        found.push(path);
    }
}

fn passing(kind: &Registered, params: &Value) -> Vec<String> {
    kind.check(params).unwrap_or_else(|error| panic!("{}: {error} in {params}", kind.name()));
    let (mut all, mut passing) = (Vec::new(), Vec::new());
    places(params, "", &mut all);
    for place in all {
        let at = params.pointer(&place).expect("a place");
        for wrong in instead(at).into_iter().filter(|wrong| wrong != at) {
            let mut params = params.clone();
            *params.pointer_mut(&place).expect("a place") = wrong.clone();
            let param = place.split('/').nth(1).unwrap_or_default();
            match kind.check(&params) {
                Ok(()) => passing.push(format!("{} {place} {wrong}", kind.name())),
                Err(error) if error.to_string().contains(param) => {}
                Err(error) => {
                    passing.push(format!("{} {place} {wrong}: {error} does not name it", kind.name()))
                }
            }
        }
    }
    passing
}

#[test]
fn what_means_nothing_is_refused_when_a_job_is_saved() {
    let registry = Registry::with_builtins();
    let good = good();
    let mut found = BTreeSet::new();
    for kind in registry.iter() {
        let of_kind = || good.iter().filter(|(name, _)| *name == kind.name()).map(|(_, params)| params);
        for param in kind.describe().params {
            assert!(
                of_kind().any(|params| [params, &params["targets"][0]]
                    .iter()
                    .any(|of| of.get(param.name).is_some())),
                "{}: no job has {}",
                kind.name(),
                param.name
            );
        }
        found.extend(of_kind().flat_map(|params| passing(kind, params)));
    }
    let meant: BTreeSet<String> = MEANT.iter().map(|line| (*line).to_owned()).collect();
    let wrong: Vec<&String> = found.difference(&meant).collect();
    assert_eq!(wrong, Vec::<&String>::new(), "these pass");
    let stale: Vec<&String> = meant.difference(&found).collect();
    assert_eq!(stale, Vec::<&String>::new(), "these are refused after all");
}

#[test]
fn sql_that_is_not_closed_is_refused_when_a_job_is_saved() {
    let registry = Registry::with_builtins();
    for (name, params) in good() {
        let kind = registry.get(name).expect("it is built in");
        for place in SQL.iter().filter_map(|place| place.strip_prefix(&format!("{name} "))) {
            let mut params = params.clone();
            let Some(Value::String(text)) = params.pointer_mut(place) else { continue };
            text.push_str(" || 'x");
            let error = kind.check(&params).expect_err(place).to_string();
            assert!(error.contains("is not closed"), "{name} {place}: {error}");
        }
    }
    let tried = |place: &&&str| {
        let (name, place) = place.split_once(' ').expect("a kind and a place");
        good()
            .iter()
            .any(|(kind, params)| *kind == name && params.pointer(place).is_some_and(Value::is_string))
    };
    assert_eq!(
        SQL.iter().filter(|place| !tried(place)).collect::<Vec<_>>(),
        Vec::<&&str>::new(),
        "no job has these"
    );
}

#[test]
fn what_cannot_be_a_name_in_a_local_file_is_refused_when_a_job_is_saved() {
    let registry = Registry::with_builtins();
    for (name, place) in
        [("backup", "/storage"), ("command", "/command"), ("fan_out", "/job"), ("http", "/endpoint")]
    {
        let good = good();
        let of_kind = good.iter().find(|(kind, params)| *kind == name && params.pointer(place).is_some());
        let mut params = of_kind.expect(name).1.clone();
        *params.pointer_mut(place).expect("a place") = json!("off site");
        let error = registry.get(name).expect("it is built in").check(&params).expect_err(name);
        assert!(error.to_string().starts_with(&format!("params.{}: ", &place[1..])), "{error}");
    }
}

#[test]
fn a_file_with_such_a_value_is_refused_at_its_place_with_a_remedy() {
    let registry = Registry::with_builtins();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sexton.toml");
    let reset = "table = \"t\"\ncolumn = \"s\"\nfrom = \"a\"\nto = \"b\"\nsince = \"at\"\nafter = \"1h\"\n";
    for (job, parts) in [
        (
            "[jobs.j.backup]\nstorage = \"s\"\nsets = [{ table = \"t\" }]\nkeep = [1]".to_owned(),
            ["job j: params.keep: takes a table with last, daily", ":4:8", "help: keep takes { last, daily"],
        ),
        (
            "[jobs.j.upkeep]\ntables = [\"t\", \"\"]".to_owned(),
            ["job j: params.tables[1]: is empty", ":2:16", "help: tables takes list of table names"],
        ),
        (
            "[jobs.j.upkeep]\nrefresh = [\"v\", \"v\"]".to_owned(),
            ["job j: params.refresh[1]: \"v\" is there twice", ":2:17", "help: refresh takes list"],
        ),
        (
            format!("[jobs.j.reset]\n{reset}touch = \"\""),
            ["job j: params.touch: is empty", ":8:9", "help: touch takes column"],
        ),
        (
            "[jobs.j.purge]\ntable = \"t\"\nby = \"at\"\nretention = \"1 day\"\ntime_zone = \"Mars\""
                .to_owned(),
            ["job j: params.time_zone: \"Mars\" is no zone", ":5:13", "help: time_zone takes IANA zone"],
        ),
        (
            "[jobs.j]\ninputs = { tenant = \"money\" }\n[jobs.j.sql]\nstatement = \"SELECT :tenant\""
                .to_owned(),
            ["job j: inputs is wrong", ":2:10", "type \"money\" is not one of text, bigint"],
        ),
    ] {
        std::fs::write(&file, &job).unwrap();
        let shown =
            sexton::edge::config::load(std::slice::from_ref(&file), &registry).expect_err(&job).to_string();
        for part in parts {
            assert!(shown.contains(part), "{shown}\ndoes not say {part}");
        }
    }
}
