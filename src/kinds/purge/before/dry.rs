//! What a dry run says: which calls a run would make, from the database alone. No call is sent and no secret is read.

use serde_json::{Map, Value, json};

use super::calls::{Calls, Waiting};
use crate::{
    kind::{RunContext, Stop},
    kinds::purge::{cursor::Cutoff, statement::Scope},
};

/// Counts the calls of a run by target.
pub async fn dry(
    context: &mut RunContext,
    calls: &Calls,
    scope: &Scope,
    cutoff: Option<&Cutoff>,
) -> Result<Value, Stop> {
    let force = context.options().force == Some(true);
    let (job, now, run) = (context.job_id(), context.now(), context.run_id());
    let waiting = Waiting { job: &job, now: &now, run: &run, force: &force };
    let sql = calls.count(scope, cutoff, waiting);
    let rows = context.query(&sql.text, &sql.values).await?;
    let (mut targets, mut downs) = (Map::new(), Map::new());
    let (mut sum, mut guarded, mut without, mut left) = (0, 0, 0, 0);
    for row in &rows {
        let count = |name: &str| row.get::<_, i64>(name);
        guarded += count("guarded");
        left += count("waiting");
        let rows = count("rows");
        let Some(address) = row.get::<_, Option<String>>("address") else {
            without += rows;
            continue;
        };
        let address = calls.given.instead.clone().unwrap_or(address);
        let down: bool = row.get("down");
        let list = if down && !force && !calls.given.force { &mut downs } else { &mut targets };
        if rows > 0 {
            let before = list.get(&address).and_then(Value::as_i64).unwrap_or_default();
            list.insert(address, (before + rows).into());
        }
        if !(down && !force && !calls.given.force) {
            sum += rows;
        }
    }
    Ok(json!({
        "before_delete": {
            "would_call": sum, "targets": targets, "targets_down": downs, "guarded": guarded,
            "without_target": without, "waiting": left,
        },
    }))
}
