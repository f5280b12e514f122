//! Purges of random tables against what plain SQL says must be left: NULLs, ties, infinities, odd names, missing and
//! composite keys, predicates with OR, any batch size, both walks, both ways of committing, lost after any batch.
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

/// A table, a job, and an accident.
#[derive(Clone, Debug)]
struct Case {
    rows: Vec<(Option<i32>, i32, Option<i32>)>,
    column: &'static str,
    ty: &'static str,
    by_expression: bool,
    key: &'static str,
    predicate: Option<&'static str>,
    walk: &'static str,
    pacing: &'static str,
    batch: u32,
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
            prop_oneof![Just("timestamptz"), Just("timestamp"), Just("date")],
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
            prop_oneof![Just("auto"), Just("index"), Just("heap")],
            prop_oneof![Just("gentle"), Just("full")],
            1..60_u32,
            proptest::option::of(0..12_u64),
        ),
    )
        .prop_map(
            |((rows, column, ty, by_expression, key), (predicate, walk, pacing, batch, lost_after))| Case {
                rows,
                column,
                ty,
                by_expression: by_expression && walk != "index",
                key,
                predicate,
                walk,
                pacing,
                batch,
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
        let (name, ty) = (self.quoted(), self.ty);
        let mut sql = format!(
            "DROP TABLE IF EXISTS \"Odd Table\"; \
             CREATE TABLE \"Odd Table\" (id int, {name} {ty}, a int, b int, wide text{key}); \
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
            let age = match ty {
                "timestamptz" => age,
                _ if age.starts_with('(') => format!("(({age}) AT TIME ZONE 'UTC')::{ty}"),
                _ => age,
            };
            let b = b.map_or("NULL".to_owned(), |b| b.to_string());
            sql.push_str(&format!(
                "INSERT INTO \"Odd Table\" VALUES ({id}, {age}, {a}, {b}, repeat('x', 500));"
            ));
        }
        sql
    }

    /// Ids of the rows that must be left.
    fn oracle(&self) -> String {
        let cutoff = match self.ty {
            "timestamptz" => format!("timestamptz '{CUTOFF}+00'"),
            "timestamp" => format!("timestamp '{CUTOFF}'"),
            _ => format!("date '{}'", &CUTOFF[..10]),
        };
        let predicate = self.predicate.unwrap_or("true");
        format!(
            "SELECT id FROM \"Odd Table\" WHERE coalesce(NOT ({} < {cutoff} AND ({predicate}\n)), true)",
            self.quoted()
        )
    }
}

async fn ids(world: &World, sql: &str) -> Vec<i32> {
    let rows = world.0.client.query(&format!("SELECT id FROM ({sql}) AS t ORDER BY id"), &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn check(world: &World, case: &Case) -> Result<(), TestCaseError> {
    world.0.execute(&case.sql()).await;
    let left = ids(world, &case.oracle()).await;
    let by = if case.by_expression {
        format!("coalesce({}, NULL)", case.quoted())
    } else {
        case.column.to_owned()
    };
    let mut params = json!({"table": "\"Odd Table\"", "by": by, "retention": "30 days", "walk": case.walk,
                            "pacing": case.pacing, "batch": case.batch, "max_fraction": 1});
    // An edit makes the job look up the table, which is another one in each case.
    static EDITS: AtomicU64 = AtomicU64::new(1_000_000);
    params["limit_rows"] = EDITS.fetch_add(1, Ordering::Relaxed).into();
    if let Some(predicate) = case.predicate {
        params["where"] = predicate.into();
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
    let config = Config { cases: 60, max_shrink_iters: 40, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&cases(), |case| runtime.block_on(check(&world, &case)));
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
