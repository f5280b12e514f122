//! What a command of pg_cron is: cut into statements, and the simple ones recognised.
//!
//! Only what a kind does just as well is recognised; everything else stays the statement that it is. What is easy to get
//! wrong: a semicolon in a literal, and a condition more. So it is words that are compared, all of a statement's or none.

use crate::kind::inputs::quoted;

/// A statement as it was written, without its comments in front and its semicolon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) text: String,
    words: Vec<String>,
}

/// What a statement is, if it is simple.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// `DELETE FROM table WHERE column < now() - interval '…'`; without a retention, `WHERE column < now()`.
    Purge { table: String, column: String, retention: Option<String> },
    /// VACUUM, ANALYZE or REINDEX … CONCURRENTLY of these tables; of none: of the whole database.
    Upkeep { actions: Vec<&'static str>, tables: Vec<String> },
    /// REFRESH MATERIALIZED VIEW CONCURRENTLY.
    Refresh { view: String },
    /// Anything else.
    Other,
}

/// The statements of a command.
///
/// # Errors
/// What is wrong with the text, for people.
pub(super) fn statements(command: &str) -> Result<Vec<Statement>, String> {
    let (mut statements, mut words, mut text) = (Vec::new(), Vec::new(), String::new());
    let mut at = 0;
    while let Some(here) = command[at..].chars().next() {
        let rest = &command[at..];
        let length = match quoted(rest, command[..at].chars().next_back())? {
            Some(length) => {
                let comment = rest.starts_with("--") || rest.starts_with("/*");
                if !comment {
                    words.push(rest[..length].to_owned());
                }
                // A comment in front of a statement says nothing to it.
                if !comment || !text.is_empty() {
                    text.push_str(&rest[..length]);
                }
                length
            }
            None if here == ';' => {
                push(&mut statements, &mut text, &mut words);
                1
            }
            None => {
                let length = word(rest).unwrap_or(here.len_utf8());
                if !here.is_whitespace() {
                    words.push(rest[..length].to_lowercase());
                }
                if !here.is_whitespace() || !text.is_empty() {
                    text.push_str(&rest[..length]);
                }
                length
            }
        };
        at += length;
    }
    push(&mut statements, &mut text, &mut words);
    Ok(statements)
}

fn push(statements: &mut Vec<Statement>, text: &mut String, words: &mut Vec<String>) {
    let (text, words) = (std::mem::take(text), std::mem::take(words));
    if !words.is_empty() {
        statements.push(Statement { text: text.trim().to_owned(), words });
    }
}

/// The length of the word or the cast that stands here.
fn word(rest: &str) -> Option<usize> {
    if rest.starts_with("::") {
        return Some(2);
    }
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
    (end > 0).then_some(end)
}

impl Statement {
    /// What it is.
    pub(super) fn meaning(&self) -> Meaning {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        delete(&words).or_else(|| upkeep(&words)).unwrap_or(Meaning::Other)
    }
}

fn delete(words: &[&str]) -> Option<Meaning> {
    let (table, rest) = name(words.strip_prefix(&["delete", "from"])?)?;
    let rest = rest.strip_prefix(&["where"])?;
    // Either way round; nothing may follow.
    let swapped = || {
        let (age, rest) = cutoff(rest)?;
        let (column, rest) = name(rest.strip_prefix(&[">"])?)?;
        Some((column, age, rest))
    };
    let straight = || {
        let (column, rest) = name(rest)?;
        let (age, rest) = cutoff(rest.strip_prefix(&["<"])?)?;
        Some((column, age, rest))
    };
    let (column, retention, rest) = swapped().or_else(straight)?;
    (rest.is_empty() && !column.contains('.')).then_some(Meaning::Purge { table, column, retention })
}

/// `now()`, perhaps less an interval.
fn cutoff<'a>(words: &'a [&'a str]) -> Option<(Option<String>, &'a [&'a str])> {
    let rest = words.strip_prefix(&["now", "(", ")"]).or(words.strip_prefix(&["current_timestamp"]))?;
    let Some(rest) = rest.strip_prefix(&["-"]) else { return Some((None, rest)) };
    match rest {
        ["interval", text, rest @ ..] | [text, "::", "interval", rest @ ..] => {
            let text = text.strip_prefix('\'')?.strip_suffix('\'')?;
            Some((Some(text.to_owned()), rest))
        }
        _ => None,
    }
}

fn upkeep(words: &[&str]) -> Option<Meaning> {
    let view = ["refresh", "materialized", "view", "concurrently"];
    if let Some(rest) = words.strip_prefix(&view) {
        let (view, rest) = name(rest)?;
        return rest.is_empty().then_some(Meaning::Refresh { view });
    }
    if let Some(rest) = words.strip_prefix(&["reindex", "table", "concurrently"]) {
        let tables = names(rest)?;
        return (!tables.is_empty()).then(|| Meaning::Upkeep { actions: vec!["reindex"], tables });
    }
    if let Some(rest) = words.strip_prefix(&["analyze"]) {
        return Some(Meaning::Upkeep { actions: vec!["analyze"], tables: names(rest)? });
    }
    let mut rest = words.strip_prefix(&["vacuum"])?;
    let mut actions = vec!["vacuum"];
    let asked: Vec<&str> = match rest {
        ["(", ..] => {
            let end = rest.iter().position(|word| *word == ")")?;
            let asked = rest[1..end].to_vec();
            rest = &rest[end + 1..];
            asked
        }
        _ => {
            let end = rest.iter().position(|word| !["analyze", "verbose"].contains(word));
            let end = end.unwrap_or(rest.len());
            let asked = rest[..end].to_vec();
            rest = &rest[end..];
            asked
        }
    };
    for word in asked {
        match word {
            "analyze" => actions.push("analyze"),
            "verbose" | "," => {}
            // FULL and FREEZE do something else.
            _ => return None,
        }
    }
    Some(Meaning::Upkeep { actions, tables: names(rest)? })
}

/// A name, with its schema if that is there, as it was written.
fn name<'a>(words: &'a [&'a str]) -> Option<(String, &'a [&'a str])> {
    let part =
        |word: &str| word.starts_with('"') || word.starts_with(|c: char| c.is_alphabetic() || c == '_');
    match words {
        [schema, ".", name, rest @ ..] if part(schema) && part(name) => {
            Some((format!("{schema}.{name}"), rest))
        }
        [name, rest @ ..] if part(name) => Some(((*name).to_owned(), rest)),
        _ => None,
    }
}

/// Names with commas between them, to the end; perhaps none.
fn names(words: &[&str]) -> Option<Vec<String>> {
    let (mut found, mut rest) = (Vec::new(), words);
    while !rest.is_empty() {
        let (one, after) = name(rest)?;
        found.push(one);
        rest = match after {
            [] => after,
            [",", after @ ..] if !after.is_empty() => after,
            _ => return None,
        };
    }
    // FULL and FREEZE are no tables.
    (!found.iter().any(|name| ["full", "freeze"].contains(&name.as_str()))).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(command: &str) -> Meaning {
        let all = statements(command).unwrap_or_else(|why| panic!("{command}: {why}"));
        assert_eq!(all.len(), 1, "{command}");
        all[0].meaning()
    }

    #[test]
    fn simple_deletes_are_purges() {
        let purge = |table: &str, column: &str, retention: Option<&str>| Meaning::Purge {
            table: table.to_owned(),
            column: column.to_owned(),
            retention: retention.map(str::to_owned),
        };
        let days = purge("audit", "at", Some("30 days"));
        assert_eq!(meaning("DELETE FROM audit WHERE at < now() - interval '30 days'"), days);
        assert_eq!(
            meaning("-- old\n delete from Audit /* all */ where AT<now()-'30 days'::interval ;"),
            days
        );
        assert_eq!(meaning("DELETE FROM audit WHERE current_timestamp - INTERVAL '30 days' > at"), days);
        let odd = purge("app.\"Log\"", "\"At\"", Some("1 week"));
        assert_eq!(meaning("DELETE FROM app.\"Log\" WHERE \"At\" < now() - interval '1 week'"), odd);
        assert_eq!(meaning("DELETE FROM s WHERE expires < now()"), purge("s", "expires", None));
    }

    #[test]
    fn whatever_is_not_quite_that_stays_a_statement() {
        for command in [
            "DELETE FROM audit WHERE at < now() - interval '30 days' AND kind = 'a'",
            "DELETE FROM audit WHERE at <= now() - interval '30 days'",
            "DELETE FROM audit WHERE at > now() - interval '30 days'",
            "DELETE FROM audit WHERE NOT at < now() - interval '30 days'",
            "DELETE FROM audit WHERE at < now() - interval '30 days' RETURNING *",
            "DELETE FROM audit AS a WHERE a.at < now() - interval '30 days'",
            "DELETE FROM audit WHERE at < now() + interval '30 days'",
            "DELETE FROM audit WHERE at < current_date - 30",
            "DELETE FROM audit",
            "VACUUM FULL audit",
            "VACUUM (FULL) audit",
            "VACUUM FREEZE",
            "VACUUM (ANALYZE false) audit",
            "VACUUM audit (at)",
            "REINDEX TABLE audit",
            "REFRESH MATERIALIZED VIEW sums",
            "SELECT vacuum()",
        ] {
            assert_eq!(meaning(command), Meaning::Other, "{command}");
        }
    }

    #[test]
    fn upkeep_is_recognised() {
        let upkeep = |actions: &[&'static str], tables: &[&str]| Meaning::Upkeep {
            actions: actions.to_vec(),
            tables: tables.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(meaning("VACUUM"), upkeep(&["vacuum"], &[]));
        assert_eq!(
            meaning("vacuum (analyze, verbose) a, b.c;"),
            upkeep(&["vacuum", "analyze"], &["a", "b.c"])
        );
        assert_eq!(meaning("VACUUM VERBOSE ANALYZE a"), upkeep(&["vacuum", "analyze"], &["a"]));
        assert_eq!(meaning("ANALYZE a"), upkeep(&["analyze"], &["a"]));
        assert_eq!(meaning("REINDEX TABLE CONCURRENTLY a"), upkeep(&["reindex"], &["a"]));
        let refresh = Meaning::Refresh { view: "sums".to_owned() };
        assert_eq!(meaning("REFRESH MATERIALIZED VIEW CONCURRENTLY sums"), refresh);
    }

    #[test]
    fn statements_end_at_semicolons_that_are_no_text() {
        let texts = |command: &str| -> Vec<String> {
            statements(command).expect("it can be cut").into_iter().map(|one| one.text).collect()
        };
        assert_eq!(texts("SELECT ';' ; -- ; \n CALL a(); ;"), ["SELECT ';'", "CALL a()"]);
        assert_eq!(texts("DO $x$ BEGIN a(); b(); END $x$;"), ["DO $x$ BEGIN a(); b(); END $x$"]);
        assert_eq!(texts(" ; -- nothing"), Vec::<String>::new());
        assert!(statements("SELECT 'open").is_err());
    }
}
