//! The kind `steps`, written as a user would write one: each step is a batch that adds a row to a ledger.
//!
//! Its effect is the plainest there is, so that what the checker finds in the ledger is the protocol's doing. What is
//! easy to get wrong: it must not protect itself. The ledger has no unique key, and a step knows nothing of others.

use std::{path::PathBuf, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sexton::{
    Error, ErrorKind,
    kind::{Batch, Description, Kind, Mode, Nature, Param, Report, RunContext, Stop, Stopped},
};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::diary::{Diary, Entry};

/// What a job of this kind is to do.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// How many steps there are.
    steps: i32,
    /// Rest after each, in milliseconds.
    #[serde(default)]
    rest_ms: u64,
    /// Several statements a batch instead of one.
    #[serde(default)]
    transaction: bool,
    /// Of a hundred steps, how many fail.
    #[serde(default)]
    fails_in_100: u8,
    /// What the first step does instead: `abort` or `panic`.
    #[serde(default)]
    poison: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Cursor {
    done: i32,
}

/// The kind.
pub struct Steps {
    diary: Diary,
}

impl Steps {
    pub fn new(diary: Option<PathBuf>) -> Self {
        Steps { diary: Diary::new(diary) }
    }
}

impl Kind for Steps {
    type Params = Params;

    fn name(&self) -> &'static str {
        "steps"
    }

    fn describe(&self) -> Description {
        const PARAMS: &[Param] =
            &[Param { name: "steps", takes: "number", default: "none", help: "How many steps there are." }];
        Description {
            summary: "Writes a ledger, step by step.",
            nature: Nature::Database,
            params: PARAMS,
            example: "",
        }
    }

    async fn run(&self, context: &mut RunContext, params: Params) -> Result<Report, Stop> {
        // The key names the job by its id: a name may come again, with versions that begin anew.
        let key = context.idempotency_key("");
        let job = key.split('/').nth(2).expect("a key names the job");
        self.diary.note(&Entry::Token { job, token: &context.token(), run: context.run_id() });
        match params.poison.as_deref() {
            Some("abort") => std::process::abort(),
            Some(_) => panic!("poison"),
            None => {}
        }
        let mut done = context.cursor::<Cursor>()?.map_or(0, |cursor| cursor.done);
        while done < params.steps {
            if fastrand::u8(0..100) < params.fails_in_100 {
                return Err(Stop::Failed(Error::new(ErrorKind::Outside, "failed by lot")));
            }
            let step = done + 1;
            if context.mode() == Mode::Real {
                write(context, params.transaction, step).await?;
                self.diary.note(&Entry::Committed { run: context.run_id(), step });
            } else {
                context.checkpoint(&Cursor { done: step }).await?;
            }
            done = step;
            context.rest(Duration::from_millis(params.rest_ms)).await?;
        }
        Ok(Report::new(Stopped::Drained).with("steps", done))
    }
}

const EFFECT: &str = "INSERT INTO chaos.ledger (job, occurrence, step, version, run_id)
    VALUES ($1, $2, $3, $4, $5) RETURNING step";

/// Writes a step, and has patience with whoever is in the way.
async fn write(context: &mut RunContext, transaction: bool, step: i32) -> Result<(), Stop> {
    for _ in 0..50 {
        let written =
            if transaction { in_transaction(context, step).await? } else { at_once(context, step).await? };
        if written == Written::Committed {
            return Ok(());
        }
        context.rest(Duration::from_millis(20)).await?;
    }
    Err(Stop::Failed(Error::new(ErrorKind::Outside, "somebody is in the way")))
}

#[derive(PartialEq, Eq)]
enum Written {
    Committed,
    /// Nothing of it happened: somebody is in the way.
    Undone,
}

/// As one statement.
async fn at_once(context: &mut RunContext, step: i32) -> Result<Written, Stop> {
    let (job, occurrence, version, run) = values(context);
    let values: [&(dyn ToSql + Sync); 5] = [&job, &occurrence, &step, &version, &run];
    Ok(match context.batch(EFFECT, &values, &Cursor { done: step }).await? {
        Batch::Committed { .. } => Written::Committed,
        Batch::Undone(_) => Written::Undone,
    })
}

/// As a transaction of several statements.
async fn in_transaction(context: &mut RunContext, step: i32) -> Result<Written, Stop> {
    let (job, occurrence, version, run) = values(context);
    let values: [&(dyn ToSql + Sync); 5] = [&job, &occurrence, &step, &version, &run];
    let written = async {
        let mut transaction = context.begin().await?;
        let rows = transaction.execute(EFFECT, &values).await?;
        transaction.commit(rows, &Cursor { done: step }).await
    };
    match written.await {
        Err(Stop::Failed(error))
            if matches!(error.sqlstate(), Some("55P03" | "57014" | "40001" | "40P01")) =>
        {
            Ok(Written::Undone)
        }
        ended => ended.map(|()| Written::Committed),
    }
}

/// What is written besides the step.
fn values(context: &RunContext) -> (String, Timestamp, i64, Uuid) {
    let token = context.token();
    let version = token.split_once('.').and_then(|(_, version)| version.parse().ok()).expect("a token");
    (context.job().to_owned(), context.occurrence(), version, context.run_id())
}
