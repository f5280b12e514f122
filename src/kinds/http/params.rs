//! The parameters of a call: a closed set, each documented once in [`TABLE`].

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    kind::{Need, Param, ParamError, check, interval::Limit},
    outside::{
        http::{Auth, Body, Call, Method, Statuses, Target, parse_url},
        secrets::{is_name, reference},
    },
};

/// What a job of kind `http` is told. See [`TABLE`] for what each means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Where to, if not an endpoint.
    pub url: Option<String>,
    /// Which endpoint of the replica's file.
    pub endpoint: Option<String>,
    /// Added to the endpoint's URL.
    pub path: Option<String>,
    /// How.
    #[serde(default)]
    pub method: Method,
    /// Added to the URL's query.
    #[serde(default)]
    pub query: BTreeMap<String, Value>,
    /// Headers of the author's own.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What is sent.
    pub body: Option<Value>,
    /// Who sends it.
    #[serde(default)]
    pub auth: Auth,
    /// Which statuses are a success.
    #[serde(default)]
    pub ok: Statuses,
    /// The most that the call may take.
    pub timeout: Option<Limit>,
}

const TIMEOUT: Duration = Duration::from_secs(60);
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// Headers that the call has by itself, and what to use instead.
const RESERVED: &[(&str, &str)] = &[
    ("authorization", "use `auth`: a row must not hold secrets"),
    ("proxy-authorization", "use `auth`: a row must not hold secrets"),
    ("cookie", "give it as \"secret:NAME\""),
    ("host", "it is that of the URL"),
    ("content-length", "it is that of the body"),
    ("transfer-encoding", "it is that of the body"),
    ("connection", "it is the client's"),
    ("idempotency-key", "Sexton sends its own"),
    ("sexton-token", "Sexton sends its own"),
    ("webhook-id", "`auth = { hmac = … }` sends it"),
    ("webhook-timestamp", "`auth = { hmac = … }` sends it"),
    ("webhook-signature", "`auth = { hmac = … }` sends it"),
];

/// Jobs of this kind, as a file has them.
pub const EXAMPLE: &str = r#"[jobs.rebuild-sitemap]
schedule = "daily 04:15 Europe/Paris"

[jobs.rebuild-sitemap.http]
url = "https://shop.example.com/internal/sitemap"
auth = { bearer = "secret:shop" }
body = { full = true }

[jobs.expire-previews]
schedule = "every 30m"

[jobs.expire-previews.http]
endpoint = "previews"
path = "expired"
method = "DELETE"
query = { older_than = "7d" }
ok = ["2xx", 404]
auth = { hmac = ["secret:previews-new", "secret:previews-old"] }
timeout = "2m"
"#;

/// The table of parameters.
pub const TABLE: &[Param] = &[
    Param {
        name: "url",
        takes: "URL",
        default: "none: this or `endpoint` must be given",
        help: "Where the call goes; its host must stand in `hosts` of `[http]` of the replica's local file.",
    },
    Param {
        name: "endpoint",
        takes: "name",
        default: "none: this or `url` must be given",
        help: "Where the call goes, by a name of the replica's local file: `[endpoints.NAME]`.",
    },
    Param {
        name: "path",
        takes: "path",
        default: "none: the endpoint's URL as it is",
        help: "Added to the endpoint's URL.",
    },
    Param {
        name: "method",
        takes: "CONNECT, DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT or TRACE",
        default: "POST",
        help: "How it is called.",
    },
    Param {
        name: "query",
        takes: "table of texts, numbers, true or false",
        default: "empty",
        help: "Added to the URL's query.",
    },
    Param {
        name: "headers",
        takes: "table of texts",
        default: "empty",
        help: "Sent besides Sexton's own; a value \"secret:NAME\" is that secret.",
    },
    Param {
        name: "body",
        takes: "text, or any other value",
        default: "none: nothing is sent",
        help: "What is sent: a text as it is (text/plain), anything else as JSON (application/json), unless `headers` give a Content-Type.",
    },
    Param {
        name: "auth",
        takes: "{ basic }, { bearer }, { hmac }, { hawk } or { tokenlib }",
        default: "\"none\"",
        help: "How the call proves who sends it, with secrets by name.",
    },
    Param {
        name: "ok",
        takes: "list of statuses and classes",
        default: "[\"2xx\"]",
        help: "Which statuses are a success; \"3xx\" may be one, but a redirect is never followed.",
    },
    Param {
        name: "timeout",
        takes: "duration or seconds, up to 1h",
        default: "60s",
        help: "The most that the call may take, the reading of its answer included.",
    },
];

impl Params {
    /// What the shape alone does not tell.
    ///
    /// # Errors
    /// The parameter that is wrong.
    pub fn check(&self) -> Result<(), ParamError> {
        match (&self.url, &self.endpoint) {
            (Some(url), None) => {
                parse_url(url).map_err(|error| ParamError::new("url", error.to_string()))?;
                if self.path.is_some() {
                    return Err(ParamError::new("path", "is added to an `endpoint`; a `url` has its own"));
                }
            }
            (None, Some(name)) if !is_name(name) => {
                return Err(ParamError::new(
                    "endpoint",
                    "takes a name of the replica's local file: [endpoints.NAME]",
                ));
            }
            (None, Some(_)) => self.check_path()?,
            (Some(_), Some(_)) => {
                return Err(ParamError::new(
                    "endpoint",
                    "a call goes to a `url` or to an `endpoint`, not to both",
                ));
            }
            (None, None) => {
                return Err(ParamError::new(
                    "",
                    "say where the call goes: `url`, or `endpoint` of the replica's file",
                ));
            }
        }
        for (name, value) in &self.query {
            if text(value).is_none() {
                return Err(ParamError::new(
                    format!("query.{name}"),
                    "takes a text, a number, true or false",
                ));
            }
        }
        for (name, value) in &self.headers {
            self.check_header(name, value)?;
        }
        if self.timeout.is_some_and(|Limit(timeout)| timeout > TIMEOUT_MAX) {
            return Err(ParamError::new("timeout", "is longer than 1h"));
        }
        Ok(())
    }

    fn check_path(&self) -> Result<(), ParamError> {
        let Some(path) = self.path.as_deref() else { return Ok(()) };
        check::text("path", path)?;
        let wrong = |message: &str| Err(ParamError::new("path", message));
        if path.contains(['?', '#']) {
            return wrong("must have no query: `query` gives it");
        }
        // The endpoint says how far a job may reach; browsers read %2e as a dot too.
        let dots =
            |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
        if path.split(['/', '\\']).any(dots) {
            return wrong("must not lead out of the endpoint: no `.` and no `..`");
        }
        Ok(())
    }

    fn check_header(&self, name: &str, value: &str) -> Result<(), ParamError> {
        let wrong = |message: &str| Err(ParamError::new(format!("headers.{name}"), message));
        let lower = name.to_ascii_lowercase();
        let secret = reference(value).is_some();
        if let Some((_, instead)) = RESERVED.iter().find(|(reserved, _)| *reserved == lower)
            && !(secret && lower == "cookie")
        {
            return wrong(instead);
        }
        if lower.is_empty()
            || !lower.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
        {
            return wrong("is no name of a header");
        }
        if value.chars().any(|c| c.is_control() || !c.is_ascii()) {
            return wrong("takes printable ASCII");
        }
        Ok(())
    }

    /// What a replica must know to make this call.
    pub fn needs(&self) -> Vec<Need> {
        let mut needs: Vec<Need> = self.endpoint.iter().cloned().map(Need::Endpoint).collect();
        if let Some(url) = self.url.as_deref().and_then(|url| parse_url(url).ok()) {
            needs.extend(url.host_str().map(|host| Need::Host(host.trim_end_matches('.').to_owned())));
        }
        needs.extend(self.auth.secrets().into_iter().map(|name| Need::Secret(name.0.clone())));
        let named = self.headers.values().filter_map(|value| reference(value));
        needs.extend(named.map(|name| Need::Secret(name.to_owned())));
        needs
    }

    /// Where it goes, for people.
    pub fn place(&self) -> String {
        match (&self.url, &self.endpoint, &self.path) {
            (Some(url), ..) => url.clone(),
            (None, Some(name), Some(path)) => format!("endpoint {name}, path {path}"),
            (None, name, _) => format!("endpoint {}", name.as_deref().unwrap_or_default()),
        }
    }

    /// The call itself.
    pub fn call(&self, idempotency_key: String, token: String) -> Call {
        let target = match (&self.url, &self.endpoint) {
            (Some(url), _) => Target::Url(url.clone()),
            (None, name) => Target::Endpoint {
                name: name.clone().unwrap_or_default(),
                path: self.path.clone().unwrap_or_default(),
            },
        };
        let query = self.query.iter().filter_map(|(name, value)| Some((name.clone(), text(value)?)));
        Call {
            target,
            method: self.method,
            query: query.collect(),
            headers: self.headers.clone(),
            body: self.body.as_ref().map(Body::of),
            auth: self.auth.clone(),
            ok: self.ok.clone(),
            timeout: self.timeout.map_or(TIMEOUT, |Limit(timeout)| timeout),
            idempotency_key,
            token: Some(token),
        }
    }
}

/// A simple value as a query has it.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(boolean) => Some(boolean.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Registry;

    fn error(params: Value) -> String {
        let registry = Registry::with_builtins();
        let kind = registry.get("http").expect("it is built in");
        kind.check(&params).map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        let url = "https://a.example.com/x";
        let cases = [
            (json!({"url": url}), "fine"),
            (json!({"endpoint": "a", "path": "b/c", "method": "TRACE"}), "fine"),
            (json!({"url": url, "headers": {"X-Key": "secret:a", "Cookie": "secret:b"}}), "fine"),
            (json!({}), "say where the call goes"),
            (json!({"url": url, "endpoint": "a"}), "not to both"),
            (json!({"url": "https://user:word@a.example.com"}), "params.url: must hold no credentials"),
            (json!({"url": "ftp://a.example.com"}), "params.url: takes a URL that begins with https://"),
            (json!({"url": "a.example.com"}), "params.url: is no URL"),
            (json!({"endpoint": "a", "path": "b/../../c"}), "params.path: must not lead out"),
            (json!({"endpoint": "a", "path": "b/%2E%2e/c"}), "params.path: must not lead out"),
            (json!({"endpoint": "a", "path": "b?c"}), "params.path: must have no query"),
            (
                json!({"url": url, "headers": {"Authorization": "Bearer x"}}),
                "params.headers.Authorization: use `auth`",
            ),
            (
                json!({"url": url, "headers": {"Cookie": "a=b"}}),
                "params.headers.Cookie: give it as \"secret:NAME\"",
            ),
            (json!({"url": url, "headers": {"A b": "c"}}), "is no name of a header"),
            (json!({"url": url, "headers": {"A": "b\r\nC: d"}}), "takes printable ASCII"),
            (json!({"url": url, "query": {"a": []}}), "params.query.a: takes a text"),
            (json!({"url": url, "timeout": "2h"}), "params.timeout: is longer than 1h"),
            (json!({"url": url, "method": "get"}), "params.method: unknown variant"),
            (json!({"url": url, "ok": ["2x"]}), "params.ok: takes a list of statuses"),
            (json!({"url": url, "auth": {"bearer": "hunter2"}}), "takes the name of a secret"),
            (json!({"url": url, "auth": {"digest": "secret:a"}}), "unknown variant `digest`"),
            (json!({"url": url, "retries": 3}), "unknown field `retries`"),
        ];
        for (params, expected) in cases {
            let found = error(params.clone());
            assert!(found.contains(expected) && !found.contains("hunter2"), "{params}: {found}");
        }
    }

    #[test]
    fn a_call_needs_its_host_or_endpoint_and_its_secrets() {
        let needs = |params: Value| {
            let params: Params = serde_json::from_value(params).expect("it is good");
            params.needs().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        let url = json!({"url": "https://API.example.com:8443/x", "headers": {"X-Key": "secret:a"}});
        assert_eq!(needs(url), "host:api.example.com secret:a");
        let endpoint = json!({"endpoint": "e", "auth": {"hmac": ["secret:new", "secret:old"]}});
        assert_eq!(needs(endpoint), "endpoint:e secret:new secret:old");
    }
}
