//! The dry run of a statement: what it would give or affect, without a write.
//!
//! A statement that only reads is executed, in a read-only transaction; one that writes is planned, and the planner's
//! estimate reported; anything else is not tried. What is easy to get wrong: executing and rolling back is no dry run. It
//! takes the locks, fires the triggers, and a function may act outside the transaction.

use serde_json::Value;

use super::params::Params;
use crate::kind::{
    Report, RunContext, Stop, Stopped,
    trampoline::{Trampoline, explain},
};

/// Reports what the statement would do.
///
/// # Errors
/// Whatever the database reports.
///
/// # Cancel safety
/// As [`RunContext::query`].
pub async fn run(context: &mut RunContext, params: &Params, trampoline: &Trampoline) -> Result<Report, Stop> {
    let report = Report::new(Stopped::Drained).with("role", trampoline.role());
    if !params.can_be_planned() {
        return Ok(report.with("not_tried", "the planner has no estimate for such a statement"));
    }
    let looked = look(context, params, trampoline).await.map_err(|stop| explain(stop, super::PARAM));
    // Takes the transaction back, and asks whether the run may go on.
    if looked.is_ok() {
        context.ping().await?;
    }
    match looked {
        Ok(Look::Writes(estimate)) => Ok(report.with("would_affect_about", estimate)),
        Ok(Look::Reads(rows, kept)) => Ok(report.with("rows", rows).with("answer", kept)),
        Err(Stop::Lost(error)) if error.sqlstate() == Some("25006") => {
            Ok(report.with("not_tried", "it calls a function that writes"))
        }
        Err(stop) => Err(stop),
    }
}

enum Look {
    Writes(u64),
    Reads(u64, Value),
}

async fn look(context: &mut RunContext, params: &Params, trampoline: &Trampoline) -> Result<Look, Stop> {
    use crate::statements::SQL_READ_ONLY;

    let mut watch = context.watch();
    let mut transaction = context.begin().await?;
    trampoline.install(&mut transaction, params.timeouts()).await?;
    transaction.execute(SQL_READ_ONLY, &[]).await?;
    let plan = trampoline.explain(&mut transaction).await?;
    if let Some(estimate) = written(&plan) {
        return Ok(Look::Writes(estimate));
    }
    let answer = watch.over(trampoline.call(&mut transaction, params.keep_rows)).await??;
    Ok(Look::Reads(answer.counted, answer.kept))
}

/// The rows that a plan's `ModifyTable` nodes get from below; `None` if it has none, and so only reads.
fn written(plan: &Value) -> Option<u64> {
    let below = plan["Plans"].as_array().map(Vec::as_slice).unwrap_or_default();
    let deeper = below.iter().filter_map(written).reduce(|a, b| a + b);
    if plan["Node Type"] != "ModifyTable" {
        return deeper;
    }
    let rows: u64 = below.iter().filter_map(|node| node["Plan Rows"].as_u64()).sum();
    Some(rows + deeper.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_that_writes_is_told_from_one_that_reads() {
        let scan = json!({"Node Type": "Seq Scan", "Plan Rows": 7});
        assert_eq!(written(&scan), None);
        let delete = json!({"Node Type": "ModifyTable", "Plan Rows": 0, "Plans": [scan]});
        assert_eq!(written(&delete), Some(7));
        let with = json!({"Node Type": "CTE Scan", "Plan Rows": 1, "Plans": [delete, scan]});
        assert_eq!(written(&with), Some(7));
    }
}
