//! Purges with several workers: exact whatever happens, within their budgets together, and told part by part.
//!
//! Random tables, with workers among all else, are in `purge_oracle`. What is easy to get wrong: a table that fits into
//! a few blocks is not cut into parts, so these rows are wide, or many.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    purge_support::{World, detail},
    support::{Db, Process},
};

/// Rows of a quarter of a kilobyte or so, of which those below a number are old; in the order of their age or not.
fn table(rows: u32, old: u32, place: &str) -> String {
    format!(
        "CREATE TABLE public.events (id bigint NOT NULL, at timestamptz NOT NULL, wide text NOT NULL DEFAULT repeat('x', 200));
         INSERT INTO public.events (id, at)
           SELECT n, CASE WHEN n <= {old} THEN now() - interval '60 days' - n * interval '1 minute' ELSE now() END
             FROM generate_series(1, {rows}) n ORDER BY {place};
         CREATE INDEX ON public.events (at);
         ANALYZE public.events;"
    )
}

fn params(walk: &str, workers: u16) -> Value {
    json!({"table": "public.events", "by": "at", "retention": "30 days", "walk": walk, "pacing": "full",
           "workers": workers, "max_fraction": 1})
}

const LEFT: &str = "SELECT count(*) FROM public.events";
const OLD_LEFT: &str = "SELECT count(*) FROM public.events WHERE at < now() - interval '30 days'";

#[tokio::test]
async fn workers_delete_exactly_what_one_would_and_say_so_part_by_part() {
    for (walk, place, workers) in
        [("heap", "md5(n::text)", 2), ("heap", "n", 4), ("index", "n", 2), ("index", "md5(n::text)", 4)]
    {
        let world = World::new(&table(6000, 4000, place)).await;
        world.job(params(walk, workers)).await;
        let ran = world.succeed().await;
        assert_eq!((world.number(OLD_LEFT).await, world.number(LEFT).await), (0, 2000), "{walk}");
        assert_eq!(
            (ran.rows, detail(&ran, "/deleted"), detail(&ran, "/stopped")),
            (4000, &json!(4000), &json!("drained"))
        );
        assert_eq!((detail(&ran, "/walk"), detail(&ran, "/workers")), (&json!(walk), &json!(workers)));
        let parts = detail(&ran, "/parts").as_array().unwrap();
        assert!(parts.len() > usize::from(workers), "{walk}: {} parts", parts.len());
        let sum = |name: &str| parts.iter().map(|part| part[name].as_u64().unwrap()).sum::<u64>();
        assert_eq!((sum("deleted"), json!(sum("batches"))), (4000, detail(&ran, "/batches").clone()));
        // Its parts are the run's, besides its own with the cursor that was stored first.
        let stored = world.number("SELECT count(*) FROM sexton.run_part WHERE part > 0").await;
        assert_eq!(stored, i64::try_from(parts.len()).unwrap());
        assert_eq!(ran.batches, 1 + i64::try_from(sum("batches")).unwrap());
        assert_eq!(world.run().await.rows, 0, "the next run finds nothing");
    }
}

#[tokio::test]
async fn several_sessions_really_work() {
    let world = World::new(&table(6000, 4000, "md5(n::text)")).await;
    world
        .0
        .execute(
            "CREATE TABLE public.workers (pid int);
             CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               INSERT INTO public.workers VALUES (pg_backend_pid());
               PERFORM public.pass(CASE WHEN (SELECT count(DISTINCT pid) FROM public.workers) < 3 THEN 'gate' END);
               RETURN NULL; END $$;
             CREATE TRIGGER note BEFORE DELETE ON public.events FOR EACH STATEMENT EXECUTE FUNCTION public.note();",
        )
        .await;
    world.job(params("heap", 3)).await;
    let at_gate =
        "SELECT count(*) = 3 FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'
                     AND query LIKE 'DELETE FROM%' AND pid <> pg_backend_pid()";
    let (ran, ()) = tokio::join!(world.succeed(), async {
        world.0.until("three sessions delete at once", at_gate, &[]).await;
        world.0.open_gate("gate").await;
    });
    assert_eq!(ran.rows, 4000);
    assert_eq!(world.number("SELECT count(DISTINCT pid) FROM public.workers").await, 3);
}

#[tokio::test]
async fn the_budget_of_rows_holds_for_all_together_to_the_very_row() {
    for (walk, limit) in [("heap", 1), ("heap", 2503), ("index", 999), ("index", 3999)] {
        let world = World::new(&table(6000, 4000, "md5(n::text)")).await;
        let mut params = params(walk, 4);
        params["limit_rows"] = limit.into();
        world.job(params).await;
        let ran = world.succeed().await;
        assert_eq!((ran.rows, detail(&ran, "/stopped")), (limit, &json!("limit_rows")), "{walk}");
        assert_eq!(world.number(OLD_LEFT).await, 4000 - limit);
        // The budget counts what an attempt that was lost had deleted.
        let lost = world.occurrence().kill_after_batches(3).run().await.unwrap();
        let ended = if lost.state == "running" { world.run().await } else { lost };
        assert_eq!(ended.state, "succeeded");
        let deleted = world.number("SELECT sum(rows_done)::bigint FROM sexton.run WHERE occurrence = (SELECT max(occurrence) FROM sexton.run)").await;
        assert_eq!(deleted, limit.min(4000 - limit), "{walk}");
    }
}

#[tokio::test]
async fn what_ends_one_part_for_good_ends_all() {
    let world = World::new(&table(6000, 4000, "md5(n::text)")).await;
    for (name, value, stopped) in [("time_limit", "1s", "time_limit"), ("yield_for", "1s", "back_pressure")] {
        let mut params = params("heap", 2);
        params[name] = value.into();
        // Each batch takes a while, or is waited for.
        match name {
            "time_limit" => params["where"] = "wide <> (SELECT '' FROM pg_catalog.pg_sleep(0.2))".into(),
            _ => params["yield_when"] = "true".into(),
        }
        world.job(params).await;
        let ran = world.succeed().await;
        assert_eq!(detail(&ran, "/stopped"), &json!(stopped));
        let parts = detail(&ran, "/parts").as_array().unwrap();
        assert!(parts.iter().any(|part| part["stopped"] == json!(stopped)), "{parts:?}");
        let left = "SELECT count(*) FROM sexton.run_part WHERE part > 0 AND run_id = (SELECT id FROM sexton.run ORDER BY version DESC LIMIT 1)";
        let left = world.number(left).await;
        assert!(
            i64::try_from(parts.len()).unwrap() < left,
            "parts that nobody had begun were left: {parts:?}"
        );
    }
}

#[tokio::test]
async fn where_there_is_nothing_to_share_one_session_works_and_the_report_says_why() {
    let world = World::new(&table(60, 40, "n")).await;
    for (walk, why) in [("heap", "the table is small"), ("index", "few rows are eligible, or all of one age")]
    {
        world.0.execute("UPDATE public.events SET at = at - interval '60 days' WHERE id % 3 = 0").await;
        world.job(params(walk, 4)).await;
        let ran = world.succeed().await;
        assert_eq!((detail(&ran, "/workers"), detail(&ran, "/workers_why")), (&json!(1), &json!(why)));
        assert_eq!(world.number(OLD_LEFT).await, 0);
    }
    let world = World::new(
        "CREATE TABLE public.events (id bigint, at timestamptz NOT NULL) PARTITION BY RANGE (at);
         CREATE TABLE public.all_of_them PARTITION OF public.events DEFAULT;
         INSERT INTO public.events SELECT n, now() - interval '90 days' FROM generate_series(1, 1000) n;
         CREATE INDEX ON public.events (at);",
    )
    .await;
    world.job(params("index", 2)).await;
    let ran = world.succeed().await;
    assert_eq!((ran.rows, detail(&ran, "/workers_why")), (1000, &json!("the table is partitioned")));
}

#[tokio::test]
async fn rows_that_the_application_has_locked_are_visited_again_and_counted_by_all() {
    let world = World::new(&table(6000, 4000, "md5(n::text)")).await;
    let mut application = world.0.session().await;
    let transaction = application.transaction().await.unwrap();
    transaction
        .execute("SELECT FROM public.events WHERE id IN (5, 1700, 3999) FOR UPDATE", &[])
        .await
        .unwrap();
    world.job(params("heap", 2)).await;
    let ran = world.succeed().await;
    assert_eq!((ran.rows, detail(&ran, "/skipped_locked")), (3997, &json!(3)));
    transaction.commit().await.unwrap();
    assert_eq!(world.run().await.rows, 3);
}

const HELD_AFTER: i64 = 1000;

/// A table whose DELETEs wait at a gate once so many rows are gone, and which writes down each row that goes.
async fn application() -> Db {
    let db = Db::new().await;
    db.execute(&table(5000, 4000, "md5(n::text)")).await;
    db.execute(&format!(
        "CREATE TABLE public.deleted (id bigint);
         CREATE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF (SELECT count(*) FROM public.deleted) >= {HELD_AFTER} THEN PERFORM public.pass('gate'); END IF;
           RETURN NULL; END $$;
         CREATE TRIGGER hold BEFORE DELETE ON public.events FOR EACH STATEMENT EXECUTE FUNCTION public.hold();
         CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           INSERT INTO public.deleted VALUES (OLD.id); RETURN NULL; END $$;
         CREATE TRIGGER note AFTER DELETE ON public.events FOR EACH ROW EXECUTE FUNCTION public.note();"
    ))
    .await;
    let mut params = params("heap", 3);
    params["batch"] = 50.into();
    db.insert("purge", "purge", "manual", params).await;
    db.verb("arm", "purge").await;
    db
}

const AT_GATE: &str =
    "SELECT count(*) = 3 FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'
    AND query LIKE 'DELETE FROM%' AND pid <> pg_backend_pid()";

/// Two replicas, of which the first is the holder: its three workers are each in a batch that is held.
async fn held(db: &Db) -> (Process, Process) {
    let holder = Process::start(db, "holder");
    db.until_job("purge", "planned").await;
    db.verb("run_now", "purge").await;
    let held = format!("SELECT (SELECT count(*) FROM public.deleted) >= {HELD_AFTER} AND ({AT_GATE})");
    db.until("all workers are held", &held, &[]).await;
    (holder, Process::start(db, "other"))
}

async fn assert_exact(db: &Db) {
    let left = "SELECT count(*) = 1000 AND bool_and(id > 4000) FROM public.events";
    assert!(db.get::<bool>(left, &[]).await, "what was not due is there");
    let deleted = "SELECT count(*) = 4000 AND count(DISTINCT id) = 4000 FROM public.deleted";
    assert!(db.get::<bool>(deleted, &[]).await, "each once");
    let recorded = "SELECT sum(rows_done)::bigint FROM sexton.run WHERE mode = 'real'";
    assert_eq!(db.get::<i64>(recorded, &[]).await, 4000, "recorded progress is the effect");
}

#[tokio::test]
async fn after_sigkill_of_the_holder_another_goes_on_with_all_parts() {
    let db = application().await;
    let (mut holder, other) = held(&db).await;
    holder.signal(Signal::SIGKILL);
    holder.ended().await;
    db.until_outcomes("purge", "lost running").await;
    assert_eq!(db.job::<String>("purge", "holder").await, "other");
    let inherited =
        "SELECT count(*) > 3 FROM sexton.run_part p JOIN sexton.job j USING (run_id) WHERE p.part > 0";
    assert!(db.get::<bool>(inherited, &[]).await);
    db.open_gate("gate").await;
    db.until_outcomes("purge", "lost succeeded").await;
    assert_exact(&db).await;
    drop(other);
}

#[tokio::test]
async fn a_frozen_holder_with_workers_that_wakes_up_after_the_takeover_deletes_nothing() {
    let db = application().await;
    let (zombie, _other) = held(&db).await;
    zombie.signal(Signal::SIGSTOP);
    // Its own session first: as long as its workers are there, nobody takes over.
    db.execute("SELECT pg_terminate_backend(holder_pid) FROM sexton.job").await;
    let orphan = "SELECT EXISTS (SELECT FROM sexton.orphan)";
    db.until("it is an orphan", orphan, &[]).await;
    let tried = "SELECT sexton.why('purge') LIKE '%worked for the same run%'";
    assert!(db.get::<bool>(tried, &[]).await);
    assert_eq!(db.outcomes("purge").await, "running");
    db.execute("SELECT pg_terminate_backend(unnest(sexton.worker_backends(worker_lock_id))) FROM sexton.job")
        .await;
    db.until_outcomes("purge", "lost running").await;
    db.open_gate("gate").await;
    db.until_outcomes("purge", "lost succeeded").await;
    assert_exact(&db).await;
    zombie.signal(Signal::SIGCONT);
    zombie.until_logged("run.lost").await;
    assert_exact(&db).await;
    assert_eq!(db.outcomes("purge").await, "lost succeeded");
}

#[tokio::test]
async fn an_edit_of_workers_in_mid_run_begins_anew_with_as_many_and_loses_nothing() {
    let db = application().await;
    let (_holder, _other) = held(&db).await;
    db.execute("UPDATE sexton.job SET params = params || '{\"workers\": 2}'").await;
    db.verb("arm", "purge").await;
    db.open_gate("gate").await;
    db.until_outcomes("purge", "superseded succeeded").await;
    assert_exact(&db).await;
    assert_eq!(db.last_run::<i32>("purge", "(report ->> 'workers')::int").await, 2);
}
