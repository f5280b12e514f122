//! What the built-in kinds say of themselves is true: their examples validate, and the documentation says the same.

use sexton::{Registry, kind::Param};

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

fn row(param: &Param) -> String {
    format!("| `{}` | {} | {} | {} |", param.name, param.takes, param.default, param.help)
}

fn example_of(file: &toml::Table, kind: &str) -> bool {
    file["jobs"].as_table().expect("jobs by name").values().any(|job| job.get(kind).is_some())
}
