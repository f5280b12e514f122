//! Purges of random tables against what plain SQL says must be left: NULLs, ties, infinities, all types of ages, odd names, missing and
//! composite keys, predicates with OR, what is held, protected or among the newest, any batch size, both walks, both ways of committing, one or several workers, lost after any batch.
//!
//! The oracle shares nothing with the purge: it is one SELECT, with the cutoff written out as a constant.

use std::sync::atomic::{AtomicU64, Ordering};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::json;
use sexton::testing::Ran;

use crate::purge_support::World;

/// The run's now, and the cutoff 30 days before it.
const NOW: &str = "2026-03-15T12:00:00Z";
const CUTOFF: &str = "2026-02-13 12:00:00";

/// What stays whatever its age.
#[derive(Clone, Debug)]
struct Kept {
    protect: Option<&'static str>,
    held: Option<&'static str>,
    last: Option<(u32, &'static [&'static str])>,
    min: Option<u32>,
}

fn kept() -> impl Strategy<Value = Kept> {
    let rows = prop_oneof![Just("b = 1"), Just("a = 2 OR b = 0 -- both"), Just("id % 5 = 0")];
    let per = prop_oneof![Just(&["a"][..]), Just(&["b", "a"][..])];
    (
        proptest::option::weighted(0.2, rows.clone()),
        proptest::option::weighted(0.2, rows),
        proptest::option::weighted(0.4, (1..12_u32, per)),
        proptest::option::weighted(0.2, 1..300_u32),
    )
        .prop_map(|(protect, held, last, min)| Kept { protect, held, last, min })
}

/// A table, a job, and an accident.
#[derive(Clone, Debug)]
struct Case {
    rows: Vec<(Option<i32>, i32, Option<i32>)>,
    column: &'static str,
    ty: &'static str,
    says: &'static str,
    by_expression: bool,
    key: &'static str,
    predicate: Option<&'static str>,
    kept: Kept,
    walk: &'static str,
    pacing: &'static str,
    batch: u32,
    workers: u16,
    lost_after: Option<u64>,
}

fn cases() -> impl Strategy<Value = Case> {
    // Ages in hours from the cutoff, few enough that many are equal, and some exactly at it.
    let age =
        prop_oneof![1 => Just(None), 1 => Just(Some(i32::MIN)), 8 => (-12..6_i32).prop_map(|n| Some(n * 12))];
    let row = (age, 0..4_i32, proptest::option::of(0..3_i32));
    (
        (
            proptest::collection::vec(row, 0..400),
            prop_oneof![Just("at"), Just("Created At"), Just("select"), Just("a\"b'c")],
            (
                prop_oneof![
                    Just("timestamptz"),
                    Just("timestamp"),
                    Just("date"),
                    Just("seconds"),
                    Just("small seconds"),
                    Just("milliseconds"),
                    Just("uuid"),
                ],
                prop_oneof![2 => Just("retention"), 1 => Just("grace"), 1 => Just("expires"), 1 => Just("column"), 1 => Just("query")],
            ),
            any::<bool>(),
            prop_oneof![Just(""), Just("PRIMARY KEY (id)"), Just("PRIMARY KEY (a, id)")],
        ),
        (
            proptest::option::of(prop_oneof![
                Just("a = 1 OR b = 2"),
                Just("b IS NULL"),
                Just("a > 0 -- not the first"),
                Just("a::text <> '0' AND b <> 1"),
            ]),
            kept(),
            prop_oneof![Just("auto"), Just("index"), Just("heap")],
            prop_oneof![Just("gentle"), Just("full")],
            (1..60_u32, 1..5_u16),
            proptest::option::of(0..12_u64),
        ),
    )
        .prop_map(
            |(
                (rows, column, (ty, says), by_expression, key),
                (predicate, kept, walk, pacing, (batch, workers), lost_after),
            )| Case {
                rows,
                column,
                ty,
                says,
                by_expression: by_expression && walk != "index",
                key,
                predicate,
                kept,
                walk,
                pacing,
                batch,
                workers: if pacing == "full" { workers } else { 1 },
                lost_after,
            },
        )
}

impl Case {
    fn quoted(&self) -> String {
        format!("\"{}\"", self.column.replace('"', "\"\""))
    }

    /// The table, filled. Extra width spreads the rows over several blocks.
    fn sql(&self) -> String {
        let key = if self.key.is_empty() { String::new() } else { format!(", {}", self.key) };
        let (name, ty) = (self.quoted(), self.sql_type());
        let mut sql = format!(
            "DROP TABLE IF EXISTS \"Odd Table\"; \
             CREATE TABLE \"Odd Table\" (id int, {name} {ty}, a int, b int, wide text, \"Kept For\" interval{key}); \
             CREATE INDEX ON \"Odd Table\" ({name});"
        );
        for (id, (age, a, b)) in self.rows.iter().enumerate() {
            let age = match age {
                None => "NULL".to_owned(),
                Some(i32::MIN) => "'-infinity'".to_owned(),
                Some(hours) => {
                    format!("(timestamp '{CUTOFF}' + interval '{hours} hours')::timestamp AT TIME ZONE 'UTC'")
                }
            };
            let (milliseconds, lowest) = (format!("extract(epoch FROM {age}) * 1000"), age == "'-infinity'");
            let age = match self.ty {
                "timestamptz" => age,
                "seconds" | "small seconds" | "milliseconds" | "uuid" if age == "NULL" => age,
                "seconds" | "small seconds" | "milliseconds" if lowest => "-32768".to_owned(),
                "seconds" | "small seconds" => format!("extract(epoch FROM {age})"),
                "milliseconds" => milliseconds,
                "uuid" if lowest => "'00000000-0000-7000-8000-000000000000'".to_owned(),
                "uuid" => format!(
                    "(lpad(to_hex(({milliseconds})::bigint), 12, '0') || '7abc8def012345678{:03}')::uuid",
                    id % 1000
                ),
                _ if age.starts_with('(') => format!("(({age}) AT TIME ZONE 'UTC')::{ty}"),
                _ => age,
            };
            let keep = match b {
                Some(0) => "'30 days'",
                Some(1) => "'27 days'",
                Some(_) => "'1 mon'",
                None => "NULL",
            };
            let b = b.map_or("NULL".to_owned(), |b| b.to_string());
            sql.push_str(&format!(
                "INSERT INTO \"Odd Table\" VALUES ({id}, {age}, {a}, {b}, repeat('x', 500), {keep});"
            ));
        }
        sql
    }

    /// Ids of the rows that must be left.
    fn oracle(&self) -> String {
        let name = self.quoted();
        // What 29 days, 30 days, 27 days and a month before the run's now are, by the calendar.
        let cutoff = match self.says() {
            "column" => format!(
                "(CASE b WHEN 0 THEN timestamp '{CUTOFF}' WHEN 1 THEN '2026-02-16 12:00' WHEN 2 THEN '2026-02-15 12:00' END)"
            ),
            "query" => format!(
                "(CASE a WHEN 0 THEN timestamp '{CUTOFF}' WHEN 1 THEN '2026-02-15 12:00' WHEN 2 THEN '2026-02-14 12:00' END)"
            ),
            _ => format!("timestamp '{CUTOFF}'"),
        };
        let instant = format!("{cutoff} AT TIME ZONE 'UTC'");
        let old = match self.ty {
            "timestamptz" => format!("{name} < {instant}"),
            "timestamp" => format!("{name} < {cutoff}"),
            "date" => format!("{name} < {cutoff}::date"),
            "seconds" | "small seconds" => format!("to_timestamp({name}) < {instant}"),
            "milliseconds" => format!("to_timestamp({name} / 1000.0) < {instant}"),
            _ => format!(
                "to_timestamp(('x' || left(replace({name}::text, '-', ''), 12))::bit(48)::bigint / 1000.0) < {instant}"
            ),
        };
        let predicate = self.predicate.unwrap_or("true");
        let mut goes = format!("{old} AND ({predicate}\n)");
        for stays in [self.kept.protect, self.kept.held].into_iter().flatten() {
            goes.push_str(&format!(" AND ({stays}\n) IS NOT TRUE"));
        }
        if let Some((_, per)) = self.kept.last {
            goes.push_str(&format!(
                " AND num_nulls({}) = 0 AND rank > {}",
                per.join(", "),
                self.kept.last.unwrap().0
            ));
        }
        if let Some(min) = self.kept.min {
            goes.push_str(&format!(
                " AND {name} < (SELECT {name} FROM \"Odd Table\" WHERE {name} IS NOT NULL ORDER BY {name} DESC LIMIT 1 OFFSET {})",
                min - 1
            ));
        }
        let per = self.kept.last.map_or(String::new(), |(_, per)| format!("PARTITION BY {}", per.join(", ")));
        format!(
            "SELECT id FROM \"Odd Table\" LEFT JOIN (
               SELECT id AS ranked, row_number() OVER ({per} ORDER BY {name} DESC, id DESC) AS rank
                 FROM \"Odd Table\" WHERE ({predicate}\n) AND {name} IS NOT NULL) r ON ranked = id
             WHERE coalesce(NOT ({goes}), true)"
        )
    }

    fn sql_type(&self) -> &'static str {
        match self.ty {
            "seconds" | "milliseconds" => "bigint",
            "small seconds" => "int",
            ty => ty,
        }
    }

    /// A UUID cannot have a retention of its own.
    fn says(&self) -> &'static str {
        if self.ty == "uuid" && matches!(self.says, "column" | "query") { "retention" } else { self.says }
    }

    /// The params that say how old is old: the same cutoff in each way, but for retentions of the rows' own.
    fn age(&self, by: String) -> serde_json::Value {
        let mut age = match self.says() {
            "column" => json!({"by": by, "retention_column": "Kept For"}),
            "query" => json!({"by": by, "retention_query": {"key": "a", "query": "SELECT a, r -- and
                FROM (VALUES (0, interval '30 days'), (1, '1 mon'), (2, '27 days'), (2, '29 days'), (NULL, '1 day')) AS v(a, r);"}}),
            "retention" => json!({"by": by, "retention": "30 days"}),
            "grace" => json!({"by": by, "retention": "20 days", "grace": "10 days"}),
            _ => json!({"expires": by, "grace": "30 days"}),
        };
        match self.ty {
            "seconds" | "small seconds" => age["unit"] = "seconds".into(),
            "milliseconds" => age["unit"] = "milliseconds".into(),
            _ => {}
        }
        age
    }
}

async fn ids(world: &World, sql: &str) -> Vec<i32> {
    let rows = world.0.client.query(&format!("SELECT id FROM ({sql}) AS t ORDER BY id"), &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Cases in which several sessions worked.
static IN_PARTS: AtomicU64 = AtomicU64::new(0);

async fn check(world: &World, case: &Case) -> Result<(), TestCaseError> {
    world.0.execute(&case.sql()).await;
    let left = ids(world, &case.oracle()).await;
    let by = if case.by_expression {
        format!("coalesce({}, NULL)", case.quoted())
    } else {
        case.column.to_owned()
    };
    let mut params = json!({"table": "\"Odd Table\"", "walk": case.walk, "pacing": case.pacing,
                            "batch": case.batch, "workers": case.workers, "max_fraction": 1});
    params.as_object_mut().unwrap().extend(case.age(by).as_object().unwrap().clone());
    // An edit makes the job look up the table, which is another one in each case.
    static EDITS: AtomicU64 = AtomicU64::new(1_000_000);
    params["limit_rows"] = EDITS.fetch_add(1, Ordering::Relaxed).into();
    if let Some(predicate) = case.predicate {
        params["where"] = predicate.into();
    }
    if let Some(protect) = case.kept.protect {
        params["protect"] = protect.into();
    }
    if let Some((rows, per)) = case.kept.last {
        params["keep_last"] = json!({"rows": rows, "per": per});
    }
    if let Some(rows) = case.kept.min {
        params["keep_min"] = rows.into();
    }
    world
        .0
        .execute("UPDATE sexton.hold SET lifted_at = now(), lifted_by = 'the test' WHERE lifted_at IS NULL")
        .await;
    if let Some(held) = case.kept.held {
        world.0.client.execute("SELECT sexton.hold('\"Odd Table\"', $1, 'a case')", &[&held]).await.unwrap();
    }
    world.job(params).await;
    let occurrence = world.occurrence().now(NOW.parse().unwrap());
    let mut ran: Ran = match case.lost_after {
        Some(batches) => occurrence.clone().kill_after_batches(batches).run().await.unwrap(),
        None => occurrence.clone().run().await.unwrap(),
    };
    if ran.state == "running" {
        ran = occurrence.run().await.unwrap();
    }
    prop_assert_eq!((ran.state.as_str(), ran.error.as_deref()), ("succeeded", None));
    if ran.report.as_ref().is_some_and(|report| report["parts"].is_array()) {
        IN_PARTS.fetch_add(1, Ordering::Relaxed);
    }
    prop_assert_eq!(ids(world, "SELECT id FROM \"Odd Table\"").await, left.clone(), "{:?}", ran.report);
    let counted = world.number("SELECT sum(rows_done)::bigint FROM sexton.run WHERE occurrence = (SELECT max(occurrence) FROM sexton.run)").await;
    prop_assert_eq!(
        counted,
        i64::try_from(case.rows.len() - left.len()).unwrap(),
        "effect equals recorded progress"
    );
    Ok(())
}

#[test]
fn what_is_left_is_what_plain_sql_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::new(""));
    let config = Config { cases: 120, max_shrink_iters: 40, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&cases(), |case| runtime.block_on(check(&world, &case)));
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    assert!(IN_PARTS.load(Ordering::Relaxed) > 0, "in no case there were several workers");
}
