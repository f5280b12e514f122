//! The rows of a backup into their tables, in one transaction.
//!
//! What is easy to get wrong: the sum of an object is known only when its last byte was read, and by then its rows are in
//! the table; nothing is committed before all sums were compared.

use bytes::Bytes;
use futures_util::{SinkExt, pin_mut};
use tokio_postgres::{Client, Transaction};

use super::{OnConflict, Restored, Target, decode::Decoder, rotten};
use crate::{
    error::{Error, ErrorKind, Result},
    outside::{
        backup::{Backup, Format, Lines, SetManifest, Verified, difference, verify_set},
        storage::OpenStorage,
    },
    statements,
};

/// Restores sets into their tables, as planned, and moves their sequences on.
///
/// # Errors
/// [`ErrorKind::Refused`] if rows are in the way or missing; [`ErrorKind::Outside`] if the storage does not answer or what
/// it holds is not what the manifest says; whatever the database reports. In any case no row was restored.
///
/// # Cancel safety
/// Dropping the future takes all rows back.
pub async fn into_tables(
    session: &mut Client,
    storage: &OpenStorage,
    backup: &Backup,
    targets: &[Target],
    on_conflict: OnConflict,
) -> Result<Vec<Restored>> {
    let transaction = session.transaction().await?;
    transaction.batch_execute("SET CONSTRAINTS ALL DEFERRED").await?;
    let mut restored = Vec::new();
    for target in targets {
        let written = one(&transaction, storage, backup, target, on_conflict).await.map_err(|error| {
            let subject = format!("set {}", target.set.name);
            if error.subject().is_some() { error } else { error.about(subject) }
        })?;
        let (set, into) = (target.set.name.clone(), target.table.clone());
        restored.push(Restored { set, into, rows: target.set.rows, written });
    }
    for target in targets {
        advance(&transaction, target).await?;
    }
    transaction.commit().await.map_err(|error| in_the_way(error.into()))?;
    Ok(restored)
}

async fn one(
    transaction: &Transaction<'_>,
    storage: &OpenStorage,
    backup: &Backup,
    target: &Target,
    on_conflict: OnConflict,
) -> Result<u64> {
    let staged = on_conflict != OnConflict::Fail;
    if staged {
        transaction.batch_execute(&target.stage()).await?;
    }
    let object = Object { folder: &backup.folder.path, set: &target.set };
    let copied = copy(transaction, storage, object, target, on_conflict).await?;
    if !staged {
        return Ok(copied);
    }
    let written = transaction.execute(&target.settle(on_conflict), &[]).await;
    let written = written.map_err(|error| in_the_way(error.into()))?;
    transaction.batch_execute(&Target::drop_stage()).await?;
    Ok(written)
}

/// An object with rows of a set.
#[derive(Clone, Copy)]
pub(super) struct Object<'a> {
    /// The folder that it lies in.
    pub(super) folder: &'a str,
    /// What it is to be.
    pub(super) set: &'a SetManifest,
}

/// Copies the rows of an object into a table, or into its stage.
pub(super) async fn copy(
    transaction: &Transaction<'_>,
    storage: &OpenStorage,
    object: Object<'_>,
    target: &Target,
    on_conflict: OnConflict,
) -> Result<u64> {
    match pour(transaction, storage, object, target, on_conflict).await {
        Ok(copied) => Ok(copied),
        // Rows that the table does not take may be rot.
        Err(error) => match verify_set(storage, object.folder, object.set).await {
            Verified::Good => Err(in_the_way(error)),
            Verified::Bad(problem) => Err(rotten(object.set, &problem)),
        },
    }
}

async fn pour(
    transaction: &Transaction<'_>,
    storage: &OpenStorage,
    Object { folder, set }: Object<'_>,
    target: &Target,
    on_conflict: OnConflict,
) -> Result<u64> {
    let mut content = storage.open_object(&format!("{folder}/{}", set.object)).await?;
    let sink = transaction.copy_in::<_, Bytes>(&target.copy(on_conflict)).await?;
    pin_mut!(sink);
    let mut lines = Lines::new(set.format);
    let mut decoder = Decoder::new(set);
    while let Some(chunk) = content.next().await? {
        lines.update(&chunk);
        let rows = match set.format {
            Format::Csv => chunk,
            Format::Jsonl => decoder.update(&chunk)?.into(),
        };
        sink.send(rows).await?;
    }
    let copied = sink.finish().await?;
    let digest = content.finish().await?;
    match difference(set, digest.bytes(), &digest.sha256(), lines.rows()) {
        Some(problem) => Err(rotten(set, &problem)),
        None => Ok(copied),
    }
}

/// Moves the sequences of a table beyond its rows.
pub(super) async fn advance(transaction: &Transaction<'_>, target: &Target) -> Result<()> {
    for row in transaction.query(statements::RESTORE_SEQUENCES, &[&target.oid]).await? {
        let sql = target.advance(row.get("column"), row.get("sequence"), row.get("descending"));
        transaction.query(&sql, &[]).await?;
    }
    Ok(())
}

/// Rows that are there already, or are missed by others: what helps.
pub(super) fn in_the_way(error: Error) -> Error {
    let remedy = match error.sqlstate() {
        Some("23505") => {
            "nothing was restored; --on-conflict skip leaves rows that are there, replace overwrites them"
        }
        Some("23503") => "nothing was restored; restore the rows that these refer to with them, or first",
        _ => return error,
    };
    Error::new(ErrorKind::Refused, error.to_string()).with_remedy(remedy)
}
