//! The examples in the documentation: each is what its page says it is, and would be taken as it stands.
//!
//! A block with a job is a `sexton.toml`, one with other tables a replica's local file, and one without any table goes on
//! where the first block of its page ends.

use std::{collections::BTreeSet, fs, path::PathBuf};

use sexton::{Registry, edge::config::local};

use super::support::read_with_builtins as read;

/// The pages, by their path in the repository.
fn pages() -> Vec<(String, String)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut pages = Vec::new();
    for folder in [".", "docs", "docs/kinds"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                pages.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    pages
}

/// What stands between ```toml and ``` on a page.
fn blocks(page: &str) -> Vec<&str> {
    let mut rest = page;
    std::iter::from_fn(|| {
        let (_, behind) = rest.split_once("```toml\n")?;
        let (block, behind) = behind.split_once("```")?;
        rest = behind;
        Some(block)
    })
    .collect()
}

/// A replica's local file; its secrets are wherever it says.
fn is_local(block: &str) {
    let secrets = tempfile::tempdir().unwrap();
    let mut text = block.to_owned();
    for line in block.lines().filter_map(|line| line.strip_prefix("file = \"")) {
        let (path, name) = (line.trim_end_matches('"'), line.trim_end_matches('"').replace('/', "-"));
        let secret = secrets.path().join(name);
        fs::write(&secret, "a secret").unwrap();
        text = text.replace(path, secret.to_str().unwrap());
    }
    let read = local::parse("replica.toml".as_ref(), &text, &|_| Some("a secret".to_owned()));
    read.unwrap_or_else(|problems| panic!("{problems}\n{block}"));
}

#[test]
fn each_example_in_the_documentation_is_taken_as_it_stands() {
    let mut shown = BTreeSet::new();
    for (name, page) in pages() {
        let blocks = blocks(&page);
        for block in &blocks {
            let file = if block.contains("[jobs.") {
                (*block).to_owned()
            } else if block.lines().any(|line| line.starts_with('[')) {
                is_local(block);
                continue;
            } else {
                format!("{}{block}", blocks[0])
            };
            let config = read(&file).unwrap_or_else(|problems| panic!("{name}: {problems}\n{file}"));
            let kind = name.strip_prefix("docs/kinds/").and_then(|name| name.strip_suffix(".md"));
            shown.extend(
                kind.filter(|kind| config.jobs().iter().any(|job| job.kind() == *kind)).map(str::to_owned),
            );
        }
    }
    let kinds: BTreeSet<String> =
        Registry::with_builtins().iter().map(|kind| kind.name().to_owned()).collect();
    assert_eq!(shown, kinds, "each kind has a page with an example of it");
}
