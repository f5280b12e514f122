//! Rows as text: which columns there are, and the COPY that writes them, for backups and archives alike.
//!
//! A line of JSON must lead back to the very same values, so what JSON has no form for goes as the text that SQL has for it.
//! What is easy to get wrong: jsonb knows a null of its own, so a column that is NULL has no key in the line at all; and
//! `column IS NULL` is true for a composite value whose fields are NULL, hence `num_nulls`.

use tokio_postgres::Row;

use super::{Column, Encoding, Format, quoted_json};

/// The columns of a table or view, with their names as the server quotes them.
#[derive(Clone, Debug)]
pub struct Columns {
    /// All of them, in their order.
    pub all: Vec<Column>,
    quoted: Vec<String>,
}

impl Columns {
    /// As `sql/relation_columns.sql` gives them, with a search path of `pg_catalog` alone: so a type is written with its
    /// schema, whatever the session's own path is.
    pub fn of(rows: &[Row]) -> Self {
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
        Columns {
            all: rows.iter().map(column).collect(),
            quoted: rows.iter().map(|row| row.get("quoted")).collect(),
        }
    }

    /// Those that are written, quoted: all that the table does not compute.
    pub fn exported(&self) -> impl Iterator<Item = &str> {
        self.pairs().map(|(_, quoted)| quoted)
    }

    fn pairs(&self) -> impl Iterator<Item = (&Column, &str)> {
        let pairs = self.all.iter().zip(&self.quoted).filter(|(column, _)| !column.generated);
        pairs.map(|(column, quoted)| (column, quoted.as_str()))
    }

    /// `COPY … TO STDOUT` of what stands behind FROM, where it is called `source`.
    pub fn copy(&self, format: Format, from: &str) -> String {
        match format {
            Format::Csv => {
                let list: Vec<String> = self.exported().map(|quoted| format!("source.{quoted}")).collect();
                format!("COPY (SELECT {} FROM {from}) TO STDOUT (FORMAT csv, HEADER true)", list.join(", "))
            }
            Format::Jsonl => {
                let list: Vec<String> = self.pairs().map(|(column, quoted)| pair(column, quoted)).collect();
                let list = list.join(", ");
                // With a quote and a delimiter that JSON never has, CSV is the line as it is.
                format!(
                    "COPY (SELECT '{{' OPERATOR(pg_catalog.||) pg_catalog.array_to_string(ARRAY[{list}]::text[], ',') \
                     OPERATOR(pg_catalog.||) '}}' FROM {from}) TO STDOUT (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')"
                )
            }
        }
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
