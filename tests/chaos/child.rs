//! The program that jobs of the kind `command` start: it holds a lock of its job, writes a diary, and takes its time.
//!
//! The lock is the kernel's, so that two programs of one job beside each other are seen whoever dies how. What is easy to
//! get wrong: a program that is being killed lets go a moment after its successor was started; hence the same second of
//! patience as the sink has.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use crate::{history::Call, sink::PATIENCE, world::Result};

/// A line of the diary.
#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    token: String,
    at: i64,
    done: bool,
    beside: Option<String>,
}

fn variable(name: &str) -> Result<String> {
    Ok(std::env::var(name).map_err(|_| format!("{name} is not given"))?)
}

/// Takes the folder for diaries, milliseconds, and `polite` or `stubborn`: whether it heeds SIGTERM.
pub async fn run(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let mut next = || arguments.next().ok_or("child FOLDER MILLISECONDS MANNERS");
    let (folder, milliseconds, manners) = (next()?, next()?, next()?);
    let _deaf = (manners == "stubborn").then(|| signal(SignalKind::terminate())).transpose()?;
    let (key, token) = (variable("SEXTON_IDEMPOTENCY_KEY")?, variable("SEXTON_TOKEN")?);
    let job = key.split('/').nth(2).ok_or("a key names the job")?;
    let folder = Path::new(&folder);
    let lock =
        File::options().create(true).truncate(false).write(true).open(folder.join(format!("{job}.lock")))?;
    let holder = folder.join(format!("{job}.holder"));
    let began = Instant::now();
    let mut mine = lock.try_lock().is_ok();
    while !mine && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
        mine = lock.try_lock().is_ok();
    }
    let beside = if mine { None } else { Some(std::fs::read_to_string(&holder).unwrap_or_default()) };
    if mine {
        std::fs::write(&holder, &token)?;
    }
    let diary = folder.join("commands.diary");
    let at = Timestamp::now().as_microsecond();
    let mut line = Line { key, token, at, done: false, beside };
    note(&diary, &line)?;
    tokio::time::sleep(Duration::from_millis(milliseconds.parse()?)).await;
    line.done = true;
    note(&diary, &line)
}

fn note(diary: &Path, line: &Line) -> Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(OpenOptions::new().append(true).create(true).open(diary)?.write_all(&text)?)
}

/// What the programs wrote, one call for each that began.
pub fn calls(folder: &Path) -> Result<Vec<Call>> {
    let mut calls: Vec<Call> = Vec::new();
    let Ok(text) = std::fs::read_to_string(folder.join("commands.diary")) else { return Ok(calls) };
    for line in text.lines() {
        let line: Line = serde_json::from_str(line).map_err(|error| format!("{line:?}: {error}"))?;
        if line.done {
            let began = |call: &&mut Call| call.key == line.key && call.token == line.token;
            calls.iter_mut().find(began).ok_or("a program ended that did not begin")?.acknowledged = true;
            continue;
        }
        let job = line.key.split('/').nth(2).and_then(|job| job.parse().ok()).ok_or("a key names the job")?;
        calls.push(Call {
            kind: "command",
            job,
            key: line.key,
            token: line.token,
            at: line.at,
            acknowledged: false,
            beside: line.beside,
        });
    }
    Ok(calls)
}
