//! Purges in other databases: those of a whole job, and those of targets that name one each, such as shards.
//!
//! What is easy to get wrong: what a purge keeps in Sexton's own tables, row by row, cannot commit together with the rows
//! of another database, and so is refused there.

use super::params::{Detach, Params};
use crate::kind::ParamError;

impl Params {
    /// What the shape alone cannot tell of a job as a whole.
    ///
    /// # Errors
    /// The first parameter that is wrong.
    pub fn check_job(&self) -> Result<(), ParamError> {
        if self.database.is_some() {
            let message =
                "is for one of several `targets`; for the whole job, write `database` beside its schedule";
            return Err(ParamError::new("database", message));
        }
        self.check()
    }

    /// What the shape alone cannot tell of a target that names a database.
    ///
    /// # Errors
    /// The first parameter that is wrong.
    pub(super) fn check_elsewhere(&self) -> Result<(), ParamError> {
        match (&self.database, self.bound_to_home()) {
            (Some(name), _) if name.trim().is_empty() => Err(ParamError::new(
                "database",
                "is empty; leave it out for the database of the schema sexton",
            )),
            (Some(_), Some((name, why))) => Err(ParamError::new(name, why)),
            _ => Ok(()),
        }
    }

    /// Whether all of it may be done in another database.
    ///
    /// # Errors
    /// Why not.
    pub fn elsewhere(&self) -> Result<(), String> {
        let targets = self.targets.as_deref().unwrap_or_default();
        if targets.iter().any(|target| target.database.is_some()) {
            return Err(
                "its targets name their own databases: name it in each, or for the job alone".to_owned()
            );
        }
        let bound = [self].into_iter().chain(targets).find_map(Params::bound_to_home);
        bound.map_or(Ok(()), |(name, why)| Err(format!("params.{name} {why}")))
    }

    /// A parameter that keeps the purge in the database of the schema `sexton`, and why.
    fn bound_to_home(&self) -> Option<(&'static str, &'static str)> {
        if self.workers > 1 {
            return Some(("workers", "must be 1 for rows of another database: its fence has one place"));
        }
        if self.detach == Detach::Concurrently {
            return Some((
                "detach",
                "cannot be \"concurrently\" in another database: what was begun is told from Sexton's own tables",
            ));
        }
        #[cfg(feature = "http")]
        if self.before_delete.is_some() {
            return Some((
                "before_delete",
                "does not reach into another database: deferred rows are noted at home",
            ));
        }
        // An object whose receipt is at home, and only there, must not be lost with it while its rows are gone there.
        #[cfg(feature = "backup")]
        if self.archives().any(|archive| archive.storage.is_some()) {
            return Some((
                "archive",
                "keeps rows of another database in a table there, and not in a storage",
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Params;

    fn params(params: Value) -> Params {
        serde_json::from_value(params).expect("the shape is right")
    }

    #[test]
    fn a_database_is_named_once_and_for_what_can_be_done_there() {
        let target = json!({"table": "t", "by": "at", "retention": "30 days"});
        let mut there = target.clone();
        there["database"] = json!("shard1");
        let shards = params(json!({"targets": [there, target]}));
        assert_eq!(shards.check_job(), Ok(()));
        assert_eq!(shards.needs().iter().map(ToString::to_string).collect::<Vec<_>>(), ["database:shard1"]);
        assert!(shards.elsewhere().expect_err("twice").contains("name their own databases"));
        assert_eq!(params(target.clone()).elsewhere(), Ok(()));
        let beside = params(there.clone()).check_job().expect_err("it is the job's");
        assert!(beside.to_string().starts_with("params.database: is for one of several"), "{beside}");
        there["detach"] = json!("concurrently");
        there["walk"] = json!("partition");
        let wrong = params(json!({"targets": [there]})).check_job().expect_err("not there");
        assert!(wrong.to_string().starts_with("params.targets[0].detach: cannot"), "{wrong}");
        let mut busy = target;
        busy["workers"] = json!(2);
        busy["pacing"] = json!("full");
        assert!(params(busy).elsewhere().expect_err("not there").starts_with("params.workers must be 1"));
    }
}
