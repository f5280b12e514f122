//! Rows are kept in a storage: what of a batch goes there, before it commits, and the receipts that say that it did.
//!
//! The statement that deletes puts the rows into a temporary table, as it would into an archive table; from there they are
//! copied out, and the transaction commits once the storage has them. The receipts are committed with the batch, in its
//! cursor, and written to the storage afterwards. What is easy to get wrong: a storage may be slow, and rows are locked
//! meanwhile; so it gets a time, after which the batch is taken back and made smaller.

mod batch;
mod under;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, pin_mut};
use serde_json::{Value, json};

use self::under::Under;
use super::{
    archive::{Archive, Into},
    statement::Quoted,
    target::Facts,
    walk::failed,
};
use crate::{
    Error, ErrorKind,
    kind::{FencedTransaction, RunContext, Stop},
    outside::{
        Contents,
        archive::{self, Receipt, Spot, clear},
        backup::{Columns, Format, Lines, SetManifest, fingerprint, parse_token},
        storage::OpenStorage,
    },
    statements,
};

/// How long a storage may take for a batch, whose rows are locked meanwhile. The server ends a transaction that says
/// nothing for 15 s.
const TAKE_WITHIN: Duration = Duration::from_secs(10);
/// So many batches in a row that took longer are made smaller.
const SLOW_MOST: u32 = 5;

/// What is kept in a storage of one table.
#[derive(Clone, Debug)]
pub struct Stored {
    storage: String,
    prefix: String,
    format: Format,
    /// The table that loses the rows.
    table: String,
    columns: Columns,
}

impl Stored {
    /// For people.
    pub fn shown(&self) -> String {
        format!("storage {}, as {}", self.storage, self.format.ending())
    }
}

/// An archive in a storage, as the server has to do with it.
///
/// # Errors
/// If the run must stop.
pub async fn read(
    context: &mut RunContext,
    archive: &Archive,
    storage: &str,
    facts: &Facts,
) -> Result<Into, Stop> {
    // So that a type is written with its schema, whatever the search_path.
    context.query("SET search_path TO pg_catalog", &[]).await?;
    let rows = context.query(statements::RELATION_COLUMNS, &[&facts.oid()]).await?;
    context.query("RESET search_path", &[]).await?;
    let columns = Columns::of(&rows);
    Ok(Into {
        table: Quoted::by_server(format!("pg_temp.sexton_kept_{}", facts.oid())),
        oid: 0,
        columns: columns.exported().map(|name| Quoted::by_server(name.to_owned())).collect(),
        stored: Some(Stored {
            storage: storage.to_owned(),
            prefix: archive.prefix.clone().unwrap_or_default(),
            format: archive.format.unwrap_or_default(),
            table: facts.name().to_owned(),
            columns,
        }),
    })
}

/// What was written so far.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    objects: u64,
    rows: u64,
    bytes: u64,
    longest: Duration,
}

/// What became of writing a batch.
pub enum Taken {
    /// The storages have all of it: the receipts, and how long it took.
    Whole(Vec<Receipt>, Duration),
    /// They took too long; a smaller batch may do.
    Slow,
}

/// A table whose rows a storage keeps.
#[derive(Clone, Debug)]
struct Table<'a> {
    into: &'a Into,
    stored: &'a Stored,
    storage: OpenStorage,
}

/// The archives of a purge that lie in storages, and these.
#[derive(Debug)]
pub struct Stores<'a> {
    tables: Vec<Table<'a>>,
    told: Told,
    /// Batches in a row that took too long.
    slow: u32,
    /// Batches that were written, or begun.
    tried: u32,
    /// Storages and keys of what was begun and may have been taken back.
    begun: Vec<(OpenStorage, String)>,
}

impl<'a> Stores<'a> {
    /// Opens the storages of these archives; `None` if all are tables.
    ///
    /// # Errors
    /// If one is not known here, or none of the secrets that it names.
    pub fn open(archives: impl Iterator<Item = &'a Into>, contents: &Contents) -> Result<Option<Self>, Stop> {
        let stored = archives.filter_map(|into| into.stored.as_ref().map(|stored| (into, stored)));
        let tables = stored
            .map(|(into, stored)| {
                let storage = OpenStorage::open(&stored.storage, contents)?;
                Ok(Table { into, stored, storage })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        Ok((!tables.is_empty()).then(|| Stores::with(tables)))
    }

    fn with(tables: Vec<Table<'a>>) -> Self {
        Stores { tables, told: Told::default(), slow: 0, tried: 0, begun: Vec::new() }
    }

    /// The same, with nothing written so far: for another session.
    pub fn afresh(&self) -> Self {
        Stores::with(self.tables.clone())
    }

    /// Adds what another session wrote.
    pub fn absorb(&mut self, other: &Stores<'_>) {
        self.told.objects += other.told.objects;
        self.told.rows += other.told.rows;
        self.told.bytes += other.told.bytes;
        self.told.longest = self.told.longest.max(other.told.longest);
    }

    /// Makes the tables that rows pass through, for this session.
    ///
    /// # Errors
    /// A refusal if the role may not make any.
    pub async fn prepare(&self, context: &mut RunContext) -> Result<(), Stop> {
        for Table { into, stored, .. } in &self.tables {
            let (table, columns, from) = (&into.table, into.columns(), &stored.table);
            let made = format!(
                "CREATE TEMPORARY TABLE IF NOT EXISTS {table} ON COMMIT DELETE ROWS AS SELECT {columns} FROM {from} WITH NO DATA"
            );
            match context.query(&made, &[]).await {
                Ok(_) => {}
                Err(Stop::Failed(error)) if error.sqlstate() == Some("42501") => {
                    let reason = format!("params.archive: rows pass through a temporary table: {error}");
                    return Err(Stop::refused(reason, "GRANT TEMPORARY ON DATABASE … TO the runner's role"));
                }
                Err(stop) => return Err(stop),
            }
        }
        Ok(())
    }

    /// Settles what earlier runs left: puts receipts that they committed, and removes what they did not commit.
    ///
    /// # Errors
    /// If a storage refuses or does not answer, or the run must stop.
    pub async fn settle_earlier(&self, context: &mut RunContext) -> Result<(), Stop> {
        let (run, job, install) = (context.run_id(), context.job().to_owned(), context.install_id());
        let token = parse_token(&context.token()).unwrap_or_default();
        for row in context.query(statements::PURGE_UNSETTLED, &[&run]).await? {
            let occurrence = row.get("occurrence");
            let receipts: Value = row.get("receipts");
            let receipts = receipts.as_array().cloned().unwrap_or_default();
            let receipts = receipts.into_iter().map(Receipt::parse).collect::<Result<Vec<_>, _>>()?;
            self.put(context, receipts).await?;
            for (stored, storage) in self.places() {
                let of = (stored.prefix.as_str(), job.as_str(), occurrence);
                context.keep_while(clear(storage, of, (token, install))).await??;
            }
        }
        Ok(())
    }

    /// Storages and prefixes, each once.
    fn places(&self) -> impl Iterator<Item = (&'a Stored, &OpenStorage)> {
        let mut seen = BTreeSet::new();
        let places = self.tables.iter().map(|table| (table.stored, &table.storage));
        places.filter(move |(stored, _)| seen.insert((stored.storage.as_str(), stored.prefix.as_str())))
    }

    /// The storages, for people.
    fn names(&self) -> String {
        let names: BTreeSet<&str> = self.tables.iter().map(|table| table.storage.name()).collect();
        names.into_iter().collect::<Vec<_>>().join(", ")
    }

    /// Writes what the batch keeps, within its transaction.
    ///
    /// # Errors
    /// Whatever the database or a storage reports: the transaction is then to be taken back.
    pub async fn write(
        &mut self,
        transaction: &mut FencedTransaction<'_>,
        under: &Under,
    ) -> Result<Taken, Stop> {
        let started = Instant::now();
        match tokio::time::timeout(TAKE_WITHIN, self.write_all(transaction, under)).await {
            Ok(receipts) => {
                self.slow = 0;
                Ok(Taken::Whole(receipts?, started.elapsed()))
            }
            Err(_) if self.slow < SLOW_MOST => {
                self.slow += 1;
                Ok(Taken::Slow)
            }
            Err(_) => {
                let message = format!("a batch was not taken within {} s", TAKE_WITHIN.as_secs());
                let error = Error::new(ErrorKind::Outside, message)
                    .about(format!("storage {}", self.names()))
                    .with_remedy(
                        "see whether it can be reached; rows stay in their tables until it has them",
                    );
                Err(Stop::Failed(error))
            }
        }
    }

    async fn write_all(
        &mut self,
        transaction: &mut FencedTransaction<'_>,
        under: &Under,
    ) -> Result<Vec<Receipt>, Stop> {
        self.tried += 1;
        let moment = transaction.query(statements::PURGE_MOMENT, &[]).await?;
        let moment = moment.first().ok_or_else(|| failed("the server does not tell the time"))?;
        // The application's deferred triggers see its own settings again.
        transaction.execute("SAVEPOINT sexton_text", &[]).await?;
        transaction.query(statements::PURGE_TEXT_FORMS, &[]).await?;
        let mut receipts: Vec<Receipt> = Vec::new();
        for (number, table) in self.tables.iter().enumerate() {
            let stored = table.stored;
            let spot = under.spot(&stored.storage, &stored.prefix);
            let object = spot.object(self.tried, (number, &stored.table), stored.format.ending());
            self.begun.push((table.storage.clone(), format!("{}/{object}", spot.folder)));
            let Some(set) = copy(transaction, table, &spot, object).await? else { continue };
            match receipts.iter_mut().find(|receipt| receipt.folder == spot.folder) {
                Some(receipt) => receipt.sets.push(set),
                None => receipts.push(under.receipt(moment, &stored.storage, spot, set)),
            }
        }
        transaction.execute("ROLLBACK TO SAVEPOINT sexton_text", &[]).await?;
        Ok(receipts)
    }

    /// Puts the receipts of a batch that committed.
    ///
    /// # Errors
    /// If a storage refuses or does not answer: the next run puts them.
    pub async fn settle(
        &mut self,
        context: &mut RunContext,
        receipts: Vec<Receipt>,
        took: Duration,
    ) -> Result<(), Stop> {
        self.begun.clear();
        for receipt in &receipts {
            self.told.objects += receipt.sets.len() as u64;
            self.told.rows += receipt.rows();
            self.told.bytes += receipt.bytes();
        }
        self.told.longest = self.told.longest.max(took);
        self.put(context, receipts).await
    }

    async fn put(&self, context: &mut RunContext, receipts: Vec<Receipt>) -> Result<(), Stop> {
        for receipt in receipts {
            let mut tables = self.tables.iter();
            // That of an earlier revision may be another one: whoever restores from it asks the database.
            if let Some(table) = tables.find(|table| table.storage.name() == receipt.storage) {
                context.see_through(archive::put(&table.storage, &receipt)).await??;
            }
        }
        Ok(())
    }

    /// Removes what was written for a batch that was taken back, as far as the storages let it; the next attempt sees
    /// to the rest.
    pub async fn forget(&mut self, context: &mut RunContext) {
        let job = context.job().to_owned();
        let begun = std::mem::take(&mut self.begun);
        let removed = async {
            for (storage, key) in begun {
                storage.delete(&[key]).await?;
            }
            Ok::<(), Error>(())
        };
        // Beyond that time, or where the run must stop at once, it stays behind without a word.
        if let Ok(Ok(Err(error))) = context.keep_while(tokio::time::timeout(TAKE_WITHIN, removed)).await {
            tracing::debug!(job, %error, "archive.left_behind");
        }
    }

    /// What a run wrote.
    pub fn to_json(&self) -> Value {
        json!({
            "storage": self.names(), "objects": self.told.objects, "rows": self.told.rows,
            "bytes": self.told.bytes, "upload_ms_max": self.told.longest.as_millis() as u64,
        })
    }
}

/// Copies a table's rows into their object; `None` if there are none.
async fn copy(
    transaction: &mut FencedTransaction<'_>,
    Table { into, stored, storage }: &Table<'_>,
    spot: &Spot,
    object: String,
) -> Result<Option<SetManifest>, Stop> {
    let sql = stored.columns.copy(stored.format, &format!("{} AS source", into.table));
    let mut upload = storage.upload(&format!("{}/{object}", spot.folder))?;
    let mut lines = Lines::new(stored.format);
    let rows = transaction.copy_out(&sql).await?;
    pin_mut!(rows);
    while let Some(chunk) = rows.next().await {
        let chunk = chunk?;
        lines.update(&chunk);
        upload.write(&chunk).await?;
    }
    if lines.rows() == 0 {
        upload.abort().await;
        return Ok(None);
    }
    let written = upload.finish().await?;
    Ok(Some(SetManifest {
        name: stored.table.clone(),
        format: stored.format,
        object,
        table: Some(stored.table.clone()),
        source: None,
        rows: lines.rows(),
        plain_bytes: written.plain_bytes,
        bytes: written.bytes,
        sha256: written.sha256,
        fingerprint: fingerprint(&stored.columns.all),
        columns: stored.columns.all.clone(),
    }))
}
