//! What the built-in kinds say of themselves is true: their examples validate, and the documentation says the same.

use serde_json::Value;
use sexton::{Registry, kind::Param};

use super::wrong_values;

/// The kinds whose documentation is checked here.
const KINDS: &[&str] = &["backup", "command", "fan_out", "http", "references", "reset", "sql", "upkeep"];

#[test]
fn the_examples_of_the_kinds_validate() {
    let registry = Registry::with_builtins();
    for kind in registry.iter() {
        let example = kind.describe().example.parse::<toml::Table>();
        let file = example.unwrap_or_else(|error| panic!("{}: {error}", kind.name()));
        for (name, job) in file["jobs"].as_table().expect("jobs by name") {
            // An example may need a job of another kind beside it.
            let (job, kinds) = (job.as_table().expect("a job"), registry.iter());
            let found = kinds.filter_map(|kind| Some((kind, job.get(kind.name())?))).collect::<Vec<_>>();
            let [(of, params)] = found.as_slice() else { panic!("{name} is of one kind") };
            let params = serde_json::to_value(params).unwrap();
            of.check(&params).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        assert!(example_of(&file, kind.name()), "{}: the example shows it", kind.name());
    }
}

#[test]
fn the_documentation_says_what_the_kinds_say() {
    let registry = Registry::with_builtins();
    for name in KINDS {
        let kind = registry.get(name).unwrap_or_else(|| panic!("{name} is built in"));
        let page = format!("{}/docs/kinds/{name}.md", env!("CARGO_MANIFEST_DIR"));
        let page = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{page}: {error}"));
        let rows: Vec<String> = kind.describe().params.iter().map(row).collect();
        let documented: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(documented, rows, "docs/kinds/{name}.md should have:\n{}", rows.join("\n"));
        assert!(page.contains(kind.describe().example), "docs/kinds/{name}.md lacks the example");
    }
}

/// What a number may count.
const UNITS: &[&str] = &[
    "rows",
    "bytes",
    "fraction",
    "sessions",
    "one-offs",
    "exit codes",
    "statuses",
    "backups",
    "calls",
    "failures",
    "rounds",
    "seconds",
];

#[test]
fn each_parameter_has_a_default_or_says_why_not_and_a_unit() {
    let registry = Registry::with_builtins();
    for kind in registry.iter() {
        let of_calls = sexton::kinds::purge::BEFORE_DELETE.iter().filter(|_| kind.name() == "purge");
        for param in kind.describe().params.iter().chain(of_calls) {
            let named = format!("{}: {}", kind.name(), param.name);
            let why = param.default.strip_prefix("none").map(|rest| rest.trim_start_matches([':', ' ']));
            assert!(
                !param.default.is_empty() && why != Some(""),
                "{named} has no default, and does not say why"
            );
            assert!(
                param.takes.len() > 2 && param.help.ends_with('.'),
                "{named}: {} {}",
                param.takes,
                param.help
            );
            let has_unit = UNITS.iter().any(|unit| param.takes.contains(unit));
            if values(kind.name(), param.name).iter().any(is_counted) {
                assert!(has_unit, "{named} takes {}, without a unit", param.takes);
            }
            if param.takes.contains("seconds") && param.default.starts_with(|c: char| c.is_ascii_digit()) {
                assert!(param.default.ends_with(|c: char| c.is_alphabetic()), "{named}: {}", param.default);
            }
        }
    }
}

/// The good values of a parameter.
fn values(kind: &str, param: &str) -> Vec<Value> {
    let good = wrong_values::good();
    let of_kind = good.iter().filter(|(name, _)| *name == kind).map(|(_, params)| params);
    let found =
        of_kind.filter_map(|params| params.get(param).or(params.pointer(&format!("/before_delete/{param}"))));
    found.cloned().collect()
}

/// Whether it is a number, or a length of time.
fn is_counted(value: &Value) -> bool {
    match value {
        Value::Number(_) => true,
        Value::String(text) => text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains(':'),
        Value::Array(items) => items.iter().all(Value::is_number),
        Value::Object(fields) => !fields.is_empty() && fields.values().all(Value::is_number),
        Value::Null | Value::Bool(_) => false,
    }
}

fn row(param: &Param) -> String {
    format!("| `{}` | {} | {} | {} |", param.name, param.takes, param.default, param.help)
}

fn example_of(file: &toml::Table, kind: &str) -> bool {
    file["jobs"].as_table().expect("jobs by name").values().any(|job| job.get(kind).is_some())
}
