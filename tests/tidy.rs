//! Rules of this code base that a program can check, so that no review has to.
//!
//! It reads the source as text and needs neither a database nor a build of what it reads. What is easy to get wrong: a
//! rule that matches nothing passes for ever; so each also counts what it looked at.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What each room of `src/` may import from this crate, besides itself. The arrow goes `edge → runner → kind → protocol`.
const LAYERS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("outside", &["error"]),
    ("events", &[]),
    ("failpoint", &[]),
    ("statements", &[]),
    ("protocol", &["error", "statements", "failpoint", "events"]),
    ("kind", &["protocol", "error", "statements"]),
    ("kinds", &["kind", "outside", "statements", "error"]),
    ("runner", &["protocol", "kind", "events", "error", "statements", "failpoint"]),
    ("testing", &["runner", "protocol", "kind", "error", "statements"]),
    ("edge", &["runner", "protocol", "kind", "events", "error", "statements", "testing", "outside"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file: its path from the root, and its text.
struct File {
    path: String,
    text: String,
}

impl File {
    /// The room that it is in: the first name under `src/`.
    fn room(&self) -> &str {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        path.split(['/', '.']).next().expect("a path has a beginning")
    }

    /// The text without comments and without its tests.
    fn code(&self) -> String {
        let tests = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        let lines = self.text[..tests].lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// All files with this ending under a folder, in order.
fn files(folder: &str, ending: &str) -> Vec<File> {
    let mut folders = vec![root().join(folder)];
    let mut found: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "there are files *.{ending} in {folder}");
    let read = |path: PathBuf| File {
        text: fs::read_to_string(&path).unwrap(),
        path: path.strip_prefix(root()).unwrap().to_string_lossy().into_owned(),
    };
    found.into_iter().map(read).collect()
}

/// Fails with all that is wrong, one a line.
fn assert_none(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}

/// The rooms that a text names after `crate::`, in `use` lines and elsewhere.
fn rooms_named(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        // `$crate::` and `pub(in crate::…)` name rooms too; a name that ends in "crate" does not.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => rooms.extend(heads(list)),
            None => rooms.extend([word(rest)]),
        }
    }
    rooms
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first word of each item of a `{…}` list, whose opening brace is cut off.
fn heads(list: &str) -> Vec<String> {
    let (mut depth, mut start) = (0, true);
    let mut heads = Vec::new();
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            c if start && !c.is_whitespace() => {
                heads.push(word(&list[at..]));
                start = false;
            }
            _ => {}
        }
    }
    heads
}

#[test]
fn imports_are_read_as_they_are_written() {
    let code =
        "use crate::{\n  error::{Error, Result},\n  kind::Kind, statements,\n};\nuse crate::protocol::run;";
    assert_eq!(
        rooms_named(code).into_iter().collect::<Vec<_>>(),
        ["error", "kind", "protocol", "statements"]
    );
}

#[test]
fn each_room_imports_only_what_stands_below_it() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    // The shorthands that lib.rs re-exports.
    let shorthand = |room: &str| matches!(room, "Error" | "ErrorKind" | "Result" | "Registry");
    for file in files("src", "rs") {
        // The composition root and the front page know everybody.
        if matches!(file.path.as_str(), "src/main.rs" | "src/lib.rs") {
            continue;
        }
        let room = file.room();
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{}: the room {room} has no line in LAYERS", file.path));
            continue;
        };
        for named in rooms_named(&file.code()) {
            seen += 1;
            if named != room && !allowed.contains(&named.as_str()) && !shorthand(&named) {
                wrong.push(format!("{}: {room} may not import {named}", file.path));
            }
        }
    }
    assert_none("imports against the layers (docs/architecture.md)", &wrong);
    assert!(seen > 50, "imports were found");
}

#[test]
fn every_file_opens_with_what_it_is() {
    let mut wrong = Vec::new();
    for folder in ["src", "tests"] {
        for file in files(folder, "rs") {
            if !file.text.starts_with("//! ") {
                wrong.push(file.path);
            }
        }
    }
    assert_none("files that do not open with `//!`", &wrong);
}

/// `("CLAIM", "claim")` for each line of the list in statements.rs.
fn statements() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("src/statements.rs")).unwrap();
    let list = &text[text.find("\nstatements! {").expect("the list") + 14..];
    let lines = list.lines().filter_map(|line| line.trim().strip_suffix("\";")?.split_once(" = \""));
    lines.map(|(name, file)| (name.to_owned(), file.to_owned())).collect()
}

#[test]
fn every_statement_is_listed_once_and_used() {
    let listed = statements();
    let names: Vec<&String> = listed.iter().map(|(_, file)| file).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "each is listed once");
    let source = files("src", "rs");
    let used = |what: &str, except: &str| {
        source.iter().any(|file| file.path != except && mentions(&file.code(), what))
    };
    let mut wrong = Vec::new();
    for (name, file) in &listed {
        if *name != file.to_uppercase() {
            wrong.push(format!("{name} is not named after sql/{file}.sql"));
        }
        if !used(name, "src/statements.rs") {
            wrong.push(format!("sql/{file}.sql: nothing uses statements::{name}"));
        }
    }
    for file in files("sql", "sql") {
        let name = Path::new(&file.path).file_stem().unwrap().to_str().unwrap().to_owned();
        // Several statements, sent as a batch: not in the list, which is of single ones.
        if !names.contains(&&name) && !used(&format!("{name}.sql"), "") {
            wrong.push(format!("{}: in nobody's list", file.path));
        }
        if !file.text.starts_with("-- ") {
            wrong.push(format!("{}: does not begin with what it is for", file.path));
        }
    }
    assert_none("statements", &wrong);
}

/// Whether a text has this word, and not only as a part of a longer one.
fn mentions(code: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name)
        .any(|(at, _)| !code[..at].ends_with(part) && !code[at + name.len()..].starts_with(part))
}

#[test]
fn the_program_knows_as_many_migrations_as_there_are() {
    let migrations = files("migrations", "sql");
    assert_eq!(sexton::protocol::control::SCHEMA_LEVEL as usize, migrations.len());
    for (index, file) in migrations.iter().enumerate() {
        assert!(file.path.starts_with(&format!("migrations/V{}__", index + 1)), "{}", file.path);
    }
}

#[test]
fn nobody_waits_for_an_advisory_lock() {
    let mut wrong = Vec::new();
    let all = [files("src", "rs"), files("sql", "sql"), files("migrations", "sql")];
    for file in all.iter().flatten() {
        let code = file.text.lines().filter(|line| !line.trim_start().starts_with(['-', '/']));
        for line in
            code.filter(|line| line.contains("pg_advisory_lock(") || line.contains("pg_advisory_xact_lock("))
        {
            wrong.push(format!("{}: {}", file.path, line.trim()));
        }
    }
    assert_none("a waiter holds a snapshot and deadlocks with CREATE INDEX CONCURRENTLY", &wrong);
}

#[test]
fn failpoints_are_those_that_are_listed() {
    let mut found = BTreeSet::new();
    for file in files("src", "rs").iter().filter(|file| file.path != "src/failpoint.rs") {
        let code = file.code();
        for (at, call) in code.match_indices("failpoint!(\"") {
            let rest = &code[at + call.len()..];
            found.insert(rest[..rest.find('"').expect("a closing quote")].to_owned());
        }
    }
    let listed: BTreeSet<String> = sexton::failpoint::NAMES.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(found, listed);
}
