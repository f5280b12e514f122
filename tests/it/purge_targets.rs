//! Purges of several tables by one job: each has its turn and its line, and none stops the others.

use serde_json::{Value, json};

use crate::{
    purge_support::{World, detail},
    support::code,
};

/// Three tables of 100 rows, an hour apart; all but 10 of each are old by `targets()`.
const TABLES: &str = "
    CREATE TABLE a (id int PRIMARY KEY, at timestamptz NOT NULL, tenant int);
    INSERT INTO a SELECT i, now() - i * interval '1 hour', i % 2 FROM generate_series(1, 100) i; CREATE INDEX ON a (at);
    CREATE TABLE b (LIKE a INCLUDING ALL); INSERT INTO b TABLE a;
    CREATE TABLE c (LIKE a INCLUDING ALL); INSERT INTO c TABLE a;";

fn target(table: &str) -> Value {
    json!({"table": table, "by": "at", "retention": "10 hours 30 minutes", "max_fraction": 1, "batch": 20})
}

fn targets(tables: &[&str]) -> Value {
    json!({"targets": tables.iter().map(|table| target(table)).collect::<Vec<_>>(), "pacing": "full"})
}

/// What the report says of each target, as `outcome deleted`.
fn lines(ran: &sexton::testing::Ran) -> Vec<String> {
    let lines = detail(ran, "/targets").as_array().cloned().unwrap_or_default();
    lines
        .iter()
        .map(|line| {
            format!(
                "{} {} {}",
                line["table"].as_str().unwrap_or_default(),
                line["outcome"].as_str().unwrap_or_default(),
                line["deleted"]
            )
        })
        .collect()
}

/// So many rows are left of each table.
async fn left(world: &World) -> Vec<i64> {
    let mut left = Vec::new();
    for table in ["a", "b", "c"] {
        left.push(world.number(&format!("SELECT count(*) FROM {table}")).await);
    }
    left
}

#[tokio::test]
async fn each_target_goes_by_its_own_rules_and_has_its_line() {
    let world = World::new(&format!(
        "{TABLES} CREATE TABLE kept (LIKE c); CREATE TABLE parts (b int REFERENCES b); CREATE INDEX ON parts (b);
         INSERT INTO parts SELECT i FROM generate_series(1, 100) i;"
    ))
    .await;
    let mut params = targets(&["a", "b", "c", "a"]);
    params["targets"][0]["where"] = "tenant = 1".into();
    params["targets"][1]["children"] = json!(["parts"]);
    params["targets"][2]["archive"] = json!({"table": "kept"});
    params["targets"][2]["retention"] = "50 hours 30 minutes".into();
    params["targets"][3]["keep_min"] = 30.into();
    world.unarmed_job(params, json!({})).await;
    let dry = world.succeed().await;
    assert_eq!((dry.rows, detail(&dry, "/eligible").as_i64()), (0, Some(45 + 90 + 50 + 70)));
    assert_eq!(detail(&dry, "/targets/1/children/0/eligible").as_i64(), Some(90));
    world.0.verb("arm", "j").await;
    let ran = world.succeed().await;
    // The last one finds 55 rows, of which the 30 newest stay.
    assert_eq!(
        lines(&ran),
        ["a succeeded 45", "b succeeded 90", "c succeeded 50", "a succeeded 25"],
        "{:?}",
        ran.report
    );
    assert_eq!((ran.rows, detail(&ran, "/deleted").as_i64()), (210, Some(210)));
    assert_eq!(left(&world).await, [30, 10, 50]);
    let newest = "SELECT count(*) FROM a WHERE id <= 10 OR tenant = 0 AND id <= 50";
    assert_eq!(world.number(newest).await, 30);
    assert_eq!(world.number("SELECT count(*) FROM kept WHERE id > 50").await, 50);
    assert_eq!(world.number("SELECT count(*) FROM parts WHERE b <= 10").await, 10);
    assert_eq!(detail(&ran, "/backlog/catches_up"), &json!(true));
    assert_eq!(detail(&ran, "/archived").as_i64(), Some(50));
}

#[tokio::test]
async fn one_that_fails_stops_no_other_and_alone_is_tried_again() {
    let world = World::new(&format!(
        "{TABLES} CREATE TABLE broken ();
         CREATE FUNCTION breaks() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN IF OLD.id = 50 AND EXISTS (SELECT FROM broken) THEN RAISE EXCEPTION ''not this one''; END IF; RETURN OLD; END';
         CREATE TRIGGER breaks BEFORE DELETE ON b FOR EACH ROW EXECUTE FUNCTION breaks(); INSERT INTO broken DEFAULT VALUES;"
    ))
    .await;
    let mut params = targets(&["a", "b", "c"]);
    params["targets"][1]["walk"] = "index".into();
    world.job(params).await;
    world.0.execute("UPDATE sexton.job SET max_attempts = 2, backoff = '1 ms', backoff_max = '1 ms'").await;
    let ran = world.run().await;
    let error = ran.error.clone().unwrap_or_default();
    assert_eq!(ran.state, "failed");
    assert!(error.starts_with("1 of 3 targets failed: b: ") && error.contains("not this one"), "{error}");
    // The oldest 40 went before the batch that failed.
    assert_eq!(lines(&ran), ["a succeeded 90", "b failed 40", "c succeeded 90"], "{:?}", ran.report);
    assert_eq!(left(&world).await, [10, 60, 10]);
    let first_now: jiff::Timestamp = detail(&ran, "/as_of").as_str().unwrap().parse().unwrap();
    // What becomes old meanwhile is the next occurrence's: a target that is through is not looked at again.
    world.0.execute("TRUNCATE broken; INSERT INTO a SELECT 1000 + i, now() - interval '5 days', 0 FROM generate_series(1, 5) i").await;
    let ran = world.succeed().await;
    assert_eq!(ran.attempt, 2);
    let cutoff: jiff::Timestamp = detail(&ran, "/targets/1/cutoff").as_str().unwrap().parse().unwrap();
    assert_eq!(
        cutoff + jiff::SignedDuration::from_mins(630),
        first_now,
        "and the cutoff of the other stands"
    );
    assert_eq!(lines(&ran), ["a succeeded 0", "b succeeded 50", "c succeeded 0"], "{:?}", ran.report);
    assert_eq!(
        (
            detail(&ran, "/targets/0/deleted_before").as_i64(),
            detail(&ran, "/targets/1/deleted_before").as_i64()
        ),
        (Some(90), Some(40))
    );
    assert_eq!(left(&world).await, [15, 10, 10]);
}

#[tokio::test]
async fn a_crash_at_any_batch_loses_no_target_and_takes_none_twice() {
    for lost_after in [0, 1, 3, 5, 6, 7, 8, 11, 14, 15, 18] {
        let world = World::new(&format!(
            "{TABLES} CREATE TABLE gone (t text, id int);
             CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO gone VALUES (TG_TABLE_NAME, OLD.id); RETURN NULL; END';
             CREATE TRIGGER t AFTER DELETE ON a FOR EACH ROW EXECUTE FUNCTION tell();
             CREATE TRIGGER t AFTER DELETE ON b FOR EACH ROW EXECUTE FUNCTION tell();
             CREATE TRIGGER t AFTER DELETE ON c FOR EACH ROW EXECUTE FUNCTION tell();"
        ))
        .await;
        world.job(targets(&["a", "b", "c"])).await;
        let lost = world.occurrence().kill_after_batches(lost_after).run().await.unwrap();
        assert_eq!(lost.state, "running", "after {lost_after} batches");
        let before = world.number("SELECT count(*) FROM gone").await;
        let ran = world.succeed().await;
        assert_eq!((ran.attempt, ran.rows), (2, 270 - before), "after {lost_after} batches");
        let sum: i64 = (0..3)
            .map(|number| {
                let of =
                    |name: &str| detail(&ran, &format!("/targets/{number}/{name}")).as_i64().unwrap_or(0);
                of("deleted") + of("deleted_before")
            })
            .sum();
        assert_eq!(sum, 270, "{:?}", ran.report);
        let once = "SELECT count(*) FROM (SELECT t, id FROM gone WHERE id > 10 GROUP BY t, id HAVING count(*) = 1) g";
        assert_eq!((world.number(once).await, left(&world).await), (270, vec![10; 3]));
    }
}

#[tokio::test]
async fn a_budget_is_the_jobs_and_who_got_least_begins_the_next_run() {
    let world = World::new(TABLES).await;
    let mut params = targets(&["a", "b", "c"]);
    params["limit_rows"] = 60.into();
    world.job(params).await;
    let mut seen = Vec::new();
    for _ in 0..5 {
        let ran = world.succeed().await;
        seen.push(lines(&ran).join(", "));
        assert!(ran.rows <= 60);
    }
    assert_eq!(
        seen,
        [
            "a succeeded 60, b waiting 0, c waiting 0",
            "a waiting 0, b succeeded 60, c waiting 0",
            "a waiting 0, b waiting 0, c succeeded 60",
            "a succeeded 30, b succeeded 30, c waiting 0",
            "a succeeded 0, b succeeded 0, c succeeded 30",
        ]
    );
    assert_eq!(left(&world).await, [10, 10, 10]);
}

#[tokio::test]
async fn one_approval_is_for_all_that_need_it_or_for_none() {
    let world = World::new(TABLES).await;
    let mut params = targets(&["a", "b", "c"]);
    params["targets"][0]["max_fraction"] = 0.5.into();
    params["targets"][2]["refuse_above"] = 50.into();
    world.job(params.clone()).await;
    let ran = world.run().await;
    let error = ran.error.clone().unwrap_or_default();
    assert_eq!(lines(&ran), ["a refused 0", "b succeeded 90", "c refused 0"], "{error}");
    assert_eq!(ran.state, "refused");
    assert!(error.contains("2 of 3 targets were refused: a: 90 %"), "{error}");
    assert!(error.contains("sexton arm j --approve 190"), "90 and 90, with headroom: {error}");
    // Enough for one of the two is enough for none.
    world.0.execute("SELECT sexton.arm('j', 179)").await;
    let ran = world.run().await;
    assert_eq!(
        (ran.state.as_str(), lines(&ran)),
        ("refused", vec!["a refused 0".into(), "b succeeded 0".into(), "c refused 0".into()])
    );
    assert_eq!(left(&world).await, [100, 10, 100]);
    world.0.execute("SELECT sexton.arm('j', 180)").await;
    let ran = world.succeed().await;
    assert_eq!(lines(&ran), ["a succeeded 90", "b succeeded 0", "c succeeded 90"]);
    let used: bool = world.0.job("j", "approved_rows IS NULL").await;
    assert!(used, "and it is used up");
    // The plan says the same line.
    world
        .0
        .execute("INSERT INTO a SELECT i, now() - i * interval '1 hour', 0 FROM generate_series(101, 300) i")
        .await;
    params["targets"][1]["batch"] = 5.into();
    world.unarmed_job(params, json!({})).await;
    let dry = world.succeed().await;
    let remedy = detail(&dry, "/would_refuse/0/remedy").as_str().unwrap_or_default();
    assert!(remedy.contains("sexton arm j --approve 210"), "{:?}", dry.report);
}

#[tokio::test]
async fn a_target_that_is_gone_or_held_is_its_own_affair() {
    let world = World::new(TABLES).await;
    world.job(targets(&["a", "b", "c"])).await;
    world.0.execute("SELECT sexton.hold('b', 'tenant = 1', 'court'); DROP TABLE a").await;
    let holds = world.0.client.query(include_str!("../../sql/holds.sql"), &[&"j"]).await.unwrap();
    assert_eq!(holds.len(), 1, "show lists it");
    let ran = world.run().await;
    assert_eq!(lines(&ran), ["a refused 0", "b succeeded 45", "c succeeded 90"], "{:?}", ran.error);
    assert_eq!(detail(&ran, "/targets/1/holds/0/reason"), "court");
    assert!(ran.error.unwrap_or_default().contains("a: table public.a is gone"));
    // Another table of that name is none of the job's until somebody arms it.
    world.0.execute("CREATE TABLE a (LIKE b INCLUDING ALL); INSERT INTO a TABLE c; INSERT INTO a VALUES (99, '2020-01-01', 0)").await;
    assert_eq!(world.run().await.state, "refused");
    world.0.verb("arm", "j").await;
    assert_eq!(lines(&world.succeed().await)[0], "a succeeded 1");
}

#[tokio::test]
async fn the_editor_needs_the_rights_on_every_target_and_a_run_holds_every_table() {
    let world = World::new(&format!(
        "{TABLES} CREATE TABLE kept (LIKE b); CREATE ROLE targets_editor LOGIN; GRANT sexton_author TO targets_editor;
         GRANT SELECT, DELETE ON a TO targets_editor; GRANT SELECT ON b TO targets_editor;"
    ))
    .await;
    let editor = world.0.session_as("targets_editor").await;
    let save = "INSERT INTO sexton.job (name, kind, params) VALUES ('j', 'purge', $1)";
    assert_eq!(code(editor.execute(save, &[&targets(&["a", "b"])]).await), "42501");
    assert_eq!(code(editor.execute(save, &[&targets(&["a", "nowhere"])]).await), "42P01");
    world.0.execute("GRANT DELETE ON b TO targets_editor").await;
    let mut keeps = targets(&["a", "b"]);
    keeps["targets"][1]["archive"] = json!({"table": "kept"});
    assert_eq!(code(editor.execute(save, &[&keeps]).await), "42501");
    editor.execute(save, &[&targets(&["a", "b"])]).await.unwrap();
    let wanted = "SELECT (SELECT jsonb_agg(w ORDER BY w) FROM jsonb_array_elements(sexton.wanted(j, 'real')) w)
                       = to_jsonb(ARRAY['table:' || least('a'::regclass::oid::int, 'b'::regclass::oid::int), 'table:' || greatest('a'::regclass::oid::int, 'b'::regclass::oid::int)])
                    FROM sexton.job j WHERE name = 'j'";
    assert!(world.0.get::<bool>(wanted, &[]).await);
    let seen = world.0.client.query(include_str!("../../sql/check_targets.sql"), &[]).await.unwrap();
    let seen: Vec<(String, bool)> =
        seen.iter().map(|row| (row.get("target"), row.get("may_purge"))).collect();
    assert_eq!(seen, [("public.a".to_owned(), true), ("public.b".to_owned(), true)], "doctor looks at each");
    let none: bool = world.0.get("SELECT sexton.wanted(j, 'dry') = '[]' FROM sexton.job j", &[]).await;
    assert!(none);
}

#[tokio::test]
async fn an_input_narrows_every_target_and_one_offs_know_them() {
    let world = World::new(TABLES).await;
    let tenants = |table: &str| json!({"table": table, "where": "tenant = :tenant", "max_fraction": 1});
    let params = json!({"targets": [tenants("a"), tenants("b"), target("c")]});
    world.unarmed_job(params, json!({"tenant": "int"})).await;
    world.0.verb("arm", "j").await;
    let ran = world.occurrence().inputs(json!({"tenant": 1})).run().await.unwrap();
    assert_eq!(lines(&ran), ["a succeeded 50", "b succeeded 50", "c succeeded 90"], "{:?}", ran.error);
    assert_eq!(world.number("SELECT count(*) FROM a WHERE tenant = 0").await, 50);
    world.0.execute("SELECT sexton.submit('j', '{\"tenant\": 0}')").await;
    let same: bool = world
        .0
        .get("SELECT o.targets = p.targets AND jsonb_array_length(o.targets) = 3 FROM sexton.job o JOIN sexton.job p ON p.id = o.parent_id", &[])
        .await;
    assert!(same);
}
