//! Creating and upgrading the schema: by one and by many, with the roles and without.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use sexton::{
    ErrorKind,
    edge::{
        cluster::Cluster,
        migrate::{self, Options, Progress, Roles, Status},
    },
    protocol::connect::Connector,
};

use super::support::{empty, migrated};

/// Who owns Sexton's functions.
const OWNERS: &str = "SELECT string_agg(DISTINCT proowner::regrole::text, ',') FROM pg_proc \
    WHERE pronamespace = 'sexton'::regnamespace";

fn one_role() -> Options {
    Options { roles: Roles::One, ..Options::default() }
}

#[tokio::test]
async fn migrating_twice_changes_nothing() {
    let database = empty().await;
    assert_eq!(migrate::check(&database.client).await.expect("it can be asked"), Status::Absent);
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    let listen = move |what| listener.lock().expect("nobody panicked").push(what);
    let done = sexton::migrate(&database.connector, &Options::default(), listen).await.expect("it migrates");
    let first = Progress::Applying { name: done.applied[0].clone() };
    assert_eq!(told.lock().expect("nobody panicked").first(), Some(&first));
    let status = migrate::check(&database.client).await.expect("it can be asked");
    assert!(matches!(status, Status::UpToDate { .. }), "{status:?}");
    let again =
        sexton::migrate(&database.connector, &Options::default(), |_| {}).await.expect("it migrates again");
    assert!(again.applied.is_empty(), "{again:?}");
}

#[tokio::test]
async fn twenty_may_migrate_at_once() {
    let database = empty().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let connector = database.connector.clone();
        tasks.spawn(async move { sexton::migrate(&connector, &Options::default(), |_| {}).await });
    }
    let done: Vec<_> = tasks.join_all().await.into_iter().map(|done| done.expect("all succeed")).collect();
    let worked: Vec<_> = done.iter().filter(|done| !done.applied.is_empty()).collect();
    assert_eq!(worked.len(), 1, "one applies, the others find it done");
}

#[tokio::test]
async fn the_databases_of_one_cluster_may_be_migrated_at_once() {
    // Roles are the cluster's: in a fresh one all of these create them.
    let cluster = Cluster::builder().start().await.expect("a private cluster starts");
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let name = format!("tenant{number}");
        cluster.create_database(&name).await.expect("a database can be created");
        let connector = Connector::from(cluster.config(&name));
        tasks.spawn(async move { sexton::migrate(&connector, &Options::default(), |_| {}).await });
    }
    for done in tasks.join_all().await {
        assert_eq!(done.expect("all succeed").owner, "sexton_owner");
    }
}

#[tokio::test]
async fn definer_functions_belong_to_the_owner_and_not_to_a_superuser() {
    let database = migrated().await;
    assert_eq!(database.text(OWNERS).await, "sexton_owner");
    let public = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'sexton'::regnamespace AND has_function_privilege('public', oid, 'EXECUTE')";
    assert_eq!(database.text(public).await, "0");
}

#[tokio::test]
async fn a_viewer_can_check_and_a_stranger_learns_what_is_missing() {
    let database = migrated().await;
    let viewer = database.login("sexton_viewer").await.open("test", &[]).await.expect("a session");
    let status = migrate::check(&viewer.client).await.expect("SELECT is enough");
    assert!(status.is_complete(), "{status:?}");
    database.run(&format!("CREATE ROLE stranger_{} LOGIN", database.name)).await;
    let stranger = database.as_role(&format!("stranger_{}", database.name)).await;
    let session = stranger.open("test", &[]).await.expect("a session");
    let error = migrate::check(&session.client).await.expect_err("it may not");
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(
        error.remedy().is_some_and(|remedy| remedy.contains("GRANT USAGE ON SCHEMA sexton")),
        "{error:?}"
    );
    let error =
        sexton::migrate(&stranger, &Options::default(), |_| {}).await.expect_err("nor may it migrate");
    assert!(error.to_string().contains("belongs to sexton_owner"), "{error}");
}

#[tokio::test]
async fn an_owner_of_a_database_alone_gets_one_role_and_is_told() {
    let cluster = Cluster::builder().start().await.expect("a private cluster starts");
    let root = Connector::from(cluster.config("postgres")).open("test", &[]).await.expect("a session");
    root.client.batch_execute("CREATE ROLE app LOGIN").await.expect("it is a superuser");
    root.client.batch_execute("CREATE DATABASE app OWNER app").await.expect("it is a superuser");
    let mut config = cluster.config("app");
    config.user("app");
    let connector = Connector::from(config);
    let done = sexton::migrate(&connector, &Options::default(), |_| {}).await.expect("it migrates");
    assert_eq!(done.owner, "app");
    assert!(done.notes[0].contains("may not create the group roles"), "{:?}", done.notes);
    let client = connector.open("test", &[]).await.expect("a session").client;
    let row = client.query_one("SELECT sexton.pause_all('test')", &[]).await.expect("the one role may all");
    assert!(row.get::<_, &str>(0).contains("halted"));
}

#[tokio::test]
async fn whoever_may_create_roles_needs_not_be_a_superuser() {
    let cluster = Cluster::builder().start().await.expect("a private cluster starts");
    let root = Connector::from(cluster.config("postgres")).open("test", &[]).await.expect("a session");
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..4 {
        // Members of nothing yet: each is granted the owner's role, at the same moment.
        let name = format!("app{number}");
        root.client
            .batch_execute(&format!("CREATE ROLE {name} LOGIN CREATEROLE"))
            .await
            .expect("it is a superuser");
        root.client
            .batch_execute(&format!("CREATE DATABASE {name} OWNER {name}"))
            .await
            .expect("it is a superuser");
        let mut config = cluster.config(&name);
        config.user(&name);
        tasks.spawn(
            async move { sexton::migrate(&Connector::from(config), &Options::default(), |_| {}).await },
        );
    }
    let done: Vec<_> = tasks.join_all().await.into_iter().map(|done| done.expect("all succeed")).collect();
    let grouped = done.iter().filter(|done| done.owner == "sexton_owner" && done.notes.is_empty()).count();
    // From 16 on a role belongs to who created it; the others cannot act as it, and are told.
    let expected = if cluster.binaries().version.major >= 16 { 1 } else { 4 };
    assert_eq!(grouped, expected, "{done:?}");
    assert!(done.iter().all(|done| (done.owner == "sexton_owner") == done.notes.is_empty()), "{done:?}");
}

#[tokio::test]
async fn a_schema_of_one_role_stays_so() {
    let database = empty().await;
    let done = sexton::migrate(&database.connector, &one_role(), |_| {}).await.expect("it migrates");
    assert_eq!(done.owner, "postgres");
    let again = sexton::migrate(&database.connector, &Options::default(), |_| {}).await.expect("it migrates");
    assert_eq!(again.owner, "postgres");
    assert!(again.notes[0].contains("it stays so"), "{:?}", again.notes);
}

#[tokio::test]
async fn what_is_printed_does_the_same() {
    for roles in [Roles::Groups, Roles::One] {
        let database = empty().await;
        let script = migrate::print(&Status::Absent, roles).expect("it can be printed");
        database.run(&script).await;
        let owner = if roles == Roles::Groups { "sexton_owner" } else { "postgres" };
        assert_eq!(database.text(OWNERS).await, owner);
        let status = migrate::check(&database.client).await.expect("it can be asked");
        assert!(matches!(status, Status::UpToDate { .. }), "{status:?}");
        let done =
            sexton::migrate(&database.connector, &Options::default(), |_| {}).await.expect("nothing is left");
        assert!(done.applied.is_empty(), "{done:?}");
        assert_eq!(migrate::print(&status, roles).expect("nothing to do"), "");
    }
}

#[tokio::test]
async fn waiting_ends_when_the_other_is_done() {
    let database = empty().await;
    let other = database.connector.open("other", &[]).await.expect("a session");
    let key = i64::from_be_bytes(*b"sexton\x00\x01");
    other.client.query_one("SELECT pg_advisory_lock($1)", &[&key]).await.expect("it is free");
    let (sender, mut waits) = tokio::sync::mpsc::unbounded_channel();
    let connector = database.connector.clone();
    let task = tokio::spawn(async move {
        let options = Options { lock_timeout: Duration::from_secs(60), ..Options::default() };
        sexton::migrate(&connector, &options, move |what| drop(sender.send(what))).await
    });
    let Some(Progress::Waiting { holder }) = waits.recv().await else { panic!("it waits first") };
    assert!(holder.contains("\"other\""), "{holder}");
    drop(other);
    task.await.expect("no panic").expect("it migrates then");
}
