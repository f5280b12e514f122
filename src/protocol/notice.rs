//! Notices: the events that people can hear of, and messages on their way from the outbox to a channel.
//!
//! A notice is written by the database in the transaction that it is about; nothing here writes one. A replica takes
//! messages, sends them, and says what came of it, by short statements of its control session. What is easy to get
//! wrong: no transaction and no lock is held while a message is sent. Taking it puts its due time off, so that another
//! replica sends it if this one dies; hence at least once, and the key by which the other side tells repetitions.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::control::Control;
use crate::{error::Result, statements};

/// Stands for all mail addresses among the channels that a replica sends to.
pub const ANY_ADDRESS: &str = "mail:@";

/// Something that people can hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoticeEvent {
    /// Its name, as subscriptions have it.
    pub name: &'static str,
    /// Whether what tells of it again, about the same job, is held back at growing distance.
    pub throttled: bool,
    /// Whether a subscription that names no events has it.
    pub default: bool,
    /// What happened.
    pub meaning: &'static str,
}

/// Every event, in the order in which documents list them.
pub const EVENTS: &[NoticeEvent] = &[
    event("started", Told::EachTime, Asked::ByName, "a run of the job began"),
    event("succeeded", Told::EachTime, Asked::ByName, "an occurrence is done"),
    event(
        "failed",
        Told::Throttled,
        Asked::ByDefault,
        "an occurrence failed for good: its attempts are used up",
    ),
    event("refused", Told::Throttled, Asked::ByDefault, "a guard refused; nothing was done"),
    event("recovered", Told::Throttled, Asked::ByDefault, "the first success after a failure"),
    event("changed", Told::EachTime, Asked::ByName, "a run changed something that its owner should know of"),
    event(
        "overdue",
        Told::Throttled,
        Asked::ByDefault,
        "the last success is older than `expect_success_every`; told once",
    ),
    event(
        "paused_itself",
        Told::EachTime,
        Asked::ByDefault,
        "so many failures in a row as `pause_after` says",
    ),
    event(
        "lock_held_by_stranger",
        Told::Throttled,
        Asked::ByDefault,
        "the job has been due for a minute, and a session that is not Sexton's holds its lock; told once",
    ),
    event(
        "channel_off",
        Told::EachTime,
        Asked::ByName,
        "a channel failed ten times in a row and is switched off; goes to all other channels that hear of `failed`, too",
    ),
    event(
        "adopt_needed",
        Told::EachTime,
        Asked::ByName,
        "the database was restored or cloned, and waits for `sexton adopt`",
    ),
];

enum Told {
    EachTime,
    Throttled,
}

enum Asked {
    ByName,
    ByDefault,
}

const fn event(name: &'static str, told: Told, asked: Asked, meaning: &'static str) -> NoticeEvent {
    NoticeEvent {
        name,
        throttled: matches!(told, Told::Throttled),
        default: matches!(asked, Asked::ByDefault),
        meaning,
    }
}

/// A place that notices go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel {
    /// `mail:ADDRESS`.
    Address(String),
    /// `mail:NAME`: the recipients of this name in a replica's local file.
    Recipients(String),
    /// `webhook:NAME`: the webhook of this name in a replica's local file.
    Webhook(String),
}

impl Channel {
    /// Reads a channel as rows and files have it; `None` if it is none. The database says the same
    /// (`sexton.channel_fault`).
    pub fn parse(text: &str) -> Option<Channel> {
        let (scheme, rest) = text.split_once(':')?;
        match scheme {
            "mail" if is_address(rest) => Some(Channel::Address(rest.to_owned())),
            "mail" if is_name(rest) => Some(Channel::Recipients(rest.to_owned())),
            "webhook" if is_name(rest) => Some(Channel::Webhook(rest.to_owned())),
            _ => None,
        }
    }
}

fn is_name(text: &str) -> bool {
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    first && text.len() <= 100 && text.chars().all(|c| c.is_ascii_alphanumeric() || "._~-".contains(c))
}

/// Whether a text is a mail address as channels have them: plain, without name, quotes or comments.
pub fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let local_part = |c: char| c.is_ascii_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(c);
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    (1..=64).contains(&local.len())
        && local.chars().all(local_part)
        && domain.len() <= 252
        && domain.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c))
        && edge(domain.chars().next())
        && edge(domain.chars().last())
}

/// A notice for one channel.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// The same with every attempt: by it the other side tells repetitions from news.
    pub key: Uuid,
    /// Where to: `mail:ADDRESS`, `mail:NAME` or `webhook:NAME`.
    pub channel: String,
    /// What happened; one of [`EVENTS`], or a newer one.
    pub event: String,
    /// When.
    pub at: Timestamp,
    /// Whose file the job belongs to; none if it is about the whole installation.
    pub app: Option<String>,
    /// The job.
    pub job: Option<String>,
    /// The run.
    pub run_id: Option<Uuid>,
    /// How to read the payload.
    pub payload_version: i32,
    /// The facts, as they were then.
    pub payload: Value,
    /// How many others like it were held back since the last that was sent.
    pub held_back: i64,
}

impl Message {
    /// A message that tells nothing but that the way to a channel is open.
    pub fn test(channel: &str) -> Self {
        Message {
            key: Uuid::new_v4(),
            channel: channel.to_owned(),
            event: "test".to_owned(),
            at: Timestamp::now(),
            app: None,
            job: None,
            run_id: None,
            payload_version: 1,
            payload: Value::Object(serde_json::Map::new()),
            held_back: 0,
        }
    }

    fn read(row: &Row) -> Self {
        Message {
            key: row.get("key"),
            channel: row.get("channel"),
            event: row.get("event"),
            at: row.get("at"),
            app: row.get("app"),
            job: row.get("job"),
            run_id: row.get("run_id"),
            payload_version: row.get("payload_version"),
            payload: row.get("payload"),
            held_back: row.get("held_back"),
        }
    }
}

/// One attempt at a message: what is needed to say what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    delivery: i64,
    pub(crate) number: i32,
}

impl Control {
    /// Takes messages for these channels, at most `most`, each for `lease`.
    pub(crate) async fn take_deliveries(
        &self,
        replica: Uuid,
        channels: &[String],
        most: i32,
        lease: Duration,
    ) -> Result<Vec<(Attempt, Message)>> {
        let seconds = lease.as_secs_f64();
        let params: [&(dyn ToSql + Sync); 4] = [&replica, &channels, &most, &seconds];
        let rows = self.client().query(statements::TAKE_DELIVERIES, &params).await?;
        let attempt = |row: &Row| Attempt { delivery: row.get("delivery"), number: row.get("attempt") };
        Ok(rows.iter().map(|row| (attempt(row), Message::read(row))).collect())
    }

    /// Says what came of an attempt: none, or what went wrong. Answers what the delivery is now.
    pub(crate) async fn note_delivery(&self, attempt: Attempt, error: Option<&str>) -> Result<String> {
        let params: [&(dyn ToSql + Sync); 3] = [&attempt.delivery, &attempt.number, &error];
        Ok(self.client().query_one(statements::NOTE_DELIVERY, &params).await?.get(0))
    }

    /// Notices jobs that are overdue, or whose lock a stranger holds; how many are new.
    pub(crate) async fn raise_alarms(&self) -> Result<i64> {
        Ok(self.client().query_one(statements::RAISE_ALARMS, &[]).await?.get(0))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const TABLES: &str = include_str!("../../migrations/V1__tables.sql");
    const NOTICES: &str = include_str!("../../migrations/V7__notices.sql");

    fn names(of: impl Fn(&NoticeEvent) -> bool) -> BTreeSet<&'static str> {
        EVENTS.iter().filter(|event| of(event)).map(|event| event.name).collect()
    }

    /// The words between the two texts.
    fn words(text: &'static str, after: &str, before: &str) -> BTreeSet<&'static str> {
        let list = text.split(after).nth(1).unwrap_or_else(|| panic!("{after}"));
        let list = list.split(before).next().expect("it ends");
        list.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect()
    }

    #[test]
    fn the_database_knows_the_same_events() {
        let all = names(|_| true);
        assert_eq!(words(TABLES, "event    text NOT NULL CHECK (event IN (", "))"), all);
        assert_eq!(words(NOTICES, "e <> ALL ('{", "}')"), all);
        assert_eq!(words(NOTICES, "n.event = ANY ('{", "}')"), names(|event| event.throttled));
        assert_eq!(words(NOTICES, "events text[] DEFAULT '{", "}'"), names(|event| event.default));
        for name in all {
            assert!(
                NOTICES.split("is no event: these are").nth(1).expect("it is there")[..200].contains(name),
                "{name}"
            );
        }
    }

    #[test]
    fn the_documentation_has_this_very_table() {
        let documented = include_str!("../../docs/notices.md");
        let mut table = String::from("| Event | By default | Throttled | When |\n|---|---|---|---|\n");
        for event in EVENTS {
            let yes = |yes: bool| if yes { "yes" } else { "" };
            let line = format!(
                "| `{}` | {} | {} | {} |\n",
                event.name,
                yes(event.default),
                yes(event.throttled),
                event.meaning
            );
            table.push_str(&line);
        }
        assert!(documented.contains(&table), "docs/notices.md must hold this table:\n{table}");
    }
}
