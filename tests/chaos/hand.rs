//! A claim by hand: what a replica does, statement by statement, so that a scenario decides what happens in between.
//!
//! It sends the statements of `sql/` and keeps no rules: whatever it is refused, the database refused. That makes it the
//! worst client there could be, which is what a mutant needs to be caught.

use jiff::Timestamp;
use sexton::statements;
use tokio_postgres::{Client, Error};
use uuid::Uuid;

use crate::world::{Result, World};

/// The session and the token of somebody who won a job.
pub struct Hand {
    pub client: Client,
    pub job: i64,
    pub name: String,
    pub version: i64,
    pub epoch: i64,
    pub run: Uuid,
    pub occurrence: Timestamp,
    /// Steps that the inherited cursor says are done.
    pub done: i32,
    /// Batches that this run believes to be committed.
    pub seq: i64,
}

/// How carefully a claim goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// Lock first, as replicas do.
    Locked,
    /// A shared lock: what a weakened lock mode would be.
    SharedLock,
    /// None: who trusts heartbeats needs none.
    NoLock,
}

/// What somebody read of a job before trying for it.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub version: i64,
    pub revision: i64,
}

impl Seen {
    /// As it is now.
    pub async fn now(world: &World, job: &str) -> Result<Seen> {
        let rows = world.rows("SELECT version, revision FROM sexton.job WHERE name = $1", &[&job]).await?;
        let row = rows.first().ok_or("there is no such job")?;
        Ok(Seen { version: row.get(0), revision: row.get(1) })
    }
}

/// The text of a file of `sql/`.
fn statement(name: &str) -> &'static str {
    statements::ALL.iter().find(|(file, _)| *file == name).map_or("", |(_, text)| text)
}

impl Hand {
    /// Takes a job that is due or orphaned; an error says why it was not to be had.
    pub async fn claim(world: &World, job: &str) -> Result<Hand> {
        Self::claim_at(world, job, Seen::now(world, job).await?, Manners::Locked, false).await
    }

    /// The same for a destructive kind.
    pub async fn claim_destructive(world: &World, job: &str) -> Result<Hand> {
        Self::claim_at(world, job, Seen::now(world, job).await?, Manners::Locked, true).await
    }

    /// The same by what was read at some other time.
    pub async fn claim_at(
        world: &World,
        job: &str,
        seen: Seen,
        manners: Manners,
        destructive: bool,
    ) -> Result<Hand> {
        let client = world.session().await?;
        let sql = "SELECT j.id, j.lock_id, m.lock_class FROM sexton.job j, sexton.meta m WHERE j.name = $1";
        let row = client.query_one(sql, &[&job]).await?;
        let (id, lock, class): (i64, i32, i32) = (row.get(0), row.get(1), row.get(2));
        let try_lock = match manners {
            Manners::Locked => statement("try_lock").to_owned(),
            Manners::SharedLock => {
                statement("try_lock").replace("pg_try_advisory_lock", "pg_try_advisory_lock_shared")
            }
            Manners::NoLock => "SELECT $1::int IS NOT NULL AND $2::int IS NOT NULL".to_owned(),
        };
        if !client.query_one(&try_lock, &[&class, &lock]).await?.get::<_, bool>(0) {
            return Err("its lock is held".into());
        }
        let run = Uuid::now_v7();
        let row = client
            .query_one(
                statement("claim"),
                &[
                    &id,
                    &seen.version,
                    &seen.revision,
                    &run,
                    &Uuid::nil(),
                    &"by hand",
                    &"chaos",
                    &destructive,
                    &false,
                ],
            )
            .await?;
        if row.get::<_, &str>("result") != "won" {
            // A session that is closed keeps its lock for a moment.
            client.execute("SELECT pg_advisory_unlock_all()", &[]).await?;
            return Err(format!(
                "{}: {:?}",
                row.get::<_, &str>("result"),
                row.get::<_, Option<&str>>("reason")
            )
            .into());
        }
        let parts: serde_json::Value = row.get("parts");
        let done = parts["0"]["done"].as_i64().unwrap_or(0);
        Ok(Hand {
            job: id,
            name: job.to_owned(),
            version: row.get("version"),
            epoch: row.get("epoch"),
            run,
            occurrence: row.get("occurrence"),
            done: i32::try_from(done)?,
            seq: 0,
            client,
        })
    }

    const EFFECT: &str =
        "INSERT INTO chaos.ledger (job, occurrence, step, version, run_id) VALUES ($1, $2, $3, $4, $5)";

    /// The next step as one statement with its fence.
    pub async fn batch(&mut self) -> std::result::Result<(), Error> {
        let sql = format!(
            "WITH effect AS ({} RETURNING 1) SELECT sexton.fence($6, $4, $5, 0, $7, (SELECT count(*) FROM effect), $8)",
            Self::EFFECT
        );
        let step = self.done + 1;
        let cursor = serde_json::json!({ "done": step });
        let statement = self.client.prepare(&sql).await?;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 8] =
            [&self.name, &self.occurrence, &step, &self.version, &self.run, &self.job, &self.seq, &cursor];
        self.client.query_one(&statement, &params).await?;
        self.done = step;
        self.seq += 1;
        Ok(())
    }

    /// The step's effect alone, in whatever transaction the session is in.
    pub async fn effect(&self, step: i32) -> std::result::Result<(), Error> {
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&self.name, &self.occurrence, &step, &self.version, &self.run];
        self.client.execute(Self::EFFECT, &params).await.map(drop)
    }

    /// The fence alone, for one row, after `seq` batches.
    pub async fn fence(&self, seq: i64, done: i32) -> std::result::Result<(), Error> {
        self.fence_over(seq, done, 1).await
    }

    /// The cursor alone, as a dry run moves it.
    pub async fn checkpoint(&self, seq: i64, done: i32) -> std::result::Result<(), Error> {
        self.fence_over(seq, done, 0).await
    }

    async fn fence_over(&self, seq: i64, done: i32, rows: i64) -> std::result::Result<(), Error> {
        let cursor = serde_json::json!({ "done": done });
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
            [&self.job, &self.version, &self.run, &0_i32, &seq, &rows, &cursor];
        self.client.query_one(statement("fence"), &params).await.map(drop)
    }

    /// Ends the run; no regular instant is to come.
    pub async fn finish(&self, outcome: &str, batches: i64) -> std::result::Result<(), Error> {
        let error = (outcome != "succeeded").then_some("by hand");
        let none = None::<Timestamp>;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 14] = [
            &self.job,
            &self.version,
            &self.run,
            &outcome,
            &error,
            &serde_json::json!({}),
            &batches,
            &0_f64,
            &"manual",
            &"UTC",
            &none,
            &none,
            &0_i64,
            &none,
        ];
        self.client.query_one(statement("finish"), &params).await.map(drop)
    }

    /// Lets another session work for this run, as one of its workers.
    pub async fn join(&self, world: &World) -> Result<Client> {
        let worker = world.session().await?;
        let row = worker.query_one(statement("join_run"), &[&self.job, &self.version, &self.run]).await?;
        match row.get::<_, Option<String>>(0) {
            None => Ok(worker),
            Some(reason) => Err(reason.into()),
        }
    }

    /// Does what is left of `steps`, and succeeds.
    pub async fn complete(&mut self, steps: i32) -> Result<()> {
        while self.done < steps {
            self.batch().await?;
        }
        Ok(self.finish("succeeded", self.seq).await?)
    }

    /// Closes the session, and waits until its lock is free.
    pub async fn die(self, world: &World) -> Result<()> {
        let pid: i32 = self.client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
        drop(self.client);
        let gone = "SELECT NOT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND locktype = 'advisory')";
        world.until("the session ends", std::time::Duration::from_secs(10), gone, &[&pid]).await
    }
}

/// Inserts a manual job of the kind `steps`, planned and due.
pub async fn due_job(world: &World, name: &str, steps: i32) -> Result<()> {
    world.job(name, "steps", "manual", serde_json::json!({ "steps": steps })).await?;
    plan(world, name).await?;
    world.verb("run_now", name).await.map(drop)
}

/// Does for a manual job what a replica does first.
pub async fn plan(world: &World, name: &str) -> Result<()> {
    let sql = "SELECT sexton.plan(id, revision, schedule, time_zone, NULL, NULL, 0) FROM sexton.job WHERE name = $1";
    world.rows(sql, &[&name]).await.map(drop)
}
