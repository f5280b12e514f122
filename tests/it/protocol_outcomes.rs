//! How runs end, and what follows from each end.

use serde_json::json;

use crate::support::{Db, Replica};

#[tokio::test]
async fn a_failed_run_is_tried_again_after_a_doubling_backoff_until_attempts_are_used_up() {
    let db = Db::new().await;
    db.due_job("job", "steps", json!({"fail_at": 2})).await;
    db.execute("UPDATE sexton.job SET backoff = '10 minutes', backoff_max = '15 minutes', max_attempts = 3")
        .await;
    let replica = Replica::start(&db);
    // Doubled, bounded, and up to a quarter more as jitter.
    for (outcomes, least, most) in [("failed", 600, 750), ("failed failed", 900, 1125)] {
        db.until_outcomes("job", outcomes).await;
        db.until_job("job", "state = 'idle'").await;
        let finished = "(SELECT max(finished_at) FROM sexton.run)";
        let wait: f64 = db.job("job", &format!("extract(epoch FROM due_at - {finished})::float8")).await;
        assert!((f64::from(least)..f64::from(most) + 1.0).contains(&wait), "{outcomes}: {wait}");
        assert_eq!(db.notices("job").await, "", "people hear of it when the attempts are used up");
        db.verb("run_now", "job").await;
    }
    db.until_outcomes("job", "failed failed failed").await;
    db.until_job("job", "state = 'idle' AND attempt = 0 AND failure_count = 1 AND due_at IS NULL").await;
    assert_eq!(db.notices("job").await, "failed");
    let error: String = db.last_run("job", "error").await;
    assert_eq!(error, "told to fail");
    assert_eq!(db.steps("job").await, "1", "each attempt went on at the cursor");
    replica.drain().await;
}

#[tokio::test]
async fn a_success_after_failures_is_noticed_as_recovered() {
    let db = Db::new().await;
    db.due_job("job", "steps", json!({"fail_at": 1})).await;
    db.execute("UPDATE sexton.job SET max_attempts = 1").await;
    let replica = Replica::start(&db);
    db.until_outcomes("job", "failed").await;
    db.execute("UPDATE sexton.job SET params = '{}'").await;
    db.until_job("job", "validated_revision = revision").await;
    db.verb("run_now", "job").await;
    db.until_outcomes("job", "failed succeeded").await;
    assert_eq!(db.notices("job").await, "failed recovered");
    replica.drain().await;
}

#[tokio::test]
async fn a_run_that_takes_too_long_times_out_and_its_statement_is_cancelled() {
    let db = Db::new().await;
    db.due_job("job", "steps", json!({"hold_within": 2})).await;
    db.execute("UPDATE sexton.job SET timeout = '1 second', max_attempts = 1").await;
    let replica = Replica::start(&db);
    db.until_outcomes("job", "timed_out").await;
    let at_work = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%public.pass%' AND state = 'active' AND pid <> pg_backend_pid())";
    db.until("its statement ends", at_work, &[]).await;
    db.open_gate("gate").await;
    assert_eq!(db.steps("job").await, "1");
    assert_eq!(db.last_run::<i64>("job", "batches").await, 1);
    assert_eq!(db.notices("job").await, "failed");
    replica.drain().await;
}

#[tokio::test]
async fn a_refusal_is_noticed_not_retried_and_no_failure() {
    let db = Db::new().await;
    db.due_job("job", "steps", json!({"refuse_at": 2})).await;
    let replica = Replica::start(&db);
    db.until_outcomes("job", "refused").await;
    db.until_job("job", "state = 'idle' AND due_at IS NULL AND failure_count = 0 AND attempt = 0").await;
    assert_eq!(db.notices("job").await, "refused");
    let error: String = db.last_run("job", "error").await;
    assert_eq!(error, "told to refuse. tell it otherwise");
    assert_eq!(db.last_run::<String>("job", "report ->> 'remedy'").await, "tell it otherwise");
    replica.drain().await;
}

#[tokio::test]
async fn a_panic_of_a_kind_is_its_runs_failure_and_the_replica_lives_on() {
    let db = Db::new().await;
    db.due_job("job", "steps", json!({"panic_at": 2})).await;
    let replica = Replica::with(&db, |builder| builder.slots(1));
    db.until_outcomes("job", "failed").await;
    let error: String = db.last_run("job", "error").await;
    assert_eq!(error, "the kind panicked: told to panic");
    db.due_job("other", "steps", json!({})).await;
    db.until_outcomes("other", "succeeded").await;
    replica.drain().await;
}

#[tokio::test]
async fn an_edit_in_mid_run_restarts_it_at_once_with_the_new_params() {
    let db = Db::new().await;
    db.due_job("job", "steps", json!({"steps": 3, "hold_before": 3, "label": "old"})).await;
    let replica = Replica::start(&db);
    db.until_steps("job", 2).await;
    db.execute(r#"UPDATE sexton.job SET params = '{"steps": 2, "label": "new"}'"#).await;
    db.open_gate("gate").await;
    db.until_outcomes("job", "superseded succeeded").await;
    let ledger = "SELECT string_agg(label || step, ' ' ORDER BY id) FROM public.ledger";
    assert_eq!(db.get::<String>(ledger, &[]).await, "old1 old2 new1 new2");
    let same =
        "SELECT count(DISTINCT occurrence) = 1 AND max(attempt) = 1 AND max(revision) = 2 FROM sexton.run";
    assert!(db.get::<bool>(same, &[]).await, "the same occurrence, and no attempt used up");
    replica.drain().await;
}

#[tokio::test]
async fn a_job_pauses_itself_after_so_many_failures_in_a_row() {
    let db = Db::new().await;
    db.due_job("job", "steps", json!({"fail_at": 1})).await;
    db.execute("UPDATE sexton.job SET max_attempts = 1, pause_after = 2").await;
    let replica = Replica::start(&db);
    db.until_outcomes("job", "failed").await;
    db.until_job("job", "state = 'idle'").await;
    assert!(db.job::<bool>("job", "paused_at IS NULL").await);
    db.verb("run_now", "job").await;
    db.until_job("job", "paused_at IS NOT NULL").await;
    let reason: String = db.job("job", "paused_by || ': ' || pause_reason").await;
    assert_eq!(reason, "sexton: 2 failures in a row");
    assert_eq!(db.notices("job").await, "failed failed paused_itself");
    db.verb("resume", "job").await;
    assert_eq!(db.job::<i32>("job", "failure_count").await, 0);
    replica.drain().await;
}

#[tokio::test]
async fn a_drained_run_is_released_and_another_replica_goes_on_at_its_cursor() {
    let db = Db::new().await;
    db.due_job("job", "steps", json!({"steps": 5, "hold_before": 3})).await;
    let first = Replica::with(&db, |builder| builder.name("first"));
    db.until_steps("job", 2).await;
    let second = Replica::with(&db, |builder| builder.name("second"));
    db.until("both are alive", "SELECT count(*) = 2 FROM sexton.replicas WHERE alive", &[]).await;
    first.drain().await;
    db.open_gate("gate").await;
    db.until_outcomes("job", "released succeeded").await;
    assert_eq!(db.steps("job").await, "1 2 3 4 5");
    let runs = "SELECT string_agg(holder || attempt || '/' || batches, ' ' ORDER BY version) FROM sexton.run";
    assert_eq!(db.get::<String>(runs, &[]).await, "first1/2 second1/3", "no attempt was used up");
    second.drain().await;
}

#[tokio::test]
async fn shutting_down_at_once_cancels_what_is_on_its_way() {
    let db = Db::new().await;
    db.due_job("job", "steps", json!({"steps": 3, "hold_within": 2})).await;
    let first = Replica::start(&db);
    db.until_steps("job", 1).await;
    let busy = "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE '%public.pass%' AND pid <> pg_backend_pid()";
    db.until("the second batch is on its way", busy, &[]).await;
    first.shutdown().drain();
    assert!(first.shutdown().is_asked());
    first.shutdown().at_once();
    first.ended().await.unwrap();
    assert_eq!(db.outcomes("job").await, "released");
    assert_eq!(db.steps("job").await, "1");
    db.open_gate("gate").await;
    let second = Replica::start(&db);
    db.until_outcomes("job", "released succeeded").await;
    assert_eq!(db.steps("job").await, "1 2 3");
    second.drain().await;
}

#[tokio::test]
async fn a_drain_that_takes_too_long_ends_all_the_same() {
    let db = Db::new().await;
    db.due_job("job", "steps", json!({"hold_within": 1})).await;
    let replica = Replica::with(&db, |builder| builder.drain_timeout(std::time::Duration::from_millis(1)));
    db.until_job("job", "state = 'running'").await;
    replica.drain().await;
    assert_eq!(db.outcomes("job").await, "released");
    assert_eq!(db.steps("job").await, "");
}

#[tokio::test]
async fn a_destructive_kind_runs_dry_until_it_is_armed() {
    let db = Db::new().await;
    db.due_job("job", "steps_destructive", json!({})).await;
    let replica = Replica::start(&db);
    db.until_outcomes("job", "succeeded").await;
    assert_eq!(db.last_run::<String>("job", "mode").await, "dry");
    assert_eq!(db.steps("job").await, "");
    db.verb("arm", "job").await;
    db.verb("run_now", "job").await;
    db.until_outcomes("job", "succeeded succeeded").await;
    assert_eq!(db.last_run::<String>("job", "mode").await, "real");
    assert_eq!(db.steps("job").await, "1 2 3");
    db.execute(r#"UPDATE sexton.job SET params = '{"steps": 1}'"#).await;
    db.until_job("job", "validated_revision = revision").await;
    db.verb("run_now", "job").await;
    db.until_outcomes("job", "succeeded succeeded succeeded").await;
    assert_eq!(db.last_run::<String>("job", "mode").await, "dry", "an edit disarms");
    replica.drain().await;
}

#[tokio::test]
async fn history_is_pruned_as_it_grows() {
    let db = Db::new().await;
    db.execute("UPDATE sexton.meta SET keep_runs = 3").await;
    db.due_job("job", "steps", json!({"steps": 1})).await;
    let replica = Replica::start(&db);
    for count in 1..=6_i64 {
        db.until_steps("job", count).await;
        db.until_job("job", "state = 'idle'").await;
        db.verb("run_now", "job").await;
    }
    db.until_steps("job", 7).await;
    let few = "SELECT count(*) <= 3 AND NOT EXISTS (SELECT FROM sexton.run WHERE state = 'running') FROM sexton.run";
    db.until("old runs are gone", few, &[]).await;
    assert_eq!(db.get::<i64>("SELECT count(*) FROM sexton.run_part", &[]).await, 3);
    replica.drain().await;
}

#[tokio::test]
async fn a_job_says_how_much_of_its_history_stays() {
    let db = Db::new().await;
    for name in ["few", "brief", "default", "busy"] {
        db.due(name).await;
    }
    // 300 finished runs each, one an hour, the youngest first; those of "busy" are all of its present occurrence.
    db.execute(
        "UPDATE sexton.meta SET keep_runs = 250, keep_runs_for = '11 days';
         UPDATE sexton.job SET keep_runs = 5 WHERE name IN ('few', 'busy');
         UPDATE sexton.job SET keep_runs_for = '26 hours 30 minutes' WHERE name = 'brief';
         INSERT INTO sexton.run (id, job_id, job_name, kind, occurrence, origin, attempt, epoch, version, revision, mode, destructive,
                params, options, inputs, replica_id, holder, backend_pid, program, state, started_at, finished_at, batches, rows_done)
         SELECT gen_random_uuid(), j.id, j.name, j.kind, CASE WHEN j.name = 'busy' THEN j.occurrence ELSE now() - n * interval '1 hour' END,
                'run_now', 1, 1, 1000 - n, 1, 'real', false, '{}', '{}', '{}', gen_random_uuid(), 'x', 1, 'x',
                CASE n WHEN 250 THEN 'running' ELSE 'failed' END, now() - n * interval '1 hour',
                CASE WHEN n <> 250 THEN now() END, CASE WHEN n <> 250 THEN 0 END, CASE WHEN n <> 250 THEN 0 END
           FROM sexton.job j, generate_series(1, 300) n",
    )
    .await;
    let prune = "SELECT sexton.prune(id) FROM sexton.job WHERE name = $1";
    // The one that runs stays, and at most the 200 oldest are looked at in one go.
    for (name, removed) in
        [("few", &[199, 95, 0][..]), ("brief", &[199, 74, 0]), ("default", &[50, 0]), ("busy", &[0])]
    {
        for expected in removed {
            assert_eq!(db.get::<i64>(prune, &[&name]).await, *expected, "{name}");
        }
    }
    let kept = "SELECT string_agg(job_name || ' ' || n, ', ' ORDER BY job_name) FROM
                  (SELECT job_name, count(*) AS n FROM sexton.run GROUP BY job_name) k";
    assert_eq!(db.get::<String>(kept, &[]).await, "brief 27, busy 300, default 250, few 6");
}
