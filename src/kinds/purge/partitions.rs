//! Which partitions go as a whole, and whether any may.
//!
//! A partition of a table that is partitioned by range of the age column goes if all it can hold is older than the
//! cutoff: its upper bound, which is exclusive, does not lie behind it. What is easy to get wrong: whatever spares a
//! single row rules whole partitions out. Hence `spares` names every parameter, so that a new one does not compile
//! before somebody has said what it means here.

use serde_json::{Value, json};
use tokio_postgres::{Row, types::ToSql};

use super::{
    age::AgeType,
    cursor::Cutoff,
    moment::Moment,
    params::{Detach, Params},
    statement::{Quoted, Scope},
    target::{Facts, ForeignKey},
};
use crate::{
    kind::{RunContext, Stop},
    statements,
};

/// A partition.
#[derive(Clone, Debug)]
pub struct Partition {
    pub(super) oid: u32,
    /// Schema-qualified, quoted.
    pub(super) name: Quoted,
    /// Where it ends, exclusive; `None` if it does not, or is the default one.
    pub(super) upper: Option<Moment>,
    /// About how many rows it has; `None` if nobody knows.
    pub(super) rows: Option<u64>,
    /// Bytes with indexes.
    pub(super) bytes: i64,
    /// Whether its rows' going is told to subscribers.
    pub(super) published: bool,
    /// Whether it holds a part of the range, as the default one does not.
    ranged: bool,
    /// Why it stays, if its bounds do not say so already.
    obstacle: Option<String>,
}

/// Partitions, told apart.
#[derive(Clone, Debug, Default)]
pub struct Partitions {
    /// Those that go, the oldest first.
    pub going: Vec<Partition>,
    /// Those that are old as a whole and stay, with why.
    pub kept: Vec<(Quoted, String)>,
    /// One that holds a part of the range and does not go: as long as it is there, no other is the last one.
    stays: Option<u32>,
}

/// Why no partition may go as a whole, and what to do about it.
pub type Objection = (String, String);

/// Not some of them.
pub const ALL: Option<Vec<u32>> = None;

/// Looks at the partitions; says why none may go, if that is so.
pub async fn consider(
    context: &mut RunContext,
    params: &Params,
    scope: &Scope,
    facts: &Facts,
    keys: &[ForeignKey],
    cutoff: Option<&Cutoff>,
) -> Result<Result<Partitions, Objection>, Stop> {
    if let Some(parameter) = spares(params, scope) {
        let reason = format!("{parameter} may spare rows of a partition");
        return Ok(Err((reason, format!("do without {parameter}, or set walk = \"index\""))));
    }
    if let Some(key) = keys.first() {
        let reason = format!("{} of {} references {}", key.name, key.child, facts.name);
        let remedy = "set walk = \"index\", which deletes row by row as the foreign key needs it";
        return Ok(Err((reason, remedy.to_owned())));
    }
    let column = scope.age.as_ref().and_then(|age| age.column.map(|column| (column, age.ty)));
    let (Some((column, ty)), Some(cutoff)) = (column, cutoff) else {
        return Ok(Err(("the age is no column".to_owned(), "set walk = \"index\"".to_owned())));
    };
    if matches!(ty, AgeType::Integer(_) | AgeType::Uuid) {
        return Ok(Err(("the age is an integer or a UUID".to_owned(), "set walk = \"index\"".to_owned())));
    }
    let schema = &params.archive_schema;
    context.query(statements::PURGE_PLANNER_PLAIN, &[]).await?;
    let values: [&(dyn ToSql + Sync); 4] = [&facts.oid, &column, schema, &ALL];
    let rows = context.query(statements::PURGE_PARTITIONS, &values).await?;
    if rows.is_empty() {
        let reason = format!("{} has no partitions by range of its age alone", facts.name);
        return Ok(Err((reason, "set walk = \"index\", or leave it out".to_owned())));
    }
    if params.detach == Detach::Concurrently && rows.iter().any(|row| row.get("is_default")) {
        let reason = format!("{} has a default partition, which rules out DETACH CONCURRENTLY", facts.name);
        return Ok(Err((reason, "set detach = \"plain\", or leave it out".to_owned())));
    }
    if let Some(schema) = schema {
        archive(context, schema, &facts.role).await?;
    }
    Ok(Ok(tell_apart(read(&rows, ty), cutoff.age)))
}

/// The parameter, if any, by which a row older than the cutoff may stay.
fn spares(params: &Params, scope: &Scope) -> Option<&'static str> {
    let Scope {
        table: _,
        partitioned: _,
        age: _,
        predicate,
        inputs: _,
        own,
        unless,
        unreferenced,
        keep_last,
        holds,
    } = scope;
    let Params {
        table: _,
        database: _,
        targets: _,
        by: _,
        unit: _,
        retention: _,
        retention_column,
        retention_query,
        expires: _,
        grace: _,
        cutoff: _,
        time_zone: _,
        predicate: written,
        keep_last: keep_newest,
        // It moves the cutoff, and whole partitions end before that.
        keep_min: _,
        protect,
        on_referenced: _,
        children,
        archive: rows_kept,
        #[cfg(feature = "http")]
        before_delete,
        batch: _,
        pacing: _,
        window: _,
        yield_when: _,
        yield_for: _,
        limit_rows: _,
        time_limit: _,
        refuse_above: _,
        max_fraction: _,
        allow_unindexed_fk: _,
        walk: _,
        // They share out what goes; whole partitions go one after the other.
        workers: _,
        straddling: _,
        archive_schema: _,
        exact_counts: _,
        vacuum: _,
        detach: _,
    } = params;
    [
        // Their rows go row by row, and so does what is kept in a table.
        ("children", children.is_some()),
        ("archive", rows_kept.is_some()),
        #[cfg(feature = "http")]
        ("before_delete", before_delete.is_some()),
        ("where", written.is_some() || !predicate.is_empty()),
        ("a hold", !holds.is_empty()),
        ("protect", protect.is_some() || !unless.is_empty()),
        ("keep_last", keep_last.is_some() || keep_newest.is_some()),
        ("retention_column", retention_column.is_some()),
        ("retention_query", retention_query.is_some() || own.is_some()),
        ("on_referenced", !unreferenced.is_empty()),
    ]
    .into_iter()
    .find(|(_, spares)| *spares)
    .map(|(name, _)| name)
}

/// The schema that partitions move to, quoted; refused if they cannot.
pub async fn archive(context: &mut RunContext, schema: &str, role: &str) -> Result<Quoted, Stop> {
    let rows = context.query(statements::PURGE_SCHEMA, &[&schema]).await?;
    let Some(row) = rows.first() else {
        let reason = format!("params.archive_schema: there is no schema \"{schema}\"");
        return Err(Stop::refused(reason, "create it, or edit the job"));
    };
    let name: String = row.get("name");
    if !row.get::<_, bool>("may_create") {
        let reason = format!("role {role} may not create tables in schema {name}");
        return Err(Stop::refused(reason, format!("GRANT CREATE ON SCHEMA {name} TO {role};")));
    }
    Ok(Quoted::by_server(name))
}

/// What `purge_partitions.sql` gives.
pub fn read(rows: &[Row], ty: AgeType) -> Vec<Partition> {
    rows.iter().map(|row| partition(row, ty)).collect()
}

fn partition(row: &Row, ty: AgeType) -> Partition {
    let upper = match ty {
        AgeType::Timestamptz => Some("upper_timestamptz"),
        AgeType::Timestamp => Some("upper_timestamp"),
        AgeType::Date => Some("upper_date"),
        AgeType::Integer(_) | AgeType::Uuid => None,
    };
    let is_default: bool = row.get("is_default");
    let told = |name: &str| row.get::<_, Option<String>>(name);
    let obstacle = match row.get("kind") {
        _ if row.get("pending") => Some("somebody is detaching it".to_owned()),
        "r" | "p" if row.get("owned") => told("referenced").or(told("viewed")).or(told("taken")),
        "r" | "p" => Some("the role does not own it and its parent".to_owned()),
        _ => Some("it is a foreign table".to_owned()),
    };
    Partition {
        oid: row.get("oid"),
        name: Quoted::by_server(row.get("name")),
        upper: upper.and_then(|upper| row.get::<_, Option<Moment>>(upper)).filter(|_| !is_default),
        rows: row.get::<_, Option<i64>>("rows").map(i64::unsigned_abs),
        bytes: row.get::<_, Option<i64>>("bytes").unwrap_or_default(),
        published: row.get("published"),
        ranged: !is_default && !row.get::<_, bool>("pending"),
        obstacle,
    }
}

/// Tells apart which go, by a cutoff. The last one that holds a part of the range always stays.
pub fn tell_apart(mut all: Vec<Partition>, cutoff: Moment) -> Partitions {
    all.sort_by_key(|partition| partition.upper);
    let ranged = all.iter().filter(|partition| partition.ranged).count();
    let mut found = Partitions::default();
    for partition in all {
        let before = found.going.len();
        let stays = partition.ranged.then_some(partition.oid);
        match &partition.obstacle {
            _ if partition.upper.is_none_or(|upper| upper > cutoff) => {}
            Some(why) => found.kept.push((partition.name, why.clone())),
            None => found.going.push(partition),
        }
        if found.going.len() == before {
            found.stays = stays.or(found.stays);
        }
    }
    if found.going.len() == ranged
        && let Some(last) = found.going.pop()
    {
        found.stays = Some(last.oid);
        found.kept.push((last.name, "it is the last partition".to_owned()));
    }
    found
}

impl Partitions {
    /// Whether this one goes, by its oid and name.
    pub fn goes(&self, partition: &Partition) -> bool {
        self.going.iter().any(|other| other.oid == partition.oid && other.name == partition.name)
    }

    /// What tells whether one still goes, first the least, then all: itself, beside one that stays. If these two say that
    /// it goes, all would say so; if they do not, the other may just be gone.
    pub fn looks(&self, partition: &Partition) -> impl Iterator<Item = Option<Vec<u32>>> {
        let least = self.stays.map(|stays| Some(vec![partition.oid, stays]));
        least.into_iter().chain([ALL])
    }

    /// What stays though it is old as a whole.
    pub fn kept_to_json(&self) -> Vec<Value> {
        self.kept.iter().map(|(name, why)| json!({"name": name.as_str(), "why": why})).collect()
    }

    /// Who would not hear of these going as they do of a DELETE.
    pub fn unheard(&self, triggers: bool) -> Option<String> {
        let published = self.going.iter().any(|partition| partition.published);
        let unheard: Vec<&str> = [(triggers, "triggers"), (published, "subscribers")]
            .into_iter()
            .filter_map(|(is, name)| is.then_some(name))
            .collect();
        (!unheard.is_empty() && !self.going.is_empty()).then(|| unheard.join(" and "))
    }
}

impl Partition {
    /// As reports have it; with its rows if they were counted.
    pub fn to_json(&self, counted: Option<u64>) -> Value {
        json!({
            "name": self.name.as_str(), "until": self.upper, "bytes": self.bytes,
            "rows": counted.or(self.rows), "counted": counted.is_some(),
        })
    }

    /// What to say of it when it goes: its parent's statements, in their order, after it is locked.
    pub fn removal(&self, parent: &Quoted, archive: Option<&Quoted>) -> [String; 2] {
        let (parent, name) = (parent.as_str(), self.name.as_str());
        let detach = format!("ALTER TABLE {parent} DETACH PARTITION {name}");
        match archive {
            Some(schema) => [detach, format!("ALTER TABLE {name} SET SCHEMA {}", schema.as_str())],
            None => [detach, format!("DROP TABLE {name}")],
        }
    }

    /// Locks the parent, then the partition: the first waits as any statement does, the second not at all, since
    /// readers already queue behind the first.
    pub fn locks(&self, parent: &Quoted) -> [String; 2] {
        [
            format!("LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE", parent.as_str()),
            format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE NOWAIT", self.name.as_str()),
        ]
    }

    /// Counts its rows.
    pub fn count(&self) -> String {
        format!("SELECT pg_catalog.count(*) FROM {}", self.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(day: &str) -> Moment {
        format!("2026-01-{day}T00:00:00Z").parse().expect("a moment")
    }

    fn ending(name: &str, upper: Option<&str>, obstacle: Option<&str>) -> Partition {
        Partition {
            oid: 1,
            name: Quoted::by_server(name.to_owned()),
            upper: upper.map(moment),
            rows: None,
            bytes: 0,
            published: false,
            ranged: name != "default",
            obstacle: obstacle.map(str::to_owned),
        }
    }

    fn going(all: Vec<Partition>, cutoff: &str) -> (Vec<String>, Vec<String>) {
        let found = tell_apart(all, moment(cutoff));
        let name = |name: &Quoted| name.as_str().to_owned();
        (
            found.going.iter().map(|it| name(&it.name)).collect(),
            found.kept.iter().map(|it| name(&it.0)).collect(),
        )
    }

    #[test]
    fn only_what_ends_by_the_cutoff_goes_and_the_oldest_first() {
        let all = vec![
            ending("c", Some("03"), None),
            ending("a", Some("01"), None),
            ending("b", Some("02"), None),
            ending("default", None, None),
        ];
        assert_eq!(going(all, "02"), (vec!["a".to_owned(), "b".to_owned()], vec![]));
    }

    #[test]
    fn the_last_one_stays_however_old() {
        let all =
            vec![ending("a", Some("01"), None), ending("b", Some("02"), None), ending("default", None, None)];
        assert_eq!(going(all, "09"), (vec!["a".to_owned()], vec!["b".to_owned()]));
        assert_eq!(going(vec![ending("a", Some("01"), None)], "09"), (vec![], vec!["a".to_owned()]));
    }

    #[test]
    fn one_that_must_stay_is_enough_to_let_the_others_go() {
        let all = vec![ending("a", Some("01"), Some("view v reads it")), ending("b", Some("02"), None)];
        assert_eq!(going(all, "09"), (vec!["b".to_owned()], vec!["a".to_owned()]));
    }

    /// Partitions that end on the first days of a month, by bits: those with an obstacle, and those that are gone.
    fn days(obstacles: u32, gone: u32) -> Vec<Partition> {
        let day = |oid: u32| {
            let obstacle = (obstacles >> oid & 1 == 1).then_some("view v reads it");
            Partition { oid, ..ending(&format!("p{oid}"), Some(&format!("0{oid}")), obstacle) }
        };
        (1..=4).filter(|oid| gone >> oid & 1 == 0).map(day).collect()
    }

    #[test]
    fn a_look_at_two_says_that_one_goes_only_if_a_look_at_all_does() {
        let mut enough = [0, 0];
        for (which, earlier, now, gone) in (0..3 << 12).map(|n| (n >> 12, n >> 8 & 15, n >> 4 & 15, n & 15)) {
            let cutoff = moment(["02", "03", "09"][which as usize]);
            let before = tell_apart(days(earlier << 1, 0), cutoff);
            for partition in &before.going {
                let goes = |few: Option<Vec<u32>>| {
                    let mut seen = days(now << 1, gone << 1);
                    seen.retain(|it| few.as_ref().is_none_or(|few| few.contains(&it.oid)));
                    tell_apart(seen, cutoff).goes(partition)
                };
                assert!(!goes(Some(vec![partition.oid])), "by itself it is the last one");
                let looks: Vec<bool> = before.looks(partition).map(goes).collect();
                assert!(looks[1] || !looks[0], "{} {earlier:b} {now:b} {gone:b}", partition.name);
                enough[usize::from(looks[0])] += u32::from(looks[1]);
            }
        }
        assert!(enough[0] > 0 && enough[1] > enough[0], "{enough:?}");
    }
}
