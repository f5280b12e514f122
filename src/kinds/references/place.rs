//! A column that holds references: how it holds them, how they are read one by one, and what is left without some.
//!
//! What is easy to get wrong: an element that is no id (null, another shape, a text where ids are numbers) is no dangling
//! reference, and a cast that fails on it would fail the whole run. So ids in jsonb are read only where they look like one.

use super::{params::OnDangling, path::Path};
use crate::kind::{
    inputs::Piece,
    sql::{Quoted, Sql},
};

/// A column, and its type as SQL names it.
#[derive(Clone, Debug)]
pub struct Typed {
    /// Quoted by the server.
    pub name: Quoted,
    /// Its type, as SQL names it.
    pub ty: String,
}

/// How a column holds references.
#[derive(Clone, Debug)]
pub enum Shape {
    /// An array.
    Array,
    /// A list in jsonb, with ids that are read as this type.
    Json(Path, IdType),
    /// One id.
    One(OnDangling),
}

/// What the text of an id in jsonb is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdType {
    /// `bigint`.
    Integer,
    /// `uuid`.
    Uuid,
    /// `text`.
    Text,
}

/// A column that holds references, and the ids that these are compared with.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its name as the author wrote it.
    pub called: String,
    /// The column.
    pub column: Typed,
    /// How it holds them.
    pub shape: Shape,
    /// The ids that there are.
    pub valid: Option<Vec<Piece>>,
    /// The ids whose time is over.
    pub expired: Option<Vec<Piece>>,
}

impl Place {
    /// The references of the rows: row, place in the list, id, and the element as it stands there.
    pub(super) fn elements<'a>(&'a self, sql: Sql<'a>, at: usize) -> Sql<'a> {
        match &self.shape {
            Shape::One(_) => sql.then(&format!(
                "SELECT h.n, 1::bigint AS o, h.c{at} AS id, h.c{at} AS item FROM sx_here h WHERE h.c{at} IS NOT NULL"
            )),
            Shape::Array => sql.then(&format!(
                "SELECT h.n, u.o, u.e AS id, u.e AS item FROM sx_here h \
                 CROSS JOIN LATERAL pg_catalog.unnest(h.c{at}) WITH ORDINALITY AS u(e, o) \
                 WHERE pg_catalog.array_ndims(h.c{at}) = 1"
            )),
            Shape::Json(path, ty) => {
                let sql = sql.then("SELECT h.n, u.o, ").then(ty.reading()).then(" AS id, u.j AS item FROM sx_here h");
                let sql = sql.then(&format!(" CROSS JOIN LATERAL (SELECT h.c{at} #> ")).bind(&path.array, "text[]");
                let sql = sql.then(
                    " AS list) AS l CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(\
                     CASE WHEN pg_catalog.jsonb_typeof(l.list) = 'array' THEN l.list ELSE '[]' END) \
                     WITH ORDINALITY AS u(j, o) CROSS JOIN LATERAL (SELECT u.j #> ",
                );
                sql.bind(&path.id, "text[]").then(
                    " AS x) AS i CROSS JOIN LATERAL (SELECT CASE WHEN pg_catalog.jsonb_typeof(i.x) IN ('string', 'number') \
                     THEN i.x #>> '{}' END AS t) AS s",
                )
            }
        }
    }

    /// The column without what goes.
    pub(super) fn mended<'a>(&'a self, sql: Sql<'a>, at: usize) -> Sql<'a> {
        match &self.shape {
            Shape::One(_) => sql.then("NULL"),
            Shape::Array => sql.then(&format!("coalesce(f{at}.kept, '{{}}')::")).then(&self.column.ty),
            Shape::Json(path, _) if path.array.is_empty() => {
                sql.then(&format!("coalesce(pg_catalog.to_jsonb(f{at}.kept), '[]')"))
            }
            Shape::Json(path, _) => sql
                .then(&format!("pg_catalog.jsonb_set(h.c{at}, "))
                .bind(&path.array, "text[]")
                .then(&format!(", coalesce(pg_catalog.to_jsonb(f{at}.kept), '[]'))")),
        }
    }
}

impl IdType {
    /// The text `t` as an id; NULL where it is none, which is never a reason to remove it.
    fn reading(self) -> &'static str {
        match self {
            IdType::Text => "s.t",
            IdType::Uuid => {
                "CASE WHEN s.t ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN s.t::uuid END"
            }
            IdType::Integer => {
                "CASE WHEN s.t ~ '^-?[0-9]{1,40}([.]0{1,40})?$' THEN CASE WHEN s.t::numeric \
                 BETWEEN -9223372036854775808 AND 9223372036854775807 THEN s.t::numeric::bigint END END"
            }
        }
    }
}
