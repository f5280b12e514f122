//! Where the rows of a set come from: a table or a query that the server understands, and that may be read.
//!
//! How they are written stands in `outside::backup::Columns`. What is easy to get wrong: a predicate or query is an author's
//! text, which must not close the parenthesis that it stands in.

use tokio_postgres::Row;

use super::params::{Params, Set};
use crate::{
    error::Error,
    kind::{Reader, RunContext, Stop, sql::is_about_the_text},
    outside::backup::{Columns, Format},
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
    pub columns: Columns,
    from: String,
}

impl Source {
    /// `COPY … TO STDOUT`.
    pub fn copy(&self) -> String {
        self.columns.copy(self.format, &self.from)
    }

    /// Counts its rows.
    pub fn count(&self) -> String {
        format!("SELECT pg_catalog.count(*) FROM {}", self.from)
    }
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
    let columns = columns(reader, oid).await?;
    let predicate = set.predicate.as_ref().map(|text| format!(" WHERE ({text}\n)")).unwrap_or_default();
    let source = Source {
        name: set.name().to_owned(),
        format: set.format,
        from: format!("{name} AS source{predicate}"),
        table: Some(name),
        text: set.predicate.clone(),
        columns,
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
    let columns = columns(reader, view).await?;
    reader.execute("ROLLBACK").await?;
    Ok(Source {
        name: set.name().to_owned(),
        format: set.format,
        table: None,
        text: Some(query.to_owned()),
        columns,
        from: format!("({query}\n) AS source"),
    })
}

async fn columns(reader: &mut Reader, oid: u32) -> Result<Columns, Stop> {
    reader.execute("SET search_path TO pg_catalog").await?;
    let rows = reader.query(statements::RELATION_COLUMNS, &[&oid]).await?;
    reader.execute("RESET search_path").await?;
    Ok(Columns::of(&rows))
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
