//! What is wrong with the parameters of a purge beyond their shape: values out of bounds, and what does not go together.
//!
//! No database is asked. What is easy to get wrong: a parameter that would silently have no effect is an error too.

use jiff::tz::TimeZone;

use super::{
    children::Child,
    own::RetentionQuery,
    params::{CutoffFrom, Detach, Pacing, Params, Straddling, WalkChoice},
};
use crate::kind::{
    ParamError, check,
    inputs::{self, Piece},
};

impl Params {
    /// What the shape alone cannot tell.
    ///
    /// # Errors
    /// The first parameter that is wrong.
    pub fn check(&self) -> Result<(), ParamError> {
        let wrong = |path: &str, message: &str| Err(ParamError::new(path, message));
        if let Some(targets) = &self.targets {
            return self.check_targets(targets);
        }
        if self.table.trim().is_empty() {
            return wrong("table", "is missing; name the table, or several `targets`");
        }
        if let Some((name, age)) = self.age() {
            // A column is named without quotes, whatever its name; so it may have one in it.
            check::text(name, age)?;
        }
        if let Some(zone) = &self.time_zone
            && TimeZone::get(zone).is_err()
        {
            return wrong(
                "time_zone",
                &format!("\"{zone}\" is no zone of the IANA database, such as \"Europe/Paris\""),
            );
        }
        self.check_age()?;
        self.check_predicate()?;
        self.check_kept()?;
        self.check_partitions()?;
        self.check_family()?;
        super::workers::check(self)?;
        #[cfg(feature = "http")]
        self.check_before()?;
        if self.batch.is_some_and(|rows| !(1..=1_000_000).contains(&rows)) {
            return wrong("batch", "must be from 1 to 1000000 rows");
        }
        match self.pace() {
            Pacing::RowsPerSecond(0) => return wrong("pacing", "rows_per_second must be at least 1"),
            Pacing::DutyCycle(share) if !(share > 0.0 && share <= 1.0) => {
                return wrong("pacing", "duty_cycle must be above 0 and at most 1, such as 0.25");
            }
            _ => {}
        }
        if let Some(condition) = &self.yield_when {
            check::sql("yield_when", condition)?;
        }
        if self.limit_rows == Some(0) {
            return wrong("limit_rows", "must be at least 1; pause the job if it is to delete nothing");
        }
        if self.refuse_above == Some(0) {
            return wrong("refuse_above", "must be at least 1; disarm the job if it is to delete nothing");
        }
        if !(self.max_fraction > 0.0 && self.max_fraction <= 1.0) {
            return wrong("max_fraction", "must be above 0 and at most 1, such as 0.5");
        }
        Ok(())
    }

    #[cfg(feature = "http")]
    fn check_before(&self) -> Result<(), ParamError> {
        let Some(before) = &self.before_delete else { return Ok(()) };
        let wrong = |message: &str| Err(ParamError::new("before_delete", message));
        if self.walk == WalkChoice::Partition {
            return wrong("calls for each row, but walk = \"partition\" takes partitions as a whole");
        }
        if self.workers > 1 {
            return wrong("makes its calls at once by `concurrency`; leave `workers` at 1");
        }
        if self.children.is_some() {
            return wrong("does not go together with `children`; a foreign key with ON DELETE CASCADE does");
        }
        if self.archive.is_some() {
            return wrong("does not go together with `archive`; `on_delete` may insert what is in `deleted`");
        }
        before.check()
    }

    fn check_family(&self) -> Result<(), ParamError> {
        let whole = self.walk == WalkChoice::Partition;
        if let Some(children) = &self.children {
            if children.is_empty() {
                return Err(ParamError::new(
                    "children",
                    "is empty; leave it out if no other rows are to go first",
                ));
            }
            if whole {
                return Err(ParamError::new(
                    "children",
                    "go row by row, but walk = \"partition\" takes partitions as a whole",
                ));
            }
            Child::check_all(children, &self.table)?;
        }
        if self.archive.is_some() && whole {
            let message =
                "takes rows, but walk = \"partition\" takes partitions as a whole: see archive_schema";
            return Err(ParamError::new("archive", message));
        }
        self.archive.as_ref().map_or(Ok(()), |archive| archive.check("archive"))
    }

    fn check_kept(&self) -> Result<(), ParamError> {
        if self.keep_min == Some(0) {
            return Err(ParamError::new("keep_min", "must be at least 1; leave it out if none need stay"));
        }
        if let Some(keep) = &self.keep_last {
            keep.check()?;
        }
        self.protect.as_ref().map_or(Ok(()), |protect| protect.check("protect"))
    }

    fn check_age(&self) -> Result<(), ParamError> {
        let wrong = |path: &str, message: &str| Err(ParamError::new(path, message));
        let retentions = [
            ("retention", self.retention.is_some()),
            ("retention_column", self.retention_column.is_some()),
            ("retention_query", self.retention_query.is_some()),
        ];
        let mut given = retentions.iter().filter(|(_, given)| *given).map(|(name, _)| *name);
        let (retention, second) = (given.next(), given.next());
        if let (Some(first), Some(second)) = (retention, second) {
            return wrong(second, &format!("excludes `{first}`: name one of them"));
        }
        match (&self.by, retention, &self.expires) {
            (Some(_), None, None) => {
                wrong("retention", "is missing; say how long rows are kept, such as \"30 days\"")
            }
            (None, Some(_), None) => wrong("by", "is missing; name the column that tells a row's age"),
            (_, Some(name), Some(_)) => wrong(name, "is for `by`; extra time after `expires` is `grace`"),
            (Some(_), None, Some(_)) => wrong("expires", "excludes `by`: name one of them"),
            (Some(_), Some(_), None) => self.check_own_retention(),
            (None, None, Some(_)) => Ok(()),
            (None, None, None) => self.check_ageless(),
        }
    }

    fn check_own_retention(&self) -> Result<(), ParamError> {
        if let Some(column) = &self.retention_column {
            check::text("retention_column", column)?;
        }
        self.retention_query.as_ref().map_or(Ok(()), RetentionQuery::check)
    }

    /// Without an age, what needs one is refused, and a predicate must narrow the purge by an input.
    fn check_ageless(&self) -> Result<(), ParamError> {
        let needs_age = [
            ("cutoff", self.cutoff != CutoffFrom::Now),
            ("time_zone", self.time_zone.is_some()),
            ("unit", self.unit.is_some()),
            ("grace", self.grace.is_some()),
            ("keep_last", self.keep_last.is_some()),
            ("keep_min", self.keep_min.is_some()),
        ];
        if let Some((name, _)) = needs_age.iter().find(|(_, given)| *given) {
            return Err(ParamError::new(*name, "needs `by` and `retention`, or `expires`"));
        }
        if self.walk == WalkChoice::Index {
            return Err(ParamError::new("walk", "\"index\" needs `by` or `expires`"));
        }
        if !self.has_input() {
            let message =
                "needs `by` and `retention`, `expires`, or a `where` with a declared input such as :tenant";
            return Err(ParamError::new("", message));
        }
        Ok(())
    }

    fn check_partitions(&self) -> Result<(), ParamError> {
        let wrong = |path: &str, message: &str| Err(ParamError::new(path, message));
        if self.walk == WalkChoice::Partition && self.by.is_none() {
            return wrong("walk", "\"partition\" needs `by`");
        }
        if self.walk == WalkChoice::Partition && self.predicate.is_some() {
            return wrong("where", "may spare rows, but walk = \"partition\" takes partitions as a whole");
        }
        if self.walk != WalkChoice::Partition && self.detach == Detach::Concurrently {
            return wrong("detach", "\"concurrently\" needs walk = \"partition\"");
        }
        if self.walk != WalkChoice::Partition && self.straddling.is_some() {
            return wrong("straddling", "needs walk = \"partition\"");
        }
        match &self.archive_schema {
            None => Ok(()),
            Some(_) if self.walk != WalkChoice::Partition => {
                wrong("archive_schema", "needs walk = \"partition\": rows by themselves are not archived")
            }
            Some(_) if self.straddling == Some(Straddling::Rows) => {
                wrong("straddling", "\"rows\" would delete rows that archive_schema is to keep")
            }
            Some(schema) if schema.trim().is_empty() => wrong("archive_schema", "is empty"),
            Some(_) => Ok(()),
        }
    }

    fn check_predicate(&self) -> Result<(), ParamError> {
        self.predicate.as_ref().map_or(Ok(()), |predicate| check::sql("where", predicate))
    }

    fn has_input(&self) -> bool {
        let pieces = self.predicate.as_deref().map(inputs::cut);
        matches!(pieces, Some(Ok(pieces)) if pieces.iter().any(|piece| matches!(piece, Piece::Input(_))))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::described::TABLE;
    use crate::{kind::Registry, kinds::purge::Purge};

    fn problem(params: serde_json::Value) -> Option<String> {
        let mut registry = Registry::new();
        registry.add(Purge::default());
        registry.get("purge").expect("it was added").check(&params).err().map(|error| error.to_string())
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        let good = json!({"table": "t", "by": "at", "retention": "30 days"});
        assert_eq!(problem(good.clone()), None);
        for (name, value, part) in [
            ("retention", json!("0 days"), "params.retention: \"0 days\" is zero"),
            ("retention", json!(-5), "params.retention: \"-5\" is negative"),
            ("retention", json!(""), "params.retention: is empty"),
            ("max_fraction", json!(0), "params.max_fraction"),
            ("max_fraction", json!(1.5), "params.max_fraction"),
            ("batch", json!(0), "params.batch"),
            ("limit_rows", json!(0), "params.limit_rows"),
            ("refuse_above", json!(0), "params.refuse_above"),
            ("time_limit", json!("soon"), "params.time_limit"),
            ("where", json!(" "), "params.where: is empty"),
            ("where", json!("a = 'x"), "params.where"),
            ("pacing", json!("fast"), "params.pacing"),
            ("keep_for", json!(3), "keep_for"),
            ("keep_last", json!({"rows": 0, "per": ["a"]}), "params.keep_last: rows"),
            ("keep_last", json!({"rows": 1, "per": []}), "params.keep_last: per"),
            ("keep_min", json!(0), "params.keep_min"),
            ("detach", json!("concurrently"), "params.detach: \"concurrently\" needs walk"),
            ("vacuum", json!("full"), "params.vacuum"),
            ("retention_column", json!("kept"), "params.retention_column: excludes `retention`"),
            ("retention_query", json!({"query": "SELECT 1", "key": "a"}), "params.retention_query: excludes"),
            ("protect", json!({"table": "t", "keys": []}), "params.protect"),
            ("expires", json!("until"), "params.retention: is for `by`"),
            ("grace", json!("0 days"), "params.grace"),
            ("time_zone", json!("Europe/Pariss"), "params.time_zone: \"Europe/Pariss\" is no zone"),
            ("unit", json!("minutes"), "params.unit"),
            ("pacing", json!({"duty_cycle": 1.5}), "params.pacing: duty_cycle"),
            ("pacing", json!({"rows_per_second": 0}), "params.pacing: rows_per_second"),
            ("window", json!("22:00-22:00"), "params.window"),
            ("archive_schema", json!("old"), "params.archive_schema: needs walk"),
            ("workers", json!(0), "params.workers: must be from 1 to 16"),
            ("workers", json!(17), "params.workers: must be from 1 to 16"),
            ("workers", json!(2), "params.workers: more than 1 need pacing = \"full\""),
            ("children", json!([]), "params.children: is empty"),
            ("children", json!(["a", {"table": "a"}]), "params.children: a is named twice"),
            ("children", json!(["t"]), "params.children: t is the table itself"),
            (
                "children",
                json!([{"table": "a", "column": "b"}]),
                "params.children: a: column needs parent_column",
            ),
            (
                "children",
                json!([{"table": "a", "parent_column": "b"}]),
                "params.children: a: parent_column needs",
            ),
            ("children", json!([{"table": "a", "parent": "b"}]), "params.children: a: parent is for column"),
            (
                "children",
                json!([{"table": "a", "column": ["b", "c"], "parent_column": "id"}]),
                "params.children: a: column and parent_column must name as many",
            ),
            ("children", json!([{"table": "a", "protect": " "}]), "params.children[0].protect: is empty"),
            ("children", json!([{"tabel": "a"}]), "params.children"),
            ("archive", json!({"table": ""}), "params.archive: names no table"),
            ("archive", json!({"shelf": "cold"}), "params.archive"),
            ("archive", json!({}), "params.archive: needs a table or a storage"),
            #[cfg(feature = "backup")]
            (
                "archive",
                json!({"table": "a", "storage": "cold"}),
                "params.archive: names a table and a storage",
            ),
            #[cfg(feature = "backup")]
            ("archive", json!({"storage": " "}), "params.archive: storage takes a name"),
            #[cfg(feature = "backup")]
            ("archive", json!({"storage": "cold", "prefix": "../a"}), "params.archive: prefix takes"),
            #[cfg(feature = "backup")]
            ("archive", json!({"storage": "cold", "format": "xml"}), "params.archive"),
            #[cfg(feature = "backup")]
            ("archive", json!({"table": "a", "format": "csv"}), "params.archive: format and prefix are for"),
        ] {
            let mut params = good.clone();
            params[name] = value;
            let found = problem(params).unwrap_or_else(|| panic!("{name} passed"));
            assert!(found.contains(part), "{found:?} does not say {part:?}");
        }
    }

    #[test]
    fn without_an_age_a_predicate_needs_an_input() {
        assert_eq!(problem(json!({"table": "t", "where": "tenant_id = :tenant"})), None);
        let found = problem(json!({"table": "t", "where": "tenant_id = 7"})).expect("it is refused");
        assert!(found.contains("declared input"), "{found}");
        assert!(problem(json!({"table": "t", "by": "at"})).is_some_and(|found| found.contains("retention")));
        let found = problem(json!({"table": "t", "where": "tenant_id = :tenant", "grace": "1 day"}));
        assert!(found.is_some_and(|found| found.contains("params.grace: needs")));
    }

    #[test]
    fn an_expiry_stands_for_age_and_retention() {
        assert_eq!(problem(json!({"table": "t", "expires": "until", "grace": "1 day"})), None);
        assert!(
            problem(json!({"table": "t", "expires": " "})).is_some_and(|found| found.contains("is empty"))
        );
    }

    #[test]
    fn whole_partitions_exclude_what_spares_rows() {
        let with = |name: &str, value: serde_json::Value| {
            let mut params = json!({"table": "t", "by": "at", "retention": "30 days", "walk": "partition"});
            params[name] = value;
            problem(params)
        };
        assert_eq!(with("archive_schema", json!("old")), None);
        assert!(with("where", json!("a")).is_some_and(|found| found.contains("spare rows")));
        assert!(with("children", json!(["c"])).is_some_and(|found| found.contains("go row by row")));
        assert!(with("archive", json!({"table": "c"})).is_some_and(|found| found.contains("archive_schema")));
        assert!(with("walk", json!("partitions")).is_some_and(|found| found.contains("params.walk")));
        let both = json!({"table": "t", "by": "at", "retention": "30 days", "walk": "partition",
                          "archive_schema": "old", "straddling": "rows"});
        assert!(problem(both).is_some_and(|found| found.contains("params.straddling")));
    }

    #[test]
    fn the_table_is_complete() {
        for param in TABLE {
            let found = problem(json!({"table": "t", "by": "at", "retention": "30 days", param.name: [[]]}));
            let found = found.unwrap_or_else(|| panic!("{} takes anything", param.name));
            assert!(!found.contains("unknown field"), "{} is described, but not known", param.name);
        }
        let unknown = problem(json!({"nope": 1})).expect("it is refused");
        let known = unknown.matches('`').count() / 2 - 1;
        assert_eq!(known, TABLE.len(), "a parameter is not described: {unknown}");
    }

    #[test]
    fn the_documented_table_is_this_one() {
        let page = include_str!("../../../docs/kinds/purge.md");
        let documented: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        let row = |of: &str, param: &crate::kind::Param| {
            format!("| `{of}{}` | {} | {} | {} |", param.name, param.takes, param.default, param.help)
        };
        let described: Vec<String> = TABLE.iter().map(|param| row("", param)).collect();
        #[cfg(feature = "http")]
        let described: Vec<String> = {
            let of_calls =
                crate::kinds::purge::BEFORE_DELETE.iter().map(|param| row("before_delete.", param));
            described.into_iter().chain(of_calls).collect()
        };
        assert_eq!(documented, described);
    }
}
