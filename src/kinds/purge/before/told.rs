//! What a run says of its calls.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tokio_postgres::Row;

use super::{batch::Settled, caller::Caller};

/// What the calls of a run came to.
#[derive(Debug, Default)]
pub struct Told {
    called: u64,
    guarded: u64,
    without_target: u64,
    /// Rows that had changed when they were to go, or were locked, and stay.
    changed: u64,
    deferred: BTreeMap<&'static str, u64>,
    /// Rows whose target is marked as down.
    down: BTreeMap<String, u64>,
}

impl Told {
    /// A row stays since its target is marked as down.
    pub fn down(&mut self, target: Option<String>) {
        *self.down.entry(target.unwrap_or_default()).or_default() += 1;
    }

    /// What some rows came to, of which so many were deleted.
    pub fn settled(&mut self, settled: &Settled<'_>, deleted: u64) {
        self.called += settled.called;
        self.guarded += settled.skipped;
        self.without_target += settled.no_target;
        self.changed += (settled.called + settled.skipped + settled.no_target).saturating_sub(deleted);
        for class in &settled.classes {
            *self.deferred.entry(class).or_default() += 1;
        }
    }

    /// `rows`: what `purge_deferred.sql` gives.
    pub fn to_json(&self, caller: &Caller<'_>, rows: &[Row]) -> Value {
        let (mut waiting, mut given_up, mut next_try) = (0, 0, None::<jiff::Timestamp>);
        for row in rows {
            waiting += row.get::<_, i64>("rows");
            given_up += row.get::<_, i64>("given_up");
            let due: Option<jiff::Timestamp> = row.get("next_try");
            next_try = match (next_try, due) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
        let targets: Map<String, Value> = caller
            .counts()
            .into_iter()
            .map(|(name, count)| (name, json!({"ok": count.ok, "failed": count.failed})))
            .collect();
        let all: u64 = self.down.values().sum();
        json!({
            "deferred": waiting,
            "before_delete": {
                "called": self.called, "guarded": self.guarded, "without_target": self.without_target,
                "changed_meanwhile": self.changed, "targets": targets, "deferred_now": self.deferred,
                "target_down": all, "targets_down": self.down, "targets_failing": caller.open(),
                "given_up": given_up, "next_try": next_try.map(|at| at.to_string()),
            },
        })
    }
}
