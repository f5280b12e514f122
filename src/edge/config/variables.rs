//! `${NAME}` and `${NAME:default}` in values.
//!
//! They are replaced within values, after the file was parsed: so no variable can smuggle in another key, and places
//! stay true. Only the form with braces counts, since SQL predicates are full of `$` and backslashes; `$${` stands for
//! a literal `${`. What is easy to get wrong: a variable that is set but empty is *set*, so its default does not apply;
//! errors about a value therefore say which variables it came from.

/// Looks variables up.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A value with its variables replaced.
pub(super) struct Substituted {
    pub(super) text: String,
    /// Their names, in order.
    pub(super) variables: Vec<String>,
}

struct Map<'a> {
    lookup: Lookup<'a>,
}

impl<'a> subst::VariableMap<'a> for Map<'_> {
    type Value = String;

    fn get(&'a self, key: &str) -> Option<String> {
        (self.lookup)(key)
    }
}

/// Replaces the variables of a value.
///
/// # Errors
/// What is wrong, and the bytes of the value where.
pub(super) fn substitute(
    value: &str,
    lookup: Lookup<'_>,
) -> Result<Substituted, (String, std::ops::Range<usize>)> {
    let (mut text, mut variables, mut at) = (String::new(), Vec::new(), 0);
    while let Some(found) = value[at..].find("${").map(|found| at + found) {
        if value[at..found].ends_with('$') {
            text.push_str(&value[at..found]);
            text.push('{');
            at = found + 2;
            continue;
        }
        text.push_str(&value[at..found]);
        let end = closing_brace(&value[found..]).map_or(value.len(), |length| found + length);
        let piece = &value[found..end];
        text.push_str(
            &subst::substitute(piece, &Map { lookup })
                .map_err(|error| (explain(&error, piece), found..end))?,
        );
        variables.push(name(piece).to_owned());
        at = end;
    }
    text.push_str(&value[at..]);
    Ok(Substituted { text, variables })
}

/// How long `${…}` is, inner braces included.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return Some(at + 1),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn name(piece: &str) -> &str {
    let inner = piece.trim_start_matches("${");
    &inner[..inner.find([':', '}']).unwrap_or(inner.len())]
}

fn explain(error: &subst::Error, piece: &str) -> String {
    match error {
        subst::Error::NoSuchVariable(missing) => {
            format!("the variable {} is not set and has no default", missing.name)
        }
        other => format!("`{piece}` is no variable: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(value: &str) -> Result<String, String> {
        let lookup = |name: &str| (name == "DAYS").then(|| "30".to_owned());
        substitute(value, &lookup).map(|done| done.text).map_err(|(message, _)| message)
    }

    #[test]
    fn only_braces_count() {
        assert_eq!(
            with(r"${DAYS} days; x ~ '^a\d$' AND $1 > ${DAYS}").as_deref(),
            Ok(r"30 days; x ~ '^a\d$' AND $1 > 30")
        );
        assert_eq!(with("$${DAYS} ${NONE:${DAYS}} ${NONE:}").as_deref(), Ok("${DAYS} 30 "));
    }

    #[test]
    fn an_unset_variable_names_itself() {
        assert_eq!(with("${NONE}"), Err("the variable NONE is not set and has no default".to_owned()));
        assert!(with("${DAYS").is_err_and(|message| message.contains("`${DAYS` is no variable")));
    }
}
