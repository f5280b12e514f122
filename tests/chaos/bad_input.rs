//! Bad input by the thousand, where Sexton reads what others wrote: schedules, zones, policies, params, connection strings,
//! names of jobs, hints. Nothing may panic, and what is refused is refused with a sentence.
//!
//! Cases are mutations of a corpus of good ones: cut, doubled, swapped, with odd characters put in. A seed gives the same
//! cases again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Timestamp;
use serde_json::{Value, json};
use sexton::{
    Registry,
    edge::conninfo::ConnInfo,
    protocol::schedule::{Missed, Schedule, Seed},
};

use crate::world::{Result, Server};

/// What is read, and how good input looks.
pub struct Reader {
    pub name: &'static str,
    corpus: &'static [&'static str],
    /// Whether it was accepted; the sentence of a refusal must not be empty.
    read: fn(&str) -> std::result::Result<(), String>,
}

/// All of them.
pub const ALL: &[Reader] = &[
    Reader {
        name: "schedules",
        corpus: &[
            "daily 03:00",
            "0 3 * * *",
            "every 45m",
            "after 45m",
            "at start",
            "at deploy",
            "manual",
            "30 2,3 * * 1-5",
            "once 2027-01-01T00:00Z",
            "at start, then every 1h",
            "daily at 02:30 Europe/Paris",
            "cron H H(0-7) * * MON#1",
            "every 1 month",
            "0 0 31 2 *",
            "*/7 */5 1-31/3 JAN-DEC SUN",
        ],
        read: schedule,
    },
    Reader { name: "policies for missed runs", corpus: &["once", "skip", "each(10)"], read: missed },
    Reader {
        name: "params of a purge",
        corpus: &[
            r#"{"table": "public.events", "by": "created_at", "retention": "30 days"}"#,
            r#"{"table": "a.b", "by": "at", "retention": 86400, "where": "x = :tenant AND NOT keep", "walk": "heap"}"#,
            r#"{"table": "t", "by": "at", "retention": "1 month", "cutoff": "midnight", "time_zone": "Europe/Paris", "max_fraction": 0.2}"#,
            r#"{"table": "t", "by": "at", "retention": "1 day", "time_limit": "10m", "limit_rows": 1000, "batch": 50, "pacing": "full"}"#,
        ],
        read: params,
    },
    Reader {
        name: "connection strings",
        corpus: &[
            "postgres://bob:se%20cret@db1:5433,db2/inventory?sslmode=verify-full&connect_timeout=3",
            "host=db1 port=5432 dbname='inven tory' user=bob password='it''s'",
            "inventory",
            "host=/run/postgresql,db2 port=5432,5433 target_session_attrs=read-write",
            "postgresql://[::1]:5432/x",
        ],
        read: conninfo,
    },
];

fn schedule(text: &str) -> std::result::Result<(), String> {
    let seed = Seed::new(uuid::Uuid::nil(), "job");
    let schedule = Schedule::parse(text, None, &seed).map_err(|error| error.to_string())?;
    let now = Timestamp::from_second(1_800_000_000).map_err(|error| error.to_string())?;
    let mut last = now;
    for instant in schedule.upcoming(now, 3) {
        assert!(instant > last, "{text:?}: {instant} does not follow {last}");
        last = instant;
    }
    assert!(!schedule.describe().is_empty());
    Ok(())
}

fn missed(text: &str) -> std::result::Result<(), String> {
    text.parse::<Missed>().map(drop).map_err(|error| error.to_string())
}

fn params(text: &str) -> std::result::Result<(), String> {
    let value: Value =
        serde_json::from_str(text).unwrap_or_else(|_| json!({ "table": text, "by": text, "where": text }));
    let registry = Registry::with_builtins();
    let purge = registry.get("purge").expect("the purge is built in");
    purge.check(&value).map_err(|error| error.to_string())
}

fn conninfo(text: &str) -> std::result::Result<(), String> {
    ConnInfo::from_env_and(Some(text)).map(drop).map_err(|error| error.to_string())
}

impl Reader {
    /// Reads that many cases.
    pub fn feed(&self, cases: u32, seed: u64) -> Result<String> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut accepted = 0_u32;
        for _ in 0..cases {
            let case = mutate(&mut rng, self.corpus);
            match catch_unwind(AssertUnwindSafe(|| (self.read)(&case))) {
                Ok(Ok(())) => accepted += 1,
                Ok(Err(sentence)) if sentence.trim().is_empty() => {
                    return Err(format!("{case:?} is refused without a word").into());
                }
                Ok(Err(_)) => {}
                Err(_) => return Err(format!("{case:?} panics").into()),
            }
        }
        Ok(format!("{cases} cases, {accepted} accepted, 0 panics"))
    }
}

const ODD: &[char] = &[
    '\0', '"', '\'', '\\', ';', '%', '*', '/', ',', '-', '{', '(', ' ', '\n', 'é', '𝄞', '\u{202e}', '0', '9',
    ':', '=',
];

fn mutate(rng: &mut fastrand::Rng, corpus: &[&str]) -> String {
    let mut text: Vec<char> = rng.choice(corpus).copied().unwrap_or_default().chars().collect();
    for _ in 0..rng.usize(0..5) {
        let at = rng.usize(..=text.len());
        match rng.u8(0..7) {
            0 => text.truncate(at),
            1 => text.insert(at, ODD[rng.usize(..ODD.len())]),
            2 if at < text.len() => text[at] = ODD[rng.usize(..ODD.len())],
            3 if at < text.len() => drop(text.remove(at)),
            4 => {
                let piece: Vec<char> = text[at..].iter().copied().take(8).collect();
                for _ in 0..rng.usize(1..4) {
                    text.extend(&piece);
                }
            }
            5 => text.extend(rng.choice(corpus).copied().unwrap_or_default().chars()),
            _ => text.splice(at..at, rng.u64(..).to_string().chars()).for_each(drop),
        }
    }
    text.into_iter().take(400).collect()
}

/// Names of jobs as anybody may type them: refused by the table or harmless, never more than one row.
pub async fn names(server: &Server, cases: u32, seed: u64) -> Result<String> {
    let world = server.world().await?;
    let session = world.session().await?;
    let mut rng = fastrand::Rng::with_seed(seed);
    let corpus = ["audit-logs", "a'; DROP TABLE sexton.job; --", "a\" b", "purge_2", "../../etc/passwd", "é"];
    let insert = session
        .prepare("INSERT INTO sexton.job (name, kind) VALUES ($1, 'steps') ON CONFLICT DO NOTHING")
        .await?;
    let why = session.prepare("SELECT sexton.why($1), sexton.pause($1), sexton.resume($1)").await?;
    let mut accepted = 0;
    for _ in 0..cases {
        let name = mutate(&mut rng, &corpus).replace('\0', "");
        if session.execute(&insert, &[&name]).await.is_ok_and(|count| count == 1) {
            accepted += 1;
            let safe = |c: char| c.is_ascii_alphanumeric() || "._~-".contains(c);
            if !name.chars().all(safe) {
                return Err(format!("the name {name:?} was accepted").into());
            }
            session.query_one(&why, &[&name]).await.map_err(|error| format!("{name:?}: {error:?}"))?;
        }
    }
    let jobs: i64 = world.get("SELECT count(*) FROM sexton.job", &[]).await?;
    if jobs != accepted {
        return Err(format!("{jobs} jobs of {accepted} names").into());
    }
    Ok(format!("{cases} names, {accepted} accepted"))
}
