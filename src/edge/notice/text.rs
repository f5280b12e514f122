//! A notice in words: the subject and the body of a mail.
//!
//! It is read on a phone, by somebody who was woken up: what happened, why, what to type, and only then the figures. What
//! is easy to get wrong: names, errors and reports come from rows and from other machines. Nothing of them may begin a
//! new header, so a subject is one line of bounded length, and the body holds no control characters but line breaks.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::protocol::notice::Message;

/// The longest subject, in characters.
const SUBJECT_MAX: usize = 150;
/// The most of a body that goes into a mail, in bytes.
const BODY_MAX: usize = 64 * 1024;
/// Fields that the words tell; all others are listed as they are.
const TOLD: &[&str] = &[
    "attempt",
    "attempts",
    "batches",
    "channel",
    "error",
    "expect_success_every",
    "failures",
    "finished_at",
    "holder",
    "kind",
    "last_success_at",
    "mode",
    "occurrence",
    "origin",
    "outcome",
    "recipients",
    "report",
    "rows",
    "started_at",
    "text",
    "why",
];

/// The subject: one line, with the application's name.
pub fn subject(message: &Message) -> String {
    let app = message.app.as_deref().filter(|app| *app != "default").unwrap_or("sexton");
    let mut subject = format!("[{app}] {}", headline(message));
    if message.held_back > 0 {
        let _ = write!(subject, " (and {} more)", message.held_back);
    }
    one_line(&subject)
}

/// One line without control characters, of bounded length.
fn one_line(text: &str) -> String {
    let clean: String = text.chars().map(|c| if is_break(c) || c.is_control() { ' ' } else { c }).collect();
    match clean.char_indices().nth(SUBJECT_MAX) {
        Some((end, _)) => format!("{}…", &clean[..end]),
        None => clean,
    }
}

/// What ends a line, somewhere.
fn is_break(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{85}')
}

fn headline(message: &Message) -> String {
    let job = message.job.as_deref().unwrap_or("Sexton");
    let fact = |name: &str| fact(&message.payload, name);
    match message.event.as_str() {
        "started" => format!("{job} started"),
        "succeeded" => format!("{job} succeeded"),
        "failed" => format!("{job} failed"),
        "refused" => format!("{job} was refused by a guard"),
        "recovered" => format!("{job} works again"),
        "changed" => match fact("owner") {
            Some(owner) => format!("{job} changed something of {owner}"),
            None => format!("{job} changed something"),
        },
        "overdue" => format!("{job} is overdue"),
        "paused_itself" => {
            format!("{job} paused itself after {} failures", fact("failures").unwrap_or_default())
        }
        "lock_held_by_stranger" => format!("{job} cannot start: a stranger holds its lock"),
        "channel_off" => format!("the channel {} is switched off", fact("channel").unwrap_or_default()),
        "adopt_needed" => "the database was restored or cloned".to_owned(),
        "test" => format!("a test of {}", message.channel),
        other => format!("{job}: {other}"),
    }
}

/// A field of the payload as text; composite ones have none.
fn fact(payload: &Value, name: &str) -> Option<String> {
    match payload.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        _ => None,
    }
}

/// The body: plain text.
pub fn body(message: &Message) -> String {
    let payload = &message.payload;
    let mut text = format!("{}.\n", capitalized(&headline(message)));
    if let Some(said) = fact(payload, "text") {
        let _ = write!(text, "\n{said}\n");
    }
    for reason in ["error", "why"].into_iter().filter_map(|name| fact(payload, name)) {
        let _ = write!(text, "\n{reason}\n");
    }
    let typed = to_type(message);
    if !typed.is_empty() {
        text.push_str("\nWhat to type:\n");
        typed.iter().for_each(|line| {
            let _ = writeln!(text, "  {line}");
        });
    }
    if message.held_back > 0 {
        let _ = write!(text, "\n{} more like this were held back since the last one.\n", message.held_back);
    }
    let facts = facts(message);
    if !facts.is_empty() {
        text.push('\n');
        facts.iter().for_each(|(name, value)| {
            let _ = writeln!(text, "  {name:<12} {value}");
        });
    }
    let rest = payload.as_object().map(listed).unwrap_or_default();
    if !rest.is_empty() {
        let _ = write!(text, "\n{rest}");
    }
    bounded(&clean(&text))
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// What helps, as commands.
fn to_type(message: &Message) -> Vec<String> {
    let Some(job) = &message.job else {
        return match message.event.as_str() {
            "channel_off" => vec![
                "sexton notices --failed".to_owned(),
                format!("sexton notices on {}", fact(&message.payload, "channel").unwrap_or_default()),
            ],
            "adopt_needed" => vec!["sexton adopt        (if this database shall be maintained)".to_owned()],
            _ => Vec::new(),
        };
    };
    match message.event.as_str() {
        "failed" => vec![format!("sexton show {job}"), format!("sexton run-now {job}")],
        "refused" => vec![format!("sexton plan {job}"), format!("sexton why {job}")],
        "overdue" | "lock_held_by_stranger" => {
            vec![format!("sexton why {job}"), format!("sexton runs {job}")]
        }
        "paused_itself" => vec![format!("sexton show {job}"), format!("sexton resume {job}")],
        _ => Vec::new(),
    }
}

/// The figures, in the order in which people ask for them.
fn facts(message: &Message) -> Vec<(&'static str, String)> {
    let payload = &message.payload;
    let kind = fact(payload, "kind").map(|kind| format!(" ({kind})")).unwrap_or_default();
    let dry = if fact(payload, "mode").as_deref() == Some("dry") { ", a dry run" } else { "" };
    let attempt = fact(payload, "attempt").map(|attempt| {
        fact(payload, "attempts").map_or_else(|| attempt.clone(), |most| format!("{attempt} of {most}"))
    });
    let batches =
        fact(payload, "batches").map(|batches| format!(" in {batches} batches")).unwrap_or_default();
    [
        ("job", message.job.as_ref().map(|job| format!("{job}{kind}"))),
        ("outcome", fact(payload, "outcome").map(|outcome| format!("{outcome}{dry}"))),
        ("failures", fact(payload, "failures").map(|failures| format!("{failures} in a row"))),
        ("attempt", attempt),
        ("rows", fact(payload, "rows").map(|rows| format!("{rows}{batches}"))),
        ("occurrence", fact(payload, "occurrence")),
        ("started", fact(payload, "started_at")),
        ("finished", fact(payload, "finished_at")),
        ("replica", fact(payload, "holder")),
        ("expected", fact(payload, "expect_success_every").map(|every| format!("a success every {every}"))),
        ("succeeded", fact(payload, "last_success_at").map(|at| format!("last at {at}"))),
        ("run", message.run_id.map(|run| run.to_string())),
        ("noticed", Some(message.at.to_string())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

/// The report, and whatever else the payload has.
fn listed(payload: &Map<String, Value>) -> String {
    let report = payload.get("report").filter(|report| !report.is_null());
    let others = payload.iter().filter(|(name, _)| !TOLD.contains(&name.as_str()));
    report
        .map(|report| ("report", report))
        .into_iter()
        .chain(others.map(|(name, value)| (name.as_str(), value)))
        .fold(String::new(), |mut text, (name, value)| {
            let value = match value {
                Value::String(value) => value.clone(),
                value => serde_json::to_string_pretty(value).unwrap_or_default(),
            };
            let _ = writeln!(text, "{name}: {value}");
            text
        })
}

/// Without control characters but line breaks, in which mail readers and terminals would see commands.
fn clean(text: &str) -> String {
    text.chars().filter(|c| *c == '\n' || !c.is_control()).collect()
}

fn bounded(text: &str) -> String {
    if text.len() <= BODY_MAX {
        return text.to_owned();
    }
    let end = (0..=BODY_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}\n… (cut; `sexton show` has the rest)\n", &text[..end])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(event: &str, payload: Value) -> Message {
        let job = Some("audit-logs".to_owned());
        Message {
            event: event.to_owned(),
            job,
            app: Some("shop".to_owned()),
            payload,
            ..Message::test("mail:a@b.example")
        }
    }

    #[test]
    fn a_failure_says_why_and_what_to_type_before_the_figures() {
        let payload = json!({"kind": "purge", "outcome": "failed", "error": "no such table. Create it", "failures": 2,
            "attempt": 3, "attempts": 3, "rows": 10, "batches": 1, "report": {"stopped": "drained"}, "extra": [1]});
        let message = Message { held_back: 4, ..message("failed", payload) };
        assert_eq!(subject(&message), "[shop] audit-logs failed (and 4 more)");
        let body = body(&message);
        let order = [
            "no such table. Create it",
            "sexton show audit-logs",
            "4 more like this",
            "3 of 3",
            "10 in 1 batches",
            "drained",
            "extra: [",
        ];
        let found: Vec<usize> =
            order.iter().map(|part| body.find(part).unwrap_or_else(|| panic!("{part}: {body}"))).collect();
        assert!(found.is_sorted(), "{body}");
    }

    #[test]
    fn every_event_has_words_of_its_own() {
        for event in crate::protocol::notice::EVENTS {
            let subject = subject(&message(event.name, json!({"failures": 5, "channel": "webhook:cdn"})));
            assert!(!subject.contains(&format!(": {}", event.name)), "{subject}");
        }
    }

    #[test]
    fn nothing_from_a_row_ends_the_line_of_a_subject() {
        let job = Some("x\r\nBcc: victim@example.org\u{2028}y\u{1b}[0m".to_owned());
        let message = Message { job, ..message("failed", json!({"error": "a\u{1b}[31mb\r\n.\r\nc"})) };
        let subject = subject(&message);
        assert!(!subject.contains(['\r', '\n', '\u{2028}', '\u{1b}']), "{subject:?}");
        assert!(!body(&message).contains(['\r', '\u{1b}']));
        let long = Message { job: Some("ü".repeat(10_000)), ..message };
        assert!(super::subject(&long).chars().count() <= SUBJECT_MAX + 1);
    }

    #[test]
    fn a_long_body_is_cut() {
        let body = body(&message("failed", json!({"error": "é".repeat(BODY_MAX)})));
        assert!(body.len() < BODY_MAX + 100 && body.contains("cut"));
    }
}
