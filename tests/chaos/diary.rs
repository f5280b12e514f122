//! What a replica itself knows, one JSON object a line: the second history, besides the database's. That is the diary of a
//! replica of the suite's own, and the log of any.
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

/// A line of a replica's log, as far as it is about a run.
#[derive(Deserialize)]
struct Logged {
    message: String,
    run: Uuid,
    outcome: Option<String>,
}

/// Adds what the diaries and the logs in a folder say.
pub fn read_into(history: &mut History, folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let kind = path.extension().and_then(|extension| extension.to_str());
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match kind {
            Some("jsonl") => read_diary(history, &std::fs::read_to_string(path)?),
            Some("log") => read_log(history, &name, &String::from_utf8_lossy(&std::fs::read(path)?)),
            _ => {}
        }
    }
    Ok(())
}

fn read_diary(history: &mut History, text: &str) {
    for line in text.lines() {
        match serde_json::from_str(line) {
            Ok(Read::Token { job, token, run }) => history.tokens.push((job, token, run)),
            Ok(Read::Committed { run, step }) => history.acknowledged.push((run, step)),
            Err(_) => {}
        }
    }
}

/// A replica's log is that of all its starts; what panics say is no JSON.
fn read_log(history: &mut History, replica: &str, text: &str) {
    for Logged { message, run, outcome } in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        if matches!(message.as_str(), "claim.won" | "run.finished") {
            history.told.push((replica.to_owned(), run, outcome));
        }
    }
}
