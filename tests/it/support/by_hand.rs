//! A claim by hand: what a replica does, statement by statement, so that a test decides what happens in between.
//!
//! It sends the very statements of `sql/`. What is easy to get wrong: it keeps no rules. Whatever it is refused, the
//! database refused.

use jiff::Timestamp;
use sexton::{kind::Nature, statements};
use tokio_postgres::{Client, Error, Statement};
use uuid::Uuid;

use super::Db;

/// The session and the token of somebody who won a job.
pub struct Hand {
    pub client: Client,
    pub job: i64,
    pub version: i64,
    pub run: Uuid,
    pub occurrence: Timestamp,
    pub attempt: i32,
    pub mode: String,
    /// The cursor that was inherited.
    pub cursor: Option<serde_json::Value>,
    /// The backend of its session.
    pub backend: i32,
    /// Prepared.
    pub fence: Statement,
}

/// What `sexton.claim` answered.
pub struct Answer {
    pub result: String,
    pub reason: String,
    pub hand: Option<Hand>,
}

impl Hand {
    /// Takes a job that is due or orphaned.
    pub async fn claim(db: &Db, job: &str) -> Hand {
        Self::claim_as(db, job, Nature::Database).await
    }

    /// The same for a kind of this nature.
    pub async fn claim_as(db: &Db, job: &str, nature: Nature) -> Hand {
        let answer = Self::try_claim(db, job, nature).await;
        let Answer { result, reason, hand } = answer;
        hand.unwrap_or_else(|| panic!("{job} was not won: {result} {reason}"))
    }

    /// Tries for a job.
    pub async fn try_claim(db: &Db, job: &str, nature: Nature) -> Answer {
        Self::try_claim_on(db.session().await, job, nature).await
    }

    /// The same on this session.
    pub async fn try_claim_on(client: Client, job: &str, nature: Nature) -> Answer {
        let sql = "SELECT j.id, j.lock_id, j.version, m.lock_class FROM sexton.job j, sexton.meta m WHERE j.name = $1";
        let row = client.query_one(sql, &[&job]).await.unwrap();
        let (id, lock, version, class): (i64, i32, i64, i32) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        let locked: bool = client.query_one(statement("try_lock"), &[&class, &lock]).await.unwrap().get(0);
        if !locked {
            return Answer { result: "lost".into(), reason: "its lock is held".into(), hand: None };
        }
        Self::claim_at(client, id, version, nature).await.unwrap()
    }

    /// `sexton.claim` alone, on a session that may or may not hold the lock.
    pub async fn claim_at(client: Client, id: i64, version: i64, nature: Nature) -> Result<Answer, Error> {
        let revision = "SELECT revision FROM sexton.job WHERE id = $1";
        let revision = client.query_one(revision, &[&id]).await?.get(0);
        Self::claim_by(client, id, version, revision, nature).await
    }

    /// With the lock, by what was read of the job at some time.
    pub async fn claim_read(db: &Db, id: i64, version: i64, revision: i64) -> Answer {
        let client = db.session().await;
        let lock = "SELECT pg_try_advisory_lock(m.lock_class, j.lock_id) FROM sexton.job j, sexton.meta m WHERE j.id = $1";
        assert!(client.query_one(lock, &[&id]).await.unwrap().get::<_, bool>(0), "its lock is held");
        Self::claim_by(client, id, version, revision, Nature::Database).await.unwrap()
    }

    async fn claim_by(
        client: Client,
        id: i64,
        version: i64,
        revision: i64,
        nature: Nature,
    ) -> Result<Answer, Error> {
        let run = Uuid::now_v7();
        let destructive = nature == Nature::Destructive;
        let outside = nature == Nature::Outside;
        let row = client
            .query_one(
                statement("claim"),
                &[&id, &version, &revision, &run, &Uuid::nil(), &"by hand", &"test", &destructive, &outside],
            )
            .await?;
        let result: String = row.get("result");
        let reason = row.get::<_, Option<String>>("reason").unwrap_or_default();
        if result != "won" {
            // A session that is closed keeps its lock for a moment more.
            client.batch_execute("SELECT pg_advisory_unlock_all()").await?;
            return Ok(Answer { result, reason, hand: None });
        }
        // Prepared now: a fence that is prepared only when it is needed comes after the COMMIT of its flight.
        let fence = client.prepare(statement("fence")).await?;
        let backend = client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
        let parts: serde_json::Value = row.get("parts");
        let hand = Some(Hand {
            job: id,
            version: row.get("version"),
            run,
            occurrence: row.get("occurrence"),
            attempt: row.get("attempt"),
            mode: row.get("mode"),
            cursor: parts.get("0").filter(|cursor| !cursor.is_null()).cloned(),
            backend,
            fence,
            client,
        });
        Ok(Answer { result, reason, hand })
    }

    /// A batch as one statement: step `seq + 1`, fenced as the one that follows `seq` batches.
    pub async fn batch(&self, seq: i64) -> Result<(), Error> {
        self.batch_through(seq, None).await
    }

    /// The same, on its way until the gate is open.
    pub async fn batch_through(&self, seq: i64, gate: Option<&str>) -> Result<(), Error> {
        let sql = "WITH effect AS (INSERT INTO public.ledger (job, occurrence, step, version, run_id)
                     SELECT coalesce((SELECT name FROM sexton.job WHERE id = $1), 'gone'), $7, $5::bigint + 1, $2, $3 FROM public.pass($8) RETURNING 1)
                   SELECT sexton.fence($1, $2, $3, $4, $5, (SELECT count(*) FROM effect), $6)";
        let cursor = serde_json::json!({ "done": seq + 1 });
        let statement = self.client.prepare(sql).await?;
        self.client
            .query_one(
                &statement,
                &[&self.job, &self.version, &self.run, &0_i32, &seq, &cursor, &self.occurrence, &gate],
            )
            .await
            .map(drop)
    }

    /// The fence alone, in whatever transaction the session is in.
    pub async fn fence(&self, seq: i64) -> Result<(), Error> {
        let cursor = serde_json::json!({ "done": seq + 1 });
        let rows = 1_i64;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
            [&self.job, &self.version, &self.run, &0_i32, &seq, &rows, &cursor];
        self.client.query_one(&self.fence, &params).await.map(drop)
    }

    /// Ends the run, with that many batches, and no regular instant to come.
    pub async fn finish(&self, outcome: &str, batches: i64) -> Result<Option<Timestamp>, Error> {
        let error = (outcome != "succeeded").then_some("by hand");
        let report = serde_json::json!({});
        let row = self
            .client
            .query_one(
                statement("finish"),
                &[
                    &self.job,
                    &self.version,
                    &self.run,
                    &outcome,
                    &error,
                    &report,
                    &batches,
                    &0_f64,
                    &"manual",
                    &"UTC",
                    &None::<Timestamp>,
                    &None::<Timestamp>,
                    &0_i64,
                    &None::<Timestamp>,
                ],
            )
            .await?;
        Ok(row.get(0))
    }

    /// Why the run must stop, as a ping says.
    pub async fn ping(&self) -> Option<String> {
        let row = self.client.query_one(statement("ping"), &[&self.job, &self.version, &self.run]).await;
        row.unwrap().get(0)
    }

    /// Closes the session, and waits until its lock is free: a run that was not finished is an orphan then.
    pub async fn die(self, db: &Db) {
        drop(self.client);
        let free = "SELECT NOT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND locktype = 'advisory')";
        db.until("the session ends", free, &[&self.backend]).await;
    }
}

/// The text of a file of `sql/`.
fn statement(name: &str) -> &'static str {
    statements::ALL.iter().find(|(file, _)| *file == name).unwrap_or_else(|| panic!("sql/{name}.sql")).1
}

/// The SQLSTATE of a refusal.
pub fn code<T: std::fmt::Debug>(answer: Result<T, Error>) -> String {
    match answer.unwrap_err() {
        error if error.code().is_some() => error.code().unwrap().code().to_owned(),
        error => error.to_string(),
    }
}

/// The DETAIL of a refusal: why, in one word.
pub fn detail<T: std::fmt::Debug>(answer: Result<T, Error>) -> String {
    let error = answer.unwrap_err();
    let refused = error.as_db_error().unwrap_or_else(|| panic!("{error}"));
    assert_eq!(refused.code().code(), "SX001", "{error}");
    refused.detail().unwrap_or_default().to_owned()
}
