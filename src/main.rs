//! The composition root: what was typed, the kinds that are built in, and the exit code. Nothing else.

use std::process::ExitCode;

use sexton::{
    Registry,
    edge::cli::Cli,
    kinds::command::Commands,
    outside::{Outside, process},
};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == process::CHILD_EXEC) {
        return process::child_exec(arguments);
    }
    let cli = Cli::from_args();
    let outside = Outside::default();
    let mut registry = Registry::with_builtins_and(&outside);
    if let Some(own) = process::own_program() {
        registry.add(Commands::new(outside.clone()).with_helper(own));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(cli.execute(registry, outside)).into(),
        Err(error) => {
            eprintln!("error: the asynchronous runtime does not start: {error}");
            ExitCode::FAILURE
        }
    }
}
