//! What is removed after a backup, and what a dry run says would be: backups that no rule keeps, and half-written ones.
//!
//! What is easy to get wrong: the newest backup of which nothing is missing always stays, whatever the rules say; and what
//! belongs to another installation, or cannot be read, is nobody's to remove.

use serde_json::{Value, json};

use super::{outside, params::Params};
use crate::{
    kind::{RunContext, Stop},
    outside::{
        backup::{Backup, Debris, Shelf, kept, parse_token},
        storage::{OpenStorage, Put},
    },
};

/// What there is to remove.
pub struct Plan {
    shelf: Shelf,
    /// Backups that no rule keeps.
    pub backups: Vec<Backup>,
    /// Folders without a backup.
    pub debris: Vec<Debris>,
    /// Backups that stay.
    pub kept: usize,
    /// Manifests that cannot be read, and why: they stay.
    pub unreadable: Vec<String>,
}

/// Looks at what lies in the storage.
///
/// # Errors
/// If the storage refuses or does not answer, or the run must stop.
///
/// # Cancel safety
/// Safe.
pub async fn plan(context: &mut RunContext, storage: &OpenStorage, params: &Params) -> Result<Plan, Stop> {
    let (job, install) = (context.job().to_owned(), context.install_id());
    let token = parse_token(&context.token()).unwrap_or_default();
    let shelf = outside(context, Shelf::of(storage, &params.prefix, Some(&job))).await?;
    let (mut backups, unreadable) = outside(context, shelf.backups()).await?;
    backups.retain(|backup| backup.manifest.install_id == install && backup.manifest.job == job);
    let debris = outside(context, shelf.debris(install, token)).await?;
    let unreadable = unreadable.into_iter().map(|(key, error)| format!("{key}: {error}")).collect();
    let all = backups.len();
    if let Some(keep) = params.keep {
        let newest_whole = backups.iter().position(Backup::is_whole);
        let instants: Vec<_> = backups.iter().map(|backup| backup.manifest.taken_at).collect();
        let mut stay = kept(keep, &instants);
        stay.extend(newest_whole);
        let mut index = 0..;
        backups.retain(|_| index.next().is_some_and(|index| !stay.contains(&index)));
    } else {
        backups.clear();
    }
    Ok(Plan { shelf, kept: all - backups.len(), backups, debris, unreadable })
}

impl Plan {
    /// Removes it.
    ///
    /// # Errors
    /// As [`plan`].
    ///
    /// # Cancel safety
    /// A later run goes on with it.
    pub async fn carry_out(&mut self, context: &mut RunContext) -> Result<(), Stop> {
        let (by, now) = (context.run_id(), context.now());
        for backup in &self.backups {
            context.ping().await?;
            outside(context, self.shelf.remove(backup)).await?;
        }
        let mut removed = Vec::new();
        for debris in &self.debris {
            context.ping().await?;
            if outside(context, self.shelf.remove_debris(debris, by)).await? == Put::Created {
                removed.push(debris.clone());
            }
        }
        self.debris = removed;
        outside(context, self.shelf.sweep_abandoned(now)).await
    }

    /// As a report has it.
    pub fn to_json(&self) -> Value {
        let backups: Vec<&str> = self.backups.iter().map(|backup| backup.folder.path.as_str()).collect();
        let debris: Vec<&str> = self.debris.iter().map(|debris| debris.folder.path.as_str()).collect();
        json!({ "backups": backups, "half_written": debris })
    }
}
