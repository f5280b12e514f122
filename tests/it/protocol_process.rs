//! Replicas as processes, with a purge of a real table: killed, frozen, drained.
//!
//! A trigger of the table keeps a DELETE on its way until a gate is open, so that a test decides during which batch its
//! fault strikes. Another writes down each row that was deleted: none twice, none too many.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{Db, Process};

const ROWS: i64 = 200;
const BATCH: i64 = 20;
const HELD_AFTER: i64 = 3 * BATCH;

/// A table of old rows and a job that purges it, whose fourth batch waits for the gate.
async fn application() -> Db {
    let db = Db::new().await;
    db.execute(&format!(
        "CREATE TABLE public.events (id bigint PRIMARY KEY, at timestamptz NOT NULL);
         CREATE TABLE public.deleted (id bigint);
         INSERT INTO public.events SELECT n, now() - interval '30 days' - n * interval '1 minute' FROM generate_series(1, {ROWS}) n;
         INSERT INTO public.events SELECT n + 1000, now() FROM generate_series(1, 50) n;
         CREATE INDEX ON public.events (at);
         ANALYZE public.events;
         CREATE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF (SELECT count(*) FROM public.deleted) = {HELD_AFTER} THEN PERFORM public.pass('gate'); END IF;
           RETURN NULL; END $$;
         CREATE TRIGGER hold BEFORE DELETE ON public.events FOR EACH STATEMENT EXECUTE FUNCTION public.hold();
         CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           INSERT INTO public.deleted VALUES (OLD.id); RETURN NULL; END $$;
         CREATE TRIGGER note AFTER DELETE ON public.events FOR EACH ROW EXECUTE FUNCTION public.note();"
    ))
    .await;
    let params = json!({"table": "public.events", "by": "at", "retention": "1 day", "batch": BATCH, "max_fraction": 1});
    db.insert("purge", "purge", "manual", params).await;
    db.verb("arm", "purge").await;
    db
}

/// Starts two replicas and the purge; returns when its holder is in the batch that is held: the holder, the other.
async fn two_replicas(db: &Db) -> (Process, Process) {
    let (one, two) = (Process::start(db, "one"), Process::start(db, "two"));
    db.until("both are alive", "SELECT count(*) = 2 FROM sexton.replicas WHERE alive", &[]).await;
    db.until_job("purge", "planned").await;
    db.verb("run_now", "purge").await;
    db.until_job("purge", "state = 'running'").await;
    let holder: String = db.job("purge", "holder").await;
    if holder == "one" { (one, two) } else { (two, one) }
}

async fn until_held(db: &Db) {
    let held = format!(
        "SELECT count(*) = {HELD_AFTER} AND (SELECT a.state = 'active' FROM pg_stat_activity a, sexton.job j WHERE a.pid = j.holder_pid)
         FROM public.deleted"
    );
    db.until("the batch is held", &held, &[]).await;
}

/// Each row that was due is deleted once, no other, and the runs say just that.
async fn assert_exact(db: &Db) {
    let left = "SELECT count(*) = 50 AND bool_and(id > 1000) FROM public.events";
    assert!(db.get::<bool>(left, &[]).await, "what was not due is there");
    let deleted = "SELECT count(*) FROM (SELECT DISTINCT id FROM public.deleted) d";
    assert_eq!(db.get::<i64>(deleted, &[]).await, ROWS);
    assert_eq!(db.get::<i64>("SELECT count(*) FROM public.deleted", &[]).await, ROWS, "none twice");
    let recorded = "SELECT sum(rows_done)::bigint FROM sexton.run WHERE mode = 'real'";
    assert_eq!(db.get::<i64>(recorded, &[]).await, ROWS, "recorded progress is the effect");
}

#[tokio::test]
async fn after_sigkill_of_the_holder_another_goes_on_at_its_cursor() {
    let db = application().await;
    let (mut holder, other) = two_replicas(&db).await;
    until_held(&db).await;
    holder.signal(Signal::SIGKILL);
    holder.ended().await;
    // The server notices that the client of a statement is gone within client_connection_check_interval, 2 s.
    db.until_outcomes("purge", "lost running").await;
    assert_eq!(db.last_run::<i32>("purge", "attempt").await, 2);
    db.open_gate("gate").await;
    db.until_outcomes("purge", "lost succeeded").await;
    assert_exact(&db).await;
    assert_eq!(db.get::<i64>("SELECT rows_done FROM sexton.run WHERE state = 'lost'", &[]).await, HELD_AFTER);
    drop(other);
}

#[tokio::test]
async fn a_frozen_holder_that_wakes_up_after_a_takeover_deletes_nothing() {
    let db = application().await;
    let (mut zombie, _other) = two_replicas(&db).await;
    until_held(&db).await;
    zombie.signal(Signal::SIGSTOP);
    // What the server does by itself when its timeouts are over.
    db.execute("SELECT pg_terminate_backend(holder_pid) FROM sexton.job").await;
    db.until_outcomes("purge", "lost running").await;
    db.open_gate("gate").await;
    db.until_outcomes("purge", "lost succeeded").await;
    assert_exact(&db).await;
    zombie.signal(Signal::SIGCONT);
    zombie.until_logged("run.lost").await;
    assert_exact(&db).await;
    assert_eq!(db.outcomes("purge").await, "lost succeeded");
    zombie.signal(Signal::SIGTERM);
    assert!(zombie.ended().await.success(), "it lives on, and ends well:\n{}", zombie.log());
}

#[tokio::test]
async fn sigterm_brings_the_run_to_a_batch_border_and_another_goes_on() {
    let db = application().await;
    let (mut holder, _other) = two_replicas(&db).await;
    until_held(&db).await;
    holder.signal(Signal::SIGTERM);
    holder.until_logged("replica.draining").await;
    db.open_gate("gate").await;
    assert!(holder.ended().await.success(), "{}", holder.log());
    db.until_outcomes("purge", "released succeeded").await;
    assert_exact(&db).await;
    let released = "SELECT rows_done FROM sexton.run WHERE state = 'released'";
    assert_eq!(db.get::<i64>(released, &[]).await, HELD_AFTER + BATCH, "the batch on its way was finished");
    assert_eq!(db.last_run::<i32>("purge", "attempt").await, 1);
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_the_batch() {
    let db = application().await;
    let (mut holder, _other) = two_replicas(&db).await;
    until_held(&db).await;
    holder.signal(Signal::SIGTERM);
    holder.until_logged("replica.draining").await;
    holder.signal(Signal::SIGINT);
    holder.ended().await;
    let released = "SELECT rows_done FROM sexton.run WHERE state = 'released'";
    assert_eq!(db.get::<i64>(released, &[]).await, HELD_AFTER, "its batch was cancelled");
    db.open_gate("gate").await;
    db.until_outcomes("purge", "released succeeded").await;
    assert_exact(&db).await;
}

/// At each point between two steps of the protocol: the process ends there, and another makes it good.
#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_process_that_ends_at_any_named_point_loses_and_repeats_nothing() {
    // Those of other databases: see `databases`.
    let points = sexton::failpoint::NAMES.iter().copied().filter(|name| !name.starts_with("elsewhere."));
    futures_util::future::join_all(points.map(ends_at)).await;
}

#[cfg(feature = "failpoints")]
async fn ends_at(point: &str) {
    let db = application().await;
    db.open_gate("gate").await;
    let nth = if matches!(point, "batch.before" | "batch.committed") { "@4" } else { "" };
    let fault = format!("{point}{nth}=exit");
    let mut doomed = Process::with(&db, "doomed", &[("SEXTON_FAILPOINTS", &fault)]);
    db.until_job("purge", "planned").await;
    db.verb("run_now", "purge").await;
    assert_eq!(doomed.ended().await.code(), Some(86), "{point}: {}", doomed.log());
    let _heir = Process::start(&db, "heir");
    let done = "SELECT bool_or(state = 'succeeded') FROM sexton.run";
    db.until(point, done, &[]).await;
    assert_exact(&db).await;
}

/// A holder that freezes between the decision to write and the write is the zombie of all stories.
#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_holder_that_freezes_before_a_batch_writes_nothing_when_it_wakes_up() {
    let db = application().await;
    db.open_gate("gate").await;
    let mut zombie = Process::with(&db, "zombie", &[("SEXTON_FAILPOINTS", "batch.before@4=stop")]);
    db.until_job("purge", "planned").await;
    db.verb("run_now", "purge").await;
    zombie.until_stopped().await;
    assert!(db.get::<bool>("SELECT count(*) BETWEEN 1 AND 199 FROM public.deleted", &[]).await, "half way");
    let _heir = Process::start(&db, "heir");
    db.execute("SELECT pg_terminate_backend(holder_pid) FROM sexton.job").await;
    db.until_outcomes("purge", "lost succeeded").await;
    zombie.signal(Signal::SIGCONT);
    zombie.until_logged("run.lost").await;
    assert_exact(&db).await;
    zombie.signal(Signal::SIGTERM);
    zombie.ended().await;
}
