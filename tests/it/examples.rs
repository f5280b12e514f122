//! The folders of `examples/`, each by its one command (`examples/try NAME`) against an empty database: the tables are
//! made, the files applied, each job runs once, and then exactly the rows are there that should be.
//!
//! What is easy to get wrong: the script is what users type, so nothing is done for it here but what its head names:
//! DATABASE_URL, SEXTON, and the variables of the example itself.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use axum::{Router, extract::Request};
use tokio_postgres::Client;

use crate::{mail_server::MailServer, storage_node::claims, support::empty_database};

/// An example that was tried out: its database, and what the script said.
struct Tried {
    client: Client,
    conninfo: String,
    said: String,
    data: tempfile::TempDir,
}

/// Set by `scripts/test` on a machine without psql, which the script needs; it counts these tests as skipped.
fn without_psql() -> bool {
    std::env::var_os("SEXTON_WITHOUT_PSQL").is_some()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// Runs a command to its end, without blocking the test's thread; gives what it said, and fails if it failed.
async fn ended(mut command: Command) -> String {
    let output = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output());
    let output = tokio::time::timeout(Duration::from_secs(120), output).await.unwrap().unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{said}", output.status);
    said
}

/// The example by its one command, with variables of its own.
async fn tried(args: &[&str], variables: &[(&str, &str)]) -> Tried {
    let (client, conninfo) = empty_database().await;
    let data = tempfile::tempdir().unwrap();
    let mut command = Command::new(folder().join("try"));
    command.args(args).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("DATABASE_URL", &conninfo).env("SEXTON", env!("CARGO_BIN_EXE_sexton"));
    command.env("EXAMPLE_DATA", data.path()).envs(variables.iter().copied());
    let said = ended(command).await;
    Tried { client, conninfo, said, data }
}

impl Tried {
    /// The values of a query of one text column, joined.
    async fn list(&self, sql: &str) -> String {
        let rows = self.client.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let values: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        values.join(" ")
    }

    /// Waits until a query gives true.
    async fn until(&self, sql: &str) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while !self.client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0) {
            assert!(tokio::time::Instant::now() < deadline, "{sql}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The program against the example's database.
    fn command(&self, args: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sexton"));
        command.args(["--database", &self.conninfo]).args(args).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).envs(variables.iter().copied());
        command
    }

    /// The same to its end.
    async fn sexton(&self, args: &[&str], variables: &[(&str, &str)]) -> String {
        ended(self.command(args, variables)).await
    }
}

#[tokio::test]
async fn mozilla_loses_what_expired_and_what_was_replaced_a_day_ago() {
    if without_psql() {
        return;
    }
    let tried = tried(&["mozilla"], &[]).await;
    // Midnight is that of the run, which may be another than that of the data.
    let items = "SELECT bso_id || '/' || collection_id FROM bsos WHERE bso_id NOT LIKE 'lives-%'
        AND expiry >= (SELECT (report ->> 'cutoff')::timestamptz FROM sexton.run WHERE job_name = 'expired-items') AT TIME ZONE 'UTC'
        ORDER BY 1";
    let left = "SELECT bso_id || '/' || collection_id FROM bsos WHERE bso_id NOT LIKE 'lives-%' ORDER BY 1";
    assert_eq!(tried.list(left).await, tried.list(items).await);
    assert!(["expired-today/7 never/1", "never/1"].contains(&tried.list(left).await.as_str()));
    assert_eq!(tried.list("SELECT count(*)::text FROM bsos WHERE bso_id LIKE 'lives-%'").await, "20");
    let batches = "SELECT batch_id || ':' || count(*) FROM batches JOIN batch_bsos USING (batch_id) GROUP BY batch_id ORDER BY 1";
    assert_eq!(tried.list(batches).await, "begun-later:3 under-way:3");
    assert_eq!(tried.list("SELECT count(*)::text FROM batch_bsos").await, "6");
    let users = "SELECT count(*)::text FROM users";
    assert_eq!(tried.list(users).await, "11", "what calls a node is only planned");
}

/// Users by the first letter of their names; those that were replaced, in small.
const USERS: &str = "SELECT CASE WHEN replaced_at IS NULL THEN upper(left(email, 1)) ELSE left(email, 1) END FROM users ORDER BY uid";

/// The example with two nodes that hear of it: what each was told, `node uid fxa_uid fxa_kid`, in their order.
async fn tried_with_nodes(args: &[&str], variables: &[(&str, &str)]) -> (Tried, Vec<String>) {
    let (tell, mut came) = tokio::sync::mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(move |request: Request| {
        let (path, headers) = (request.uri().path().to_owned(), request.headers());
        let signed = headers.get("authorization").map(|value| value.to_str().unwrap()).unwrap_or_default();
        let claims = claims(signed, address.port(), &path, "master").unwrap_or_default();
        let [node, uid, fxa_uid, fxa_kid] = ["node", "uid", "fxa_uid", "fxa_kid"].map(|name| &claims[name]);
        let base = format!("http://{address}/");
        let node = node.as_str().and_then(|node| node.strip_prefix(&base)).unwrap_or("nobody");
        assert_eq!(path, format!("/{node}/1.5/{uid}"), "{claims}");
        tell.send(format!("{} {node} {uid} {fxa_uid} {fxa_kid}", request.method()).replace('"', "")).unwrap();
        async { "deleted" }
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    let (nodes, moved) = (format!("http://{address}/node%"), format!("http://{address}/node7"));
    let known = [
        ("CALLS", "yes"),
        ("NODES", nodes.as_str()),
        ("MOVED_TO", &moved),
        ("NODE_HOSTS", "127.0.0.1"),
        ("SYNC_MASTER_SECRET", "master"),
    ];
    let tried = tried(args, &[&known, variables].concat()).await;
    let mut calls = Vec::new();
    while let Ok(call) = came.try_recv() {
        calls.push(call);
    }
    (tried, calls)
}

#[tokio::test]
async fn mozillas_records_go_when_their_node_has_deleted_what_it_had() {
    if without_psql() {
        return;
    }
    let (tried, calls) = tried_with_nodes(&["mozilla"], &[]).await;
    assert_eq!(calls, ["DELETE node1 1 a 0000000000001-qqo"]);
    // Records of node 2, which is down, stay without a call; that of a node which is gone goes without one.
    assert_eq!(tried.list(USERS).await, "A b B c C D E f F");
    let report =
        "SELECT concat_ws(' ', r ->> 'called', r ->> 'without_target', r ->> 'target_down', r ->> 'guarded')
        FROM (SELECT report -> 'before_delete' AS r FROM sexton.run WHERE job_name = 'replaced-records') v";
    assert_eq!(tried.list(report).await, "1 1 2 0");
    assert_eq!(tried.list("SELECT row_key FROM sexton.deferred").await, "");
}

#[tokio::test]
async fn mozillas_records_of_nodes_that_were_moved_go_without_harm_to_what_is_in_use() {
    if without_psql() {
        return;
    }
    let (tried, calls) = tried_with_nodes(&["mozilla", "moved.toml"], &[]).await;
    // The present record of f has the same keys: the copy is in use.
    assert_eq!(calls, ["DELETE node7 3 b 0000000000001-qqo"]);
    assert_eq!(tried.list(USERS).await, "a A B c C D e E F");
}

#[tokio::test]
async fn mozilla_in_one_deployment_purges_some_collections_and_a_record_at_a_time() {
    if without_psql() {
        return;
    }
    let (tried, calls) = tried_with_nodes(&["mozilla", "production.toml"], &[("GRACE_PERIOD", "3600")]).await;
    let left = "SELECT bso_id || '/' || collection_id FROM bsos WHERE bso_id = 'long-expired'";
    assert_eq!(tried.list(left).await, "long-expired/12", "another collection's stay");
    assert_eq!((tried.list(USERS).await.as_str(), calls.len()), ("A b B c C D e E f F", 1));
    assert!(tried.said.contains("limit_rows"), "{}", tried.said);
}

/// What stays of each table whose rows say by their name whether they go, and how many of each project.
const APPWRITE: &str = "SELECT name || ':' || string_agg(coalesce(project, '') || coalesce(what, '') || '=' || n, ',' ORDER BY project, what)
    FROM (SELECT name, project::text || '/' AS project, split_part(uid, '-', 1) AS what, count(*) AS n
            FROM (SELECT 'executions', _tenant, _uid FROM appwrite._executions
                  UNION ALL SELECT 'audit', _tenant, _uid FROM appwrite._audit
                  UNION ALL SELECT 'stats', _tenant, _uid FROM appwrite._stats
                  UNION ALL SELECT 'abuse', _tenant, _uid FROM appwrite._abuse
                  UNION ALL SELECT 'cache', _tenant, _uid FROM appwrite._cache
                  UNION ALL SELECT 'sessions', _tenant, _uid FROM appwrite._sessions
                  UNION ALL SELECT 'tokens', _tenant, _uid FROM appwrite._tokens
                  UNION ALL SELECT 'schedules', NULL, _uid FROM appwrite._console_schedules) AS r (name, project, uid)
           GROUP BY 1, 2, 3) AS v
   GROUP BY name ORDER BY name";

#[tokio::test]
async fn appwrite_keeps_each_kind_of_row_as_long_as_it_says_and_calls_its_task() {
    if without_psql() {
        return;
    }
    // An endpoint that tells what came.
    let (tell, mut came) = tokio::sync::mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(move |request: Request| {
        let key = request.headers().get("x-api-key").map(|key| key.to_str().unwrap().to_owned());
        tell.send(format!("{} {} {key:?}", request.method(), request.uri().path())).unwrap();
        async { "sent" }
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    let url = format!("http://{address}/tasks");
    let variables =
        [("CALLS", "yes"), ("TASK_URL", url.as_str()), ("TASK_HOST", "127.0.0.1"), ("TASK_KEY", "k-42")];
    let mut tried = tried(&["appwrite"], &variables).await;

    assert_eq!(came.recv().await.unwrap(), "POST /tasks/newsletter Some(\"k-42\")");
    assert!(came.try_recv().is_err(), "one call");
    let kept = "1/new=40,2/new=40,3/new=40";
    let asleep = "1/new=40,2/new=40,3/new=40,3/old=5";
    assert_eq!(
        tried.list(APPWRITE).await,
        format!(
            "abuse:{kept} audit:{asleep} cache:1/new=41,2/new=40,3/new=40 executions:{asleep} schedules:new=5 \
             sessions:{kept} stats:1/new=40,1/total=2,2/new=40,2/total=2,3/new=40,3/old=5,3/total=2 tokens:{kept}"
        )
    );
    let schedules = "SELECT _uid FROM appwrite._console_schedules ORDER BY _uid";
    assert_eq!(tried.list(schedules).await, "new-active new-elsewhere new-execution new-present new-young");
    delete_a_project(&mut tried).await;
}

/// Its data go if the transaction commits; not if it does not, nor those of a project that is there.
async fn delete_a_project(tried: &mut Tried) {
    let script = std::fs::read_to_string(folder().join("appwrite/delete_project.sql")).unwrap();
    let script = script.replace(":project", "3").replace("'project-' || 3", "'project-3'");
    tried.client.batch_execute(&script.replace("COMMIT;", "ROLLBACK;")).await.unwrap();
    assert_eq!(tried.list("SELECT name FROM sexton.one_offs").await, "");
    tried.client.batch_execute(&script).await.unwrap();
    let there = "SELECT sexton.submit('delete-audit', '{\"project\": 1}', key => 'project-1')";
    tried.client.execute(there, &[]).await.unwrap();
    tried.sexton(&["oneshot", "--quiet"], &[]).await;
    let left = "SELECT name || ':' || string_agg(project || '=' || n, ',' ORDER BY project)
        FROM (SELECT name, project, count(*) AS n
                FROM (SELECT 'executions', _tenant FROM appwrite._executions UNION ALL SELECT 'audit', _tenant FROM appwrite._audit
                      UNION ALL SELECT 'sessions', _tenant FROM appwrite._sessions) AS r (name, project)
               GROUP BY 1, 2) AS v GROUP BY name ORDER BY name";
    assert_eq!(tried.list(left).await, "audit:1=40,2=40 executions:1=40,2=40 sessions:1=40,2=40");
}

#[tokio::test]
async fn appwrites_retentions_come_from_its_variables() {
    if without_psql() {
        return;
    }
    let variables =
        [("_APP_MAINTENANCE_RETENTION_ABUSE", "259200"), ("_APP_MAINTENANCE_START_TIME", "03:30")];
    let tried = tried(&["appwrite"], &variables).await;
    // All are younger than three days.
    assert_eq!(tried.list("SELECT count(*)::text FROM appwrite._abuse").await, "135");
    assert_eq!(tried.list("SELECT count(*)::text FROM appwrite._tokens").await, "120");
    let schedule = "SELECT schedule FROM sexton.job WHERE name = 'abuse'";
    assert_eq!(tried.list(schedule).await, "daily 03:30");
}

#[tokio::test]
async fn spider_purges_cleans_and_mails_the_administrators_once() {
    if without_psql() {
        return;
    }
    let mail = MailServer::start("for-trying-out");
    let url = format!("smtp://{}", mail.address());
    let tried = tried(&["spider"], &[("MAIL_URL", &url)]).await;
    let teams = "SELECT id || array_to_string(whisperers, ',', '-') FROM teams ORDER BY id";
    assert_eq!(tried.list(teams).await, "t1w2,w1,w2 t2w2,w3 t3 t4", "in their order");
    let edited = "SELECT id FROM teams WHERE edited_by = 'maintenance' AND edited_at IS NOT NULL ORDER BY id";
    assert_eq!(tried.list(edited).await, "t1 t3");
    let rights = "SELECT id || ':' || (SELECT string_agg(r ->> 'id', ',') FROM jsonb_array_elements(rights -> 'whisperers') r)
        FROM customers WHERE rights -> 'whisperers' <> '[]' ORDER BY id";
    assert_eq!(tried.list(rights).await, "ada:w1,w3 bob:w2");
    let left = [
        ("customers", "ada bob cyn dan"),
        ("whisperers", "w1 w2 w3 yesterday"),
        ("controllers", "c1 c2"),
        ("links", "l2 l3"),
    ];
    for (table, ids) in left {
        assert_eq!(tried.list(&format!("SELECT id FROM {table} ORDER BY id")).await, ids, "{table}");
    }
    assert_eq!(tried.list("SELECT pod FROM attachments ORDER BY id").await, "still-attached ended-lately");
    assert_eq!(tried.list("SELECT count(*)::text FROM whisperers_status").await, "23");

    let mut told: Vec<String> = mail.received().iter().flat_map(|mail| mail.to.clone()).collect();
    told.sort();
    assert_eq!(
        told,
        ["ada@example.com", "bob@example.com", "cyn@example.com"],
        "not b, who is no administrator of t1"
    );

    // A second run changes nothing and tells nobody.
    let local = folder().join("spider/local.toml");
    let again = ["oneshot", "--quiet", "--config", local.to_str().unwrap(), "clean-teams", "clean-customers"];
    tried.sexton(&again, &[("MAIL_URL", &url), ("MAIL_PASSWORD", "for-trying-out")]).await;
    assert_eq!(mail.received().len(), told.len());
    spider_comes_back(&tried).await;
}

/// The configuration is in the backup: into an empty schema of a new deployment.
async fn spider_comes_back(tried: &Tried) {
    let (client, conninfo) = empty_database().await;
    client
        .batch_execute(&std::fs::read_to_string(folder().join("spider/schema.sql")).unwrap())
        .await
        .unwrap();
    let local = folder().join("spider/local.toml");
    let restore = ["restore", "--storage", "configuration", "--config", local.to_str().unwrap()];
    let restored = Tried { client, conninfo, said: String::new(), data: tempfile::tempdir().unwrap() };
    let place = tried.data.path().to_str().unwrap();
    restored.sexton(&restore, &[("EXAMPLE_DATA", place), ("MAIL_PASSWORD", "none")]).await;
    // It was taken first of all, with what dangled and without what was deleted.
    assert_eq!(restored.list("SELECT id FROM customers ORDER BY id").await, "ada bob cyn");
    assert_eq!(restored.list("SELECT id FROM whisperers ORDER BY id").await, "w1 w2 w3");
    assert_eq!(
        restored.list("SELECT whisperers::text FROM teams WHERE id = 't1'").await,
        "{w2,purged,w1,yesterday,w2}"
    );
}

#[tokio::test]
async fn one_deployment_of_spider_overrides_what_it_names_and_nothing_else() {
    if without_psql() {
        return;
    }
    let mail = MailServer::start("for-trying-out");
    let url = format!("smtp://{}", mail.address());
    let tried = tried(&["spider", "production.toml"], &[("MAIL_URL", &url)]).await;
    let jobs = "SELECT name || '=' || replace(schedule, ' ', '_') || coalesce(':' || replace(params ->> 'retention', ' ', '_'), '')
        FROM sexton.job WHERE name IN ('backup', 'force-merge', 'purge-customers', 'purge-links', 'purge-controllers') ORDER BY name";
    assert_eq!(
        tried.list(jobs).await,
        "backup=manual force-merge=at_start,_then_after_10m purge-controllers=at_start,_then_after_1d:6_months \
         purge-customers=at_start,_then_after_1d:1_year purge-links=at_start,_then_after_1d:1_year"
    );
    assert_eq!(tried.list("SELECT id FROM links ORDER BY id").await, "l1 l2 l3");
    assert_eq!(tried.list("SELECT id FROM customers ORDER BY id").await, "ada bob cyn dan eve");
    assert_eq!(tried.list("SELECT id FROM controllers ORDER BY id").await, "c1 c2");
}

/// A `sexton run` of the example, ended when this is dropped.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn cloudrons_tasks_run_side_by_side_but_never_two_on_one_app() {
    if without_psql() {
        return;
    }
    let tried = tried(&["cloudron"], &[]).await;
    let data = tried.data.path().to_owned();
    let log = || {
        let log = std::fs::read_to_string(data.join("log")).unwrap_or_default();
        let mut lines: Vec<String> = log.lines().map(str::to_owned).collect();
        lines.sort();
        lines.join(", ")
    };
    assert_eq!(
        log(),
        "app-task 1, app-task 2, app-task 3, backup 1, backup 2, backup done, update downloaded, update installed"
    );
    assert_eq!(tried.list("SELECT DISTINCT state FROM sexton.run").await, "succeeded");
    assert_eq!(tried.list("SELECT count(*)::text FROM eventlog").await, "13");
    assert_eq!(tried.list("SELECT id FROM tokens ORDER BY id").await, "valid valid-for-a-while");

    // What the scripts prove it with: somebody else at the app makes them fail.
    let script = folder().join("cloudron/bin/app-task");
    std::fs::create_dir(data.join("app-1")).unwrap();
    let mut second = Command::new("/bin/sh");
    second.arg(&script).arg("1").env("EXAMPLE_DATA", &data).stderr(Stdio::null());
    assert!(!second.status().unwrap().success());
    std::fs::remove_dir(data.join("app-1")).unwrap();

    // App 1 and app 2 wait for one another, so neither ends unless both are at work.
    let hook = data.join("hook");
    let meet = "#!/bin/sh\ncd \"$EXAMPLE_DATA\"; touch \"met-$1\"; n=0\n\
                while [ ! -e met-1 ] || [ ! -e met-2 ]; do n=$((n + 1)); [ $n -lt 3000 ] || exit 1; sleep 0.01; done\n";
    std::fs::write(&hook, meet).unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(data.join("log"), "").unwrap();
    let example = folder().join("cloudron");
    let local = example.join("local.toml");
    let variables = [
        ("EXAMPLE", example.to_str().unwrap()),
        ("EXAMPLE_DATA", data.to_str().unwrap()),
        ("SEXTON", env!("CARGO_BIN_EXE_sexton")),
        ("DATABASE_URL", &tried.conninfo),
    ];
    // Somebody works on app 3 by hand, against updates too.
    let wait = "mkdir \"$0/app-3\"; while [ ! -e \"$0/go\" ]; do sleep 0.01; done; rmdir \"$0/app-3\"";
    let place = data.to_str().unwrap();
    let locks = ["exec", "--lock", "app:3", "--lock", "update", "--shared"];
    let by_hand = [&locks[..], &["--", "sh", "-c", wait, place]].concat();
    let mut by_hand = Running(tried.command(&by_hand, &[]).spawn().unwrap());
    tried.until("SELECT EXISTS (SELECT FROM sexton.resources WHERE name = 'app:3' AND NOT waits)").await;
    let run = || {
        let args = ["run", "--quiet", "--config", local.to_str().unwrap()];
        Running(tried.command(&args, &variables).stdin(Stdio::null()).spawn().unwrap())
    };
    let _boxes = [run(), run()];
    let submit =
        "SELECT sexton.submit('app-task', jsonb_build_object('app', app), key => app || '-' || n)::text
                    FROM unnest('{1,2,1,1,3}'::text[]) WITH ORDINALITY AS a (app, n)";
    tried.client.query(submit, &[]).await.unwrap();
    // Three were there before.
    let done = "SELECT count(*) = 3 + 4 FROM sexton.run
        WHERE job_name LIKE 'app-task%' AND job_name <> 'app-tasks' AND state = 'succeeded'";
    tried.until(done).await;
    assert_eq!(log(), "app-task 1, app-task 1, app-task 1, app-task 2");
    // A full backup, and an update.
    for job in ["full-backup", "update"] {
        tried.client.execute("SELECT sexton.run_now($1)", &[&job]).await.unwrap();
    }
    // The one is not concerned with app 3, the other has done what needs no lock.
    tried
        .until("SELECT count(*) = 2 FROM sexton.run WHERE job_name = 'full-backup' AND state = 'succeeded'")
        .await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !log().contains("update downloaded") {
        assert!(tokio::time::Instant::now() < deadline, "{}", log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!log().contains("update installed") && !log().contains("app-task 3"), "{}", log());
    std::fs::write(data.join("go"), "").unwrap();
    assert!(by_hand.0.wait().unwrap().success());
    let done =
        "SELECT (SELECT count(*) = 2 FROM sexton.run WHERE job_name = 'update' AND state = 'succeeded')
        AND NOT EXISTS (SELECT FROM sexton.one_offs)";
    tried.until(done).await;
    assert_eq!(
        tried.list("SELECT DISTINCT state FROM sexton.run").await,
        "succeeded",
        "nobody met another at an app"
    );
    assert_eq!(
        log(),
        "app-task 1, app-task 1, app-task 1, app-task 2, app-task 3, backup 1, backup 2, backup done, \
         update downloaded, update installed"
    );
}
