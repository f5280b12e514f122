//! A job that names what a replica does not know is left to others, and `why` says what is missing.

use serde::Deserialize;
use serde_json::{Value, json};
use sexton::{
    Registry,
    kind::{Description, Kind, Names, Nature, Need, Report, RunContext, Stop, Stopped},
    outside::{Contents, Outside, Secret, http::HostPattern, secrets::Known},
};

use crate::support::{Db, Replica};

/// A kind that needs what its params say.
struct Wants;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantsParams {
    secret: String,
    host: Option<String>,
}

impl Kind for Wants {
    type Params = WantsParams;

    fn name(&self) -> &'static str {
        "wants"
    }

    fn describe(&self) -> Description {
        Description { summary: "Wants.", nature: Nature::Database, params: &[], example: "" }
    }

    fn needs(&self, params: &WantsParams) -> Vec<Need> {
        let host = params.host.iter().cloned().map(Need::Host);
        host.chain([Need::Secret(params.secret.clone())]).collect()
    }

    async fn run(&self, _: &mut RunContext, _: WantsParams) -> Result<Report, Stop> {
        Ok(Report::new(Stopped::Drained))
    }
}

fn knowing(outside: &Outside) -> Registry {
    let mut registry = Registry::new();
    registry.add(Wants).know(Names::of(outside.names()));
    registry
}

fn contents(secrets: &[&str], hosts: &[&str]) -> Contents {
    let mut contents = Contents::default();
    for name in secrets {
        contents.secrets.add(*name, Known { secret: Secret::new("canary-4711"), hosts: Vec::new() });
    }
    contents.http.hosts = hosts.iter().map(|host| HostPattern::parse(host).unwrap()).collect();
    contents
}

async fn job(db: &Db, params: Value) {
    db.insert("job", "wants", "manual", params).await;
    db.until(
        "it is validated",
        "SELECT validated_revision = revision FROM sexton.job WHERE name = $1",
        &[&"job"],
    )
    .await;
    db.verb("run_now", "job").await;
}

#[tokio::test]
async fn a_job_goes_to_the_replica_that_knows_what_it_names() {
    let db = Db::new().await;
    let (one, two) = (Outside::new(contents(&["a"], &[])), Outside::new(contents(&["b"], &[])));
    let first = Replica::with(&db, |builder| builder.registry(knowing(&one)).name("first"));
    let second = Replica::with(&db, |builder| builder.registry(knowing(&two)).name("second"));
    let alive = "SELECT count(*) = 2 FROM sexton.replicas WHERE alive";
    db.until("both are alive", alive, &[]).await;
    job(&db, json!({"secret": "b"})).await;
    db.until_outcomes("job", "succeeded").await;
    assert_eq!(db.last_run::<String>("job", "holder").await, "second");
    let known: Vec<String> = db.get("SELECT knows FROM sexton.replicas WHERE name = 'second'", &[]).await;
    assert_eq!(known, ["secret:b"]);
    first.drain().await;
    second.drain().await;
}

#[tokio::test]
async fn where_nobody_knows_it_why_says_so_until_the_file_is_read_again() {
    let db = Db::new().await;
    let outside = Outside::new(contents(&["a"], &["*.example.org"]));
    let replica = Replica::with(&db, |builder| builder.registry(knowing(&outside)));
    job(&db, json!({"secret": "b", "host": "api.example.com"})).await;
    // A later job that it may run shows that it looked, and left the first alone.
    db.insert("other", "wants", "manual", json!({"secret": "a", "host": "x.example.org"})).await;
    db.until(
        "the other is validated",
        "SELECT validated_revision IS NOT NULL FROM sexton.job WHERE name = 'other'",
        &[],
    )
    .await;
    db.verb("run_now", "other").await;
    db.until_outcomes("other", "succeeded").await;
    assert_eq!(db.outcomes("job").await, "");
    let why: String = db.get("SELECT sexton.why('job')", &[]).await;
    let expected = "No replica that is alive knows host:api.example.com, secret:b: add it to the local file of one (`sexton run --config`).";
    assert_eq!(why, expected);
    outside.replace(contents(&["b"], &["*.example.com"]));
    db.until_outcomes("job", "succeeded").await;
    let known: Vec<String> = db.get("SELECT knows FROM sexton.replicas", &[]).await;
    assert_eq!(known, ["host:*.example.com", "secret:b"]);
    replica.drain().await;
}

#[tokio::test]
async fn an_edit_is_not_run_by_what_the_definition_before_needed() {
    let db = Db::new().await;
    let outside = Outside::new(contents(&["a"], &[]));
    let replica = Replica::with(&db, |builder| builder.registry(knowing(&outside)));
    job(&db, json!({"secret": "a"})).await;
    db.until_outcomes("job", "succeeded").await;
    db.execute(r#"UPDATE sexton.job SET params = '{"secret": "b"}'"#).await;
    db.until(
        "the edit is validated",
        "SELECT validated_revision = revision FROM sexton.job WHERE name = $1",
        &[&"job"],
    )
    .await;
    let needs: Vec<String> = db.job("job", "needs").await;
    assert_eq!(needs, ["secret:b"]);
    replica.drain().await;
}

#[tokio::test]
async fn hosts_are_known_by_name_or_by_pattern() {
    let db = Db::new().await;
    let cases = [
        ("host:api.example.com", "host:api.example.com", true),
        ("host:api.example.com", "host:*.example.com", true),
        ("host:a.b.example.com", "host:*.example.com", true),
        ("host:example.com", "host:*.example.com", false),
        ("host:evilexample.com", "host:*.example.com", false),
        ("host:anything", "host:*", true),
        ("secret:anything", "host:*", false),
        ("secret:a.example.com", "secret:*.example.com", false),
    ];
    for (need, known, expected) in cases {
        let meets: bool = db.get("SELECT sexton.lacks(ARRAY[$1], ARRAY[$2]) = '{}'", &[&need, &known]).await;
        assert_eq!(meets, expected, "{need} {known}");
        if let (Some(host), Some(pattern)) = (need.strip_prefix("host:"), known.strip_prefix("host:")) {
            assert_eq!(HostPattern::parse(pattern).unwrap().matches(host), expected, "{need} {known}");
        }
    }
}
