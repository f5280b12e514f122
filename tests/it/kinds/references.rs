//! The kind `references`: exactly what dangles or expired goes, whatever happens meanwhile, and the owners hear of it once.

use serde_json::{Value, json};
use sexton::testing::Ran;

use super::support::{detail, error};
use crate::support::Db;

/// Users 1 to 9, of whom 8 and 9 expired; teams with members in an array, watchers in jsonb, and a lead.
pub async fn teams() -> Db {
    let db = Db::new().await;
    db.execute(
        r#"CREATE TABLE users (id bigint PRIMARY KEY, expires_at timestamptz);
           INSERT INTO users SELECT i, CASE WHEN i >= 8 THEN now() - interval '1 day' END FROM generate_series(1, 9) i;
           CREATE TABLE "Te ams" (id int PRIMARY KEY, "the members" int[], settings jsonb, lead bigint, editor text, "at" timestamp);
           INSERT INTO "Te ams" VALUES
             (1, '{3,1,3,99,2,NULL,99}', '{"a": {"watch": [{"id": 1, "x": [null]}, {"id": 77}, {"id": null}, {}, 5, null]}, "b": 1}', 1),
             (2, '{1,2}', '{"a": {"watch": [{"id": "2"}]}}', 2),
             (3, NULL, NULL, NULL),
             (4, '{}', '[]', 5),
             (5, '{99,98}', '{"a": {"watch": [{"id": 97, "name": "gone"}]}}', 96),
             (6, '{8,4}', '{"a": {"watch": "none"}}', 9);
           CREATE TABLE admins (team int, mail text);
           INSERT INTO admins VALUES (1, 'a@example.org'), (1, 'b@example.org'), (1, 'b@example.org'), (5, NULL)"#,
    )
    .await;
    db
}

pub fn params() -> Value {
    json!({"table": "\"Te ams\"", "columns": ["the members", {"name": "settings", "path": "$.a.watch[*].id"}],
           "valid": "SELECT id FROM users", "max_fraction": 1})
}

pub fn with(name: &str, value: Value) -> Value {
    let mut params = params();
    params[name] = value;
    params
}

/// A job that may change.
pub async fn armed(db: &Db, name: &str, params: Value) {
    db.insert_manual(name, "references", params).await;
    db.client.query("SELECT sexton.arm($1)", &[&name]).await.unwrap();
}

async fn run(db: &Db, params: Value) -> Ran {
    armed(db, "mend", params).await;
    db.run("mend").await
}

const MEMBERS: &str =
    r#"SELECT string_agg(id || ':' || coalesce("the members"::text, '-'), ' ' ORDER BY id) FROM "Te ams""#;
const SETTINGS: &str = r#"SELECT jsonb_object_agg(id, settings) FROM "Te ams""#;
const LEADS: &str =
    r#"SELECT string_agg(id || ':' || coalesce(lead::text, '-'), ' ' ORDER BY id) FROM "Te ams""#;

#[tokio::test]
async fn one_pass_removes_what_dangles_and_a_second_changes_nothing() {
    let db = teams().await;
    let mut params = with("editor", json!("editor"));
    params["edited_at"] = json!("at");
    params["owner"] = json!("id");
    params["recipients"] = json!("SELECT mail FROM admins WHERE team = :owner");
    params["batch"] = json!(2);
    armed(&db, "mend", params).await;
    let untouched =
        r#"SELECT string_agg(id || ' ' || xmin::text, ',' ORDER BY id) FROM "Te ams" WHERE id NOT IN (1, 5)"#;
    let before: String = db.get(untouched, &[]).await;
    let ran = db.run("mend").await;
    assert_eq!((ran.state.as_str(), ran.mode.as_str(), ran.rows), ("succeeded", "real", 2), "{ran:?}");
    assert_eq!((detail(&ran, "changed"), detail(&ran, "removed")), (&json!(2), &json!(6)), "{ran:?}");
    assert_eq!((detail(&ran, "unreadable"), detail(&ran, "owners")), (&json!(3), &json!(2)), "{ran:?}");
    assert_eq!(db.get::<String>(MEMBERS, &[]).await, "1:{3,1,3,2,NULL} 2:{1,2} 3:- 4:{} 5:{} 6:{8,4}");
    let settings: Value = db.get(SETTINGS, &[]).await;
    let watch = json!({"a": {"watch": [{"id": 1, "x": [null]}, {"id": null}, {}, 5, null]}, "b": 1});
    assert_eq!((&settings["1"], &settings["5"]), (&watch, &json!({"a": {"watch": []}})));
    assert_eq!((&settings["4"], &settings["6"]), (&json!([]), &json!({"a": {"watch": "none"}})));
    assert_eq!(db.get::<String>(untouched, &[]).await, before, "other rows are not even written");
    let edited = r#"SELECT bool_and((editor = 'maintenance' AND "at" > (now() AT TIME ZONE 'UTC') - interval '1 hour')
                      IS NOT DISTINCT FROM CASE WHEN id IN (1, 5) THEN true END) FROM "Te ams""#;
    assert!(db.get::<bool>(edited, &[]).await);
    let audit =
        "SELECT jsonb_agg(detail ORDER BY id) FROM sexton.audit WHERE verb = 'change' AND job_name = 'mend'";
    let expected = json!([
        {"table": "public.\"Te ams\"", "key": {"id": 1}, "deleted": false,
         "removed": {"the members": [99, 99], "settings": [{"id": 77}]}},
        {"table": "public.\"Te ams\"", "key": {"id": 5}, "deleted": false,
         "removed": {"the members": [99, 98], "settings": [{"id": 97, "name": "gone"}]}}]);
    assert_eq!(db.get::<Value>(audit, &[]).await, expected);
    let notices = "SELECT jsonb_agg(payload - '{changes,text}'::text[] ORDER BY id) FROM sexton.notice WHERE event = 'changed'";
    let told = json!([{"owner": "1", "rows": 1, "recipients": ["a@example.org", "b@example.org"]},
                      {"owner": "5", "rows": 1, "recipients": []}]);
    assert_eq!(db.get::<Value>(notices, &[]).await, told);

    let written: String =
        db.get(r#"SELECT string_agg(xmin::text, ',' ORDER BY id) FROM "Te ams""#, &[]).await;
    let again = db.run("mend").await;
    assert_eq!((again.state.as_str(), again.rows, detail(&again, "owners")), ("succeeded", 0, &json!(0)));
    assert_eq!(
        db.get::<String>(r#"SELECT string_agg(xmin::text, ',' ORDER BY id) FROM "Te ams""#, &[]).await,
        written
    );
    assert_eq!(db.get::<Value>(audit, &[]).await, expected);
    assert_eq!(db.get::<Value>(notices, &[]).await, told);
}

#[tokio::test]
async fn what_expired_goes_too_and_a_lone_reference_is_emptied_or_its_row_deleted() {
    let db = teams().await;
    let mut params = with("columns", json!(["the members", "lead"]));
    params["expired"] = json!("SELECT id FROM users WHERE expires_at < now() -- over");
    let ran = run(&db, params).await;
    assert_eq!((ran.state.as_str(), ran.rows), ("succeeded", 3), "{ran:?}");
    assert_eq!(db.get::<String>(MEMBERS, &[]).await, "1:{3,1,3,2,NULL} 2:{1,2} 3:- 4:{} 5:{} 6:{4}");
    assert_eq!(db.get::<String>(LEADS, &[]).await, "1:1 2:2 3:- 4:5 5:- 6:-");

    let db = teams().await;
    let columns = json!([{"name": "lead", "on_dangling": "delete"}, {"name": "the members", "valid": "VALUES (1), (2)"}]);
    let ran = run(&db, with("columns", columns)).await;
    assert_eq!(
        (ran.rows, detail(&ran, "deleted"), detail(&ran, "changed")),
        (3, &json!(1), &json!(3)),
        "{ran:?}"
    );
    assert_eq!(db.get::<String>(MEMBERS, &[]).await, "1:{1,2,NULL} 2:{1,2} 3:- 4:{} 6:{}");
    let deleted = "SELECT detail -> 'removed' FROM sexton.audit WHERE detail -> 'deleted' = 'true'";
    assert_eq!(db.get::<Value>(deleted, &[]).await, json!({"lead": [96], "the members": [99, 98]}));

    // Expired ids alone: what there is no user for stays.
    let db = teams().await;
    let mut params = with("expired", json!("SELECT 8"));
    params["valid"] = Value::Null;
    let ran = run(&db, params).await;
    assert_eq!(
        (ran.rows, db.get::<String>(MEMBERS, &[]).await.as_str()),
        (1, "1:{3,1,3,99,2,NULL,99} 2:{1,2} 3:- 4:{} 5:{99,98} 6:{4}")
    );
}

#[tokio::test]
async fn a_job_is_born_disarmed_and_a_dry_run_counts() {
    let db = teams().await;
    db.insert_manual("mend", "references", params()).await;
    let before: String = db.get(MEMBERS, &[]).await;
    let ran = db.run("mend").await;
    assert_eq!((ran.state.as_str(), ran.mode.as_str(), ran.rows), ("succeeded", "dry", 0), "{ran:?}");
    assert_eq!(
        (detail(&ran, "would_change"), detail(&ran, "would_remove")),
        (&json!(2), &json!(6)),
        "{ran:?}"
    );
    assert_eq!(db.get::<String>(MEMBERS, &[]).await, before);
    assert_eq!(db.get::<i64>("SELECT count(*) FROM sexton.audit WHERE verb = 'change'", &[]).await, 0);
}

/// An update that locks nothing first, as one would write it by hand: its snapshot is older than the row that it waits for.
const NAIVE: &str = r#"UPDATE "Te ams" SET "the members" = ARRAY(
      SELECT e FROM unnest("the members") WITH ORDINALITY AS u(e, o) WHERE EXISTS (SELECT FROM users WHERE id = e) ORDER BY o)
    WHERE EXISTS (SELECT FROM unnest("the members") e WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = e))"#;
/// A new user joins a team, in one transaction.
const JOIN: &str = r#"INSERT INTO users VALUES (50);
    UPDATE "Te ams" SET "the members" = "the members" || 50 WHERE id IN (1, 5)"#;
const WAITING: &str = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')";

#[tokio::test]
async fn a_concurrent_append_is_kept_which_a_plain_update_loses() {
    let db = teams().await;
    armed(&db, "mend", params()).await;
    let mut other = db.session().await;
    let join = other.transaction().await.unwrap();
    join.batch_execute(JOIN).await.unwrap();
    let occurrence = tokio::spawn(db.occurrence("mend").run());
    db.until("the run waits for the row", WAITING, &[]).await;
    join.commit().await.unwrap();
    let ran = occurrence.await.unwrap().unwrap();
    assert_eq!((ran.state.as_str(), ran.rows), ("succeeded", 2), "{ran:?}");
    assert_eq!(db.get::<String>(MEMBERS, &[]).await, "1:{3,1,3,2,NULL,50} 2:{1,2} 3:- 4:{} 5:{50} 6:{8,4}");

    // The negative control: the same by a plain UPDATE.
    let db = teams().await;
    let mut other = db.session().await;
    let join = other.transaction().await.unwrap();
    join.batch_execute(JOIN).await.unwrap();
    let naive = db.session().await;
    let update = tokio::spawn(async move { naive.batch_execute(NAIVE).await });
    db.until("the update waits for the row", WAITING, &[]).await;
    join.commit().await.unwrap();
    update.await.unwrap().unwrap();
    let lost: String = db.get(MEMBERS, &[]).await;
    assert!(!lost.contains("50"), "the plain update should have lost the append: {lost}");
}

#[tokio::test]
async fn a_row_that_stays_locked_is_passed_over_and_said() {
    let db = teams().await;
    armed(&db, "mend", params()).await;
    let mut other = db.session().await;
    let lock = other.transaction().await.unwrap();
    lock.batch_execute(r#"SELECT FROM "Te ams" WHERE id = 1 FOR UPDATE"#).await.unwrap();
    let ran = db.run("mend").await;
    assert_eq!(
        (ran.state.as_str(), ran.rows, detail(&ran, "locked")),
        ("succeeded", 1, &json!(1)),
        "{ran:?}"
    );
    lock.rollback().await.unwrap();
    let ran = db.run("mend").await;
    assert_eq!((ran.rows, detail(&ran, "locked")), (1, &json!(0)));
}

#[tokio::test]
async fn a_source_that_suddenly_gives_nothing_is_refused() {
    let db = teams().await;
    let before: String = db.get(MEMBERS, &[]).await;
    armed(&db, "empty", with("valid", json!("SELECT id FROM users WHERE false"))).await;
    let ran = db.run("empty").await;
    assert_eq!(ran.state, "refused");
    assert!(error(&ran).contains("gives no id at all") && error(&ran).contains("allow_empty"), "{ran:?}");

    armed(&db, "half", with("valid", json!("SELECT 1"))).await;
    db.execute("UPDATE sexton.job SET params = params || '{\"max_fraction\": 0.5}' WHERE name = 'half'")
        .await;
    db.client.query("SELECT sexton.arm('half')", &[]).await.unwrap();
    let ran = db.run("half").await;
    assert_eq!(ran.state, "refused", "{ran:?}");
    assert!(
        error(&ran).contains("max_fraction = 0.5") && error(&ran).contains("sexton arm half --approve"),
        "{ran:?}"
    );

    armed(&db, "many", with("refuse_above", json!(1))).await;
    let ran = db.run("many").await;
    assert!(ran.state == "refused" && error(&ran).contains("refuse_above"), "{ran:?}");
    assert_eq!(db.get::<String>(MEMBERS, &[]).await, before, "nothing was changed by what was refused");
    db.client.query("SELECT sexton.arm('many', 2)", &[]).await.unwrap();
    assert_eq!(db.run("many").await.rows, 2);

    let mut params = with("valid", json!("SELECT id FROM users WHERE false"));
    params["allow_empty"] = json!(true);
    armed(&db, "meant", params).await;
    assert_eq!(db.run("meant").await.state, "succeeded");
    assert_eq!(db.get::<String>(MEMBERS, &[]).await, "1:{NULL} 2:{} 3:- 4:{} 5:{} 6:{}");
}

#[tokio::test]
async fn ids_that_vanish_in_mid_run_stop_it_before_the_batch_commits() {
    let db = teams().await;
    let mut params = with("batch", json!(1));
    params["max_fraction"] = json!(0.6);
    armed(&db, "mend", params).await;
    // The survey, and the batch of team 1.
    let lost = db.occurrence("mend").kill_after_batches(2).run().await.unwrap();
    assert_eq!((lost.state.as_str(), lost.rows), ("running", 1), "{lost:?}");
    db.execute("TRUNCATE users").await;
    let ran = db.run("mend").await;
    assert!(ran.state == "refused" && error(&ran).contains("gives no id at all"), "{ran:?}");
    db.execute("INSERT INTO users VALUES (4711)").await;
    let ran = db.run("mend").await;
    assert!(ran.state == "refused" && error(&ran).contains("max_fraction"), "{ran:?}");
    assert_eq!(db.get::<String>(MEMBERS, &[]).await, "1:{3,1,3,2,NULL} 2:{1,2} 3:- 4:{} 5:{99,98} 6:{8,4}");
}

#[tokio::test]
async fn a_lost_run_goes_on_and_its_owners_are_told_once() {
    let db = teams().await;
    let mut params = with("batch", json!(1));
    params["owner"] = json!("'all'::text");
    armed(&db, "mend", params).await;
    let lost = db.occurrence("mend").kill_after_batches(2).run().await.unwrap();
    assert_eq!((lost.state.as_str(), lost.rows), ("running", 1), "{lost:?}");
    let ran = db.run("mend").await;
    assert_eq!((ran.state.as_str(), ran.attempt, ran.rows), ("succeeded", 2, 1), "{ran:?}");
    assert_eq!((detail(&ran, "changed"), detail(&ran, "owners")), (&json!(2), &json!(1)));
    let notices = "SELECT jsonb_agg(payload) FROM sexton.notice WHERE event = 'changed'";
    let told: Value = db.get(notices, &[]).await;
    assert_eq!((told.as_array().unwrap().len(), &told[0]["rows"]), (1, &json!(2)), "{told}");
    assert_eq!(told[0]["changes"][0]["key"], json!({"id": 1}));
    assert_eq!(
        told[0]["text"],
        json!("References that dangled or had expired were removed from 2 rows of public.\"Te ams\".")
    );
}

#[tokio::test]
async fn budgets_end_a_run_and_holds_are_kept() {
    let db = teams().await;
    armed(&db, "mend", with("limit_rows", json!(1))).await;
    let ran = db.run("mend").await;
    assert_eq!((ran.rows, detail(&ran, "stopped")), (1, &json!("limit_rows")), "{ran:?}");
    db.client.query(r#"SELECT sexton.hold('"Te ams"', 'id = 5', 'case 7')"#, &[]).await.unwrap();
    let ran = db.run("mend").await;
    assert_eq!((ran.state.as_str(), ran.rows), ("succeeded", 0), "{ran:?}");
    assert!(db.get::<String>(MEMBERS, &[]).await.contains("5:{99,98}"));
    db.client.query("SELECT sexton.unhold(id) FROM sexton.hold", &[]).await.unwrap();
    assert_eq!(db.run("mend").await.rows, 1);
}

#[tokio::test]
async fn a_hold_that_is_set_in_mid_run_stops_it_before_its_next_batch() {
    let db = teams().await;
    armed(&db, "mend", params()).await;
    let mut other = db.session().await;
    let lock = other.transaction().await.unwrap();
    lock.batch_execute(r#"SELECT FROM "Te ams" WHERE id = 1 FOR UPDATE"#).await.unwrap();
    let occurrence = tokio::spawn(db.occurrence("mend").run());
    db.until("the run waits for the row", WAITING, &[]).await;
    db.client.query(r#"SELECT sexton.hold('"Te ams"', 'id = 5', 'case 8')"#, &[]).await.unwrap();
    lock.rollback().await.unwrap();
    let ran = occurrence.await.unwrap().unwrap();
    assert_eq!(
        (ran.state.as_str(), ran.error.as_deref(), ran.rows),
        ("released", Some("held"), 0),
        "{ran:?}"
    );
    assert_eq!(db.run("mend").await.rows, 1);
    assert_eq!(db.get::<String>(MEMBERS, &[]).await, "1:{3,1,3,2,NULL} 2:{1,2} 3:- 4:{} 5:{99,98} 6:{8,4}");
}

#[tokio::test]
async fn uuids_texts_and_composite_keys_in_partitions() {
    let db = Db::new().await;
    db.execute(
        "CREATE TABLE docs (k text, part int, ids uuid[], tags jsonb, PRIMARY KEY (part, k)) PARTITION BY LIST (part);
         CREATE TABLE docs_1 PARTITION OF docs FOR VALUES IN (1); CREATE TABLE docs_2 PARTITION OF docs FOR VALUES IN (2);
         CREATE TABLE people (id uuid PRIMARY KEY); CREATE TABLE tags (name text PRIMARY KEY);
         INSERT INTO people VALUES ('00000000-0000-4000-8000-00000000000a');
         INSERT INTO tags VALUES ('a'), ('b''c'), ('1');
         INSERT INTO docs SELECT 'k' || i, 1 + i % 2,
           ARRAY['00000000-0000-4000-8000-00000000000a', gen_random_uuid()]::uuid[],
           '[\"a\", \"zz\", 1, {\"x\": 1}, \"b''c\", null, \"a\"]' FROM generate_series(1, 20) i",
    )
    .await;
    let columns = json!([{"name": "ids", "valid": "SELECT id FROM people"},
                         {"name": "tags", "path": "$[*]", "valid": "SELECT name FROM tags"}]);
    let params = json!({"table": "docs", "columns": columns, "batch": 3, "owner": "k", "max_fraction": 0.6});
    let ran = run(&db, params).await;
    assert_eq!(
        (ran.state.as_str(), ran.rows, detail(&ran, "removed")),
        ("succeeded", 20, &json!(40)),
        "{ran:?}"
    );
    assert_eq!(detail(&ran, "unreadable"), &json!(20));
    let exact = "SELECT bool_and(ids = ARRAY['00000000-0000-4000-8000-00000000000a']::uuid[]
                             AND tags = '[\"a\", 1, {\"x\": 1}, \"b''c\", null, \"a\"]') FROM docs";
    assert!(db.get::<bool>(exact, &[]).await);
    assert_eq!(db.get::<i64>("SELECT count(*) FROM sexton.notice WHERE event = 'changed'", &[]).await, 20);
    assert_eq!(db.run("mend").await.rows, 0);
}
