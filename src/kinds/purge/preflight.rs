//! What must hold before a row is touched, and what people should know beforehand.
//!
//! Each refusal names what to do. What is easy to get wrong: a role that sees only some rows would report "0 rows,
//! drained" where the truth is that row-level security hid them; so that is refused, never reported as success.

use jiff::Timestamp;

use super::{
    age::AgeType,
    archive::Into,
    cursor::Cutoff,
    family::Family,
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

/// Refuses children and archives that cannot work together, or rows that the role cannot lock as that needs.
pub fn family(facts: &Facts, family: &Family, archive: Option<&Into>) -> Result<(), Stop> {
    let nodes = &family.nodes;
    let lockable = nodes.iter().filter(|node| node.inner || !node.unless.is_empty());
    let lockable = lockable.map(|node| &node.facts).chain((!nodes.is_empty()).then_some(facts));
    if let Some(Facts { name, role, .. }) = lockable.into_iter().find(|facts| !facts.may_lock) {
        let reason = format!(
            "role {role} may not lock rows of {name}, so that new children could come to be meanwhile"
        );
        return Err(Stop::refused(reason, format!("GRANT UPDATE ON {name} TO {role};")));
    }
    let archives = nodes.iter().filter_map(|node| node.archive.as_ref()).chain(archive);
    let purged = |oid: u32| oid == facts.oid || nodes.iter().any(|node| node.facts.oid == oid);
    match archives.into_iter().find(|archive| purged(archive.oid)) {
        Some(archive) => {
            let reason = format!("archive {} is a table that this purge deletes from", archive.table);
            Err(Stop::refused(reason, "name another table"))
        }
        None => Ok(()),
    }
}

/// Refuses foreign keys, and columns named for them, that make each deleted row a scan of another table.
pub fn foreign_keys(
    facts: &Facts,
    keys: &[ForeignKey],
    family: &Family,
    params: &Params,
) -> Result<(), Stop> {
    if params.allow_unindexed_fk {
        return Ok(());
    }
    let missing = unindexed(keys, family);
    if missing.is_empty() {
        return Ok(());
    }
    let (names, remedies): (Vec<String>, Vec<String>) = missing.into_iter().unzip();
    let reason = format!(
        "no index serves foreign key {}: each row deleted from {} would read that table through",
        names.join(", "),
        facts.name
    );
    Err(Stop::refused(reason, format!("{} (or set allow_unindexed_fk = true)", remedies.join(" "))))
}

/// What no index serves, and the statements that make them.
pub fn unindexed(keys: &[ForeignKey], family: &Family) -> Vec<(String, String)> {
    let keys = keys.iter().filter(|key| !key.indexed);
    let keys = keys.map(|key| (format!("{} of {}", key.name, key.child), key.remedy.clone()));
    keys.chain(family.unindexed.iter().cloned()).collect()
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
    family: &Family,
    archive: Option<&Into>,
) -> Result<Vec<String>, Stop> {
    let mut warnings = Vec::new();
    let tables = family.tables();
    for table in std::iter::once(facts).chain(tables.iter().map(|node| &node.facts)) {
        let triggers = context.query(statements::PURGE_TRIGGERS, &[&table.oid]).await?;
        if !triggers.is_empty() {
            let names: Vec<String> = triggers.iter().map(|row| row.get(0)).collect();
            let of = if table.oid == facts.oid { String::new() } else { format!(" of {}", table.name) };
            warnings.push(format!("triggers{of} will fire: {}", names.join(", ")));
        }
    }
    let named = family.constraints();
    for key in keys.iter().filter(|key| key.cascades && !named.contains(&key.constraint)) {
        warnings.push(format!("rows of {} go with theirs, by {}", key.child, key.name));
    }
    for (name, remedy) in unindexed(keys, family) {
        warnings.push(format!("no index serves {name}: {remedy}"));
    }
    for table in std::iter::once(facts).chain(tables.iter().map(|node| &node.facts)) {
        for row in context.query(statements::PURGE_SAME_NAMES, &[&table.oid]).await? {
            let (child, column): (String, String) = (row.get("child"), row.get("column"));
            if !family.nodes.iter().any(|node| node.facts.name == child && node.links(&column)) {
                warnings.push(format!(
                    "{column} of {child} is named as if it referred to {}, but no foreign key says so: its rows stay",
                    table.name
                ));
            }
        }
    }
    for node in tables.iter().filter(|node| archive.is_some() && node.archive.is_none()) {
        warnings.push(format!("rows of {} go without an archive", node.facts.name));
    }
    for table in std::iter::once(facts).chain(tables.iter().map(|node| &node.facts)) {
        if !table.may_lock {
            warnings.push(format!(
                "role {} may not lock rows of {}: a row that the application has locked holds the purge up; GRANT UPDATE lets it step around",
                table.role, table.name
            ));
        }
    }
    Ok(warnings)
}
