//! What must hold before a row is touched, and what people should know beforehand.
//!
//! Each refusal names what to do. What is easy to get wrong: a role that sees only some rows would report "0 rows,
//! drained" where the truth is that row-level security hid them; so that is refused, never reported as success.

use jiff::Timestamp;

use super::{
    age::AgeType,
    cursor::Cutoff,
    params::{CutoffFrom, Params},
    target::{Facts, ForeignKey, arm_again},
};
use crate::{
    kind::{RunContext, Stop, interval::Retention},
    statements,
};

/// The least retention that needs no `force`.
const FLOOR_S: f64 = 3600.0;
/// The same, as the cutoff above which no row goes that has a retention of its own.
const FLOOR: &str = "1 hour";

/// Refuses a table that a purge cannot or must not touch.
pub fn table(job: &str, facts: &Facts) -> Result<(), Stop> {
    let Facts { name, role, .. } = facts;
    let refused = |reason: String, remedy: String| Err(Stop::refused(reason, remedy));
    if facts.ours {
        return refused(
            format!("{name} is one of Sexton's own tables"),
            "Sexton prunes these itself".to_owned(),
        );
    }
    if facts.catalog {
        return refused(
            format!("{name} belongs to PostgreSQL's catalog"),
            "name a table of your own".to_owned(),
        );
    }
    match facts.kind.as_str() {
        "r" | "p" => {}
        "v" | "m" => {
            return refused(format!("{name} is a view"), "name the table behind it".to_owned());
        }
        "f" => {
            let remedy = "run the purge in the database that has the table".to_owned();
            return refused(format!("{name} is a foreign table"), remedy);
        }
        _ => return refused(format!("{name} is no table"), "name a table".to_owned()),
    }
    if !facts.same {
        let remedy = arm_again(job);
        return refused(format!("{name} was renamed or replaced since the job was saved"), remedy);
    }
    if facts.parent {
        let remedy = "write one job for each of the tables that inherit from it".to_owned();
        return refused(format!("other tables inherit from {name}, and would lose rows too"), remedy);
    }
    for (may, right) in [(facts.may_select, "SELECT"), (facts.may_delete, "DELETE")] {
        if !may {
            return refused(
                format!("role {role} has no {right} right on {name}"),
                format!("GRANT {right} ON {name} TO {role};"),
            );
        }
    }
    if facts.row_security {
        let reason = format!("row-level security may hide rows of {name} from role {role}");
        return refused(
            reason,
            format!("run it as the table's owner, or as a role with BYPASSRLS: ALTER ROLE {role} BYPASSRLS;"),
        );
    }
    replica_identity(facts)
}

fn replica_identity(facts: &Facts) -> Result<(), Stop> {
    let Facts { name, .. } = facts;
    match &facts.publication {
        Some(publication) if facts.kind == "r" && facts.replica_identity != "f" && !facts.identity_index => {
            let reason = format!(
                "publication {publication} publishes deletes of {name}, which has no replica identity: each would fail"
            );
            Err(Stop::refused(
                reason,
                format!("add a primary key, or ALTER TABLE {name} REPLICA IDENTITY FULL;"),
            ))
        }
        _ => Ok(()),
    }
}

/// Refuses foreign keys that make each deleted row a scan of another table.
pub fn foreign_keys(facts: &Facts, keys: &[ForeignKey], params: &Params) -> Result<(), Stop> {
    let missing: Vec<&ForeignKey> = keys.iter().filter(|key| !key.indexed).collect();
    if missing.is_empty() || params.allow_unindexed_fk {
        return Ok(());
    }
    let names: Vec<String> = missing.iter().map(|key| format!("{} of {}", key.name, key.child)).collect();
    let remedies: Vec<&str> = missing.iter().map(|key| key.remedy.as_str()).collect();
    let reason = format!(
        "no index serves foreign key {}: each row deleted from {} would read that table through",
        names.join(", "),
        facts.name
    );
    Err(Stop::refused(reason, format!("{} (or set allow_unindexed_fk = true)", remedies.join(" "))))
}

/// The cutoff of this occurrence, by the database's arithmetic from the run's now.
pub async fn cutoff(context: &mut RunContext, params: &Params, age_type: AgeType) -> Result<Cutoff, Stop> {
    let (now, zone) = (context.now(), params.zone());
    let text = |interval: &Option<Retention>| interval.as_ref().map_or("0", Retention::as_str).to_owned();
    let (mut retention, grace) = (text(&params.retention), text(&params.grace));
    let own = params.retention_column.is_some() || params.retention_query.is_some();
    if own && context.options().force != Some(true) {
        FLOOR.clone_into(&mut retention);
    }
    let midnight = params.cutoff == CutoffFrom::Midnight;
    let row =
        match context.query(statements::PURGE_CUTOFF, &[&now, &retention, &zone, &midnight, &grace]).await {
            Ok(mut rows) if rows.len() == 1 => rows.remove(0),
            Ok(_) => return Err(Stop::refused("the cutoff cannot be computed", "edit the retention")),
            Err(Stop::Failed(error)) if error.sqlstate() == Some("22023") => {
                let remedy = "name a zone of the IANA data base, such as Europe/Paris";
                return Err(Stop::refused(format!("params.time_zone: {error}"), remedy));
            }
            Err(Stop::Failed(error)) if error.sqlstate().is_some() => {
                let remedy = "write an interval such as \"30 days\"";
                return Err(Stop::refused(format!("params.retention or grace: {error}"), remedy));
            }
            Err(stop) => return Err(stop),
        };
    let seconds: f64 = row.get("retention_s");
    if params.retention.is_some() && seconds < FLOOR_S && context.options().force != Some(true) {
        let reason = format!("the retention, {retention}, is below the floor of 1 hour");
        return Err(Stop::refused(reason, "raise it, or let an author run it once with the option force"));
    }
    let at: Timestamp = row.get("at");
    if at > now {
        return Err(Stop::refused(format!("the cutoff, {at}, is in the future"), "mend the retention"));
    }
    let zoned = match age_type {
        AgeType::Timestamp => "wall",
        AgeType::Date => "day",
        AgeType::Timestamptz | AgeType::Integer(_) | AgeType::Uuid => "at",
    };
    let age = age_type.bound(at).unwrap_or_else(|| row.get(zoned));
    Ok(Cutoff { at, age, base: own.then(|| row.get("base")) })
}

/// What people should know beforehand.
pub async fn warnings(
    context: &mut RunContext,
    facts: &Facts,
    keys: &[ForeignKey],
) -> Result<Vec<String>, Stop> {
    let mut warnings = Vec::new();
    let triggers = context.query(statements::PURGE_TRIGGERS, &[&facts.oid]).await?;
    if !triggers.is_empty() {
        let names: Vec<String> = triggers.iter().map(|row| row.get(0)).collect();
        warnings.push(format!("triggers will fire: {}", names.join(", ")));
    }
    for key in keys {
        if key.cascades {
            warnings.push(format!("rows of {} go with theirs, by {}", key.child, key.name));
        }
        if !key.indexed {
            warnings.push(format!("no index serves {} of {}: {}", key.name, key.child, key.remedy));
        }
    }
    for row in context.query(statements::PURGE_SAME_NAMES, &[&facts.oid]).await? {
        let (child, column): (String, String) = (row.get("child"), row.get("column"));
        warnings.push(format!(
            "{column} of {child} is named as if it referred to {}, but no foreign key says so: its rows stay",
            facts.name
        ));
    }
    if !facts.may_lock {
        warnings.push(format!(
            "role {} may not lock rows of {}: a row that the application has locked holds the purge up; GRANT UPDATE lets it step around",
            facts.role, facts.name
        ));
    }
    Ok(warnings)
}
