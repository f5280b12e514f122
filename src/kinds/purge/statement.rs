//! The one builder of a purge's statements: the run deletes, and the dry run and the guards count, by the same words.
//!
//! Text is put together from three sources alone: names that the server quoted, SQL that an author wrote (always
//! within parentheses of its own, and found by the server to be one expression), and the fixed words below. Values are
//! bound. What is easy to get wrong: the text must be the same from batch to batch, since statements are prepared by
//! their text; and the predicate stands in the DELETE itself, so that a row which stopped being eligible meanwhile stays.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio_postgres::types::ToSql;

pub use super::text::{Quoted, Sql};
use super::{
    age::AgeType,
    cursor::{Cutoff, Range},
    kept::{Newest, OwnRetention},
    moment::Moment,
};
use crate::kind::{
    IN_BATCH,
    inputs::{Input, Piece},
};

/// What makes a row's age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Age {
    /// The column or expression.
    pub sql: Quoted,
    /// Its type.
    pub ty: AgeType,
    /// The number of the column, if it is one.
    pub column: Option<i16>,
}

/// Which rows a purge means: everything but the cutoff.
#[derive(Debug)]
pub struct Scope {
    /// The table.
    pub table: Quoted,
    /// Whether it is partitioned, so that a `ctid` alone names no row.
    pub partitioned: bool,
    /// The age, unless the purge has none.
    pub age: Option<Age>,
    /// The author's predicate.
    pub predicate: Vec<Piece>,
    /// The values of its inputs.
    pub inputs: BTreeMap<String, Input>,
    /// The retention of each row's own, besides the cutoff.
    pub own: Option<OwnRetention>,
    /// Conditions that all hold for a row that may go: of what must stay whatever its age.
    pub unless: Vec<Quoted>,
    /// Conditions that all hold for a row that nobody refers to, where rows that are referred to stay.
    pub unreferenced: Vec<Quoted>,
    /// Which of the newest rows stay.
    pub keep_last: Option<Newest>,
    /// The holds among these, for the report.
    pub holds: Vec<Value>,
}

/// How much of a range a batch takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// All of it: the quickest.
    Whole,
    /// At most so many rows, whichever.
    Some(i64),
    /// At most so many of the rows that nobody has locked; all of these if `None`. Costs half the speed (measured on
    /// the prototype), so it serves where the quick form met a lock.
    Unlocked(Option<i64>),
}

/// Whether an index may serve a condition. In a heap walk none may: by statistics that are out of date the planner
/// would otherwise read all old rows for each range of blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// One may.
    Any,
    /// None may.
    Heap,
}

impl Scope {
    /// Deletes what is eligible in a range. It fails outside of a batch's transaction.
    pub fn delete<'a>(&'a self, cutoff: Option<&'a Cutoff>, range: &'a Range, form: &'a Form) -> Sql<'a> {
        let sql = Sql::new("DELETE FROM ").add(&self.table.0).add(" WHERE ");
        let (limit, locking) = match form {
            Form::Whole => return self.eligible_up_to(sql, cutoff, range, Some(IN_BATCH)),
            Form::Some(limit) => (limit as &(dyn ToSql + Sync), ""),
            Form::Unlocked(limit) => (limit as &(dyn ToSql + Sync), " FOR UPDATE SKIP LOCKED"),
        };
        let (open, close) = match self.partitioned {
            false => ("ctid = ANY (ARRAY(SELECT ctid FROM ", ")) AND "),
            true => ("(tableoid, ctid) IN (SELECT tableoid, ctid FROM ", ") AND "),
        };
        let sql = sql.add(open).add(&self.table.0).add(" WHERE ");
        let sql =
            self.eligible_in(sql, cutoff, range).add(" LIMIT ").bind(limit, "bigint").add(locking).add(close);
        self.eligible_up_to(sql, cutoff, range, Some(IN_BATCH))
    }

    /// For the index walk, in order of age from a position on: the first age, and the age `rows` further on.
    pub fn next_ages<'a>(&'a self, from: &'a Moment, to: &'a Moment, rows: &'a i64) -> Option<Sql<'a>> {
        let sql = self.first_age(Sql::new("SELECT ("), from, " >= ", to)?.add(" LIMIT 1), (");
        Some(self.first_age(sql, from, " >= ", to)?.add(" OFFSET ").bind(rows, "bigint").add(" LIMIT 1)"))
    }

    /// For the index walk: the first age after one.
    pub fn age_after<'a>(&'a self, from: &'a Moment, to: &'a Moment) -> Option<Sql<'a>> {
        Some(self.first_age(Sql::new("SELECT ("), from, " > ", to)?.add(" LIMIT 1)"))
    }

    /// Locks what is eligible in a range; where each row is.
    pub fn lock<'a>(&'a self, cutoff: Option<&'a Cutoff>, range: &'a Range, form: &'a Form) -> Sql<'a> {
        let sql = Sql::new("SELECT tableoid, ctid FROM ").add(&self.table.0).add(" WHERE ");
        let sql = self.eligible_in(sql, cutoff, range);
        match form {
            Form::Whole => sql.add(" FOR UPDATE"),
            Form::Some(limit) => sql.add(" LIMIT ").bind(limit, "bigint").add(" FOR UPDATE"),
            Form::Unlocked(limit) => sql.add(" LIMIT ").bind(limit, "bigint").add(" FOR UPDATE SKIP LOCKED"),
        }
    }

    fn first_age<'a>(
        &'a self,
        sql: Sql<'a>,
        from: &'a Moment,
        above: &str,
        to: &'a Moment,
    ) -> Option<Sql<'a>> {
        let age = self.age.as_ref()?;
        let (name, ty) = (&age.sql.0, age.ty.as_str());
        let sql = sql.add(&format!("SELECT {name} FROM {} WHERE {name}{above}", self.table.0)).bind(from, ty);
        Some(sql.add(&format!(" AND {name} < ")).bind(to, ty).add(&format!(" ORDER BY {name}")))
    }

    pub(super) fn eligible_in<'a>(
        &'a self,
        sql: Sql<'a>,
        cutoff: Option<&'a Cutoff>,
        range: &'a Range,
    ) -> Sql<'a> {
        self.eligible_up_to(sql, cutoff, range, None)
    }

    /// The same, with an upper bound that is looked at under a condition, once for the statement.
    fn eligible_up_to<'a>(
        &'a self,
        sql: Sql<'a>,
        cutoff: Option<&'a Cutoff>,
        range: &'a Range,
        condition: Option<&str>,
    ) -> Sql<'a> {
        let (open, close) = match condition {
            Some(condition) => (&*format!("CASE WHEN {condition} THEN "), " END"),
            None => ("", ""),
        };
        match (range, &self.age) {
            (Range::Ages(from, to), Some(age)) => {
                let (name, ty) = (&age.sql.0, age.ty.as_str());
                let sql = sql.add(name).add(" >= ").bind(from, ty).add(" AND ").add(name).add(" < ");
                let sql = sql.add(open).bind(to, ty).add(close).add(" AND ");
                self.eligible(sql, cutoff, Access::Any)
            }
            (Range::Ages(..), None) => sql.add("false"),
            (Range::Blocks(from, to), _) => {
                let sql = sql.add("ctid >= ").bind(from, "tid").add(" AND ctid < ");
                let sql = sql.add(open).bind(to, "tid").add(close).add(" AND ");
                self.eligible(sql, cutoff, Access::Heap)
            }
        }
    }

    /// What is old, need not stay, and is not referred to where that counts.
    pub(super) fn eligible<'a>(
        &'a self,
        sql: Sql<'a>,
        cutoff: Option<&'a Cutoff>,
        access: Access,
    ) -> Sql<'a> {
        let sql = self.may_go(sql, cutoff, access);
        self.unreferenced.iter().fold(sql, |sql, condition| sql.add(" AND ").add(&condition.0))
    }

    /// The age is below the cutoff, and the predicate holds. A comparison with NULL does not: such rows stay.
    pub(super) fn at_most_old<'a>(
        &'a self,
        sql: Sql<'a>,
        cutoff: Option<&'a Cutoff>,
        access: Access,
    ) -> Sql<'a> {
        let (open, close) = match access {
            Access::Any => ("", ""),
            Access::Heap => ("(", ") IS TRUE"),
        };
        let sql = match (&self.age, cutoff) {
            (Some(age), Some(cutoff)) => {
                let sql =
                    sql.add(open).add(&age.sql.0).add(" < ").bind(&cutoff.age, age.ty.as_str()).add(close);
                tells_an_age(sql, age)
            }
            (None, None) if !self.predicate.is_empty() => return self.predicate(sql, access),
            // An age without a cutoff, or neither of both: nothing is eligible.
            _ => return sql.add("false"),
        };
        if self.predicate.is_empty() { sql } else { self.predicate(sql.add(" AND "), access) }
    }

    fn predicate<'a>(&'a self, sql: Sql<'a>, access: Access) -> Sql<'a> {
        let close = match access {
            Access::Any => "\n)",
            Access::Heap => "\n) IS TRUE",
        };
        self.pieces(sql.add("("), close)
    }

    pub(super) fn pieces<'a>(&'a self, mut sql: Sql<'a>, close: &str) -> Sql<'a> {
        for piece in &self.predicate {
            sql = match piece {
                Piece::Sql(text) => sql.add(text),
                Piece::Input(name) => match self.inputs.get(name) {
                    Some(input) => sql.bind(input, input.type_name()),
                    None => sql.add("NULL"),
                },
            };
        }
        sql.add(close)
    }

    /// Asks for an author's condition that has to do with no table.
    pub fn ask(condition: &Quoted) -> String {
        format!("SELECT {}", condition.0)
    }

    /// Statements that the server can parse only if such a condition is one expression.
    pub fn ask_probes(text: &str) -> [String; 2] {
        [Scope::ask(&Quoted::expression(text)), format!("SELECT ARRAY[{text}\n]")]
    }

    /// Statements that the server can parse only if an author's text is one expression: what closes our
    /// parenthesis early does not fit into a bracket as well. In a WHERE, since that is where it will stand.
    pub fn probes(table: &Quoted, text: &str) -> [String; 3] {
        let table = &table.0;
        [
            format!("SELECT ({text}\n) FROM {table}"),
            format!("SELECT ARRAY[{text}\n] FROM {table}"),
            format!("SELECT 1 FROM {table} WHERE ({text}\n) IS NULL"),
        ]
    }

    /// The predicate's text with its inputs as numbered, typed parameters: what the probes take.
    pub fn predicate_text(&self) -> String {
        self.pieces(Sql::default(), "").text
    }
}

/// A UUID of another version than 7 tells no age, wherever it may sort: its row stays.
pub(super) fn tells_an_age<'a>(sql: Sql<'a>, age: &Age) -> Sql<'a> {
    match age.ty {
        AgeType::Uuid => {
            sql.add(&format!(" AND (pg_catalog.get_byte(pg_catalog.uuid_send({}), 6) >> 4) = 7", age.sql.0))
        }
        _ => sql,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kind::inputs, kinds::purge::moment::Block};

    fn scope(predicate: &str) -> Scope {
        let tenant = Input::new("bigint", 7.into()).expect("a known type");
        Scope {
            table: Quoted::by_server("app.\"Log\"".to_owned()),
            partitioned: false,
            age: Some(Age {
                sql: Quoted::by_server("at".to_owned()),
                ty: AgeType::Timestamptz,
                column: Some(1),
            }),
            predicate: if predicate.is_empty() {
                Vec::new()
            } else {
                inputs::cut(predicate).expect("well formed")
            },
            inputs: BTreeMap::from([("tenant".to_owned(), tenant)]),
            own: None,
            unless: Vec::new(),
            unreferenced: Vec::new(),
            keep_last: None,
            holds: Vec::new(),
        }
    }

    const CUTOFF: Cutoff = Cutoff { at: jiff::Timestamp::UNIX_EPOCH, age: Moment::BEGINNING, base: None };
    const AGES: Range = Range::Ages(Moment::BEGINNING, Moment::BEGINNING);
    const BLOCKS: Range = Range::Blocks(Block(0), Block(9));

    #[test]
    fn the_predicate_stands_in_parentheses_of_its_own() {
        let scope = scope("a OR tenant_id = :tenant -- all");
        let sql = scope.delete(Some(&CUTOFF), &AGES, &Form::Whole);
        assert_eq!(
            sql.text.replace(IN_BATCH, "in a batch"),
            "DELETE FROM app.\"Log\" WHERE at >= $1::timestamptz AND at < CASE WHEN in a batch THEN $2::timestamptz END \
             AND at < $3::timestamptz AND (a OR tenant_id = $4::bigint -- all\n)"
        );
        assert_eq!(sql.values.len(), 4);
    }

    #[test]
    fn no_index_serves_a_heap_walk() {
        let scope = scope("a OR b");
        assert_eq!(
            scope.delete(Some(&CUTOFF), &BLOCKS, &Form::Whole).text.replace(IN_BATCH, "in a batch"),
            "DELETE FROM app.\"Log\" WHERE ctid >= $1::tid AND ctid < CASE WHEN in a batch THEN $2::tid END \
             AND (at < $3::timestamptz) IS TRUE AND (a OR b\n) IS TRUE"
        );
    }

    #[test]
    fn the_predicate_is_repeated_where_rows_are_picked_first() {
        let scope = scope("a");
        let sql = scope.delete(Some(&CUTOFF), &BLOCKS, &Form::Unlocked(None));
        assert_eq!(sql.text.matches("(a\n) IS TRUE").count(), 2);
        assert!(sql.text.contains("FOR UPDATE SKIP LOCKED"));
    }

    #[test]
    fn what_must_stay_is_in_every_statement_that_deletes_or_counts() {
        let mut scope = scope("a");
        scope.unless = vec![Scope::unless(&Quoted::expression("b OR c"))];
        let kept = "AND ((b OR c\n) IS NOT TRUE)";
        for form in [Form::Whole, Form::Some(1), Form::Unlocked(None)] {
            for range in [AGES, BLOCKS] {
                let sql = scope.delete(Some(&CUTOFF), &range, &form).text;
                assert!(sql.ends_with(kept), "{sql}");
                assert_eq!(sql.matches(kept).count(), if form == Form::Whole { 1 } else { 2 }, "{sql}");
            }
        }
        assert!(scope.count(Some(&CUTOFF), &None).text.contains(kept));
        assert!(scope.count_in(Some(&CUTOFF), &AGES).text.contains(kept));
    }

    #[test]
    fn no_delete_works_outside_of_a_batch() {
        for form in [Form::Whole, Form::Some(1), Form::Unlocked(None)] {
            for range in [AGES, BLOCKS] {
                let sql = scope("a").delete(Some(&CUTOFF), &range, &form).text;
                let outer = sql.rsplit("SELECT").next().unwrap_or_default();
                assert!(outer.contains(IN_BATCH), "{sql}");
            }
        }
    }

    #[test]
    fn no_cutoff_is_nothing_to_delete() {
        assert!(scope("").delete(None, &BLOCKS, &Form::Whole).text.ends_with("AND false"));
        assert!(scope("a").delete(None, &AGES, &Form::Whole).text.ends_with("AND false"));
    }
}
