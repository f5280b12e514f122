//! The parameters of a purge: a closed set, each documented once in `described`.

use serde::Deserialize;

use super::{
    age::AgeUnit, archive::Archive, children::Child, hold::Protect, keep::KeepLast, own::RetentionQuery,
    window::Window,
};
use crate::kind::{
    Need,
    interval::{Limit, Retention},
};

/// What a purge job is told. See `described` for what each means, and `check` for what does not go together.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The table; empty where there are several targets.
    #[serde(default)]
    pub table: String,
    /// Several tables, each with parameters of its own, instead of one.
    pub targets: Option<Vec<Params>>,
    /// Where the table of a target is, if not in the database that the job works in.
    pub database: Option<String>,
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
    /// Tables whose rows go first.
    pub children: Option<Vec<Child>>,
    /// Where the rows are kept.
    pub archive: Option<Archive>,
    /// What is called for each row before it goes.
    #[cfg(feature = "http")]
    pub before_delete: Option<super::before::BeforeDelete>,
    /// Rows a batch; adaptive if absent.
    pub batch: Option<u64>,
    /// How much of the database the purge takes; gently if absent.
    pub pacing: Option<Pacing>,
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
    /// How partitions leave their table.
    #[serde(default)]
    pub detach: Detach,
    /// Whether the table is vacuumed after the walk.
    #[serde(default)]
    pub vacuum: VacuumChoice,
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
    /// Batches of about 5 ms in slices of less than 1 ms, and a little more rest between.
    #[default]
    Gentle,
    /// Batches of about 250 ms, without rests.
    Full,
    /// The same, and rests that keep to so many rows a second.
    RowsPerSecond(u64),
    /// The same, and rests so that this share of the time is spent on batches.
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

/// How partitions leave their table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detach {
    /// In the transaction of their removal, with the fence.
    #[default]
    Plain,
    /// Before it, without a fence and without keeping anybody waiting.
    Concurrently,
}

/// Whether the table is vacuumed after the walk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VacuumChoice {
    /// Where autovacuum would come as well.
    #[default]
    Auto,
    /// Not.
    Never,
    /// Wherever a run left dead rows.
    After,
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
    /// How much of the database the purge takes.
    pub fn pace(&self) -> Pacing {
        self.pacing.unwrap_or_default()
    }

    /// The zone in force.
    pub fn zone(&self) -> &str {
        self.time_zone.as_deref().unwrap_or("UTC")
    }

    /// What tells whether a row's time is over, and the name of the parameter that says so.
    pub fn age(&self) -> Option<(&'static str, &str)> {
        let by = self.by.as_deref().map(|by| ("by", by));
        by.or(self.expires.as_deref().map(|expires| ("expires", expires)))
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

    /// What a replica must know locally.
    pub fn needs(&self) -> Vec<Need> {
        let mut needs: Vec<Need> = self.targets.iter().flatten().flat_map(Params::needs).collect();
        needs.extend(self.database.clone().map(Need::Database));
        #[cfg(feature = "http")]
        needs.extend(self.before_delete.iter().flat_map(super::before::BeforeDelete::needs));
        #[cfg(feature = "backup")]
        needs.extend(self.archives().filter_map(Archive::needs));
        needs.sort();
        needs.dedup();
        needs
    }

    /// Where rows of the table and its children are kept.
    #[cfg(feature = "backup")]
    pub(super) fn archives(&self) -> impl Iterator<Item = &Archive> {
        let children = self.children.iter().flatten().filter_map(Child::more);
        children.filter_map(|child| child.archive.as_ref()).chain(&self.archive)
    }

    /// What becomes of old rows in partitions that do not go as a whole.
    pub fn straddling(&self) -> Straddling {
        let default = if self.archive_schema.is_some() { Straddling::Leave } else { Straddling::Rows };
        self.straddling.unwrap_or(default)
    }
}
