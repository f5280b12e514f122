//! Work in other databases: the token goes with it, and each batch is done once, whatever happens to either side.

use serde_json::{Value, json};
use sexton::{
    Registry,
    edge::migrate::fence,
    kind::{Databases, Names},
    testing::{Occurrence, Ran},
};

use crate::support::{Db, Replica, Steps, code, detail};

/// Sexton's own database, and another one in which its jobs work; by the name `archive`.
struct World {
    home: Db,
    there: Db,
}

impl World {
    async fn new() -> World {
        let world = World { home: Db::new().await, there: Db::new().await };
        fenced(&world.there).await;
        world
    }

    /// A registry that knows the other database.
    fn registry(&self, registry: Registry) -> Registry {
        knowing(registry, &[("archive", &self.there)])
    }

    /// Saves a job of the kind `steps` that works there.
    async fn steps(&self, params: Value) {
        self.home.steps_job("job", params).await;
        self.home.execute("UPDATE sexton.job SET database = 'archive'").await;
    }

    /// Runs one occurrence of it.
    async fn run(&self) -> Ran {
        self.occurrence().run().await.unwrap()
    }

    fn occurrence(&self) -> Occurrence {
        Occurrence::of("job", self.home.config.clone()).registry(self.registry(Steps::registry()))
    }

    /// What the runs recorded here, as batches, equals what took effect there, and no step did so twice.
    async fn assert_exact(&self) {
        let recorded: i64 =
            self.home.get("SELECT coalesce(sum(seq), 0)::bigint FROM sexton.run_part", &[]).await;
        let done: i64 = self.there.get("SELECT count(*) FROM public.ledger", &[]).await;
        assert_eq!(recorded, done, "what is recorded here is what was done there");
        let once = "SELECT count(*) = count(DISTINCT (job, occurrence, step)) FROM public.ledger";
        assert!(self.there.get::<bool>(once, &[]).await, "no step took effect twice");
    }
}

/// Lets Sexton work in a database.
async fn fenced(db: &Db) {
    fence(&db.config.clone().into(), &Default::default(), |_| {}).await.unwrap();
}

/// A registry that knows these databases.
fn knowing(mut registry: Registry, databases: &[(&'static str, &Db)]) -> Registry {
    let names = databases.iter().map(|(name, _)| format!("database:{name}")).collect();
    let (_sender, known) = tokio::sync::watch::channel(names);
    let configs: Vec<_> = databases.iter().map(|(name, db)| (*name, db.config.clone())).collect();
    registry.know(Names::of(known)).reach(Databases::by(move |wanted| {
        let found = configs.iter().find(|(name, _)| *name == wanted)?;
        Some(found.1.clone().into())
    }));
    registry
}

#[tokio::test]
async fn the_work_is_done_there_and_recorded_here() {
    for transaction in [false, true] {
        let world = World::new().await;
        world.steps(json!({"steps": 3, "transaction": transaction})).await;
        let ran = world.run().await;
        assert_eq!((ran.state.as_str(), ran.batches, ran.rows, ran.error), ("succeeded", 3, 3, None));
        assert_eq!(
            (world.there.steps("job").await, world.home.steps("job").await),
            ("1 2 3".into(), "".into())
        );
        let row = "SELECT job_name || ' ' || seq || ' ' || (cursor ->> 'done') || ' ' || (done_by = run_id) FROM sexton_fence.job";
        assert_eq!(world.there.get::<String>(row, &[]).await, "job 3 3 true");
        world.run().await;
        assert_eq!(world.there.steps("job").await, "1 2 3 1 2 3", "the next occurrence begins anew");
        world.assert_exact().await;
    }
}
