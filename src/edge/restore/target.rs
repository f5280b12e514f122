//! The table that a set goes into, and whether it is the table that the set was of.
//!
//! What is easy to get wrong: a table that merely takes the rows may still mean something else by them; so names and types
//! must be the same, whatever their order.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::{Client, Row};

use super::OnConflict;
use crate::{
    error::{Error, ErrorKind, Result},
    outside::backup::{Format, SetManifest},
    statements,
};

/// Where sets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Into {
    /// Into the tables that they are of.
    Tables,
    /// Into the tables of the same names in this schema.
    Schema(String),
    /// The one set into this table.
    Table(String),
}

/// How much a table must be like the one that the rows are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    /// It has these columns.
    Same,
    /// It has these columns, and perhaps others since, which fill themselves.
    Grown,
}

/// A set and its table.
#[derive(Clone, Debug)]
pub struct Target {
    /// The set.
    pub set: SetManifest,
    /// The table, qualified and quoted.
    pub table: String,
    pub(super) oid: u32,
    /// Quoted columns of the primary key.
    key: Vec<String>,
    /// Quoted columns of the set, in its order.
    columns: Vec<String>,
    /// Quoted columns that are GENERATED ALWAYS AS IDENTITY.
    identity: Vec<String>,
}

/// Finds the tables.
pub(super) async fn resolve(
    session: &Client,
    sets: &[&SetManifest],
    into: &Into,
    likeness: Likeness,
) -> Result<Vec<Target>> {
    let (names, schema) = names(sets, into)?;
    let rows = session.query(statements::RESTORE_TARGETS, &[&names, &schema]).await?;
    let mut targets = Vec::new();
    for (set, row) in sets.iter().zip(&rows) {
        let about = |error: Error| error.about(format!("set {}", set.name));
        let oid = table_of(row).map_err(about)?;
        // So that a type is written with its schema, whatever the search_path.
        session.batch_execute("SET search_path TO pg_catalog").await?;
        let columns = session.query(statements::RELATION_COLUMNS, &[&oid]).await?;
        session.batch_execute("RESET search_path").await?;
        let table: String = row.get("name");
        compare(set, &table, &columns, likeness).map_err(about)?;
        targets.push(target(set, table, oid, row, &columns));
    }
    keep_apart(&targets)?;
    Ok(targets)
}

/// Several sets may be parts of one table; sets of two tables must not become one.
fn keep_apart(targets: &[Target]) -> Result<()> {
    for (index, target) in targets.iter().enumerate() {
        let meets = |other: &&Target| other.oid == target.oid && other.set.table != target.set.table;
        if let Some(other) = targets[..index].iter().find(meets) {
            let (one, two) = (&other.set.name, &target.set.name);
            let message =
                format!("sets {one} and {two} are of two tables, and would both go into {}", target.table);
            return Err(Error::new(ErrorKind::Refused, message)
                .with_remedy("restore them one by one, each by --set NAME --into TABLE"));
        }
    }
    Ok(())
}

fn names(sets: &[&SetManifest], into: &Into) -> Result<(Vec<String>, Option<String>)> {
    if let Into::Table(name) = into {
        let several: BTreeSet<&str> = sets.iter().map(|set| set.name.as_str()).collect();
        if several.len() != 1 {
            return Err(Error::invalid(format!("{} sets do not go into one table", several.len()))
                .with_remedy("name one by --set"));
        }
        return Ok((vec![name.clone(); sets.len()], None));
    }
    if let Some(set) = sets.iter().find(|set| set.table.is_none()) {
        return Err(Error::invalid("it is of a query, so no table is known for it")
            .about(format!("set {}", set.name))
            .with_remedy(
                "say where it goes (--set NAME --into TABLE, or --file PATH), or name the others by --set",
            ));
    }
    let schema = match into {
        Into::Schema(schema) => Some(schema.clone()),
        _ => None,
    };
    Ok((sets.iter().filter_map(|set| set.table.clone()).collect(), schema))
}

fn table_of(row: &Row) -> Result<u32> {
    let wanted: &str = row.get("wanted");
    let Some(oid) = row.get::<_, Option<u32>>("oid") else {
        return Err(Error::new(ErrorKind::Refused, format!("there is no table {wanted} here")).with_remedy(
            "create it as it was (the application's migrations do), or name another by --into",
        ));
    };
    if row.get("protected") || !matches!(row.get("kind"), "r" | "p") {
        return Err(Error::new(ErrorKind::Refused, format!("{wanted} is no table of an application")));
    }
    Ok(oid)
}

/// Names and types must be the same; all that differs is told at once.
fn compare(set: &SetManifest, table: &str, columns: &[Row], likeness: Likeness) -> Result<()> {
    let shape = |sql_type: String, generated: bool| {
        if generated { format!("{sql_type}, generated") } else { sql_type }
    };
    let here: BTreeMap<String, String> =
        columns.iter().map(|row| (row.get("name"), shape(row.get("type"), row.get("generated")))).collect();
    let mut differences = Vec::new();
    for column in &set.columns {
        let backed_up = shape(column.sql_type.clone(), column.generated);
        match here.get(&column.name) {
            None => differences.push(format!("column {} ({backed_up}) is in the backup alone", column.name)),
            Some(found) if *found != backed_up => differences
                .push(format!("column {} is {backed_up} in the backup, {found} in the table", column.name)),
            Some(_) => {}
        }
    }
    let fills_itself = |name: &String| {
        likeness == Likeness::Grown
            && !columns.iter().any(|row| row.get::<_, &str>("name") == name && row.get("needed"))
    };
    for (name, found) in here.iter().filter(|(name, _)| !fills_itself(name)) {
        if !set.columns.iter().any(|column| column.name == *name) {
            differences.push(format!("column {name} ({found}) is in the table alone"));
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    let message = format!("{table} is not as it was backed up: {}", differences.join("; "));
    Err(Error::new(ErrorKind::Refused, message).with_remedy(
        "restore into a table of the old shape by --into, or into a file by --file, and move the rows from there",
    ))
}

fn target(set: &SetManifest, table: String, oid: u32, row: &Row, columns: &[Row]) -> Target {
    let quoted: BTreeMap<&str, &str> =
        columns.iter().map(|row| (row.get("name"), row.get("quoted"))).collect();
    let exported = set.exported().filter_map(|column| quoted.get(column.name.as_str()));
    let identity = columns.iter().filter(|row| row.get::<_, &str>("identity") == "a");
    Target {
        set: set.clone(),
        table,
        oid,
        key: row.get::<_, Option<Vec<String>>>("key").unwrap_or_default(),
        columns: exported.map(|name| (*name).to_owned()).collect(),
        identity: identity.map(|row| row.get("quoted")).collect(),
    }
}

/// The table that rows stay in until conflicts are settled.
const STAGE: &str = "pg_temp.sexton_restore";

impl Target {
    /// Empties the stage.
    pub(super) const EMPTY_STAGE: &str = "TRUNCATE pg_temp.sexton_restore";

    /// Whether a primary key tells which rows are there already.
    pub(super) fn has_key(&self) -> bool {
        !self.key.is_empty()
    }

    /// Whether conflicts can be settled so.
    pub(super) fn permit(&self, on_conflict: OnConflict) -> Result<()> {
        if on_conflict != OnConflict::Replace {
            return Ok(());
        }
        let refused = |message: String| {
            Err(Error::new(ErrorKind::Refused, message).about(format!("set {}", self.set.name)))
        };
        if self.key.is_empty() {
            return refused(format!("{} has no primary key to replace rows by", self.table));
        }
        match self.identity.iter().find(|column| !self.key.contains(column)) {
            Some(column) => refused(format!(
                "{column} of {} is always generated and no part of its key, so it cannot be replaced",
                self.table
            )),
            None => Ok(()),
        }
    }

    /// `COPY … FROM STDIN`, into the table itself, or into the stage where conflicts are settled.
    pub(super) fn copy(&self, on_conflict: OnConflict) -> String {
        let table = if on_conflict == OnConflict::Fail { &self.table } else { STAGE };
        let format = match self.set.format {
            Format::Csv => "FORMAT csv, HEADER true",
            Format::Jsonl => "FORMAT text",
        };
        format!("COPY {table} ({}) FROM STDIN ({format})", self.columns.join(", "))
    }

    pub(super) fn stage(&self) -> String {
        format!(
            "CREATE TEMPORARY TABLE sexton_restore ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA",
            self.columns.join(", "),
            self.table
        )
    }

    pub(super) fn drop_stage() -> String {
        format!("DROP TABLE {STAGE}")
    }

    /// From the stage into the table.
    pub(super) fn settle(&self, on_conflict: OnConflict) -> String {
        let columns = self.columns.join(", ");
        let others: Vec<String> = self
            .columns
            .iter()
            .filter(|column| !self.key.contains(column))
            .map(|column| format!("{column} = EXCLUDED.{column}"))
            .collect();
        let action = match on_conflict {
            OnConflict::Replace if !others.is_empty() => {
                format!("ON CONFLICT ({}) DO UPDATE SET {}", self.key.join(", "), others.join(", "))
            }
            _ => "ON CONFLICT DO NOTHING".to_owned(),
        };
        format!(
            "INSERT INTO {} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {STAGE} {action}",
            self.table
        )
    }

    /// From the stage into a table without a key: of equal rows, as many as it has fewer than the stage.
    pub(super) fn settle_by_rows(&self) -> String {
        let (table, columns) = (&self.table, self.columns.join(", "));
        let row = |of: &str| {
            let columns: Vec<String> = self.columns.iter().map(|column| format!("{of}.{column}")).collect();
            format!("ROW({})::text", columns.join(", "))
        };
        let (staged, there) = (row("stage"), row("there"));
        format!(
            "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
             SELECT {columns}
               FROM (SELECT stage.*, {staged} AS sexton_row,
                            pg_catalog.row_number() OVER (PARTITION BY {staged}) AS sexton_number
                       FROM {STAGE} AS stage) AS staged
               LEFT JOIN (SELECT {there} AS sexton_row, pg_catalog.count(*) AS sexton_rows
                            FROM {table} AS there GROUP BY 1) AS there USING (sexton_row)
              WHERE sexton_number > coalesce(sexton_rows, 0)
             ON CONFLICT DO NOTHING"
        )
    }

    /// Moves a sequence beyond the values of its column, never back.
    pub(super) fn advance(&self, column: &str, sequence: &str, descending: bool) -> String {
        let (extreme, beyond) = if descending { ("min", "<") } else { ("max", ">") };
        format!(
            "SELECT pg_catalog.setval('{}'::pg_catalog.regclass, v.value)
               FROM (SELECT pg_catalog.{extreme}({column})::bigint AS value FROM {}) AS v, {sequence} AS s
              WHERE v.value {beyond} s.last_value OR (v.value = s.last_value AND NOT s.is_called)",
            sequence.replace('\'', "''"),
            self.table
        )
    }
}
