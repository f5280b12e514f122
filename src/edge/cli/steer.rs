//! The verbs that steer: each calls its function in the database and prints the sentence that it answers with.

use clap::Args;
use jiff::Timestamp;

use super::{Context, Exit, format};
use crate::error::Result;

/// What a verb on one job takes.
#[derive(Debug, Args)]
pub(super) struct JobArgs {
    /// The job's name
    job: String,
}

/// What `pause` takes.
#[derive(Debug, Args)]
pub(super) struct PauseArgs {
    /// The job's name
    job: String,
    /// Why, for those who find it paused
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// When the pause ends by itself: `2h`, `3 days` or `2027-01-01T00:00Z`
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// What `pause-all` takes.
#[derive(Debug, Args)]
pub(super) struct PauseAllArgs {
    /// Why, for those who find everything halted
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// What `arm` takes.
#[derive(Debug, Args)]
pub(super) struct ArmArgs {
    /// The job's name
    job: String,
    /// Let one run of this revision past the guards, up to that many rows; used up by it
    #[arg(long, value_name = "ROWS")]
    approve: Option<u64>,
}

/// What `hold` takes.
#[derive(Debug, Args)]
pub(super) struct HoldArgs {
    /// The table
    table: String,
    /// Which rows stay, in SQL: `tenant_id = 7`
    predicate: String,
    /// Why, for those who find the rows kept
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The other database that the table is in, by the name that jobs give it; then name its schema as well
    #[arg(long = "in", value_name = "DATABASE")]
    elsewhere: Option<String>,
}

/// What `unhold` takes.
#[derive(Debug, Args)]
pub(super) struct UnholdArgs {
    /// The hold's number
    id: i64,
}

/// What `kill` takes.
#[derive(Debug, Args)]
pub(super) struct KillArgs {
    /// The job's name
    job: String,
    /// End the holder's database session too, so that another replica can start at once
    #[arg(long)]
    terminate: bool,
}

pub(super) async fn pause(context: &Context, args: &PauseArgs) -> Result<Exit> {
    let until = args.until.as_deref().map(|text| format::read_until(text, Timestamp::now())).transpose()?;
    let operator = context.global.operator().await?;
    told(context, &operator.pause(&args.job, args.reason.as_deref(), until).await?)
}

pub(super) async fn resume(context: &Context, args: &JobArgs) -> Result<Exit> {
    told(context, &context.global.operator().await?.resume(&args.job).await?)
}

pub(super) async fn pause_all(context: &Context, args: &PauseAllArgs) -> Result<Exit> {
    told(context, &context.global.operator().await?.pause_all(args.reason.as_deref()).await?)
}

pub(super) async fn resume_all(context: &Context) -> Result<Exit> {
    told(context, &context.global.operator().await?.resume_all().await?)
}

pub(super) async fn arm(context: &Context, args: &ArmArgs) -> Result<Exit> {
    told(context, &context.global.operator().await?.arm(&args.job, args.approve).await?)
}

pub(super) async fn disarm(context: &Context, args: &JobArgs) -> Result<Exit> {
    told(context, &context.global.operator().await?.disarm(&args.job).await?)
}

pub(super) async fn cancel(context: &Context, args: &JobArgs) -> Result<Exit> {
    told(context, &context.global.operator().await?.cancel(&args.job).await?)
}

pub(super) async fn hold(context: &Context, args: &HoldArgs) -> Result<Exit> {
    let operator = context.global.operator().await?;
    told(
        context,
        &operator.hold(&args.table, &args.predicate, &args.reason, args.elsewhere.as_deref()).await?,
    )
}

pub(super) async fn unhold(context: &Context, args: &UnholdArgs) -> Result<Exit> {
    told(context, &context.global.operator().await?.unhold(args.id).await?)
}

pub(super) async fn adopt(context: &Context) -> Result<Exit> {
    told(context, &context.global.operator().await?.adopt().await?)
}

pub(super) async fn kill(context: &Context, args: &KillArgs) -> Result<Exit> {
    let operator = context.global.operator().await?;
    let backend = operator.kill(&args.job).await?;
    let ended = args.terminate && operator.terminate_holder(&args.job).await?;
    let then = match (args.terminate, ended) {
        (_, true) => "its session was ended".to_owned(),
        (true, false) => "its session is gone already".to_owned(),
        (false, false) => format!(
            "it starts again once backend {backend} is gone: `sexton kill --terminate`, or SELECT sexton.terminate_holder('{}')",
            args.job
        ),
    };
    let sentence =
        format!("{} was taken from its holder, and nothing of the old run can commit; {then}.", args.job);
    let answer = serde_json::json!({ "message": sentence, "backend_pid": backend, "terminated": ended });
    context.output.answer(&answer, |_| sentence.clone())?;
    Ok(Exit::Done)
}

fn told(context: &Context, sentence: &str) -> Result<Exit> {
    context.output.sentence(sentence)?;
    Ok(Exit::Done)
}
