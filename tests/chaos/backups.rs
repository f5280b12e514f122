//! What lies in a storage after the faults, as a person sees it who needs it: by `sexton restore`.
//!
//! Whatever is presented as a backup must be one: all of it there, byte for byte, and from one snapshot. What is easy to
//! get wrong: half-written ones lie beside them, rightly, until a later run removes them; they must not be presented.

use std::process::Command;

use serde::Deserialize;

use crate::{outside::Outside, process::output, world::Result};

/// A line of `--list --json`.
#[derive(Debug, Deserialize)]
struct Listed {
    backup: Option<String>,
    state: String,
    #[serde(default)]
    sets: Vec<Set>,
}

#[derive(Debug, Deserialize)]
struct Set {
    rows: u64,
}

/// What `sexton restore` says to this.
async fn restore(outside: &Outside, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sexton"));
    command.args(["restore", "--storage", "shelf", "--config"]).arg(&outside.file).args(arguments);
    let output = output(command).await?;
    if !output.status.success() {
        return Err(format!("restore {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The ids of the backups that are presented; an error if one is not what it says.
pub async fn presented(outside: &Outside) -> Result<Vec<String>> {
    let listed: Vec<Listed> = serde_json::from_str(&restore(outside, &["--list", "--json"]).await?)?;
    let mut ids = Vec::new();
    for Listed { backup, state, sets } in listed {
        let id = backup.ok_or_else(|| format!("a manifest is {state}"))?;
        if sets.len() != 2 || sets[0].rows != sets[1].rows {
            return Err(format!("backup {id} is of no one snapshot: {sets:?}").into());
        }
        // A removal that was interrupted leaves one of which something is missing, and that is said.
        if state == "whole" {
            restore(outside, &["--verify", &id]).await?;
            ids.push(id);
        } else if !state.starts_with("lacks ") {
            return Err(format!("backup {id} is {state}").into());
        }
    }
    Ok(ids)
}
