//! Finds a password in a password file (`~/.pgpass`): lines of `host:port:database:user:password`.
//!
//! The first line that matches counts; `*` matches anything and a backslash keeps the next character as it
//! is. What is easy to get wrong: a file that others may read is *ignored*, with a warning, as in libpq; a
//! login that then fails for want of a password must have said why.

use std::path::PathBuf;

use super::{
    machine::{self, Machine},
    settings::Settings,
};

/// A password file that may be used.
pub(super) struct Passfile {
    text: String,
}

/// Whom a password is for, as the file names it.
pub(super) struct Login<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) database: &'a str,
    pub(super) user: &'a str,
}

impl Passfile {
    /// Reads the file that `settings` name, else `~/.pgpass`. Nothing is returned for a file that is not
    /// there; for one that cannot be used, nothing but a line in `warnings`.
    pub(super) fn read(
        settings: &Settings,
        machine: &dyn Machine,
        warnings: &mut Vec<String>,
    ) -> Option<Self> {
        let path = match settings.text("passfile") {
            Some(path) => PathBuf::from(path),
            None => machine::home(machine)?.join(".pgpass"),
        };
        let contents = match machine.read(&path) {
            Ok(contents) => contents,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                warnings.push(format!("password file {} is ignored: {error}", path.display()));
                return None;
            }
        };
        if contents.mode & 0o077 != 0 {
            warnings.push(format!(
                "password file {} is ignored: it has group or world access; permissions should be u=rw (0600) or less",
                path.display()
            ));
            return None;
        }
        Some(Passfile { text: String::from_utf8_lossy(&contents.bytes).into_owned() })
    }

    /// The password of the first line that matches.
    pub(super) fn find(&self, login: &Login<'_>) -> Option<String> {
        self.text.lines().find_map(|line| matching(line, login))
    }
}

fn matching(line: &str, login: &Login<'_>) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let port = login.port.to_string();
    let mut rest = line;
    for wanted in [login.host, &port, login.database, login.user] {
        let (field, after) = field(rest)?;
        if field != "*" && unescape(field) != wanted {
            return None;
        }
        rest = after;
    }
    let password = unescape(rest);
    (!password.is_empty()).then_some(password)
}

/// Splits at the first colon that no backslash precedes.
fn field(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => return Some((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    None
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next()),
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::{super::machine::fake::Fake, *};

    fn find(text: &str, host: &str, user: &str) -> Option<String> {
        let machine = Fake::new().with_file("/home/ann/.pgpass", text, 0o600);
        let passfile = Passfile::read(&Settings::default(), &machine, &mut Vec::new()).unwrap();
        passfile.find(&Login { host, port: 5432, database: "inventory", user })
    }

    #[test]
    fn the_first_matching_line_counts() {
        let text = "# host:5432:inventory:bob:no\nother:*:*:*:no\ndb1:5433:*:*:no\ndb1:5432:*:bob:yes\n*:*:*:*:late\n";
        assert_eq!(find(text, "db1", "bob").as_deref(), Some("yes"));
        assert_eq!(find(text, "db1", "eve").as_deref(), Some("late"));
        assert_eq!(find("db2:*:*:*:no\r\ntoo:short\n", "db1", "bob"), None);
    }

    #[test]
    fn backslashes_keep_colons_stars_and_themselves() {
        assert_eq!(find(r"\:\:1:*:*:b\\b:p\:w\\:d", "::1", r"b\b").as_deref(), Some(r"p:w\:d"));
        assert_eq!(find(r"*:*:*:\*:starred", "db1", "bob"), None);
        assert_eq!(find("*:*:*:*:pass word\r\n", "db1", "bob").as_deref(), Some("pass word"));
    }

    #[test]
    fn a_file_that_others_may_read_is_ignored_with_a_warning() {
        let machine = Fake::new().with_file("/p", "*:*:*:*:pw", 0o640).with_variable("PGPASSFILE", "/p");
        let mut warnings = Vec::new();
        let settings = Settings::from_environment(&machine);
        assert!(Passfile::read(&settings, &machine, &mut warnings).is_none());
        assert!(warnings[0].contains("/p is ignored: it has group or world access"), "{warnings:?}");
        assert!(Passfile::read(&settings, &Fake::new(), &mut warnings).is_none());
        assert_eq!(warnings.len(), 1, "a missing file is nothing to warn of");
    }
}
