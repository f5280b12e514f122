//! Sexton's own database, and another one in which its jobs work; by the name `archive`.

use serde_json::Value;
use sexton::{
    Registry,
    edge::migrate::fence,
    kind::{Databases, Names},
    testing::{Occurrence, Ran},
};

use crate::support::{Db, Steps};

/// The two, with a job called `job`.
pub struct World {
    pub home: Db,
    pub there: Db,
}

impl World {
    pub async fn new() -> World {
        let world = World { home: Db::new().await, there: Db::new().await };
        fenced(&world.there).await;
        world
    }

    /// A registry that knows the other database.
    pub fn registry(&self, registry: Registry) -> Registry {
        knowing(registry, &[("archive", &self.there)])
    }

    /// Saves a job of the kind `steps` that works there.
    pub async fn steps(&self, params: Value) {
        self.home.steps_job("job", params).await;
        self.home.execute("UPDATE sexton.job SET database = 'archive'").await;
    }

    /// One occurrence of it.
    pub fn occurrence(&self) -> Occurrence {
        Occurrence::of("job", self.home.config.clone()).registry(self.registry(Steps::registry()))
    }

    /// Runs one.
    pub async fn run(&self) -> Ran {
        self.occurrence().run().await.unwrap()
    }

    /// What the runs recorded here, as batches, equals what took effect there, and no step did so twice.
    pub async fn assert_exact(&self) {
        let recorded = "SELECT coalesce(sum(seq), 0)::bigint FROM sexton.run_part";
        let done = "SELECT count(*) FROM public.ledger";
        let (recorded, done): (i64, i64) =
            (self.home.get(recorded, &[]).await, self.there.get(done, &[]).await);
        assert_eq!(recorded, done, "what is recorded here is what was done there");
        let once = "SELECT count(*) = count(DISTINCT (job, occurrence, step)) FROM public.ledger";
        assert!(self.there.get::<bool>(once, &[]).await, "no step took effect twice");
    }
}

/// Lets Sexton work in a database.
pub async fn fenced(db: &Db) {
    fence(&db.config.clone().into(), &Default::default(), |_| {}).await.unwrap();
}

/// A registry that knows these databases.
pub fn knowing(mut registry: Registry, databases: &[(&'static str, &Db)]) -> Registry {
    let names = databases.iter().map(|(name, _)| format!("database:{name}")).collect();
    let (_sender, known) = tokio::sync::watch::channel(names);
    let configs: Vec<_> = databases.iter().map(|(name, db)| (*name, db.config.clone())).collect();
    registry.know(Names::of(known)).reach(Databases::by(move |wanted| {
        let found = configs.iter().find(|(name, _)| *name == wanted)?;
        Some(found.1.clone().into())
    }));
    registry
}
