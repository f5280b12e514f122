//! `sexton demo`: the one command that needs no database.

use clap::Args;

use super::Exit;
use crate::{
    edge::demo::{self, Afterwards},
    error::Result,
};

/// What `demo` takes.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Leave the private PostgreSQL and its replicas running until ^C, to look around
    #[arg(long)]
    keep: bool,
}

pub(super) async fn demo(args: &DemoArgs) -> Result<Exit> {
    let afterwards = if args.keep { Afterwards::Keep } else { Afterwards::CleanUp };
    demo::demo(afterwards).await.map(|()| Exit::Done)
}
