//! When jobs are due: planning by replicas, missed runs, jitter, starts and deploys, and definitions that are no good.
//!
//! Time does not pass here: a job's plan is set back by SQL, as if it had been made that much earlier.

use jiff::Timestamp;
use serde_json::json;
use sexton::testing::Occurrence;

use crate::support::{Db, Replica, Steps, code};

/// Regular instants that a run was made for, that runs stand for, and that nobody has taken over yet.
async fn accounts(db: &Db) -> (i64, i64, i64) {
    let runs =
        "SELECT count(DISTINCT occurrence) FROM sexton.run WHERE job_name = 'job' AND origin = 'schedule'";
    let coalesced = "SELECT coalesce(sum(coalesced), 0)::bigint FROM sexton.run WHERE job_name = 'job'";
    (db.get(runs, &[]).await, db.get(coalesced, &[]).await, db.job("job", "missed_count").await)
}

/// A job every hour, planned, with this policy and that much time gone by.
async fn hourly(db: &Db, policy: &str, more: &str) -> Replica {
    db.insert("job", "steps", "every 1h", json!({"steps": 1})).await;
    db.execute(&format!("UPDATE sexton.job SET missed = '{policy}' {more}")).await;
    let replica = Replica::start(db);
    db.until_job("job", "planned").await;
    replica
}

const AHEAD: &str = "state = 'idle' AND planned AND occurrence > now() AND origin = 'schedule'";

#[tokio::test]
async fn a_new_schedule_never_fires_at_once() {
    let db = Db::new().await;
    for (name, schedule) in [
        ("a", "every 1h"),
        ("b", "after 45m"),
        ("c", "daily 03:00"),
        ("d", "0 3 * * 1"),
        ("e", "manual"),
        ("f", "once 2020-01-01T00:00Z"),
    ] {
        db.insert(name, "steps", schedule, json!({})).await;
    }
    let replica = Replica::start(&db);
    db.until("all are planned", "SELECT bool_and(planned) FROM sexton.job", &[]).await;
    let ahead = "SELECT bool_and(coalesce(occurrence, 'infinity') > created_at) FROM sexton.job";
    assert!(db.get::<bool>(ahead, &[]).await);
    assert!(
        db.job::<bool>("a", "scheduled_at - created_at BETWEEN '1h' AND '1h 30s'").await,
        "one period from now"
    );
    assert!(
        db.get::<bool>("SELECT bool_and(due_at IS NULL) FROM sexton.job WHERE name IN ('e', 'f')", &[]).await
    );
    replica.drain().await;
    assert_eq!(db.get::<i64>("SELECT count(*) FROM sexton.run", &[]).await, 0);
}

#[tokio::test]
async fn an_edited_schedule_voids_the_occurrence_and_counts_it_if_its_time_had_come() {
    let db = Db::new().await;
    db.insert("job", "steps", "every 1h", json!({})).await;
    let planner = Replica::with(&db, |builder| builder.slots(0));
    db.until_job("job", "planned").await;
    db.execute("UPDATE sexton.job SET schedule = 'every 2h'").await;
    db.until_job("job", AHEAD).await;
    assert_eq!(accounts(&db).await, (0, 0, 0), "its time had not come");
    db.set_back("job", "2 hours 5 minutes").await;
    db.execute("UPDATE sexton.job SET schedule = 'every 3h'").await;
    db.until_job("job", AHEAD).await;
    assert_eq!(accounts(&db).await, (0, 0, 1));
    assert!(db.job::<bool>("job", "scheduled_at > now() + interval '2 hours 50 minutes'").await);
    planner.drain().await;
}

#[tokio::test]
async fn a_schedule_edited_during_a_run_holds_from_the_next_one_on() {
    let db = Db::new().await;
    db.insert("job", "steps", "every 1h", json!({"hold_before": 2})).await;
    let replica = Replica::start(&db);
    db.until_job("job", "planned").await;
    db.set_back("job", "61 minutes").await;
    db.until_steps("job", 1).await;
    db.execute("UPDATE sexton.job SET schedule = 'every 5h'").await;
    db.open_gate("gate").await;
    db.until_outcomes("job", "succeeded").await;
    db.until_job("job", AHEAD).await;
    assert!(db.job::<bool>("job", "occurrence > now() + interval '4 hours 50 minutes'").await);
    assert_eq!(db.steps("job").await, "1 2 3", "the run was left alone");
    replica.drain().await;
}

#[tokio::test]
async fn missed_once_makes_one_run_for_all() {
    let db = Db::new().await;
    let replica = hourly(&db, "once", "").await;
    let first: Timestamp = db.job("job", "occurrence").await;
    db.set_back("job", "6 hours 30 minutes").await;
    db.until_outcomes("job", "succeeded").await;
    db.until_job("job", AHEAD).await;
    assert_eq!(accounts(&db).await, (1, 0, 5), "six instants have passed");
    let next: Timestamp = db.job("job", "occurrence").await;
    assert_eq!(next.duration_since(first).as_secs() % 3600, -1800, "the grid stands");
    db.set_back("job", "31 minutes").await;
    db.until_outcomes("job", "succeeded succeeded").await;
    db.until_job("job", AHEAD).await;
    assert_eq!(accounts(&db).await, (2, 5, 0), "the next run stands for those that were missed");
    replica.drain().await;
}

#[tokio::test]
async fn missed_skip_runs_none_that_is_late_and_counts_them() {
    let db = Db::new().await;
    let replica = hourly(&db, "skip", "").await;
    db.set_back("job", "6 hours 30 minutes").await;
    db.until_job("job", &format!("missed_count > 0 AND {AHEAD}")).await;
    assert_eq!(accounts(&db).await, (0, 0, 6));
    db.set_back("job", "30 minutes 5 seconds").await;
    db.until_outcomes("job", "succeeded").await;
    assert_eq!(accounts(&db).await, (1, 6, 0), "one that is seconds late is run");
    replica.drain().await;
}

#[tokio::test]
async fn missed_each_runs_the_last_ones_one_by_one() {
    let db = Db::new().await;
    let replica = hourly(&db, "each(3)", "").await;
    db.set_back("job", "6 hours 30 minutes").await;
    db.until_outcomes("job", "succeeded succeeded succeeded").await;
    db.until_job("job", AHEAD).await;
    assert_eq!(accounts(&db).await, (3, 3, 0));
    let apart = "SELECT max(occurrence) - min(occurrence) = interval '2 hours' AND max(occurrence) > now() - interval '31 minutes' FROM sexton.run";
    assert!(db.get::<bool>(apart, &[]).await, "the latest three");
    replica.drain().await;
}

#[tokio::test]
async fn beyond_max_lateness_instants_are_counted_and_not_run() {
    let db = Db::new().await;
    let replica = hourly(&db, "once", ", max_lateness = '2 hours'").await;
    db.set_back("job", "6 hours 30 minutes").await;
    db.until_outcomes("job", "succeeded").await;
    db.until_job("job", AHEAD).await;
    assert_eq!(accounts(&db).await, (1, 4, 1), "four too late, one run, one more that it stands for");
    replica.drain().await;
}

#[tokio::test]
async fn jitter_goes_into_due_at_alone_and_stays_the_same() {
    let db = Db::new().await;
    db.execute(
        "INSERT INTO sexton.job (name, kind, schedule, jitter)
         SELECT 'job-' || n, 'steps', 'every 1h', '10 minutes' FROM generate_series(1, 20) n",
    )
    .await;
    let planner = Replica::with(&db, |builder| builder.slots(0));
    db.until("all are planned", "SELECT bool_and(planned) FROM sexton.job", &[]).await;
    let exact =
        "SELECT bool_and(occurrence = scheduled_at AND due_at BETWEEN scheduled_at AND scheduled_at + jitter)
                   AND count(DISTINCT due_at - scheduled_at) > 15 FROM sexton.job";
    assert!(db.get::<bool>(exact, &[]).await);
    let spread = "SELECT string_agg((due_at - scheduled_at)::text, ' ' ORDER BY id) FROM sexton.job";
    let before: String = db.get(spread, &[]).await;
    db.execute("UPDATE sexton.job SET schedule = 'every 2h'").await;
    db.until("all are planned", "SELECT bool_and(planned) FROM sexton.job", &[]).await;
    assert_eq!(db.get::<String>(spread, &[]).await, before);
    planner.drain().await;
}

#[tokio::test]
async fn after_counts_from_the_end_of_the_last_run() {
    let db = Db::new().await;
    db.insert("job", "steps", "after 45m", json!({})).await;
    let replica = Replica::start(&db);
    db.until_job("job", "planned").await;
    db.verb("run_now", "job").await;
    db.until_outcomes("job", "succeeded").await;
    db.until_job("job", AHEAD).await;
    let finished: Timestamp = db.last_run("job", "finished_at").await;
    let next: Timestamp = db.job("job", "scheduled_at").await;
    let wait = next.duration_since(finished).as_secs();
    assert!((45 * 60 - 5..=45 * 60).contains(&wait), "{wait} s, also after an extra run");
    replica.drain().await;
}

#[tokio::test]
async fn work_left_over_comes_back_as_an_extra_occurrence() {
    let db = Db::new().await;
    db.insert("job", "steps", "every 1h", json!({"come_back": true})).await;
    let replica = Replica::start(&db);
    db.until_job("job", "planned").await;
    db.set_back("job", "61 minutes").await;
    db.until_outcomes("job", "succeeded").await;
    db.until_job("job", "state = 'idle'").await;
    let resume = "origin = 'resume' AND due_at BETWEEN now() + interval '50 seconds' AND now() + interval '61 seconds'";
    assert!(db.job::<bool>("job", resume).await);
    assert!(db.job::<bool>("job", "scheduled_at > now() + interval '50 minutes'").await, "the grid stays");
    replica.drain().await;
}

#[tokio::test]
async fn at_start_is_due_for_the_first_replica_and_not_for_a_reconnect() {
    let db = Db::new().await;
    db.insert("job", "steps", "at start", json!({"steps": 1})).await;
    let first = Replica::start(&db);
    db.until_outcomes("job", "succeeded").await;
    let second = Replica::start(&db);
    db.until("both are alive", "SELECT count(*) = 2 FROM sexton.replicas WHERE alive", &[]).await;
    second.drain().await;
    let one = "SELECT count(*) = 1 FROM sexton.replicas WHERE alive";
    db.until("one is alive", one, &[]).await;
    let control: i32 = db.get("SELECT backend_pid FROM sexton.replicas WHERE alive", &[]).await;
    db.client.query_one("SELECT pg_terminate_backend($1)", &[&control]).await.unwrap();
    let back = "SELECT EXISTS (SELECT FROM sexton.replicas WHERE alive AND backend_pid <> $1)";
    db.until("it is back", back, &[&control]).await;
    // It looks at everything when it is back: were the job due, it would run before this one does.
    db.due_job("later", "steps", json!({})).await;
    db.until_outcomes("later", "succeeded").await;
    assert_eq!(db.outcomes("job").await, "succeeded");
    first.drain().await;
    db.until("none is alive", "SELECT count(*) = 0 FROM sexton.replicas WHERE alive", &[]).await;
    let third = Replica::start(&db);
    db.until_outcomes("job", "succeeded succeeded").await;
    assert_eq!(db.last_run::<String>("job", "origin").await, "start");
    third.drain().await;
}

#[tokio::test]
async fn at_deploy_is_due_once_for_each_deployment() {
    let db = Db::new().await;
    db.insert("job", "steps", "at deploy", json!({"steps": 1})).await;
    let old = Replica::with(&db, |builder| builder.deploy("1.0"));
    db.until_outcomes("job", "succeeded").await;
    let same = Replica::with(&db, |builder| builder.deploy("1.0"));
    db.until("both are alive", "SELECT count(*) = 2 FROM sexton.replicas WHERE alive", &[]).await;
    assert!(db.job::<bool>("job", "due_at IS NULL").await);
    let new = Replica::with(&db, |builder| builder.deploy("2.0"));
    db.until_outcomes("job", "succeeded succeeded").await;
    let file: bool = db.get("SELECT sexton.deployed('job', 'generation 7')", &[]).await;
    assert!(file);
    db.execute("NOTIFY sexton").await;
    db.until_outcomes("job", "succeeded succeeded succeeded").await;
    assert!(!db.get::<bool>("SELECT sexton.deployed('job', 'generation 7')", &[]).await);
    for replica in [old, same, new] {
        replica.drain().await;
    }
}

#[tokio::test]
async fn a_definition_that_is_no_good_is_rejected_with_its_reason_and_never_claimed() {
    let db = Db::new().await;
    let cases = [
        ("schedule", "sometimes", json!({}), "schedule: "),
        ("never", "0 0 31 2 *", json!({}), "never comes"),
        ("unknown", "manual", json!({"stepz": 3}), "stepz"),
        ("shape", "manual", json!({"steps": "three"}), "params.steps: "),
        ("range", "manual", json!({"steps": 0}), "0 steps are nothing to do"),
    ];
    for (name, schedule, params, _) in &cases {
        db.insert(name, "steps", schedule, params.clone()).await;
        db.execute(&format!("UPDATE sexton.job SET occurrence = now(), due_at = now(), origin = 'run_now' WHERE name = '{name}'")).await;
    }
    let replica = Replica::start(&db);
    for (name, _, _, reason) in &cases {
        db.until_job(name, "invalid_reason IS NOT NULL").await;
        let found: String = db.job(name, "invalid_reason").await;
        assert!(found.contains(reason), "{name}: {found}");
        let why = db.verb("why", name).await;
        assert!(why.contains(found.trim_end_matches('.')), "{why}");
        let run_now = format!("SELECT sexton.run_now('{name}')");
        assert_eq!(code(db.client.query_one(&run_now, &[]).await), "SX005");
    }
    assert_eq!(db.get::<i64>("SELECT count(*) FROM sexton.run", &[]).await, 0);
    db.execute(r#"UPDATE sexton.job SET params = '{"steps": 3}' WHERE name = 'range'"#).await;
    db.until_outcomes("range", "succeeded").await;
    replica.drain().await;
}

#[tokio::test]
async fn a_zone_in_the_schedules_text_moves_into_its_column() {
    let db = Db::new().await;
    db.insert("job", "steps", "daily 03:00 Europe/Paris", json!({})).await;
    let columns: String = db.job("job", "schedule || ' | ' || time_zone").await;
    assert_eq!(columns, "daily 03:00 | Europe/Paris");
    let replica = Replica::start(&db);
    db.until_job("job", "planned").await;
    let local: String = db.job("job", "to_char(occurrence AT TIME ZONE 'Europe/Paris', 'HH24:MI')").await;
    assert_eq!(local, "03:00");
    let wrong = "UPDATE sexton.job SET time_zone = 'Europe/Pariss' RETURNING name";
    assert_eq!(code(db.client.query_one(wrong, &[]).await), "SX006");
    replica.drain().await;
}

#[tokio::test]
async fn a_job_of_an_unknown_kind_is_left_for_a_replica_that_knows_it() {
    let db = Db::new().await;
    db.insert("job", "from_the_future", "no schedule that we know", json!({"odd": true})).await;
    db.insert("mine", "steps", "every 1h", json!({})).await;
    let replica = Replica::start(&db);
    db.until_job("mine", "planned").await;
    replica.drain().await;
    assert!(db.job::<bool>("job", "NOT planned AND invalid_reason IS NULL AND version = 0").await);
    let other = Replica::start(&db);
    let why = "SELECT sexton.why('job') LIKE '%knows the kind \"from_the_future\"%'";
    db.until("it is said why the job waits", why, &[]).await;
    other.drain().await;
}

#[tokio::test]
async fn a_job_in_an_unknown_database_is_left_and_what_its_kind_cannot_do_is_rejected() {
    let db = Db::new().await;
    for name in ["elsewhere", "as_another", "mine"] {
        db.insert(name, "steps", "every 1h", json!({})).await;
    }
    db.insert("bound", "steps_outside", "every 1h", json!({})).await;
    db.execute(
        "UPDATE sexton.job SET database = 'archive' WHERE name IN ('elsewhere', 'bound');
         UPDATE sexton.job SET run_as = current_user WHERE name = 'as_another'",
    )
    .await;
    let replica = Replica::start(&db);
    db.until_job("mine", "planned").await;
    db.until_job("as_another", "invalid_reason LIKE 'run_as: %'").await;
    let bound = "invalid_reason = 'database: it has its work here (set database to NULL)'";
    db.until_job("bound", bound).await;
    db.until_job("elsewhere", "planned AND needs = '{database:archive}'").await;
    db.set_back("elsewhere", "61 minutes").await;
    let why =
        "SELECT sexton.why('elsewhere') LIKE 'No replica that is alive knows database:archive: add it to%'";
    db.until("it is said why the job waits", why, &[]).await;
    db.set_back("mine", "61 minutes").await;
    db.until_outcomes("mine", "succeeded").await;
    assert_eq!(db.outcomes("elsewhere").await, "", "it is left alone, though it was due before");
    replica.drain().await;
}

/// A run that ends reads the schedule, then settles. What another replica plans in between must not be overwritten by
/// the plan that it has not: the job would never be due again.
#[tokio::test]
async fn a_plan_that_another_made_while_a_run_was_ending_stays() {
    let db = Db::new().await;
    db.steps_job("job", json!({"hold_before": 1, "refuse_at": 1})).await;
    let run = Occurrence::of("job", db.config.clone()).registry(Steps::registry()).run();
    let meanwhile = async {
        db.until_job("job", "state = 'running'").await;
        db.execute("UPDATE sexton.job SET schedule = 'every 1h' WHERE name = 'job'").await;
        assert!(!db.job::<bool>("job", "planned").await);
        // Whoever ends the run has read by the time it waits for this row.
        let another = db.session().await;
        another.batch_execute("BEGIN; SELECT FROM sexton.job FOR UPDATE").await.unwrap();
        db.open_gate("gate").await;
        let ends = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                      AND wait_event_type = 'Lock' AND query LIKE '%sexton.finish(%')";
        db.until("the run waits to end", ends, &[]).await;
        let plan = "SELECT sexton.plan(id, revision, schedule, time_zone, now() + '1h', now() + '1h', 0, '{}') FROM sexton.job";
        assert!(another.query_one(plan, &[]).await.unwrap().get::<_, bool>(0));
        another.batch_execute("COMMIT").await.unwrap();
    };
    let (ran, ()) = tokio::join!(run, meanwhile);
    assert_eq!(ran.unwrap().state, "refused");
    assert!(db.job::<bool>("job", "planned AND scheduled_at > now() AND due_at > now()").await);
}

#[tokio::test]
async fn the_next_occurrence_is_later_than_the_last_whatever_a_replica_says() {
    let db = Db::new().await;
    let replica = hourly(&db, "once", "").await;
    db.set_back("job", "61 minutes").await;
    db.until_outcomes("job", "succeeded").await;
    db.until_job("job", AHEAD).await;
    replica.drain().await;
    db.execute("UPDATE sexton.job SET planned = false, scheduled_at = NULL").await;
    let plan =
        "SELECT sexton.plan(id, revision, schedule, time_zone, last_scheduled_at, NULL, 0) FROM sexton.job";
    assert_eq!(code(db.client.query_one(plan, &[]).await), "SX002");
    let stale = "SELECT sexton.plan(id, revision, 'daily 03:00', time_zone, now() + '1 day', NULL, 0) FROM sexton.job";
    assert!(!db.get::<bool>(stale, &[]).await, "a plan for another schedule comes to nothing");
}
