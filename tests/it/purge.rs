//! What a purge deletes, refuses and reports.

use serde_json::json;
use sexton::kind::Options;

use crate::purge_support::{World, detail};

/// 1,000 rows, one an hour back from now; every tenth has no age. 468 are older than 20 days.
const EVENTS: &str = "CREATE TABLE events (id bigint PRIMARY KEY, at timestamptz, tenant bigint NOT NULL);
    INSERT INTO events SELECT i, CASE WHEN i % 10 > 0 THEN now() - i * interval '1 hour' + interval '1 minute' END, i % 3
      FROM generate_series(1, 1000) i;";

#[tokio::test]
async fn both_walks_delete_what_is_old_and_keep_what_has_no_age() {
    for (walk, index) in [("heap", ""), ("index", "CREATE INDEX ON events (at)")] {
        for pacing in ["gentle", "full"] {
            let world = World::new(&format!("{EVENTS} {index}")).await;
            let due = world.number("SELECT count(*) FROM events WHERE at < now() - interval '20 days'").await;
            world
                .job(json!({"table": "events", "by": "at", "retention": "20 days", "walk": walk, "batch": 50,
                             "pacing": pacing}))
                .await;
            let ran = world.succeed().await;
            assert_eq!((ran.rows, ran.mode.as_str()), (due, "real"), "{walk}: {:?}", ran.report);
            assert_eq!(detail(&ran, "/walk"), walk);
            assert_eq!(detail(&ran, "/deleted"), due);
            assert_eq!(detail(&ran, "/stopped"), "drained");
            assert_eq!(world.number("SELECT count(*) FROM events").await, 1000 - due);
            assert_eq!(world.number("SELECT count(*) FROM events WHERE at IS NULL").await, 100);
        }
    }
}

#[tokio::test]
async fn bounds_that_were_guessed_lose_nothing_to_gaps_and_crowds() {
    // A row a second, then a year without any, then an age that 30,000 rows share, then a hundred rows a second.
    let world = World::new(
        "CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz);
         INSERT INTO events (at) SELECT '2019-01-01Z'::timestamptz + i * interval '1 second' FROM generate_series(1, 60000) i;
         INSERT INTO events (at) SELECT '2020-01-02Z' FROM generate_series(1, 30000);
         INSERT INTO events (at) SELECT '2020-01-02Z'::timestamptz + i * interval '10 ms' FROM generate_series(1, 50000) i;
         INSERT INTO events (at) SELECT now() - i * interval '1 second' FROM generate_series(1, 20000) i;
         INSERT INTO events (at) SELECT '-infinity' FROM generate_series(1, 3000);
         INSERT INTO events (at) SELECT NULL FROM generate_series(1, 10);
         CREATE INDEX ON events (at)",
    )
    .await;
    world
        .job(json!({"table": "events", "by": "at", "retention": "1 day", "walk": "index", "pacing": "full",
                     "max_fraction": 1}))
        .await;
    let ran = world.succeed().await;
    assert_eq!(ran.rows, 143_000, "{:?}", ran.report);
    assert_eq!(world.number("SELECT count(*) FROM events").await, 20_010);
    assert!(detail(&ran, "/bounds_guessed").as_u64() > Some(0), "{:?}", ran.report);
    let batches = detail(&ran, "/batches").as_u64();
    assert!(batches < Some(40), "no endless small steps: {:?}", ran.report);
}

/// Told by triggers that fire at the commit, so that what is seen is what the commit went by.
#[tokio::test]
async fn its_batches_wait_neither_for_the_disk_nor_long_for_their_client() {
    let world = World::new(&format!(
        "{EVENTS}
         CREATE TABLE seen (what text, waits text, plans text, idle text);
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
           INSERT INTO public.seen VALUES (TG_TABLE_NAME, current_setting('synchronous_commit'), current_setting('plan_cache_mode'),
             current_setting('idle_in_transaction_session_timeout'));
           RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER see AFTER DELETE ON events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION see();
         CREATE CONSTRAINT TRIGGER see AFTER UPDATE ON sexton.run DEFERRABLE INITIALLY DEFERRED
           FOR EACH ROW WHEN (NEW.state <> 'running') EXECUTE FUNCTION see();"
    ))
    .await;
    for (pacing, predicate, plans) in
        [("gentle", None, "auto"), ("full", None, "auto"), ("full", Some("tenant < 9"), "force_custom_plan")]
    {
        world
            .job(
                json!({"table": "events", "by": "at", "retention": "20 days", "where": predicate, "batch": 50,
                         "pacing": pacing, "limit_rows": 100}),
            )
            .await;
        world.0.execute("TRUNCATE seen").await;
        assert_eq!(world.succeed().await.rows, 100);
        let seen = "SELECT string_agg(DISTINCT concat_ws(' ', what, waits, idle), ', ') FROM seen";
        assert_eq!(world.0.get::<String>(seen, &[]).await, "events off 5s, run on 15s", "{pacing}");
        let seen = "SELECT string_agg(DISTINCT plans, ', ') FROM seen WHERE what = 'events'";
        assert_eq!(world.0.get::<String>(seen, &[]).await, plans, "{pacing} {predicate:?}");
    }
}

/// 60,000 rows that go and 10 that stay, with a note of each statement that deletes some.
const MANY: &str = "CREATE TABLE events (id bigint PRIMARY KEY, at timestamptz NOT NULL);
    INSERT INTO events SELECT i, now() - interval '40 days' + i * interval '1 second' FROM generate_series(1, 60000) i;
    INSERT INTO events SELECT i, now() FROM generate_series(60001, 60010) i;
    CREATE INDEX ON events (at);
    CREATE TABLE statements (transaction xid8, gone bigint, began timestamptz, ended timestamptz);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
      INSERT INTO public.statements SELECT pg_current_xact_id(), count(*), statement_timestamp(), clock_timestamp() FROM gone;
      RETURN NULL; END $$;
    CREATE TRIGGER note AFTER DELETE ON events REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION note();";

#[tokio::test]
async fn a_gentle_batch_is_one_transaction_of_several_slices() {
    for walk in ["heap", "index"] {
        let world = World::new(MANY).await;
        world
            .job(json!({"table": "events", "by": "at", "retention": "20 days", "walk": walk, "max_fraction": 1}))
            .await;
        let ran = world.succeed().await;
        assert_eq!(ran.rows, 60_000, "{walk}: {:?}", ran.report);
        assert_eq!(world.number("SELECT count(*) FROM events").await, 10);
        assert_eq!(world.number("SELECT sum(gone)::bigint FROM statements").await, 60_000);
        let cut =
            "SELECT count(*) FROM (SELECT FROM statements GROUP BY transaction HAVING count(*) > 1) several";
        assert!(world.number(cut).await > 0, "{walk}: {:?}", ran.report);
        // By the server's own clock: it never sleeps for less than it is told.
        let restless = "SELECT count(*) FROM (SELECT began - lag(ended) OVER (PARTITION BY transaction ORDER BY ended) FROM statements) r (rest)
                         WHERE rest < interval '0.9 ms'";
        assert_eq!(world.number(restless).await, 0, "{walk}: the server rests between slices");
        let (batches, slices) = (detail(&ran, "/batches").as_i64(), detail(&ran, "/slices").as_i64());
        let transactions = "SELECT count(DISTINCT transaction) FROM statements";
        assert_eq!(batches, Some(world.number(transactions).await), "{walk}");
        assert_eq!(slices, Some(world.number("SELECT count(*) FROM statements").await), "{walk}");
    }
}

#[tokio::test]
async fn a_slice_that_fails_takes_its_batch_back_whole() {
    for walk in ["heap", "index"] {
        let world = World::new(&format!(
            "{MANY}
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'this one stays'; END $$;
             CREATE TRIGGER refuse BEFORE DELETE ON events FOR EACH ROW WHEN (OLD.id = 55000) EXECUTE FUNCTION refuse();"
        ))
        .await;
        world
            .job(json!({"table": "events", "by": "at", "retention": "20 days", "walk": walk, "max_fraction": 1}))
            .await;
        let ran = world.run().await;
        assert_eq!(ran.state, "failed", "{walk}: {ran:?}");
        let gone = 60_010 - world.number("SELECT count(*) FROM events").await;
        assert!(gone > 0, "{walk}: batches before it have committed");
        assert_eq!(ran.rows, gone, "{walk}: what is recorded is what is gone");
        assert_eq!(
            world.number("SELECT coalesce(sum(gone), 0)::bigint FROM statements").await,
            gone,
            "{walk}"
        );
    }
}

#[tokio::test]
async fn unarmed_it_reports_and_deletes_nothing() {
    let world = World::new(EVENTS).await;
    world
        .unarmed_job(
            json!({"table": "events", "by": "at", "retention": "1 day", "where": "tenant = 1 OR tenant = 2"}),
            json!({}),
        )
        .await;
    let due = world
        .number("SELECT count(*) FROM events WHERE at < now() - interval '1 day' AND tenant IN (1, 2)")
        .await;
    let ran = world.succeed().await;
    assert_eq!((ran.mode.as_str(), ran.rows), ("dry", 0));
    assert_eq!(detail(&ran, "/dry"), true);
    assert_eq!(detail(&ran, "/eligible"), due);
    assert_eq!(detail(&ran, "/walk"), "heap");
    let would = detail(&ran, "/would_refuse/0/remedy").as_str().unwrap_or_default();
    assert!(would.contains("sexton arm j --approve"), "{:?}", ran.report);
    assert_eq!(world.number("SELECT count(*) FROM events").await, 1000);
}

#[tokio::test]
async fn a_guard_refuses_until_so_many_rows_are_approved() {
    for params in [json!({"retention": "1 day"}), json!({"retention": "20 days", "refuse_above": 100})] {
        let world = World::new(EVENTS).await;
        let mut all = json!({"table": "events", "by": "at"});
        all.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
        world.job(all).await;
        let refusal = world.refused().await;
        let line = refusal.split("sexton arm j --approve ").nth(1).expect("the line that lets it through");
        let rows: i64 = line.split(' ').next().unwrap().parse().unwrap();
        let age = params["retention"].as_str().unwrap();
        let due =
            world.number(&format!("SELECT count(*) FROM events WHERE at < now() - interval '{age}'")).await;
        assert!(rows >= due, "{rows} of {due}");
        world.0.execute("SELECT sexton.arm('j', 3)").await;
        assert!(world.refused().await.contains("--approve"), "3 rows were approved, more are due");
        world.0.client.execute("SELECT sexton.arm('j', $1)", &[&rows]).await.unwrap();
        let ran = world.succeed().await;
        assert_eq!((ran.rows, detail(&ran, "/approved").as_i64()), (due, Some(rows)));
    }
}

#[tokio::test]
async fn budgets_end_a_run_as_succeeded_at_the_very_row() {
    for walk in ["heap", "index"] {
        let world = World::new(&format!("{EVENTS} CREATE INDEX ON events (at)")).await;
        world
            .job(json!({"table": "events", "by": "at", "retention": "20 days", "walk": walk, "batch": 30,
                         "limit_rows": 100, "pacing": "full"}))
            .await;
        let ran = world.succeed().await;
        assert_eq!((ran.rows, detail(&ran, "/stopped")), (100, &json!("limit_rows")), "{walk}");
        let options = Options { limit_rows: Some(7), ..Options::default() };
        let ran = world.occurrence().options(options).run().await.unwrap();
        assert_eq!((ran.state.as_str(), ran.rows), ("succeeded", 7), "{walk}");
        let options = Options { limit_rows: Some(1000), ..Options::default() };
        let ran = world.occurrence().options(options).run().await.unwrap();
        assert_eq!(ran.rows, 100, "{walk}: an option only narrows");
        let options = Options { time_limit: Some("1ms".to_owned()), ..Options::default() };
        let ran = world.occurrence().options(options).run().await.unwrap();
        assert_eq!(detail(&ran, "/stopped"), "time_limit", "{walk}");
    }
}

#[tokio::test]
async fn a_lost_run_goes_on_at_its_cursor_within_the_same_cutoff_and_budget() {
    let world = World::new(&format!("{EVENTS} CREATE INDEX ON events (at)")).await;
    world
        .job(json!({"table": "events", "by": "at", "retention": "20 days", "batch": 20, "limit_rows": 200}))
        .await;
    let lost = world.occurrence().kill_after_batches(4).run().await.unwrap();
    assert_eq!(lost.state, "running");
    let before: String = world
        .0
        .last_run("j", "(SELECT cursor -> 'cutoff' ->> 'at' FROM sexton.run_part WHERE run_id = run.id)")
        .await;
    let ran = world.succeed().await;
    assert_eq!(ran.attempt, 2);
    assert_eq!(detail(&ran, "/cutoff").as_str(), Some(before.as_str()));
    assert_eq!(world.number("SELECT 1000 - count(*) FROM events").await, 200);
}

#[tokio::test]
async fn rows_that_the_application_holds_are_left_and_counted() {
    for walk in ["heap", "index"] {
        let world = World::new(&format!("{EVENTS} CREATE INDEX ON events (at)")).await;
        world.job(json!({"table": "events", "by": "at", "retention": "20 days", "walk": walk, "pacing": "full"})).await;
        let due = world.number("SELECT count(*) FROM events WHERE at < now() - interval '20 days'").await;
        let other = world.0.session().await;
        other
            .batch_execute("BEGIN; SELECT FROM events WHERE id IN (901, 902, 999) FOR UPDATE")
            .await
            .unwrap();
        let ran = world.succeed().await;
        assert_eq!(
            (ran.rows, detail(&ran, "/skipped_locked")),
            (due - 3, &json!(3)),
            "{walk}: {:?}",
            ran.report
        );
        other.batch_execute("COMMIT").await.unwrap();
        assert_eq!(world.succeed().await.rows, 3, "{walk}");
    }
}

#[tokio::test]
async fn an_age_that_many_rows_share_is_taken_in_slices() {
    let world = World::new(
        "CREATE TABLE days (day date NOT NULL, n int);
         INSERT INTO days SELECT current_date - i / 100, i FROM generate_series(0, 999) i; CREATE INDEX ON days (day);",
    ).await;
    world
        .job(json!({"table": "days", "by": "day", "retention": "5 days", "walk": "index", "batch": 30}))
        .await;
    let due =
        world.number("SELECT count(*) FROM days WHERE day < (now() AT TIME ZONE 'UTC')::date - 5").await;
    let ran = world.succeed().await;
    assert_eq!(ran.rows, due);
    assert_eq!(detail(&ran, "/batch_rows/max"), 30);
    assert_eq!(detail(&ran, "/crowded_ages"), due / 100);
    assert_eq!(world.number("SELECT count(*) FROM days").await, 1000 - due);
}

#[tokio::test]
async fn an_age_without_a_zone_is_read_in_the_jobs_zone() {
    let world = World::new(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = %L', current_database(), 'America/New_York'); END $$;
         CREATE TABLE t (at timestamp NOT NULL); INSERT INTO t VALUES ('2026-03-01 00:59:59.999999'), ('2026-03-01 01:00:00'), ('2026-03-01 09:00:00');",
    ).await;
    world.job(json!({"table": "t", "by": "at", "retention": "2 days", "time_zone": "Europe/Paris", "max_fraction": 1})).await;
    let now = "2026-03-03T00:00:00Z".parse().unwrap();
    let ran = world.occurrence().now(now).run().await.unwrap();
    assert_eq!((ran.state.as_str(), ran.rows), ("succeeded", 1), "{:?}", ran.error);
    world.job(json!({"table": "t", "by": "at", "retention": "1 day", "time_zone": "Europe/Paris", "cutoff": "midnight",
                     "max_fraction": 1})).await;
    let ran = world.occurrence().now(now).run().await.unwrap();
    assert_eq!((ran.rows, detail(&ran, "/cutoff")), (2, &json!("2026-03-01T23:00:00Z")), "{:?}", ran.error);
}

#[tokio::test]
async fn an_input_is_bound_and_replaces_the_age() {
    let world = World::new("CREATE TABLE t (tenant text, n int); INSERT INTO t SELECT 't' || i % 4, i FROM generate_series(1, 80) i;
        INSERT INTO t VALUES ('x'' OR ''1''=''1', 0)").await;
    world
        .unarmed_job(json!({"table": "t", "where": "tenant = :tenant OR false"}), json!({"tenant": "text"}))
        .await;
    world.0.verb("arm", "j").await;
    let ran = world.occurrence().inputs(json!({"tenant": "x' OR '1'='1"})).run().await.unwrap();
    assert_eq!((ran.state.as_str(), ran.rows), ("succeeded", 1), "{:?}", ran.error);
    let ran = world.occurrence().inputs(json!({"tenant": "t1"})).run().await.unwrap();
    assert_eq!((ran.rows, detail(&ran, "/walk")), (20, &json!("heap")));
    assert_eq!(world.number("SELECT count(*) FROM t").await, 60);
}

#[tokio::test]
async fn triggers_and_cascades_of_the_application_work() {
    let world = World::new(
        "CREATE TABLE parent (id int PRIMARY KEY, at timestamptz NOT NULL);
         CREATE TABLE child (id int PRIMARY KEY, parent int NOT NULL REFERENCES parent ON DELETE CASCADE);
         CREATE INDEX ON child (parent); CREATE TABLE gone (id int);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO gone VALUES (OLD.id); RETURN OLD; END';
         CREATE TRIGGER noted BEFORE DELETE ON parent FOR EACH ROW EXECUTE FUNCTION note();
         INSERT INTO parent SELECT i, now() - i * interval '1 day' FROM generate_series(1, 100) i;
         INSERT INTO child SELECT i * 10 + k, i FROM generate_series(1, 100) i, generate_series(1, 3) k;",
    ).await;
    world.job(json!({"table": "parent", "by": "at", "retention": "60 days 12:00"})).await;
    let ran = world.succeed().await;
    assert_eq!(ran.rows, 40);
    assert_eq!(world.number("SELECT count(*) FROM gone").await, 40);
    assert_eq!(world.number("SELECT count(*) FROM child").await, 180);
    let warnings = detail(&ran, "/warnings").to_string();
    assert!(warnings.contains("noted") && warnings.contains("public.child"), "{warnings}");
}

#[tokio::test]
async fn what_cannot_work_or_must_not_is_refused_by_name() {
    let base = "CREATE TABLE t (id int PRIMARY KEY, at timestamptz, name text); INSERT INTO t VALUES (1, '2020-01-01', 'x');";
    let age = json!({"table": "t", "by": "at", "retention": "1 day", "max_fraction": 1});
    let with = |name: &str, value: serde_json::Value| {
        let mut params = age.clone();
        params[name] = value;
        params
    };
    let parts = "CREATE TABLE p (at timestamptz) PARTITION BY RANGE (at)";
    for (sql, params, says) in [
        ("", with("by", json!("name")), "is of type text"),
        ("", with("by", json!("nope")), "params.by"),
        ("", with("where", json!("1=1) OR (1=1")), "params.where"),
        ("", with("where", json!("id")), "not boolean"),
        ("", with("retention", json!("59 min")), "floor of 1 hour"),
        ("", with("walk", json!("index")), "CREATE INDEX CONCURRENTLY ON public.t (at)"),
        ("CREATE VIEW v AS SELECT * FROM t", with("table", json!("v")), "is a view"),
        ("", with("table", json!("sexton.audit")), "Sexton's own"),
        ("CREATE TABLE c () INHERITS (t)", age.clone(), "inherit from public.t"),
        (parts, with("table", json!("p")), "public.p is partitioned"),
        ("CREATE TABLE c (t int REFERENCES t)", age.clone(), "CREATE INDEX CONCURRENTLY ON public.c (t)"),
        (
            "ALTER TABLE t DROP CONSTRAINT t_pkey; CREATE PUBLICATION pub FOR TABLE t",
            age.clone(),
            "REPLICA IDENTITY FULL",
        ),
    ] {
        let world = World::new(&format!("{base} {sql}")).await;
        world.job(params).await;
        let refusal = world.refused().await;
        assert!(refusal.contains(says), "{refusal:?} does not say {says:?}");
        assert_eq!(world.number("SELECT count(*) FROM t").await, 1);
    }
}

#[tokio::test]
async fn a_table_that_was_replaced_is_not_touched() {
    let world = World::new("CREATE TABLE t (at timestamptz); INSERT INTO t VALUES ('2020-01-01');").await;
    world.job(json!({"table": "t", "by": "at", "retention": "1 day", "max_fraction": 1})).await;
    world.0.execute("ALTER TABLE t RENAME TO old; CREATE TABLE t AS SELECT * FROM old").await;
    assert!(world.refused().await.contains("renamed or replaced"));
    world.0.execute("DROP TABLE old").await;
    assert!(world.refused().await.contains("is gone"));
    assert_eq!(world.number("SELECT count(*) FROM t").await, 1);
    // Whoever arms the job again means the table that has the name now.
    world.0.execute("SELECT sexton.arm('j')").await;
    world.succeed().await;
    assert_eq!(world.number("SELECT count(*) FROM t").await, 0);
}

#[tokio::test]
async fn partitions_are_walked_through_their_parent() {
    let world = World::new(
        "CREATE TABLE p (at timestamptz NOT NULL, n int) PARTITION BY RANGE (at);
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (MINVALUE) TO ('2026-02-01');
         CREATE TABLE p2 PARTITION OF p DEFAULT; CREATE INDEX ON p (at);
         INSERT INTO p SELECT timestamptz '2026-01-01' + i * interval '6 hours', i FROM generate_series(0, 399) i;",
    ).await;
    world.job(json!({"table": "p", "by": "at", "retention": "1 day", "batch": 17, "max_fraction": 1})).await;
    let ran = world.occurrence().now("2026-02-15T00:00:00Z".parse().unwrap()).run().await.unwrap();
    assert_eq!((ran.state.as_str(), ran.rows), ("succeeded", 44 * 4), "{:?}", ran.error);
    assert_eq!(world.number("SELECT min(n)::bigint FROM p").await, 44 * 4);
}

/// A role with the rights of a runner and those named on the table `t`.
async fn as_role(world: &World, role: &str, rights: &str) -> sexton::testing::Occurrence {
    let sql =
        format!("CREATE ROLE {role} LOGIN; GRANT sexton_runner TO {role}; GRANT {rights} ON t TO {role};");
    world.0.execute(&sql).await;
    let mut config = world.0.config.clone();
    config.user(role);
    sexton::testing::Occurrence::of("j", config).registry(sexton::Registry::with_builtins())
}

#[tokio::test]
async fn a_role_that_sees_or_may_too_little_is_refused_and_one_that_may_just_enough_is_not() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, at timestamptz); INSERT INTO t VALUES (1, '2020-01-01'), (2, now());";
    let params = json!({"table": "t", "by": "at", "retention": "1 day", "max_fraction": 1});
    for (role, sql, rights, says) in [
        ("purge_reader", "", "SELECT", "no DELETE right"),
        ("purge_blind", "", "DELETE", "no SELECT right"),
        ("purge_hidden", "ALTER TABLE t ENABLE ROW LEVEL SECURITY", "SELECT, DELETE", "row-level security"),
        ("purge_enough", "", "SELECT, DELETE", ""),
    ] {
        let world = World::new(&format!("{table} {sql}")).await;
        world.job(params.clone()).await;
        world.0.verb("run_now", "j").await;
        let ran = as_role(&world, role, rights).await.run().await.unwrap();
        let error = ran.error.clone().unwrap_or_default();
        assert!(error.contains(says), "{role}: {error}");
        let expected = if says.is_empty() { ("succeeded", 1) } else { ("refused", 0) };
        assert_eq!((ran.state.as_str(), ran.rows), expected, "{role}: {error}");
    }
}

#[tokio::test]
async fn a_batch_that_takes_too_long_is_taken_back_and_halved() {
    // Each row takes at least 20 ms, so a batch of all 60 takes longer than a batch may.
    let world = World::new(
        "CREATE TABLE t (at timestamptz); INSERT INTO t SELECT '2020-01-01' FROM generate_series(1, 60);
         CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.02); RETURN OLD; END';
         CREATE TRIGGER slow BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION slow(); CREATE INDEX ON t (at);",
    )
    .await;
    for pacing in ["full", "gentle"] {
        let params = json!({"table": "t", "by": "at", "retention": "1 day", "max_fraction": 1, "batch": 40,
                            "walk": "index", "pacing": pacing, "limit_rows": 30});
        world.job(params).await;
        let ran = world.succeed().await;
        assert_eq!(ran.rows, 30);
        assert!(detail(&ran, "/batch_rows/max").as_i64() < Some(30), "{pacing}: {:?}", ran.report);
    }
    assert_eq!(world.number("SELECT count(*) FROM t").await, 0);
}

#[tokio::test]
async fn uuids_of_other_versions_are_refused_where_seen_and_kept_where_not() {
    let v4 = "'00000000-0000-4000-8000-000000000000'";
    let world = World::new(&format!(
        "CREATE TABLE t (id uuid PRIMARY KEY); INSERT INTO t SELECT
           ('01' || lpad(to_hex(i), 10, '0') || '70008000000000000000')::uuid FROM generate_series(1, 1200) i;
         INSERT INTO t VALUES ({v4})"
    ))
    .await;
    world.job(json!({"table": "t", "by": "id", "retention": "1 day", "max_fraction": 1})).await;
    let ran = world.succeed().await;
    assert_eq!((ran.rows, world.number("SELECT count(*) FROM t").await), (1200, 1));
    assert!(detail(&ran, "/walk_why").as_str().is_some_and(|why| why.contains("t_pkey")), "{:?}", ran.report);
    let refusal = world.refused().await;
    assert!(refusal.contains("is of version 4; only version 7 tells an age"), "{refusal}");
}

#[tokio::test]
async fn integers_need_their_unit_and_the_right_one() {
    let world = World::new(
        "CREATE TABLE t (at bigint); INSERT INTO t SELECT extract(epoch FROM now()) - 1800 - i * 3600 FROM generate_series(0, 99) i",
    )
    .await;
    let mut params = json!({"table": "t", "by": "at", "retention": "60 hours"});
    world.job(params.clone()).await;
    assert!(world.refused().await.contains("no unit is given"));
    params["unit"] = json!("milliseconds");
    world.job(params.clone()).await;
    assert!(world.refused().await.contains("look like seconds"));
    params["unit"] = json!("seconds");
    world.unarmed_job(params.clone(), json!({})).await;
    let ran = world.succeed().await;
    let oldest: String = world.0.get("SELECT to_char(to_timestamp(min(at)) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM t", &[]).await;
    assert_eq!(
        (detail(&ran, "/eligible").as_i64(), detail(&ran, "/oldest").as_str()),
        (Some(40), Some(oldest.as_str()))
    );
    world.0.verb("arm", "j").await;
    assert_eq!(world.succeed().await.rows, 40);
}

#[tokio::test]
async fn what_expires_goes_at_its_own_time_and_grace_comes_on_top() {
    let world = World::new(
        "CREATE TABLE t (until timestamptz); INSERT INTO t VALUES (NULL), ('infinity'),
           (now() - interval '1 minute'), (now() - interval '3 hours'), (now() + interval '1 minute')",
    )
    .await;
    world.job(json!({"table": "t", "expires": "until", "grace": "2 hours"})).await;
    let ran = world.succeed().await;
    assert_eq!((ran.rows, detail(&ran, "/grace")), (1, &json!("2 hours")));
    world.job(json!({"table": "t", "expires": "until"})).await;
    assert_eq!(world.succeed().await.rows, 1);
    assert_eq!(world.number("SELECT count(*) FROM t").await, 3);
}

#[tokio::test]
async fn the_newest_of_each_key_stay_exactly_and_a_large_table_needs_an_index_for_that() {
    let world = World::new(
        "CREATE TABLE t (u int, at timestamptz, state text);
         INSERT INTO t SELECT i % 100, timestamptz '2020-01-01' + (i / 1000) * interval '1 hour',
                              CASE WHEN i < 29000 THEN 'done' ELSE 'open' END FROM generate_series(0, 29999) i;
         ANALYZE t;",
    )
    .await;
    let mut params = json!({"table": "t", "by": "at", "retention": "1 day", "max_fraction": 1, "pacing": "full",
                            "keep_last": {"rows": 3, "per": ["u"]}});
    world.job(params.clone()).await;
    let refusal = world.refused().await;
    assert!(refusal.contains("CREATE INDEX CONCURRENTLY ON public.t (u)"), "{refusal}");
    world.0.execute("CREATE INDEX ON t (u, at)").await;
    params["where"] = "state = 'done'".into();
    world.job(params.clone()).await;
    assert_eq!(world.succeed().await.rows, 28_700);
    let kept =
        "SELECT count(*) FROM (SELECT u FROM t WHERE state = 'done' GROUP BY u HAVING count(*) = 3) AS kept";
    assert_eq!(world.number(kept).await, 100, "of ten equal ages each, three");
    params["keep_last"] = json!(null);
    params["keep_min"] = json!(1200);
    world.job(params).await;
    world.succeed().await;
    assert_eq!(
        world.number("SELECT count(*) FROM t").await,
        1300,
        "those of the same age as the 1,200th stay"
    );
}

#[tokio::test]
async fn retentions_of_rows_and_tenants_are_judged_and_have_a_floor() {
    let world = World::new(
        "CREATE TABLE tenants (id text PRIMARY KEY, keep interval);
         INSERT INTO tenants VALUES ('a', '2 days'), ('b', '1 minute'), ('c', NULL);
         CREATE TABLE t (at timestamptz, tenant text, n int); CREATE INDEX ON t (at);
         INSERT INTO t SELECT now() - i * interval '30 minutes', chr(97 + i % 4), i FROM generate_series(1, 400) i;",
    )
    .await;
    let base = json!({"table": "t", "by": "at", "max_fraction": 1});
    let with = |name: &str, value: serde_json::Value| {
        let mut params = base.clone();
        params[name] = value;
        params
    };
    for (params, says) in [
        (with("retention_column", json!("n")), "is of type int4, not interval"),
        (with("retention_query", json!({"query": "SELECT id FROM tenants", "key": "tenant"})), "two columns"),
        (
            with("retention_query", json!({"query": "SELECT 1, keep FROM tenants", "key": "tenant"})),
            "params.retention_query",
        ),
        (
            with("retention_query", json!({"query": "SELECT id, keep FROM tenants", "key": "owner"})),
            "has no column owner",
        ),
        (
            with("retention_query", json!({"query": "SELECT 1, interval '1 day') x, (SELECT 2", "key": "n"})),
            "params.retention_query",
        ),
    ] {
        world.job(params).await;
        let refusal = world.refused().await;
        assert!(refusal.contains(says), "{refusal}");
    }
    let query = json!({"query": "SELECT id, keep FROM tenants", "key": "tenant"});
    world.unarmed_job(with("retention_query", query.clone()), json!({})).await;
    let due = world
        .number("SELECT count(*) FROM t WHERE (tenant = 'a' AND n >= 96) OR (tenant = 'b' AND n > 2)")
        .await;
    let ran = world.succeed().await;
    assert_eq!((detail(&ran, "/eligible").as_i64(), detail(&ran, "/kept").as_i64()), (Some(due), Some(0)));
    world.0.verb("arm", "j").await;
    assert_eq!(world.succeed().await.rows, due, "b's rows stay for the floor of an hour");
    assert_eq!(world.number("SELECT min(n)::bigint FROM t WHERE tenant = 'b'").await, 1);
}

#[tokio::test]
async fn rows_that_others_refer_to_fail_the_run_or_are_left_and_counted() {
    let world = World::new(
        "CREATE TABLE t (a int, b int, at timestamptz, PRIMARY KEY (a, b)); CREATE INDEX ON t (at);
         INSERT INTO t SELECT i, -i, '2020-01-01' FROM generate_series(1, 100) i;
         CREATE TABLE c (\"of B\" int, \"of A\" int, FOREIGN KEY (\"of A\", \"of B\") REFERENCES t (a, b));
         CREATE INDEX ON c (\"of A\", \"of B\"); INSERT INTO c VALUES (-3, 3), (-3, 3), (-77, 77), (NULL, 5);
         CREATE TABLE d (a int, b int, FOREIGN KEY (a, b) REFERENCES t ON DELETE CASCADE); CREATE INDEX ON d (a, b);
         INSERT INTO d VALUES (8, -8);",
    )
    .await;
    let mut params = json!({"table": "t", "by": "at", "retention": "1 day", "max_fraction": 1});
    world.job(params.clone()).await;
    let ran = world.run().await;
    assert_eq!((ran.state.as_str(), ran.rows), ("failed", 0));
    world.0.execute("SELECT sexton.cancel('j')").await;
    params["on_referenced"] = "skip".into();
    for walk in ["heap", "index"] {
        params["walk"] = walk.into();
        world.unarmed_job(params.clone(), json!({})).await;
        let left = world.number("SELECT count(*) FROM t").await;
        assert_eq!(detail(&world.succeed().await, "/eligible").as_i64(), Some(left - 2));
        world.0.verb("arm", "j").await;
        let ran = world.succeed().await;
        assert_eq!(
            (ran.rows, detail(&ran, "/skipped_referenced"), detail(&ran, "/rows_left")),
            (left - 2, &json!(2), &json!(2))
        );
    }
    assert_eq!(world.number("SELECT sum(a)::bigint FROM t").await, 80);
    assert_eq!(world.number("SELECT count(*) FROM d").await, 0);
}

#[tokio::test]
async fn outside_of_its_window_it_stops_and_comes_back_when_that_opens() {
    let world = World::new(&format!("{EVENTS} CREATE INDEX ON events (at)")).await;
    world
        .job(json!({"table": "events", "by": "at", "retention": "20 days", "window": "22:00-05:00 Europe/Paris"}))
        .await;
    let run = |now: &str| world.occurrence().now(now.parse().unwrap()).run();
    let ran = run("2040-07-01T12:00:00Z").await.unwrap();
    assert_eq!((ran.state.as_str(), ran.rows), ("succeeded", 0), "{:?}", ran.error);
    assert_eq!(detail(&ran, "/stopped"), "window_closed");
    let next = "SELECT (due_at = '2040-07-01T20:00:00Z' AND origin = 'resume')::int::bigint FROM sexton.job WHERE name = 'j'";
    assert_eq!(world.number(next).await, 1, "it comes back as the window opens");
    world
        .job(json!({"table": "events", "by": "at", "retention": "20 days", "window": "22:00-05:00", "max_fraction": 1}))
        .await;
    let ran = run("2040-07-01T23:00:00Z").await.unwrap();
    assert_eq!((detail(&ran, "/stopped"), ran.rows), (&json!("drained"), 900), "{:?}", ran.error);
}

#[tokio::test]
async fn a_rate_is_kept_over_the_run() {
    let world = World::new(&format!("{EVENTS} CREATE INDEX ON events (at)")).await;
    world
        .job(
            json!({"table": "events", "by": "at", "retention": "20 days", "pacing": {"rows_per_second": 250},
                    "max_fraction": 1}),
        )
        .await;
    let ran = world.succeed().await;
    // Two batches of a second's worth, at the least.
    let rested = detail(&ran, "/resting_ms").as_u64().unwrap() + detail(&ran, "/busy_ms").as_u64().unwrap();
    assert!(rested as i64 >= ran.rows * 1000 / 250 - 5, "{} rows in {rested} ms", ran.rows);
}

#[tokio::test]
async fn columns_that_are_named_like_references_and_are_none_are_pointed_out() {
    let world = World::new(
        "CREATE TABLE users (id bigint PRIMARY KEY, at timestamptz); INSERT INTO users VALUES (1, now());
         CREATE TABLE sessions (user_id bigint); CREATE TABLE notes (user_id text, id bigint);
         CREATE TABLE posts (user_id bigint REFERENCES users ON DELETE CASCADE); CREATE INDEX ON posts (user_id);",
    )
    .await;
    world.unarmed_job(json!({"table": "users", "by": "at", "retention": "1 day"}), json!({})).await;
    let ran = world.succeed().await;
    let warnings = detail(&ran, "/warnings").to_string();
    assert!(
        warnings.contains("user_id of public.sessions is named as if it referred to public.users"),
        "{warnings}"
    );
    assert!(!warnings.contains("notes") && !warnings.contains("of public.posts is named"), "{warnings}");
}
