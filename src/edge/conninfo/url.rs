//! Reads the URL form, `postgresql://user:password@host1:port1,host2:port2/database?keyword=value&…`.
//!
//! It follows libpq, where every part may be left out and is percent-encoded on its own; it is no general
//! URL parser. What is easy to get wrong: a raw `@` or `/` in a password moves the borders of the parts, and
//! libpq then connects somewhere else; here that is an error.

use crate::error::{Error, Result};

use super::{
    dsn::{store, wrong},
    settings::Settings,
};

const ENCODING: &str =
    "write @ : / ? & % and spaces within user, password, database and values as %40 %3A %2F %3F %26 %25 %20";

/// A part of the URL and the byte at which it starts.
#[derive(Clone, Copy)]
struct Part<'a> {
    whole: &'a str,
    start: usize,
    end: usize,
}

impl<'a> Part<'a> {
    fn text(self) -> &'a str {
        &self.whole[self.start..self.end]
    }

    /// Its place, in characters from 1.
    fn position(self) -> usize {
        self.whole[..self.start].chars().count() + 1
    }

    fn wrong(self, message: impl std::fmt::Display) -> Error {
        wrong(self.position(), message).with_remedy(ENCODING)
    }

    /// What stands before and after the first of `stops`.
    fn split_at_first(self, stops: &[char]) -> (Part<'a>, Option<(char, Part<'a>)>) {
        match self.text().char_indices().find(|(_, c)| stops.contains(c)) {
            None => (self, None),
            Some((at, stop)) => {
                let border = self.start + at;
                (Part { end: border, ..self }, Some((stop, Part { start: border + stop.len_utf8(), ..self })))
            }
        }
    }

    fn split(self, separator: char) -> Vec<Part<'a>> {
        let mut parts = Vec::new();
        let mut rest = self;
        while let (part, Some((_, after))) = rest.split_at_first(&[separator]) {
            parts.push(part);
            rest = after;
        }
        parts.push(rest);
        parts
    }

    /// Decodes `%2F` and the like.
    fn decode(self) -> Result<String> {
        let mut bytes = Vec::new();
        let mut rest = self.text().bytes();
        while let Some(byte) = rest.next() {
            let digit = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16));
            match byte {
                b'%' => match (digit(rest.next()), digit(rest.next())) {
                    (Some(high), Some(low)) if high + low > 0 => bytes.push((high * 16 + low) as u8),
                    _ => return Err(self.wrong("a % that two hexadecimal digits do not follow")),
                },
                byte => bytes.push(byte),
            }
        }
        String::from_utf8(bytes).map_err(|_| self.wrong("what the %… stand for is not UTF-8"))
    }
}

/// Reads a URL that begins with `postgres://` or `postgresql://`.
///
/// # Errors
/// Naming the position, never a part of the password.
pub(super) fn parse(text: &str) -> Result<Settings> {
    let start = text.find("://").map_or(0, |at| at + 3);
    let mut settings = Settings::default();
    let mut rest = Part { whole: text, start, end: text.len() };
    if let (login, Some(('@', after))) = rest.split_at_first(&['@', '/']) {
        read_login(&mut settings, login)?;
        rest = after;
    }
    let (hosts, next) = rest.split_at_first(&['/', '?']);
    read_hosts(&mut settings, hosts)?;
    let parameters = match next {
        Some(('/', after)) => {
            let (database, parameters) = after.split_at_first(&['?']);
            read_database(&mut settings, database)?;
            parameters.map(|(_, parameters)| parameters)
        }
        other => other.map(|(_, parameters)| parameters),
    };
    if let Some(parameters) = parameters {
        read_parameters(&mut settings, parameters)?;
    }
    Ok(settings)
}

fn read_login(settings: &mut Settings, login: Part<'_>) -> Result<()> {
    let (user, password) = login.split_at_first(&[':']);
    put(settings, "user", user.decode()?, user)?;
    if let Some((_, password)) = password {
        put(settings, "password", password.decode()?, password)?;
    }
    Ok(())
}

fn read_hosts(settings: &mut Settings, list: Part<'_>) -> Result<()> {
    if list.text().contains('@') {
        return Err(list.wrong("more than one @ before the host"));
    }
    let mut hosts = Vec::new();
    let mut ports = Vec::new();
    for entry in list.split(',') {
        let (host, port) = read_host(entry)?;
        hosts.push(host);
        ports.push(port);
    }
    put(settings, "host", join_unless_empty(&hosts), list)?;
    put(settings, "port", join_unless_empty(&ports), list)
}

/// `host`, `host:port`, `[address]` or `[address]:port`.
fn read_host(entry: Part<'_>) -> Result<(String, String)> {
    let (host, port) = match entry.text().strip_prefix('[') {
        Some(_) => {
            let inner = Part { start: entry.start + 1, ..entry };
            let (address, after) = inner.split_at_first(&[']']);
            let Some((_, after)) = after else {
                return Err(entry.wrong("the [ of an IPv6 address is not closed"));
            };
            match after.split_at_first(&[':']) {
                (between, port) if between.text().is_empty() => (address, port),
                _ => return Err(after.wrong("expected a port or the end after the ] of an IPv6 address")),
            }
        }
        None => entry.split_at_first(&[':']),
    };
    let port = match port {
        Some((_, port)) if !port.text().bytes().all(|b| b.is_ascii_digit()) => {
            // The text is not repeated: after a raw slash in a password it would be a piece of that.
            return Err(port.wrong("the port is not a number (IPv6 addresses go into brackets)"));
        }
        Some((_, port)) => port.text().to_owned(),
        None => String::new(),
    };
    Ok((host.decode()?, port))
}

fn join_unless_empty(values: &[String]) -> String {
    if values.iter().all(String::is_empty) { String::new() } else { values.join(",") }
}

fn read_database(settings: &mut Settings, database: Part<'_>) -> Result<()> {
    if database.text().contains(['@', '/']) {
        return Err(database.wrong("an @ or / in the name of the database, or in what stands before it"));
    }
    put(settings, "dbname", database.decode()?, database)
}

fn read_parameters(settings: &mut Settings, parameters: Part<'_>) -> Result<()> {
    let mut before = None;
    for parameter in parameters.split('&').into_iter().filter(|parameter| !parameter.text().is_empty()) {
        let (name, Some((_, value))) = parameter.split_at_first(&['=']) else {
            return Err(parameter.wrong("expected keyword=value"));
        };
        let (mut name_text, mut value_text) = (name.decode()?, value.decode()?);
        // JDBC's way of saying it, which libpq accepts.
        if name_text == "ssl" && value_text == "true" {
            (name_text, value_text) = ("sslmode".into(), "require".into());
        }
        before = Some(store(settings, &name_text, value_text, name.position(), before)?);
    }
    Ok(())
}

/// Stores what is not empty: an empty part of a URL says nothing.
fn put(settings: &mut Settings, name: &str, value: String, part: Part<'_>) -> Result<()> {
    if !value.is_empty() {
        store(settings, name, value, part.position(), None)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, name: &str) -> Option<String> {
        parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).text(name).map(str::to_owned)
    }

    #[test]
    fn every_part_may_be_missing() {
        for name in ["host", "port", "dbname", "user", "password"] {
            assert_eq!(read("postgres://", name), None);
        }
        assert_eq!(read("postgresql:///db", "dbname").as_deref(), Some("db"));
        assert_eq!(read("postgres://bob@", "user").as_deref(), Some("bob"));
        assert_eq!(read("postgres://?user=bob", "user").as_deref(), Some("bob"));
        assert_eq!(read("postgres://:5433", "port").as_deref(), Some("5433"));
    }

    #[test]
    fn parts_are_decoded_on_their_own() {
        let url =
            "postgres://a%40b:p%3A%2F%3Fw%25@db1:5433/my%2Fdb?options=-c%20work_mem%3D1MB&sslmode=require";
        assert_eq!(read(url, "user").as_deref(), Some("a@b"));
        assert_eq!(read(url, "password").as_deref(), Some("p:/?w%"));
        assert_eq!(read(url, "host").as_deref(), Some("db1"));
        assert_eq!(read(url, "port").as_deref(), Some("5433"));
        assert_eq!(read(url, "dbname").as_deref(), Some("my/db"));
        assert_eq!(read(url, "options").as_deref(), Some("-c work_mem=1MB"));
        assert_eq!(read(url, "sslmode").as_deref(), Some("require"));
    }

    #[test]
    fn hosts_come_in_lists_brackets_and_sockets() {
        assert_eq!(read("postgres://h1:1,h2,h3:3/db", "host").as_deref(), Some("h1,h2,h3"));
        assert_eq!(read("postgres://h1:1,h2,h3:3/db", "port").as_deref(), Some("1,,3"));
        assert_eq!(read("postgres://[::1]:5433,[fe80::1]/db", "host").as_deref(), Some("::1,fe80::1"));
        assert_eq!(read("postgres://[::1]:5433,[fe80::1]/db", "port").as_deref(), Some("5433,"));
        assert_eq!(read("postgres://u@%2Fvar%2Frun:5433/db", "host").as_deref(), Some("/var/run"));
        assert_eq!(read("postgres:///db?host=/tmp&port=6", "host").as_deref(), Some("/tmp"));
        assert_eq!(read("postgres://h1/db?host=h2", "host").as_deref(), Some("h2"), "the last one counts");
    }

    #[test]
    fn errors_name_the_position() {
        let error = parse("postgres://bob@h1:54x/db").unwrap_err();
        assert!(error.to_string().starts_with("connection string, position 19: the port"), "{error}");
        let error = parse("postgres://h1/db?sslmod=require").unwrap_err();
        assert_eq!(error.to_string(), "connection string, position 18: unknown keyword \"sslmod\"");
        for url in ["postgres://[::1/db", "postgres://[::1]5/db", "postgres://::1/db", "postgres://h%00/db"] {
            assert!(parse(url).is_err(), "{url}");
        }
        assert_eq!(read("postgres://h1/db?ssl=true", "sslmode").as_deref(), Some("require"));
    }
}
