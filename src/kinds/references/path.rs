//! Where references stand in a jsonb column: `$[*]`, `$.members[*]`, `$.team.members[*].user.id`.
//!
//! A small part of SQL/JSON paths: keys, one array, keys within its elements. What is easy to get wrong: a key with a dot
//! in it; such a one is written in quotes, `$."a.b"[*]`.

/// The keys to the array, and from one of its elements to the id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Keys from the column's value to the array; none if it is the array itself.
    pub array: Vec<String>,
    /// Keys from an element to its id; none if it is the id itself.
    pub id: Vec<String>,
}

const EXAMPLE: &str = "write it such as \"$[*]\", \"$.members[*]\" or \"$.members[*].id\"";

impl Path {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no path to an array; {EXAMPLE}");
        let rest = text.trim().strip_prefix('$').ok_or_else(wrong)?;
        let (array, rest) = keys(rest).ok_or_else(wrong)?;
        let rest = rest.strip_prefix("[*]").ok_or_else(wrong)?;
        match keys(rest) {
            Some((id, "")) => Ok(Path { array, id }),
            _ => Err(wrong()),
        }
    }
}

/// The keys that the text begins with, and what is behind them.
fn keys(mut text: &str) -> Option<(Vec<String>, &str)> {
    let mut keys = Vec::new();
    while let Some(rest) = text.strip_prefix('.') {
        let (key, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_at(rest.find(['.', '[', '"', ' ']).unwrap_or(rest.len())),
        };
        if key.is_empty() {
            return None;
        }
        keys.push(key.to_owned());
        text = behind;
    }
    Some((keys, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<String>, Vec<String>) {
        let path = Path::parse(text).unwrap_or_else(|error| panic!("{error}"));
        (path.array, path.id)
    }

    fn list(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    #[test]
    fn keys_lead_to_the_array_and_to_the_id() {
        assert_eq!(read("$[*]"), (list(&[]), list(&[])));
        assert_eq!(read("$.members[*].id"), (list(&["members"]), list(&["id"])));
        assert_eq!(read(" $.a.\"b.c [*]\"[*].x.y "), (list(&["a", "b.c [*]"]), list(&["x", "y"])));
    }

    #[test]
    fn what_is_no_such_path_is_refused() {
        for text in
            ["", "$", "members[*]", "$.members", "$..a[*]", "$.a[0]", "$.a[*][*]", "$.a[*].", "$.\"a[*]"]
        {
            assert!(Path::parse(text).is_err(), "{text:?} passed");
        }
    }
}
