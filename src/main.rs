//! The composition root: what was typed, the kinds that are built in, and the exit code. Nothing else.

use std::process::ExitCode;

use sexton::{Registry, edge::cli::Cli};

fn main() -> ExitCode {
    let cli = Cli::from_args();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(cli.execute(Registry::with_builtins())).into(),
        Err(error) => {
            eprintln!("error: the asynchronous runtime does not start: {error}");
            ExitCode::FAILURE
        }
    }
}
