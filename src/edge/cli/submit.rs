//! `sexton submit`: one run of a manual job with inputs of its own.

use clap::Args;
use jiff::Timestamp;

use super::{Context, Exit, format, narrow};
use crate::{error::Result, protocol::operate::OneOff};

/// What `submit` takes.
#[derive(Debug, Args)]
pub(super) struct SubmitArgs {
    /// The job's name
    job: String,
    /// A value of an input that the job declares; numbers and true, false, null as such, everything else as text
    #[arg(long = "input", value_name = "NAME=VALUE")]
    inputs: Vec<String>,
    /// Not before then: `2h`, `3 days` or `2027-01-01T00:00Z` [default: at once]
    #[arg(long, value_name = "TIME")]
    due_at: Option<String>,
    /// While one with this key is pending, this is that one
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

pub(super) async fn submit(context: &Context, args: &SubmitArgs) -> Result<Exit> {
    let mut one_off = OneOff::of(&args.job).inputs(narrow::read_inputs(&args.inputs)?);
    if let Some(text) = &args.due_at {
        one_off = one_off.due_at(format::read_until(text, Timestamp::now())?);
    }
    if let Some(key) = &args.key {
        one_off = one_off.key(key);
    }
    context.output.sentence(&context.global.operator().await?.submit(&one_off).await?)?;
    Ok(Exit::Done)
}
