//! What passed, what failed, what could not be tried here, and the closing lines that say so.

use std::time::{Duration, Instant};

use crate::world::Result;

/// How one entry ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    Passed(String),
    Failed(String),
    Skipped(String),
}

/// One entry of the suite.
#[derive(Clone, Debug)]
pub struct Entry {
    pub number: String,
    pub name: String,
    pub outcome: Outcome,
}

/// All of them so far.
pub struct Tally {
    pub entries: Vec<Entry>,
    began: Instant,
}

/// Why something is skipped, for [`Tally::note`]: what the machine lacks.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Lacking(pub String);

impl Tally {
    pub fn new() -> Tally {
        Tally { entries: Vec::new(), began: Instant::now() }
    }

    /// Notes what came of an entry, and says it.
    pub fn note(&mut self, number: &str, name: &str, took: Duration, ended: Result<String>) {
        let outcome = match ended {
            Ok(said) => Outcome::Passed(said),
            Err(error) => match error.downcast::<Lacking>() {
                Ok(lacking) => Outcome::Skipped(lacking.0),
                Err(error) => Outcome::Failed(error.to_string()),
            },
        };
        let (word, said) = match &outcome {
            Outcome::Passed(said) => ("ok", said),
            Outcome::Failed(said) => ("FAILED", said),
            Outcome::Skipped(said) => ("SKIPPED", said),
        };
        println!("test {number} {name} ... {word} ({said}; {:.1} s)", took.as_secs_f64());
        self.entries.push(Entry { number: number.to_owned(), name: name.to_owned(), outcome });
    }

    fn count(&self, is: fn(&Outcome) -> bool) -> usize {
        self.entries.iter().filter(|entry| is(&entry.outcome)).count()
    }

    /// Says again what failed and what was skipped; whether nothing failed.
    pub fn close(&self) -> bool {
        for entry in &self.entries {
            match &entry.outcome {
                Outcome::Passed(_) => {}
                Outcome::Failed(why) => println!("FAILED  {} {}: {why}", entry.number, entry.name),
                Outcome::Skipped(why) => println!("SKIPPED {} {}: {why}", entry.number, entry.name),
            }
        }
        let failed = self.count(|outcome| matches!(outcome, Outcome::Failed(_)));
        println!(
            "\ntest result: {}. {} passed; {failed} failed; {} skipped; finished in {:.2}s",
            if failed == 0 { "ok" } else { "FAILED" },
            self.count(|outcome| matches!(outcome, Outcome::Passed(_))),
            self.count(|outcome| matches!(outcome, Outcome::Skipped(_))),
            self.began.elapsed().as_secs_f64()
        );
        failed == 0
    }
}
