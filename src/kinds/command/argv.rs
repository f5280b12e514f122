//! The arguments of a command: its own, with the job's values in their places.
//!
//! What is easy to get wrong: a value is never split and no shell reads it, but a program may still take it for an option.
//! So a free text that begins an argument must not begin with a dash.

use std::collections::BTreeMap;

use serde_json::Value;

use super::params::Params;
use crate::{
    kind::{RunContext, Stop},
    outside::{Command, commands::CommandParam},
};

/// The program and its arguments.
///
/// # Errors
/// [`Stop::Refused`] for a value that is missing, not declared, or not what the command declares.
pub fn fill(context: &RunContext, params: &Params, command: &Command) -> Result<Vec<String>, Stop> {
    let mut values = BTreeMap::new();
    for (name, value) in &params.params {
        let value = match value.as_str().and_then(|text| text.strip_prefix(':')) {
            Some(input) => input_value(context, name, input)?,
            None => as_text(value),
        };
        values.insert(name.clone(), value);
    }
    filled(command, &values)
        .map_err(|message| Stop::refused(message, "edit the job, or the replica's local file"))
}

fn input_value(context: &RunContext, name: &str, input: &str) -> Result<String, Stop> {
    let remedy = format!("sexton run-now {} --input {input}=VALUE", context.job());
    if !context.input_types().contains_key(input) {
        let reason = format!("params.params.{name}: :{input} is no declared input");
        return Err(Stop::refused(reason, "declare it in the job's inputs, with its type"));
    }
    match context.inputs().get(input) {
        Some(value) if !value.is_null() => Ok(as_text(value)),
        _ => Err(Stop::refused(format!("input {input} has no value in this run"), remedy)),
    }
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The arguments with these values in their places.
fn filled(command: &Command, values: &BTreeMap<String, String>) -> Result<Vec<String>, String> {
    let declared = || command.params.keys().cloned().collect::<Vec<_>>().join(", ");
    if let Some(name) = values.keys().find(|name| !command.params.contains_key(*name)) {
        return Err(format!(
            "params.params.{name}: the command has no such parameter; it has: {}",
            declared()
        ));
    }
    for (name, takes) in &command.params {
        let value = values
            .get(name)
            .ok_or_else(|| format!("params.params.{name} is missing: the command needs it"))?;
        check(takes, value).map_err(|message| format!("params.params.{name}: {message}"))?;
    }
    command.argv.iter().map(|argument| one(command, argument, values)).collect()
}

fn check(takes: &CommandParam, value: &str) -> Result<(), String> {
    match takes {
        CommandParam::Text if value.chars().any(char::is_control) => {
            Err("has control characters in it".to_owned())
        }
        CommandParam::Text => Ok(()),
        CommandParam::Whole => {
            let digits = value.strip_prefix('-').unwrap_or(value);
            let whole =
                !digits.is_empty() && digits.len() <= 40 && digits.bytes().all(|c| c.is_ascii_digit());
            if whole { Ok(()) } else { Err(format!("{value:?} is no whole number")) }
        }
        CommandParam::OneOf(allowed) if allowed.iter().any(|one| one == value) => Ok(()),
        CommandParam::OneOf(allowed) => Err(format!("{value:?} is not one of: {}", allowed.join(", "))),
    }
}

/// One argument; what stands in no braces stays as it is.
fn one(command: &Command, argument: &str, values: &BTreeMap<String, String>) -> Result<String, String> {
    let (mut filled, mut rest) = (String::new(), argument);
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        let name = from[1..].split_once('}').map(|(name, _)| name);
        match name.and_then(|name| values.get(name).map(|value| (name, value))) {
            Some((name, value)) => {
                let free = command.params.get(name) == Some(&CommandParam::Text);
                if free && filled.is_empty() && value.starts_with('-') {
                    return Err(format!(
                        "params.params.{name}: {value:?} would be read as an option: it must not begin with a dash"
                    ));
                }
                filled.push_str(value);
                rest = &from[name.len() + 2..];
            }
            None => {
                filled.push('{');
                rest = &from[1..];
            }
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outside::commands::{GRACE, Limits};

    fn try_fill(values: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let command = Command {
            argv: ["/bin/x", "--tenant={tenant}", "{path}", "{mode}", "{literal", "{}"]
                .map(str::to_owned)
                .to_vec(),
            cwd: None,
            env: Vec::new(),
            user: None,
            params: BTreeMap::from([
                ("tenant".to_owned(), CommandParam::Whole),
                ("path".to_owned(), CommandParam::Text),
                ("mode".to_owned(), CommandParam::OneOf(vec!["a".to_owned(), "-b".to_owned()])),
            ]),
            limits: Limits::default(),
            grace: GRACE,
        };
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        filled(&command, &values)
    }

    #[test]
    fn a_value_is_one_argument_whatever_is_in_it() {
        let path = "a b; rm -rf / $(x) {tenant} '\"";
        let argv = try_fill(&[("tenant", "-7"), ("path", path), ("mode", "-b")]).expect("it fits");
        assert_eq!(argv, ["/bin/x", "--tenant=-7", path, "-b", "{literal", "{}"]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (values, part) in [
            (vec![("path", "p"), ("mode", "a")], "params.params.tenant is missing"),
            (
                vec![("tenant", "1"), ("path", "p"), ("mode", "a"), ("more", "1")],
                "no such parameter; it has: mode, path, tenant",
            ),
            (vec![("tenant", "1; x"), ("path", "p"), ("mode", "a")], "no whole number"),
            (vec![("tenant", "1"), ("path", "p\n"), ("mode", "a")], "control characters"),
            (vec![("tenant", "1"), ("path", "--all"), ("mode", "a")], "read as an option"),
            (vec![("tenant", "1"), ("path", "p"), ("mode", "c")], "is not one of: a, -b"),
        ] {
            let error = try_fill(&values).expect_err("it is refused");
            assert!(error.contains(part), "{error:?} does not say {part:?}");
        }
    }
}
