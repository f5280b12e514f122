//! The statements of a purge that only look: counts, estimates, and the ages at both ends.
//!
//! By the conditions of the builder in `statement`, so that what is counted is what would be deleted.

use super::{
    cursor::{Cutoff, Range},
    moment::Moment,
    statement::{Access, Scope, Sql},
};

impl Scope {
    /// Counts what is eligible in a range.
    pub fn count_in<'a>(&'a self, cutoff: Option<&'a Cutoff>, range: &'a Range) -> Sql<'a> {
        let sql = Sql::new("SELECT pg_catalog.count(*) FROM ").add(&self.table.0).add(" WHERE ");
        self.eligible_in(sql, cutoff, range)
    }

    /// The lowest age of what is eligible in a range; `None` for a purge without an age.
    pub fn oldest_in<'a>(&'a self, cutoff: Option<&'a Cutoff>, range: &'a Range) -> Option<Sql<'a>> {
        let age = &self.age.as_ref()?.sql.0;
        let sql = Sql::new(&format!("SELECT {age} FROM {} WHERE ", self.table.0));
        Some(self.eligible_in(sql, cutoff, range).add(&format!(" ORDER BY {age} LIMIT 1")))
    }

    /// Counts what is eligible, up to a number; all of it if `None`.
    pub fn count<'a>(&'a self, cutoff: Option<&'a Cutoff>, up_to: &'a Option<i64>) -> Sql<'a> {
        let sql =
            Sql::new("SELECT pg_catalog.count(*) FROM (SELECT 1 FROM ").add(&self.table.0).add(" WHERE ");
        self.eligible(sql, cutoff, Access::Any).add(" LIMIT ").bind(up_to, "bigint").add(") AS eligible")
    }

    /// Counts what would be eligible if nothing had to stay.
    pub fn count_with_kept<'a>(&'a self, cutoff: Option<&'a Cutoff>) -> Sql<'a> {
        let sql = Sql::new("SELECT pg_catalog.count(*) FROM ").add(&self.table.0).add(" WHERE ");
        self.old(sql, cutoff, Access::Any)
    }

    /// Counts what would be eligible if nobody referred to it; `None` where references do not count.
    pub fn count_referenced<'a>(&'a self, cutoff: Option<&'a Cutoff>) -> Option<Sql<'a>> {
        if self.unreferenced.is_empty() {
            return None;
        }
        let sql = Sql::new("SELECT pg_catalog.count(*) FROM ").add(&self.table.0).add(" WHERE ");
        let sql = self.may_go(sql, cutoff, Access::Any).add(" AND NOT (true");
        let sql = self.unreferenced.iter().fold(sql, |sql, condition| sql.add(" AND ").add(&condition.0));
        Some(sql.add(")"))
    }

    /// Counts the rows of the table.
    pub fn count_all(&self) -> Sql<'static> {
        Sql::new("SELECT pg_catalog.count(*) FROM ").add(&self.table.0)
    }

    /// The planner's estimate of the rows of the table, as the JSON of EXPLAIN.
    pub fn estimate_all(&self) -> Sql<'static> {
        Sql::new("EXPLAIN (FORMAT JSON) SELECT 1 FROM ").add(&self.table.0)
    }

    /// The planner's estimate of what is eligible, as the JSON of EXPLAIN. Of what must stay it knows nothing, and would
    /// take half of the rows for each condition, nor of retentions of the rows' own; so it is an estimate of at most how
    /// many.
    pub fn estimate<'a>(&'a self, cutoff: Option<&'a Cutoff>) -> Sql<'a> {
        let sql = Sql::new("EXPLAIN (FORMAT JSON) SELECT 1 FROM ").add(&self.table.0).add(" WHERE ");
        self.at_most_old(sql, cutoff, Access::Any)
    }

    /// Makes statistics. A statement of the server's own, with no values.
    pub fn analyze(&self) -> Sql<'static> {
        Sql::new("ANALYZE ").add(&self.table.0)
    }

    /// The oldest and the youngest eligible age; `None` for a purge without an age. By order, since PostgreSQL has no
    /// `min` of UUIDs.
    pub fn extent<'a>(&'a self, cutoff: Option<&'a Cutoff>) -> Option<Sql<'a>> {
        let age = &self.age.as_ref()?.sql.0;
        let one = |sql: Sql<'a>, order: &str| {
            let sql = sql.add(&format!("(SELECT {age} FROM {} WHERE ", self.table.0));
            self.eligible(sql, cutoff, Access::Any).add(&format!(" ORDER BY {age}{order} LIMIT 1)"))
        };
        Some(one(one(Sql::new("SELECT "), "").add(", "), " DESC"))
    }

    /// A value of the age, for people.
    pub fn shown(&self, moment: Option<Moment>) -> Option<String> {
        moment.zip(self.age.as_ref()).map(|(moment, age)| age.ty.shown(moment))
    }

    /// The age of some rows, NULLs among them; `None` for a purge without an age.
    pub fn sample(&self) -> Option<Sql<'static>> {
        let age = &self.age.as_ref()?.sql.0;
        Some(Sql::new(&format!("SELECT {age} FROM {} LIMIT 1000", self.table.0)))
    }

    /// Ages that cut what is old into given shares, from so many percent of the blocks; `None` for a purge without an age.
    pub fn quantiles<'a>(
        &'a self,
        cutoff: &'a Cutoff,
        shares: &'a Vec<f64>,
        percent: &'a f64,
    ) -> Option<Sql<'a>> {
        let age = self.age.as_ref()?;
        let (name, ty) = (&age.sql.0, age.ty.as_str());
        let sql = Sql::new("SELECT pg_catalog.percentile_disc(").bind(shares, "float8[]");
        let sql =
            sql.add(&format!(") WITHIN GROUP (ORDER BY {name}) FROM {} TABLESAMPLE SYSTEM (", self.table.0));
        Some(sql.bind(percent, "float8").add(&format!(") WHERE {name} < ")).bind(&cutoff.age, ty))
    }
}
