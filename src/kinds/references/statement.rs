//! The statements, from one builder: what the survey and the dry run count is what the run locks and removes.
//!
//! Each begins with the same list of steps (`WITH …`): the rows (`sx_here`), their references one by one (`sx_el`), those
//! of them that go (`sx_bad`), and the rows as they would be (`sx_change`). What is easy to get wrong: a concurrent append
//! may bring an id that is newer than the statement's snapshot, and an UPDATE that waited for it would judge the new row
//! by the old ids. So rows are locked by one statement and changed by the next, whose snapshot is later than the locks.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    audit::Log,
    params::OnDangling,
    place::{Place, Shape, Typed},
};
use crate::kind::{
    inputs::{Input, Piece},
    sql::{Quoted, Sql},
};

/// The table, and what is to be done to it.
#[derive(Debug)]
pub struct Target {
    pub table: Quoted,
    /// The same as text, for the audit.
    pub table_name: String,
    pub keys: Vec<Typed>,
    /// The names of the keys as the audit has them.
    pub key_names: Vec<String>,
    pub places: Vec<Place>,
    pub predicate: Vec<Piece>,
    /// True for rows that no hold keeps.
    pub free: Vec<Quoted>,
    pub editor: Option<Quoted>,
    /// With whether it has a zone, and the run's now.
    pub edited_at: Option<(Quoted, bool, Timestamp)>,
    /// The owner, and its type.
    pub owner: Option<Typed>,
    pub recipients: Option<Vec<Piece>>,
    /// The application's own audit.
    pub log: Option<Log>,
    pub inputs: BTreeMap<String, Input>,
}

/// Rows by their keys, as text.
pub type KeyText = Vec<Option<String>>;

/// Which rows a statement is about.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// Those above the first key, and up to the second.
    Range(Option<&'a KeyText>, Option<&'a KeyText>),
    /// Those with these keys: one list for each column of the key.
    Listed(&'a [Vec<Option<String>>]),
}

/// Whether to wait for rows that somebody has locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// As long as `lock_timeout` allows.
    Briefly,
    /// Not at all: they are passed over.
    Never,
}

impl Target {
    /// Counts: rows, references, rows that would change, references that would go, rows that would be deleted, elements
    /// that are no ids, and for each place whether its valid ids are none.
    pub fn survey<'a>(&'a self, rows: Rows<'a>) -> Sql<'a> {
        let sql = self.change(rows).then(" SELECT (SELECT pg_catalog.count(*) FROM sx_here), ");
        let sql = sql.then(&self.sum(|at| format!("(SELECT pg_catalog.count(id) FROM sx_el{at})")));
        let sql = sql.then(", pg_catalog.count(*), coalesce(pg_catalog.sum(gone), 0)::bigint");
        let sql = sql.then(", pg_catalog.count(*) FILTER (WHERE dropped), ");
        let unreadable = |at: usize| match self.places[at].shape {
            Shape::Json(..) => format!(
                "(SELECT pg_catalog.count(*) FROM sx_el{at} WHERE id IS NULL AND pg_catalog.jsonb_typeof(item) <> 'null')"
            ),
            Shape::Array | Shape::One(_) => "0::bigint".to_owned(),
        };
        let sql = sql.then(&self.sum(unreadable)).then(", ");
        self.none_valid(sql).then(" FROM sx_change")
    }

    /// Locks the rows that would change, at most so many; gives their keys.
    pub fn lock<'a>(&'a self, rows: Rows<'a>, most: &'a i64, wait: Wait) -> Sql<'a> {
        let sql = self.change(rows).then(" SELECT ").then(&self.key_list("t.", "::text"));
        let sql = sql.then(" FROM ").then(self.table.as_str()).then(" AS t JOIN sx_change ON ");
        let sql = sql.then(&self.same_key()).then(" ORDER BY ").then(&self.key_list("t.", ""));
        let sql = sql.then(" LIMIT ").bind(most, "bigint");
        let sql = sql.then(if self.deletes() { " FOR UPDATE OF t" } else { " FOR NO KEY UPDATE OF t" });
        sql.then(if wait == Wait::Never { " SKIP LOCKED" } else { "" })
    }

    /// Changes rows and writes the audit. Gives rows, references removed, rows deleted, and what [`Target::survey`] says
    /// of valid ids.
    pub fn apply<'a>(&'a self, rows: Rows<'a>, run: &'a uuid::Uuid) -> Sql<'a> {
        let mut sql = self.change(rows);
        let mut done = Vec::new();
        if self.places.iter().any(|place| !matches!(place.shape, Shape::One(OnDangling::Delete))) {
            sql = self.update(sql.then(", sx_changed AS (")).then(")");
            done.push("SELECT n FROM sx_changed");
        }
        if self.deletes() {
            sql = sql
                .then(", sx_dropped AS (DELETE FROM ")
                .then(self.table.as_str())
                .then(" AS t USING sx_change");
            sql = sql
                .then(" WHERE ")
                .then(&self.same_key())
                .then(" AND sx_change.dropped RETURNING sx_change.n)");
            done.push("SELECT n FROM sx_dropped");
        }
        let done = done.join(" UNION ALL ");
        if let Some(log) = &self.log {
            sql = self.log(sql.then(", sx_logged AS ("), log, run, &done).then(")");
        }
        let sql = sql.then(" SELECT pg_catalog.count(*), coalesce(pg_catalog.sum(gone), 0)::bigint");
        let sql = sql.then(", pg_catalog.count(*) FILTER (WHERE dropped), ");
        let sql = self.none_valid(sql).then(", sexton.note_changes(").bind(run, "uuid");
        let sql = self.audit(sql.then(", pg_catalog.jsonb_agg(")).then(" ORDER BY n))");
        sql.then(" FROM sx_change WHERE n IN (").then(&done).then(")")
    }

    /// The key that ends a range of so many rows and one after `after`; no row if there are fewer.
    pub fn bound<'a>(&'a self, after: Option<&'a KeyText>, rows: &'a i64) -> Sql<'a> {
        let sql =
            Sql::new("SELECT ").then(&self.key_list("", "::text")).then(" FROM ").then(self.table.as_str());
        let sql = match after {
            Some(after) => self.beyond(sql.then(" WHERE "), ">", after),
            None => sql,
        };
        sql.then(" ORDER BY ")
            .then(&self.key_list("", ""))
            .then(" OFFSET ")
            .bind(rows, "bigint")
            .then(" LIMIT 1")
    }

    /// Writes a notice for each of some owners that have none yet; a row for each.
    pub fn notices<'a>(&'a self, run: &'a uuid::Uuid, most: &'a i64) -> Sql<'a> {
        let sql = Sql::new("SELECT sexton.note_owner(").bind(run, "uuid").then(", sexton_owner.owner, ");
        let sql = match &self.recipients {
            None => sql.then("NULL"),
            Some(pieces) => {
                let sql = sql.then("(SELECT pg_catalog.jsonb_agg(DISTINCT sx_r.recipient) FROM (");
                let sql = self.pieces_of_owner(sql, pieces);
                sql.then("\n) AS sx_r(recipient) WHERE sx_r.recipient IS NOT NULL)")
            }
        };
        sql.then(
            ") FROM (SELECT DISTINCT a.owner FROM sexton.audit a JOIN sexton.run r ON r.job_id = a.job_id \
             WHERE a.owner IS NOT NULL AND a.noticed_at IS NULL AND r.id = ",
        )
        .bind(run, "uuid")
        .then(" ORDER BY 1 LIMIT ")
        .bind(most, "bigint")
        .then(") AS sexton_owner")
    }

    /// Whether a row may be deleted.
    pub fn deletes(&self) -> bool {
        self.places.iter().any(|place| matches!(place.shape, Shape::One(OnDangling::Delete)))
    }

    /// The steps up to `sx_change`.
    fn change<'a>(&'a self, rows: Rows<'a>) -> Sql<'a> {
        let mut sql = self.here(Sql::new("WITH sx_here AS MATERIALIZED ("), rows).then(")");
        for (at, place) in self.places.iter().enumerate() {
            sql = place.elements(sql.then(&format!(", sx_el{at} AS MATERIALIZED (")), at).then(")");
            sql = self.bad(sql, at, place);
            sql = sql.then(&format!(
                ", sx_fix{at} AS (SELECT e.n, pg_catalog.array_agg(e.item ORDER BY e.o) FILTER (WHERE b.id IS NULL) AS kept, \
                 pg_catalog.jsonb_agg(pg_catalog.to_jsonb(e.item) ORDER BY e.o) FILTER (WHERE b.id IS NOT NULL) AS removed, \
                 pg_catalog.count(b.id) AS gone \
                 FROM sx_el{at} e LEFT JOIN sx_bad{at} b ON b.id = e.id GROUP BY e.n HAVING pg_catalog.count(b.id) > 0)"
            ));
        }
        sql = sql.then(", sx_change AS MATERIALIZED (SELECT h.*");
        let (mut dropped, mut any) = (Vec::new(), Vec::new());
        for (at, place) in self.places.iter().enumerate() {
            sql =
                sql.then(&format!(", f{at}.removed AS r{at}, CASE WHEN f{at}.n IS NULL THEN h.c{at} ELSE "));
            sql = place.mended(sql, at).then(&format!(" END AS m{at}"));
            if matches!(place.shape, Shape::One(OnDangling::Delete)) {
                dropped.push(format!("f{at}.n IS NOT NULL"));
            }
            any.push(format!("f{at}.n IS NOT NULL"));
        }
        let dropped = if dropped.is_empty() { "false".to_owned() } else { dropped.join(" OR ") };
        sql = sql.then(&format!(", ({dropped}) AS dropped, "));
        sql = sql.then(&self.sum(|at| format!("coalesce(f{at}.gone, 0)"))).then(" AS gone FROM sx_here h");
        for at in 0..self.places.len() {
            sql = sql.then(&format!(" LEFT JOIN sx_fix{at} f{at} ON f{at}.n = h.n"));
        }
        sql.then(" WHERE ").then(&any.join(" OR ")).then(")")
    }

    /// The rows. The author's expressions see the table's columns alone.
    fn here<'a>(&'a self, sql: Sql<'a>, rows: Rows<'a>) -> Sql<'a> {
        let mut sql = sql.then("SELECT pg_catalog.row_number() OVER () AS n");
        for (at, key) in self.keys.iter().enumerate() {
            sql = sql.then(", ").then(key.name.as_str()).then(&format!(" AS k{at}"));
        }
        for (at, place) in self.places.iter().enumerate() {
            sql = sql.then(", ").then(place.column.name.as_str()).then(&format!(" AS c{at}"));
        }
        sql = match &self.owner {
            Some(owner) => sql.then(", (").then(owner.name.as_str()).then(")::text AS owner"),
            None => sql.then(", NULL::text AS owner"),
        };
        sql = sql.then(" FROM ").then(self.table.as_str()).then(" WHERE true");
        sql = match rows {
            Rows::Range(after, to) => {
                if let Some(after) = after {
                    sql = self.beyond(sql.then(" AND "), ">", after);
                }
                if let Some(to) = to {
                    sql = self.beyond(sql.then(" AND "), "<=", to);
                }
                sql
            }
            Rows::Listed(lists) => {
                sql = sql.then(" AND (").then(&self.key_list("", "")).then(") IN (SELECT ");
                let casts = self.keys.iter().enumerate().map(|(at, key)| format!("sx_k.k{at}::{}", key.ty));
                sql = sql.then(&casts.collect::<Vec<_>>().join(", ")).then(" FROM ROWS FROM (");
                for (at, list) in lists.iter().enumerate() {
                    sql = sql.then(if at == 0 { "pg_catalog.unnest(" } else { ", pg_catalog.unnest(" });
                    sql = sql.bind(list, "text[]").then(")");
                }
                let names = (0..lists.len()).map(|at| format!("k{at}")).collect::<Vec<_>>();
                sql.then(") AS sx_k(").then(&names.join(", ")).then("))")
            }
        };
        if !self.predicate.is_empty() {
            sql = self.pieces(sql.then(" AND ("), &self.predicate).then("\n)");
        }
        for free in &self.free {
            sql = sql.then(" AND ").then(free.as_str());
        }
        sql
    }

    /// The ids that go: of those that the rows have, what is not among the valid ones, or is among the expired.
    fn bad<'a>(&'a self, sql: Sql<'a>, at: usize, place: &'a Place) -> Sql<'a> {
        let sql = sql.then(&format!(
            ", sx_id{at} AS MATERIALIZED (SELECT DISTINCT id FROM sx_el{at} WHERE id IS NOT NULL)"
        ));
        let mut sql = sql.then(&format!(", sx_bad{at} AS MATERIALIZED ("));
        let sources = [(&place.valid, "NOT EXISTS"), (&place.expired, "EXISTS")];
        for (index, (source, test)) in sources.iter().filter(|(source, _)| source.is_some()).enumerate() {
            let Some(pieces) = source else { continue };
            sql = sql.then(if index == 0 { "" } else { " UNION " });
            sql = sql.then(&format!("SELECT sx_i.id FROM sx_id{at} AS sx_i WHERE {test} (SELECT FROM ("));
            sql = self.pieces(sql, pieces).then("\n) AS sx_source(id) WHERE sx_source.id = sx_i.id)");
        }
        sql.then(")")
    }

    /// For each place whether its valid ids are none, as one array.
    fn none_valid<'a>(&'a self, mut sql: Sql<'a>) -> Sql<'a> {
        sql = sql.then("ARRAY[");
        for (at, place) in self.places.iter().enumerate() {
            sql = sql.then(if at == 0 { "" } else { ", " });
            sql = match &place.valid {
                None => sql.then("false"),
                Some(pieces) => self
                    .pieces(sql.then("NOT EXISTS (SELECT FROM ("), pieces)
                    .then("\n) AS sx_source(id) WHERE sx_source.id IS NOT NULL)"),
            };
        }
        sql.then("]")
    }

    fn update<'a>(&'a self, sql: Sql<'a>) -> Sql<'a> {
        let mut sql = sql.then("UPDATE ").then(self.table.as_str()).then(" AS t SET ");
        let mut first = true;
        for (at, place) in self.places.iter().enumerate() {
            if matches!(place.shape, Shape::One(OnDangling::Delete)) {
                continue;
            }
            sql = sql.then(if first { "" } else { ", " });
            sql = sql.then(place.column.name.as_str()).then(&format!(" = sx_change.m{at}"));
            first = false;
        }
        if let Some(editor) = &self.editor {
            sql = sql.then(", ").then(editor.as_str()).then(" = 'maintenance'");
        }
        if let Some((column, zoned, now)) = &self.edited_at {
            sql = sql.then(", ").then(column.as_str()).then(" = ");
            sql = match zoned {
                true => sql.bind(now, "timestamptz"),
                false => sql.then("pg_catalog.timezone('UTC', ").bind(now, "timestamptz").then(")"),
            };
        }
        sql.then(" FROM sx_change WHERE ")
            .then(&self.same_key())
            .then(" AND NOT sx_change.dropped RETURNING sx_change.n")
    }

    /// An author's SQL with its inputs bound.
    fn pieces<'a>(&'a self, sql: Sql<'a>, pieces: &'a [Piece]) -> Sql<'a> {
        sql.pieces(pieces, &self.inputs)
    }

    /// The same, where `:owner` is the owner of the row at hand.
    fn pieces_of_owner<'a>(&'a self, mut sql: Sql<'a>, pieces: &'a [Piece]) -> Sql<'a> {
        for piece in pieces {
            sql = match (piece.input(), &self.owner) {
                (Some("owner"), Some(owner)) => sql.then("sexton_owner.owner::").then(&owner.ty),
                _ => sql.pieces(std::slice::from_ref(piece), &self.inputs),
            };
        }
        sql
    }

    fn beyond<'a>(&'a self, mut sql: Sql<'a>, than: &str, key: &'a KeyText) -> Sql<'a> {
        sql = sql.then("(").then(&self.key_list("", "")).then(") ").then(than).then(" (");
        for (at, (typed, value)) in self.keys.iter().zip(key).enumerate() {
            sql = sql.then(if at == 0 { "" } else { ", " }).bind(value, "text").then("::").then(&typed.ty);
        }
        sql.then(")")
    }

    fn key_list(&self, before: &str, after: &str) -> String {
        let keys = self.keys.iter().map(|key| format!("{before}{}{after}", key.name.as_str()));
        keys.collect::<Vec<_>>().join(", ")
    }

    fn same_key(&self) -> String {
        let keys = self
            .keys
            .iter()
            .enumerate()
            .map(|(at, key)| format!("t.{} = sx_change.k{at}", key.name.as_str()));
        keys.collect::<Vec<_>>().join(" AND ")
    }

    fn sum(&self, of: impl Fn(usize) -> String) -> String {
        (0..self.places.len()).map(of).collect::<Vec<_>>().join(" + ")
    }
}
