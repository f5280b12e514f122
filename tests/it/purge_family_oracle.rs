//! Purges of random families against what plain SQL says must be left: composite keys, NULLs, quoted names, two levels, a
//! child by columns alone, one that refers to itself, every action of a foreign key, holds and protection anywhere,
//! archives, both walks, both ways of committing, lost after any batch.
//!
//! The oracle shares nothing with the purge: each table's is one SELECT over a copy, with the cutoff written out.

use std::sync::atomic::{AtomicU64, Ordering};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use crate::purge_support::{World, detail};

/// The run's now, and the cutoff 30 days before it.
const NOW: &str = "2026-03-15T12:00:00Z";
const CUTOFF: &str = "2026-02-13 12:00:00Z";

const ACTIONS: [&str; 6] = [
    "NO ACTION",
    "RESTRICT",
    "CASCADE",
    "SET NULL",
    "SET DEFAULT",
    "NO ACTION DEFERRABLE INITIALLY DEFERRED",
];

/// Tables with their copies and archives.
const TABLES: [&str; 4] = ["\"Parent\"", "\"It's\"", "subs", "notes"];

#[derive(Clone, Debug)]
struct Case {
    /// Hours from the cutoff; how many items, subs of each and notes; a tag.
    parents: Vec<(Option<i32>, usize, usize, usize, i32)>,
    actions: (&'static str, &'static str),
    partitioned: bool,
    held: [Option<i32>; 3],
    protect: [Option<i32>; 2],
    archived: [bool; 4],
    walk: &'static str,
    pacing: &'static str,
    batch: u32,
    lost_after: Option<u64>,
}

fn cases() -> impl Strategy<Value = Case> {
    let age = prop_oneof![1 => Just(None), 8 => (-12..6_i32).prop_map(Some)];
    let parent = (age, 0..4_usize, 0..3_usize, 0..2_usize, 0..20_i32);
    let tag = || proptest::option::weighted(0.25, 0..20_i32);
    let action = || proptest::sample::select(&ACTIONS[..]);
    (
        (proptest::collection::vec(parent, 0..150), (action(), action()), any::<bool>()),
        ([tag(), tag(), tag()], [tag(), tag()], any::<[bool; 4]>()),
        (
            prop_oneof![Just("auto"), Just("index"), Just("heap")],
            prop_oneof![Just("gentle"), Just("full")],
            1..40_u32,
            proptest::option::of(0..6_u64),
        ),
    )
        .prop_map(
            |(
                (parents, actions, partitioned),
                (held, protect, archived),
                (walk, pacing, batch, lost_after),
            )| Case {
                parents,
                actions,
                // A partitioned table has no heap to walk, and RESTRICT and SET DEFAULT work there as elsewhere.
                partitioned: partitioned && walk != "heap",
                held,
                protect,
                archived,
                walk,
                pacing,
                batch,
                lost_after,
            },
        )
}

impl Case {
    fn sql(&self) -> String {
        let (by, parts) = match self.partitioned {
            true => (
                "PARTITION BY LIST (a)",
                "CREATE TABLE even PARTITION OF \"Parent\" FOR VALUES IN (0); CREATE TABLE odd PARTITION OF \"Parent\" FOR VALUES IN (1);",
            ),
            false => ("", ""),
        };
        let mut sql = format!(
            "DROP SCHEMA IF EXISTS was CASCADE; DROP SCHEMA IF EXISTS kept CASCADE;
             DROP TABLE IF EXISTS notes, subs, \"It's\", \"Parent\" CASCADE; CREATE SCHEMA was; CREATE SCHEMA kept;
             CREATE TABLE \"Parent\" (a int, \"Id\" int, at timestamptz, tag int, PRIMARY KEY (a, \"Id\")) {by}; {parts}
             CREATE INDEX ON \"Parent\" (at);
             CREATE TABLE \"It's\" (id int PRIMARY KEY, \"of a\" int, \"of\"\"id\" int, tag int, twice int GENERATED ALWAYS AS (id * 2) STORED,
               before int REFERENCES \"It's\",
               FOREIGN KEY (\"of\"\"id\", \"of a\") REFERENCES \"Parent\" (\"Id\", a) ON DELETE {});
             CREATE INDEX ON \"It's\" (\"of a\", \"of\"\"id\"); CREATE INDEX ON \"It's\" (before);
             CREATE TABLE subs (id int PRIMARY KEY, item int REFERENCES \"It's\" ON DELETE {}, tag int);
             CREATE INDEX ON subs (item);
             CREATE TABLE notes (id int PRIMARY KEY, of bigint, text text); CREATE INDEX ON notes (of);",
            self.actions.0, self.actions.1
        );
        let (mut item, mut sub, mut note) = (0, 0, 0);
        for (id, (age, items, subs, notes, tag)) in self.parents.iter().enumerate() {
            let a = id % 2;
            let at = age.map_or("NULL".to_owned(), |hours| {
                format!("timestamptz '{CUTOFF}' + interval '{} hours'", hours * 6)
            });
            sql.push_str(&format!("INSERT INTO \"Parent\" VALUES ({a}, {id}, {at}, {tag});"));
            for n in 0..*items {
                item += 1;
                let before = if n == 0 { "NULL".to_owned() } else { (item - 1).to_string() };
                sql.push_str(&format!(
                    "INSERT INTO \"It's\" VALUES ({item}, {a}, {id}, {}, DEFAULT, {before});",
                    item % 20
                ));
                for _ in 0..*subs {
                    sub += 1;
                    sql.push_str(&format!("INSERT INTO subs VALUES ({sub}, {item}, {});", sub % 20));
                }
            }
            for _ in 0..*notes {
                note += 1;
                sql.push_str(&format!("INSERT INTO notes VALUES ({note}, {id}, 'n');"));
            }
        }
        // Rows that belong to nothing.
        sql.push_str(
            "INSERT INTO \"It's\" VALUES (0, 1, NULL, 3, DEFAULT, NULL), (-1, NULL, 0, 3, DEFAULT, NULL);
             INSERT INTO subs VALUES (0, NULL, 1), (-1, 0, 1); INSERT INTO notes VALUES (0, NULL, ''), (-1, -5, '');",
        );
        for table in TABLES {
            sql.push_str(&format!(
                "CREATE TABLE was.{table} AS TABLE {table}; CREATE TABLE kept.{table} (LIKE {table}, at_all timestamptz DEFAULT now());"
            ));
        }
        sql.push_str(
            "ALTER TABLE kept.\"It's\" DROP twice, ADD twice int GENERATED ALWAYS AS (id + id) STORED;",
        );
        sql
    }

    /// Which of the copied rows of each table must be gone.
    fn gone(&self) -> [String; 4] {
        let tags = |tags: &[Option<i32>]| {
            let tags: Vec<String> = tags.iter().flatten().map(i32::to_string).collect();
            if tags.is_empty() { "(-1)".to_owned() } else { format!("({})", tags.join(", ")) }
        };
        let parent = format!(
            "SELECT p.* FROM was.\"Parent\" p WHERE p.at < '{CUTOFF}' AND p.tag NOT IN {} AND NOT EXISTS (
               SELECT FROM was.\"It's\" i LEFT JOIN was.subs s ON s.item = i.id
                WHERE i.\"of a\" = p.a AND i.\"of\"\"id\" = p.\"Id\" AND (i.tag IN {} OR s.tag IN {}))",
            tags(&self.held[..1]),
            tags(&[self.held[1], self.protect[0]]),
            tags(&[self.held[2], self.protect[1]])
        );
        let items = format!(
            "SELECT i.* FROM was.\"It's\" i JOIN ({parent}) p ON i.\"of a\" = p.a AND i.\"of\"\"id\" = p.\"Id\""
        );
        let subs = format!("SELECT s.* FROM was.subs s JOIN ({items}) i ON s.item = i.id");
        let notes = format!("SELECT n.* FROM was.notes n JOIN ({parent}) p ON n.of = p.\"Id\"");
        [parent, items, subs, notes]
    }

    fn params(&self) -> Value {
        let mut children = vec![
            json!({"table": "subs"}),
            json!({"table": "\"It's\""}),
            json!({"table": "notes", "column": "of", "parent_column": ["Id"]}),
        ];
        for (child, tag) in [(1, self.protect[0]), (0, self.protect[1])] {
            if let Some(tag) = tag {
                children[child]["protect"] = format!("tag = {tag} -- stays").into();
            }
        }
        for (child, table) in [(1, 1), (0, 2), (2, 3)] {
            if self.archived[table] {
                children[child]["archive"] = json!({"table": format!("kept.{}", TABLES[table])});
            }
        }
        let mut params = json!({"table": "\"Parent\"", "by": "at", "retention": "30 days", "walk": self.walk,
            "pacing": self.pacing, "batch": self.batch, "max_fraction": 1, "children": children});
        if self.archived[0] {
            params["archive"] = json!({"table": "kept.\"Parent\""});
        }
        params
    }
}

async fn rows(world: &World, sql: &str) -> i64 {
    world.number(&format!("SELECT count(*) FROM ({sql}) AS t")).await
}

async fn check(world: &World, case: &Case) -> Result<(), TestCaseError> {
    world.0.execute(&case.sql()).await;
    world
        .0
        .execute("UPDATE sexton.hold SET lifted_at = now(), lifted_by = 'the test' WHERE lifted_at IS NULL")
        .await;
    for (table, tag) in TABLES.iter().zip(case.held) {
        if let Some(tag) = tag {
            let predicate = format!("tag = {tag}");
            world
                .0
                .client
                .execute("SELECT sexton.hold($1, $2, 'a case')", &[table, &predicate])
                .await
                .unwrap();
        }
    }
    // An edit disarms the job, and makes it look up the table, which is another one in each case.
    static EDITS: AtomicU64 = AtomicU64::new(1_000_000);
    let mut params = case.params();
    params["limit_rows"] = EDITS.fetch_add(1, Ordering::Relaxed).into();
    world.unarmed_job(params, json!({})).await;
    let occurrence = world.occurrence().now(NOW.parse().unwrap());
    let gone = case.gone();
    let mut due = Vec::new();
    for sql in &gone {
        due.push(rows(world, sql).await);
    }
    let dry = occurrence.clone().run().await.unwrap();
    let eligible = |table: &str| {
        let children = detail(&dry, "/children").as_array().cloned().unwrap_or_default();
        let named = children.iter().find(|child| child["table"] == format!("public.{table}"));
        named.and_then(|child| child["eligible"].as_i64())
    };
    prop_assert_eq!((dry.state.as_str(), dry.error.as_deref()), ("succeeded", None));
    prop_assert_eq!(
        [detail(&dry, "/eligible").as_i64(), eligible(TABLES[1]), eligible(TABLES[2]), eligible(TABLES[3])],
        [Some(due[0]), Some(due[1]), Some(due[2]), Some(due[3])],
        "the dry run counts what goes: {:?}",
        dry.report
    );
    world.0.verb("arm", "j").await;
    let mut ran = match case.lost_after {
        Some(batches) => occurrence.clone().kill_after_batches(batches).run().await.unwrap(),
        None => occurrence.clone().run().await.unwrap(),
    };
    let lost = ran.state == "running";
    if lost {
        ran = occurrence.run().await.unwrap();
    }
    prop_assert_eq!((ran.state.as_str(), ran.error.as_deref()), ("succeeded", None), "{:?}", ran.report);
    for (n, table) in TABLES.iter().enumerate() {
        let wrong = rows(
            world,
            &format!(
                "(TABLE was.{table} EXCEPT ({})) EXCEPT TABLE {table} UNION ALL
                 (TABLE {table} EXCEPT (TABLE was.{table} EXCEPT ({})))",
                gone[n], gone[n]
            ),
        )
        .await;
        prop_assert_eq!(wrong, 0, "{} is not what is left: {:?}", table, ran.report);
        let columns: String = world
            .0
            .get(
                "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
                  WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped",
                &[table],
            )
            .await;
        let archived = rows(world, &format!("SELECT {columns} FROM kept.{table}")).await;
        let expected = if case.archived[n] { due[n] } else { 0 };
        prop_assert_eq!(archived, expected, "{} was archived", table);
        if case.archived[n] {
            let other = format!("({}) EXCEPT SELECT {columns} FROM kept.{table}", gone[n]);
            prop_assert_eq!(rows(world, &other).await, 0, "{} was archived as it was", table);
        }
    }
    let counted = world.number("SELECT sum(rows_done)::bigint FROM sexton.run WHERE occurrence = (SELECT max(occurrence) FROM sexton.run)").await;
    prop_assert_eq!(counted, due[0], "effect equals recorded progress, by rows of the table itself");
    if !lost {
        let deleted = |table: &str| {
            let children = detail(&ran, "/children").as_array().cloned().unwrap_or_default();
            let named = children.iter().find(|child| child["table"] == format!("public.{table}"));
            named.and_then(|child| child["deleted"].as_i64())
        };
        prop_assert_eq!(
            [deleted(TABLES[1]), deleted(TABLES[2]), deleted(TABLES[3])],
            [Some(due[1]), Some(due[2]), Some(due[3])]
        );
        prop_assert_eq!(detail(&ran, "/archived").as_i64(), case.archived[0].then_some(due[0]));
    }
    Ok(())
}

#[test]
fn what_is_left_of_families_is_what_plain_sql_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::new(""));
    let config = Config { cases: 40, max_shrink_iters: 30, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&cases(), |case| runtime.block_on(check(&world, &case)));
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
