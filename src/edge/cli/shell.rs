//! `sexton completions`.
//!
//! What is easy to get wrong: the generator panics when its reader goes away, so it writes to memory first.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Context, Exit, output};
use crate::error::Result;

/// What `completions` takes.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn completions(_: &Context, args: &CompletionsArgs) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sexton", &mut script);
    output::write_out(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
