//! `sexton restore`: what lies in a storage, whether it is sound, and bringing it back; archives of purges in `archive`.
//!
//! It reads the storage and writes to the application's tables, and needs no schema `sexton`. What is easy to get wrong: a
//! restore without a word about where writes to the tables that were backed up; so it asks for nothing less than their
//! very shape, and stops at the first row that is there already.

mod archive;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use comfy_table::Cell;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Context, Exit, file, format, output};
use crate::{
    edge::restore::{self, Checked, Choice, Into, Likeness, OnConflict, Restored, Target, Wanted},
    error::{Error, Result},
    outside::{
        backup::{Backup, Manifest, SetManifest},
        storage::OpenStorage,
    },
};

/// What `restore` takes.
#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The backup: the beginning of its id, or `latest`; of an archive, the beginning of a run's id
    #[arg(value_name = "ID")]
    pub(super) id: Option<String>,
    /// Rows that purges kept here, instead of a backup
    #[arg(long, conflicts_with = "file")]
    archive: bool,
    /// The storage that it lies in, by its name in the local file
    #[arg(long, value_name = "NAME")]
    pub(super) storage: String,
    /// The replica's local file, which knows the storage
    #[arg(long, value_name = "FILE", env = "SEXTON_CONFIG")]
    config: Option<PathBuf>,
    /// Only what this job wrote, of an archive with its one-offs
    #[arg(long, value_name = "JOB")]
    pub(super) job: Option<String>,
    /// Only what lies below this prefix
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    pub(super) prefix: String,
    /// Of an archive: only what was archived at this instant or later (`2027-01-01T00:00Z`)
    #[arg(long, value_name = "INSTANT", requires = "archive")]
    pub(super) since: Option<Timestamp>,
    /// Of an archive: only what was archived before this instant
    #[arg(long, value_name = "INSTANT", requires = "archive")]
    pub(super) until: Option<Timestamp>,
    /// List backups, newest first, or the runs of an archive, and do nothing
    #[arg(long, conflicts_with_all = ["verify", "dry_run", "set", "into", "schema", "file", "on_conflict"])]
    pub(super) list: bool,
    /// Read backups whole and compare them with their manifests: the one named, or all; or an archive with its receipts
    #[arg(long, conflicts_with_all = ["dry_run", "set", "into", "schema", "file", "on_conflict"])]
    pub(super) verify: bool,
    /// Only this set, of an archive this table; may be given several times
    #[arg(long, value_name = "SET")]
    pub(super) set: Vec<String>,
    /// Into this table, for one set
    #[arg(long, value_name = "TABLE", conflicts_with_all = ["schema", "file"])]
    into: Option<String>,
    /// Into the tables of the same names in this schema
    #[arg(long, value_name = "SCHEMA", conflicts_with = "file")]
    schema: Option<String>,
    /// Into this file, for one set: as it was exported, unpacked
    #[arg(long, value_name = "PATH", conflicts_with = "on_conflict")]
    file: Option<PathBuf>,
    /// What becomes of rows that are there already [default: fail, of an archive skip]
    #[arg(long, value_name = "ACTION", value_enum)]
    on_conflict: Option<Conflict>,
    /// Say what would be restored, and do not
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Also what is not encrypted, though the storage encrypts what is written now
    #[arg(long, conflicts_with_all = ["list", "verify"])]
    pub(super) unencrypted: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Conflict {
    Fail,
    Skip,
    Replace,
}

impl RestoreArgs {
    /// What becomes of rows that are there already.
    pub(super) fn on_conflict(&self, unsaid: OnConflict) -> OnConflict {
        match self.on_conflict {
            None => unsaid,
            Some(Conflict::Fail) => OnConflict::Fail,
            Some(Conflict::Skip) => OnConflict::Skip,
            Some(Conflict::Replace) => OnConflict::Replace,
        }
    }

    /// Where rows go.
    pub(super) fn into(&self) -> Into {
        match (&self.into, &self.schema) {
            (Some(table), _) => Into::Table(table.clone()),
            (None, Some(schema)) => Into::Schema(schema.clone()),
            (None, None) => Into::Tables,
        }
    }
}

/// How values are read, and no limits: a restore takes as long as it takes.
pub(super) const SETTINGS: &[(&str, &str)] = &[
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("lc_monetary", "C"),
    ("xmloption", "content"),
    ("row_security", "off"),
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
];

pub(super) async fn restore(context: &Context, args: &RestoreArgs) -> Result<Exit> {
    if let Some(exit) = file::read_local(context, args.config.as_deref()) {
        return Ok(exit);
    }
    let storage = OpenStorage::open(&args.storage, &context.outside.contents())?;
    if args.archive {
        return archive::restore(context, &storage, args).await;
    }
    let wanted = Wanted {
        prefix: args.prefix.clone(),
        job: args.job.clone(),
        id: args.id.clone(),
        unencrypted: args.unencrypted,
    };
    let choice = Choice::of(&storage, &wanted).await?;
    if args.list {
        return list(context, &choice);
    }
    if args.verify {
        return verify(context, &storage, choice).await;
    }
    let backup = choice.one(&wanted)?;
    let sets = chosen(&backup, &args.set)?;
    let restored = match &args.file {
        Some(path) => into_file(&storage, &backup, &sets, path, args.dry_run).await?,
        None => into_tables(context, &storage, &backup, &sets, args).await?,
    };
    tell(context, &backup, &restored, args.dry_run)
}

/// The sets that are meant, all if none is named.
fn chosen<'a>(backup: &'a Backup, names: &[String]) -> Result<Vec<&'a SetManifest>> {
    let sets = &backup.manifest.sets;
    for name in names {
        if !sets.iter().any(|set| set.name == *name) {
            let known: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
            return Err(Error::invalid(format!("the backup has no set {name}"))
                .with_remedy(format!("It has: {}.", known.join(", "))));
        }
    }
    Ok(sets.iter().filter(|set| names.is_empty() || names.contains(&set.name)).collect())
}

async fn into_file(
    storage: &OpenStorage,
    backup: &Backup,
    sets: &[&SetManifest],
    path: &std::path::Path,
    dry_run: bool,
) -> Result<Vec<Restored>> {
    let [set] = sets else {
        return Err(Error::invalid(format!("{} sets do not go into one file", sets.len()))
            .with_remedy("name one by --set"));
    };
    if dry_run {
        restore::is_free(path)?;
        let into = path.display().to_string();
        return Ok(vec![Restored { set: set.name.clone(), into, rows: set.rows, written: 0 }]);
    }
    Ok(vec![restore::into_file(storage, backup, set, path).await?])
}

async fn into_tables(
    context: &Context,
    storage: &OpenStorage,
    backup: &Backup,
    sets: &[&SetManifest],
    args: &RestoreArgs,
) -> Result<Vec<Restored>> {
    let (into, on_conflict) = (args.into(), args.on_conflict(OnConflict::Fail));
    let mut session = context.global.connector()?.open("sexton/restore", SETTINGS).await?.client;
    let targets = restore::plan(&session, sets, &into, (on_conflict, Likeness::Same)).await?;
    if args.dry_run {
        return Ok(targets.iter().map(planned).collect());
    }
    restore::into_tables(&mut session, storage, backup, &targets, on_conflict).await
}

fn tell(context: &Context, backup: &Backup, restored: &[Restored], dry_run: bool) -> Result<Exit> {
    let id = backup.manifest.run_id;
    let answer =
        json!({ "backup": id, "taken_at": backup.manifest.taken_at, "dry_run": dry_run, "sets": restored });
    context.output.answer(&answer, |_| {
        let taken = format::utc(backup.manifest.taken_at);
        let mut text = match dry_run {
            true => format!("Would restore backup {id} of {taken}:\n"),
            false => format!("Restored backup {id} of {taken}:\n"),
        };
        text.push_str(&as_table(restored));
        text
    })?;
    Ok(Exit::Done)
}

/// What would go where.
pub(super) fn planned(target: &Target) -> Restored {
    Restored { set: target.set.name.clone(), into: target.table.clone(), rows: target.set.rows, written: 0 }
}

/// What went where.
pub(super) fn as_table(restored: &[Restored]) -> String {
    let mut table = output::table(&["SET", "ROWS", "WRITTEN", "INTO"]);
    for set in restored {
        table.add_row(vec![
            Cell::new(&set.set),
            output::number_cell(set.rows.to_string()),
            output::number_cell(set.written.to_string()),
            Cell::new(&set.into),
        ]);
    }
    output::lines(&table)
}

fn list(context: &Context, choice: &Choice) -> Result<Exit> {
    let mut rows: Vec<Value> = choice.backups.iter().map(as_json).collect();
    rows.extend(choice.unreadable.iter().map(
        |(key, error)| json!({ "backup": null, "manifest": key, "state": "unreadable", "problem": error.to_string() }),
    ));
    context.output.answer(&rows, |_| {
        let mut table = output::table(&["BACKUP", "JOB", "TAKEN AT", "ROWS", "BYTES", "KEY", "STATE"]);
        for backup in &choice.backups {
            let manifest = &backup.manifest;
            table.add_row(vec![
                Cell::new(manifest.run_id),
                Cell::new(&manifest.job),
                Cell::new(format::utc(manifest.taken_at)),
                output::number_cell(manifest.rows().to_string()),
                output::number_cell(manifest.bytes().to_string()),
                Cell::new(key(manifest).unwrap_or("none")),
                Cell::new(state(backup)),
            ]);
        }
        let mut text = output::lines(&table);
        for (key, error) in &choice.unreadable {
            text.push_str(&format!("{key}: {error}\n"));
        }
        text
    })?;
    Ok(Exit::Done)
}

fn key(manifest: &Manifest) -> Option<&str> {
    manifest.encryption.as_ref().map(|encryption| encryption.key.as_str())
}

fn state(backup: &Backup) -> String {
    if backup.is_whole() { "whole".to_owned() } else { format!("lacks {}", backup.missing.join(", ")) }
}

fn as_json(backup: &Backup) -> Value {
    let manifest = &backup.manifest;
    let set = |set: &SetManifest| json!({ "name": set.name, "table": set.table, "format": set.format, "rows": set.rows, "bytes": set.bytes });
    json!({
        "backup": manifest.run_id, "job": manifest.job, "taken_at": manifest.taken_at, "occurrence": manifest.occurrence,
        "folder": backup.folder.path, "rows": manifest.rows(), "bytes": manifest.bytes(), "key": key(manifest), "state": state(backup),
        "sets": manifest.sets.iter().map(set).collect::<Vec<_>>(),
    })
}

async fn verify(context: &Context, storage: &OpenStorage, choice: Choice) -> Result<Exit> {
    let mut verified: Vec<(Backup, Vec<Checked>)> = Vec::new();
    for backup in choice.backups {
        let checked = restore::verify(storage, &backup).await;
        verified.push((backup, checked));
    }
    let is_bad = |checked: &[Checked]| checked.iter().any(|set| set.problem.is_some());
    let bad = verified.iter().any(|(_, checked)| is_bad(checked)) || !choice.unreadable.is_empty();
    let answer: Vec<Value> = verified
        .iter()
        .map(|(backup, checked)| {
            json!({ "backup": backup.manifest.run_id, "good": !is_bad(checked), "sets": checked })
        })
        .collect();
    context.output.answer(&answer, |_| {
        let mut table = output::table(&["BACKUP", "SET", "PROBLEM"]);
        for (backup, checked) in &verified {
            for set in checked {
                let problem = set.problem.as_deref().unwrap_or("none");
                table.add_row(vec![backup.manifest.run_id.to_string().as_str(), &set.set, problem]);
            }
        }
        let mut text = output::lines(&table);
        for (key, error) in &choice.unreadable {
            text.push_str(&format!("{key}: {error}\n"));
        }
        text
    })?;
    Ok(if bad { Exit::Failed } else { Exit::Done })
}
