//! The tables that purges work on: what would make a purge fail, crawl, or quietly find nothing.

use tokio_postgres::{Client, Row};

use super::{Finding, or_failed};
use crate::{error::Result, statements};

pub(super) async fn check(client: &Client) -> Vec<Finding> {
    or_failed("purges", targets(client).await)
}

async fn targets(client: &Client) -> Result<Vec<Finding>> {
    let rows = client.query_typed(statements::CHECK_TARGETS, &[]).await?;
    let troubles: Vec<Finding> = rows.iter().flat_map(troubles).collect();
    if troubles.is_empty() && !rows.is_empty() {
        return Ok(vec![Finding::ok("purges", format!("the tables of {} purge(s) are fit", rows.len()))]);
    }
    Ok(troubles)
}

/// What is wrong with the table of one purge.
fn troubles(row: &Row) -> Vec<Finding> {
    let (job, target): (String, Option<String>) = (row.get("job"), row.get("target"));
    let target = target.unwrap_or_else(|| "its table".to_owned());
    let is = |column: &str| row.get::<_, Option<bool>>(column).unwrap_or(false);
    if !is("present") {
        let remedy = format!("`sexton pause {job}`, or edit the job: its table was dropped or replaced.");
        return vec![Finding::fail("purges", format!("{job}: {target} does not exist"), remedy)];
    }
    let mut found = Vec::new();
    let mut fail = |message: String, remedy: String| {
        found.push(Finding::fail("purges", format!("{job}: {message}"), remedy))
    };
    if !is("is_table") {
        fail(
            format!("{target} is no table"),
            "Name the table itself, not a view or a foreign table.".to_owned(),
        );
    }
    if !is("may_purge") {
        fail(
            format!("this role may not read and delete from {target}"),
            format!("GRANT SELECT, DELETE ON {target} TO the replicas' role."),
        );
    }
    if is("filtered") {
        let remedy = "Let the replicas' role have BYPASSRLS, or a policy that shows it the rows to purge.";
        fail(format!("row-level security hides rows of {target} from this role"), remedy.to_owned());
    }
    if is("unidentified") {
        let remedy = format!("ALTER TABLE {target} REPLICA IDENTITY FULL, or give it a primary key.");
        fail(format!("{target} is published without a replica identity: every DELETE fails"), remedy);
    }
    if is("unvacuumed") {
        let remedy = format!("ALTER TABLE {target} RESET (autovacuum_enabled).");
        found.push(Finding::warn("purges", format!("{job}: autovacuum is off for {target}"), remedy));
    }
    for key in row.get::<_, Vec<String>>("unindexed") {
        let message = format!("{job}: foreign key {key} has no index: each row deleted scans that table");
        let table = key.rsplit_once('.').map_or(key.as_str(), |(table, _)| table);
        let remedy = format!("CREATE INDEX CONCURRENTLY on the key's columns of {table}.");
        found.push(Finding::warn("purges", message, remedy));
    }
    found
}
