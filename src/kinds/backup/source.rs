//! Where the rows of a set come from: its columns, and the COPY that exports them.
//!
//! A line of JSON must lead back to the very same values, so what JSON has no form for goes as the text that SQL has for it.
//! What is easy to get wrong: jsonb knows a null of its own, so a column that is NULL has no key in the line at all; and
//! `column IS NULL` is true for a composite value whose fields are NULL, hence `num_nulls`.

use tokio_postgres::Row;

use super::params::{Params, Set};
use crate::{
    error::Error,
    kind::{Reader, RunContext, Stop, sql::is_about_the_text},
    outside::backup::{Column, Encoding, Format, quoted_json},
    statements,
};

/// A set that the server understands.
pub struct Source {
    /// Its name.
    pub name: String,
    /// How a row is written.
    pub format: Format,
    /// The table, qualified and quoted; `None` for a query.
    pub table: Option<String>,
    /// The query or predicate.
    pub text: Option<String>,
    /// Its columns.
    pub columns: Vec<Column>,
    quoted: Vec<String>,
    from: String,
}

impl Source {
    /// `COPY … TO STDOUT`.
    pub fn copy(&self) -> String {
        let columns = || self.columns.iter().zip(&self.quoted).filter(|(column, _)| !column.generated);
        match self.format {
            Format::Csv => {
                let list: Vec<String> = columns().map(|(_, quoted)| format!("source.{quoted}")).collect();
                format!(
                    "COPY (SELECT {} FROM {}) TO STDOUT (FORMAT csv, HEADER true)",
                    list.join(", "),
                    self.from
                )
            }
            Format::Jsonl => {
                let list: Vec<String> = columns().map(|(column, quoted)| pair(column, quoted)).collect();
                let list = list.join(", ");
                // With a quote and a delimiter that JSON never has, CSV is the line as it is.
                format!(
                    "COPY (SELECT '{{' OPERATOR(pg_catalog.||) pg_catalog.array_to_string(ARRAY[{list}]::text[], ',') \
                     OPERATOR(pg_catalog.||) '}}' FROM {}) TO STDOUT (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')",
                    self.from
                )
            }
        }
    }

    /// Counts its rows.
    pub fn count(&self) -> String {
        format!("SELECT pg_catalog.count(*) FROM {}", self.from)
    }
}

/// `"name":value`, or NULL, which is left out of the line.
fn pair(column: &Column, quoted: &str) -> String {
    let key = format!("{}:", quoted_json(&column.name)).replace('\'', "''");
    // A backslash, of an odd name, must stay one whatever the settings are.
    let key = format!("E'{}'", key.replace('\\', "\\\\"));
    let value = match column.encoding {
        Encoding::Json => format!("source.{quoted}::text"),
        Encoding::Plain => format!("pg_catalog.to_json(source.{quoted})::text"),
        Encoding::Text => {
            format!("pg_catalog.to_json(pg_catalog.format('%s', source.{quoted}))::text")
        }
    };
    format!(
        "CASE WHEN pg_catalog.num_nulls(source.{quoted}) OPERATOR(pg_catalog.=) 0 \
         THEN {key} OPERATOR(pg_catalog.||) {value} END"
    )
}

/// Has the server judge all sets, by the reader, outside a transaction.
///
/// # Errors
/// [`Stop::Refused`] with what is in the way: a table, a query, a right.
///
/// # Cancel safety
/// As [`Reader::query`].
pub async fn resolve(
    context: &RunContext,
    reader: &mut Reader,
    params: &Params,
) -> Result<Vec<Source>, Stop> {
    let run = context.run_id();
    let names: Vec<&str> = params.sets.iter().map(|set| set.table.as_deref().unwrap_or_default()).collect();
    let tables = reader.query(statements::BACKUP_TABLES, &[&names, &run]).await?;
    if tables.len() != params.sets.len() {
        return Err(Stop::refused("the run no longer holds its job", "run it again"));
    }
    let mut sources = Vec::new();
    for (index, (set, row)) in params.sets.iter().zip(&tables).enumerate() {
        sources.push(match &set.query {
            Some(query) => of_query(reader, run, set, query, index).await?,
            None => of_table(reader, set, row, index).await?,
        });
    }
    Ok(sources)
}

async fn of_table(reader: &mut Reader, set: &Set, row: &Row, index: usize) -> Result<Source, Stop> {
    let path = format!("params.sets[{index}].table");
    let given = set.table.as_deref().unwrap_or_default();
    let Some(oid) = row.get::<_, Option<u32>>("oid") else {
        return Err(Stop::refused(
            format!("{path}: there is no table {given}"),
            "create it, or edit the job",
        ));
    };
    let name: String = row.get("name");
    permit(row, &path, &name)?;
    let (columns, quoted) = columns(reader, oid).await?;
    let predicate = set.predicate.as_ref().map(|text| format!(" WHERE ({text}\n)")).unwrap_or_default();
    let source = Source {
        name: set.name().to_owned(),
        format: set.format,
        from: format!("{name} AS source{predicate}"),
        table: Some(name),
        text: set.predicate.clone(),
        columns,
        quoted,
    };
    if let Some(text) = &set.predicate {
        let path = format!("params.sets[{index}].where");
        // What closes our parenthesis early does not fit into a bracket as well.
        let bracket = format!("SELECT 1 FROM {} AS source WHERE (ARRAY[{text}\n])[1]", source.table_name());
        for probe in [format!("SELECT 1 FROM {}", source.from), bracket] {
            judged(reader.query(&format!("EXPLAIN {probe}"), &[]).await, &path, text)?;
        }
    }
    Ok(source)
}

impl Source {
    fn table_name(&self) -> &str {
        self.table.as_deref().unwrap_or_default()
    }
}

fn permit(row: &Row, path: &str, name: &str) -> Result<(), Stop> {
    let refused = |reason: String, remedy: String| Err(Stop::refused(format!("{path}: {reason}"), remedy));
    if !matches!(row.get("kind"), "r" | "p") {
        return refused(format!("{name} is no table"), "give the set a query over it".to_owned());
    }
    if row.get("catalog") {
        return refused(format!("{name} is the server's own"), "give the set a query over it".to_owned());
    }
    if row.get("parent") {
        let remedy = "make each child a set, or give the set a query over it".to_owned();
        return refused(
            format!("other tables inherit from {name}, and their rows would come back as its own"),
            remedy,
        );
    }
    let (role, editor): (&str, &str) = (row.get("role"), row.get("editor"));
    if !row.get::<_, bool>("may") {
        return refused(
            format!("role {role} may not read {name}"),
            format!("GRANT SELECT ON {name} TO {role};"),
        );
    }
    if !row.get::<_, bool>("editor_may") {
        let reason = format!("{editor}, who edited the job last, may not read {name}");
        return refused(reason, format!("GRANT SELECT ON {name} TO {editor}; or let another edit the job"));
    }
    Ok(())
}

/// Makes a view of the query and looks at that: its columns, and what it reads. The view is taken back.
async fn of_query(
    reader: &mut Reader,
    run: uuid::Uuid,
    set: &Set,
    query: &str,
    index: usize,
) -> Result<Source, Stop> {
    let path = format!("params.sets[{index}].query");
    reader.execute("BEGIN").await?;
    let made = format!("CREATE TEMPORARY VIEW sexton_set AS SELECT source.* FROM ({query}\n) AS source");
    judged(reader.query(&made, &[]).await, &path, query)?;
    let rows = reader.query("SELECT 'pg_temp.sexton_set'::pg_catalog.regclass::oid", &[]).await?;
    let view: u32 = rows.first().map(|row| row.get(0)).unwrap_or_default();
    let uses = reader.query(statements::BACKUP_QUERY_USES, &[&view, &run]).await?;
    if let Some(row) = uses.iter().find(|row| !row.get::<_, bool>("editor_may")) {
        let (editor, what): (&str, &str) = (row.get("editor"), row.get("what"));
        let reason = format!("{path}: {editor}, who edited the job last, may not read {what}");
        return Err(Stop::refused(reason, "grant it, or let another edit the job"));
    }
    let (columns, quoted) = columns(reader, view).await?;
    reader.execute("ROLLBACK").await?;
    Ok(Source {
        name: set.name().to_owned(),
        format: set.format,
        table: None,
        text: Some(query.to_owned()),
        columns,
        quoted,
        from: format!("({query}\n) AS source"),
    })
}

async fn columns(reader: &mut Reader, oid: u32) -> Result<(Vec<Column>, Vec<String>), Stop> {
    // So that a type is written with its schema, whatever the search_path.
    reader.execute("SET search_path TO pg_catalog").await?;
    let rows = reader.query(statements::RELATION_COLUMNS, &[&oid]).await?;
    reader.execute("RESET search_path").await?;
    let column = |row: &Row| Column {
        name: row.get("name"),
        sql_type: row.get("type"),
        generated: row.get("generated"),
        encoding: match (row.get("json"), row.get("scalar")) {
            (true, _) => Encoding::Json,
            (_, true) => Encoding::Plain,
            _ => Encoding::Text,
        },
    };
    Ok((rows.iter().map(column).collect(), rows.iter().map(|row| row.get("quoted")).collect()))
}

/// Tells a fault of the text from the circumstances.
fn judged<T>(answer: Result<T, Error>, path: &str, text: &str) -> Result<T, Stop> {
    answer.map_err(|error| {
        if is_about_the_text(&error) {
            return Stop::refused(format!("{path}: {error}, in: {}", text.trim()), "edit the job");
        }
        error.into()
    })
}
