//! Secrets by name, and the hosts that each may be shown to.
//!
//! What is easy to get wrong: a secret has no `Display`, no `Serialize`, and its `Debug` hides it; whoever calls
//! [`Secret::expose`] must not let the text into a row, a log line, an error or an argument of a process.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::http::HostPattern;
use crate::error::{Error, ErrorKind, Result};

/// A text that nobody but the other side may see.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Secret(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A secret of the local file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its text, as the variable or the file had it when the local file was read.
    pub secret: Secret,
    /// The hosts that calls may show it to, or sign for with it. Empty: none.
    pub hosts: Vec<HostPattern>,
}

/// The secrets of the local file, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<String, Known>);

impl Secrets {
    /// Adds a secret, in place of one of the same name.
    pub fn add(&mut self, name: impl Into<String>, known: Known) -> &mut Self {
        self.0.insert(name.into(), known);
        self
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The secret that the local file itself gives to something of its own (a storage, mail), whose place it says.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none of this name.
    pub fn get(&self, name: &str) -> Result<&Secret> {
        self.0.get(name).map(|known| &known.secret).ok_or_else(|| missing(name))
    }

    /// The secret for a call to this host, which a job names.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none of this name; [`ErrorKind::Refused`] if this host may not see it.
    pub fn for_host(&self, name: &str, host: &str) -> Result<&Secret> {
        let known = self.0.get(name).ok_or_else(|| missing(name))?;
        if known.hosts.iter().any(|pattern| pattern.matches(host)) {
            return Ok(&known.secret);
        }
        Err(Error::new(ErrorKind::Refused, format!("secret:{name} is not for the host {host}"))
            .with_remedy(format!("add the host to `hosts` of [secrets.{name}] in the replica's local file")))
    }
}

fn missing(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("this replica has no secret of the name {name}"))
        .with_remedy(format!("add [secrets.{name}] to its local file"))
}

/// The name in `secret:NAME`, as rows and files refer to a secret.
pub fn reference(text: &str) -> Option<&str> {
    text.strip_prefix("secret:").filter(|name| is_name(name))
}

/// What anything in the local file may be called: letters, digits and `. _ ~ -`, at most 100, first a letter or digit.
pub fn is_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    first && name.len() <= 100 && name.chars().all(|c| c.is_ascii_alphanumeric() || "._~-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_to_its_hosts_alone_and_to_nobody_by_debug() {
        let mut secrets = Secrets::default();
        let hosts = vec![HostPattern::parse("*.example.com").expect("a pattern")];
        secrets.add("crm", Known { secret: Secret::new("hunter2"), hosts });
        assert_eq!(secrets.for_host("crm", "api.example.com").expect("it may").expose(), "hunter2");
        let refused = secrets.for_host("crm", "api.example.org").expect_err("another host");
        assert_eq!(refused.kind(), ErrorKind::Refused);
        assert_eq!(
            secrets.for_host("erp", "api.example.com").expect_err("no such").kind(),
            ErrorKind::NotFound
        );
        assert!(!format!("{secrets:?} {refused:?} {refused}").contains("hunter2"));
    }

    #[test]
    fn a_reference_names_a_secret_by_its_prefix() {
        assert_eq!(reference("secret:smtp"), Some("smtp"));
        for text in ["smtp", "secret:", "secret:a b", "Secret:a"] {
            assert_eq!(reference(text), None, "{text}");
        }
    }
}
