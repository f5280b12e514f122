//! Removals from random tables against what plain Rust says must be left: NULLs, duplicates, empty lists, any batch size,
//! valid and expired ids, lost after any batch.

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use crate::support::Db;

/// A table, the ids, and an accident.
#[derive(Clone, Debug)]
struct Case {
    /// For each row its list, or NULL; elements may be NULL.
    rows: Vec<Option<Vec<Option<i64>>>>,
    valid: Option<Vec<i64>>,
    expired: Option<Vec<i64>>,
    shape: Shape,
    batch: u32,
    lost_after: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Array(&'static str),
    Json,
    Objects,
}

fn cases() -> impl Strategy<Value = Case> {
    let id = || prop_oneof![9 => 1..12_i64, 1 => Just(9_007_199_254_740_993)];
    let list = proptest::collection::vec(proptest::option::weighted(0.9, id()), 0..8);
    let ids = || proptest::collection::vec(id(), 1..14);
    (
        proptest::collection::vec(proptest::option::weighted(0.9, list), 0..40),
        proptest::option::weighted(0.8, ids()),
        proptest::option::weighted(0.5, ids()),
        prop_oneof![
            Just(Shape::Array("bigint")),
            Just(Shape::Array("numeric")),
            Just(Shape::Json),
            Just(Shape::Objects)
        ],
        1..12_u32,
        proptest::option::weighted(0.5, 1..5_u64),
    )
        .prop_map(|(rows, valid, expired, shape, batch, lost_after)| {
            let expired = if valid.is_none() { expired.or(Some(vec![3])) } else { expired };
            Case { rows, valid, expired, shape, batch, lost_after }
        })
}

impl Case {
    fn goes(&self, id: i64) -> bool {
        self.valid.as_ref().is_some_and(|valid| !valid.contains(&id))
            || self.expired.as_ref().is_some_and(|expired| expired.contains(&id))
    }

    /// A list as the column stores it.
    fn stored(&self, list: &Option<Vec<Option<i64>>>) -> Value {
        let Some(list) = list else { return Value::Null };
        list.iter()
            .enumerate()
            .map(|(at, id)| match (self.shape, id) {
                (Shape::Objects, Some(id)) => json!({"ref": {"id": id}, "at": at}),
                (Shape::Json, Some(id)) if at % 2 == 0 => json!(id.to_string()),
                (_, id) => json!(id),
            })
            .collect()
    }
}

fn query(ids: &[i64]) -> String {
    format!("SELECT unnest('{{{}}}'::bigint[])", ids.iter().map(i64::to_string).collect::<Vec<_>>().join(","))
}

async fn check(case: Case) {
    let db = Db::new().await;
    let (ty, from_json, to_json) = match case.shape {
        Shape::Array(ty) => (
            format!("{ty}[]"),
            format!(
                "CASE WHEN jsonb_typeof($2) = 'array' THEN ARRAY(SELECT e::{ty} FROM jsonb_array_elements_text($2) WITH ORDINALITY u(e, o) ORDER BY o) END"
            ),
            "to_jsonb(list)",
        ),
        Shape::Json | Shape::Objects => ("jsonb".to_owned(), "nullif($2::jsonb, 'null')".to_owned(), "list"),
    };
    db.execute(&format!("CREATE TABLE t (id int PRIMARY KEY, list {ty})")).await;
    for (id, list) in (1_i32..).zip(&case.rows) {
        let sql = format!("INSERT INTO t VALUES ($1, {from_json})");
        db.client.execute(&sql, &[&id, &case.stored(list)]).await.unwrap();
    }
    let column = match case.shape {
        Shape::Array(_) => json!("list"),
        Shape::Json => json!({"name": "list", "path": "$[*]"}),
        Shape::Objects => json!({"name": "list", "path": "$[*].ref.id"}),
    };
    let params = json!({"table": "t", "columns": column, "max_fraction": 1, "batch": case.batch, "pacing": "full",
                        "valid": case.valid.as_deref().map(query), "expired": case.expired.as_deref().map(query)});
    db.insert_manual("mend", "references", params).await;
    db.client.query("SELECT sexton.arm('mend')", &[]).await.unwrap();
    if let Some(batches) = case.lost_after {
        let _ = db.occurrence("mend").kill_after_batches(batches).run().await.unwrap();
    }
    // One that was not lost after all is followed by another, which finds nothing.
    let ran = db.run("mend").await;
    assert_eq!(ran.state, "succeeded", "{ran:?}");

    let mut changed = 0;
    for (id, list) in (1_i32..).zip(&case.rows) {
        let stored = case.stored(list);
        let kept = match (&stored, list) {
            (Value::Array(stored), Some(ids)) => {
                let kept = stored.iter().zip(ids).filter(|(_, id)| !id.is_some_and(|id| case.goes(id)));
                Value::Array(kept.map(|(element, _)| element.clone()).collect())
            }
            _ => Value::Null,
        };
        changed += i64::from(kept != stored);
        let sql = format!("SELECT coalesce({to_json}, 'null') FROM t WHERE id = $1");
        assert_eq!(db.get::<Value>(&sql, &[&id]).await, kept, "row {id} of {case:?}");
    }
    let audited = "SELECT count(*) FROM sexton.audit WHERE verb = 'change'";
    assert_eq!(db.get::<i64>(audited, &[]).await, changed, "an audit row for each changed row of {case:?}");
    assert_eq!(db.run("mend").await.rows, 0, "a second run changes nothing");
}

#[test]
fn what_is_left_is_what_must_be_left() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(Config {
        cases: 16,
        failure_persistence: None,
        max_shrink_iters: 20,
        ..Config::default()
    });
    let checked = runner.run(&cases(), |case| {
        let outcome = runtime.block_on(async { tokio::spawn(check(case)).await });
        outcome.map_err(|error| TestCaseError::fail(error.to_string()))
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
}
