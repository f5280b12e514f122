//! `sexton restore --archive`: the rows that purges kept in a storage.
//!
//! It needs no schema `sexton`, but asks the one of the database, if there is one, for receipts that a crash kept from the
//! storage. What is easy to get wrong: objects without a receipt are told of and left alone, since the rows of a batch
//! that never committed are still in their table.

use std::collections::BTreeMap;

use comfy_table::Cell;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{RestoreArgs, SETTINGS, as_table, planned};
use crate::{
    edge::{
        cli::{Context, Exit, format, output},
        restore::{
            OnConflict,
            archive::{Meant, bring_back, known, piles, plan, verify},
        },
    },
    error::Result,
    outside::{
        archive::{Archive, Receipt},
        storage::OpenStorage,
    },
};

pub(super) async fn restore(context: &Context, storage: &OpenStorage, args: &RestoreArgs) -> Result<Exit> {
    let meant = Meant {
        prefix: args.prefix.clone(),
        job: args.job.clone(),
        run: args.id.clone(),
        since: args.since,
        until: args.until,
        tables: args.set.clone(),
        unencrypted: args.unencrypted,
    };
    if args.list {
        return list(context, &meant.of(storage, Vec::new()).await?);
    }
    if args.verify {
        return check(context, storage, &meant.of(storage, Vec::new()).await?).await;
    }
    let on_conflict = args.on_conflict(OnConflict::Skip);
    let mut session = context.global.connector()?.open("sexton/restore", SETTINGS).await?.client;
    let archive = meant.of(storage, known(&session).await?).await?;
    meant.permit(storage, &archive)?;
    let plan = plan(&session, piles(&archive)?, &args.into(), on_conflict).await?;
    let restored = match args.dry_run {
        true => plan.iter().map(|(target, _)| planned(target)).collect(),
        false => bring_back(&mut session, storage, &plan, on_conflict).await?,
    };
    let answer = json!({ "dry_run": args.dry_run, "batches": archive.receipts.len(), "sets": restored, "loose": archive.loose });
    context.output.answer(&answer, |_| {
        let said = if args.dry_run { "Would bring back" } else { "Brought back" };
        let batches = archive.receipts.len();
        format!("{said} what {batches} batches archived:\n{}{}", as_table(&restored), loose(&archive))
    })?;
    Ok(Exit::Done)
}

/// Of one run.
struct Line<'a> {
    job: &'a str,
    first: Timestamp,
    last: Timestamp,
    batches: u64,
    rows: BTreeMap<&'a str, u64>,
    bytes: u64,
}

impl<'a> Line<'a> {
    fn add(&mut self, receipt: &'a Receipt) {
        self.last = receipt.archived_at;
        self.batches += 1;
        self.bytes += receipt.bytes();
        for set in &receipt.sets {
            *self.rows.entry(&set.name).or_default() += set.rows;
        }
    }

    fn as_json(&self, run: Uuid) -> Value {
        json!({
            "run": run, "job": self.job, "first": self.first, "last": self.last, "batches": self.batches,
            "rows": self.rows, "bytes": self.bytes,
        })
    }
}

fn list(context: &Context, archive: &Archive) -> Result<Exit> {
    let mut lines: Vec<(Uuid, Line<'_>)> = Vec::new();
    for receipt in &archive.receipts {
        if !lines.iter().any(|(run, _)| *run == receipt.run_id) {
            let (job, at) = (receipt.job.as_str(), receipt.archived_at);
            let line = Line { job, first: at, last: at, batches: 0, rows: BTreeMap::new(), bytes: 0 };
            lines.push((receipt.run_id, line));
        }
        let of_run = lines.iter_mut().filter(|(run, _)| *run == receipt.run_id);
        of_run.for_each(|(_, line)| line.add(receipt));
    }
    let runs: Vec<Value> = lines.iter().map(|(run, line)| line.as_json(*run)).collect();
    let unreadable: Vec<&str> = archive.unreadable.iter().map(|(key, _)| key.as_str()).collect();
    let answer = json!({ "runs": runs, "loose": archive.loose, "unreadable": unreadable });
    context.output.answer(&answer, |_| {
        let mut table = output::table(&["RUN", "JOB", "FIRST", "LAST", "BATCHES", "BYTES", "ROWS"]);
        for (run, line) in &lines {
            let rows: Vec<String> = line
                .rows
                .iter()
                .map(|(table, rows)| format!("{} of {table}", format::count(*rows as i64)))
                .collect();
            table.add_row(vec![
                Cell::new(run),
                Cell::new(line.job),
                Cell::new(format::utc(line.first)),
                Cell::new(format::utc(line.last)),
                output::number_cell(line.batches.to_string()),
                output::number_cell(line.bytes.to_string()),
                Cell::new(rows.join(", ")),
            ]);
        }
        output::lines(&table) + &unread(archive) + &loose(archive)
    })?;
    Ok(Exit::Done)
}

async fn check(context: &Context, storage: &OpenStorage, archive: &Archive) -> Result<Exit> {
    let checked = verify(storage, &archive.receipts).await;
    let bad: Vec<_> = checked.iter().filter(|object| object.problem.is_some()).collect();
    let is_good = bad.is_empty() && archive.unreadable.is_empty();
    let answer = json!({ "good": is_good, "objects": checked, "loose": archive.loose });
    context.output.answer(&answer, |_| {
        let mut text = format!("{} objects, {} of them bad\n", checked.len(), bad.len());
        for object in &bad {
            text.push_str(&format!("{}: {}\n", object.set, object.problem.as_deref().unwrap_or_default()));
        }
        text + &unread(archive) + &loose(archive)
    })?;
    Ok(if is_good { Exit::Done } else { Exit::Failed })
}

fn unread(archive: &Archive) -> String {
    archive.unreadable.iter().map(|(key, error)| format!("{key}: {error}\n")).collect()
}

fn loose(archive: &Archive) -> String {
    match archive.loose.len() {
        0 => String::new(),
        objects => format!(
            "{objects} objects have no receipt: their batches may have been taken back, so they are left alone. The job's next run tells.\n"
        ),
    }
}
