//! The parameters of `before_delete`: a closed set, each documented once in `described`.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use serde_json::Value;

use super::template::Template;
use crate::{
    kind::{Need, ParamError, check, interval::Limit},
    outside::http::{Auth, Method, Statuses, parse_url},
};

/// What is called for a row before it goes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeforeDelete {
    /// Where to, with columns in braces.
    pub url: Template,
    /// How.
    #[serde(default = "delete")]
    pub method: Method,
    /// Who calls.
    #[serde(default)]
    pub auth: Auth,
    /// Which statuses are a success.
    #[serde(default = "ok")]
    pub ok: Statuses,
    /// The most that one call may take.
    pub timeout: Option<Limit>,
    /// Calls at a time.
    #[serde(default = "concurrency")]
    pub concurrency: u16,
    /// Calls at a time to one target.
    #[serde(default = "per_target")]
    pub per_target: u16,
    /// How often a call is repeated at once.
    #[serde(default = "retries")]
    pub retries: u16,
    /// Failures in a row after which a target is taken for down.
    #[serde(default = "breaker")]
    pub breaker: u16,
    /// How long a row is left alone after its first failure.
    pub defer: Option<Limit>,
    /// After how many rounds a row is not tried again.
    #[serde(default = "give_up_after")]
    pub give_up_after: u16,
    /// Names for expressions over the row.
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
    /// Where the target of a row stands.
    pub target: Option<Target>,
    /// Which rows go without a call.
    pub guard: Option<String>,
    /// Whether targets that are marked as down are called too.
    #[serde(default)]
    pub force: bool,
    /// Called instead of each target.
    #[serde(rename = "override")]
    pub instead: Option<String>,
    /// What else the deletion does to the database.
    pub on_delete: Option<String>,
}

/// A table in which the targets stand.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The table.
    pub table: String,
    /// The column of the purge's table that names the target.
    pub column: String,
    /// The column that it names there.
    pub key: String,
    /// Whether a target is down: a column or an expression over its table.
    pub down: Option<String>,
}

impl Target {
    fn check(&self) -> Result<(), ParamError> {
        for (name, text) in [("table", &self.table), ("column", &self.column), ("key", &self.key)] {
            check::text(format!("before_delete.target.{name}"), text)?;
        }
        self.down.as_ref().map_or(Ok(()), |down| check::text("before_delete.target.down", down))
    }
}

fn delete() -> Method {
    Method::Delete
}

fn ok() -> Statuses {
    serde_json::from_value(serde_json::json!(["2xx", 404])).unwrap_or_default()
}

fn concurrency() -> u16 {
    64
}

fn per_target() -> u16 {
    16
}

fn retries() -> u16 {
    2
}

fn breaker() -> u16 {
    5
}

fn give_up_after() -> u16 {
    20
}

const TIMEOUT: Duration = Duration::from_secs(60);
const TIMEOUT_MAX: Duration = Duration::from_secs(600);
const DEFER: Duration = Duration::from_secs(300);

impl BeforeDelete {
    /// The most that one call may take.
    pub fn timeout(&self) -> Duration {
        self.timeout.map_or(TIMEOUT, |Limit(timeout)| timeout)
    }

    /// How long a row is left alone after its first failure.
    pub fn defer(&self) -> Duration {
        self.defer.map_or(DEFER, |Limit(defer)| defer)
    }

    /// What the shape alone cannot tell.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), ParamError> {
        let wrong =
            |name: &str, message: &str| Err(ParamError::new(format!("before_delete.{name}"), message));
        let numbers = [
            ("concurrency", self.concurrency, 1, 256),
            ("per_target", self.per_target, 1, 256),
            ("retries", self.retries, 0, 10),
            ("breaker", self.breaker, 1, 1000),
            ("give_up_after", self.give_up_after, 1, 1000),
        ];
        for (name, number, least, most) in numbers {
            if !(least..=most).contains(&number) {
                return wrong(name, &format!("must be from {least} to {most}"));
            }
        }
        if self.timeout() > TIMEOUT_MAX {
            return wrong("timeout", "is longer than 10m");
        }
        if let Err(message) = self.url.check_url() {
            return wrong("url", &message);
        }
        for template in self.templates() {
            if self.target.is_none() && template.target_columns().next().is_some() {
                return wrong("target", "is missing; {target.…} is a column of its table");
            }
        }
        for (name, text) in [("guard", &self.guard), ("on_delete", &self.on_delete)] {
            if let Some(text) = text {
                check::sql(format!("before_delete.{name}"), text)?;
            }
        }
        self.target.as_ref().map_or(Ok(()), Target::check)?;
        for (name, text) in &self.columns {
            if name.is_empty() || name.contains(['{', '}', '.']) || text.trim().is_empty() {
                return wrong(&format!("columns.{name}"), "takes a name without dots, and an SQL expression");
            }
            check::sql(format!("before_delete.columns.{name}"), text)?;
        }
        if let Some(instead) = &self.instead {
            if let Err(error) = parse_url(instead) {
                return wrong("override", &error.to_string());
            }
            if !self.url.begins_with_a_column() {
                return wrong("override", "needs a `url` that begins with the target's address in braces");
            }
        }
        Ok(())
    }

    /// The URL's template and those in the token's claims.
    pub fn templates(&self) -> Vec<Template> {
        let claims = match &self.auth {
            Auth::Tokenlib(tokenlib) => {
                tokenlib
                    .token
                    .values()
                    .filter_map(Value::as_str)
                    .filter_map(|text| Template::parse(text).ok())
            }
            .collect(),
            _ => Vec::new(),
        };
        std::iter::once(self.url.clone()).chain(claims).collect()
    }

    /// What a replica must know to call.
    pub fn needs(&self) -> Vec<Need> {
        let mut needs: Vec<Need> =
            self.auth.secrets().into_iter().map(|name| Need::Secret(name.0.clone())).collect();
        let url = self.instead.clone().or_else(|| self.url.fixed_origin());
        if let Some(url) = url.and_then(|url| parse_url(&url).ok()) {
            needs.extend(url.host_str().map(|host| Need::Host(host.trim_end_matches('.').to_owned())));
        }
        needs
    }
}
