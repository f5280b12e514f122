//! The fault suite: real replicas, a nemesis with a seed, and a checker that reads what the database itself noted.
//!
//! `cargo test --features failpoints --test chaos` plays the short version; `scripts/chaos --attempts 10000 --seeds 20` is
//! the campaign, which writes its figures into `docs/reliability.md`. It ends with a line such as `test result: ok. 60
//! passed; 0 failed; 2 skipped`, and by an exit code other than 0 if a promise was broken or a mutant survived. The same
//! binary is also the replica (`chaos replica`), and the program that jobs start (`chaos child`). What is easy to get wrong: everything that is started here must end with
//! the suite, however that ends; hence no `process::exit` while anything is alive.

mod args;
mod tally;
mod suite;
mod history;
mod checker;
mod world;
mod bare;
mod machine;
mod process;
mod replica;
mod steps;
mod diary;
mod fleet;
mod proxy;
mod wire;
mod round;
mod dice;
mod faults;
mod nemesis;
mod storm;
mod jobs;
mod application;
mod soak;
mod hand;
mod scenes;
mod mutants;
mod staged;
mod canary;
mod sink;
mod child;
mod outside;
mod backups;
mod takeover;
mod bad_input;
mod answers;
mod report;

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::{args::Args, tally::Tally, world::Result};

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return exit(Err(error.into())),
    };
    let code = runtime.block_on(begin());
    // What a thread still computes is nobody's any more, such as bad input after an interrupt.
    runtime.shutdown_background();
    code
}

async fn begin() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if_eq("replica").is_some() {
        return exit(replica::run().await.map(|()| true));
    }
    if arguments.next_if_eq("child").is_some() {
        return exit(child::run(arguments).await.map(|()| true));
    }
    match Args::read(arguments) {
        Ok(args) => exit(run(&args).await),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn exit(ended: Result<bool>) -> ExitCode {
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Plays the suite; an interrupt drops it, and with it everything that it started.
async fn run(args: &Args) -> Result<bool> {
    let mut tally = Tally::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let played = tokio::select! {
        played = suite::play(args, &mut tally) => Some(played),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    match played {
        Some(Ok(figures)) => {
            if let Some(path) = &args.report {
                report::write(path, args, &tally, &figures)?;
            }
        }
        Some(Err(error)) => tally.note("suite", "plays to its end", std::time::Duration::ZERO, Err(error)),
        None => tally.note("suite", "plays to its end", std::time::Duration::ZERO, Err("interrupted".into())),
    }
    Ok(tally.close())
}
