//! Replicas as processes whose purge is in another database: ended or frozen between any two steps of a batch.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::{databases_support::World, support::Process};

/// A table of 200 old rows there, whose deletions are noted, and a job that purges it, for replicas as processes; with
/// their local file.
async fn with_processes() -> (World, tempfile::NamedTempFile) {
    let world = World::new().await;
    world
        .there
        .execute(
            "CREATE TABLE public.events (id bigint PRIMARY KEY, at timestamptz NOT NULL);
             CREATE TABLE public.deleted (id bigint);
             INSERT INTO public.events SELECT n, now() - interval '30 days' - n * interval '1 minute' FROM generate_series(1, 200) n;
             CREATE INDEX ON public.events (at); ANALYZE public.events;
             CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               INSERT INTO public.deleted VALUES (OLD.id); RETURN NULL; END $$;
             CREATE TRIGGER note AFTER DELETE ON public.events FOR EACH ROW EXECUTE FUNCTION public.note();",
        )
        .await;
    let params =
        json!({"table": "public.events", "by": "at", "retention": "1 day", "batch": 20, "max_fraction": 1});
    let job = "INSERT INTO sexton.job (name, kind, params, database) VALUES ('job', 'purge', $1, 'archive')";
    world.home.client.execute(job, &[&params]).await.unwrap();
    world.home.verb("arm", "job").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let conninfo = toml::Value::from(world.there.conninfo.clone());
    std::fs::write(file.path(), format!("[databases.archive]\nconninfo = {conninfo}\n")).unwrap();
    (world, file)
}

/// At each point between two steps of a batch in two databases: the process ends there, and another makes it good.
#[tokio::test]
async fn a_process_that_ends_at_any_point_loses_and_repeats_nothing_there() {
    let points = [
        "elsewhere.installed",
        "elsewhere.fenced@4",
        "elsewhere.committed@4",
        "batch.fence@4",
        "batch.committed@4",
    ];
    let of_elsewhere = sexton::failpoint::NAMES.iter().filter(|name| name.starts_with("elsewhere."));
    for name in of_elsewhere {
        assert!(points.iter().any(|point| point.starts_with(name)), "{name} is tried");
    }
    futures_util::future::join_all(points.map(ends_at)).await;
}

async fn ends_at(point: &str) {
    let (world, file) = with_processes().await;
    let config = file.path().to_str().unwrap();
    let fault = format!("{point}=exit");
    let environment = [("SEXTON_FAILPOINTS", fault.as_str()), ("SEXTON_CONFIG", config)];
    let mut doomed = Process::with(&world.home, "doomed", &environment);
    world.home.until_job("job", "planned").await;
    world.home.verb("run_now", "job").await;
    assert_eq!(doomed.ended().await.code(), Some(86), "{point}: {}", doomed.log());
    let _heir = Process::with(&world.home, "heir", &[("SEXTON_CONFIG", config)]);
    world.home.until_outcomes("job", "lost succeeded").await;
    let there = "SELECT count(*) || ' ' || count(DISTINCT id) FROM public.deleted";
    assert_eq!(world.there.get::<String>(there, &[]).await, "200 200", "{point}");
    let here: i64 = world.home.get("SELECT sum(rows_done)::bigint FROM sexton.run", &[]).await;
    assert_eq!(here, 200, "{point}");
}

/// A holder that freezes between its fence here and the check there: the next one's token is there when it wakes up.
#[tokio::test]
async fn a_holder_that_freezes_between_the_two_fences_writes_nothing_when_it_wakes_up() {
    let (world, file) = with_processes().await;
    let config = file.path().to_str().unwrap();
    let environment = [("SEXTON_FAILPOINTS", "elsewhere.fenced@4=stop"), ("SEXTON_CONFIG", config)];
    let mut zombie = Process::with(&world.home, "zombie", &environment);
    world.home.until_job("job", "planned").await;
    world.home.verb("run_now", "job").await;
    zombie.until_stopped().await;
    let _heir = Process::with(&world.home, "heir", &[("SEXTON_CONFIG", config)]);
    // As the server's own timers do, which end both sessions after 15 s.
    world.home.execute("SELECT pg_terminate_backend(holder_pid) FROM sexton.job").await;
    let taken = "SELECT version > 1 FROM sexton.job";
    world.home.until("the heir has the job", taken, &[]).await;
    world
        .there
        .execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'")
        .await;
    world.home.until_outcomes("job", "lost succeeded").await;
    zombie.signal(Signal::SIGCONT);
    zombie.until_logged("run.lost").await;
    let there = "SELECT count(*) || ' ' || count(DISTINCT id) FROM public.deleted";
    assert_eq!(world.there.get::<String>(there, &[]).await, "200 200");
    zombie.signal(Signal::SIGTERM);
    zombie.ended().await;
}
