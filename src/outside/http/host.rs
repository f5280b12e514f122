//! Patterns of host names: one name, `*.` and a domain, or `*`.
//!
//! What is easy to get wrong: names are compared in lower case and without a final dot, as URLs are read; the database
//! compares the same texts (`sexton.lacks`).

use std::fmt;

/// Which hosts are meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPattern(String);

impl HostPattern {
    /// Reads `api.example.com`, `*.example.com` (any depth, not `example.com` itself), `*`, `10.0.0.7` or `[::1]`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let name = text.strip_prefix("*.").unwrap_or(&text);
        let character = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let is_name = !name.is_empty()
            && name.chars().all(character)
            && !name.starts_with('.')
            && !name.ends_with('.')
            && !name.contains("..");
        let is_v6 = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
        (is_name || is_v6 || text == "*").then_some(HostPattern(text))
    }

    /// Whether it means this host, as a URL names it.
    pub fn matches(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        match self.0.strip_prefix('*') {
            Some("") => true,
            Some(domain) => host.len() > domain.len() && host.ends_with(domain),
            None => host == self.0,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_name_a_domain_or_all() {
        let cases = [
            ("api.example.com", "API.example.com.", true),
            ("api.example.com", "example.com", false),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "evilexample.com", false),
            ("*", "anything", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("[::1]", "[::1]", true),
        ];
        for (pattern, host, expected) in cases {
            let read = HostPattern::parse(pattern).expect("a pattern");
            assert_eq!(read.matches(host), expected, "{pattern} {host}");
        }
        for wrong in ["", "*.", "a*b", "https://a", "a:80", "a/b", "*.*", "a..b", ".a", "[x]"] {
            assert_eq!(HostPattern::parse(wrong), None, "{wrong}");
        }
    }
}
