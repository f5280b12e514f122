//! Other databases that are not to be had, and what people are told.

use serde_json::json;

use crate::{
    databases_support::{World, fenced, knowing},
    support::{Db, Steps, own_server},
};

impl World {
    /// Two databases, the other one without a fence.
    async fn without_fence() -> World {
        World { home: Db::new().await, there: Db::new().await }
    }
}

#[tokio::test]
async fn without_a_fence_the_run_fails_and_says_what_to_do() {
    let world = World::without_fence().await;
    world.steps(json!({"steps": 1})).await;
    let ran = world.run().await;
    let error = ran.error.unwrap();
    assert_eq!(ran.state, "failed");
    assert!(
        error.starts_with("job job: database \"archive\": has no schema sexton_fence that this program"),
        "{error}"
    );
    assert!(error.contains("sexton migrate --fence"), "{error}");
    assert!(world.home.job::<bool>("job", "due_at > now() AND attempt = 1").await, "after the backoff");
    fenced(&world.there).await;
    fenced(&world.there).await;
    world.home.execute("UPDATE sexton.job SET due_at = now()").await;
    assert_eq!(world.run().await.state, "succeeded");
    assert_eq!(world.there.steps("job").await, "1");
}

#[tokio::test]
async fn a_fence_of_another_version_is_none() {
    let world = World::new().await;
    world
        .there
        .execute("ALTER FUNCTION sexton_fence.install(uuid, bigint, text, bigint, bigint, uuid) RENAME TO install_v0")
        .await;
    world.steps(json!({"steps": 1})).await;
    let error = world.run().await.error.unwrap();
    assert!(error.contains("that this program can work with"), "{error}");
    fenced(&world.there).await;
    world.home.execute("UPDATE sexton.job SET due_at = now()").await;
    assert_eq!(world.run().await.state, "succeeded");
}

#[tokio::test]
async fn a_login_without_the_right_is_told_which() {
    let world = World::new().await;
    world.there.execute("CREATE ROLE passer_by LOGIN").await;
    let mut config = world.there.config.clone();
    config.user("passer_by");
    let stranger = Db { config, conninfo: String::new(), client: world.there.session().await };
    world.steps(json!({"steps": 1})).await;
    let registry = knowing(Steps::registry(), &[("archive", &stranger)]);
    let ran = world.occurrence().registry(registry).run().await.unwrap();
    let error = ran.error.unwrap();
    assert!(error.contains("permission denied for schema sexton_fence"), "{error}");
    assert!(error.contains("GRANT sexton_runner TO the login of [databases.archive], there"), "{error}");
}

#[tokio::test]
async fn least_rights_are_those_of_the_runner_and_of_the_work() {
    let world = World::new().await;
    world
        .there
        .execute("CREATE ROLE worker_there LOGIN IN ROLE sexton_runner; GRANT SELECT, INSERT ON public.ledger TO worker_there; GRANT USAGE ON SEQUENCE public.ledger_id_seq TO worker_there")
        .await;
    let mut config = world.there.config.clone();
    config.user("worker_there");
    let worker = Db { config, conninfo: String::new(), client: world.there.session().await };
    world.steps(json!({"steps": 2, "transaction": true})).await;
    let registry = knowing(Steps::registry(), &[("archive", &worker)]);
    let ran = world.occurrence().registry(registry).run().await.unwrap();
    assert_eq!((ran.state.as_str(), ran.error), ("succeeded", None));
    let session = world.there.session_as("worker_there").await;
    for sql in ["UPDATE sexton_fence.job SET version = 0", "DELETE FROM sexton_fence.job"] {
        assert!(session.batch_execute(sql).await.is_err(), "{sql}");
    }
}

#[tokio::test]
async fn where_sextons_own_database_was_set_back_the_run_says_how_to_go_on() {
    let world = World::new().await;
    world.steps(json!({"steps": 1})).await;
    world.run().await;
    world.there.execute("UPDATE sexton_fence.job SET epoch = epoch + 3").await;
    let ran = world.run().await;
    let error = ran.error.unwrap();
    assert_eq!(ran.state, "failed");
    assert!(error.contains("UPDATE sexton.meta SET epoch = 5;"), "{error}");
    world.home.execute("UPDATE sexton.meta SET epoch = 5; UPDATE sexton.job SET due_at = now()").await;
    assert_eq!(world.run().await.state, "succeeded");
}

#[tokio::test]
async fn a_server_that_is_down_is_the_runs_failure_and_its_return_is_noticed() {
    let mut server = own_server().await;
    let world = World { home: Db::new().await, there: Db::on(&server).await };
    fenced(&world.there).await;
    world.steps(json!({"steps": 2})).await;
    assert_eq!(world.run().await.state, "succeeded", "another server is as good as another database");
    server.cluster().stop().await;
    let ran = world.run().await;
    let error = ran.error.unwrap();
    assert_eq!(ran.state, "failed");
    assert!(error.starts_with("job job: database \"archive\": "), "{error}");
    server.cluster().restart().await.unwrap();
    world.home.execute("UPDATE sexton.job SET due_at = now()").await;
    let ran = world.run().await;
    assert_eq!((ran.state.as_str(), ran.attempt, ran.batches), ("succeeded", 2, 2));
}

#[tokio::test]
async fn the_name_of_sextons_own_database_is_found_out() {
    let world = World::without_fence().await;
    fenced(&world.home).await;
    world.steps(json!({"steps": 1})).await;
    let registry = knowing(Steps::registry(), &[("archive", &world.home)]);
    let ran = world.occurrence().registry(registry).run().await.unwrap();
    let error = ran.error.unwrap();
    assert_eq!(
        error,
        "job job: database \"archive\": is the one of the schema sexton itself. leave `database` out"
    );
}
