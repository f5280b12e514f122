//! What an application or a test that embeds Sexton leans on: hooks, `sexton::testing`, resources, what a run is told.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use sexton::{
    ErrorKind, Registry,
    kind::{Description, Kind, Nature, Options, Report, RunContext, Stop, Stopped},
    testing::Occurrence,
};

use crate::support::{Db, Proxy, Replica, Steps, own_server};

fn occurrence(db: &Db, job: &str) -> Occurrence {
    Occurrence::of(job, db.config.clone()).registry(Steps::registry())
}

#[tokio::test]
async fn hooks_hear_of_starts_ends_and_recoveries() {
    let db = Db::new().await;
    db.due_job("good", "steps", json!({})).await;
    let replica = Replica::start(&db);
    db.until_outcomes("good", "succeeded").await;
    db.due_job("bad", "steps", json!({"refuse_at": 1})).await;
    db.until_outcomes("bad", "refused").await;
    replica
        .until_events(&["started good 1", "finished good succeeded", "started bad 1", "finished bad refused"])
        .await;
    replica.drain().await;
}

#[tokio::test]
async fn an_occurrence_is_run_and_told_of() {
    let db = Db::new().await;
    db.steps_job("job", json!({"steps": 2})).await;
    let ran = occurrence(&db, "job").run().await.unwrap();
    assert_eq!((ran.state.as_str(), ran.mode.as_str(), ran.attempt), ("succeeded", "real", 1));
    assert_eq!((ran.batches, ran.rows), (2, 2));
    assert_eq!(ran.report, Some(json!({"stopped": "drained", "steps": 2})));
    assert_eq!(db.steps("job").await, "1 2");
}

#[tokio::test]
async fn a_run_that_a_test_loses_goes_on_at_its_cursor() {
    let db = Db::new().await;
    db.steps_job("job", json!({"steps": 4})).await;
    let lost = occurrence(&db, "job").kill_after_batches(2).run().await.unwrap();
    assert_eq!((lost.state.as_str(), lost.batches), ("running", 2), "nobody has noticed yet");
    let done = occurrence(&db, "job").run().await.unwrap();
    assert_eq!((done.state.as_str(), done.attempt, done.batches), ("succeeded", 2, 2));
    assert_eq!(db.steps("job").await, "1 2 3 4");
}

#[tokio::test]
async fn an_occurrence_that_cannot_be_had_is_an_error() {
    let db = Db::new().await;
    db.steps_job("job", json!({})).await;
    let error = occurrence(&db, "nobody").run().await.unwrap_err();
    assert!(error.to_string().contains("there is no job \"nobody\""), "{error}");
    db.due("paused").await;
    db.verb("pause", "paused").await;
    let error = occurrence(&db, "paused").run().await.unwrap_err();
    assert!(error.to_string().contains("paused by"), "{error}");
}

/// A kind that writes down what it is told, and may want a resource.
struct Tells {
    told: Arc<Mutex<Vec<Value>>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct TellsParams {
    resource: Option<String>,
    patience_ms: u64,
}

impl Kind for Tells {
    type Params = TellsParams;

    fn name(&self) -> &'static str {
        "tells"
    }

    fn describe(&self) -> Description {
        Description { summary: "Tells what it is told.", nature: Nature::Database, params: &[], example: "" }
    }

    async fn run(&self, context: &mut RunContext, params: TellsParams) -> Result<Report, Stop> {
        if let Some(name) = params.resource {
            let patience = Duration::from_millis(params.patience_ms);
            context
                .with_resource(&name, patience, async |context| {
                    while context.query("SELECT FROM public.gate", &[]).await?.is_empty() {
                        context.rest(Duration::from_millis(3)).await?;
                    }
                    Ok(())
                })
                .await?;
        }
        context.progress(&json!({"at": "the end"})).await?;
        self.told.lock().unwrap().push(json!({
            "now": context.now().to_string(), "options": context.options(), "inputs": context.inputs(),
            "types": context.input_types(), "attempt": context.attempt(), "token": context.token(),
            "key": context.idempotency_key("step"),
        }));
        Ok(Report::new(Stopped::LimitRows))
    }
}

fn tells() -> (Registry, Arc<Mutex<Vec<Value>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut registry = Registry::new();
    registry.add(Tells { told: Arc::clone(&told) });
    (registry, told)
}

#[tokio::test]
async fn a_run_is_told_clock_options_inputs_token_and_key() {
    let db = Db::new().await;
    db.execute(
        r#"INSERT INTO sexton.job (name, kind, inputs) VALUES ('job', 'tells', '{"tenant": "bigint"}')"#,
    )
    .await;
    let (registry, told) = tells();
    let now: Timestamp = "2031-02-03T04:05:06Z".parse().unwrap();
    let options = Options { limit_rows: Some(7), ..Options::default() };
    let run = Occurrence::of("job", db.config.clone()).registry(registry).now(now);
    let ran = run.options(options).inputs(json!({"tenant": 42})).run().await.unwrap();
    assert_eq!(ran.report.unwrap()["stopped"], "limit_rows");
    let told = told.lock().unwrap().remove(0);
    assert_eq!(told["now"], "2031-02-03T04:05:06Z");
    assert_eq!(told["options"], json!({"limit_rows": 7}));
    assert_eq!((&told["inputs"], &told["types"]), (&json!({"tenant": 42}), &json!({"tenant": "bigint"})));
    let (epoch, version): (i64, i64) =
        (db.last_run("job", "epoch").await, db.last_run("job", "version").await);
    assert_eq!(told["token"], format!("{epoch}.{version}"));
    let key: String = db
        .get(
            "SELECT format('sexton/%s/%s/%s/step', install_id, job_id, (extract(epoch FROM occurrence) * 1000000)::bigint)
             FROM sexton.meta, sexton.run",
            &[],
        )
        .await;
    assert_eq!(told["key"], key);
    assert_eq!(db.last_run::<Value>("job", "progress").await, json!({"at": "the end"}));
}

#[tokio::test]
async fn a_resource_is_held_by_one_run_at_a_time_and_freed_with_it() {
    let db = Db::new().await;
    let (registry, _) = tells();
    for (name, patience) in [("first", 0), ("impatient", 0), ("patient", 60_000)] {
        db.insert(name, "tells", "manual", json!({"resource": "app:42", "patience_ms": patience})).await;
    }
    let run = |name: &str| Occurrence::of(name, db.config.clone()).registry(registry.clone()).run();
    let (first, ()) = tokio::join!(run("first"), async {
        let held = "SELECT EXISTS (SELECT FROM sexton.resources WHERE name = 'app:42' AND job = 'first')";
        db.until("the view shows who holds it", held, &[]).await;
        assert_eq!(db.last_run::<Value>("first", "resources").await, json!(["app:42"]));
        let refused = run("impatient").await.unwrap();
        assert_eq!(refused.state, "failed");
        assert!(refused.error.unwrap().contains("resource app:42 was held by another"));
        let (patient, ()) = tokio::join!(run("patient"), async {
            db.until_job("patient", "state = 'running'").await;
            db.open_gate("gate").await;
        });
        assert_eq!(patient.unwrap().state, "succeeded");
    });
    assert_eq!(first.unwrap().state, "succeeded");
    assert_eq!(db.last_run::<Value>("first", "resources").await, json!([]), "given back");
    assert_eq!(db.get::<i64>("SELECT count(*) FROM sexton.resources", &[]).await, 0);
}

#[tokio::test]
async fn settings_of_a_run_session_that_something_in_between_drops_are_noticed() {
    // The proxy stands before a socket.
    let server = own_server().await;
    let db = Db::on(&server).await;
    db.steps_job("job", json!({})).await;
    // What the server was told last wins over what the session asked for, as behind a pooler that resets it.
    let error = {
        let proxy = Proxy::without_options(&db).await;
        let run = Occurrence::of("job", proxy.config(&db)).registry(Steps::registry()).run();
        run.await.unwrap_err()
    };
    assert_eq!(error.kind(), ErrorKind::Unsuitable);
    assert!(error.remedy().unwrap().contains("pooler"), "{error:?}");
    assert_eq!(db.outcomes("job").await, "", "nothing was claimed");
}
