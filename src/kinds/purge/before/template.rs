//! Texts with columns in braces: `{target.node}/1.5/{uid}`.
//!
//! What is easy to get wrong: what a row holds must not lead the call elsewhere. In the address (scheme, host, port) only
//! what an address consists of may stand; anywhere else a value is percent-encoded, and what would still change the path
//! (nothing, `.`, `..`) is refused.

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use crate::outside::http::parse_url;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it stands there.
    Text(String),
    /// A column of the row, or one of `columns`.
    Column(String),
    /// A column of the target's row.
    Target(String),
}

/// A text with columns in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Template::parse(&String::deserialize(from)?).map_err(de::Error::custom)
    }
}

/// Why a row has no URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoUrl {
    /// It has no target: a column of its address is NULL.
    NoTarget,
    /// What it holds cannot stand there.
    Wrong(String),
}

impl Template {
    /// Reads one.
    ///
    /// # Errors
    /// If the braces do not match or hold no name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, braced) = rest.split_at(at);
            let end = braced.find('}').filter(|_| braced.starts_with('{'));
            let Some(end) = end else { return Err("has a brace without its counterpart".to_owned()) };
            let name = &braced[1..end];
            if name.is_empty() || name.contains('{') {
                return Err("takes the name of a column in braces: {uid}".to_owned());
            }
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(match name.strip_prefix("target.") {
                Some(name) => Piece::Target(name.to_owned()),
                None => Piece::Column(name.to_owned()),
            });
            rest = &braced[end + 1..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Template(pieces))
    }

    /// Columns of the row.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Column(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Columns of the target's row.
    pub fn target_columns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Target(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Whether the whole address is a column's.
    pub fn begins_with_a_column(&self) -> bool {
        matches!(self.0.first(), Some(Piece::Column(_) | Piece::Target(_)))
    }

    /// The pieces that the address is made of; of the last one, the part that belongs to it.
    pub fn address(&self) -> Vec<Piece> {
        if self.begins_with_a_column() {
            return self.0.iter().take(1).cloned().collect();
        }
        let (mut pieces, mut skip) = (Vec::new(), "https://".len());
        for piece in &self.0 {
            if let Piece::Text(text) = piece {
                if pieces.is_empty() && text.starts_with("http://") {
                    skip = "http://".len();
                }
                let from = if pieces.is_empty() { skip.min(text.len()) } else { 0 };
                if let Some(end) = text[from..].find(['/', '?', '#']) {
                    if from + end > 0 {
                        pieces.push(Piece::Text(text[..from + end].to_owned()));
                    }
                    return pieces;
                }
            }
            pieces.push(piece.clone());
        }
        pieces
    }

    /// The address, if no column is in it.
    pub fn fixed_origin(&self) -> Option<String> {
        self.address()
            .into_iter()
            .map(|piece| match piece {
                Piece::Text(text) => Some(text),
                _ => None,
            })
            .collect()
    }

    /// What is wrong with it as a URL.
    pub fn check_url(&self) -> Result<(), String> {
        let sample = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            _ => "1".to_owned(),
        };
        let all: String = match self.begins_with_a_column() {
            true => {
                let next = self.0.get(1);
                let goes_on = |text: &String| text.starts_with(['/', '?']);
                if !next.is_none_or(|piece| matches!(piece, Piece::Text(text) if goes_on(text))) {
                    return Err("must go on with / after the target's address".to_owned());
                }
                let rest: String = self.0.iter().skip(1).map(sample).collect();
                format!("https://a.example{rest}")
            }
            false => self.0.iter().map(sample).collect(),
        };
        parse_url(&all).map(drop).map_err(|error| error.to_string())
    }

    /// The URL for a row, and the target that it belongs to: the address. `value` gives a column's text.
    pub fn url(&self, value: impl Fn(&Piece) -> Option<String>) -> Result<(String, String), NoUrl> {
        let address = self.address();
        let (mut whole, mut target) = (String::new(), None);
        for (at, piece) in self.0.iter().enumerate() {
            let text = match piece {
                Piece::Text(text) => {
                    whole.push_str(text);
                    continue;
                }
                piece => value(piece),
            };
            match text {
                None if at < address.len() => return Err(NoUrl::NoTarget),
                None => return Err(NoUrl::Wrong(format!("{} is NULL", name_of(piece)))),
                Some(text) if at == 0 => {
                    let base = text.trim_end_matches('/');
                    let good =
                        parse_url(base).is_ok_and(|url| url.query().is_none()) && !base.contains(['#', '\\']);
                    if !good {
                        return Err(NoUrl::Wrong(format!("{} is no address", name_of(piece))));
                    }
                    whole.push_str(base);
                    target = Some(base.to_owned());
                }
                Some(text) if at < address.len() => {
                    let fits = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
                    if text.is_empty() || !text.chars().all(fits) {
                        return Err(NoUrl::Wrong(format!("{} is no host", name_of(piece))));
                    }
                    whole.push_str(&text);
                }
                Some(text) if matches!(text.as_str(), "" | "." | "..") => {
                    return Err(NoUrl::Wrong(format!("{} cannot stand in a URL", name_of(piece))));
                }
                Some(text) => encode(&mut whole, &text),
            }
        }
        let url = parse_url(&whole).map_err(|error| NoUrl::Wrong(error.to_string()))?;
        let target = target.unwrap_or_else(|| url.origin().ascii_serialization());
        Ok((whole, target))
    }

    /// The value for a claim of a token: a column's own where it stands alone, else a text.
    pub fn claim(
        &self,
        text: impl Fn(&Piece) -> Option<String>,
        value: impl Fn(&Piece) -> Value,
    ) -> Result<Value, NoUrl> {
        if let [piece @ (Piece::Column(_) | Piece::Target(_))] = self.0.as_slice() {
            return Ok(value(piece));
        }
        let mut whole = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => whole.push_str(text),
                piece => match text(piece) {
                    Some(text) => whole.push_str(&text),
                    None => return Err(NoUrl::Wrong(format!("{} is NULL", name_of(piece)))),
                },
            }
        }
        Ok(whole.into())
    }
}

fn name_of(piece: &Piece) -> String {
    match piece {
        Piece::Text(text) => text.clone(),
        Piece::Column(name) => format!("{{{name}}}"),
        Piece::Target(name) => format!("{{target.{name}}}"),
    }
}

/// Percent-encodes all but the unreserved characters of RFC 3986, 2.3.
fn encode(into: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                into.push(char::from(byte));
            }
            byte => into.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(template: &str, given: &[(&str, &str)]) -> Result<String, NoUrl> {
        let template = Template::parse(template).expect("well formed");
        template.check_url().expect("a URL");
        let found = template.url(|piece| {
            let name = name_of(piece);
            given.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        });
        found.map(|(url, _)| url)
    }

    #[test]
    fn what_a_row_holds_leads_nowhere_else() {
        let node = |uid: &str| {
            url("{target.node}/1.5/{uid}", &[("{target.node}", "https://n1.example/"), ("{uid}", uid)])
        };
        assert_eq!(node("7"), Ok("https://n1.example/1.5/7".to_owned()));
        assert_eq!(node("a/../b?c#d é"), Ok("https://n1.example/1.5/a%2F..%2Fb%3Fc%23d%20%C3%A9".to_owned()));
        for wrong in ["", ".", ".."] {
            assert!(matches!(node(wrong), Err(NoUrl::Wrong(_))), "{wrong}");
        }
        let host = |host: &str| url("https://{host}:81/x", &[("{host}", host)]);
        assert_eq!(host("n1.example"), Ok("https://n1.example:81/x".to_owned()));
        for wrong in ["evil.example/", "a@evil.example", "evil.example#", "", "a b"] {
            assert!(matches!(host(wrong), Err(NoUrl::Wrong(_))), "{wrong}");
        }
        for wrong in ["n1", "ftp://n1", "https://n1?x=", "https://u:p@n1", "https://n1#"] {
            let found = url("{node}/1", &[("{node}", wrong)]);
            assert!(matches!(found, Err(NoUrl::Wrong(_))), "{wrong}: {found:?}");
        }
    }

    #[test]
    fn without_an_address_there_is_no_target() {
        assert_eq!(url("{node}/{uid}", &[("{uid}", "1")]), Err(NoUrl::NoTarget));
        assert_eq!(url("https://{host}/x", &[]), Err(NoUrl::NoTarget));
        let wrong = url("https://a.example/{uid}", &[]);
        assert_eq!(wrong, Err(NoUrl::Wrong("{uid} is NULL".to_owned())));
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for wrong in ["{", "a}", "{}", "{a{b}}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
        for wrong in ["{a}b", "{a}{b}", "x/{a}", "ftp://{a}"] {
            assert!(Template::parse(wrong).expect("well formed").check_url().is_err(), "{wrong}");
        }
    }
}
