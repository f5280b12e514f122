//! Tables whose rows go before those of the table itself, in the same batch: what the server makes of those that the job
//! names.
//!
//! They become a tree below the purge's table: one node for each way by which rows are reached, by a foreign key that
//! the catalog knows or by columns that the job names. A table with two such ways stands there twice. What is easy to
//! get wrong: a row of a child that must stay (a hold, `protect`) keeps the row that it belongs to, and that row's other
//! children with it; so each becomes a condition on the purge's own table.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    archive::{self, Into},
    children::{Child, ChildTable, Columns},
    hold::{self, Reached},
    lineage::Link,
    params::Params,
    preflight,
    statement::Quoted,
    target::{self, Facts, wrong},
};
use crate::{
    kind::{RunContext, Stop, sql::is_about_the_text},
    statements,
};

/// More ways than this to rows of children are taken for a mistake.
const NODES_MOST: usize = 32;

/// A way to rows of a child table.
#[derive(Debug)]
pub struct Node {
    /// What the catalog says of the table.
    pub facts: Facts,
    /// How its rows are reached.
    pub link: Link,
    /// The foreign key that this is, if it is one.
    pub constraint: Option<u32>,
    /// Conditions that all hold for a row that may go.
    pub unless: Vec<Quoted>,
    /// Whether other children hang on it.
    pub inner: bool,
    /// Where its rows are kept.
    pub archive: Option<Into>,
}

/// The children of a purge: a tree, each node after the one that it hangs on.
#[derive(Debug, Default)]
pub struct Family {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The holds that are kept on them, as reports show them.
    pub holds: Vec<Value>,
    /// What is named by columns and no index serves: what is missing, and the statement that makes it.
    pub unindexed: Vec<(String, String)>,
}

/// One child table as the server knows it.
struct Known {
    facts: Facts,
    unless: Vec<Quoted>,
    archive: Option<Into>,
    /// By columns: whose, and which.
    by_columns: Option<(u32, Link)>,
}

/// A foreign key between named tables.
struct Edge {
    constraint: u32,
    child: u32,
    parent: u32,
    theirs: Vec<Quoted>,
    ours: Vec<Quoted>,
}

/// Reads what the job's children are.
///
/// # Errors
/// A refusal that names the entry that is wrong.
pub async fn read(context: &mut RunContext, params: &Params, facts: &Facts) -> Result<Family, Stop> {
    let Some(children) = params.children.as_deref() else { return Ok(Family::default()) };
    let mut all: Vec<Facts> = Vec::new();
    for child in children {
        all.push(table(context, child, facts).await?);
    }
    let oids: Vec<u32> = all.iter().map(Facts::oid).collect();
    let mut parents = vec![facts.oid()];
    parents.extend(&oids);
    let edges: Vec<Edge> = context
        .query(statements::PURGE_CHILDREN, &[&oids, &parents])
        .await?
        .iter()
        .map(|row| {
            let quoted =
                |name: &str| row.get::<_, Vec<String>>(name).into_iter().map(Quoted::by_server).collect();
            Edge {
                constraint: row.get("constraint"),
                child: row.get("child"),
                parent: row.get("parent"),
                theirs: quoted("theirs"),
                ours: quoted("ours"),
            }
        })
        .collect();
    let mut family = Family::default();
    let mut known = Vec::new();
    for (child, child_facts) in children.iter().zip(all) {
        known.push(know(context, child, child_facts, facts, &mut family).await?);
    }
    family.grow(&known, &edges, None, &mut vec![facts.oid()])?;
    for (child, known) in children.iter().zip(&known) {
        if !family.nodes.iter().any(|node| node.facts.oid() == known.facts.oid()) {
            return Err(wrong(
                "children",
                format!(
                    "no foreign key leads from {} to {} or to another child; name its columns: \
                     {{ table = \"{}\", column = \"…\", parent_column = \"…\" }}",
                    known.facts.name(),
                    facts.name(),
                    child.table()
                ),
            ));
        }
    }
    family.keep(context, &known, facts).await?;
    Ok(family)
}

/// Finds the table that an entry names, and refuses one that a purge must not touch.
async fn table(context: &mut RunContext, child: &Child, facts: &Facts) -> Result<Facts, Stop> {
    let found = match target::find(context, child.table()).await? {
        Some((name, oid)) => match Facts::of(context, &name, oid, "").await? {
            Some(found) => Some(found),
            None => return Err(target::gone("children", &name, context.job())),
        },
        None => None,
    };
    let Some(found) = found else {
        let keys = target::foreign_keys(context, facts).await?;
        let referring = keys.iter().map(|key| key.child.as_str());
        let hint = match nearest(child.table(), referring.clone()) {
            Some(near) => format!("did you mean {near}?"),
            None => match referring.collect::<BTreeSet<_>>() {
                none if none.is_empty() => format!("no table refers to {}", facts.name()),
                some => format!(
                    "those that refer to {}: {}",
                    facts.name(),
                    some.into_iter().collect::<Vec<_>>().join(", ")
                ),
            },
        };
        return Err(wrong("children", format!("there is no table {}; {hint}", child.table())));
    };
    if found.oid() == facts.oid() {
        return Err(wrong("children", format!("{} is the table itself", found.name())));
    }
    preflight::table(context.job(), &found)?;
    Ok(found)
}

fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let bare = |name: &str| name.rsplit('.').next().unwrap_or(name).trim_matches('"').to_lowercase();
    let word = bare(word);
    names
        .map(|name| (strsim::jaro_winkler(&word, &bare(name)), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

async fn know(
    context: &mut RunContext,
    child: &Child,
    facts: Facts,
    root: &Facts,
    family: &mut Family,
) -> Result<Known, Stop> {
    let Some(more) = child.more() else {
        return Ok(Known { facts, unless: Vec::new(), archive: None, by_columns: None });
    };
    let table = Quoted::by_server(facts.name().to_owned());
    let unless = hold::protection(context, more.protect.as_ref(), &facts, &table).await?;
    let archive = match &more.archive {
        Some(archive) => Some(archive::read(context, archive, &facts, "children.archive").await?),
        None => None,
    };
    let by_columns = match (&more.column, &more.parent_column) {
        (Some(theirs), Some(ours)) => {
            Some(by_columns(context, more, (theirs, ours), &facts, root, family).await?)
        }
        _ => None,
    };
    Ok(Known { facts, unless, archive, by_columns })
}

async fn by_columns(
    context: &mut RunContext,
    more: &ChildTable,
    (theirs, ours): (&Columns, &Columns),
    facts: &Facts,
    root: &Facts,
    family: &mut Family,
) -> Result<(u32, Link), Stop> {
    let (parent_name, parent) = match &more.parent {
        None => (root.name().to_owned(), root.oid()),
        Some(name) => match target::find(context, name).await? {
            Some(found) => found,
            None => return Err(wrong("children", format!("{}: there is no table {name}", more.table))),
        },
    };
    let columns = async |context: &mut RunContext, table: &str, asked: &[String]| {
        let names = target::names(context, table, asked).await?;
        let names = names.ok_or_else(|| wrong("children", format!("there is no table {table}")))?;
        match names.missing(asked) {
            Some(missing) => Err(wrong("children", format!("{table} has no column {missing}"))),
            None => Ok(names.columns.into_iter().flatten().collect::<Vec<_>>()),
        }
    };
    let link = Link {
        table: Quoted::by_server(facts.name().to_owned()),
        partitioned: facts.partitioned(),
        parent: None,
        theirs: columns(context, facts.name(), theirs.names()).await?,
        ours: columns(context, &parent_name, ours.names()).await?,
    };
    let probe = link.probe(&Quoted::by_server(parent_name));
    match context.describe(&probe).await {
        Ok(_) => {}
        Err(Stop::Failed(error)) if is_about_the_text(&error) => {
            return Err(wrong("children", format!("{}: {error}", more.table)));
        }
        Err(stop) => return Err(stop),
    }
    let rows = context.query(statements::PURGE_KEY, &[&facts.oid(), &theirs.names()]).await?;
    if !rows.first().is_some_and(|row| row.get("indexed")) {
        let named: Vec<&str> = link.theirs.iter().map(Quoted::as_str).collect();
        let named = named.join(", ");
        // PostgreSQL cannot do that concurrently for all partitions at once.
        let create = if facts.partitioned() { "CREATE INDEX" } else { "CREATE INDEX CONCURRENTLY" };
        family.unindexed.push((
            format!("{named} of {}", facts.name()),
            format!("{create} ON {} ({named});", facts.name()),
        ));
    }
    Ok((parent, link))
}

impl Node {
    /// Whether it is by this column, among others, that its rows refer.
    pub fn links(&self, column: &str) -> bool {
        self.link.theirs.iter().any(|name| name.as_str() == column)
    }
}

impl Family {
    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds all that hangs on `parent`, and so on. `above` are the tables from the purge's own down to it: none of these
    /// is gone into again.
    fn grow(
        &mut self,
        known: &[Known],
        edges: &[Edge],
        parent: Option<usize>,
        above: &mut Vec<u32>,
    ) -> Result<(), Stop> {
        let of = above.last().copied().unwrap_or_default();
        for child in known {
            if above.contains(&child.facts.oid()) {
                continue;
            }
            let oid = child.facts.oid();
            let named = child.by_columns.as_ref().filter(|(parent, _)| *parent == of);
            let by_columns = named.map(|(_, link)| (None, Link { parent, ..link.clone() }));
            let by_key = edges
                .iter()
                .filter(|edge| child.by_columns.is_none() && edge.child == oid && edge.parent == of);
            let by_key = by_key.map(|edge| {
                let link = Link {
                    table: Quoted::by_server(child.facts.name().to_owned()),
                    partitioned: child.facts.partitioned(),
                    parent,
                    theirs: edge.theirs.clone(),
                    ours: edge.ours.clone(),
                };
                (Some(edge.constraint), link)
            });
            for (constraint, link) in by_columns.into_iter().chain(by_key) {
                if self.nodes.len() == NODES_MOST {
                    let message = format!("more than {NODES_MOST} ways lead to rows of children; name fewer");
                    return Err(wrong("children", message));
                }
                if let Some(parent) = parent {
                    self.nodes[parent].inner = true;
                }
                self.nodes.push(Node {
                    facts: child.facts.clone(),
                    link,
                    constraint,
                    unless: child.unless.clone(),
                    inner: false,
                    archive: child.archive.clone(),
                });
                above.push(oid);
                self.grow(known, edges, Some(self.nodes.len() - 1), above)?;
                above.pop();
            }
        }
        Ok(())
    }

    /// Adds the conditions of legal holds, and refuses what a cascade would do to rows that are held.
    async fn keep(&mut self, context: &mut RunContext, known: &[Known], root: &Facts) -> Result<(), Stop> {
        let reached = self.reached(context, root).await?;
        for child in known {
            let table = Quoted::by_server(child.facts.name().to_owned());
            let held = hold::holds(context, &child.facts, &table, &reached).await?;
            for node in self.nodes.iter_mut().filter(|node| node.facts.oid() == child.facts.oid()) {
                node.unless.extend(held.conditions.iter().cloned());
            }
            let new = held.holds.into_iter().filter(|hold| !self.holds.contains(hold)).collect::<Vec<_>>();
            self.holds.extend(new);
        }
        Ok(())
    }

    /// The tables whose rows a foreign key would change that is not one of the family's.
    pub async fn reached(&self, context: &mut RunContext, root: &Facts) -> Result<Reached, Stop> {
        if self.is_empty() {
            return Ok(Reached::Any);
        }
        let mut tables: Vec<u32> = self.nodes.iter().map(|node| node.facts.oid()).collect();
        tables.push(root.oid());
        let rows = context.query(statements::PURGE_CASCADES, &[&tables, &self.constraints()]).await?;
        Ok(Reached::These(rows.iter().map(|row| row.get(0)).collect()))
    }

    /// The foreign keys that the family consists of.
    pub fn constraints(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(|node| node.constraint).collect()
    }

    /// The nodes, one for each table.
    pub fn tables(&self) -> Vec<&Node> {
        let mut seen = BTreeSet::new();
        self.nodes.iter().filter(|node| seen.insert(node.facts.oid())).collect()
    }
}
