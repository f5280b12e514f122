//! The kind `steps`, as a user would write one: each step is a batch that adds a row to a ledger.
//!
//! Its params let a test stop it at a gate before a batch, or within one, and let it go wrong in every way. There is one
//! for each nature: `steps`, `steps_destructive`, `steps_outside`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sexton::{
    Error, ErrorKind, Registry,
    kind::{
        Batch, ComeBack, Description, Kind, Mode, Nature, Param, ParamError, Report, RunContext, Stop,
        Stopped,
    },
};

/// What a job of this kind is to do.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    steps: u32,
    hold_before: Option<u32>,
    hold_within: Option<u32>,
    gate: String,
    fail_at: Option<u32>,
    panic_at: Option<u32>,
    refuse_at: Option<u32>,
    transaction: bool,
    come_back: bool,
    label: Option<String>,
    /// Not used: but a job that names a table is one on that table.
    #[serde(rename = "table")]
    _table: Option<String>,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            steps: 3,
            hold_before: None,
            hold_within: None,
            gate: "gate".to_owned(),
            fail_at: None,
            panic_at: None,
            refuse_at: None,
            transaction: false,
            come_back: false,
            label: None,
            _table: None,
        }
    }
}

/// How many steps were done.
#[derive(Serialize, Deserialize)]
struct Cursor {
    done: u32,
}

/// The kind.
pub struct Steps {
    name: &'static str,
    nature: Nature,
}

impl Steps {
    /// A registry with all three.
    pub fn registry() -> Registry {
        let mut registry = Registry::new();
        for (name, nature) in [
            ("steps", Nature::Database),
            ("steps_destructive", Nature::Destructive),
            ("steps_outside", Nature::Outside),
        ] {
            registry.add(Steps { name, nature });
        }
        registry
    }
}

impl Kind for Steps {
    type Params = Params;

    fn name(&self) -> &'static str {
        self.name
    }

    fn describe(&self) -> Description {
        const PARAMS: &[Param] =
            &[Param { name: "steps", takes: "number", default: "3", help: "How many steps there are." }];
        Description {
            summary: "Writes a ledger, step by step.",
            nature: self.nature,
            params: PARAMS,
            example: "",
        }
    }

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        match params.steps {
            0 => Err(ParamError::new("steps", "0 steps are nothing to do: name 1 or more")),
            _ => Ok(()),
        }
    }

    fn elsewhere(&self, _: &Params) -> Result<(), String> {
        if self.nature == Nature::Outside { Err("it has its work here".to_owned()) } else { Ok(()) }
    }

    async fn run(&self, context: &mut RunContext, params: Params) -> Result<Report, Stop> {
        let mut done = context.cursor::<Cursor>()?.map_or(0, |cursor| cursor.done);
        while done < params.steps {
            let step = done + 1;
            if params.hold_before == Some(step) {
                pass(context, &params.gate).await?;
            }
            go_wrong(&params, step)?;
            if context.mode() == Mode::Real {
                write(context, &params, step).await?;
            } else {
                context.checkpoint(&Cursor { done: step }).await?;
            }
            done = step;
        }
        let mut report = Report::new(Stopped::Drained).with("steps", done);
        if params.come_back {
            report.come_back = ComeBack::Soon;
        }
        Ok(report)
    }
}

fn go_wrong(params: &Params, step: u32) -> Result<(), Stop> {
    if params.fail_at == Some(step) {
        return Err(Stop::Failed(Error::new(ErrorKind::Outside, "told to fail")));
    }
    if params.refuse_at == Some(step) {
        return Err(Stop::refused("told to refuse", "tell it otherwise"));
    }
    assert!(params.panic_at != Some(step), "told to panic");
    Ok(())
}

/// Waits between two batches until the gate is open.
async fn pass(context: &mut RunContext, gate: &str) -> Result<(), Stop> {
    while context.query("SELECT FROM public.gate WHERE name = $1", &[&gate]).await?.is_empty() {
        context.rest(Duration::from_millis(3)).await?;
    }
    Ok(())
}

const EFFECT: &str = "INSERT INTO public.ledger (job, occurrence, step, version, run_id, label)
    SELECT $1, $2, $3, $4, $5, $6 FROM public.pass($7) RETURNING step";

async fn write(context: &mut RunContext, params: &Params, step: u32) -> Result<(), Stop> {
    let token = context.token();
    let version: i64 = token.split_once('.').and_then(|(_, version)| version.parse().ok()).expect("a token");
    let (job, occurrence, run) = (context.job().to_owned(), context.occurrence(), context.run_id());
    let number = i32::try_from(step).expect("few steps");
    let gate = (params.hold_within == Some(step)).then_some(params.gate.as_str());
    let cursor = Cursor { done: step };
    if params.transaction {
        let mut transaction = context.begin().await?;
        let rows = transaction
            .execute(EFFECT, &[&job, &occurrence, &number, &version, &run, &params.label, &gate])
            .await?;
        return transaction.commit(rows, &cursor).await;
    }
    loop {
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
            [&job, &occurrence, &number, &version, &run, &params.label, &gate];
        if let Batch::Committed { .. } = context.batch(EFFECT, &values, &cursor).await? {
            return Ok(());
        }
    }
}
