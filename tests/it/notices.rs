//! Notices from the transaction that they are about to whoever sends them: none lost, none invented, one sender at a
//! time, and nobody flooded. How they look outside is `notices_sent`'s.

use serde_json::json;
use sexton::protocol::notice::{Channel, EVENTS};

use crate::{
    notices_support::{Recorder, deliveries, notify, pass_time, put, until_quiet},
    support::{Db, Hand, Replica, code},
};

const OPS: &str = "mail:ops@example.org";

#[tokio::test]
async fn each_channel_hears_of_the_events_and_jobs_that_it_subscribed_to() {
    let db = Db::new().await;
    for job in ["audit-logs", "audit_x", "sessions"] {
        db.due_job(job, "steps", json!({})).await;
    }
    notify(&db, "sessions", json!([{"on": ["started", "succeeded"], "to": "webhook:cdn"}])).await;
    db.execute("SELECT sexton.subscribe('mail:ops@example.org', '{succeeded}', 'audit-*')").await;
    db.execute("SELECT sexton.subscribe('mail:team@example.org', '{started}')").await;
    db.execute("SELECT sexton.unsubscribe('mail:team@example.org')").await;
    let recorder = Recorder::default();
    let replica = recorder.replica(&db);
    for job in ["audit-logs", "audit_x", "sessions"] {
        db.until_outcomes(job, "succeeded").await;
    }
    until_quiet(&db).await;
    replica.drain().await;
    assert_eq!(
        recorder.told(),
        [
            "started sessions webhook:cdn",
            "succeeded audit-logs mail:ops@example.org",
            "succeeded sessions webhook:cdn"
        ]
    );
    let message = recorder.messages().into_iter().find(|message| message.event == "succeeded").unwrap();
    assert_eq!((message.app.as_deref(), message.payload_version), (Some("default"), 1));
    assert_eq!((&message.payload["outcome"], &message.payload["rows"]), (&json!("succeeded"), &json!(3)));
    assert_eq!(message.payload["report"]["steps"], 3, "{}", message.payload);
    assert_eq!(
        db.notices("audit_x").await,
        "",
        "what happens with every run is written where somebody wants it"
    );
    assert_eq!(
        db.get::<String>("SELECT string_agg(DISTINCT state, ' ') FROM sexton.notices", &[]).await,
        "sent"
    );
}

#[tokio::test]
async fn a_transaction_that_is_rolled_back_leaves_no_notice() {
    let db = Db::new().await;
    db.due("job").await;
    notify(&db, "job", json!([{"on": ["succeeded"], "to": OPS}])).await;
    let hand = Hand::claim(&db, "job").await;
    hand.client.batch_execute("BEGIN").await.unwrap();
    hand.finish("succeeded", 0).await.unwrap();
    let within: i64 =
        hand.client.query_one("SELECT count(*) FROM sexton.delivery", &[]).await.unwrap().get(0);
    assert_eq!(within, 1, "it is written in this very transaction");
    hand.client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(db.notices("job").await, "");
    assert_eq!(deliveries(&db, OPS).await, "");
    hand.finish("succeeded", 0).await.unwrap();
    assert_eq!(deliveries(&db, OPS).await, "waiting+0");
}

#[tokio::test]
async fn two_replicas_send_each_notice_once() {
    let db = Db::new().await;
    let recorder = Recorder::default();
    let replicas = [recorder.replica(&db), recorder.replica(&db)];
    for at in 0..20 {
        let job = format!("job-{at}");
        db.steps_job(&job, json!({})).await;
        notify(&db, &job, json!([{"on": ["refused"], "to": OPS}])).await;
        put(&db, "refused", &job).await;
    }
    until_quiet(&db).await;
    let keys: std::collections::BTreeSet<_> = recorder.messages().iter().map(|message| message.key).collect();
    assert_eq!((recorder.messages().len(), keys.len()), (20, 20));
    assert_eq!(
        db.get::<i64>("SELECT count(*) FROM sexton.delivery WHERE state = 'sent' AND attempt = 1", &[]).await,
        20
    );
    for replica in replicas {
        replica.drain().await;
    }
}

#[tokio::test]
async fn a_replica_that_dies_while_it_sends_leaves_the_notice_to_another_under_the_same_key() {
    let db = Db::new().await;
    db.steps_job("job", json!({})).await;
    notify(&db, "job", json!([{"on": ["failed"], "to": OPS}])).await;
    let hung = Recorder::default();
    hung.hang();
    let first = hung.replica(&db);
    put(&db, "failed", "job").await;
    db.until("it is taken", "SELECT bool_and(taken_by IS NOT NULL) FROM sexton.delivery", &[]).await;
    first.crash().await;

    let recorder = Recorder::default();
    let second = recorder.replica(&db).await_started(&db).await;
    assert_eq!(recorder.told().len(), 0, "as long as the first may be at work, nobody else is");
    pass_time(&db, "2 minutes").await;
    until_quiet(&db).await;
    assert_eq!(recorder.told(), ["failed job mail:ops@example.org"]);
    assert_eq!(recorder.messages()[0].key, hung.messages()[0].key);
    assert_eq!(db.get::<i32>("SELECT attempt FROM sexton.delivery WHERE state = 'sent'", &[]).await, 2);
    // The first one's word comes too late.
    let late = "SELECT sexton.note_delivery(id, 1, 'too late') FROM sexton.delivery";
    assert_eq!(db.get::<String>(late, &[]).await, "superseded");
    second.drain().await;
}

#[tokio::test]
async fn if_taking_did_not_put_the_due_time_off_two_replicas_would_send_the_same() {
    for (patched, senders) in [(false, 1), (true, 2)] {
        let db = Db::new().await;
        if patched {
            let taking: String =
                db.get("SELECT pg_get_functiondef('sexton.take_deliveries'::regproc)", &[]).await;
            let careless = taking.replace("due_at = clock_timestamp() + p_lease", "due_at = d.due_at");
            assert_ne!(careless, taking);
            db.execute(&careless).await;
        }
        db.steps_job("job", json!({})).await;
        notify(&db, "job", json!([{"on": ["failed"], "to": OPS}])).await;
        let (one, another) = (Recorder::default(), Recorder::default());
        one.hang();
        another.hang();
        put(&db, "failed", "job").await;
        let first = one.replica(&db);
        db.until("it is taken", "SELECT bool_and(attempt > 0) FROM sexton.delivery", &[]).await;
        first.crash().await;
        let second = another.replica(&db);
        // Its look that validates the one job has ended when the next one validates the other.
        for newer in ["newer", "newest"] {
            db.steps_job(newer, json!({})).await;
            db.until_job(newer, "validated_revision = revision").await;
        }
        second.shutdown().at_once();
        second.ended().await.unwrap();
        let sent = [&one, &another].iter().filter(|recorder| !recorder.messages().is_empty()).count();
        assert_eq!(sent, senders, "patched: {patched}");
    }
}

#[tokio::test]
async fn notices_are_sent_with_no_more_than_the_runners_rights() {
    let db = Db::new().await;
    let login: String = db.get("SELECT 'sends_in_' || current_database()", &[]).await;
    db.execute(&format!("CREATE ROLE {login} LOGIN IN ROLE sexton_runner")).await;
    db.steps_job("job", json!({})).await;
    notify(&db, "job", json!([{"on": ["failed"], "to": OPS}])).await;
    put(&db, "failed", "job").await;
    let mut config = db.config.clone();
    config.user(&login);
    let recorder = Recorder::default();
    let runner = recorder.given()(sexton::runner::Runner::builder(config)).build();
    let shutdown = runner.shutdown();
    let task = tokio::spawn(runner.run());
    db.until("it is sent", "SELECT bool_and(state = 'sent') FROM sexton.delivery", &[]).await;
    shutdown.drain();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_replica_that_is_told_to_end_sends_the_notices_of_its_last_runs() {
    let db = Db::new().await;
    db.due_job("job", "steps", json!({"hold_before": 2})).await;
    notify(&db, "job", json!([{"on": ["succeeded"], "to": OPS}])).await;
    let recorder = Recorder::default();
    let replica = recorder.replica(&db);
    db.until_steps("job", 1).await;
    db.execute("UPDATE sexton.job SET notices = '[{\"on\": [\"started\", \"succeeded\"], \"to\": \"mail:ops@example.org\"}]'").await;
    put(&db, "started", "job").await;
    replica.drain().await;
    assert_eq!(recorder.told(), ["started job mail:ops@example.org"]);
    assert_eq!(deliveries(&db, OPS).await, "sent+0", "and it was said before the replica ended");
}

#[tokio::test]
async fn a_job_that_is_overdue_is_noticed_once_however_many_look() {
    let db = Db::new().await;
    db.due("job").await;
    db.steps_job("other", json!({})).await;
    db.execute("UPDATE sexton.job SET expect_success_every = '1 hour', created_at = now() - interval '2 hours' WHERE name = 'job'").await;
    let look = async || {
        db.session().await.query_one("SELECT sexton.raise_alarms()", &[]).await.unwrap().get::<_, i64>(0)
    };
    let (one, another, third) = tokio::join!(look(), look(), look());
    assert_eq!(one + another + third, 1);
    assert_eq!(look().await, 0);
    assert_eq!((db.notices("job").await.as_str(), db.notices("other").await.as_str()), ("overdue", ""));
    let why: String = db.get("SELECT payload ->> 'why' FROM sexton.notice", &[]).await;
    assert_eq!(why, db.verb("why", "job").await, "it says why");

    let hand = Hand::claim(&db, "job").await;
    hand.finish("succeeded", 0).await.unwrap();
    assert_eq!(look().await, 0);
    assert_eq!(db.get::<i64>("SELECT count(*) FROM sexton.alarm", &[]).await, 0, "a success ends it");
    db.execute("UPDATE sexton.run SET finished_at = finished_at - interval '3 hours'").await;
    assert_eq!(look().await, 1);
    assert_eq!(db.notices("job").await, "overdue overdue");
}

#[tokio::test]
async fn a_replica_looks_for_jobs_that_are_overdue() {
    let db = Db::new().await;
    db.steps_job("job", json!({})).await;
    db.execute(
        "UPDATE sexton.job SET expect_success_every = '1 hour', created_at = now() - interval '2 hours'",
    )
    .await;
    let replica = Replica::start(&db);
    db.until("it is noticed", "SELECT count(*) = 1 FROM sexton.notice WHERE event = 'overdue'", &[]).await;
    replica.drain().await;
}

#[tokio::test]
async fn a_stranger_on_the_lock_of_a_due_job_is_noticed_once() {
    let db = Db::new().await;
    db.due("job").await;
    let raise = "SELECT sexton.raise_alarms()";
    let stranger = db.session().await;
    let lock = "SELECT pg_try_advisory_lock(m.lock_class, j.lock_id), pg_backend_pid() FROM sexton.meta m, sexton.job j";
    let pid: i32 = stranger.query_one(lock, &[]).await.unwrap().get(1);
    assert_eq!(db.get::<i64>(raise, &[]).await, 0, "it has only just become due");
    db.execute("UPDATE sexton.job SET due_at = now() - interval '2 minutes'").await;
    assert_eq!((db.get::<i64>(raise, &[]).await, db.get::<i64>(raise, &[]).await), (1, 0));
    assert_eq!(db.notices("job").await, "lock_held_by_stranger");
    assert_eq!(db.get::<i32>("SELECT (payload ->> 'backend_pid')::int FROM sexton.notice", &[]).await, pid);
    // Whoever says that he is Sexton's is none: a replica that tries for the job, or one that hangs.
    stranger.batch_execute("SET application_name = 'sexton/0011aabb/job'").await.unwrap();
    assert_eq!(db.get::<i64>(raise, &[]).await, 0);
    assert_eq!(db.get::<i64>("SELECT count(*) FROM sexton.alarm", &[]).await, 0);
}

#[tokio::test]
async fn five_failures_pause_the_job_and_one_notice_says_so() {
    let db = Db::new().await;
    db.due_job("job", "steps", json!({"fail_at": 1})).await;
    notify(&db, "job", json!([{"on": ["paused_itself"], "to": OPS}])).await;
    db.execute("UPDATE sexton.job SET max_attempts = 1, pause_after = 5").await;
    let recorder = Recorder::default();
    let replica = recorder.replica(&db);
    for failures in 1..=5 {
        db.until_job("job", &format!("state = 'idle' AND failure_count = {failures}")).await;
        if failures < 5 {
            db.verb("run_now", "job").await;
        }
    }
    until_quiet(&db).await;
    assert_eq!(recorder.told(), ["paused_itself job mail:ops@example.org"]);
    assert_eq!(recorder.messages()[0].payload["failures"], 5);
    replica.drain().await;
}

#[tokio::test]
async fn owners_are_told_of_what_was_changed_by_the_addresses_that_the_run_found() {
    let db = Db::new().await;
    db.steps_job("job", json!({})).await;
    db.execute(
        r#"INSERT INTO sexton.notice (event, job_id, job_name, payload) SELECT 'changed', id, name,
             '{"owner": "7", "recipients": ["a@example.org", "a@example.org", "no address", "x@y\r\nBcc: z@example.org"]}' FROM sexton.job"#,
    )
    .await;
    let recorder = Recorder::default();
    let replica = recorder.replica(&db);
    until_quiet(&db).await;
    assert_eq!(recorder.told(), ["changed job mail:a@example.org"]);
    replica.drain().await;
}

#[tokio::test]
async fn what_is_wrong_with_the_notices_of_a_job_is_said_when_it_is_written() {
    let db = Db::new().await;
    db.steps_job("job", json!({})).await;
    for (notices, said) in [
        (r#"[{"on": ["faild"], "to": "mail:a@b.example"}]"#, "\"faild\" is no event"),
        (r#"[{"on": [], "to": "mail:a@b.example"}]"#, "no events are named"),
        (r#"[{"on": ["failed"], "to": "mail:"}]"#, "is no channel"),
        (r#"[{"on": ["failed"], "to": "mail:a@b.example\r\nRCPT TO:<c@d.example>"}]"#, "is no channel"),
        (r#"[{"on": ["failed"]}]"#, "is no channel"),
        (r#"[{"on": "failed", "to": "mail:a@b.example"}]"#, "\"on\" is no array"),
        (r#"[{"on": ["failed"], "to": "webhook:cdn", "when": 1}]"#, "\"when\" is not known"),
        (r#"["failed"]"#, "is no object"),
    ] {
        let sql = format!("UPDATE sexton.job SET notices = '{}' RETURNING name", notices.replace('\'', "''"));
        let error = db.client.query_one(&sql, &[]).await.unwrap_err();
        let message = error.as_db_error().unwrap().message().to_owned();
        assert!(message.starts_with("job job: notices: ") && message.contains(said), "{notices}: {message}");
    }
    let unknown = db.client.query_one("SELECT sexton.subscribe('mail:a@b.example', '{faild}')", &[]).await;
    assert_eq!(code(unknown), "SX006");
}

#[tokio::test]
async fn this_program_and_the_database_mean_the_same_by_a_channel_and_by_an_event() {
    let db = Db::new().await;
    let long = "x".repeat(101);
    for channel in [
        "mail:ops@example.org",
        "mail:o.p-s+x@a.example.org",
        "mail:ops",
        "webhook:cdn",
        "webhook:a.b_c~d-9",
        "mail:@example.org",
        "mail:a@",
        "mail:a@-b",
        "mail:a@b-",
        "mail:a b@c.d",
        "mail:<a@b.c>",
        "mail:a@b@c",
        "mail:a@b\n",
        "webhook:",
        "webhook:a/b",
        "webhook:-a",
        "sms:1",
        "mail",
        "",
        "Mail:a@b.c",
        &format!("webhook:{long}"),
        &format!("mail:{}@b.example", "x".repeat(65)),
    ] {
        let sql = "SELECT sexton.channel_fault($1) IS NULL";
        assert_eq!(db.get::<bool>(sql, &[&channel]).await, Channel::parse(channel).is_some(), "{channel:?}");
    }
    let names: Vec<&str> = EVENTS.iter().map(|event| event.name).collect();
    assert!(db.get::<bool>("SELECT sexton.events_fault($1) IS NULL", &[&names]).await);
}

#[tokio::test]
async fn notices_are_pruned_with_the_history_and_take_their_deliveries_along() {
    let db = Db::new().await;
    db.due("job").await;
    notify(&db, "job", json!([{"on": ["failed"], "to": OPS}])).await;
    put(&db, "failed", "job").await;
    db.execute("UPDATE sexton.notice SET at = at - interval '1 year'; UPDATE sexton.throttle SET heard_at = heard_at - interval '1 year'").await;
    db.execute("SELECT sexton.prune(id) FROM sexton.job; SELECT sexton.raise_alarms()").await;
    let left = "SELECT (SELECT count(*) FROM sexton.notice) + (SELECT count(*) FROM sexton.delivery) + (SELECT count(*) FROM sexton.throttle)";
    assert_eq!(db.get::<i64>(left, &[]).await, 0);
}
