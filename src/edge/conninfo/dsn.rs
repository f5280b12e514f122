//! Reads a connection string: a URL, `keyword=value` pairs, or the bare name of a database, as psql does.
//!
//! It gives keywords and values and interprets neither. What is easy to get wrong: a slip in quoting makes
//! a part of the password look like something else, so an error names the position and never repeats text
//! that could be a piece of it.

use crate::error::{Error, Result};

use super::{
    keywords::{self, Keyword},
    settings::{Origin, Settings},
    url,
};

/// Reads a connection string.
///
/// # Errors
/// Naming the position and, where it is certain not to be part of a secret, the word.
pub(super) fn parse(text: &str) -> Result<Settings> {
    let text = text.trim();
    let scheme = text.split_once("://").map(|(scheme, _)| scheme).filter(|scheme| is_scheme(scheme));
    match scheme {
        Some("postgres" | "postgresql") => url::parse(text),
        Some(scheme) => Err(Error::invalid(format!("\"{scheme}://\" is not a PostgreSQL address"))
            .about("connection string")
            .with_remedy("write postgres://USER@HOST:PORT/DATABASE")),
        None if text.contains('=') => Pairs::new(text).parse(),
        None => bare_name(text),
    }
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// `mydb` alone names the database, as `psql mydb` does.
fn bare_name(text: &str) -> Result<Settings> {
    if text.contains(['@', ':', '/']) {
        return Err(Error::invalid("it is neither a URL nor keyword=value pairs nor the name of a database")
            .about("connection string")
            .with_remedy("write postgres://USER@HOST:PORT/DATABASE, or host=… dbname=… user=…"));
    }
    let mut settings = Settings::default();
    if !text.is_empty() {
        store(&mut settings, "dbname", text.to_owned(), 1, None)?;
    }
    Ok(settings)
}

/// An error at a position (counted in characters, from 1) of the connection string.
pub(super) fn wrong(position: usize, message: impl std::fmt::Display) -> Error {
    Error::invalid(message.to_string()).about(format!("connection string, position {position}"))
}

/// Stores the value under `name`, which stands at `position` after the value of `before`.
pub(super) fn store(
    settings: &mut Settings,
    name: &str,
    value: String,
    position: usize,
    before: Option<&'static Keyword>,
) -> Result<&'static Keyword> {
    let Some(keyword) = keywords::find(name) else {
        let plain =
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        return Err(if plain && !before.is_some_and(Keyword::is_secret) {
            wrong(position, format!("unknown keyword \"{name}\"")).with_remedy(keywords::suggestion(name))
        } else {
            wrong(position, format!("no keyword here{}", after(before))).with_remedy(QUOTING)
        });
    };
    settings.set(keyword, value, Origin::ConnectionString);
    Ok(keyword)
}

const QUOTING: &str = "in keyword=value pairs, put values with spaces into single quotes and write \\' and \\\\ for ' and \\; \
     in a URL, write @ : / ? & % and spaces within values as %40 %3A %2F %3F %26 %25 %20";

fn after(before: Option<&'static Keyword>) -> String {
    before.map(|keyword| format!(" after the value of {}", keyword.name)).unwrap_or_default()
}

/// Reads `keyword=value` pairs: values end at white space unless in single quotes; a backslash keeps the next
/// character as it is.
struct Pairs {
    chars: Vec<char>,
    at: usize,
    before: Option<&'static Keyword>,
}

impl Pairs {
    fn new(text: &str) -> Self {
        Pairs { chars: text.chars().collect(), at: 0, before: None }
    }

    fn parse(mut self) -> Result<Settings> {
        let mut settings = Settings::default();
        loop {
            self.take_while(char::is_whitespace);
            if self.at == self.chars.len() {
                return Ok(settings);
            }
            let position = self.at + 1;
            let name = self.take_while(|c| !c.is_whitespace() && c != '=');
            self.take_while(char::is_whitespace);
            if self.next() != Some('=') {
                let message = format!("expected keyword=value{}", after(self.before));
                return Err(wrong(position, message).with_remedy(QUOTING));
            }
            self.take_while(char::is_whitespace);
            let value = self.value()?;
            self.before = Some(store(&mut settings, &name, value, position, self.before)?);
        }
    }

    fn next(&mut self) -> Option<char> {
        let next = self.chars.get(self.at).copied();
        self.at += usize::from(next.is_some());
        next
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.chars.get(self.at).is_some_and(|c| wanted(*c)) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    fn value(&mut self) -> Result<String> {
        let start = self.at;
        let quoted = self.chars.get(self.at) == Some(&'\'');
        self.at += usize::from(quoted);
        let mut value = String::new();
        while let Some(c) = self.next() {
            match c {
                '\'' if quoted => return Ok(value),
                '\\' => value.extend(self.next()),
                c if !quoted && c.is_whitespace() => return Ok(value),
                c => value.push(c),
            }
        }
        if quoted {
            return Err(wrong(start + 1, "the quote that opens here is not closed").with_remedy(QUOTING));
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_know_spaces_quotes_and_backslashes() {
        let settings = parse(r"host = db1  user='an \'odd\' one' dbname=a\ b options='' port=5433").unwrap();
        assert_eq!(settings.text("host"), Some("db1"));
        assert_eq!(settings.text("user"), Some("an 'odd' one"));
        assert_eq!(settings.text("dbname"), Some("a b"));
        assert_eq!(settings.text("options"), None);
        assert_eq!(settings.text("port"), Some("5433"));
    }

    #[test]
    fn a_bare_word_is_a_database() {
        assert_eq!(parse(" inventory ").unwrap().text("dbname"), Some("inventory"));
        assert_eq!(parse("").unwrap().text("dbname"), None);
    }

    #[test]
    fn errors_name_keyword_and_position() {
        let error = parse("host=db1 sslmod=require").unwrap_err();
        assert_eq!(error.to_string(), "connection string, position 10: unknown keyword \"sslmod\"");
        assert_eq!(error.remedy(), Some("did you mean sslmode?"));
        let error = parse("user=bob dbname='x").unwrap_err();
        assert_eq!(
            error.to_string(),
            "connection string, position 17: the quote that opens here is not closed"
        );
    }

    #[test]
    fn errors_never_repeat_what_may_be_a_password() {
        for text in [
            "host=db1 password=hun ter2 user=bob",
            "host=db1 password=hun ter2=5 user=bob",
            "password='hunter2",
            "bob:hunter2@db1/inventory",
            "bob:hunter2@db1/inventory?sslmode=require",
            "mysql://bob:hunter2@db1/inventory",
            "postgres://bob:hun@ter2@db1/inventory",
            "postgres://bob:hun/ter2@db1/inventory",
            "postgres://bob:1/ter2@db1/inventory",
            "postgres://bob:hun%zzter2@db1/inventory",
            "postgres://db1/inventory?password=hun&ter2=1",
            "postgres://db1/inventory?password=hun&ter2",
        ] {
            let error = parse(text).expect_err(text);
            let shown = format!("{error} {:?}", error.remedy());
            assert!(!shown.contains("hun") && !shown.contains("ter2"), "{shown}");
        }
    }
}
