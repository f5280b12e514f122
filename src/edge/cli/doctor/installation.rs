//! The schema, the roles, and how the work stands.

use jiff::Timestamp;
use tokio_postgres::{Client, Row};

use super::{Finding, or_failed, row};
use crate::{edge::migrate, error::Result, statements};

/// Whether the schema is there and complete.
pub(super) async fn schema(client: &Client) -> Finding {
    match migrate::check(client).await {
        Ok(status) if status.is_complete() => Finding::ok("schema", status.to_string()),
        Ok(status) => match status.may_run() {
            Err(error) => Finding::failed("schema", &error),
            Ok(()) => Finding::warn("schema", status.to_string(), "Run `sexton migrate`."),
        },
        Err(error) => Finding::failed("schema", &error),
    }
}

pub(super) async fn check(client: &Client) -> Vec<Finding> {
    let mut findings = or_failed("roles", roles(client).await);
    findings.extend(or_failed("installation", installation(client).await));
    findings.extend(or_failed("work", work(client).await));
    findings
}

async fn roles(client: &Client) -> Result<Vec<Finding>> {
    let row = row(client, statements::CHECK_ROLE).await?;
    let (role, owner): (String, String) = (row.get("role"), row.get("owner"));
    let granted = [("may_run", "run jobs"), ("may_operate", "steer them"), ("may_author", "write them")];
    let (may, may_not): (Vec<_>, Vec<_>) = granted.into_iter().partition(|(column, _)| row.get(*column));
    let said = |rights: &[(&str, &str)]| rights.iter().map(|(_, said)| *said).collect::<Vec<_>>().join(", ");
    let rights = if may_not.is_empty() {
        Finding::ok("rights", format!("{role} may {}", said(&may)))
    } else {
        let message = format!("{role} may not {}", said(&may_not));
        let remedy = format!(
            "If it shall: GRANT sexton_runner (to run), sexton_operator (to steer) or sexton_author (to write) TO {role}."
        );
        Finding::warn("rights", message, remedy)
    };
    let roles = if row.get("has_roles") {
        Finding::ok("roles", format!("the group roles are there; the schema belongs to {owner}"))
    } else {
        let remedy =
            "Let a role that may create roles run `sexton migrate`, to part running, steering and writing.";
        Finding::warn("roles", format!("everything runs under one role, {owner}"), remedy)
    };
    let terminate = if row.get("may_terminate") {
        Finding::ok("terminate", format!("{owner} may end a holder's session"))
    } else {
        let message =
            format!("{owner} may not end sessions of {role}: `sexton kill --terminate` will not work");
        Finding::warn("terminate", message, format!("GRANT pg_signal_backend TO {owner}."))
    };
    Ok(vec![rights, roles, terminate])
}

async fn installation(client: &Client) -> Result<Vec<Finding>> {
    let row = row(client, statements::CHECK_INSTALLATION).await?;
    let adopt: Option<Timestamp> = row.get("adopt_needed_at");
    let identity: Option<String> = row.get("identity");
    let named = identity.map(|name| format!(", named {name}")).unwrap_or_default();
    let incarnation = match (adopt, row.get("readable")) {
        (Some(_), _) => Finding::fail(
            "incarnation",
            "this database was restored or cloned: destructive and outside kinds wait",
            "If it shall be maintained: `sexton adopt`.",
        ),
        (None, false) => Finding::warn(
            "incarnation",
            "the server does not tell which cluster it is: a restored or cloned database is not noticed",
            "Where possible: GRANT EXECUTE ON FUNCTION pg_control_system() to the schema's owner; else name the \
             database (UPDATE sexton.meta SET identity = …) and give replicas --identity.",
        ),
        (None, true) => {
            Finding::ok("incarnation", format!("known, epoch {}{named}", row.get::<_, i64>("epoch")))
        }
    };
    let halted: Option<Timestamp> = row.get("halted_at");
    Ok(std::iter::once(incarnation).chain(halted.map(|_| halt(&row))).collect())
}

fn halt(row: &Row) -> Finding {
    let (by, reason): (Option<String>, Option<String>) = (row.get("halted_by"), row.get("halt_reason"));
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let message = format!("everything destructive was halted by {}{reason}", by.unwrap_or_default());
    Finding::warn("halt", message, "`sexton resume-all` ends that.")
}

async fn work(client: &Client) -> Result<Vec<Finding>> {
    let row = row(client, statements::CHECK_WORK).await?;
    let (alive, slots, jobs): (i64, i64, i64) = (row.get("alive"), row.get("slots"), row.get("jobs"));
    let list = |column: &str| row.get::<_, Vec<String>>(column);
    let replicas = if alive == 0 && jobs > 0 {
        Finding::warn("replicas", format!("none is alive for {jobs} job(s)"), "Start one: `sexton run`.")
    } else {
        Finding::ok("replicas", format!("{alive} alive with {slots} slot(s), {jobs} job(s)"))
    };
    let mut findings = vec![replicas];
    let unknown = list("unknown");
    if alive > 0 && !unknown.is_empty() {
        let message = format!("no replica that is alive knows: {}", unknown.join(", "));
        findings.push(Finding::warn("kinds", message, "Start a replica that does, or mend the jobs' kind."));
    }
    let lacking = list("lacking");
    if !lacking.is_empty() {
        let message = format!("no replica that is alive knows what these name: {}", lacking.join(", "));
        findings.push(Finding::warn(
            "needs",
            message,
            format!("`sexton why {}` says what is missing.", lacking[0]),
        ));
    }
    let invalid = list("invalid");
    if !invalid.is_empty() {
        let message = format!("refused by a replica: {}", invalid.join(", "));
        findings.push(Finding::warn(
            "jobs",
            message,
            format!("`sexton why {}` says what is wrong.", invalid[0]),
        ));
    }
    let orphans = list("orphans");
    if !orphans.is_empty() {
        let message = format!("their replica is gone: {}", orphans.join(", "));
        let remedy = "A replica that is alive and knows their kind takes over in about a second.";
        findings.push(Finding::warn("orphans", message, remedy));
    }
    let overdue = list("overdue");
    findings.push(match overdue.first() {
        None => Finding::ok("overdue", "nothing is late"),
        Some(first) => {
            let name = first.split(' ').next().unwrap_or_default();
            Finding::warn("overdue", overdue.join(", "), format!("`sexton why {name}` says why."))
        }
    });
    Ok(findings)
}
