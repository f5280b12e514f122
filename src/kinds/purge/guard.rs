//! The guards: refuse a purge that looks wrong before it deletes, unless an operator approved that many rows.
//!
//! `refuse_above` is counted, up to the limit plus one; `max_fraction` goes by the planner's estimate where the table
//! is large and has statistics, and is counted otherwise. What is easy to get wrong: without statistics the planner
//! takes a third for any comparison, which would pass a purge of the whole table.

use serde_json::{Value, json};
use tokio_postgres::Row;

use super::{
    choose,
    cursor::Cutoff,
    params::Params,
    statement::{Scope, Sql},
    target::Facts,
};
use crate::{
    kind::{Mode, RunContext, Stop},
    statements,
};

/// Tables of fewer blocks than this (64 MiB) are counted rather than estimated.
const SMALL_BLOCKS: i64 = 8192;

/// How many rows are eligible, and of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eligible {
    /// Rows that the purge would delete.
    pub rows: u64,
    /// Rows of the table.
    pub of: u64,
    /// Whether the first number was counted.
    pub counted: bool,
}

/// What the guards say.
#[derive(Debug)]
pub struct Verdict {
    /// What they found.
    pub eligible: Eligible,
    /// Why they refuse, if they do.
    pub refusal: Option<Refusal>,
    /// The rows that an operator approved, if the purge passes by that alone.
    pub approved: Option<u64>,
}

/// A refusal by a guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What looked wrong.
    pub reason: String,
    /// What lets the purge through.
    pub remedy: String,
}

impl Verdict {
    /// Passes, or stops the run with what was found.
    pub fn enforce(self) -> Result<Self, Stop> {
        let Some(Refusal { reason, remedy }) = self.refusal else { return Ok(self) };
        let Value::Object(details) = json!({
            "deleted": 0, "eligible": self.eligible.rows, "eligible_counted": self.eligible.counted,
            "table_rows": self.eligible.of,
            "backlog": {"rows": self.eligible.rows, "counted": self.eligible.counted},
        }) else {
            return Err(Stop::refused(reason, remedy));
        };
        Err(Stop::Refused { reason, remedy: Some(remedy), details })
    }
}

/// What an operator approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approval {
    /// So many rows may go though a guard refuses.
    pub rows: Option<u64>,
    /// Whether it is for one table; else the job as a whole says what to approve.
    pub alone: bool,
}

/// What a refusal of one of several targets says instead of the line that approves it.
pub const TOGETHER: &str = "One approval is for all targets of the job: the run as a whole says which";

/// Asks the guards.
pub async fn judge(
    context: &mut RunContext,
    params: &Params,
    (scope, facts): (&Scope, &Facts),
    cutoff: Option<&Cutoff>,
    approval: Approval,
) -> Result<Verdict, Stop> {
    let mut eligible = measure(context, scope, facts, cutoff).await?;
    let mut reason = None;
    if let Some(limit) = params.refuse_above {
        let found = count(context, scope, cutoff, Some(limit.saturating_add(1))).await?;
        if found > limit {
            reason = Some(format!("more than {limit} rows are eligible (refuse_above)"));
        }
    }
    let fraction_of = |eligible: Eligible| eligible.rows as f64 / eligible.of.max(1) as f64;
    if fraction_of(eligible) > params.max_fraction && !eligible.counted && scope.keeps_some() {
        // The estimate knows nothing of what must stay.
        eligible = Eligible { rows: count(context, scope, cutoff, None).await?, counted: true, ..eligible };
    }
    let fraction = fraction_of(eligible);
    if reason.is_none() && fraction > params.max_fraction {
        reason = Some(format!(
            "{:.0} % of the table are eligible, more than max_fraction = {}",
            (100.0 * fraction).min(100.0),
            params.max_fraction
        ));
    }
    let Some(reason) = reason else { return Ok(Verdict { eligible, refusal: None, approved: None }) };
    if let Some(approved) = approval.rows {
        let rows = count(context, scope, cutoff, Some(approved.saturating_add(1))).await?;
        if rows <= approved {
            let eligible = Eligible { rows, counted: true, ..eligible };
            return Ok(Verdict { eligible, refusal: None, approved: Some(approved) });
        }
    }
    eligible = Eligible { rows: count(context, scope, cutoff, None).await?, counted: true, ..eligible };
    let mut refusal = refusal(context.job(), &reason, eligible.rows);
    if !approval.alone {
        TOGETHER.clone_into(&mut refusal.remedy);
    }
    Ok(Verdict { eligible, refusal: Some(refusal), approved: None })
}

fn refusal(job: &str, reason: &str, rows: u64) -> Refusal {
    Refusal { reason: format!("{reason}: {rows} rows would go"), remedy: remedy(job, rows) }
}

/// The line that lets one run delete that many rows, and a few more.
pub fn remedy(job: &str, rows: u64) -> String {
    let most = with_headroom(rows);
    format!(
        "If that is right, let one run through: sexton arm {job} --approve {most} \
         (or: SELECT sexton.arm('{}', {most});)",
        job.replace('\'', "''")
    )
}

/// Rounded up by a hundredth or so: more rows come of age until the approval.
fn with_headroom(rows: u64) -> u64 {
    let most = rows.saturating_add(rows / 100).saturating_add(1);
    let step = 10_u64.pow(most.ilog10().saturating_sub(1));
    most.div_ceil(step).saturating_mul(step)
}

async fn measure(
    context: &mut RunContext,
    scope: &Scope,
    facts: &Facts,
    cutoff: Option<&Cutoff>,
) -> Result<Eligible, Stop> {
    let small = !facts.partitioned() && choose::blocks(context, facts).await? <= SMALL_BLOCKS;
    let dry = context.mode() == Mode::Dry;
    let usable = !small && has_statistics(context, scope, facts, dry).await?;
    let of = match usable {
        true => estimated(context, scope.estimate_all()).await?,
        false => number(&context.query(&scope.count_all().text, &[]).await?),
    };
    if usable && !dry {
        let rows = estimated(context, scope.estimate(cutoff)).await?;
        return Ok(Eligible { rows, of, counted: false });
    }
    Ok(Eligible { rows: count(context, scope, cutoff, None).await?, of, counted: true })
}

/// Whether the planner knows the age's distribution; makes statistics where there are none, if the role may.
async fn has_statistics(
    context: &mut RunContext,
    scope: &Scope,
    facts: &Facts,
    dry: bool,
) -> Result<bool, Stop> {
    let column = match &scope.age {
        None => return Ok(facts.tuples >= 0.0),
        Some(age) => match age.column {
            None => return Ok(false),
            Some(column) => column,
        },
    };
    for made in [dry, true] {
        let rows = context.query(statements::PURGE_INDEX, &[&facts.oid, &column]).await?;
        if rows.first().is_some_and(|row| row.get::<_, Option<f64>>("n_distinct").is_some()) {
            return Ok(true);
        }
        if made {
            break;
        }
        match context.query(&scope.analyze().text, &[]).await {
            Ok(_) => {}
            // Somebody else analyzes or alters the table: its rows are counted instead.
            Err(Stop::Failed(error)) if error.sqlstate() == Some("55P03") => break,
            Err(stop) => return Err(stop),
        }
    }
    Ok(false)
}

async fn estimated(context: &mut RunContext, sql: Sql<'_>) -> Result<u64, Stop> {
    let rows = context.query(&sql.text, &sql.values).await?;
    let plan: Value = rows.first().map(|row| row.get(0)).unwrap_or_default();
    Ok(plan.pointer("/0/Plan/Plan Rows").and_then(Value::as_f64).unwrap_or_default().max(0.0) as u64)
}

/// Counts what would be eligible if nothing had to stay.
pub async fn count_with_kept(
    context: &mut RunContext,
    scope: &Scope,
    cutoff: Option<&Cutoff>,
) -> Result<u64, Stop> {
    let sql = scope.count_with_kept(cutoff);
    Ok(number(&context.query(&sql.text, &sql.values).await?))
}

/// Counts rows that stay since others refer to them; `None` where references do not count.
pub async fn count_referenced(
    context: &mut RunContext,
    scope: &Scope,
    cutoff: Option<&Cutoff>,
) -> Result<Option<u64>, Stop> {
    let Some(sql) = scope.count_referenced(cutoff) else { return Ok(None) };
    Ok(Some(number(&context.query(&sql.text, &sql.values).await?)))
}

/// Counts what is eligible, up to a number.
pub async fn count(
    context: &mut RunContext,
    scope: &Scope,
    cutoff: Option<&Cutoff>,
    up_to: Option<u64>,
) -> Result<u64, Stop> {
    let up_to = up_to.map(|rows| i64::try_from(rows).unwrap_or(i64::MAX));
    let sql = scope.count(cutoff, &up_to);
    Ok(number(&context.query(&sql.text, &sql.values).await?))
}

/// The one number of a count's one row.
pub fn number(rows: &[Row]) -> u64 {
    rows.first().map(|row| row.get::<_, i64>(0).unsigned_abs()).unwrap_or_default()
}

/// About how many rows the table has.
pub async fn table_rows(context: &mut RunContext, scope: &Scope) -> Result<u64, Stop> {
    estimated(context, scope.estimate_all()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_prints_the_line_that_lets_it_through() {
        let refusal = refusal("audit-logs", "99 % of the table are eligible", 702_341);
        assert!(refusal.remedy.contains("sexton arm audit-logs --approve 710000"), "{}", refusal.remedy);
        assert!(refusal.remedy.contains("SELECT sexton.arm('audit-logs', 710000)"), "{}", refusal.remedy);
    }

    #[test]
    fn headroom_is_above_and_near() {
        for rows in [0, 1, 9, 60, 99, 100, 12_345, 702_341, 999_999] {
            let most = with_headroom(rows);
            assert!(most > rows && most as f64 <= rows as f64 * 1.12 + 2.0, "{rows} became {most}");
        }
    }
}
