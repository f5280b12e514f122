//! What the files say, and how their errors look to whoever wrote them.

use serde::Deserialize;

use super::*;
use crate::{
    kind::{Description, Kind, Nature, Param, ParamError, Report, RunContext},
    protocol::run::Stop,
};

/// A kind with the parameters that these tests need.
struct Sweep;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    #[serde(rename = "table")]
    _table: String,
    retention: Option<String>,
    #[serde(rename = "rows")]
    _rows: Option<u64>,
}

const PARAMS: &[Param] = &[
    Param { name: "table", takes: "table name", default: "none", help: "The table." },
    Param { name: "retention", takes: "interval", default: "none", help: "How long rows are kept." },
    Param { name: "rows", takes: "rows", default: "none", help: "How many." },
];

impl Kind for Sweep {
    type Params = Params;

    fn name(&self) -> &'static str {
        "sweep"
    }

    fn describe(&self) -> Description {
        Description { summary: "Sweeps.", nature: Nature::Destructive, params: PARAMS, example: "" }
    }

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        match params.retention.as_deref() {
            Some("") => Err(ParamError::new("retention", "is empty")),
            _ => Ok(()),
        }
    }

    async fn run(&self, _: &mut RunContext, _: Params) -> Result<Report, Stop> {
        unreachable!("nothing runs in these tests")
    }
}

pub(super) fn read(texts: &[(&str, &str)]) -> Result<Config, Problems> {
    let mut registry = Registry::new();
    registry.add(Sweep);
    let texts: Vec<(PathBuf, String)> =
        texts.iter().map(|(path, text)| (path.into(), (*text).into())).collect();
    parse(&texts, &registry, &|name| match name {
        "EMPTY" => Some(String::new()),
        "ROWS" => Some("500".to_owned()),
        _ => None,
    })
}

fn problems(text: &str) -> String {
    read(&[("sexton.toml", text)]).expect_err("something is wrong").to_string()
}

const GOOD: &str = r#"
app = "shop"
generation = 7

[jobs.audit-logs]
schedule = "daily 03:00 Europe/Paris"
timeout = 90
armed = true

[jobs.audit-logs.sweep]
table = "audit_log"
retention = "30 days"
"#;

#[test]
fn a_file_becomes_columns() {
    let config = read(&[("sexton.toml", GOOD)]).expect("it is good");
    assert_eq!((config.app(), config.generation()), ("shop", Some(7)));
    let job = &config.jobs()[0];
    assert!(job.is_armed());
    let column = |name: &str| job.columns()[name].clone();
    assert_eq!(column("schedule"), "daily 03:00");
    assert_eq!(column("time_zone"), "Europe/Paris");
    assert_eq!(column("timeout"), "90 seconds");
    assert_eq!(column("backoff_max"), "1 hour");
    assert_eq!(column("params"), serde_json::json!({"table": "audit_log", "retention": "30 days"}));
}

#[test]
fn resources_are_names_or_tables() {
    let with = |resources: &str| {
        read(&[("a.toml", &GOOD.replacen("armed", &format!("resources = {resources}\narmed"), 1))])
    };
    let config =
        with(r#"["app:42", { name = "backup", shared = true }, { name = "x" }]"#).expect("it is good");
    let wanted = serde_json::json!(["app:42", {"name": "backup", "shared": true}, "x"]);
    assert_eq!(config.jobs()[0].columns()["resources"], wanted);
    for (wrong, label) in [
        (r#""app:42""#, "takes a list such as"),
        ("[7]", "a resource is a name, or a table"),
        (r#"[{ name = "a", share = true }]"#, "unknown key `share`"),
        (r#"[{ shared = true }]"#, "a resource is a name, or a table"),
    ] {
        let problems = with(wrong).expect_err("it is wrong").to_string();
        assert!(problems.contains(label) && problems.contains("a.toml"), "{problems}");
    }
}

#[test]
fn later_files_are_laid_over_earlier_ones_key_by_key() {
    let over = "[jobs.audit-logs.sweep]\nretention = \"90 days\"\n[defaults]\nbackoff = \"1m\"\n";
    let config = read(&[("base.toml", GOOD), ("prod.toml", over)]).expect("it is good");
    let job = &config.jobs()[0];
    assert_eq!(job.columns()["params"], serde_json::json!({"table": "audit_log", "retention": "90 days"}));
    assert_eq!(job.columns()["backoff"], "1 minute");
    insta::assert_snapshot!(show(&config), @r#"
    app = "shop"                             # base.toml:2
    generation = 7                           # base.toml:3

    [jobs.audit-logs]
    schedule = "daily 03:00"                 # base.toml:6
    time_zone = "Europe/Paris"               # base.toml:6
    missed = "once"                          # default
    jitter = "0 seconds"                     # default
    timeout = "90 seconds"                   # base.toml:7
    max_attempts = 3                         # default
    backoff = "1 minute"                     # prod.toml:4
    backoff_max = "1 hour"                   # default
    resume_after = "1 minute"                # default
    priority = 0                             # default
    notices = []                             # default
    inputs = {}                              # default
    resources = []                           # default
    when_held = "wait"                       # default
    shares_table = false                     # default
    max_running = 4                          # default
    armed = true                             # base.toml:8

    [jobs.audit-logs.sweep]
    retention = "90 days"                    # prod.toml:2
    table = "audit_log"                      # base.toml:11
    "#);
}

#[test]
fn what_is_shown_can_be_read_again() {
    let config = read(&[("sexton.toml", GOOD)]).expect("it is good");
    let again = read(&[("shown.toml", &show(&config))]).expect("it is good too");
    assert_eq!(again.jobs()[0].columns(), config.jobs()[0].columns());
}

#[test]
fn all_errors_are_reported_each_with_its_line() {
    let text = r#"
[jobs.audit-logs]
schedul = "daily 03:00"
timeout = "0 seconds"
max_attempts = "3"
table = "x"

[jobs.audit-logs.sweep]
table = "audit_log"
retenton = "30 days"
"#;
    insta::assert_snapshot!(problems(text), @r#"
    error: job audit-logs: unknown key `schedul`
     --> sexton.toml:3:1
      |
    3 | schedul = "daily 03:00"
      | ^^^^^^^ did you mean `schedule`?

    error: job audit-logs: timeout is wrong
     --> sexton.toml:4:11
      |
    4 | timeout = "0 seconds"
      |           ^^^^^^^^^^^ must not be zero

    error: job audit-logs: max_attempts is wrong
     --> sexton.toml:5:16
      |
    5 | max_attempts = "3"
      |                ^^^ takes a whole number, not a string

    error: job audit-logs: unknown key `table`
     --> sexton.toml:6:1
      |
    6 | table = "x"
      | ^^^^^ it belongs into [jobs.audit-logs.sweep]

    error: job audit-logs: sweep has no parameter `retenton`
      --> sexton.toml:10:1
       |
    10 | retenton = "30 days"
       | ^^^^^^^^ did you mean `retention`?
    "#);
}

#[test]
fn the_kinds_own_errors_point_at_the_value_and_name_the_variable() {
    let text = "[jobs.a.sweep]\ntable = \"t\"\nretention = \"${EMPTY}\"\n";
    insta::assert_snapshot!(problems(text), @r#"
    error: job a: params.retention: is empty
     --> sexton.toml:3:13
      |
    3 | retention = "${EMPTY}"
      |             ^^^^^^^^^^
      |
      = note: with ${EMPTY} replaced, the value is ""
      = help: retention takes interval: How long rows are kept.
    "#);
}

#[test]
fn numbers_may_come_from_variables() {
    let text = "[jobs.a]\nmax_attempts = \"${ROWS}\"\n[jobs.a.sweep]\ntable = \"t\"\nrows = \"${ROWS}\"\n";
    let config = read(&[("sexton.toml", text)]).expect("it is good");
    assert_eq!(config.jobs()[0].columns()["max_attempts"], 500);
    assert_eq!(config.jobs()[0].columns()["params"]["rows"], 500);
}

#[test]
fn an_unset_variable_names_itself() {
    insta::assert_snapshot!(problems("[jobs.a.sweep]\ntable = \"${TABLE}\"\n"), @r#"
    error: the variable TABLE is not set and has no default
     --> sexton.toml:2:9
      |
    2 | table = "${TABLE}"
      |         ^^^^^^^^^^
      |
      = help: set it, or give a default: ${NAME:default}
    "#);
}

#[test]
fn schedules_are_underlined_at_the_piece_that_is_wrong() {
    let text = "[jobs.a]\nschedule = \"daily 25:00\"\nmissed = \"twice\"\n[jobs.a.sweep]\ntable = \"t\"\n";
    insta::assert_snapshot!(problems(text), @r#"
    error: job a: schedule: `25:00` is no time of day
     --> sexton.toml:2:19
      |
    2 | schedule = "daily 25:00"
      |                   ^^^^^
      |
      = help: write `daily 03:00` or `daily 15:30 Europe/Paris`

    error: job a: missed: unknown policy for missed runs `twice`
     --> sexton.toml:3:11
      |
    3 | missed = "twice"
      |           ^^^^^
      |
      = help: it is `once`, `skip` or `each(10)`
    "#);
}

#[test]
fn a_job_does_one_thing() {
    insta::assert_snapshot!(problems("[jobs.a]\npriority = 1\n[jobs.b.swep]\n[jobs.c]\nretention = 3\n[jobs.c.sweep]\ntable = \"t\"\n"), @r#"
    error: job a does not say what to do
     --> sexton.toml:1:7
      |
    1 | [jobs.a]
      |       ^ no kind
      |
      = help: add one of: [jobs.a.sweep]

    error: job b: unknown kind `swep`
     --> sexton.toml:3:9
      |
    3 | [jobs.b.swep]
      |         ^^^^ did you mean `sweep`?

    error: job c: unknown key `retention`
     --> sexton.toml:5:1
      |
    5 | retention = 3
      | ^^^^^^^^^ it belongs into [jobs.c.sweep]
    "#);
}

#[test]
fn values_that_no_row_can_hold_are_errors() {
    let text =
        "[jobs.a.sweep]\ntable = \"audit\\u0000log\"\nretention = \"30 days\"\nfraction = nan\nrows = -inf\n";
    let shown = problems(text);
    assert!(shown.contains("cannot store the character U+0000\n --> sexton.toml:2:9"), "{shown}");
    assert!(shown.contains("nan and inf are no numbers here\n --> sexton.toml:4:12"), "{shown}");
    assert!(shown.contains("nan and inf are no numbers here\n --> sexton.toml:5:8"), "{shown}");
}

#[test]
fn what_does_not_parse_is_shown_alone() {
    insta::assert_snapshot!(problems("[jobs.a\nschedule = \n"), @r#"
    error: unclosed table, expected `]`
     --> sexton.toml:1:8
      |
    1 | [jobs.a
      |        ^
    "#);
}

#[test]
fn an_empty_file_is_no_request_to_remove_all_jobs() {
    assert!(problems("app = \"shop\"\n").contains("name no jobs"));
    assert!(read(&[("sexton.toml", "[jobs]\n")]).expect("said so").jobs().is_empty());
}

#[test]
fn durations_are_bounded() {
    for (value, expected) in [
        ("\"\"", "is empty"),
        ("-5", "must not be negative"),
        ("0", "must not be zero"),
        ("\"soon\"", "is no duration"),
        ("true", "takes a duration"),
    ] {
        let text = format!("[jobs.a]\ntimeout = {value}\n[jobs.a.sweep]\ntable = \"t\"\n");
        let found = problems(&text);
        assert!(found.contains(expected), "{value}: {found}");
    }
}

#[test]
fn a_zone_in_the_schedule_goes_before_that_of_the_defaults() {
    let text = "[defaults]\ntime_zone = \"Asia/Tokyo\"\n[jobs.a]\nschedule = \"daily 03:00 Europe/Paris\"\n[jobs.a.sweep]\ntable = \"t\"\n[jobs.b]\nschedule = \"daily 03:00\"\n[jobs.b.sweep]\ntable = \"t\"\n";
    let config = read(&[("sexton.toml", text)]).expect("it is good");
    let zones: Vec<_> = config.jobs().iter().map(|job| job.columns()["time_zone"].clone()).collect();
    assert_eq!(zones, ["Europe/Paris", "Asia/Tokyo"]);
}

#[test]
fn the_reference_has_every_key_with_its_default() {
    let reference = include_str!("../../../docs/file.md");
    let row = |name: &str| {
        let row = reference.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        row.unwrap_or_else(|| panic!("docs/file.md has no row for {name}"))
    };
    for key in keys::COLUMNS.iter().chain([&keys::ARMED]) {
        let default = row(key.name).split(" | ").nth(2).unwrap_or_default();
        let expected = format!("`{}`", key.default);
        assert!(
            default == expected || key.default.is_empty(),
            "{}: {default} instead of {expected}",
            key.name
        );
    }
    keys::TOP.iter().chain(&local::KEYS.iter().map(|key| key.name).collect::<Vec<_>>()).for_each(|name| {
        row(name);
    });
    for (section, keys) in local::outside::NAMED.iter().chain(local::outside::SINGLE) {
        let part =
            reference.split(&format!("| Key of `[{section}")).last().expect("a table for each section");
        let table: Vec<&str> = part.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
        let named: Vec<&str> = table.iter().filter_map(|line| line.split('`').nth(1)).collect();
        assert_eq!(named, *keys, "[{section}] in docs/file.md");
    }
}

#[test]
fn the_reference_begins_with_a_file_that_can_be_read() {
    let reference = include_str!("../../../docs/file.md");
    let example =
        reference.split("```").nth(1).and_then(|block| block.strip_prefix("toml\n")).expect("an example");
    let texts = [("docs/file.md".into(), example.to_owned())];
    let config =
        parse(&texts, &Registry::with_builtins(), &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(
        (config.app(), config.jobs()[0].columns()["time_zone"].as_str()),
        ("shop", Some("Europe/Paris"))
    );
}
