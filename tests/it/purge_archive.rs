//! Purges that keep rows in a table: what such a table must be like, and that no row is lost or kept twice.

use serde_json::{Value, json};

use crate::purge_support::{World, detail};

/// 40 rows, an hour apart.
const LOG: &str = "CREATE TABLE log (id int PRIMARY KEY, at timestamptz NOT NULL, \"What?\" text, twice int GENERATED ALWAYS AS (id * 2) STORED);
    INSERT INTO log SELECT i, now() - i * interval '1 hour', nullif('w' || i % 3, 'w0') FROM generate_series(1, 40) i; CREATE INDEX ON log (at);";

fn params() -> Value {
    json!({"table": "log", "by": "at", "retention": "10 hours 30 minutes", "max_fraction": 1, "batch": 7,
           "archive": {"table": "kept"}})
}

#[tokio::test]
async fn rows_are_kept_as_they_were_at_each_pace_and_after_a_crash() {
    for (pacing, walk, lost_after) in [("gentle", "index", 3), ("full", "heap", 1), ("full", "index", 4)] {
        // Another order of columns, one more, an identity, a sum of its own, and partitions.
        let world = World::new(&format!(
            "{LOG} CREATE TABLE was AS TABLE log;
             CREATE TABLE kept (n bigint GENERATED ALWAYS AS IDENTITY, twice int, \"What?\" varchar(10), at timestamptz,
                                kept_at timestamptz DEFAULT now(), id int, thrice int GENERATED ALWAYS AS (id * 3) STORED) PARTITION BY LIST (id);
             CREATE TABLE kept_all PARTITION OF kept DEFAULT;"
        ))
        .await;
        let mut params = params();
        (params["pacing"], params["walk"]) = (pacing.into(), walk.into());
        world.job(params).await;
        let lost = world.occurrence().kill_after_batches(lost_after).run().await.unwrap();
        assert_eq!(lost.state, "running");
        let between = "SELECT (SELECT count(*) FROM log) + (SELECT count(*) FROM kept)";
        assert_eq!(world.number(between).await, 40);
        let ran = world.succeed().await;
        assert_eq!((ran.attempt, detail(&ran, "/archived").as_i64()), (2, Some(ran.rows)));
        let same = "SELECT count(*) FROM (SELECT id, at, \"What?\", twice FROM kept WHERE kept_at IS NOT NULL INTERSECT SELECT * FROM was WHERE id > 10) t";
        assert_eq!((world.number(same).await, world.number("SELECT count(*) FROM kept").await), (30, 30));
        assert_eq!(world.number("SELECT max(id)::bigint FROM log").await, 10);
    }
}

#[tokio::test]
async fn an_archive_that_would_not_take_the_rows_is_refused() {
    let world = World::new(LOG).await;
    for (table, says) in [
        ("CREATE TABLE kept (id int, at timestamptz)", "public.kept has no column \"What?\", twice"),
        (
            "CREATE TABLE kept (id int, at timestamptz)",
            "ALTER TABLE public.kept ADD COLUMN \"What?\" text, ADD COLUMN twice integer;",
        ),
        ("CREATE TABLE kept (LIKE log, who text NOT NULL)", "wants a value for who"),
        ("CREATE TABLE kept (id int, at int, \"What?\" text, twice int)", "column \"at\" is of type integer"),
        ("CREATE UNLOGGED TABLE kept (LIKE log)", "is not logged"),
        ("CREATE VIEW kept AS TABLE log", "is no table that rows can be inserted into"),
        (
            "CREATE TABLE kept (LIKE log); DROP TABLE kept; ALTER TABLE log RENAME TO kept",
            "is the table itself",
        ),
    ] {
        world.0.execute(&format!("DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC; {LOG} {table}")).await;
        let mut params = params();
        if says.contains("itself") {
            params["table"] = "kept".into();
        }
        // An edit makes the job look up its table, which is another one each time.
        params["refuse_above"] = (1000 + says.len()).into();
        world.job(params).await;
        let refusal = world.refused().await;
        assert!(refusal.contains(says), "{refusal:?} does not say {says:?}");
    }
}

#[tokio::test]
async fn a_role_that_may_not_insert_is_refused() {
    let world = World::new(&format!("{LOG} CREATE TABLE kept (LIKE log);")).await;
    world.job(params()).await;
    for (role, rights, expected) in [
        ("archive_poor", "GRANT SELECT ON kept", ("refused", 0)),
        ("archive_enough", "GRANT INSERT (id, at, \"What?\", twice) ON kept", ("succeeded", 30)),
    ] {
        world.0.verb("run_now", "j").await;
        world
            .0
            .execute(&format!(
                "CREATE ROLE {role} LOGIN; GRANT sexton_runner TO {role}; GRANT SELECT, DELETE ON log TO {role}; {rights} TO {role}"
            ))
            .await;
        let mut config = world.0.config.clone();
        config.user(role);
        let occurrence =
            sexton::testing::Occurrence::of("j", config).registry(sexton::Registry::with_builtins());
        let ran = occurrence.run().await.unwrap();
        assert_eq!((ran.state.as_str(), ran.rows), expected, "{role}: {:?}", ran.error);
    }
}

#[tokio::test]
async fn what_the_archive_does_not_take_is_not_deleted() {
    let drops = "CREATE FUNCTION drops() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.id = 30 THEN RETURN NULL; END IF; RETURN NEW; END';
                 CREATE TRIGGER drops BEFORE INSERT ON kept FOR EACH ROW EXECUTE FUNCTION drops();";
    for (breaks, says) in [
        (drops, "archive public.kept took"),
        ("CREATE UNIQUE INDEX ON kept (id); INSERT INTO kept (id, at) VALUES (30, now());", "duplicate key"),
        ("ALTER TABLE kept ADD CHECK (id <> 30)", "violates check constraint"),
    ] {
        let world = World::new(&format!("{LOG} CREATE TABLE kept (LIKE log); {breaks}")).await;
        world.job(params()).await;
        let ran = world.run().await;
        let error = ran.error.unwrap_or_default();
        assert!(ran.state == "failed" && error.contains(says), "{} {error}", ran.state);
        let whole = "SELECT count(*) FROM generate_series(1, 40) i
                      WHERE EXISTS (SELECT FROM log WHERE id = i) = EXISTS (SELECT FROM kept WHERE id = i AND at < now() - interval '1 hour')
                        AND i <> 1";
        assert_eq!(world.number(whole).await, 0, "{error}");
        assert_eq!(world.number("SELECT count(*) FROM log WHERE id = 30").await, 1);
    }
}

#[tokio::test]
async fn a_locked_row_is_stepped_around_and_kept_once_it_goes() {
    let world = World::new(&format!("{LOG} CREATE TABLE kept (LIKE log);")).await;
    world.job(params()).await;
    let application = world.0.session().await;
    application.batch_execute("BEGIN; UPDATE log SET \"What?\" = 'mine' WHERE id = 25").await.unwrap();
    let ran = world.succeed().await;
    assert_eq!((ran.rows, detail(&ran, "/skipped_locked").as_i64()), (29, Some(1)));
    application.batch_execute("COMMIT").await.unwrap();
    assert_eq!(world.succeed().await.rows, 1);
    let kept = "SELECT count(*) FROM kept WHERE id = 25 AND \"What?\" = 'mine'";
    assert_eq!(
        (world.number(kept).await, world.number("SELECT count(DISTINCT id) FROM kept").await),
        (1, 30)
    );
}

#[tokio::test]
async fn children_without_an_archive_are_pointed_out_and_none_is_a_table_that_is_purged() {
    let world = World::new(&format!(
        "{LOG} CREATE TABLE kept (LIKE log); CREATE TABLE parts (log int REFERENCES log); CREATE INDEX ON parts (log);
         INSERT INTO parts SELECT i FROM generate_series(1, 40) i; CREATE TABLE kept_parts (LIKE parts);"
    ))
    .await;
    let mut params = params();
    params["children"] = json!(["parts"]);
    world.unarmed_job(params.clone(), json!({})).await;
    let ran = world.succeed().await;
    let warnings = detail(&ran, "/warnings").to_string();
    assert!(warnings.contains("rows of public.parts go without an archive"), "{warnings}");
    assert_eq!(detail(&ran, "/archive"), "public.kept");
    params["children"] = json!([{"table": "parts", "archive": {"table": "log"}}]);
    world.job(params.clone()).await;
    assert!(world.refused().await.contains("public.log has"), "it lacks the columns, too");
    params["children"] = json!([{"table": "parts", "archive": {"table": "kept_parts"}}]);
    world.job(params).await;
    let ran = world.succeed().await;
    assert_eq!(detail(&ran, "/children"), &json!([{"table": "public.parts", "deleted": 30, "archived": 30}]));
    assert_eq!(world.number("SELECT count(*) FROM kept_parts").await, 30);
}

#[tokio::test]
async fn children_and_archives_that_were_replaced_are_not_touched_before_the_job_is_armed_again() {
    let world = World::new(&format!(
        "{LOG} CREATE TABLE kept (LIKE log); CREATE TABLE parts (log int REFERENCES log); CREATE INDEX ON parts (log);
         INSERT INTO parts SELECT i FROM generate_series(1, 40) i;"
    ))
    .await;
    let mut params = params();
    params["children"] = json!(["parts"]);
    world.job(params).await;
    let replace = |table: &str| {
        format!(
            "ALTER TABLE {table} RENAME TO old_{table}; CREATE TABLE {table} (LIKE old_{table} INCLUDING ALL)"
        )
    };
    world.0.execute(&replace("kept")).await;
    let refusal = world.refused().await;
    assert!(refusal.contains("params.archive: public.kept was renamed or replaced"), "{refusal}");
    world.0.verb("arm", "j").await;
    world.0.execute(&replace("parts")).await;
    assert!(world.refused().await.contains("public.old_parts was renamed or replaced"));
    world.0.execute("DROP TABLE old_parts; ALTER TABLE parts ADD FOREIGN KEY (log) REFERENCES log").await;
    let refusal = world.refused().await;
    assert!(refusal.contains("params.children: table public.parts is gone"), "{refusal}");
    // A search path of its own finds no other tables of these names.
    world.0.execute("CREATE SCHEMA app; CREATE TABLE app.kept (LIKE log); UPDATE sexton.job SET search_path = 'app, public'").await;
    world.0.verb("arm", "j").await;
    world.succeed().await;
    let counts = "SELECT count(*) + 1000 * (SELECT count(*) FROM old_kept) + 1000 * (SELECT count(*) FROM app.kept) FROM kept";
    assert_eq!(world.number(counts).await, 30);
}
