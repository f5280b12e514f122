//! What the suite is told on its command line. A handful of words, so no library.

use std::path::PathBuf;

/// How much is to be done.
#[derive(Clone, Debug)]
pub struct Args {
    /// Attempts over all seeds.
    pub attempts: i64,
    pub seeds: u64,
    /// The first seed.
    pub seed: u64,
    /// Takeovers of each kind.
    pub trials: usize,
    /// Cases of bad input of each kind.
    pub cases: u32,
    /// Only entries whose number or name has this in it.
    pub only: Option<String>,
    /// Also what takes long or a server's programs of one's own: F31 and F32.
    pub long: bool,
    /// How long F32 goes on.
    pub hours: f64,
    /// Where the report goes.
    pub report: Option<PathBuf>,
    /// As it was typed, for the report.
    pub command: String,
}

pub const USAGE: &str = "usage: chaos [--attempts N] [--seeds N] [--seed N] [--trials N] [--cases N] [--long] [--hours N] [--report FILE]
             [--only TEXT | TEXT]
       without arguments: the short version, for CI";

impl Args {
    /// Reads them; an error is a sentence for people.
    pub fn read(arguments: impl Iterator<Item = String>) -> Result<Args, String> {
        let mut args = Args {
            attempts: 500,
            seeds: 1,
            seed: 1,
            trials: 6,
            cases: 2_000,
            only: None,
            long: false,
            hours: 24.0,
            report: None,
            command: String::new(),
        };
        let mut arguments = arguments;
        let mut typed = Vec::new();
        while let Some(argument) = arguments.next() {
            typed.push(argument.clone());
            let mut value = || {
                let value = arguments.next().ok_or(format!("{argument} wants a value\n{USAGE}"))?;
                typed.push(value.clone());
                Ok::<String, String>(value)
            };
            match argument.as_str() {
                "--attempts" => args.attempts = number(&argument, &value()?)?,
                "--seeds" => args.seeds = number(&argument, &value()?)?,
                "--seed" => args.seed = number(&argument, &value()?)?,
                "--trials" => args.trials = number(&argument, &value()?)?,
                "--cases" => args.cases = number(&argument, &value()?)?,
                "--long" => args.long = true,
                "--hours" => args.hours = number(&argument, &value()?)?,
                "--report" => args.report = Some(value()?.into()),
                "--only" => args.only = Some(value()?),
                // What `cargo test` passes on to every test binary.
                "--nocapture" | "--show-output" | "--quiet" | "-q" => {}
                threads if threads.starts_with("--test-threads=") => {}
                filter if !filter.starts_with('-') => args.only = Some(filter.to_owned()),
                other => return Err(format!("{other} is not known\n{USAGE}")),
            }
        }
        if !(0.001..=10_000.0).contains(&args.hours) {
            return Err(format!("--hours is a number of hours\n{USAGE}"));
        }
        if args.seeds == 0 || args.attempts < 1 || args.trials == 0 {
            return Err(format!("--attempts, --seeds and --trials are 1 or more\n{USAGE}"));
        }
        args.command = typed.join(" ");
        Ok(args)
    }

    /// Whether an entry that takes long is wanted: all of them, or just this one.
    pub fn is_asked_for(&self, number: &str) -> bool {
        self.only.as_ref().map_or(self.long, |only| only == number)
    }

    /// Whether an entry is wanted.
    pub fn wants(&self, number: &str, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| number == only || name.contains(only.as_str()))
    }
}

fn number<N: std::str::FromStr>(argument: &str, value: &str) -> Result<N, String> {
    value.parse().map_err(|_| format!("{argument}: {value} is no number\n{USAGE}"))
}
