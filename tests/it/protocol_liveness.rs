//! Whatever happens to a holder or to the server, the job goes on, and its effects are what its runs recorded.

use serde_json::json;
use sexton::{ErrorKind, kind::Nature, protocol::session::Lease, runner::Runner};
use std::time::Duration;

use crate::support::{Db, Hand, Proxy, Replica, Steps, own_server};

#[tokio::test]
async fn a_job_goes_on_at_its_cursor_after_its_run_session_was_terminated() {
    let db = Db::new().await;
    db.due_job("job", "steps", json!({"steps": 4, "hold_before": 3})).await;
    let replicas = [Replica::start(&db), Replica::start(&db)];
    db.until_steps("job", 2).await;
    db.execute("SELECT pg_terminate_backend(holder_pid) FROM sexton.job").await;
    db.until_outcomes("job", "lost running").await;
    db.open_gate("gate").await;
    db.until_outcomes("job", "lost succeeded").await;
    assert_eq!(db.steps("job").await, "1 2 3 4");
    assert_eq!(db.last_run::<i32>("job", "attempt").await, 2, "a crash uses up an attempt");
    db.assert_exact().await;
    for replica in replicas {
        replica.drain().await;
    }
}

#[tokio::test]
async fn one_replica_alone_takes_over_from_itself() {
    let db = Db::new().await;
    db.due_job("job", "steps", json!({"steps": 4, "hold_within": 3})).await;
    let replica = Replica::start(&db);
    db.until_steps("job", 2).await;
    db.execute("SELECT pg_terminate_backend(holder_pid) FROM sexton.job").await;
    db.until_outcomes("job", "lost running").await;
    db.open_gate("gate").await;
    db.until_outcomes("job", "lost succeeded").await;
    assert_eq!(db.steps("job").await, "1 2 3 4");
    replica.until_events(&["started job 1", "lost job", "recovered job 2", "finished job succeeded"]).await;
    replica.drain().await;
}

#[tokio::test]
async fn a_replica_that_vanishes_is_taken_over_from() {
    let db = Db::new().await;
    db.due_job("job", "steps", json!({"steps": 4, "hold_before": 3})).await;
    let first = Replica::start(&db);
    db.until_steps("job", 2).await;
    let second = Replica::start(&db);
    db.until("both are alive", "SELECT count(*) = 2 FROM sexton.replicas WHERE alive", &[]).await;
    first.crash().await;
    db.open_gate("gate").await;
    db.until_outcomes("job", "lost succeeded").await;
    assert_eq!(db.steps("job").await, "1 2 3 4");
    second.until_events(&["recovered job 2", "finished job succeeded"]).await;
    let alive = "SELECT count(*) = 1 FROM sexton.replicas WHERE alive";
    db.until("the view knows who is alive", alive, &[]).await;
    second.drain().await;
}

#[tokio::test]
async fn many_crashes_in_a_row_lose_and_repeat_nothing() {
    let db = Db::new().await;
    db.execute(
        "INSERT INTO sexton.job (name, kind, params, max_attempts) SELECT 'job-' || n, 'steps', '{\"steps\": 12}', 1000
           FROM generate_series(1, 4) n",
    )
    .await;
    let planner = Replica::with(&db, |builder| builder.slots(0));
    db.until("all are planned", "SELECT bool_and(planned) FROM sexton.job", &[]).await;
    db.execute("SELECT sexton.run_now(name) FROM sexton.job").await;
    let steady = Replica::start(&db);
    for round in 1..=8_i64 {
        let other = Replica::start(&db);
        let moved = "SELECT count(*) >= $1 OR NOT EXISTS (SELECT FROM sexton.job WHERE due_at IS NOT NULL) FROM public.ledger";
        db.until("the jobs move on", moved, &[&(round * 5)]).await;
        other.crash().await;
        db.execute("SELECT pg_terminate_backend(holder_pid) FROM sexton.job WHERE state = 'running' AND random() < 0.5").await;
    }
    let done = "SELECT count(*) = 4 FROM sexton.run WHERE state = 'succeeded'";
    db.until("all succeed", done, &[]).await;
    assert_eq!(db.get::<i64>("SELECT count(*) FROM public.ledger", &[]).await, 48);
    db.assert_exact().await;
    steady.drain().await;
    planner.drain().await;
}

#[tokio::test]
async fn an_immediate_restart_of_the_server_loses_and_repeats_nothing() {
    let mut server = own_server().await;
    let db = Db::on(&server).await;
    for name in ["a", "b", "c"] {
        db.due_job(name, "steps", json!({"steps": 4, "hold_before": 3})).await;
    }
    let replicas = [Replica::start(&db), Replica::start(&db)];
    for name in ["a", "b", "c"] {
        db.until_steps(name, 2).await;
    }
    server.cluster().restart_immediate().await.unwrap();
    let db = Db { client: db.session().await, ..db };
    db.open_gate("gate").await;
    for name in ["a", "b", "c"] {
        db.until_outcomes(name, "lost succeeded").await;
        assert_eq!(db.steps(name).await, "1 2 3 4");
    }
    db.assert_exact().await;
    for replica in replicas {
        replica.drain().await;
    }
}

#[tokio::test]
async fn an_orphan_of_a_paused_job_is_settled_and_goes_on_after_resume() {
    let db = Db::new().await;
    db.due("job").await;
    let hand = Hand::claim(&db, "job").await;
    hand.batch(0).await.unwrap();
    db.verb("pause", "job").await;
    hand.die(&db).await;
    let replica = Replica::start(&db);
    db.until_outcomes("job", "lost").await;
    assert!(db.job::<bool>("job", "state = 'idle' AND attempt = 1 AND due_at <= now()").await);
    db.verb("resume", "job").await;
    db.until_outcomes("job", "lost succeeded").await;
    assert_eq!(db.steps("job").await, "1 2 3");
    replica.drain().await;
}

#[tokio::test]
async fn a_pause_that_ends_by_itself_ends() {
    let db = Db::new().await;
    db.due("job").await;
    db.execute("SELECT sexton.pause('job', 'a moment', now() + interval '50 milliseconds')").await;
    let replica = Replica::start(&db);
    db.until_outcomes("job", "succeeded").await;
    replica.drain().await;
}

/// The server ends a session whose client is silent: here one that stopped answering, with its lease.
#[tokio::test]
async fn a_frozen_holder_loses_its_session_when_its_lease_is_over() {
    let db = Db::new().await;
    db.due("job").await;
    let frozen = Hand::claim(&db, "job").await;
    frozen.batch(0).await.unwrap();
    // What a run session is started with; a replica's own would ping.
    frozen.client.batch_execute("SET idle_session_timeout = '300ms'").await.unwrap();
    let replica = Replica::start(&db);
    db.until_outcomes("job", "lost succeeded").await;
    assert!(frozen.batch(1).await.is_err(), "its session is gone");
    let zombie = Hand { client: db.session().await, ..frozen };
    assert!(zombie.ping().await.is_some(), "a zombie that comes back on another session is told");
    assert_eq!(db.steps("job").await, "1 2 3");
    replica.drain().await;
}

#[tokio::test]
async fn a_run_that_rests_keeps_its_session_within_the_lease() {
    let db = Db::new().await;
    db.due_job("job", "steps", json!({"steps": 2, "hold_before": 2})).await;
    let lease = Lease { idle: Duration::from_secs(7) };
    let replica = Replica::with(&db, |builder| builder.lease(lease));
    db.until_steps("job", 1).await;
    let settings =
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = (SELECT holder_pid FROM sexton.job))";
    assert!(db.get::<bool>(settings, &[]).await);
    db.open_gate("gate").await;
    db.until_outcomes("job", "succeeded").await;
    replica.drain().await;
}

/// Of a database with another system identifier, as a restored dump has.
async fn restored() -> Db {
    let db = Db::new().await;
    db.execute("SELECT sexton.observe()").await;
    db.execute("UPDATE sexton.meta SET system_identifier = system_identifier + 1").await;
    db
}

#[tokio::test]
async fn in_a_restored_database_destructive_and_outside_kinds_wait_for_adopt() {
    let db = restored().await;
    for (name, kind) in [("deletes", "steps_destructive"), ("calls", "steps_outside"), ("harmless", "steps")]
    {
        db.due_job(name, kind, json!({})).await;
        db.verb("arm", name).await;
    }
    let before: i64 = db.get("SELECT epoch FROM sexton.meta", &[]).await;
    let replica = Replica::start(&db);
    db.until_outcomes("harmless", "succeeded").await;
    assert_eq!(db.get::<String>("SELECT event FROM sexton.notice", &[]).await, "adopt_needed");
    assert!(
        db.get::<i64>("SELECT epoch FROM sexton.meta", &[]).await > before + 1_000_000_000,
        "never used before"
    );
    for (name, nature) in [("deletes", Nature::Destructive), ("calls", Nature::Outside)] {
        assert_eq!(db.outcomes(name).await, "");
        let answer = Hand::try_claim(&db, name, nature).await;
        assert_eq!((answer.result.as_str(), answer.reason.as_str()), ("lost", "adopt_needed"));
    }
    let why = db.verb("why", "deletes").await;
    assert!(why.contains("sexton.adopt()"), "{why}");
    db.execute("SELECT sexton.adopt()").await;
    db.until_outcomes("deletes", "succeeded").await;
    db.until_outcomes("calls", "succeeded").await;
    replica.drain().await;
}

#[tokio::test]
async fn a_database_of_another_name_is_refused() {
    let db = Db::new().await;
    db.execute("UPDATE sexton.meta SET identity = 'staging'").await;
    let runner = |name: &str| Runner::builder(db.config.clone()).database_identity(name).build();
    let error = runner("production").run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("the name staging"), "{error}");
    let right = runner("staging");
    right.shutdown().drain();
    right.run().await.unwrap();
}

#[tokio::test]
async fn a_standby_is_refused_and_a_promoted_one_has_a_new_epoch() {
    let mut server = own_server().await;
    let db = Db::on(&server).await;
    db.due_job("job", "steps", json!({})).await;
    db.execute("SELECT sexton.observe()").await;
    let before: i64 = db.get("SELECT epoch FROM sexton.meta", &[]).await;
    server.cluster().stop().await;
    std::fs::write(server.cluster().data_dir().join("standby.signal"), "").unwrap();
    server.cluster().start_again().await.unwrap();
    let runner = || Runner::builder(db.config.clone()).registry(Steps::registry()).build();
    let error = runner().run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsuitable);
    assert!(error.to_string().contains("is a standby"), "{error}");
    assert!(error.remedy().unwrap().contains("primary"), "{error:?}");

    let db = Db { client: db.session().await, ..db };
    assert!(db.get::<bool>("SELECT pg_promote()", &[]).await);
    let replica = Replica::start(&db);
    db.until_outcomes("job", "succeeded").await;
    let after: i64 = db.get("SELECT epoch FROM sexton.meta", &[]).await;
    assert!(after > before, "a new timeline raises the epoch");
    assert_eq!(db.last_run::<i64>("job", "epoch").await, after);
    assert!(
        db.get::<bool>("SELECT adopt_needed_at IS NULL FROM sexton.meta", &[]).await,
        "and asks for no adopt"
    );
    replica.drain().await;
}

/// Something in between keeps the run's connection open, and passes nothing on: neither side is told of any end.
#[tokio::test]
async fn a_connection_that_says_nothing_any_more_holds_no_slot() {
    // The proxy stands before a socket.
    let server = own_server().await;
    let db = Db::on(&server).await;
    db.due_job("job", "steps", json!({"hold_before": 2})).await;
    let proxy = Proxy::silent_for(&db, "/job").await;
    let lease = Lease { idle: Duration::from_secs(1) };
    let cut_off = Replica::with(&db, |_| {
        Runner::builder(proxy.config(&db)).registry(Steps::registry()).lease(lease).slots(1)
    });
    db.until_steps("job", 1).await;
    proxy.fall_silent();
    let other = Replica::with(&db, |builder| builder.slots(1));
    db.until_outcomes("job", "lost running").await;
    // The other's one slot is taken; the first one's is free, long before the timeout of six hours.
    db.due_job("next", "steps", json!({})).await;
    db.until_outcomes("next", "succeeded").await;
    db.open_gate("gate").await;
    db.until_outcomes("job", "lost succeeded").await;
    assert_eq!(db.steps("job").await, "1 2 3");
    other.drain().await;
    cut_off.drain().await;
}

#[tokio::test]
async fn an_idle_replica_holds_one_session() {
    let db = Db::new().await;
    db.due_job("job", "steps", json!({})).await;
    let replica = Replica::start(&db);
    db.until_outcomes("job", "succeeded").await;
    let sessions = "SELECT string_agg(regexp_replace(application_name, '^sexton/[0-9a-f]{8}/', ''), ' ') = 'control'
                    FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'sexton/%'";
    db.until("one session is left", sessions, &[]).await;
    replica.drain().await;
    db.until("none is left", "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'sexton/%'", &[]).await;
}

#[tokio::test]
async fn without_the_schema_or_with_another_level_a_replica_says_what_to_do() {
    let db = Db::new().await;
    let start = async || Runner::builder(db.config.clone()).build().run().await.unwrap_err();
    db.execute("UPDATE sexton.meta SET min_level = 999").await;
    let error = start().await;
    assert_eq!((error.kind(), error.remedy()), (ErrorKind::Schema, Some("run a newer version of Sexton")));
    db.execute("DELETE FROM sexton.schema_history WHERE version > 1").await;
    let error = start().await;
    assert_eq!((error.kind(), error.remedy()), (ErrorKind::Schema, Some("run `sexton migrate`")));
    db.execute("DROP SCHEMA sexton CASCADE").await;
    let error = start().await;
    assert_eq!((error.kind(), error.remedy()), (ErrorKind::Schema, Some("run `sexton migrate`")));
}
