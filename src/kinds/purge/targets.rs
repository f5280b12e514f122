//! Several targets in one job: which parameters are the job's, and which are each target's own.
//!
//! What is easy to get wrong: a parameter that stands where it has no effect is an error, not a wish. Where one merely
//! repeats its default, it has the effect that it says.

use super::params::{CutoffFrom, Detach, OnReferenced, Params, VacuumChoice, WalkChoice};
use crate::kind::ParamError;

/// More than so many are several jobs.
const MOST: usize = 100;

impl Params {
    /// The targets, each as a purge of its own with what the job says for all of them; `None` if it has one table.
    pub fn each_target(&self) -> Option<Vec<Params>> {
        let whole = |target: &Params| Params {
            pacing: self.pacing,
            window: self.window.clone(),
            yield_when: self.yield_when.clone(),
            yield_for: self.yield_for,
            limit_rows: self.limit_rows,
            time_limit: self.time_limit,
            ..target.clone()
        };
        Some(self.targets.as_ref()?.iter().map(whole).collect())
    }

    /// What the shape alone cannot tell.
    ///
    /// # Errors
    /// The first parameter that is wrong.
    pub(super) fn check_targets(&self, targets: &[Params]) -> Result<(), ParamError> {
        if targets.is_empty() || targets.len() > MOST {
            return Err(ParamError::new("targets", format!("must be from 1 to {MOST}")));
        }
        if let Some(name) = self.of_targets() {
            return Err(ParamError::new(name, "belongs to each of the `targets`, not beside them"));
        }
        for (number, target) in targets.iter().enumerate() {
            let at = |path: &str| match path {
                "" => format!("targets[{number}]"),
                path => format!("targets[{number}].{path}"),
            };
            if let Some(name) = target.of_job() {
                return Err(ParamError::new(at(name), "is the job's: write it beside `targets`"));
            }
            if target.workers != 1 {
                return Err(ParamError::new(at("workers"), "must be 1: targets have one session"));
            }
            #[cfg(feature = "http")]
            if target.before_delete.is_some() {
                let message = "calls are for a job with one table: its deferred rows are known by the job and their key";
                return Err(ParamError::new(at("before_delete"), message));
            }
            target
                .check_elsewhere()
                .and_then(|()| target.check())
                .map_err(|error| ParamError::new(at(&error.path), error.message))?;
        }
        // What is the job's is checked in each; without one that has all the rest right, it would not be.
        let each = self.each_target().unwrap_or_default();
        each.first().map_or(Ok(()), Params::check)
    }

    /// A parameter that only a target can have.
    fn of_targets(&self) -> Option<&'static str> {
        let given = [
            ("table", !self.table.is_empty()),
            ("database", self.database.is_some()),
            ("by", self.by.is_some()),
            ("unit", self.unit.is_some()),
            ("retention", self.retention.is_some()),
            ("retention_column", self.retention_column.is_some()),
            ("retention_query", self.retention_query.is_some()),
            ("expires", self.expires.is_some()),
            ("grace", self.grace.is_some()),
            ("cutoff", self.cutoff != CutoffFrom::Now),
            ("time_zone", self.time_zone.is_some()),
            ("where", self.predicate.is_some()),
            ("keep_last", self.keep_last.is_some()),
            ("keep_min", self.keep_min.is_some()),
            ("protect", self.protect.is_some()),
            ("on_referenced", self.on_referenced != OnReferenced::Fail),
            ("children", self.children.is_some()),
            ("archive", self.archive.is_some()),
            #[cfg(feature = "http")]
            ("before_delete", self.before_delete.is_some()),
            ("batch", self.batch.is_some()),
            ("refuse_above", self.refuse_above.is_some()),
            ("max_fraction", self.max_fraction != 0.5),
            ("allow_unindexed_fk", self.allow_unindexed_fk),
            ("walk", self.walk != WalkChoice::Auto),
            ("workers", self.workers != 1),
            ("straddling", self.straddling.is_some()),
            ("archive_schema", self.archive_schema.is_some()),
            ("exact_counts", self.exact_counts),
            ("detach", self.detach != Detach::Plain),
            ("vacuum", self.vacuum != VacuumChoice::Auto),
        ];
        given.iter().find(|(_, given)| *given).map(|(name, _)| *name)
    }

    /// A parameter that only the job can have.
    fn of_job(&self) -> Option<&'static str> {
        let given = [
            ("targets", self.targets.is_some()),
            ("pacing", self.pacing.is_some()),
            ("window", self.window.is_some()),
            ("yield_when", self.yield_when.is_some()),
            ("yield_for", self.yield_for.is_some()),
            ("limit_rows", self.limit_rows.is_some()),
            ("time_limit", self.time_limit.is_some()),
        ];
        given.iter().find(|(_, given)| *given).map(|(name, _)| *name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{described::TABLE, params::Params};

    fn problem(params: Value) -> Option<String> {
        let params: Params = serde_json::from_value(params).expect("the shape is right");
        params.check().err().map(|error| error.to_string())
    }

    fn target() -> Value {
        json!({"table": "t", "by": "at", "retention": "30 days"})
    }

    #[test]
    fn a_parameter_stands_where_it_has_an_effect() {
        assert_eq!(
            problem(json!({"targets": [target(), target()], "limit_rows": 5, "pacing": "full"})),
            None
        );
        for (beside, name, value, part) in [
            (true, "by", json!("at"), "params.by: belongs to each of the `targets`"),
            (true, "max_fraction", json!(0.9), "params.max_fraction: belongs"),
            (true, "limit_rows", json!(0), "params.limit_rows: must be at least 1"),
            (true, "targets", json!([]), "params.targets: must be from 1 to 100"),
            (false, "limit_rows", json!(5), "params.targets[1].limit_rows: is the job's"),
            (false, "pacing", json!("full"), "params.targets[1].pacing: is the job's"),
            (false, "targets", json!([target()]), "params.targets[1].targets: is the job's"),
            (false, "workers", json!(2), "params.targets[1].workers: must be 1"),
            #[cfg(feature = "http")]
            (
                false,
                "before_delete",
                json!({"url": "https://a.example"}),
                "params.targets[1].before_delete: calls are",
            ),
            (false, "keep_min", json!(0), "params.targets[1].keep_min: must be at least 1"),
            (false, "table", json!(""), "params.targets[1].table: is missing"),
        ] {
            let mut params = json!({"targets": [target(), target()]});
            let place = if beside { &mut params } else { &mut params["targets"][1] };
            place[name] = value;
            let found = problem(params).unwrap_or_else(|| panic!("{name} passed"));
            assert!(found.contains(part), "{found:?} does not say {part:?}");
        }
    }

    #[test]
    fn each_parameter_belongs_to_one_of_the_two() {
        let others = json!({
            "table": "t", "by": "at", "unit": "seconds", "retention": "1 day", "retention_column": "kept",
            "retention_query": {"query": "SELECT 1", "key": "a"}, "expires": "until", "grace": "1 day",
            "cutoff": "midnight", "time_zone": "UTC", "where": "a", "keep_last": {"rows": 1, "per": ["a"]},
            "keep_min": 1, "protect": "a", "on_referenced": "skip", "children": ["c"],
            "archive": {"table": "k"}, "batch": 7, "pacing": "full", "window": "01:00-02:00",
            "yield_when": "a", "yield_for": "1m", "limit_rows": 1, "time_limit": "1m", "refuse_above": 1,
            "max_fraction": 0.9, "allow_unindexed_fk": true, "walk": "heap", "workers": 2,
            "straddling": "rows", "archive_schema": "old", "exact_counts": true, "detach": "concurrently",
            "vacuum": "never", "targets": [], "database": "archive", "before_delete": {"url": "https://a.example/{id}"},
        });
        for param in TABLE {
            let name = param.name;
            let value = others.get(name).unwrap_or_else(|| panic!("{name} has no other value here"));
            let params: Params = serde_json::from_value(json!({ name: value })).expect(name);
            let found = [params.of_targets(), params.of_job()];
            assert!(found == [Some(name), None] || found == [None, Some(name)], "{name}: {found:?}");
        }
    }
}
