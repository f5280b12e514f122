//! What one occurrence is asked to do otherwise than its job says.

use serde::{Deserialize, Serialize};

/// Options that hold for one occurrence alone: those of `sexton.run_now(job, options)`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Only report, even if armed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// Stop after about that many rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_rows: Option<u64>,
    /// Stop after that long: `10m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<String>,
    /// Keep to a part of the keys, in the kind's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// Pass over guards, in the kind's own words; for authors alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force: Option<bool>,
}
