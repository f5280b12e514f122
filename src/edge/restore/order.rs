//! Parents before children.
//!
//! What is easy to get wrong: a cycle has no order. Where one of its keys may be deferred, that one is (the restore defers
//! all that may be); otherwise the restore says so before it writes anything.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use super::Target;
use crate::{
    error::{Error, ErrorKind, Result},
    statements,
};

/// Puts tables in an order in which rows find those that they refer to.
pub(super) async fn by_foreign_keys(session: &Client, targets: Vec<Target>) -> Result<Vec<Target>> {
    let oids: Vec<u32> = targets.iter().map(|target| target.oid).collect();
    let rows = session.query(statements::RESTORE_FOREIGN_KEYS, &[&oids]).await?;
    let edges: Vec<(u32, u32)> = rows
        .iter()
        .filter(|row| !row.get::<_, bool>("deferrable"))
        .map(|row| (row.get("child"), row.get("parent")))
        .collect();
    sorted(targets, &edges, |target| target.oid).map_err(|left| {
        let tables: Vec<&str> = left.iter().map(|target| target.table.as_str()).collect();
        let message = format!("{} refer to each other, so none can come first", tables.join(", "));
        Error::new(ErrorKind::Refused, message)
            .with_remedy("make one of their foreign keys DEFERRABLE, or restore them one by one by --set")
    })
}

/// Each after those that it refers to; `Err` with what is left of a cycle.
fn sorted<T>(mut items: Vec<T>, edges: &[(u32, u32)], id: impl Fn(&T) -> u32) -> Result<Vec<T>, Vec<T>> {
    let mut done = Vec::with_capacity(items.len());
    while !items.is_empty() {
        let open: BTreeSet<u32> = items.iter().map(&id).collect();
        let waits =
            |item: &T| edges.iter().any(|(child, parent)| *child == id(item) && open.contains(parent));
        match items.iter().position(|item| !waits(item)) {
            Some(index) => done.push(items.remove(index)),
            None => return Err(items),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_first_and_a_cycle_is_told() {
        let edges = [(1, 2), (2, 3)];
        assert_eq!(sorted(vec![1, 2, 3, 4], &edges, |id| *id), Ok(vec![3, 2, 1, 4]));
        assert_eq!(sorted(vec![1, 2, 3], &[(1, 2), (2, 1)], |id| *id), Err(vec![1, 2]));
    }
}
