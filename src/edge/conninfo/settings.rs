//! Keywords with values, each with where it was given: what all sources of connection settings come down to.
//!
//! It is not yet a target: values are text, checked when they are read. What is easy to get wrong: an empty
//! value that was given (`host=''`) hides the environment's, and then means the default, as in libpq.

use std::{collections::BTreeMap, fmt};

use crate::error::{Error, Result};

use super::{
    keywords::{self, KEYWORDS, Keyword, Meaning},
    machine::Machine,
};

/// Values by keyword.
#[derive(Clone, Default)]
pub(super) struct Settings(BTreeMap<&'static str, Given>);

#[derive(Clone)]
struct Given {
    value: String,
    origin: Origin,
}

/// Where a value was given.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Origin {
    /// `--database` or `DATABASE_URL`.
    ConnectionString,
    /// A line of a service file.
    Service { file: String, line: usize },
    /// An environment variable.
    Variable(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::ConnectionString => f.write_str("connection string"),
            Origin::Service { file, line } => write!(f, "service file {file}, line {line}"),
            Origin::Variable(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// Values of secrets are left out.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.iter().map(|(name, given)| {
            let secret = keywords::find(name).is_some_and(Keyword::is_secret);
            (name, if secret { "[hidden]" } else { given.value.as_str() })
        });
        f.debug_map().entries(shown).finish()
    }
}

impl Settings {
    /// What the environment says, of all keywords that have a variable.
    pub(super) fn from_environment(machine: &dyn Machine) -> Self {
        let mut settings = Settings::default();
        for keyword in KEYWORDS {
            if let Some(variable) = keyword.variable
                && let Some(value) = machine.variable(variable)
            {
                settings.set(keyword, value, Origin::Variable(variable));
            }
        }
        settings
    }

    /// Sets a value; the one given last counts, as in libpq.
    pub(super) fn set(&mut self, keyword: &'static Keyword, value: String, origin: Origin) {
        self.0.insert(keyword.name, Given { value, origin });
    }

    /// These settings, and where they say nothing, those of `weaker`.
    pub(super) fn over(mut self, weaker: Settings) -> Settings {
        for (name, given) in weaker.0 {
            self.0.entry(name).or_insert(given);
        }
        self
    }

    /// The value of `name`, unless it is missing or empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|given| given.value.as_str()).filter(|value| !value.is_empty())
    }

    /// The value of `name` as a whole number.
    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(self.wrong(name, format!("\"{text}\" is not a whole number"))),
        }
    }

    /// The value of `name` as one of `choices`.
    pub(super) fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match choices.iter().find(|(word, _)| *word == text) {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
                Err(self
                    .wrong(name, format!("\"{text}\" is not known"))
                    .with_remedy(format!("{name} is one of {}", words.join(", "))))
            }
        }
    }

    /// An error about the value of `name`. The message must not repeat the value of a secret.
    pub(super) fn wrong(&self, name: &str, message: impl fmt::Display) -> Error {
        let error = Error::invalid(format!("{name}: {message}"));
        match self.0.get(name) {
            Some(given) => error.about(given.origin.to_string()),
            None => error,
        }
    }

    /// Refuses what asks for something that we cannot do.
    ///
    /// # Errors
    /// Naming the first such keyword, where it was given, and what to do instead.
    pub(super) fn check(&self) -> Result<()> {
        for name in self.0.keys() {
            let (Some(keyword), Some(value)) = (keywords::find(name), self.text(name)) else { continue };
            let remedy = match keyword.meaning {
                Meaning::Used | Meaning::Ignored => continue,
                Meaning::Only(accepted, _) if accepted.contains(&value) => continue,
                Meaning::Only(_, remedy) | Meaning::Refused(remedy) => remedy,
            };
            return Err(self.wrong(name, "Sexton cannot do that").with_remedy(remedy));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::machine::fake::Fake, *};

    #[test]
    fn a_given_empty_value_hides_the_environment() {
        let machine = Fake::new().with_variable("PGHOST", "db1").with_variable("PGUSER", "bob");
        let mut given = Settings::default();
        given.set(keywords::find("host").unwrap(), String::new(), Origin::ConnectionString);
        let settings = given.over(Settings::from_environment(&machine));
        assert_eq!(settings.text("host"), None);
        assert_eq!(settings.text("user"), Some("bob"));
    }

    #[test]
    fn errors_name_keyword_origin_and_choices() {
        let machine = Fake::new().with_variable("PGSSLMODE", "verify").with_variable("PGPORT", "five");
        let settings = Settings::from_environment(&machine);
        let error = settings.choice("sslmode", &[("disable", 0), ("verify-full", 1)]).unwrap_err();
        assert_eq!(error.to_string(), "environment variable PGSSLMODE: sslmode: \"verify\" is not known");
        assert_eq!(error.remedy(), Some("sslmode is one of disable, verify-full"));
        assert!(settings.integer("port").is_err());
    }

    #[test]
    fn what_insists_on_more_than_we_can_is_refused() {
        let check = |name: &str, value: &str| {
            Settings::from_environment(&Fake::new().with_variable(name, value)).check()
        };
        assert!(check("PGGSSENCMODE", "prefer").is_ok());
        assert!(check("PGGSSENCMODE", "require").is_err());
        assert!(check("PGREQUIREAUTH", "scram-sha-256").is_err());
        assert!(check("PGREQUIREAUTH", "").is_ok());
        assert!(check("PGKRBSRVNAME", "postgres").is_ok());
    }

    #[test]
    fn debug_hides_secrets() {
        let machine = Fake::new().with_variable("PGPASSWORD", "hunter2").with_variable("PGUSER", "bob");
        let shown = format!("{:?}", Settings::from_environment(&machine));
        assert!(!shown.contains("hunter2") && shown.contains("bob"), "{shown}");
    }
}
