//! The kind `http`, against a server that verifies what comes.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use sexton::{
    ErrorKind, Registry,
    kind::Options,
    outside::{
        Contents, Endpoint, Outside, Secret,
        http::{Auth, Call, Class, Client, HostPattern, Method, Statuses, Target},
        secrets,
    },
    runner::Runner,
    testing::{Occurrence, Ran},
};

use super::{
    http_network::Network,
    http_server::{HAWK_KEY, HMAC_KEY, MASTER, Server},
    support::{detail, error},
};
use crate::support::{Db, own_server};

/// A text that may be nowhere but in the replica and on the server.
pub const CANARY: &str = "canary-4711-\"quoted\"";

fn host(pattern: &str) -> HostPattern {
    HostPattern::parse(pattern).unwrap()
}

/// What a replica knows that may call the server.
pub fn contents() -> Contents {
    let mut contents = Contents::default();
    contents.http.hosts = vec![host("127.0.0.1"), host("localhost")];
    (contents.http.private_addresses, contents.http.plain_http) = (true, true);
    for (name, text) in [("canary", CANARY), ("hawk", HAWK_KEY), ("hmac", HMAC_KEY), ("master", MASTER)] {
        let hosts = vec![host("127.0.0.1")];
        contents.secrets.add(name, secrets::Known { secret: Secret::new(text), hosts });
    }
    let old = secrets::Known {
        secret: Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
        hosts: vec![host("*")],
    };
    let elsewhere = secrets::Known { secret: Secret::new(CANARY), hosts: vec![host("api.example.com")] };
    contents.secrets.add("old", old).add("elsewhere", elsewhere);
    contents
}

pub struct World {
    pub db: Db,
    pub server: Server,
    pub outside: Outside,
}

impl World {
    pub async fn new() -> World {
        World { db: Db::new().await, server: Server::start().await, outside: Outside::new(contents()) }
    }

    pub fn occurrence(&self, job: &str) -> Occurrence {
        Occurrence::of(job, self.db.config.clone()).registry(Registry::with_builtins_and(&self.outside))
    }

    pub async fn run(&self, job: &str) -> Ran {
        self.occurrence(job).run().await.unwrap_or_else(|error| panic!("{job}: {error:?}"))
    }

    /// One attempt of a new job that calls this path.
    pub async fn call(&self, path: &str, more: Value) -> Ran {
        let mut params = json!({ "url": self.server.url(path) });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let job = format!("job-{}", self.db.get::<i64>("SELECT count(*) FROM sexton.job", &[]).await);
        self.db.insert_manual(&job, "http", params).await;
        self.db.execute(&format!("UPDATE sexton.job SET max_attempts = 1 WHERE name = '{job}'")).await;
        self.run(&job).await
    }
}

#[tokio::test]
async fn an_answer_is_kept_with_all_that_one_wants_to_know() {
    let world = World::new().await;
    let body = json!({"full": true, "name": "é"});
    let more = json!({"body": body, "query": {"a": "b c", "n": 1}, "headers": {"X-Own": "1"}});
    let ran = world.call("/ok", more).await;
    assert_eq!(ran.state, "succeeded", "{ran:?}");
    assert_eq!((detail(&ran, "status"), detail(&ran, "body")), (&json!(200), &json!("fine")));
    assert_eq!((detail(&ran, "class"), detail(&ran, "body_goes_on")), (&json!("ok"), &json!(false)));
    assert!(detail(&ran, "headers").as_array().unwrap().contains(&json!(["x-answer", "yes"])));
    assert!(detail(&ran, "duration_ms").is_u64() && detail(&ran, "late_by_ms").is_u64());
    let came = world.server.came();
    let [came] = came.as_slice() else { panic!("one call: {came:?}") };
    assert_eq!((came.method.as_str(), came.query.as_str()), ("POST", "a=b+c&n=1"));
    assert_eq!((came.header("content-type"), came.header("x-own")), ("application/json", "1"));
    assert_eq!(serde_json::from_str::<Value>(&came.body).unwrap(), body);
    assert_eq!(came.header("idempotency-key"), detail(&ran, "idempotency_key").as_str().unwrap());
    assert_eq!(came.header("sexton-token"), "1.1");
}

#[tokio::test]
async fn each_of_the_nine_methods_is_sent() {
    let world = World::new().await;
    for method in Method::ALL {
        let ran = world.call("/ok", json!({"method": method})).await;
        assert_eq!(ran.state, "succeeded", "{method:?} {ran:?}");
        assert_eq!(world.server.came().last().unwrap().method, method.as_str());
    }
}

#[tokio::test]
async fn an_endpoint_is_called_by_its_name() {
    let world = World::new().await;
    let mut known = contents();
    known.http = Default::default();
    let endpoint = Endpoint { url: world.server.url("/v1/"), private_addresses: true, plain_http: true };
    known.endpoints.insert("search".to_owned(), endpoint);
    world.outside.replace(known);
    world
        .db
        .insert_manual("job", "http", json!({"endpoint": "search", "path": "/a/b", "method": "PUT"}))
        .await;
    let ran = world.run("job").await;
    assert_eq!(ran.state, "succeeded", "{ran:?}");
    assert_eq!(world.server.came()[0].path, "/v1/a/b");
}

#[tokio::test]
async fn a_redirect_is_not_followed_but_may_be_a_success() {
    let world = World::new().await;
    let ran = world.call("/redirect", json!({})).await;
    assert_eq!(ran.state, "failed");
    assert!(error(&ran).contains("status 302: redirects are not followed"), "{ran:?}");
    let ran = world.call("/redirect", json!({"ok": ["3xx"]})).await;
    assert_eq!((ran.state.as_str(), detail(&ran, "status")), ("succeeded", &json!(302)));
    let paths: Vec<String> = world.server.came().into_iter().map(|came| came.path).collect();
    assert_eq!(paths, ["/redirect", "/redirect"], "nothing else was asked for");
}

#[tokio::test]
async fn a_failure_keeps_its_answer_and_says_of_which_class_it_is() {
    let world = World::new().await;
    let ran = world.call("/not-there", json!({})).await;
    assert_eq!((ran.state.as_str(), detail(&ran, "class")), ("failed", &json!("http_4xx")));
    assert_eq!((detail(&ran, "status"), detail(&ran, "body")), (&json!(404), &json!("nothing here")));
    let ran = world.call("/not-there", json!({"ok": ["2xx", 404]})).await;
    assert_eq!(ran.state, "succeeded");
    let ran = world.call("/busy", json!({})).await;
    assert_eq!((ran.state.as_str(), detail(&ran, "class")), ("failed", &json!("http_5xx")));
    assert_eq!(detail(&ran, "retry_after_s"), &json!(17));
    let ran = world.call("/broken", json!({})).await;
    assert_eq!((ran.state.as_str(), detail(&ran, "class")), ("failed", &json!("other")), "{ran:?}");
    for path in ["/silent", "/slow-body"] {
        let ran = world.call(path, json!({"timeout": "300ms"})).await;
        assert_eq!((ran.state.as_str(), detail(&ran, "class")), ("failed", &json!("timeout")), "{ran:?}");
    }
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let ran = world.call("", json!({"url": nobody})).await;
    assert_eq!((ran.state.as_str(), detail(&ran, "class")), ("failed", &json!("connect")), "{ran:?}");
}

#[tokio::test]
async fn of_a_large_answer_64_kib_are_read_and_10_kb_kept() {
    let world = World::new().await;
    let ran = world.call("/large", json!({})).await;
    assert_eq!((ran.state.as_str(), detail(&ran, "body_goes_on")), ("succeeded", &json!(true)));
    assert_eq!(detail(&ran, "body_bytes"), &json!(65536));
    assert_eq!(detail(&ran, "body").as_str().unwrap(), "é".repeat(5000));
    // What jsonb cannot hold is replaced.
    let ran = world.call("/zero", json!({})).await;
    assert_eq!(detail(&ran, "body"), &json!("a\u{fffd}b"));
}

#[tokio::test]
async fn a_dry_run_sends_nothing() {
    let world = World::new().await;
    world.db.insert_manual("job", "http", json!({"url": world.server.url("/ok")})).await;
    let options = Options { dry_run: Some(true), ..Options::default() };
    let ran = world.occurrence("job").options(options).run().await.unwrap();
    assert_eq!((ran.state.as_str(), ran.mode.as_str()), ("succeeded", "dry"));
    assert_eq!(detail(&ran, "would_call"), &json!(true));
    assert!(world.server.came().is_empty());
}

#[tokio::test]
async fn private_addresses_and_plain_http_are_refused_unless_allowed() {
    let world = World::new().await;
    let mut known = contents();
    known.http.private_addresses = false;
    world.outside.replace(known);
    let port = world.server.address.port();
    for name in ["127.0.0.1", "localhost"] {
        let ran = world.call("", json!({"url": format!("http://{name}:{port}/ok")})).await;
        assert_eq!(ran.state, "refused", "{ran:?}");
        assert!(error(&ran).contains("an address of this machine or of a private network"), "{ran:?}");
        assert!(error(&ran).contains("private_addresses = true in [http]"), "{ran:?}");
    }
    let mut known = contents();
    known.http.plain_http = false;
    world.outside.replace(known);
    let ran = world.call("/ok", json!({})).await;
    assert!(ran.state == "refused" && error(&ran).contains("plain_http = true"), "{ran:?}");
    // Where clouds keep a machine's credentials: even where private addresses are allowed.
    let mut known = contents();
    known.http.hosts = vec![host("*")];
    world.outside.replace(known);
    let ran = world.call("", json!({"url": "http://169.254.169.254/latest/meta-data/"})).await;
    assert!(ran.state == "refused" && error(&ran).contains("never called"), "{ran:?}");
    assert!(world.server.came().is_empty());
}

#[tokio::test]
async fn a_host_that_is_not_listed_is_left_to_replicas_that_list_it() {
    let world = World::new().await;
    let mut known = contents();
    known.http.hosts = vec![host("*.example.com")];
    // Besides the plan: the client itself refuses too.
    let call = Call {
        target: Target::Url(world.server.url("/ok")),
        method: Method::Get,
        query: Vec::new(),
        headers: Default::default(),
        body: None,
        auth: Auth::None,
        ok: Statuses::default(),
        timeout: Duration::from_secs(5),
        idempotency_key: "key".to_owned(),
        token: None,
    };
    let refused = Client::new(Arc::new(known)).unwrap().send(&call).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{refused}");
    let answer = Client::new(Arc::new(contents())).unwrap().send(&call).await.unwrap();
    assert_eq!(answer.class, Class::Ok);
    assert_eq!(world.server.came().len(), 1);
}

#[tokio::test]
async fn attempts_share_a_key_and_the_token_grows() {
    let world = World::new().await;
    world.server.known.failures.store(1, Ordering::Relaxed);
    world.db.insert_manual("job", "http", json!({"url": world.server.url("/flaky")})).await;
    world.db.execute("UPDATE sexton.job SET backoff = '0'").await;
    let first = world.run("job").await;
    let second = world.run("job").await;
    assert_eq!((first.state.as_str(), second.state.as_str()), ("failed", "succeeded"));
    assert_eq!((first.attempt, second.attempt), (1, 2));
    let third = world.run("job").await;
    assert_eq!(third.attempt, 1, "another occurrence");
    let came = world.server.came();
    let key = |at: usize| came[at].header("idempotency-key");
    assert_eq!(key(0), key(1));
    assert_ne!(key(1), key(2));
    assert!(key(0).ends_with("/call"), "{}", key(0));
    let token =
        |at: usize| came[at].header("sexton-token").strip_prefix("1.").unwrap().parse::<i64>().unwrap();
    assert!(token(0) < token(1) && token(1) < token(2), "{} {} {}", token(0), token(1), token(2));
}

#[tokio::test]
async fn five_failures_in_a_row_pause_the_job_and_one_notice_says_so() {
    let world = World::new().await;
    world.server.known.failures.store(4 + 5, Ordering::Relaxed);
    world.db.insert_manual("job", "http", json!({"url": world.server.url("/flaky")})).await;
    world.db.execute("UPDATE sexton.job SET max_attempts = 1").await;
    let count = "SELECT failure_count FROM sexton.job";
    let paused = "SELECT paused_at IS NOT NULL FROM sexton.job";
    for failures in 1..=4 {
        assert_eq!(world.run("job").await.state, "failed");
        assert_eq!(world.db.get::<i32>(count, &[]).await, failures);
    }
    // A success between them begins the count anew.
    world.server.known.failures.store(0, Ordering::Relaxed);
    assert_eq!(world.run("job").await.state, "succeeded");
    assert_eq!(world.db.get::<i32>(count, &[]).await, 0);
    world.server.known.failures.store(5, Ordering::Relaxed);
    for _ in 1..=5 {
        assert!(!world.db.get::<bool>(paused, &[]).await);
        assert_eq!(world.run("job").await.state, "failed");
    }
    assert!(world.db.get::<bool>(paused, &[]).await);
    let notices = "SELECT count(*) FROM sexton.notice WHERE event = 'paused_itself'";
    assert_eq!(world.db.get::<i64>(notices, &[]).await, 1);
    let error = world.occurrence("job").run().await.unwrap_err();
    assert!(error.to_string().contains("paused"), "{error}");
}

#[tokio::test]
async fn a_call_is_aborted_when_its_session_is_lost_and_repeated_with_the_same_key() {
    let world = World::new().await;
    world.db.insert_manual("job", "http", json!({"url": world.server.url("/hang"), "timeout": "1h"})).await;
    let known = Arc::clone(&world.server.known);
    let run = tokio::spawn(world.occurrence("job").run());
    while !known.hanging.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.db.execute("SELECT pg_terminate_backend(holder_pid) FROM sexton.job").await;
    // The next question, five seconds after the last, meets no session; only then the call is dropped.
    let lost = run.await.unwrap().unwrap();
    assert_eq!(lost.state, "running", "nobody has noticed in the database yet: {lost:?}");
    let aborted = async {
        while !known.abandoned.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), aborted)
        .await
        .expect("the server sees that the caller went away");
    // The next attempt is the same call; this time a person ends it.
    known.hanging.store(false, Ordering::Relaxed);
    let run = tokio::spawn(world.occurrence("job").run());
    while !known.hanging.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.db.execute("SELECT sexton.cancel('job')").await;
    let cancelled = run.await.unwrap().unwrap();
    assert_eq!((cancelled.state.as_str(), cancelled.attempt), ("cancelled", 2));
    let came = world.server.came();
    assert_eq!(came.len(), 2);
    assert_eq!(came[0].header("idempotency-key"), came[1].header("idempotency-key"));
    assert_eq!((came[0].header("sexton-token"), came[1].header("sexton-token")), ("1.1", "1.2"));
}

#[tokio::test]
async fn a_call_is_dropped_while_nobody_else_can_have_the_job_yet() {
    // One that somebody gave us may listen elsewhere than on a socket.
    let own = own_server().await;
    let world = World { db: Db::on(&own).await, ..World::new().await };
    let network = Network::before(&world.db.config).await;
    world.db.insert_manual("job", "http", json!({"url": world.server.url("/hang"), "timeout": "1h"})).await;
    let known = Arc::clone(&world.server.known);
    let registry = Registry::with_builtins_and(&world.outside);
    let run = tokio::spawn(Occurrence::of("job", network.config(&world.db.config)).registry(registry).run());
    while !known.hanging.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // From here on the session gets no answer, and no end of the connection either.
    network.lose_all();
    while !known.abandoned.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The server itself ends the session 15 s after it last heard of it, and only then the lock is free.
    let held = "SELECT coalesce(sexton.lock_holder(lock_id) = holder_pid, false) FROM sexton.job";
    assert!(world.db.get::<bool>(held, &[]).await, "nobody can have begun the next call");
    assert_eq!(
        run.await.unwrap().unwrap().state,
        "running",
        "it was lost, and is for the next attempt to settle"
    );
    assert_eq!(world.server.came().len(), 1);
}

#[tokio::test]
async fn a_replica_that_drains_sees_its_call_through() {
    let world = World::new().await;
    world.db.insert_manual("job", "http", json!({"url": world.server.url("/gate")})).await;
    let runner = Runner::builder(world.db.config.clone())
        .registry(Registry::with_builtins_and(&world.outside))
        .drain_timeout(Duration::from_secs(60))
        .build();
    let shutdown = runner.shutdown();
    let replica = tokio::spawn(runner.run());
    world.db.until("it is planned", "SELECT planned FROM sexton.job", &[]).await;
    world.db.execute("SELECT sexton.run_now('job')").await;
    let known = Arc::clone(&world.server.known);
    while !known.hanging.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    shutdown.drain();
    // A call that was dropped would be so by the time that its caller looks again.
    tokio::task::yield_now().await;
    assert!(!known.abandoned.load(Ordering::Relaxed) && !replica.is_finished());
    known.open.store(true, Ordering::Relaxed);
    replica.await.unwrap().unwrap();
    let states: Vec<String> = world.db.get("SELECT array_agg(state) FROM sexton.run", &[]).await;
    assert_eq!((states, world.server.came().len()), (vec!["succeeded".to_owned()], 1));
}
