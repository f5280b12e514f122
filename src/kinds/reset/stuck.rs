//! Which rows are stuck, as SQL: the run updates, the dry run and the report count, by the same words.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::kind::{
    inputs::{Input, Piece},
    sql::{Quoted, Sql},
};

/// Whether a column or an expression has a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// `timestamptz`.
    Zoned,
    /// `timestamp`, read as UTC.
    Utc,
}

/// A column, and its type as SQL names it.
#[derive(Clone, Debug)]
pub struct Column {
    /// Quoted by the server.
    pub name: Quoted,
    /// Its type, as SQL names it.
    pub ty: String,
}

/// The rows that are stuck, and what they are set to.
#[derive(Debug)]
pub struct Stuck {
    pub table: Quoted,
    /// Whether it is partitioned, so that a `ctid` alone names no row.
    pub partitioned: bool,
    pub state: Column,
    pub from: Vec<String>,
    pub to: String,
    pub since: (Quoted, Clock),
    pub cutoff: Timestamp,
    pub predicate: Vec<Piece>,
    pub inputs: BTreeMap<String, Input>,
    /// Further columns with their values; NULL is `None`.
    pub set: Vec<(Column, Option<String>)>,
    /// The column that is set to this instant.
    pub touch: Option<(Quoted, Clock, Timestamp)>,
}

impl Stuck {
    /// Sets at most that many stuck rows, passing over those that somebody has locked.
    pub fn update<'a>(&'a self, rows: &'a i64) -> Sql<'a> {
        let table = self.table.as_str();
        let sql = Sql::new("UPDATE ").then(table).then(" SET ").then(self.state.name.as_str()).then(" = ");
        let mut sql = sql.bind(&self.to, "text").then("::").then(&self.state.ty);
        for (column, value) in &self.set {
            sql = sql
                .then(", ")
                .then(column.name.as_str())
                .then(" = ")
                .bind(value, "text")
                .then("::")
                .then(&column.ty);
        }
        if let Some((column, clock, at)) = &self.touch {
            sql = instant(sql.then(", ").then(column.as_str()).then(" = "), *clock, at);
        }
        let (open, close) = match self.partitioned {
            false => (" WHERE ctid = ANY (ARRAY(SELECT ctid FROM ", ")) AND "),
            true => (" WHERE (tableoid, ctid) IN (SELECT tableoid, ctid FROM ", ") AND "),
        };
        let sql = self.stuck(sql.then(open).then(table).then(" WHERE "));
        let sql = sql.then(" LIMIT ").bind(rows, "bigint").then(" FOR NO KEY UPDATE SKIP LOCKED").then(close);
        self.stuck(sql).then(" RETURNING 1")
    }

    /// Counts the stuck rows.
    pub fn count(&self) -> Sql<'_> {
        self.stuck(Sql::new("SELECT pg_catalog.count(*) FROM ").then(self.table.as_str()).then(" WHERE "))
    }

    /// Has the server read the values as the state's type.
    pub fn probe(&self) -> Sql<'_> {
        let ty = self.state.ty.as_str();
        let sql = Sql::new("SELECT ").bind(&self.from, "text[]").then("::").then(ty).then("[], ");
        let mut sql = sql.bind(&self.to, "text").then("::").then(ty);
        for (column, value) in &self.set {
            sql = sql.then(", ").bind(value, "text").then("::").then(&column.ty);
        }
        sql.then(" IS NULL")
    }

    fn stuck<'a>(&'a self, sql: Sql<'a>) -> Sql<'a> {
        let sql = sql.then(self.state.name.as_str()).then(" = ANY (").bind(&self.from, "text[]");
        let sql =
            sql.then("::").then(&self.state.ty).then("[]) AND ").then(self.since.0.as_str()).then(" < ");
        let sql = instant(sql, self.since.1, &self.cutoff);
        if self.predicate.is_empty() {
            return sql;
        }
        sql.then(" AND (").pieces(&self.predicate, &self.inputs).then("\n)")
    }
}

fn instant<'a>(sql: Sql<'a>, clock: Clock, at: &'a Timestamp) -> Sql<'a> {
    match clock {
        Clock::Zoned => sql.bind(at, "timestamptz"),
        Clock::Utc => sql.then("pg_catalog.timezone('UTC', ").bind(at, "timestamptz").then(")"),
    }
}
