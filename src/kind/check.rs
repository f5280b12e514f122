//! What is wrong with a value whatever the kind: it is empty, a list has something twice, SQL is not closed.
//!
//! No database is asked; what it alone can tell is told by a run, or by `sexton plan`. What is easy to get wrong: an empty
//! text may be meant (a state, what is sent), so a kind says which of its params these rules are for.

use std::{collections::BTreeSet, fmt::Display};

use super::{ParamError, inputs};

/// Refuses a text without a word in it.
///
/// # Errors
/// That it is empty.
pub fn text(path: impl Into<String>, text: &str) -> Result<(), ParamError> {
    match text.trim().is_empty() {
        true => Err(ParamError::new(path, "is empty; give it a value, or leave it out if it is optional")),
        false => Ok(()),
    }
}

/// As [`text`], and refuses SQL with a quote or comment that is not closed, or with numbered parameters. Not for what may
/// be the name of a column too, which may have any character in it.
///
/// # Errors
/// What is wrong with it.
pub fn sql(path: impl Into<String>, sql: &str) -> Result<(), ParamError> {
    let path = path.into();
    text(path.as_str(), sql)?;
    inputs::cut(sql).map(drop).map_err(|message| ParamError::new(path, message))
}

/// Refuses what a list has twice.
///
/// # Errors
/// The second of the two, at its place.
pub fn once<T: Display>(path: &str, items: impl IntoIterator<Item = T>) -> Result<(), ParamError> {
    let mut seen = BTreeSet::new();
    for (index, item) in items.into_iter().enumerate() {
        let item = item.to_string();
        if seen.contains(&item) {
            return Err(ParamError::new(format!("{path}[{index}]"), format!("\"{item}\" is there twice")));
        }
        seen.insert(item);
    }
    Ok(())
}

/// Refuses a list of names with one that is empty or there twice.
///
/// # Errors
/// The first that is wrong, at its place.
pub fn names(path: &str, names: &[String]) -> Result<(), ParamError> {
    for (index, name) in names.iter().enumerate() {
        text(format!("{path}[{index}]"), name)?;
    }
    once(path, names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(result: Result<(), ParamError>) -> String {
        result.map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn what_is_wrong_is_told_at_its_place() {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        assert_eq!(said(names("tables", &list(&["a", "b"]))), "fine");
        assert!(said(names("tables", &list(&["a", " "]))).starts_with("params.tables[1]: is empty"));
        assert_eq!(said(names("tables", &list(&["a", "b", "a"]))), "params.tables[2]: \"a\" is there twice");
        assert_eq!(said(sql("where", "a = ':x' OR b = :x")), "fine");
        assert!(said(sql("where", "a = 'x")).contains("is not closed"));
    }
}
