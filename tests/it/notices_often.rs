//! How often a channel is told: trouble that goes on at growing distance, channels that fail until they are off.

use serde_json::json;

use crate::{
    notices_support::{Recorder, deliveries, notify, pass_time, put, until_quiet},
    support::Db,
};

const OPS: &str = "mail:ops@example.org";

#[tokio::test]
async fn what_nobody_sends_is_given_up_after_a_week_and_after_a_day_while_its_channel_is_off() {
    let db = Db::new().await;
    db.steps_job("job", json!({})).await;
    notify(&db, "job", json!([{"on": ["failed"], "to": OPS}, {"on": ["failed"], "to": "webhook:off"}])).await;
    put(&db, "failed", "job").await;
    db.execute("INSERT INTO sexton.channel (name, off_at) VALUES ('webhook:off', now())").await;
    let states = "SELECT string_agg(state, ' ' ORDER BY channel) FROM sexton.notices";
    for (passed, wanted) in
        [("1 hour", "waiting off"), ("2 days", "waiting failed"), ("6 days", "failed failed")]
    {
        pass_time(&db, passed).await;
        db.execute("SELECT sexton.raise_alarms()").await;
        assert_eq!(db.get::<String>(states, &[]).await, wanted, "{passed}");
    }
}

#[tokio::test]
async fn the_first_of_a_trouble_is_told_at_once_and_the_others_at_growing_distance_with_their_number() {
    let db = Db::new().await;
    db.steps_job("job", json!({})).await;
    db.steps_job("other", json!({})).await;
    db.execute("SELECT sexton.subscribe('mail:ops@example.org', '{failed,started}')").await;
    let gap = "SELECT extract(epoch FROM gap)::int FROM sexton.throttle t JOIN sexton.job j ON j.id = t.job_id WHERE j.name = 'job'";
    let recorder = Recorder::default();
    let replica = recorder.replica(&db);

    for _ in 0..4 {
        put(&db, "failed", "job").await;
    }
    put(&db, "failed", "other").await;
    until_quiet(&db).await;
    assert_eq!(
        deliveries(&db, OPS).await,
        "sent+0 held_back+0 held_back+1 waiting+2 sent+0",
        "each job by itself"
    );
    let wait = "SELECT extract(epoch FROM due_at - now())::int BETWEEN 290 AND 300 FROM sexton.delivery WHERE state = 'waiting'";
    assert!(db.get::<bool>(wait, &[]).await, "five minutes after the first");
    assert_eq!(recorder.messages().len(), 2);

    pass_time(&db, "5 minutes").await;
    db.until(
        "the third is told",
        "SELECT count(*) FILTER (WHERE state = 'sent') = 3 FROM sexton.delivery",
        &[],
    )
    .await;
    assert_eq!(recorder.messages().last().unwrap().held_back, 2, "and says how many were held back");
    assert_eq!(db.get::<i32>(gap, &[]).await, 600, "the next is further away");
    for _ in 0..12 {
        put(&db, "failed", "job").await;
        pass_time(&db, "1 day").await;
        until_quiet(&db).await;
    }
    assert_eq!(db.get::<i32>(gap, &[]).await, 300, "a day of quiet begins anew");

    for _ in 0..3 {
        put(&db, "started", "job").await;
    }
    until_quiet(&db).await;
    let started = "SELECT count(*) FROM sexton.notices WHERE event = 'started' AND state = 'sent'";
    assert_eq!(db.get::<i64>(started, &[]).await, 3, "what is no trouble is told each time");
    replica.drain().await;
}

#[tokio::test]
async fn a_trouble_that_goes_on_is_told_at_most_once_a_day_in_the_end() {
    let db = Db::new().await;
    db.steps_job("job", json!({})).await;
    notify(&db, "job", json!([{"on": ["failed"], "to": OPS}])).await;
    let mut gaps = Vec::new();
    for _ in 0..600 {
        put(&db, "failed", "job").await;
        gaps.push(db.get::<i32>("SELECT extract(epoch FROM gap)::int FROM sexton.throttle", &[]).await);
        pass_time(&db, "10 minutes").await;
        db.execute("UPDATE sexton.delivery SET attempt = 1, state = 'sent' WHERE state = 'waiting' AND due_at <= now()").await;
    }
    assert!(gaps.is_sorted(), "{gaps:?}");
    assert_eq!((gaps.first(), gaps.last()), (Some(&300), Some(&86_400)));
    let (told, counted): (i64, i64) = (
        db.get("SELECT count(*) FROM sexton.delivery WHERE state = 'sent'", &[]).await,
        db.get("SELECT sum(held_back + 1)::bigint FROM sexton.delivery WHERE state <> 'held_back'", &[])
            .await,
    );
    assert!(told < 15, "{told} of 600");
    assert_eq!(counted, 600, "each is told or counted");
}

#[tokio::test]
async fn a_channel_that_fails_ten_times_in_a_row_is_switched_off_and_others_hear_of_it() {
    let db = Db::new().await;
    for job in ["a", "b"] {
        db.steps_job(job, json!({})).await;
    }
    notify(&db, "a", json!([{"on": ["refused"], "to": OPS}])).await;
    notify(&db, "b", json!([{"on": ["failed"], "to": "mail:team@example.org"}])).await;
    let recorder = Recorder::default();
    recorder.break_down(&[OPS]);
    let replica = recorder.replica(&db);
    put(&db, "refused", "a").await;
    let failures =
        "SELECT EXISTS (SELECT FROM sexton.channel WHERE name = 'mail:ops@example.org' AND failures = $1)";
    for failure in 1..=10 {
        db.until("one more failure", failures, &[&failure]).await;
        if failure == 1 {
            // What comes while the channel rests is not tried, and counts for nothing.
            db.execute("UPDATE sexton.throttle SET told_at = told_at - interval '10 days', heard_at = heard_at - interval '10 days'").await;
            put(&db, "refused", "a").await;
        }
        if failure < 10 {
            pass_time(&db, "2 hours").await;
        }
    }
    db.until(
        "it is off",
        "SELECT state = 'off' FROM sexton.channels WHERE channel = 'mail:ops@example.org'",
        &[],
    )
    .await;
    until_quiet_elsewhere(&db).await;
    assert!(
        recorder.told().contains(&"channel_off - mail:team@example.org".to_owned()),
        "{:?}",
        recorder.told()
    );
    assert!(!recorder.told().contains(&"channel_off - mail:ops@example.org".to_owned()));
    let notice = recorder.messages().into_iter().find(|message| message.event == "channel_off").unwrap();
    assert_eq!((&notice.payload["channel"], &notice.payload["error"]), (&json!(OPS), &json!("told to fail")));

    // Off is off, until somebody switches it on; then what waits is sent.
    recorder.break_down(&[]);
    let before = recorder.messages().len();
    pass_time(&db, "2 hours").await;
    put(&db, "failed", "b").await;
    db.until(
        "another channel goes on",
        "SELECT bool_or(event = 'failed' AND state = 'sent') FROM sexton.notices",
        &[],
    )
    .await;
    assert_eq!(recorder.messages().len(), before + 1);
    let answer: String = db.get("SELECT sexton.channel_on('mail:ops@example.org')", &[]).await;
    assert_eq!(answer, "mail:ops@example.org is on; 2 notice(s) of the last day wait for it.");
    until_quiet(&db).await;
    assert_eq!(deliveries(&db, OPS).await, "sent+0 sent+0");
    replica.drain().await;
}

/// As [`until_quiet`], but for channels that are off.
async fn until_quiet_elsewhere(db: &Db) {
    let quiet = "SELECT NOT EXISTS (SELECT FROM sexton.notices WHERE state IN ('waiting', 'retrying'))";
    db.until("all notices that are due were sent", quiet, &[]).await;
}

#[tokio::test]
async fn a_message_that_was_taken_before_its_channel_failed_counts_for_one_failure_with_the_others() {
    let db = Db::new().await;
    db.steps_job("job", json!({})).await;
    notify(&db, "job", json!([{"on": ["started"], "to": OPS}])).await;
    for _ in 0..12 {
        put(&db, "started", "job").await;
    }
    db.execute("SELECT sexton.take_deliveries(gen_random_uuid(), '{mail:@}', 12, '1 minute')").await;
    db.execute("SELECT sexton.note_delivery(id, 1, 'down') FROM sexton.delivery").await;
    assert_eq!(db.get::<i32>("SELECT failures FROM sexton.channel", &[]).await, 1);
    let rests = "SELECT count(*) FROM sexton.take_deliveries(gen_random_uuid(), '{mail:@}', 12, '1 minute')";
    assert_eq!(db.get::<i64>(rests, &[]).await, 0, "and then it rests");
    pass_time(&db, "40 seconds").await;
    assert_eq!(db.get::<i64>(rests, &[]).await, 12);
}
