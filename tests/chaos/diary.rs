//! What a replica itself knows, one JSON object a line: the second history, besides the database's.
//!
//! A line is written in one piece and handed to the kernel before anything else happens, so that a replica that is
//! killed leaves whole lines behind, but perhaps the last.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::Mutex,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::history::History;

/// One line.
#[derive(Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Entry<'a> {
    /// A run began; this is its token for the outside.
    Token { job: &'a str, token: &'a str, run: Uuid },
    /// The database said that this step is committed.
    Committed { run: Uuid, step: i32 },
}

/// A line as it is read back.
#[derive(Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
enum Read {
    Token { job: String, token: String, run: Uuid },
    Committed { run: Uuid, step: i32 },
}

/// Where a replica writes.
pub struct Diary(Option<Mutex<File>>);

impl Diary {
    /// Appends to this file; without one, writes nothing.
    pub fn new(path: Option<PathBuf>) -> Diary {
        let open =
            |path| OpenOptions::new().append(true).create(true).open(path).expect("the diary can be written");
        Diary(path.map(open).map(Mutex::new))
    }

    pub fn note(&self, entry: &Entry<'_>) {
        let Some(file) = &self.0 else { return };
        let mut line = serde_json::to_vec(entry).expect("an entry is JSON");
        line.push(b'\n');
        let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.write_all(&line).expect("the diary can be written");
    }
}

/// Adds what the diaries in a folder say.
pub fn read_into(history: &mut History, folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        for line in std::fs::read_to_string(path)?.lines() {
            match serde_json::from_str(line) {
                Ok(Read::Token { job, token, run }) => history.tokens.push((job, token, run)),
                Ok(Read::Committed { run, step }) => history.acknowledged.push((run, step)),
                Err(_) => {}
            }
        }
    }
    Ok(())
}
