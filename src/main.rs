//! The composition root: what was typed, the kinds that are built in, and the exit code. Nothing else.

use std::process::ExitCode;

use sexton::{Registry, edge::cli::Cli, outside::Outside};

fn main() -> ExitCode {
    let cli = Cli::from_args();
    let outside = Outside::default();
    let registry = Registry::with_builtins_and(&outside);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(cli.execute(registry, outside)).into(),
        Err(error) => {
            eprintln!("error: the asynchronous runtime does not start: {error}");
            ExitCode::FAILURE
        }
    }
}
