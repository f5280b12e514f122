//! Rows that a purge kept in a storage: which are meant, and their way back into tables.
//!
//! All of it is one transaction. What is easy to get wrong: the same row may be there several times, if it was brought
//! back and purged again; so what was archived last comes first where rows that are there are left, and last where they
//! are replaced. A table without a primary key takes as many equal rows as the archive has, less those it has already.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::{Client, Transaction};

use super::{
    Checked, Into, Likeness, OnConflict, Restored, Target,
    load::{Object, advance, copy, in_the_way},
};
use crate::{
    error::{Error, ErrorKind, Result},
    outside::{
        archive::{Archive, Receipt},
        backup::{SetManifest, Verified, not_encrypted, verify_set},
        storage::OpenStorage,
    },
    statements,
};

/// Which rows are meant.
#[derive(Clone, Debug, Default)]
pub struct Meant {
    /// Below this prefix; empty means all of the storage.
    pub prefix: String,
    /// Of this job; none means any.
    pub job: Option<String>,
    /// Of the run whose id begins so; none means all.
    pub run: Option<String>,
    /// Archived at this instant or later.
    pub since: Option<Timestamp>,
    /// Archived before this instant.
    pub until: Option<Timestamp>,
    /// Of these tables; empty means all.
    pub tables: Vec<String>,
    /// Also what is not encrypted, where the storage encrypts what is written now.
    pub unencrypted: bool,
}

const LIST: &str = "`sexton restore --storage NAME --archive --list` shows what is there";

impl Meant {
    /// Looks for it. `known` are receipts that the database has.
    ///
    /// # Errors
    /// If the storage does not answer.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn of(&self, storage: &OpenStorage, known: Vec<Receipt>) -> Result<Archive> {
        let mut archive = Archive::of(storage, &self.prefix, self.job.as_deref(), known).await?;
        archive.receipts.retain_mut(|receipt| {
            receipt.sets.retain(|set| self.tables.is_empty() || self.tables.contains(&set.name));
            self.holds(receipt)
        });
        Ok(archive)
    }

    /// Whether what was found may be believed.
    ///
    /// # Errors
    /// [`ErrorKind::Outside`] if a receipt cannot be read or was altered, [`ErrorKind::Refused`] if rows should be encrypted
    /// and are not.
    pub fn permit(&self, storage: &OpenStorage, archive: &Archive) -> Result<()> {
        if let Some((key, error)) = archive.unreadable.first() {
            return Err(Error::new(ErrorKind::Outside, error.to_string()).about(key.clone()));
        }
        let encrypts = storage.keys().present_id().is_some() && !self.unencrypted;
        match archive.receipts.iter().find(|receipt| encrypts && receipt.encryption.is_none()) {
            Some(receipt) => Err(not_encrypted().about(receipt.spot().receipt())),
            None => Ok(()),
        }
    }

    fn holds(&self, receipt: &Receipt) -> bool {
        let run =
            self.run.as_ref().is_none_or(|run| receipt.run_id.to_string().starts_with(&run.to_lowercase()));
        let since = self.since.is_none_or(|since| receipt.archived_at >= since);
        let until = self.until.is_none_or(|until| receipt.archived_at < until);
        run && since && until && !receipt.sets.is_empty()
    }
}

/// Receipts that runs of this database have committed; none where there is no schema `sexton` to be read.
///
/// # Errors
/// If the database does not answer.
///
/// # Cancel safety
/// Safe.
pub async fn known(session: &Client) -> Result<Vec<Receipt>> {
    if !session.query_one(statements::RESTORE_KNOWS, &[]).await?.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let rows = session.query(statements::RESTORE_RECEIPTS, &[]).await?;
    rows.iter().map(|row| Receipt::parse(row.get::<_, Value>(0))).collect()
}

/// Rows of one table and shape, wherever they lie.
#[derive(Clone, Debug)]
pub struct Pile {
    /// One for all: its rows are those of all.
    pub set: SetManifest,
    /// Folders and what lies there, the oldest first.
    objects: Vec<(String, SetManifest)>,
}

/// Sorts an archive into piles.
///
/// # Errors
/// [`ErrorKind::NotFound`] if there is nothing, [`ErrorKind::Invalid`] if it is of several jobs.
pub fn piles(archive: &Archive) -> Result<Vec<Pile>> {
    let owners = archive.receipts.iter().filter_map(|receipt| receipt.spot().owner());
    let jobs: BTreeSet<String> = owners.map(|owner| owner.whole_job().to_owned()).collect();
    match jobs.len() {
        0 => return Err(Error::new(ErrorKind::NotFound, "there is nothing in the archive").with_remedy(LIST)),
        1 => {}
        _ => {
            let jobs = jobs.into_iter().collect::<Vec<_>>().join(", ");
            return Err(Error::invalid(format!("there are archives of several jobs: {jobs}"))
                .with_remedy("name one by --job"));
        }
    }
    let mut piles: Vec<Pile> = Vec::new();
    for receipt in &archive.receipts {
        for set in &receipt.sets {
            let object = (receipt.folder.clone(), set.clone());
            match piles.iter_mut().find(|pile| is_one(&pile.set, set)) {
                Some(pile) => {
                    pile.set.rows += set.rows;
                    pile.objects.push(object);
                }
                None => piles.push(Pile { set: set.clone(), objects: vec![object] }),
            }
        }
    }
    Ok(piles)
}

fn is_one(a: &SetManifest, b: &SetManifest) -> bool {
    a.table == b.table && a.fingerprint == b.fingerprint && a.format == b.format
}

/// Where the piles would go, after all that can be checked without reading the objects, in the order of foreign keys.
///
/// # Errors
/// As [`super::plan`].
///
/// # Cancel safety
/// Safe.
pub async fn plan(
    session: &Client,
    mut piles: Vec<Pile>,
    into: &Into,
    on_conflict: OnConflict,
) -> Result<Vec<(Target, Pile)>> {
    if on_conflict == OnConflict::Skip {
        piles.reverse();
    }
    let sets: Vec<&SetManifest> = piles.iter().map(|pile| &pile.set).collect();
    let targets = super::plan(session, &sets, into, (on_conflict, Likeness::Grown)).await?;
    let with_pile = |target: Target| {
        let pile = piles.iter().find(|pile| is_one(&pile.set, &target.set)).cloned();
        pile.map(|pile| (target, pile))
    };
    Ok(targets.into_iter().filter_map(with_pile).collect())
}

/// Brings rows back, as planned, and moves sequences on.
///
/// # Errors
/// As [`super::into_tables`]; in any case no row was brought back.
///
/// # Cancel safety
/// Dropping the future takes all rows back.
pub async fn bring_back(
    session: &mut Client,
    storage: &OpenStorage,
    plan: &[(Target, Pile)],
    on_conflict: OnConflict,
) -> Result<Vec<Restored>> {
    let transaction = session.transaction().await?;
    transaction.batch_execute("SET CONSTRAINTS ALL DEFERRED").await?;
    let mut restored = Vec::new();
    for (target, pile) in plan {
        let written = one(&transaction, storage, (target, pile), on_conflict).await.map_err(|error| {
            let subject = format!("table {}", target.set.name);
            if error.subject().is_some() { error } else { error.about(subject) }
        })?;
        let (set, into) = (target.set.name.clone(), target.table.clone());
        restored.push(Restored { set, into, rows: target.set.rows, written });
    }
    for (target, _) in plan {
        advance(&transaction, target).await?;
    }
    transaction.commit().await.map_err(|error| in_the_way(error.into()))?;
    Ok(restored)
}

async fn one(
    transaction: &Transaction<'_>,
    storage: &OpenStorage,
    (target, pile): (&Target, &Pile),
    on_conflict: OnConflict,
) -> Result<u64> {
    let objects = pile.objects.iter().map(|(folder, set)| Object { folder, set });
    let objects: Vec<Object<'_>> = match on_conflict {
        OnConflict::Skip => objects.rev().collect(),
        OnConflict::Fail | OnConflict::Replace => objects.collect(),
    };
    let mut written = 0;
    if on_conflict == OnConflict::Fail {
        for object in objects {
            written += copy(transaction, storage, object, target, on_conflict).await?;
        }
        return Ok(written);
    }
    transaction.batch_execute(&target.stage()).await?;
    let settle = async |sql: &str| -> Result<u64> {
        let written = transaction.execute(sql, &[]).await;
        written.map_err(|error| in_the_way(error.into()))
    };
    for object in objects {
        copy(transaction, storage, object, target, on_conflict).await?;
        if target.has_key() {
            written += settle(&target.settle(on_conflict)).await?;
            transaction.batch_execute(Target::EMPTY_STAGE).await?;
        }
    }
    if !target.has_key() {
        written = settle(&target.settle_by_rows()).await?;
    }
    transaction.batch_execute(&Target::drop_stage()).await?;
    Ok(written)
}

/// Reads every object and compares it with its receipt.
///
/// # Cancel safety
/// Safe.
pub async fn verify(storage: &OpenStorage, receipts: &[Receipt]) -> Vec<Checked> {
    let mut checked = Vec::new();
    for receipt in receipts {
        for set in &receipt.sets {
            let problem = match verify_set(storage, &receipt.folder, set).await {
                Verified::Good => None,
                Verified::Bad(problem) => Some(problem),
            };
            checked.push(Checked { set: format!("{}/{}", receipt.folder, set.object), problem });
        }
    }
    checked
}
