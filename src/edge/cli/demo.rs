//! `sexton demo`, which tells its story in [`edge::demo`](crate::edge::demo).

use clap::Args;

use super::{Context, Exit};
use crate::{
    edge::demo::{self, Afterwards},
    error::Result,
};

/// What `demo` takes.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Leave the server and the replicas running until ^C, to look around
    #[arg(long)]
    keep: bool,
}

pub(super) async fn demo(_: &Context, args: &DemoArgs) -> Result<Exit> {
    demo::demo(if args.keep { Afterwards::Keep } else { Afterwards::CleanUp }).await?;
    Ok(Exit::Done)
}
