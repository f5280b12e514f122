//! The part of a purge's statements that says which rows stay though they are older than the cutoff.
//!
//! Conditions of the builder in `statement`, by its rules: SQL of authors in parentheses of its own, values bound. What is
//! easy to get wrong: a condition must let a row go only if it is true, so that what is unknown (NULL) keeps the row, save
//! for holds and protection, which keep only what they surely mean.

use super::{
    age::{AgeType, AgeUnit},
    cursor::Cutoff,
    statement::{Access, Age, Quoted, Scope, Sql, tells_an_age},
};

/// A retention that each row has of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnRetention {
    /// The retention, of type interval.
    pub interval: Quoted,
    /// The zone by whose calendar it is counted back.
    pub calendar: String,
    /// The zone of ages that have none.
    pub zone: String,
    /// How much longer rows are kept.
    pub grace: String,
}

/// Rows of each key that stay since they are the newest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newest {
    /// So many newer ones a row may have at the most, to be one of them.
    pub before: i64,
    /// The columns of the key.
    pub key: Vec<Quoted>,
    /// What puts rows of one age in order.
    pub order: Vec<Quoted>,
}

impl Quoted {
    /// What an author's query, one statement by itself, says for the key of a row: the greatest, if it says several.
    pub fn of_key(query: &str, key: &Quoted, table: &Quoted) -> Self {
        let query = query.trim().trim_end_matches(';');
        Quoted(format!(
            "(SELECT pg_catalog.max(known.retention) FROM ({query}\n) AS known(key, retention) WHERE known.key = {}.{})",
            table.0, key.0
        ))
    }
}

impl Scope {
    /// Whether rows may stay though they are older than the cutoff and the predicate holds.
    pub fn keeps_some(&self) -> bool {
        self.own.is_some()
            || !self.unless.is_empty()
            || !self.unreferenced.is_empty()
            || self.keep_last.is_some()
    }

    /// Whether every row that is older than the cutoff goes.
    pub fn is_all_old(&self) -> bool {
        self.predicate.is_empty() && !self.keeps_some()
    }

    /// The age of the row that has so many newer ones; `None` for a purge without an age.
    pub fn newest<'a>(&'a self, before: &'a i64) -> Option<Sql<'a>> {
        let age = self.age.as_ref()?;
        let sql = Sql::new(&format!("SELECT {0} FROM {1} WHERE {0} IS NOT NULL", age.sql.0, self.table.0));
        let sql = tells_an_age(sql, age).add(&format!(" ORDER BY {} DESC OFFSET ", age.sql.0));
        Some(sql.bind(before, "bigint").add(" LIMIT 1"))
    }

    /// A condition: the rows for which an expression is true stay.
    pub fn unless(rows: &Quoted) -> Quoted {
        Quoted(format!("({} IS NOT TRUE)", rows.0))
    }

    /// The same, for rows in one partition.
    pub fn unless_in_partition(oid: u32, rows: &Quoted) -> Quoted {
        Quoted(format!(
            "((CASE WHEN tableoid IN (SELECT relid FROM pg_catalog.pg_partition_tree({oid}::pg_catalog.oid::pg_catalog.regclass)) \
             THEN {} END) IS NOT TRUE)",
            rows.0
        ))
    }

    /// The same, for rows that another table lists: pairs of its column and ours; `apart` is one more condition on `listed`.
    pub fn unless_listed<'a>(
        table: &Quoted,
        list: &Quoted,
        pairs: impl Iterator<Item = (&'a Quoted, &'a Quoted)>,
        apart: &str,
    ) -> Quoted {
        let equal: Vec<String> =
            pairs.map(|(theirs, ours)| format!("listed.{} = {}.{}", theirs.0, table.0, ours.0)).collect();
        Quoted(format!(
            "(NOT EXISTS (SELECT 1 FROM {} AS listed WHERE {}{apart}))",
            list.0,
            equal.join(" AND ")
        ))
    }

    /// What is old, and need not stay.
    pub(super) fn may_go<'a>(&'a self, sql: Sql<'a>, cutoff: Option<&'a Cutoff>, access: Access) -> Sql<'a> {
        let sql = self.old(sql, cutoff, access);
        let sql = self.unless.iter().fold(sql, |sql, condition| sql.add(" AND ").add(&condition.0));
        match (&self.keep_last, &self.age) {
            (Some(newest), Some(age)) => self.enough_newer(sql.add(" AND "), newest, age),
            _ => sql,
        }
    }

    /// What is old by the cutoff, and by its own retention if it has one. A retention that is NULL keeps its row.
    pub(super) fn old<'a>(&'a self, sql: Sql<'a>, cutoff: Option<&'a Cutoff>, access: Access) -> Sql<'a> {
        let sql = self.at_most_old(sql, cutoff, access);
        let (Some(own), Some(age)) = (&self.own, &self.age) else { return sql };
        let Some(base) = cutoff.and_then(|cutoff| cutoff.base.as_ref()) else { return sql.add(" AND false") };
        let instant = |sql: Sql<'a>| {
            let sql =
                sql.add("pg_catalog.timezone(").bind(&own.calendar, "text").add(", ").bind(base, "timestamp");
            sql.add(&format!(" - {} - ", own.interval.0)).bind(&own.grace, "text").add("::interval)")
        };
        let zoned = |sql: Sql<'a>| {
            instant(sql.add("pg_catalog.timezone(").bind(&own.zone, "text").add(", ")).add(")")
        };
        let sql = sql.add(&format!(" AND {} < ", age.sql.0));
        match age.ty {
            AgeType::Timestamptz => instant(sql),
            AgeType::Timestamp => zoned(sql),
            AgeType::Date => zoned(sql).add("::date"),
            AgeType::Integer(AgeUnit::Seconds) => instant(sql.add("extract(epoch FROM ")).add(")"),
            AgeType::Integer(AgeUnit::Milliseconds) => {
                instant(sql.add("1000 * extract(epoch FROM ")).add(")")
            }
            // No such purge is let through.
            AgeType::Uuid => sql.add("NULL"),
        }
    }

    /// There are enough newer rows of the same key that the purge means too. A key that is NULL has none.
    fn enough_newer<'a>(&'a self, sql: Sql<'a>, newest: &'a Newest, age: &'a Age) -> Sql<'a> {
        let columns = |columns: &[Quoted], letter: char| -> Vec<(String, String)> {
            let named = columns.iter().enumerate();
            named.map(|(at, column)| (format!("sexton_{letter}{at}"), column.0.clone())).collect()
        };
        let (keys, order) = (columns(&newest.key, 'k'), columns(&newest.order, 'o'));
        let (table, by) = (&self.table.0, &age.sql.0);
        let given: String =
            keys.iter().chain(&order).map(|(alias, column)| format!(", {column} AS {alias}")).collect();
        let sql =
            sql.add(&format!("EXISTS (SELECT 1 FROM (SELECT {by} AS sexton_age{given} FROM {table} WHERE "));
        let sql = if self.predicate.is_empty() { sql.add("true") } else { self.pieces(sql.add("("), "\n)") };
        let sql = tells_an_age(sql, age).add(") AS newer WHERE ");
        let same: String =
            keys.iter().map(|(alias, column)| format!("newer.{alias} = {table}.{column} AND ")).collect();
        let newer: String = order.iter().map(|(alias, _)| format!(", newer.{alias}")).collect();
        let ours: String = order.iter().map(|(_, column)| format!(", {table}.{column}")).collect();
        let age = age.column.map_or_else(|| by.clone(), |_| format!("{table}.{by}"));
        sql.add(&format!("{same}(newer.sexton_age{newer}) > ({age}{ours}) OFFSET "))
            .bind(&newest.before, "bigint")
            .add(")")
    }
}
