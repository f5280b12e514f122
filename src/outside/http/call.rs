//! One call, and what came of it.
//!
//! What is easy to get wrong: an answer that is no success is an [`Answer`] with its class, not an error; an error means
//! that the call was refused by this replica's own rules and nothing was sent.

use std::{collections::BTreeMap, fmt, ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use super::Auth;

/// The nine methods of RFC 9110 and RFC 5789.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the words are those of HTTP")]
pub enum Method {
    Connect,
    Delete,
    Get,
    Head,
    Options,
    Patch,
    #[default]
    Post,
    Put,
    Trace,
}

impl Method {
    /// All of them.
    pub const ALL: [Method; 9] = [
        Method::Connect,
        Method::Delete,
        Method::Get,
        Method::Head,
        Method::Options,
        Method::Patch,
        Method::Post,
        Method::Put,
        Method::Trace,
    ];

    /// As it is sent: `GET`.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Connect => "CONNECT",
            Method::Delete => "DELETE",
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Options => "OPTIONS",
            Method::Patch => "PATCH",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Trace => "TRACE",
        }
    }
}

/// Where a call goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A URL, whose host the replica's file must list.
    Url(String),
    /// An endpoint of the replica's file, and a path that is added to its URL.
    Endpoint {
        /// Its name.
        name: String,
        /// The path; may be empty.
        path: String,
    },
}

/// Which statuses are a success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(Vec<RangeInclusive<u16>>);

impl Default for Statuses {
    /// 200 to 299.
    fn default() -> Self {
        Statuses(vec![200..=299])
    }
}

impl Statuses {
    /// Whether this one is.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

impl<'de> Deserialize<'de> for Statuses {
    /// A list of numbers and of classes: `[200, 404]`, `["2xx", 304]`.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let takes = "takes a list of statuses and classes of them: [\"2xx\", 404]";
        let Value::Array(items) = Value::deserialize(from)? else { return Err(de::Error::custom(takes)) };
        let range = |item: &Value| match item {
            Value::String(class) => {
                let digit =
                    class.strip_suffix("xx")?.parse::<u16>().ok().filter(|digit| (2..=5).contains(digit))?;
                Some(digit * 100..=digit * 100 + 99)
            }
            _ => {
                let status = item.as_u64().and_then(|status| u16::try_from(status).ok())?;
                (200..=599).contains(&status).then_some(status..=status)
            }
        };
        let ranges: Option<Vec<_>> = items.iter().map(range).collect();
        let ranges = ranges.filter(|ranges| !ranges.is_empty()).ok_or_else(|| de::Error::custom(takes))?;
        match (1..ranges.len()).find(|index| ranges[..*index].contains(&ranges[*index])) {
            Some(index) => Err(de::Error::custom(format!("{} is there twice", items[index]))),
            None => Ok(Statuses(ranges)),
        }
    }
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Where it goes.
    pub target: Target,
    /// How.
    pub method: Method,
    /// Added to the URL's own query.
    pub query: Vec<(String, String)>,
    /// Besides those that the call has by itself. A value `secret:NAME` is the secret.
    pub headers: BTreeMap<String, String>,
    /// What is sent.
    pub body: Option<Body>,
    /// Who sends it.
    pub auth: Auth,
    /// Which statuses are a success.
    pub ok: Statuses,
    /// The most that it may take, the reading of its answer included.
    pub timeout: Duration,
    /// `Idempotency-Key`: the same for each repetition. Also the id of a Standard Webhook.
    pub idempotency_key: String,
    /// `Sexton-Token`: grows with every change of holder; `None` where there is no holder (notices).
    pub token: Option<String>,
}

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The text.
    pub text: String,
    /// Its type, unless a header says otherwise.
    pub content_type: &'static str,
}

impl Body {
    /// A text goes as it is, anything else as JSON.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::String(text) => Body { text: text.clone(), content_type: "text/plain; charset=utf-8" },
            json => Body { text: json.to_string(), content_type: "application/json" },
        }
    }
}

/// What an answer is, for whoever decides about a repetition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A success.
    Ok,
    /// The other side says that the call is wrong.
    #[serde(rename = "http_4xx")]
    Http4xx,
    /// The other side says that it failed.
    #[serde(rename = "http_5xx")]
    Http5xx,
    /// No whole answer in time.
    Timeout,
    /// No connection: nobody there, no such name, no trusted certificate.
    Connect,
    /// Anything else: a redirect, a connection that broke.
    Other,
}

impl Class {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Ok => "ok",
            Class::Http4xx => "http_4xx",
            Class::Http5xx => "http_5xx",
            Class::Timeout => "timeout",
            Class::Connect => "connect",
            Class::Other => "other",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What came of a call. No secret is in it, even where the other side sent one back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// In one word.
    pub class: Class,
    /// Its status, if one came.
    pub status: Option<u16>,
    /// Its headers, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// The beginning of its body, up to 10,000 bytes, as text.
    pub body: String,
    /// How much of the body was read: 64 KiB at most.
    pub body_bytes: usize,
    /// Whether there was more than that.
    pub more: bool,
    /// How long it took.
    pub duration: Duration,
    /// How long the other side asks to wait before a repetition.
    pub retry_after: Option<Duration>,
    /// Why it is no success, in a sentence.
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn statuses_are_numbers_and_classes() {
        let read = |value| serde_json::from_value::<Statuses>(value);
        let statuses = read(json!(["2xx", 404])).expect("it is good");
        let found: Vec<u16> =
            [199, 200, 299, 300, 404, 405].into_iter().filter(|at| statuses.contains(*at)).collect();
        assert_eq!(found, [200, 299, 404]);
        for wrong in [
            json!([]),
            json!(["1xx"]),
            json!(["xx"]),
            json!([99]),
            json!("2xx"),
            json!([600]),
            json!(["20x"]),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn methods_are_read_as_they_are_sent() {
        for method in Method::ALL {
            assert_eq!(serde_json::to_value(method).expect("a word"), method.as_str());
        }
        assert!(serde_json::from_value::<Method>(json!("get")).is_err());
    }
}
