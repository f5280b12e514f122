//! What a job's calls mean, and the statements that read the rows to call for, count them, and delete them.
//!
//! A row is told by its primary key, and `same` is a text of all that its call is made of: key, columns, and what its
//! target says. What is easy to get wrong: names in the author's expressions are looked up in the purge's table alone, so
//! that stands in FROM by itself, and its target in a query of its own below.

use tokio_postgres::types::Type;

use super::{params::BeforeDelete, rows::Row, template::Piece};
use crate::{
    kind::{RunContext, Stop, sql::is_about_the_text},
    kinds::purge::{
        cursor::{Cutoff, Range},
        statement::{Access, Quoted, Scope, Sql},
        target::{self, Facts, wrong},
    },
    statements,
};

/// What a job's calls mean, by the server's judgment.
#[derive(Debug)]
pub struct Calls {
    /// What the job says.
    pub given: BeforeDelete,
    /// The purge's table.
    pub table: Quoted,
    /// The primary key: columns and their types.
    pub key: Vec<(Quoted, String)>,
    /// What is read of a row, by the names that templates use.
    pub own: Vec<(String, Quoted)>,
    /// The columns of the target that templates use.
    pub theirs: Vec<(String, Quoted)>,
    /// The target's table, and the condition that a row of it (by the name below) is the row's target.
    join: Option<(Quoted, String)>,
    /// Whether a row's target is marked as down.
    down: Option<Quoted>,
    guard: Option<Quoted>,
}

/// The target's row, within the query that reads it.
const TARGET: &str = "sexton_target";

impl Calls {
    /// Reads what the job means.
    ///
    /// # Errors
    /// A refusal that names the parameter that is wrong.
    pub async fn read(
        context: &mut RunContext,
        given: &BeforeDelete,
        facts: &Facts,
        scope: &Scope,
    ) -> Result<Self, Stop> {
        let table = scope.table.clone();
        let rows = context.query(statements::PURGE_PRIMARY_KEY, &[&facts.oid()]).await?;
        let key: Vec<(Quoted, String)> =
            rows.iter().map(|row| (Quoted::by_server(row.get("name")), row.get("type"))).collect();
        if key.is_empty() {
            let remedy = format!("ALTER TABLE {} ADD PRIMARY KEY (…);", facts.name());
            return Err(Stop::refused("params.before_delete: the table has no primary key", remedy));
        }
        let (mut own, mut theirs) = (Vec::new(), Vec::new());
        let templates = given.templates();
        for name in templates.iter().flat_map(|template| template.columns()) {
            if own.iter().any(|(known, _)| known == name) {
                continue;
            }
            let sql = match given.columns.get(name) {
                Some(text) => {
                    let path = format!("before_delete.columns.{name}");
                    target::expression(context, &table, &path, text).await?;
                    Quoted::expression(text)
                }
                None => column(context, facts.name(), name, "url").await?.1,
            };
            own.push((name.to_owned(), sql));
        }
        let mut join = None;
        let mut down = None;
        if let Some(target) = &given.target {
            let (name, by) = column(context, &target.table, &target.key, "target.key").await?;
            let (_, link) = column(context, facts.name(), &target.column, "target.column").await?;
            for asked in templates.iter().flat_map(|template| template.target_columns()) {
                if !theirs.iter().any(|(known, _)| known == asked) {
                    let (_, found) = column(context, &target.table, asked, "url").await?;
                    theirs.push((asked.to_owned(), found));
                }
            }
            if let Some(text) = &target.down {
                let ty = target::expression(context, &name, "before_delete.target.down", text).await?.0;
                if ty != Type::BOOL {
                    let message = format!("is of type {ty}, not boolean; such as \"downed > 0\"");
                    return Err(wrong("before_delete.target.down", message));
                }
                down = Some(Quoted::expression(text));
            }
            join = Some((name, format!("{TARGET}.{by} = {table}.{link}")));
        }
        let guard = match &given.guard {
            Some(text) => {
                let ty = target::expression(context, &table, "before_delete.guard", text).await?.0;
                if ty != Type::BOOL {
                    return Err(wrong("before_delete.guard", format!("is of type {ty}, not boolean")));
                }
                Some(Quoted::expression(text))
            }
            None => None,
        };
        let calls = Calls { given: given.clone(), table, key, own, theirs, join, down, guard };
        calls.probe(context, scope).await?;
        Ok(calls)
    }

    /// Has the server parse what the parts come to.
    async fn probe(&self, context: &mut RunContext, scope: &Scope) -> Result<(), Stop> {
        let probes = [
            ("target", format!("SELECT {}, {} FROM {}", self.same(), self.target(), self.table)),
            ("on_delete", self.then(&format!("SELECT * FROM {} WHERE false", scope.table))),
        ];
        for (name, probe) in probes {
            match context.describe(&probe).await {
                Ok(_) => {}
                Err(Stop::Failed(error)) if is_about_the_text(&error) => {
                    return Err(wrong(&format!("before_delete.{name}"), error.to_string()));
                }
                Err(stop) => return Err(stop),
            }
        }
        Ok(())
    }

    /// The key as one text, of rows of `table`.
    pub fn key_text(&self, table: &str) -> String {
        let columns: Vec<String> = self.key.iter().map(|(name, _)| format!("{table}.{name}::text")).collect();
        format!("pg_catalog.jsonb_build_array({})::text", columns.join(", "))
    }

    fn own_texts(&self) -> String {
        let all: Vec<String> = self.own.iter().map(|(_, sql)| format!("({sql})::text")).collect();
        format!("ARRAY[{}]::text[]", all.join(", "))
    }

    /// What the target says, as JSON; NULL without one.
    fn target(&self) -> String {
        let Some((table, condition)) = &self.join else { return "NULL::jsonb".to_owned() };
        let list = |suffix: &str| {
            let all: Vec<String> =
                self.theirs.iter().map(|(_, name)| format!("{TARGET}.{name}{suffix}")).collect();
            format!("pg_catalog.jsonb_build_array({})", all.join(", "))
        };
        format!(
            "(SELECT pg_catalog.jsonb_build_object('texts', {}, 'values', {}) FROM {table} AS {TARGET} WHERE {condition} LIMIT 1)",
            list("::text"),
            list("")
        )
    }

    /// Whether the target is marked as down.
    fn is_down(&self) -> String {
        match (&self.join, &self.down) {
            (Some((table, condition)), Some(down)) => format!(
                "coalesce((SELECT {down} IS TRUE FROM {table} AS {TARGET} WHERE {condition} LIMIT 1), false)"
            ),
            _ => "false".to_owned(),
        }
    }

    fn is_guarded(&self) -> String {
        self.guard.as_ref().map_or("false".to_owned(), |guard| format!("{guard} IS TRUE"))
    }

    /// All that a row's call is made of, as one text.
    fn same(&self) -> String {
        format!(
            "pg_catalog.jsonb_build_array({}, pg_catalog.to_jsonb({}), {})::text",
            self.key_text(self.table.as_str()),
            self.own_texts(),
            self.target()
        )
    }

    /// Rows of a range, in the order of their keys from one on, that are not to be left alone.
    pub fn select<'a>(
        &'a self,
        scope: &'a Scope,
        (cutoff, range): (Option<&'a Cutoff>, &'a Range),
        after: Option<&'a Row>,
        waiting: Waiting<'a>,
        limit: &'a i64,
    ) -> Sql<'a> {
        let table = self.table.as_str();
        let names: Vec<String> = self.key.iter().map(|(name, _)| format!("{table}.{name}")).collect();
        let aliased: Vec<String> =
            names.iter().enumerate().map(|(n, name)| format!("{name} AS sexton_k{n}")).collect();
        let texts: Vec<String> = names.iter().map(|name| format!("{name}::text")).collect();
        let values: Vec<&str> = self.own.iter().map(|(_, sql)| sql.as_str()).collect();
        let sql = Sql::new(&format!(
            "WITH sexton_found AS MATERIALIZED (SELECT {}, ARRAY[{}] AS key, {} AS key_text, {} AS same, {} AS own, \
             pg_catalog.jsonb_build_array({}) AS own_values, {} AS target, {} AS down, {} AS guarded, \
             coalesce((SELECT d.attempts FROM sexton.deferred AS d WHERE d.job_id = ",
            aliased.join(", "),
            texts.join(", "),
            self.key_text(table),
            self.same(),
            self.own_texts(),
            values.join(", "),
            self.target(),
            self.is_down(),
            self.is_guarded(),
        ))
        .bind(waiting.job, "bigint")
        .add(&format!(" AND d.row_key = {}), 0) AS attempts FROM {table} WHERE ", self.key_text(table)));
        let sql = self.not_waiting(scope.eligible_in(sql, cutoff, range).add(" AND "), waiting);
        let sql = match after {
            None => sql,
            Some(row) => {
                let mut sql = sql.add(&format!(" AND ({}) > (", names.join(", ")));
                for (n, (text, (_, ty))) in row.key.iter().zip(&self.key).enumerate() {
                    sql = sql.add(if n == 0 { "" } else { ", " }).bind(text, "text").add("::").add(ty);
                }
                sql.add(")")
            }
        };
        let order: Vec<String> = (0..self.key.len()).map(|n| format!("sexton_k{n}")).collect();
        sql.add(&format!(
            ") SELECT key, key_text, same, own, own_values, target, down, guarded, attempts FROM sexton_found \
             ORDER BY {} LIMIT ",
            order.join(", ")
        ))
        .bind(limit, "bigint")
    }

    fn not_waiting<'a>(&self, sql: Sql<'a>, waiting: Waiting<'a>) -> Sql<'a> {
        let key = self.key_text(self.table.as_str());
        sql.add("NOT EXISTS (SELECT FROM sexton.deferred AS d WHERE d.job_id = ")
            .bind(waiting.job, "bigint")
            .add(&format!(" AND d.row_key = {key} AND d.next_try > "))
            .bind(waiting.now, "timestamptz")
            .add(" AND (d.run_id = ")
            .bind(waiting.run, "uuid")
            .add(" OR NOT ")
            .bind(waiting.force, "boolean")
            .add("))")
    }

    /// The keys of deferred rows that are gone, or need not go any more.
    pub fn settled_otherwise<'a>(
        &'a self,
        scope: &'a Scope,
        cutoff: Option<&'a Cutoff>,
        job: &'a i64,
    ) -> Sql<'a> {
        let names: Vec<String> = self.key.iter().map(|(name, _)| format!("{}.{name}", self.table)).collect();
        let values: Vec<String> = self
            .key
            .iter()
            .enumerate()
            .map(|(n, (_, ty))| format!("(d.row_key::jsonb ->> {n})::{ty}"))
            .collect();
        let sql = Sql::new("SELECT d.row_key FROM sexton.deferred AS d WHERE d.job_id = ")
            .bind(job, "bigint")
            .add(&format!(
                " AND NOT EXISTS (SELECT FROM {} WHERE ({}) = ({}) AND ",
                self.table,
                names.join(", "),
                values.join(", ")
            ));
        scope.eligible(sql, cutoff, Access::Any).add(")")
    }

    /// How many rows there are by target, of all that are eligible.
    pub fn count<'a>(
        &'a self,
        scope: &'a Scope,
        cutoff: Option<&'a Cutoff>,
        waiting: Waiting<'a>,
    ) -> Sql<'a> {
        let pieces: Vec<String> = self.given.url.address().iter().map(|piece| self.as_sql(piece)).collect();
        let found = format!("({})::text", pieces.join(" || "));
        let sql = Sql::new(&format!(
            "WITH sexton_found AS (SELECT {found} AS address, {} AS down, {} AS guarded, ",
            self.is_down(),
            self.is_guarded()
        ));
        let sql = self
            .not_waiting(sql.add("NOT "), waiting)
            .add(&format!(" AS waiting FROM {} WHERE ", self.table));
        scope.eligible(sql, cutoff, Access::Any).add(
            ") SELECT address, down, pg_catalog.count(*) FILTER (WHERE NOT waiting AND NOT guarded) AS rows, \
             pg_catalog.count(*) FILTER (WHERE NOT waiting AND guarded) AS guarded, \
             pg_catalog.count(*) FILTER (WHERE waiting) AS waiting \
             FROM sexton_found GROUP BY address, down ORDER BY address, down LIMIT 1000",
        )
    }

    fn as_sql(&self, piece: &Piece) -> String {
        let of = |list: &[(String, Quoted)], asked: &str| {
            list.iter().find(|(name, _)| name == asked).map(|(_, sql)| sql.as_str().to_owned())
        };
        match piece {
            Piece::Text(text) => format!("'{}'", text.replace('\'', "''")),
            Piece::Column(name) => format!("({})::text", of(&self.own, name).unwrap_or("NULL".to_owned())),
            Piece::Target(name) => match (&self.join, of(&self.theirs, name)) {
                (Some((table, condition)), Some(column)) => format!(
                    "(SELECT {TARGET}.{column}::text FROM {table} AS {TARGET} WHERE {condition} LIMIT 1)"
                ),
                _ => "NULL".to_owned(),
            },
        }
    }

    /// Deletes the rows of these keys (one list of texts for each column) that still are the same and may still go;
    /// gives their keys. `guarded`: those alone whose guard still holds.
    pub fn delete<'a>(
        &'a self,
        scope: &'a Scope,
        cutoff: Option<&'a Cutoff>,
        (keys, same): (&'a [Vec<&'a str>], &'a Vec<&'a str>),
        guarded: bool,
    ) -> Sql<'a> {
        let names: Vec<&str> = self.key.iter().map(|(name, _)| name.as_str()).collect();
        let casts: Vec<String> =
            self.key.iter().enumerate().map(|(n, (_, ty))| format!("k{n}::{ty}")).collect();
        let aliases: Vec<String> = (0..keys.len()).map(|n| format!("k{n}")).collect();
        let mut sql = Sql::new(&format!(
            "DELETE FROM {} WHERE ({}, {}) IN (SELECT {}, same FROM unnest(",
            self.table,
            names.join(", "),
            self.same(),
            casts.join(", ")
        ));
        for list in keys {
            sql = sql.bind(list, "text[]").add(", ");
        }
        let sql = sql.bind(same, "text[]").add(&format!(") AS picked({}, same)) AND ", aliases.join(", ")));
        let mut sql = scope.eligible(sql, cutoff, Access::Any);
        if guarded {
            sql = sql.add(" AND ").add(&self.is_guarded());
        }
        let text = self.then(&format!("{} RETURNING {}.*", sql.text, self.table));
        Sql { text, values: sql.values }
    }

    /// What is done with deleted rows in the same statement; gives their keys.
    fn then(&self, delete: &str) -> String {
        let then = match &self.given.on_delete {
            Some(text) => format!(", sexton_then AS ({text}\n)"),
            None => String::new(),
        };
        format!(
            "WITH deleted AS ({delete}){then} SELECT {} AS key_text FROM deleted",
            self.key_text("deleted")
        )
    }
}

/// Which deferred rows are left alone.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    /// Of this job.
    pub job: &'a i64,
    /// Which are not due by now.
    pub now: &'a jiff::Timestamp,
    /// This run: what it deferred itself, it does not try again.
    pub run: &'a uuid::Uuid,
    /// Whether all others are tried though they are not due.
    pub force: &'a bool,
}

/// A table and one of its columns, as the server quotes them.
async fn column(
    context: &mut RunContext,
    table: &str,
    name: &str,
    path: &str,
) -> Result<(Quoted, Quoted), Stop> {
    let path = format!("before_delete.{path}");
    let asked = [name.to_owned()];
    let names = match target::names(context, table, &asked).await {
        Ok(names) => names,
        Err(Stop::Failed(error)) if is_about_the_text(&error) => None,
        Err(stop) => return Err(stop),
    };
    let Some(names) = names else { return Err(wrong(&path, format!("there is no table {table}"))) };
    match names.columns.into_iter().next().flatten() {
        Some(column) => Ok((names.table, column)),
        None => Err(wrong(&path, format!("{table} has no column {name}"))),
    }
}
