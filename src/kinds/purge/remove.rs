//! A batch of a purge with children or an archive: a transaction that locks, deletes and keeps.
//!
//! First the rows of the table are locked, and those of children that others hang on or of which some may have to stay.
//! From then on no child can come to be that a foreign key ties to them. Then one statement deletes rows and children
//! and archives them, by one snapshot that is younger than the locks; the server checks its foreign keys when all of it
//! is done. What is kept in a storage is written there (`stored`). Then the fence. What is easy to get wrong: a trigger of the application may quietly keep a row, here or in
//! the archive; so all rows are counted, and a batch that does not come out even is taken back.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

#[cfg(feature = "backup")]
use super::stored::Stores;
use super::{
    archive::Into,
    cursor::{Cursor, Cutoff, Range},
    family::{Family, Node},
    locked::Locked,
    statement::{Form, Quoted, Scope, Sql},
    walk::failed,
};
use crate::{
    kind::{Batch, FencedTransaction, RunContext, Stop, Undone},
    statements,
};

/// What a batch removes besides rows of the table, and what it did so far.
#[derive(Debug)]
pub struct Removal<'a> {
    family: &'a Family,
    archive: Option<&'a Into>,
    /// Conditions on rows of the table that its children make.
    keeps: Vec<Quoted>,
    /// The storages where rows are kept.
    #[cfg(feature = "backup")]
    pub(super) stores: Option<Stores<'a>>,
    /// Rows of the table that were archived.
    archived: u64,
    /// Of each node: rows deleted.
    deleted: Vec<u64>,
}

/// What a batch came to.
pub(super) struct Counts {
    /// Rows of the table.
    pub(super) rows: u64,
    /// Of each node.
    nodes: Vec<u64>,
}

impl<'a> Removal<'a> {
    /// None is needed where rows of the table just go.
    pub fn new(family: &'a Family, archive: Option<&'a Into>, scope: &Scope) -> Option<Self> {
        if family.is_empty() && archive.is_none() {
            return None;
        }
        Some(Removal {
            family,
            archive,
            keeps: family.keeps(&scope.table),
            #[cfg(feature = "backup")]
            stores: None,
            archived: 0,
            deleted: vec![0; family.nodes.len()],
        })
    }

    /// The same, with nothing done so far: for another session.
    pub fn afresh(&self) -> Self {
        Removal {
            family: self.family,
            archive: self.archive,
            keeps: self.keeps.clone(),
            #[cfg(feature = "backup")]
            stores: self.stores.as_ref().map(Stores::afresh),
            archived: 0,
            deleted: vec![0; self.deleted.len()],
        }
    }

    /// Adds what another session did.
    pub fn absorb(&mut self, other: &Removal<'_>) {
        self.archived += other.archived;
        for (sum, rows) in self.deleted.iter_mut().zip(&other.deleted) {
            *sum += rows;
        }
        #[cfg(feature = "backup")]
        if let (Some(stores), Some(others)) = (&mut self.stores, &other.stores) {
            stores.absorb(others);
        }
    }

    /// Sets the session up for it.
    pub async fn prepare(&self, context: &mut RunContext) -> Result<(), Stop> {
        #[cfg(feature = "backup")]
        if let Some(stores) = &self.stores {
            stores.prepare(context).await?;
        }
        match self.family.is_empty() {
            true => Ok(()),
            false => context.query(statements::PURGE_PLANNER_FAMILY, &[]).await.map(drop),
        }
    }

    /// One batch, fenced.
    pub async fn batch(
        &mut self,
        context: &mut RunContext,
        scope: &Scope,
        (cutoff, range, form): (Option<&Cutoff>, &Range, &Form),
        after: &Cursor,
    ) -> Result<Batch, Stop> {
        #[cfg(feature = "backup")]
        if self.stores.is_some() {
            return self.batch_to_stores(context, scope, (cutoff, range, form), after).await;
        }
        let started = Instant::now();
        let mut transaction = context.begin().await?;
        let counts = match self.remove(&mut transaction, scope, (cutoff, range, form)).await {
            Ok(counts) => counts,
            Err(stop) => {
                transaction.roll_back().await?;
                return contention(stop);
            }
        };
        let done = started.elapsed();
        match transaction.commit(counts.rows, after).await {
            Ok(()) => Ok(self.committed(&counts, started.elapsed(), done)),
            Err(stop) => contention(stop),
        }
    }

    pub(super) fn committed(&mut self, counts: &Counts, took: Duration, done: Duration) -> Batch {
        if self.archive.is_some() {
            self.archived += counts.rows;
        }
        for (sum, rows) in self.deleted.iter_mut().zip(&counts.nodes) {
            *sum += rows;
        }
        Batch::Committed { rows: counts.rows, took, commit: took - done, rested: Duration::ZERO }
    }

    pub(super) async fn remove(
        &self,
        transaction: &mut FencedTransaction<'_>,
        scope: &Scope,
        (cutoff, range, form): (Option<&Cutoff>, &Range, &Form),
    ) -> Result<Counts, Stop> {
        if self.family.is_empty() {
            let sql = scope.delete(cutoff, range, form);
            return self.delete(transaction, sql, None, scope).await;
        }
        let sql = scope.lock(cutoff, range, form);
        let rows = transaction.query(&sql.text, &sql.values).await?;
        let mut locked = Locked::of(&rows, scope.partitioned);
        for node in &self.family.nodes {
            match form {
                Form::Unlocked(_) => locked = self.lock_or_leave(transaction, scope, node, locked).await?,
                Form::Whole | Form::Some(_) if node.inner || !node.unless.is_empty() => {
                    self.lock(transaction, scope, node, &locked).await?;
                }
                Form::Whole | Form::Some(_) => {}
            }
        }
        let mut sql = Sql::default();
        let mut picked = locked.bind(&mut sql, &scope.table);
        for keep in &self.keeps {
            picked = format!("{picked} AND {keep}");
        }
        let sql = sql.add(&format!("DELETE FROM {} WHERE {picked}", scope.table));
        self.delete(transaction, sql, Some(&picked), scope).await
    }

    /// Locks rows of a node, waiting for them.
    async fn lock(
        &self,
        transaction: &mut FencedTransaction<'_>,
        scope: &Scope,
        node: &Node,
        locked: &Locked,
    ) -> Result<(), Stop> {
        let mut sql = Sql::default();
        let picked = locked.bind(&mut sql, &scope.table);
        let sql =
            sql.add(&format!("SELECT pg_catalog.count(*) FROM (SELECT 1 FROM {} WHERE ", node.link.table));
        let sql = self.family.under(sql, &scope.table, node, &|sql| sql.add(&picked));
        let sql = sql.add(" FOR UPDATE) AS locked");
        transaction.query(&sql.text, &sql.values).await.map(drop)
    }

    /// Locks rows of a node that nobody has locked; gives up the rows of the table to which others belong.
    async fn lock_or_leave(
        &self,
        transaction: &mut FencedTransaction<'_>,
        scope: &Scope,
        node: &Node,
        locked: Locked,
    ) -> Result<Locked, Stop> {
        let mut sql = Sql::default();
        let picked = locked.bind(&mut sql, &scope.table);
        let sql = sql.add(&format!("SELECT tableoid, ctid FROM {} WHERE ", node.link.table));
        let sql = self.family.under(sql, &scope.table, node, &|sql| sql.add(&picked));
        let sql = sql.add(" FOR UPDATE SKIP LOCKED");
        let rows = transaction.query(&sql.text, &sql.values).await?;
        let ours = Locked::of(&rows, node.link.partitioned);
        let mut sql = Sql::default();
        let picked = locked.bind(&mut sql, &scope.table);
        let theirs = format!("NOT ({})", ours.bind(&mut sql, &node.link.table));
        let none = self.family.none(&scope.table, node, &theirs);
        let sql = sql.add(&format!("SELECT tableoid, ctid FROM {} WHERE {picked} AND {none}", scope.table));
        let rows = transaction.query(&sql.text, &sql.values).await?;
        Ok(Locked::of(&rows, scope.partitioned))
    }

    /// Deletes rows by a DELETE of the table, children with them, and archives what is to be kept. `picked` says which
    /// rows of the table go.
    async fn delete(
        &self,
        transaction: &mut FencedTransaction<'_>,
        delete: Sql<'_>,
        picked: Option<&str>,
        scope: &Scope,
    ) -> Result<Counts, Stop> {
        let mut parts = vec![(delete.text, self.archive)];
        for node in self.family.nodes.iter().rev() {
            let sql = Sql::new(&format!("DELETE FROM {} WHERE ", node.link.table));
            let pick = |sql: Sql<'static>| sql.add(picked.unwrap_or("false"));
            let sql = self.family.under(sql, &scope.table, node, &pick);
            let sql = node.unless.iter().fold(sql, |sql, may_go| sql.add(&format!(" AND {may_go}")));
            parts.push((sql.text, node.archive.as_ref()));
        }
        let counted = |of: String| format!("(SELECT pg_catalog.count(*) FROM {of})");
        let (mut with, mut deleted, mut archived) = (Vec::new(), Vec::new(), Vec::new());
        for (n, (text, archive)) in parts.iter().enumerate() {
            let columns = archive.map_or("1".to_owned(), Into::columns);
            with.push(format!("sexton_gone{n} AS ({text} RETURNING {columns})"));
            deleted.push(counted(format!("sexton_gone{n}")));
            if let Some(archive) = archive {
                let insert = archive.insert(&format!("sexton_gone{n}"));
                with.push(format!("sexton_kept{n} AS ({insert} RETURNING 1)"));
                archived.push(counted(format!("sexton_kept{n}")));
            } else {
                archived.push("NULL::bigint".to_owned());
            }
        }
        // Rows of the table that had to go, by the same snapshot.
        let due = picked
            .map_or("NULL::bigint".to_owned(), |picked| counted(format!("{} WHERE {picked}", scope.table)));
        let text = format!(
            "WITH {} SELECT ARRAY[{}], ARRAY[{}], {due}",
            with.join(", "),
            deleted.join(", "),
            archived.join(", ")
        );
        transaction.query(statements::PURGE_PLAN_CACHED, &[]).await?;
        let rows = transaction.query(&text, &delete.values).await?;
        let Some(row) = rows.first() else { return Err(failed("a batch gave no counts")) };
        let (deleted, archived): (Vec<i64>, Vec<Option<i64>>) = (row.get(0), row.get(1));
        self.even(scope, &deleted, &archived, row.get(2))?;
        let mut counts = deleted.into_iter().map(i64::unsigned_abs);
        let rows = counts.next().unwrap_or_default();
        // The nodes were deleted from below upwards.
        Ok(Counts { rows, nodes: counts.rev().collect() })
    }

    /// Refuses a batch in which a row stayed that had to go, or went without being kept.
    fn even(
        &self,
        scope: &Scope,
        deleted: &[i64],
        archived: &[Option<i64>],
        due: Option<i64>,
    ) -> Result<(), Stop> {
        let gone = deleted.first().copied().unwrap_or_default();
        if let Some(due) = due.filter(|due| *due != gone) {
            let message = format!(
                "{} of {due} rows of {} stayed though their children were to go: a trigger on it keeps them",
                due - gone,
                scope.table
            );
            return Err(failed(&message));
        }
        for (n, (gone, kept)) in deleted.iter().zip(archived).enumerate() {
            let archive = match n {
                0 => self.archive,
                n => self.family.nodes.iter().rev().nth(n - 1).and_then(|node| node.archive.as_ref()),
            };
            if let (Some(kept), Some(archive)) = (kept, archive)
                && kept != gone
            {
                let message = format!(
                    "archive {} took {kept} rows of {gone}: a trigger on it drops or adds some",
                    archive.table
                );
                return Err(failed(&message));
            }
        }
        Ok(())
    }

    /// What a run did.
    pub fn to_json(&self) -> Value {
        let children: Vec<Value> = self
            .family
            .tables()
            .into_iter()
            .map(|table| {
                let nodes = self.family.nodes.iter().zip(&self.deleted);
                let nodes = nodes.filter(|(node, _)| node.facts.oid() == table.facts.oid());
                let deleted: u64 = nodes.map(|(_, deleted)| deleted).sum();
                let archived = table.archive.as_ref().map(|_| deleted);
                match archived {
                    Some(archived) => {
                        json!({"table": table.facts.name(), "deleted": deleted, "archived": archived})
                    }
                    None => json!({"table": table.facts.name(), "deleted": deleted}),
                }
            })
            .collect();
        #[cfg(feature = "backup")]
        let stored = self.stores.as_ref().map(Stores::to_json);
        #[cfg(not(feature = "backup"))]
        let stored = Value::Null;
        json!({
            "archived": self.archive.map(|_| self.archived),
            "stored": stored,
            "children": (!children.is_empty()).then_some(children),
        })
    }
}

/// What may be tried again as it is.
pub(super) fn contention(stop: Stop) -> Result<Batch, Stop> {
    let undone = match &stop {
        Stop::Failed(error) => match error.sqlstate() {
            Some("55P03") => Undone::LockTimeout,
            Some("57014") => Undone::StatementTimeout,
            Some("40001" | "40P01") => Undone::Conflict,
            _ => return Err(stop),
        },
        _ => return Err(stop),
    };
    Ok(Batch::Undone(undone))
}
