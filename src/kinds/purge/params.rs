//! The parameters of a purge: a closed set, each documented once in `described`.

use serde::Deserialize;

use super::{age::AgeUnit, hold::Protect, keep::KeepLast, own::RetentionQuery, window::Window};
use crate::kind::{
    ParamError,
    inputs::{self, Piece},
    interval::{Limit, Retention},
};

/// What a purge job is told. See `described` for what each means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The table.
    pub table: String,
    /// The age: a column or an SQL expression.
    pub by: Option<String>,
    /// What the age counts since 1970, if it is an integer.
    pub unit: Option<AgeUnit>,
    /// How long rows are kept.
    pub retention: Option<Retention>,
    /// How long each row is kept: a column or an SQL expression.
    pub retention_column: Option<String>,
    /// How long the rows of each key are kept.
    pub retention_query: Option<RetentionQuery>,
    /// Instead of age and retention, the instant at which a row expires: a column or an SQL expression.
    pub expires: Option<String>,
    /// How much longer rows are kept.
    pub grace: Option<Retention>,
    /// From which instant the retention counts back.
    #[serde(default)]
    pub cutoff: CutoffFrom,
    /// The zone of `cutoff = "midnight"` and of columns without one; UTC.
    pub time_zone: Option<String>,
    /// Which of the old rows.
    #[serde(rename = "where")]
    pub predicate: Option<String>,
    /// So many of the newest rows of each key stay.
    pub keep_last: Option<KeepLast>,
    /// So many of the newest rows of the table stay.
    pub keep_min: Option<u64>,
    /// Which rows stay, whatever their age.
    pub protect: Option<Protect>,
    /// What becomes of rows that others reference.
    #[serde(default)]
    pub on_referenced: OnReferenced,
    /// Rows a batch; adaptive if absent.
    pub batch: Option<u64>,
    /// How much of the database the purge takes.
    #[serde(default)]
    pub pacing: Pacing,
    /// The hours in which it works.
    pub window: Option<Window>,
    /// An SQL condition during which the purge rests.
    pub yield_when: Option<String>,
    /// How long it rests at a stretch before the run ends, to come back; 5 minutes.
    pub yield_for: Option<Limit>,
    /// Ends the run, as succeeded, after that many rows.
    pub limit_rows: Option<u64>,
    /// Ends the run, as succeeded, after that long.
    pub time_limit: Option<Limit>,
    /// Refuses if more rows than this are eligible.
    pub refuse_above: Option<u64>,
    /// Refuses if a larger share of the table is eligible.
    #[serde(default = "half")]
    pub max_fraction: f64,
    /// Passes over foreign keys that no index serves.
    #[serde(default)]
    pub allow_unindexed_fk: bool,
    /// How the rows are found.
    #[serde(default)]
    pub walk: WalkChoice,
    /// How many sessions delete at a time.
    #[serde(default = "one")]
    pub workers: u16,
    /// What becomes of old rows in partitions that do not go as a whole.
    pub straddling: Option<Straddling>,
    /// The schema to which partitions are moved instead of being dropped.
    pub archive_schema: Option<String>,
    /// Count the rows of a partition before it goes, instead of estimating them.
    #[serde(default)]
    pub exact_counts: bool,
}

fn one() -> u16 {
    1
}

fn half() -> f64 {
    0.5
}

/// From which instant the retention counts back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutoffFrom {
    /// That of the run.
    #[default]
    Now,
    /// The last midnight in `time_zone`.
    Midnight,
}

/// What becomes of rows that others reference without a cascade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnReferenced {
    /// The run fails.
    #[default]
    Fail,
    /// They stay.
    Skip,
}

/// How much of the database the purge takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pacing {
    /// Batches of about 20 ms, and a rest as long as each took.
    #[default]
    Gentle,
    /// Batches of about 250 ms, without rests.
    Full,
    /// Batches of about 20 ms, and rests that keep to so many rows a second.
    RowsPerSecond(u64),
    /// Batches of about 20 ms, and rests so that this share of the time is spent on batches.
    DutyCycle(f64),
}

/// How the rows are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WalkChoice {
    /// Whichever is cheaper.
    #[default]
    Auto,
    /// Along the index on the age column.
    Index,
    /// Once through the table, in the order in which it is stored.
    Heap,
    /// Partitions as a whole.
    Partition,
}

/// What becomes of old rows in partitions that do not go as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Straddling {
    /// They are deleted one by one, along the index on the age.
    Rows,
    /// They stay until their partition goes.
    Leave,
}

impl Params {
    /// The zone in force.
    pub fn zone(&self) -> &str {
        self.time_zone.as_deref().unwrap_or("UTC")
    }

    /// What the shape alone cannot tell.
    ///
    /// # Errors
    /// The first parameter that is wrong.
    pub fn check(&self) -> Result<(), ParamError> {
        let wrong = |path: &str, message: &str| Err(ParamError::new(path, message));
        if self.table.trim().is_empty() {
            return wrong("table", "is empty");
        }
        if let Some((name, age)) = self.age()
            && age.trim().is_empty()
        {
            return wrong(name, "is empty; name the column that tells a row's age, or its expiry");
        }
        self.check_age()?;
        self.check_predicate()?;
        self.check_kept()?;
        self.check_partitions()?;
        super::workers::check(self)?;
        if self.batch.is_some_and(|rows| !(1..=1_000_000).contains(&rows)) {
            return wrong("batch", "must be from 1 to 1000000 rows");
        }
        match self.pacing {
            Pacing::RowsPerSecond(0) => return wrong("pacing", "rows_per_second must be at least 1"),
            Pacing::DutyCycle(share) if !(share > 0.0 && share <= 1.0) => {
                return wrong("pacing", "duty_cycle must be above 0 and at most 1, such as 0.25");
            }
            _ => {}
        }
        if self.yield_when.as_ref().is_some_and(|text| text.trim().is_empty()) {
            return wrong("yield_when", "is empty; leave it out if nothing of your own is to be asked");
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

    fn check_kept(&self) -> Result<(), ParamError> {
        if self.keep_min == Some(0) {
            return Err(ParamError::new("keep_min", "must be at least 1; leave it out if none need stay"));
        }
        if let Some(keep) = &self.keep_last {
            keep.check()?;
        }
        self.protect.as_ref().map_or(Ok(()), Protect::check)
    }

    /// What tells whether a row's time is over, and the name of the parameter that says so.
    pub fn age(&self) -> Option<(&'static str, &str)> {
        let by = self.by.as_deref().map(|by| ("by", by));
        by.or(self.expires.as_deref().map(|expires| ("expires", expires)))
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
        if self.retention_column.as_ref().is_some_and(|text| text.trim().is_empty()) {
            let message = "is empty; name the column that tells how long a row is kept";
            return Err(ParamError::new("retention_column", message));
        }
        self.retention_query.as_ref().map_or(Ok(()), RetentionQuery::check)
    }

    /// How long rows are kept, for people.
    pub fn retention_text(&self) -> Option<String> {
        match (&self.retention, &self.retention_column, &self.retention_query) {
            (Some(retention), ..) => Some(retention.as_str().to_owned()),
            (None, Some(column), _) => Some(format!("of each row: {column}")),
            (None, None, Some(query)) => Some(format!("of each {}: {}", query.key, query.query)),
            (None, None, None) => None,
        }
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

    /// What becomes of old rows in partitions that do not go as a whole.
    pub fn straddling(&self) -> Straddling {
        let default = if self.archive_schema.is_some() { Straddling::Leave } else { Straddling::Rows };
        self.straddling.unwrap_or(default)
    }

    fn check_predicate(&self) -> Result<(), ParamError> {
        let Some(predicate) = &self.predicate else { return Ok(()) };
        if predicate.trim().is_empty() {
            return Err(ParamError::new("where", "is empty; leave it out if every old row is to go"));
        }
        inputs::cut(predicate).map(drop).map_err(|message| ParamError::new("where", message))
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
        registry.add(Purge);
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
            ("retention_column", json!("kept"), "params.retention_column: excludes `retention`"),
            ("retention_query", json!({"query": "SELECT 1", "key": "a"}), "params.retention_query: excludes"),
            ("protect", json!({"table": "t", "keys": []}), "params.protect"),
            ("expires", json!("until"), "params.retention: is for `by`"),
            ("grace", json!("0 days"), "params.grace"),
            ("unit", json!("minutes"), "params.unit"),
            ("pacing", json!({"duty_cycle": 1.5}), "params.pacing: duty_cycle"),
            ("pacing", json!({"rows_per_second": 0}), "params.pacing: rows_per_second"),
            ("window", json!("22:00-22:00"), "params.window"),
            ("archive_schema", json!("old"), "params.archive_schema: needs walk"),
            ("workers", json!(0), "params.workers: must be from 1 to 16"),
            ("workers", json!(17), "params.workers: must be from 1 to 16"),
            ("workers", json!(2), "params.workers: more than 1 need pacing = \"full\""),
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
        let described: Vec<String> = TABLE
            .iter()
            .map(|param| {
                format!("| `{}` | {} | {} | {} |", param.name, param.takes, param.default, param.help)
            })
            .collect();
        assert_eq!(documented, described);
    }
}
