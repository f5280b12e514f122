//! Bad input by the thousand, where Sexton reads what others wrote: schedules, zones, policies, params, connection strings,
//! names of jobs, hints. Nothing may panic, and what is refused is refused with a sentence.
//!
//! Cases are mutations of a corpus of good ones: cut, doubled, swapped, with odd characters put in. A seed gives the same
//! cases again.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::LazyLock,
};

use jiff::Timestamp;
use serde_json::{Value, json};
use sexton::{
    Registry,
    edge::{config::local, conninfo::ConnInfo},
    protocol::schedule::{Missed, Schedule, Seed},
};

use crate::world::{Result, Server};

/// What is read, and how good input looks.
pub struct Reader {
    pub name: &'static str,
    corpus: &'static [&'static str],
    /// Whether it was accepted; the sentence of a refusal must not be empty.
    read: fn(&str) -> std::result::Result<(), String>,
    /// How a case is made of the corpus.
    make: fn(&mut fastrand::Rng, &[&str]) -> String,
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
        make: mutate,
    },
    Reader {
        name: "policies for missed runs",
        corpus: &["once", "skip", "each(10)"],
        read: missed,
        make: mutate,
    },
    Reader { name: "params of every kind", corpus: &[], read: params, make: params_case },
    Reader {
        name: "the file sexton.toml",
        corpus: &[
            "app = \"shop\"\ngeneration = 12\n[defaults]\ntime_zone = \"Europe/Paris\"\n[jobs.a]\nschedule = \"daily 03:00\"\narmed = true\n[jobs.a.purge]\ntable = \"t\"\nby = \"at\"\nretention = \"${RETENTION:30 days}\"\n",
            "[jobs.b]\nresources = [\"a:{tenant}\", { name = \"b\", shared = true }]\ninputs = { tenant = \"bigint\" }\nwhen_held = \"skip\"\nmissed = \"each(3)\"\n[jobs.b.sql]\nstatement = \"SELECT 1\"\n",
            "[jobs.\"c.d\"]\nnotices = [{ to = \"mail:ops@example.org\", on = [\"failed\"] }]\ntimeout = 30\njitter = \"10m\"\n[jobs.\"c.d\".http]\nurl = \"https://example.com/x\"\nok = [\"2xx\", 404]\n",
        ],
        read: file,
        make: mutate,
    },
    Reader {
        name: "the replica's local file",
        corpus: &[
            "[replica]\nslots = 8\nlog = \"info\"\ndrain_timeout = \"20s\"\n[secrets.a]\nenv = \"PATH\"\nhosts = [\"*.example.com\", \"[::1]\"]\n[http]\nhosts = [\"api.example.com\"]\nplain_http = true\n",
            "[endpoints.e]\nurl = \"https://example.com/v1\"\nprivate_addresses = true\n[storages.s]\nurl = \"s3://bucket/prefix\"\nregion = \"r\"\n[storages.f]\nfolder = \"/tmp\"\n",
            "[commands.c]\nargv = [\"/bin/x\", \"--t\", \"{t}\"]\nparams = { t = \"whole\" }\ngrace = \"5s\"\nmemory_mib = 64\n[mail]\nurl = \"smtps://h:465\"\nfrom = \"S <s@example.com>\"\n[databases.d]\nconninfo = \"host=x\"\n",
            "[secrets.w]\nenv = \"PATH\"\n[webhooks.w]\nurl = \"https://example.com/h\"\nsecrets = [\"secret:w\"]\n[recipients.r]\nto = [\"a@example.com\"]\n",
        ],
        read: local_file,
        make: mutate,
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
        make: mutate,
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

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::with_builtins);

/// The kinds' own examples, as params.
static EXAMPLES: LazyLock<Vec<(&'static str, Value)>> = LazyLock::new(|| {
    let of_kind = |kind: &'static str, example: &str| {
        let whole: Value = toml::from_str(example).unwrap_or_else(|error| panic!("{kind}: {error}"));
        let jobs = whole["jobs"].as_object().cloned().unwrap_or_default();
        jobs.into_iter().filter_map(move |(_, job)| job.get(kind).cloned()).map(move |params| (kind, params))
    };
    REGISTRY
        .iter()
        .flat_map(|kind| of_kind(kind.name(), kind.describe().example).collect::<Vec<_>>())
        .collect()
});

fn params_case(rng: &mut fastrand::Rng, _: &[&str]) -> String {
    let (kind, mut params) = EXAMPLES[rng.usize(..EXAMPLES.len())].clone();
    for _ in 0..rng.usize(0..4) {
        bend(rng, &mut params);
    }
    json!({ "kind": kind, "params": params }).to_string()
}

/// Puts something else somewhere into it.
fn bend(rng: &mut fastrand::Rng, value: &mut Value) {
    match value {
        Value::Object(map) if !map.is_empty() && rng.u8(0..8) > 0 => {
            let keys: Vec<String> = map.keys().cloned().collect();
            let key = &keys[rng.usize(..keys.len())];
            match rng.u8(0..8) {
                0 => drop(map.remove(key)),
                1 => drop(map.insert(mutate(rng, &[key]), Value::Null)),
                _ => bend(rng, map.entry(key.clone()).or_insert(Value::Null)),
            }
        }
        Value::Array(items) if !items.is_empty() && rng.u8(0..4) > 0 => {
            let at = rng.usize(..items.len());
            bend(rng, &mut items[at]);
        }
        Value::String(text) if rng.u8(0..4) > 0 => *text = mutate(rng, &[text]),
        other => {
            *other = match rng.u8(0..8) {
                0 => Value::Null,
                1 => json!(i64::MIN),
                2 => json!(u64::MAX),
                3 => json!(f64::from_bits(rng.u64(..))),
                4 => json!([[other.clone()], {}]),
                5 => json!({ "": other.clone() }),
                6 => json!(rng.bool()),
                _ => json!(mutate(rng, &["30 days", ":tenant", "secret:x", "a.b.c", "'; --"])),
            }
        }
    }
}

fn params(text: &str) -> std::result::Result<(), String> {
    let case: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let kind = REGISTRY.get(case["kind"].as_str().unwrap_or_default()).expect("the kind is built in");
    kind.check(&case["params"]).map_err(|error| error.to_string())
}

fn nothing(_: &str) -> Option<String> {
    None
}

fn file(text: &str) -> std::result::Result<(), String> {
    let files = [("sexton.toml".into(), text.to_owned())];
    sexton::edge::config::parse(&files, &REGISTRY, &nothing)
        .map(drop)
        .map_err(|problems| problems.to_string())
}

fn local_file(text: &str) -> std::result::Result<(), String> {
    let path = std::path::Path::new("local.toml");
    local::parse(path, text, &|name| {
        (name == "PATH").then(|| "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0".to_owned())
    })
    .map(drop)
    .map_err(|problems| problems.to_string())
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
            let case = (self.make)(&mut rng, self.corpus);
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

pub fn mutate(rng: &mut fastrand::Rng, corpus: &[&str]) -> String {
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
    world.execute(TRY_NAMES).await?;
    let session = world.session().await?;
    let mut rng = fastrand::Rng::with_seed(seed);
    let corpus = ["audit-logs", "a'; DROP TABLE sexton.job; --", "a\" b", "purge_2", "../../etc/passwd", "é"];
    let (mut left, mut accepted) = (cases, 0);
    while left > 0 {
        let count = left.min(1000);
        left -= count;
        let names: Vec<String> = (0..count).map(|_| mutate(&mut rng, &corpus).replace('\0', "")).collect();
        for row in session.query("SELECT * FROM chaos.try_names($1)", &[&names]).await? {
            let name: String = row.get(0);
            let safe = |c: char| c.is_ascii_alphanumeric() || "._~-".contains(c);
            if !name.chars().all(safe) {
                return Err(format!("the name {name:?} was accepted").into());
            }
            accepted += 1;
        }
    }
    let jobs: i64 = world.get("SELECT count(*) FROM sexton.job", &[]).await?;
    if jobs != 0 {
        return Err(format!("{jobs} jobs are left of {accepted} that were deleted").into());
    }
    Ok(format!("{cases} names, {accepted} accepted"))
}

/// Creates a job of each name, speaks of it and deletes it again; the names that were accepted. Whatever goes wrong with a
/// job that is there is an error.
const TRY_NAMES: &str =
    "CREATE FUNCTION chaos.try_names(names text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
    DECLARE
      n text;
      deleted int;
    BEGIN
      FOREACH n IN ARRAY names LOOP
        BEGIN
          INSERT INTO sexton.job (name, kind) VALUES (n, 'steps');
        EXCEPTION WHEN check_violation OR string_data_right_truncation OR program_limit_exceeded THEN
          CONTINUE;
        END;
        PERFORM sexton.why(n), sexton.pause(n), sexton.resume(n);
        DELETE FROM sexton.job WHERE name = n;
        GET DIAGNOSTICS deleted = ROW_COUNT;
        IF deleted <> 1 THEN
          RAISE EXCEPTION 'name %: % rows', n, deleted;
        END IF;
        RETURN NEXT n;
      END LOOP;
    END $$";
