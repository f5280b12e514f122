//! Inputs in an author's SQL: `:tenant` becomes a bound parameter of its declared type.
//!
//! The text is cut as PostgreSQL's scanner would cut it, so that a colon in a literal, a cast or a comment is left
//! alone. What is easy to get wrong: this is no defence. Values are bound, never quoted into the text, and whether the
//! text is one expression or one statement is asked of the server. And a value is judged before it is bound: what the
//! client library cannot encode looks like a lost session.

use std::collections::BTreeMap;

use bytes::BytesMut;
use serde_json::Value;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::{RunContext, Stop};

/// A piece of SQL that was cut at its inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// SQL, as it was written.
    Sql(String),
    /// The name of an input.
    Input(String),
}

impl Piece {
    /// The name of the input, if it is one.
    pub fn input(&self) -> Option<&str> {
        match self {
            Piece::Input(name) => Some(name),
            Piece::Sql(_) => None,
        }
    }
}

/// Cuts SQL at its inputs.
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

/// The length of the literal, quoted name or comment that `rest` begins with, if it does; `previous` is the character in
/// front of it.
///
/// # Errors
/// That it is not closed, for people.
pub fn quoted(rest: &str, previous: Option<char>) -> Result<Option<usize>, String> {
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

/// The length of the comment `/* … */` that the text begins with; comments nest. `None` if it is not closed.
pub fn comment(rest: &str) -> Option<usize> {
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

/// The values of the inputs that `pieces` name, of their declared types. `param` is where the pieces stand.
///
/// # Errors
/// [`Stop::Refused`] for an input that is not declared, has no value in this run, or one of another type.
pub fn declared(
    context: &RunContext,
    param: &str,
    pieces: &[Piece],
) -> Result<BTreeMap<String, Input>, Stop> {
    let mut inputs = BTreeMap::new();
    for piece in pieces {
        let Piece::Input(name) = piece else { continue };
        let Some(declared) = context.input_types().get(name) else {
            let reason = format!("params.{param}: :{name} is no declared input");
            return Err(Stop::refused(reason, "declare it in the job's inputs, with its type"));
        };
        let remedy = || format!("sexton run-now {} --input {name}=VALUE", context.job());
        let Some(value) = context.inputs().get(name) else {
            return Err(Stop::refused(format!("input {name} has no value in this run"), remedy()));
        };
        let input = Input::new(declared, value.clone())
            .map_err(|message| Stop::refused(format!("input {name}: {message}"), remedy()))?;
        inputs.insert(name.clone(), input);
    }
    Ok(inputs)
}

/// The value of an input, of its declared type.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    value: Value,
    type_name: &'static str,
}

/// The types that an input may be declared with, what they are in SQL, and on the wire.
const TYPES: &[(&str, &str, Type)] = &[
    ("text", "text", Type::TEXT),
    ("bigint", "bigint", Type::INT8),
    ("integer", "integer", Type::INT4),
    ("int", "integer", Type::INT4),
    ("uuid", "uuid", Type::UUID),
    ("timestamptz", "timestamptz", Type::TIMESTAMPTZ),
    ("date", "date", Type::DATE),
    ("boolean", "boolean", Type::BOOL),
    ("bool", "boolean", Type::BOOL),
];

/// Whether a job may declare an input of this name and type.
///
/// # Errors
/// What is wrong with either, for people.
pub fn declaration(name: &str, declared: &str) -> Result<(), String> {
    if name.is_empty() || identifier(name).len() != name.len() {
        return Err(format!("\"{name}\" is no name for an input: letters, digits and _, first no digit"));
    }
    of_type(declared).map(drop)
}

fn of_type(declared: &str) -> Result<&'static (&'static str, &'static str, Type), String> {
    let known = TYPES.iter().find(|(name, ..)| declared.trim().eq_ignore_ascii_case(name));
    known.ok_or_else(|| {
        let known: Vec<&str> = TYPES.iter().map(|(name, ..)| *name).collect();
        format!("type \"{declared}\" is not one of {}", known.join(", "))
    })
}

impl Input {
    /// A value of the type that the job declares.
    ///
    /// # Errors
    /// What is wrong with the declaration or the value, for people.
    pub fn new(declared: &str, value: Value) -> Result<Self, String> {
        let (_, type_name, ty) = of_type(declared)?;
        let input = Input { value, type_name };
        match input.to_sql(ty, &mut BytesMut::new()) {
            Ok(_) => Ok(input),
            Err(error) => Err(format!("{} is no {type_name}: {error}", input.value)),
        }
    }

    /// Its value as the database would read it from text; `None` is NULL.
    pub fn to_text(&self) -> Option<String> {
        match &self.value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
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

    #[test]
    fn a_value_of_another_type_is_named() {
        assert!(Input::new("bigint", "7".into()).is_ok());
        assert!(Input::new("date", Value::Null).is_ok());
        for (declared, value) in
            [("bigint", "seven"), ("uuid", "7"), ("date", "2026-02-31"), ("boolean", "yes?")]
        {
            let error = Input::new(declared, value.into()).expect_err("it is refused");
            assert!(error.contains(value) && error.contains(declared), "{error}");
        }
        assert!(Input::new("money", 1.into()).expect_err("it is refused").contains("not one of"));
        assert_eq!(declaration("tenant_2", " BIGINT "), Ok(()));
        for (name, declared) in [("", "text"), ("2x", "text"), ("a b", "text"), ("a", ""), ("a", "money")] {
            assert!(declaration(name, declared).is_err(), "{name}: {declared}");
        }
    }
}
