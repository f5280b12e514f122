//! The part of a purge's statements that leads from rows of the table to those of its children, and back.
//!
//! Names are those that the server quoted, always with their table before them, since in nested queries the same name
//! stands for several columns. What is easy to get wrong: downwards (`under`) the rows of the table are picked in the
//! innermost query; upwards (`keeps`) they are what the condition is about.

use super::{
    cursor::Cutoff,
    family::{Family, Node},
    statement::{Access, Quoted, Scope, Sql},
};

/// How rows of a child are reached.
#[derive(Clone, Debug)]
pub struct Link {
    /// The child.
    pub table: Quoted,
    /// Whether it has partitions.
    pub partitioned: bool,
    /// The node that it hangs on; the purge's own table if `None`.
    pub parent: Option<usize>,
    /// The child's columns.
    pub theirs: Vec<Quoted>,
    /// The parent's that they equal, in the same order.
    pub ours: Vec<Quoted>,
}

impl Link {
    /// A statement that the server can parse only if the columns can be compared.
    pub fn probe(&self, parent: &Quoted) -> String {
        format!(
            "SELECT 1 FROM {} WHERE ({}) IN (SELECT {} FROM {})",
            self.table,
            columns(&self.table, &self.theirs),
            columns(parent, &self.ours),
            parent
        )
    }
}

/// Columns of a table, its name before each.
fn columns(table: &Quoted, names: &[Quoted]) -> String {
    let named: Vec<String> = names.iter().map(|name| format!("{table}.{name}")).collect();
    named.join(", ")
}

impl Family {
    fn parent_table<'f>(&'f self, node: &Node, root: &'f Quoted) -> &'f Quoted {
        match node.link.parent.and_then(|parent| self.nodes.get(parent)) {
            Some(parent) => &parent.link.table,
            None => root,
        }
    }

    /// A condition on rows of a node: those that belong to rows of the table which `pick` means.
    pub fn under<'a>(
        &self,
        sql: Sql<'a>,
        root: &Quoted,
        node: &Node,
        pick: &dyn Fn(Sql<'a>) -> Sql<'a>,
    ) -> Sql<'a> {
        let (table, parent) = (&node.link.table, self.parent_table(node, root));
        let sql = sql.add(&format!(
            "({}) IN (SELECT {} FROM {parent} WHERE ",
            columns(table, &node.link.theirs),
            columns(parent, &node.link.ours)
        ));
        let sql = match node.link.parent.and_then(|parent| self.nodes.get(parent)) {
            Some(parent) => self.under(sql, root, parent, pick),
            // By itself, or the planner would seek these rows in the order of an index, through all of the table.
            None => pick(sql).add(" OFFSET 0"),
        };
        sql.add(")")
    }

    /// A condition on rows of the table: no row of the node belongs to it for which `staying` is true.
    pub fn none(&self, root: &Quoted, node: &Node, staying: &str) -> Quoted {
        let up = self.up(root, node);
        Quoted::raw(format!("(NOT EXISTS (SELECT 1 FROM {} WHERE {up} AND {staying}))", node.link.table))
    }

    fn up(&self, root: &Quoted, node: &Node) -> String {
        let (table, parent) = (&node.link.table, self.parent_table(node, root));
        let pairs = node.link.theirs.iter().zip(&node.link.ours);
        let equal: Vec<String> =
            pairs.map(|(theirs, ours)| format!("{table}.{theirs} = {parent}.{ours}")).collect();
        let equal = equal.join(" AND ");
        match node.link.parent.and_then(|parent| self.nodes.get(parent)) {
            None => equal,
            Some(above) => {
                format!("EXISTS (SELECT 1 FROM {parent} WHERE {equal} AND {})", self.up(root, above))
            }
        }
    }

    /// Conditions on rows of the table: none of its children must stay.
    pub fn keeps(&self, root: &Quoted) -> Vec<Quoted> {
        let kept = self.nodes.iter().filter(|node| !node.unless.is_empty());
        kept.map(|node| {
            let may_go: Vec<&str> = node.unless.iter().map(Quoted::as_str).collect();
            self.none(root, node, &format!("NOT ({})", may_go.join(" AND ")))
        })
        .collect()
    }

    /// Counts the rows of a child table that go with what is eligible.
    pub fn count<'a>(&self, scope: &'a Scope, cutoff: Option<&'a Cutoff>, table: u32) -> Sql<'a> {
        let pick = |sql: Sql<'a>| scope.eligible(sql, cutoff, Access::Any);
        let mut nodes = self.nodes.iter().filter(|node| node.facts.oid() == table);
        let Some(first) = nodes.next() else { return Sql::new("SELECT 0::bigint") };
        let sql = Sql::new(&format!("SELECT pg_catalog.count(*) FROM {} WHERE ", first.link.table));
        let sql = self.under(sql, &scope.table, first, &pick);
        nodes.fold(sql, |sql, node| self.under(sql.add(" OR "), &scope.table, node, &pick))
    }
}
