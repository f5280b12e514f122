//! Whether it was exactly once: the table as it is against fingerprints taken before, and what each attempt recorded
//! against what a trigger of the application saw.
//!
//! Nothing here believes what Sexton says of itself, but for the cutoff, which it chose. What is easy to get wrong: a
//! count alone would pass a purge that deleted one wrong row for one that it forgot, hence the fingerprints.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::{
    application::Application,
    screen::{Screen, count},
};
use crate::error::{Error, ErrorKind, Result};

const AUDIT_LOG: &str = include_str!("../../../sql/demo/audit_log_after.sql");
const OTHERS: &str = include_str!("../../../sql/demo/others_after.sql");
const ATTEMPTS: &str = include_str!("../../../sql/demo/attempts.sql");

/// What the audit log became.
struct AuditLog {
    eligible_before: i64,
    eligible_now: i64,
    wanted: i64,
    kept: i64,
    same: bool,
    seen_deleted: i64,
}

impl From<&Row> for AuditLog {
    fn from(row: &Row) -> Self {
        AuditLog {
            eligible_before: row.get(0),
            eligible_now: row.get(1),
            wanted: row.get(2),
            kept: row.get(3),
            same: row.get(4),
            seen_deleted: row.get(5),
        }
    }
}

/// One attempt: what it recorded, and what the trigger saw on its session.
struct Attempt {
    attempt: i32,
    holder: String,
    state: String,
    batches: i64,
    rows: i64,
    statements_seen: i64,
    rows_seen: i64,
}

impl From<&Row> for Attempt {
    fn from(row: &Row) -> Self {
        Attempt {
            attempt: row.get(0),
            holder: row.get(1),
            state: row.get(2),
            batches: row.get(3),
            rows: row.get(4),
            statements_seen: row.get(5),
            rows_seen: row.get(6),
        }
    }
}

impl Attempt {
    /// A batch may find nothing to delete; none may have deleted and not be recorded, or be recorded twice.
    fn agrees(&self) -> bool {
        self.rows == self.rows_seen && self.batches >= self.statements_seen
    }
}

/// Checks everything, and shows each check.
///
/// # Errors
/// If one does not hold, after all were shown; or if the database fails.
pub(super) async fn verify(
    screen: &Screen,
    application: &Application,
    job: &str,
    occurrence: Timestamp,
    cutoff: &str,
) -> Result<()> {
    let client = application.client();
    let log = AuditLog::from(&client.query_one(AUDIT_LOG, &[&cutoff]).await?);
    let others = client.query(OTHERS, &[]).await?;
    let attempts = client.query(ATTEMPTS, &[&job, &occurrence]).await?;
    let attempts: Vec<Attempt> = attempts.iter().map(Attempt::from).collect();
    let names: Vec<&str> = others.iter().map(|row| row.get(0)).collect();

    let mut checks = vec![gone(&log), kept(&log), untouched(&names)];
    checks.extend(attempts.iter().map(recorded));
    checks.push(once(&log, &attempts));
    for (holds, text) in &checks {
        if *holds { screen.good(text) } else { screen.bad(text) }
    }
    match checks.iter().filter(|(holds, _)| !holds).count() {
        0 => Ok(()),
        wrong => {
            Err(Error::new(ErrorKind::Database, format!("{wrong} of {} checks do not hold", checks.len()))
                .about("the count"))
        }
    }
}

type Check = (bool, String);

fn gone(log: &AuditLog) -> Check {
    let text = match log.eligible_now {
        0 => format!("every row older than the cutoff is gone: {}", rows(log.eligible_before)),
        left => format!("{} of {} older rows are still there", rows(left), rows(log.eligible_before)),
    };
    (log.eligible_now == 0 && log.eligible_before > 0, text)
}

fn kept(log: &AuditLog) -> Check {
    let text = match log.same {
        true => {
            format!("no other row was touched, nor those without a date: {} are as before", rows(log.kept))
        }
        false => {
            format!("of {} younger rows, {} are there, or they differ", rows(log.wanted), rows(log.kept))
        }
    };
    (log.same && log.kept == log.wanted, text)
}

fn untouched(changed: &[&str]) -> Check {
    let text = match changed {
        [] => "users, addresses and sessions are as before: their jobs are not armed".to_owned(),
        names => format!("tables that nothing was to touch differ: {}", names.join(", ")),
    };
    (changed.is_empty(), text)
}

fn recorded(attempt: &Attempt) -> Check {
    let Attempt { attempt: number, holder, state, .. } = attempt;
    let text = format!(
        "attempt {number}, {holder}, {state}: {} rows in {} batches recorded, {} seen by a trigger",
        rows(attempt.rows),
        rows(attempt.batches),
        rows(attempt.rows_seen)
    );
    (attempt.agrees(), text)
}

fn once(log: &AuditLog, attempts: &[Attempt]) -> Check {
    let recorded: i64 = attempts.iter().map(|attempt| attempt.rows).sum();
    let holds = recorded == log.eligible_before && log.seen_deleted == recorded;
    let text = match holds {
        true => format!("no batch twice, none missing: {} = {}", sum(attempts), rows(recorded)),
        false => format!(
            "{} recorded, {} seen deleted, {} eligible: these should be equal",
            rows(recorded),
            rows(log.seen_deleted),
            rows(log.eligible_before)
        ),
    };
    (holds, text)
}

fn sum(attempts: &[Attempt]) -> String {
    attempts.iter().map(|attempt| rows(attempt.rows)).collect::<Vec<_>>().join(" + ")
}

fn rows(number: i64) -> String {
    count(number.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> AuditLog {
        AuditLog { eligible_before: 9, eligible_now: 0, wanted: 5, kept: 5, same: true, seen_deleted: 9 }
    }

    fn attempt(rows: i64, rows_seen: i64) -> Attempt {
        let (holder, state) = ("replica-1".to_owned(), "succeeded".to_owned());
        Attempt { attempt: 1, holder, state, batches: 3, rows, statements_seen: 2, rows_seen }
    }

    #[test]
    fn a_right_purge_passes() {
        assert!(gone(&log()).0 && kept(&log()).0 && untouched(&[]).0);
        assert!(recorded(&attempt(9, 9)).0);
        assert!(once(&log(), &[attempt(4, 4), attempt(5, 5)]).0);
    }

    #[test]
    fn each_wrong_is_seen() {
        assert!(!gone(&AuditLog { eligible_now: 1, ..log() }).0, "a row was left");
        assert!(!gone(&AuditLog { eligible_before: 0, ..log() }).0, "nothing was put to the test");
        assert!(!kept(&AuditLog { same: false, ..log() }).0, "another row went in its place");
        assert!(!untouched(&["users"]).0);
        assert!(!recorded(&attempt(4, 5)).0, "a batch is not recorded");
        assert!(
            !recorded(&Attempt { statements_seen: 4, ..attempt(9, 9) }).0,
            "a batch was counted once, done twice"
        );
        assert!(!once(&AuditLog { seen_deleted: 10, ..log() }, &[attempt(9, 9)]).0, "a row went twice");
        assert!(!once(&log(), &[attempt(4, 4)]).0, "an attempt is missing");
    }
}
