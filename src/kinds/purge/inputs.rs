//! Inputs in a predicate: `:tenant` becomes a bound parameter of its declared type.
//!
//! The text is cut as PostgreSQL's scanner would cut it, so that a colon in a literal, a cast or a comment is left
//! alone. What is easy to get wrong: this is no defence. Values are bound, never quoted into the text, and whether the
//! predicate is one expression is asked of the server.

use bytes::BytesMut;
use serde_json::Value;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

/// A predicate cut at its inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// SQL, as it was written.
    Sql(String),
    /// The name of an input.
    Input(String),
}

/// Cuts a predicate at its inputs.
///
/// # Errors
/// What is wrong with the text, for people.
pub fn cut(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let (mut from, mut at) = (0, 0);
    while let Some(here) = text[at..].chars().next() {
        let rest = &text[at..];
        let previous = text[..at].chars().next_back();
        if let Some(length) = quoted(rest, previous)? {
            at += length;
        } else if rest.starts_with("::") || rest.starts_with(":=") {
            at += 2;
        } else if let Some(name) = rest.strip_prefix(':').map(identifier).filter(|name| !name.is_empty()) {
            pieces.push(Piece::Sql(text[from..at].to_owned()));
            pieces.push(Piece::Input(name.to_owned()));
            at += 1 + name.len();
            from = at;
        } else if rest.starts_with('$') && rest[1..].starts_with(|c: char| c.is_ascii_digit()) {
            return Err(
                "numbered parameters cannot be used; declare an input and write it as :name".to_owned()
            );
        } else {
            at += here.len_utf8();
        }
    }
    pieces.push(Piece::Sql(text[from..].to_owned()));
    Ok(pieces)
}

/// The length of the literal, quoted name or comment that starts here, if one does.
fn quoted(rest: &str, previous: Option<char>) -> Result<Option<usize>, String> {
    let in_word = previous.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$');
    let length = match rest.as_bytes() {
        [b'\'', ..] => closed(rest, '\'', false),
        [b'e' | b'E', b'\'', ..] if !in_word => closed(&rest[1..], '\'', true).map(|length| length + 1),
        [b'"', ..] => closed(rest, '"', false),
        [b'-', b'-', ..] => Some(rest.find('\n').unwrap_or(rest.len())),
        [b'/', b'*', ..] => comment(rest),
        [b'$', ..] if !in_word => match dollar_tag(rest) {
            Some(tag) => rest[tag.len()..].find(tag).map(|at| at + 2 * tag.len()),
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    length.map(Some).ok_or_else(|| format!("{} is not closed", rest.chars().take(12).collect::<String>()))
}

/// Up to the closing quote; a doubled one stands for itself.
fn closed(rest: &str, quote: char, backslash: bool) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if backslash && c == '\\' {
            chars.next();
        } else if c == quote {
            match chars.peek() {
                Some((_, next)) if *next == quote => drop(chars.next()),
                _ => return Some(at + 1),
            }
        }
    }
    None
}

/// Comments nest.
fn comment(rest: &str) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    let bytes = rest.as_bytes();
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

fn dollar_tag(rest: &str) -> Option<&str> {
    let name = rest[1..].find('$')?;
    let tag = &rest[1..=name];
    let fits = identifier(tag).len() == tag.len();
    fits.then(|| &rest[..name + 2])
}

fn identifier(text: &str) -> &str {
    let starts = text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    if starts { &text[..end] } else { "" }
}

/// The value of an input, of its declared type.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    value: Value,
    type_name: &'static str,
}

/// The types that an input may be declared with, and what they are in SQL.
const TYPES: &[(&str, &str)] = &[
    ("text", "text"),
    ("bigint", "bigint"),
    ("integer", "integer"),
    ("int", "integer"),
    ("uuid", "uuid"),
    ("timestamptz", "timestamptz"),
    ("date", "date"),
    ("boolean", "boolean"),
    ("bool", "boolean"),
];

impl Input {
    /// A value of the type that the job declares.
    ///
    /// # Errors
    /// What is wrong with the declaration, for people.
    pub fn new(declared: &str, value: Value) -> Result<Self, String> {
        match TYPES.iter().find(|(name, _)| declared.trim().eq_ignore_ascii_case(name)) {
            Some((_, type_name)) => Ok(Input { value, type_name }),
            None => {
                let known: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
                Err(format!("type \"{declared}\" is not one of {}", known.join(", ")))
            }
        }
    }

    /// Its type in SQL.
    pub fn type_name(&self) -> &'static str {
        self.type_name
    }
}

impl ToSql for Input {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let text = || match &self.value {
            Value::String(text) => text.trim().to_owned(),
            other => other.to_string(),
        };
        match *ty {
            _ if self.value.is_null() => Ok(IsNull::Yes),
            Type::TEXT => match &self.value {
                Value::String(exactly) => exactly.to_sql(ty, out),
                other => other.to_string().to_sql(ty, out),
            },
            Type::INT8 => text().parse::<i64>()?.to_sql(ty, out),
            Type::INT4 => text().parse::<i32>()?.to_sql(ty, out),
            Type::BOOL => text().parse::<bool>()?.to_sql(ty, out),
            Type::UUID => text().parse::<uuid::Uuid>()?.to_sql(ty, out),
            Type::TIMESTAMPTZ => text().parse::<jiff::Timestamp>()?.to_sql(ty, out),
            Type::DATE => text().parse::<jiff::civil::Date>()?.to_sql(ty, out),
            _ => Err(format!("an input cannot be of type {ty}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        cut(text)
            .expect("it is well formed")
            .into_iter()
            .filter_map(|piece| match piece {
                Piece::Input(name) => Some(name),
                Piece::Sql(_) => None,
            })
            .collect()
    }

    #[test]
    fn inputs_are_found_where_the_scanner_would_find_them() {
        assert_eq!(names("tenant_id = :tenant AND x = :x::int"), ["tenant", "x"]);
        assert_eq!(names("a::text = ':no' OR \":no\" = E'\\':no' -- :no"), Vec::<String>::new());
        assert_eq!(names("a = $$:no$$ AND b = $t$ :no $$ $t$ /* :no /* :no */ */ AND c = :yes"), ["yes"]);
        assert_eq!(names("a[1:2] = 'it''s :no'"), Vec::<String>::new());
    }

    #[test]
    fn cutting_loses_nothing() {
        let text = "é = :a OR ü = ':x' -- end";
        let again: String = cut(text)
            .expect("it is well formed")
            .iter()
            .map(|piece| match piece {
                Piece::Sql(sql) => sql.clone(),
                Piece::Input(name) => format!(":{name}"),
            })
            .collect();
        assert_eq!(again, text);
    }

    #[test]
    fn what_is_not_closed_is_refused() {
        for text in ["a = 'x", "\"a = 1", "/* a", "$$ a", "a = $1"] {
            assert!(cut(text).is_err(), "{text:?} passed");
        }
    }
}
