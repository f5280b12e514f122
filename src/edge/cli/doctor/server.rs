//! The server, what stands before it, and its limits.

use jiff::Timestamp;
use tokio_postgres::Client;

use super::{Finding, or_failed, row};
use crate::{
    edge::cli::format,
    error::Result,
    protocol::{
        connect::Connector,
        pooler::refuse_transaction_pooler,
        session::{Lease, RunSession, Settings},
    },
    statements,
};

/// The oldest server that has all the settings of a run session.
const SERVER_VERSION_MIN: i32 = 14;
/// Clocks further apart than this make times on the screen misleading.
const SKEW_MAX: f64 = 5.0;
/// A transaction that is open for longer keeps vacuum from its work.
const TRANSACTION_MAX: f64 = 3600.0;
/// Share of the lock table, and of the connections, beyond which it gets tight.
const USE_MAX: f64 = 0.5;
/// A replica with its four slots and a person's session want this many.
const CONNECTIONS_FREE_MIN: i64 = 8;

pub(super) async fn check(client: &Client, connector: &Connector) -> Vec<Finding> {
    let mut findings = or_failed("server", version(client).await);
    findings.push(pooler(client, connector).await);
    findings.push(run_session(connector).await);
    findings.extend(or_failed("clock", clock(client).await));
    findings.extend(or_failed("limits", limits(client).await));
    findings.extend(or_failed("vacuum", vacuum(client).await));
    findings
}

async fn version(client: &Client) -> Result<Vec<Finding>> {
    let row = row(client, statements::CHECK_SERVER).await?;
    let (number, standby): (i32, bool) = (row.get(0), row.get(1));
    let text = format!("PostgreSQL {}.{}", number / 10_000, number % 10_000);
    let found = if number / 10_000 < SERVER_VERSION_MIN {
        let remedy = format!("Sexton needs PostgreSQL {SERVER_VERSION_MIN} or later.");
        Finding::fail("server", format!("{text} is too old"), remedy)
    } else if standby {
        Finding::fail(
            "server",
            format!("{text}, a standby: nothing can be maintained there"),
            "Connect to the primary; with several hosts, target_session_attrs=read-write finds it.",
        )
    } else {
        Finding::ok("server", format!("{text}, a primary"))
    };
    Ok(vec![found])
}

async fn pooler(client: &Client, connector: &Connector) -> Finding {
    match refuse_transaction_pooler(client, connector).await {
        Ok(()) => Finding::ok("pooler", "no transaction pooler stands before it"),
        Err(error) => Finding::failed("pooler", &error),
    }
}

/// Opens a run session as a run would: its settings are read back then.
async fn run_session(connector: &Connector) -> Finding {
    match RunSession::open(connector, "sexton/doctor/run", &Settings::default()).await {
        Ok(session) => {
            drop(session);
            let frozen = Lease::default().idle.as_secs() + 1;
            let message = format!(
                "all settings are in force: the jobs of a replica that dies go on about 1 s later, of one that is \
                 frozen or cut off after {frozen} s at the most"
            );
            Finding::ok("run session", message)
        }
        Err(error) => Finding::failed("run session", &error),
    }
}

async fn clock(client: &Client) -> Result<Vec<Finding>> {
    let before = Timestamp::now();
    let there: Timestamp = row(client, statements::CHECK_SERVER).await?.get(2);
    let halfway = before + before.duration_until(Timestamp::now()) / 2;
    let skew = there.duration_since(halfway).as_secs_f64();
    let text = format!(
        "the database's is {} {}",
        format::span(skew.abs()),
        if skew < 0.0 { "behind" } else { "ahead" }
    );
    Ok(vec![if skew.abs() > SKEW_MAX {
        let remedy = "Set both by NTP. The database's clock decides all that is due; logs here will mislead.";
        Finding::warn("clock", text, remedy)
    } else {
        Finding::ok("clock", text)
    }])
}

async fn limits(client: &Client) -> Result<Vec<Finding>> {
    let row = row(client, statements::CHECK_LIMITS).await?;
    let (locks, locks_max): (i64, i64) = (row.get("locks"), row.get("locks_max"));
    let (used, most): (i64, i64) = (row.get("connections"), row.get("connections_max"));
    let text = format!("{} of {} locks held", format::count(locks), format::count(locks_max));
    let lock_table = if locks as f64 > locks_max as f64 * USE_MAX {
        Finding::warn("lock table", text, "Raise max_locks_per_transaction: when it is full, claims fail.")
    } else {
        Finding::ok("lock table", text)
    };
    let text = format!("{used} of {most} in use");
    let connections = if most - used < CONNECTIONS_FREE_MIN {
        let remedy = "Raise max_connections, or lower --slots: each run has a session of its own.";
        Finding::warn("connections", text, remedy)
    } else {
        Finding::ok("connections", text)
    };
    Ok(vec![lock_table, connections])
}

async fn vacuum(client: &Client) -> Result<Vec<Finding>> {
    let row = row(client, statements::CHECK_VACUUM).await?;
    let autovacuum = if row.get("autovacuum") {
        Finding::ok("autovacuum", "on")
    } else {
        let remedy =
            "ALTER SYSTEM SET autovacuum = on (and track_counts): without it, purged rows keep their space.";
        Finding::warn("autovacuum", "off", remedy)
    };
    let (oldest, who): (Option<f64>, String) = (row.get("oldest"), row.get("oldest_who"));
    let (slots, prepared): (Vec<String>, Vec<String>) = (row.get("idle_slots"), row.get("prepared"));
    let horizon = if let Some(seconds) = oldest.filter(|seconds| *seconds > TRANSACTION_MAX) {
        let message = format!("a transaction is open for {} ({who})", format::span(seconds));
        Finding::warn("oldest xmin", message, "End it: until then vacuum cannot remove what purges delete.")
    } else if let Some(slot) = slots.first() {
        let message = format!("replication slot {slot} is not in use and holds vacuum back");
        Finding::warn(
            "oldest xmin",
            message,
            "Start its consumer again, or SELECT pg_drop_replication_slot(…).",
        )
    } else if let Some(gid) = prepared.first() {
        let message = format!("prepared transaction {gid} is open for more than an hour");
        Finding::warn("oldest xmin", message, format!("COMMIT PREPARED or ROLLBACK PREPARED '{gid}'."))
    } else {
        Finding::ok("oldest xmin", "nothing holds vacuum back")
    };
    Ok(vec![autovacuum, horizon])
}
