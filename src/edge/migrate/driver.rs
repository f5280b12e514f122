//! Between refinery and the client: what refinery's own implementation for `tokio_postgres::Client` cannot do.
//!
//! A migration whose first line is `-- sexton: no-transaction` runs statement by statement outside of a transaction,
//! as `CREATE INDEX CONCURRENTLY` wants it. What is easy to get wrong: if such a migration fails half way, its first
//! half stays and it is not in the history, so each of its statements must bear being repeated (`IF NOT EXISTS`).

use refinery_core::{
    Migration,
    traits::r#async::{AsyncMigrate, AsyncQuery, AsyncTransaction},
};
use tokio_postgres::Client;

/// The first line of a migration that must not run in a transaction.
pub(super) const NO_TRANSACTION: &str = "-- sexton: no-transaction";

/// A session that migrates, as refinery sees it.
pub(super) struct Driver<'a, P> {
    pub(super) client: &'a mut Client,
    /// Told each statement list before it is sent.
    pub(super) before: P,
}

impl<P: FnMut(&str) + Send> AsyncTransaction for Driver<'_, P> {
    type Error = tokio_postgres::Error;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, Self::Error> {
        let queries: Vec<&str> = queries.collect();
        if let Some(first) = queries.first() {
            (self.before)(first);
        }
        if queries.first().is_some_and(|first| first.starts_with(NO_TRANSACTION)) {
            for statement in queries.iter().flat_map(|query| split(query)) {
                self.client.batch_execute(statement).await?;
            }
        } else {
            let transaction = self.client.transaction().await?;
            for query in &queries {
                transaction.batch_execute(query).await?;
            }
            transaction.commit().await?;
        }
        Ok(queries.len())
    }
}

impl<P: FnMut(&str) + Send> AsyncQuery<Vec<Migration>> for Driver<'_, P> {
    async fn query<'a>(&'a mut self, query: &'a str) -> Result<Vec<Migration>, Self::Error> {
        AsyncQuery::query(&mut *self.client, query).await
    }
}

impl<P: FnMut(&str) + Send> AsyncMigrate for Driver<'_, P> {}

/// The statements of a script. Semicolons within quotes, dollar quotes and comments end nothing. Several statements
/// sent at once would be one implicit transaction.
pub(super) fn split(script: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < script.len() {
        let rest = &script[at..];
        if rest.starts_with(';') {
            statements.push(&script[start..at]);
            start = at + 1;
        }
        at += token(rest);
    }
    statements.push(&script[start..]);
    statements.into_iter().map(str::trim).filter(|statement| has_code(statement)).collect()
}

/// The length of what begins here: a quoted piece, a comment, or one character.
fn token(rest: &str) -> usize {
    let until =
        |open: usize, close: &str| rest[open..].find(close).map_or(rest.len(), |at| open + at + close.len());
    match rest.as_bytes()[0] {
        b'\'' => until(1, "'"),
        b'"' => until(1, "\""),
        b'-' if rest.starts_with("--") => until(2, "\n"),
        b'/' if rest.starts_with("/*") => until(2, "*/"),
        b'$' => match dollar_tag(rest) {
            Some(tag) => until(tag.len(), tag),
            None => 1,
        },
        _ => rest.chars().next().map_or(1, char::len_utf8),
    }
}

/// `$tag$` at the start, if there is one.
fn dollar_tag(rest: &str) -> Option<&str> {
    let end = 1 + rest[1..].find('$')?;
    let name = &rest[1..end];
    let valid = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    valid.then(|| &rest[..=end])
}

/// Whether more than comments is in it.
fn has_code(statement: &str) -> bool {
    statement.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with("--"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_at_semicolons_that_stand_free() {
        let script = "-- sexton: no-transaction\nCREATE INDEX a ON t (b); -- it's; here\nSELECT 'a;''b', \"c;\", $x$;'$x$, $1; /* ; */ SELECT 2;\n-- end\n";
        let found = split(script);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].ends_with("CREATE INDEX a ON t (b)"));
        assert!(found[1].ends_with("$x$;'$x$, $1"));
        assert_eq!(found[2], "/* ; */ SELECT 2");
    }
}
