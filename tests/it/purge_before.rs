//! Purges that call for each row before it goes, against storage nodes that verify Hawk: which calls are made, which rows
//! go, and what becomes of the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::Response,
};
use hawk::{DigestAlgorithm, Header, Key, RequestBuilder};
use serde_json::{Value, json};
use sexton::{
    Registry,
    kind::Options,
    outside::{Contents, Outside, Secret, http::HostPattern, secrets::Known},
    testing::{Occurrence, Ran},
};
use tokio::sync::Notify;

use crate::{
    purge_support::detail,
    storage_node,
    support::{Db, Replica},
};

const MASTER: &str = "Ted Koppel is a robot";

/// How a node answers.
#[derive(Clone, Debug)]
enum Mood {
    Status(u16),
    RetryAfter(u64),
    /// This many times 503, then well.
    Flaky(u32),
    /// Not until the test lets it.
    Gate(Arc<Notify>, Arc<Notify>),
}

/// A call that came.
#[derive(Clone, Debug)]
struct Came {
    node: String,
    uid: i64,
    status: u16,
    key: String,
    token: String,
}

#[derive(Default)]
struct Nodes {
    port: u16,
    moods: Mutex<BTreeMap<String, Mood>>,
    came: Mutex<Vec<Came>>,
}

async fn answer(State(nodes): State<Arc<Nodes>>, request: Request) -> Response<Body> {
    let (request, _) = request.into_parts();
    let path = request.uri.path().to_owned();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let [node, "1.5", uid] = parts.as_slice() else { panic!("{path}") };
    let header = |name: &str| {
        request.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    let came = |status| Came {
        node: (*node).to_owned(),
        uid: uid.parse().unwrap(),
        status,
        key: header("idempotency-key"),
        token: header("sexton-token"),
    };
    let mood = {
        let mut moods = nodes.moods.lock().unwrap();
        let mood = moods.get(*node).cloned();
        if let Some(Mood::Flaky(left)) = moods.get_mut(*node) {
            *left = left.saturating_sub(1);
        }
        mood
    };
    let base = format!("http://127.0.0.1:{}/{node}", nodes.port);
    let good = request.method == "DELETE"
        && verified(&header("authorization"), nodes.port, &path, uid.parse().unwrap(), &base);
    let mut response = Response::builder();
    let status = match mood {
        _ if !good => 401,
        None | Some(Mood::Flaky(0)) => 204,
        Some(Mood::Flaky(_)) => 503,
        Some(Mood::Status(status)) => status,
        Some(Mood::RetryAfter(seconds)) => {
            response = response.header("retry-after", seconds);
            429
        }
        Some(Mood::Gate(arrived, open)) => {
            nodes.came.lock().unwrap().push(came(0));
            arrived.notify_one();
            open.notified().await;
            204
        }
    };
    nodes.came.lock().unwrap().push(came(status));
    response.status(status).body(Body::empty()).unwrap()
}

/// What a storage node checks: the MAC by the key of the token, the token's signature, and whose token it is.
fn verified(authorization: &str, port: u16, path: &str, uid: i64, base: &str) -> bool {
    let Some(header) = authorization.strip_prefix("Hawk ") else { return false };
    let header: Header = header.parse().unwrap();
    let Some((claims, key)) = storage_node::opened(header.id.as_deref().unwrap(), MASTER) else {
        return false;
    };
    let request = RequestBuilder::new("DELETE", "127.0.0.1", port, path).request();
    let key = Key::new(key, DigestAlgorithm::Sha256).unwrap();
    (claims["uid"].as_i64(), claims["node"].as_str()) == (Some(uid), Some(base))
        && claims["fxa_uid"] == format!("u{uid}")
        && request.validate_header(&header, &key, Duration::from_secs(60))
}

/// Nodes, users that were replaced, and a purge of these.
struct World {
    db: Db,
    nodes: Arc<Nodes>,
    outside: Outside,
}

impl World {
    async fn new() -> World {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nodes = Arc::new(Nodes { port: listener.local_addr().unwrap().port(), ..Nodes::default() });
        let app = Router::new().fallback(answer).with_state(Arc::clone(&nodes));
        tokio::spawn(async move { axum::serve(listener, app).await });
        let mut contents = Contents::default();
        contents.http.hosts = vec![HostPattern::parse("127.0.0.1").unwrap()];
        (contents.http.private_addresses, contents.http.plain_http) = (true, true);
        let hosts = vec![HostPattern::parse("127.0.0.1").unwrap()];
        contents.secrets.add("master", Known { secret: Secret::new(MASTER), hosts });
        let db = Db::new().await;
        db.execute(&format!(
            "CREATE TABLE nodes (id bigint PRIMARY KEY, node text, downed int NOT NULL DEFAULT 0, load int NOT NULL DEFAULT 1000);
             INSERT INTO nodes (id, node) SELECT i, 'http://127.0.0.1:{}/n' || i FROM generate_series(1, 3) i;
             CREATE TABLE users (uid bigint PRIMARY KEY, email text NOT NULL, nodeid bigint, replaced_at timestamptz, note text);
             CREATE INDEX ON users (replaced_at);",
            nodes.port
        ))
        .await;
        World { db, nodes, outside: Outside::new(contents) }
    }

    /// Users of a node, replaced so many days ago.
    async fn users(&self, uids: std::ops::RangeInclusive<i64>, node: Option<i64>, days: i32) {
        let sql = "INSERT INTO users SELECT i, 'u' || i || '@a.example', $3, now() - $4 * interval '1 day' - i * interval '1 s' FROM generate_series($1::bigint, $2) i";
        self.db.client.execute(sql, &[uids.start(), uids.end(), &node, &f64::from(days)]).await.unwrap();
    }

    async fn job(&self, more: Value) {
        let mut before = json!({
            "url": "{target.node}/1.5/{uid}",
            "auth": {"tokenlib": {"secret": "secret:master", "token": {"uid": "{uid}", "node": "{target.node}", "fxa_uid": "{fxa_uid}"}}},
            "columns": {"fxa_uid": "split_part(email, '@', 1)"},
            "target": {"table": "nodes", "column": "nodeid", "key": "id", "down": "downed > 0"},
            "retries": 0,
        });
        before.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let params = json!({"table": "users", "by": "replaced_at", "retention": "30 days", "max_fraction": 1, "vacuum": "never", "before_delete": before});
        let sql = "INSERT INTO sexton.job (name, kind, params) VALUES ('j', 'purge', $1)
                   ON CONFLICT (name) DO UPDATE SET params = excluded.params";
        self.db.client.execute(sql, &[&params]).await.unwrap();
        self.db.verb("arm", "j").await;
    }

    fn occurrence(&self) -> Occurrence {
        Occurrence::of("j", self.db.config.clone()).registry(Registry::with_builtins_and(&self.outside))
    }

    async fn succeed(&self) -> Ran {
        let ran = self.occurrence().run().await.unwrap();
        assert_eq!((ran.state.as_str(), ran.error.as_deref()), ("succeeded", None), "{:?}", ran.report);
        ran
    }

    /// The same, once more.
    async fn again(&self) -> Ran {
        self.db.verb("run_now", "j").await;
        self.succeed().await
    }

    fn mood(&self, node: &str, mood: Option<Mood>) {
        let mut moods = self.nodes.moods.lock().unwrap();
        match mood {
            Some(mood) => moods.insert(node.to_owned(), mood),
            None => moods.remove(node),
        };
    }

    fn came(&self) -> Vec<Came> {
        self.nodes.came.lock().unwrap().clone()
    }

    /// Waits until so many calls came.
    async fn until_came(&self, calls: usize) {
        let wait = async {
            while self.came().len() < calls {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("they come");
    }

    async fn uids(&self) -> Vec<i64> {
        self.db.get("SELECT coalesce(array_agg(uid ORDER BY uid), '{}') FROM users", &[]).await
    }
}

#[tokio::test]
async fn each_old_row_goes_with_its_call_and_no_other() {
    let world = World::new().await;
    world.users(1..=700, Some(1), 40).await;
    world.users(701..=1200, Some(2), 40).await;
    world.users(1201..=1210, None, 40).await;
    // A node that is not there any more.
    world.users(1211..=1213, Some(77), 40).await;
    world.users(2001..=2050, Some(1), 10).await;
    world.job(json!({})).await;
    let ran = world.succeed().await;
    assert_eq!((ran.rows, detail(&ran, "/deferred")), (1213, &json!(0)));
    assert_eq!(world.uids().await, (2001..=2050).collect::<Vec<_>>());
    let came = world.came();
    assert!(came.iter().all(|came| came.status == 204 && came.token == "1.1"), "{:?}", came.first());
    let called: BTreeSet<(String, i64)> = came.iter().map(|came| (came.node.clone(), came.uid)).collect();
    let expected: BTreeSet<(String, i64)> =
        (1..=1200).map(|uid| (if uid <= 700 { "n1" } else { "n2" }.to_owned(), uid)).collect();
    assert_eq!((called, came.len()), (expected, 1200));
    let keys: BTreeSet<&str> = came.iter().map(|came| came.key.as_str()).collect();
    assert_eq!(keys.len(), 1200);
    let told = detail(&ran, "/before_delete");
    let base = |node| format!("http://127.0.0.1:{}/{node}", world.nodes.port);
    assert_eq!((&told["called"], &told["without_target"]), (&json!(1200), &json!(13)), "{told}");
    assert_eq!(told["targets"][base("n1")], json!({"ok": 700, "failed": 0}), "{told}");
}

#[tokio::test]
async fn rows_of_a_node_that_fails_wait_and_those_behind_them_go() {
    let world = World::new().await;
    // Ahead of the others in every order.
    world.users(1..=12, Some(1), 50).await;
    world.users(13..=17, Some(2), 40).await;
    world.job(json!({"breaker": 3, "per_target": 1, "defer": "1h"})).await;
    world.mood("n1", Some(Mood::Status(507)));
    let ran = world.succeed().await;
    assert_eq!(world.uids().await, (1..=12).collect::<Vec<_>>());
    assert_eq!((ran.rows, detail(&ran, "/deferred")), (5, &json!(12)), "{:?}", ran.report);
    let failed = world.came().iter().filter(|came| came.status == 507).count();
    assert_eq!(failed, 3, "then it was left alone");
    let rounds: Vec<i32> =
        world.db.get("SELECT array_agg(attempts ORDER BY attempts) FROM sexton.deferred", &[]).await;
    assert_eq!(rounds, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1]);
    // Not due: nobody is called, though the node is well again.
    world.mood("n1", None);
    let ran = world.again().await;
    assert_eq!((ran.rows, detail(&ran, "/deferred"), world.came().len()), (0, &json!(12), 8));
    world.db.execute("UPDATE sexton.deferred SET next_try = now() - interval '1 s'").await;
    let ran = world.again().await;
    assert_eq!((ran.rows, detail(&ran, "/deferred"), world.came().len()), (12, &json!(0), 20));
    // A row that was called again was called under the same key, by a later holder.
    let mut keys: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
    world.came().into_iter().for_each(|came| {
        keys.entry(came.uid).or_default().insert(came.key);
    });
    assert!(keys.len() == 17 && keys.values().all(|keys| keys.len() == 1), "{keys:?}");
    let token = |came: Option<&Came>| came.unwrap().token.strip_prefix("1.").unwrap().parse::<u32>().unwrap();
    let came = world.came();
    assert!(token(came.first()) < token(came.last()), "{:?}", came.last());
}

/// Rows, each with when it is tried again: after how many hours, or never.
async fn waiting(world: &World) -> Vec<(i64, String, i32, Option<f64>)> {
    let sql = "SELECT (row_key::jsonb ->> 0)::bigint, class, attempts,
                      extract(epoch FROM nullif(next_try, 'infinity') - last_at)::float8 / 3600 FROM sexton.deferred ORDER BY 1";
    let rows = world.db.client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
}

#[tokio::test]
async fn what_fails_for_good_is_not_repeated_and_none_is_for_ever() {
    let world = World::new().await;
    world.users(1..=1, Some(1), 40).await;
    world.users(2..=2, Some(2), 40).await;
    world.users(3..=3, Some(3), 40).await;
    world.mood("n1", Some(Mood::Status(401)));
    world.mood("n2", Some(Mood::Status(507)));
    world.mood("n3", Some(Mood::RetryAfter(7200)));
    world.job(json!({"retries": 2, "give_up_after": 3, "defer": "10m"})).await;
    world.succeed().await;
    let calls = |node: &str| world.came().iter().filter(|came| came.node == node).count();
    assert_eq!((calls("n1"), calls("n2"), calls("n3")), (1, 3, 1), "507 alone is repeated at once");
    let found = waiting(&world).await;
    let [(1, unauthorized, 1, Some(a)), (2, full, 1, Some(b)), (3, busy, 1, Some(c))] = found.as_slice()
    else {
        panic!("{found:?}")
    };
    assert_eq!((unauthorized.as_str(), full.as_str(), busy.as_str()), ("http_4xx", "http_5xx", "http_4xx"));
    assert!((19.0..29.0).contains(a), "a day: {a}");
    assert!((0.12..0.21).contains(b), "ten minutes: {b}");
    assert!((1.99..2.1).contains(c), "as it asked for: {c}");
    for round in 2..=3 {
        world.db.execute("UPDATE sexton.deferred SET next_try = now() - interval '1 s'").await;
        let ran = world.again().await;
        assert_eq!((ran.rows, detail(&ran, "/deferred")), (0, &json!(3)), "{round}");
    }
    let found = waiting(&world).await;
    assert!(found.iter().all(|(.., attempts, next)| (*attempts, next) == (3, &None)), "{found:?}");
    let ran = world.again().await;
    assert_eq!(detail(&ran, "/before_delete/given_up"), &json!(3));
    assert_eq!(calls("n1"), 3, "it is not tried any more");
    // Until an author forces it.
    ["n1", "n2", "n3"].into_iter().for_each(|node| world.mood(node, None));
    let options = Options { force: Some(true), ..Options::default() };
    let ran = world.occurrence().options(options).run().await.unwrap();
    assert_eq!((ran.rows, detail(&ran, "/deferred")), (3, &json!(0)), "{ran:?}");
}

#[tokio::test]
async fn a_call_that_fails_in_passing_is_repeated_at_once() {
    let world = World::new().await;
    world.users(1..=1, Some(1), 40).await;
    world.mood("n1", Some(Mood::Flaky(2)));
    world.job(json!({"retries": 2})).await;
    let ran = world.succeed().await;
    assert_eq!((ran.rows, detail(&ran, "/deferred")), (1, &json!(0)));
    let statuses: Vec<u16> = world.came().iter().map(|came| came.status).collect();
    let keys: BTreeSet<String> = world.came().into_iter().map(|came| came.key).collect();
    assert_eq!((statuses, keys.len()), (vec![503, 503, 204], 1));
}

#[tokio::test]
async fn down_nodes_guards_and_another_address() {
    let world = World::new().await;
    world.users(1..=12, Some(1), 50).await;
    world.users(13..=17, Some(2), 40).await;
    world.users(18..=20, Some(1), 40).await;
    world.users(21..=22, None, 40).await;
    world.db.execute("UPDATE nodes SET downed = 1 WHERE id = 1; UPDATE users SET note = 'active' WHERE uid IN (3, 15, 21)").await;
    let guard = "note = 'active'";
    world.job(json!({"guard": guard})).await;
    world.db.verb("disarm", "j").await;
    let (n1, n2) = (
        format!("http://127.0.0.1:{}/n1", world.nodes.port),
        format!("http://127.0.0.1:{}/n2", world.nodes.port),
    );
    let ran = world.succeed().await;
    assert_eq!(
        detail(&ran, "/before_delete"),
        &json!({"would_call": 4, "targets": {n2.clone(): 4}, "targets_down": {n1.clone(): 14}, "guarded": 3, "without_target": 1, "waiting": 0}),
    );
    assert_eq!((world.came().len(), world.uids().await.len()), (0, 22));
    world.db.verb("arm", "j").await;
    let ran = world.again().await;
    let told = detail(&ran, "/before_delete");
    assert_eq!(
        (ran.rows, &told["called"], &told["guarded"], &told["target_down"]),
        (8, &json!(4), &json!(3), &json!(14)),
        "{told}"
    );
    assert_eq!(told["targets_down"][&n1], 14, "{told}");
    assert!(world.came().iter().all(|came| came.node == "n2" && came.uid != 15), "{:?}", world.came());
    // Its data was moved to node 3, and the others are called whatever the table says.
    world.job(json!({"guard": guard, "force": true, "override": format!("http://127.0.0.1:{}/n3", world.nodes.port)})).await;
    let ran = world.again().await;
    assert_eq!((ran.rows, world.uids().await.len()), (14, 0), "{:?}", ran.report);
    assert_eq!(world.came().iter().filter(|came| came.node == "n3" && came.status == 204).count(), 14);
}

#[tokio::test]
async fn what_else_a_deletion_does_is_done_once_and_with_it() {
    let world = World::new().await;
    world.users(1..=30, Some(1), 40).await;
    world.users(31..=40, Some(2), 40).await;
    world.mood("n2", Some(Mood::Status(500)));
    let on_delete = "UPDATE nodes SET load = load - gone.n FROM (SELECT nodeid, count(*) AS n FROM deleted GROUP BY 1) AS gone WHERE nodes.id = gone.nodeid";
    world.job(json!({"on_delete": on_delete})).await;
    // Lost between the calls and their transaction: the position is stored first, then comes the first batch.
    let lost = world.occurrence().kill_after_batches(1).run().await.unwrap();
    assert_eq!((lost.state.as_str(), world.uids().await.len()), ("running", 40));
    assert!(world.came().len() >= 30, "it was called");
    let ran = world.succeed().await;
    assert_eq!((ran.attempt, ran.rows, world.uids().await), (2, 30, (31..=40).collect::<Vec<_>>()));
    let load: Vec<i32> = world.db.get("SELECT array_agg(load ORDER BY id) FROM nodes", &[]).await;
    assert_eq!(load, [970, 1000, 1000]);
    let again: Vec<Came> = world.came().into_iter().filter(|came| came.uid <= 30).collect();
    let keys: BTreeSet<&str> = again.iter().map(|came| came.key.as_str()).collect();
    assert_eq!((again.len(), keys.len()), (60, 30), "each call was repeated under its key");
}

#[tokio::test]
async fn a_row_that_changes_while_it_is_called_for_stays() {
    let world = World::new().await;
    let (arrived, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    world.users(1..=4, Some(1), 40).await;
    world.mood("n1", Some(Mood::Gate(Arc::clone(&arrived), Arc::clone(&open))));
    world.job(json!({"per_target": 4, "guard": "note = 'active'"})).await;
    let run = tokio::spawn(world.occurrence().run());
    world.until_came(4).await;
    let running: i64 = world.db.get("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%' AND datname = current_database()", &[]).await;
    assert_eq!(running, 0, "no transaction is open meanwhile");
    world.db.execute("UPDATE users SET replaced_at = now() WHERE uid = 1; UPDATE users SET nodeid = 2 WHERE uid = 2; UPDATE users SET note = 'x' WHERE uid = 3").await;
    (0..4).for_each(|_| open.notify_one());
    let open = Arc::clone(&open);
    let opening = tokio::spawn(async move {
        loop {
            open.notify_waiters();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let ran = run.await.unwrap().unwrap();
    opening.abort();
    assert_eq!((ran.state.as_str(), ran.rows, world.uids().await), ("succeeded", 2, vec![1, 2]));
    assert_eq!(detail(&ran, "/before_delete/changed_meanwhile"), &json!(2));
}

#[tokio::test]
async fn a_cancel_ends_a_call_and_no_row_goes() {
    let world = World::new().await;
    let (arrived, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    world.users(1..=4, Some(1), 40).await;
    world.mood("n1", Some(Mood::Gate(arrived, open)));
    world.job(json!({})).await;
    let run = tokio::spawn(world.occurrence().run());
    world.until_came(4).await;
    world.db.verb("cancel", "j").await;
    let ran = run.await.unwrap().unwrap();
    assert_eq!((ran.state.as_str(), ran.rows, world.uids().await.len()), ("cancelled", 0, 4));
}

#[tokio::test]
async fn four_replicas_make_the_calls_of_one() {
    let world = World::new().await;
    world.users(1..=400, Some(1), 40).await;
    world.users(401..=800, Some(2), 40).await;
    let on_delete = "UPDATE nodes SET load = load - gone.n FROM (SELECT nodeid, count(*) AS n FROM deleted GROUP BY 1) AS gone WHERE nodes.id = gone.nodeid";
    world.job(json!({"on_delete": on_delete})).await;
    let registry = || Registry::with_builtins_and(&world.outside);
    let replicas: Vec<_> =
        (0..4).map(|_| Replica::with(&world.db, |builder| builder.registry(registry()))).collect();
    world.db.verb("run_now", "j").await;
    world.db.until_outcomes("j", "succeeded").await;
    for replica in replicas {
        replica.drain().await;
    }
    assert_eq!((world.came().len(), world.uids().await.len()), (800, 0));
    let load: Vec<i32> = world.db.get("SELECT array_agg(load ORDER BY id) FROM nodes", &[]).await;
    assert_eq!(load, [600, 600, 1000]);
}

#[tokio::test]
async fn secrets_are_in_no_table_and_wrong_parameters_are_named() {
    let world = World::new().await;
    world.users(1..=2, Some(1), 40).await;
    world.mood("n1", Some(Mood::Status(500)));
    world.job(json!({})).await;
    world.succeed().await;
    let tables: Vec<String> = world.db.get("SELECT array_agg(c.oid::regclass::text) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'sexton' AND relkind = 'r'", &[]).await;
    assert!(tables.contains(&"sexton.deferred".to_owned()));
    for table in tables {
        let found: i64 = world
            .db
            .get(
                &format!("SELECT count(*) FROM {table} AS t WHERE t::text LIKE '%' || $1 || '%'"),
                &[&MASTER],
            )
            .await;
        assert_eq!(found, 0, "{table}");
    }
    for (more, says) in [
        (json!({"guard": "nope = 1"}), "params.before_delete.guard: column \"nope\" does not exist"),
        (json!({"guard": "uid"}), "params.before_delete.guard: is of type int8, not boolean"),
        (json!({"url": "{target.node}/{nope}"}), "params.before_delete.url: public.users has no column nope"),
        (json!({"on_delete": "UPDATE nope SET a = 1"}), "params.before_delete.on_delete"),
        (
            json!({"target": {"table": "nope", "column": "nodeid", "key": "id"}}),
            "params.before_delete.target.key: there is no table nope",
        ),
        (
            json!({"target": {"table": "nodes", "column": "nodeid", "key": "id", "down": "id"}}),
            "params.before_delete.target.down: is of type int8",
        ),
    ] {
        world.job(more).await;
        let ran = world.occurrence().run().await.unwrap();
        assert_eq!(ran.state, "refused");
        assert!(ran.error.as_deref().unwrap().contains(says), "{:?} does not say {says}", ran.error);
    }
}

#[tokio::test]
async fn a_row_that_somebody_has_locked_keeps_no_other() {
    let world = World::new().await;
    world.users(1..=10, Some(1), 40).await;
    world.job(json!({})).await;
    let theirs = world.db.session().await;
    theirs.batch_execute("BEGIN; SELECT FROM users WHERE uid = 4 FOR UPDATE").await.unwrap();
    let ran = world.succeed().await;
    assert_eq!((ran.rows, world.uids().await, world.came().len()), (9, vec![4], 10));
    theirs.batch_execute("COMMIT").await.unwrap();
    let ran = world.again().await;
    assert_eq!((ran.rows, world.came().len()), (1, 11));
}
