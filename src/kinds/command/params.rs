//! The parameters of a command job: a closed set, each documented once in [`TABLE`].

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::{
    kind::{Param, ParamError, check},
    outside::secrets::is_name,
};

/// What a job of kind `command` is told. See `docs/kinds/command.md` for what each means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Which command of the replica's local file.
    pub command: String,
    /// Values of its parameters.
    #[serde(default)]
    pub params: BTreeMap<String, Value>,
    /// The exit codes that mean that all went well.
    #[serde(default = "zero")]
    pub success_codes: Vec<i32>,
}

fn zero() -> Vec<i32> {
    vec![0]
}

/// A job of this kind, as a file has it.
pub const EXAMPLE: &str = r#"[jobs.reindex-search]
schedule = "daily 02:00"
timeout = "1 hour"

[jobs.reindex-search.command]
command = "reindex"
params = { tenant = 42 }
"#;

/// The table of parameters.
pub const TABLE: &[Param] = &[
    Param {
        name: "command",
        takes: "name",
        default: "none: it must be given",
        help: "Which command: `[commands.NAME]` of the replica's local file. Replicas without it leave the job to others.",
    },
    Param {
        name: "params",
        takes: "table of name = text, number or boolean",
        default: "none are given",
        help: "Values of the parameters that the command declares, all of them; a value `\":name\"` is the declared input of that name.",
    },
    Param {
        name: "success_codes",
        takes: "list of exit codes, 0 to 255",
        default: "[0]",
        help: "The exit codes that mean that all went well; any other fails the run.",
    },
];

impl Params {
    /// What the shape alone cannot tell.
    ///
    /// # Errors
    /// The first parameter that is wrong.
    pub fn check(&self) -> Result<(), ParamError> {
        if !is_name(&self.command) {
            return Err(ParamError::new(
                "command",
                "takes a name of the replica's local file: [commands.NAME]",
            ));
        }
        check::once("success_codes", &self.success_codes)?;
        for (name, value) in &self.params {
            if !(value.is_string() || value.is_number() || value.is_boolean()) {
                return Err(ParamError::new(
                    format!("params.{name}"),
                    "must be a text, a number or a boolean",
                ));
            }
        }
        match self.success_codes.iter().all(|code| (0..=255).contains(code)) {
            _ if self.success_codes.is_empty() => Err(ParamError::new("success_codes", "is empty")),
            true => Ok(()),
            false => Err(ParamError::new("success_codes", "must be from 0 to 255")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::Registry;

    fn problem(params: Value) -> Option<String> {
        let registry = Registry::with_builtins();
        registry.get("command").expect("it is built in").check(&params).err().map(|error| error.to_string())
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        assert_eq!(problem(json!({"command": "x", "params": {"a": 1, "b": "2"}})), None);
        for (params, part) in [
            (json!({}), "command"),
            (json!({"command": " "}), "params.command: takes a name"),
            (json!({"command": "x", "params": {"a": [1]}}), "params.params.a"),
            (json!({"command": "x", "success_codes": []}), "params.success_codes: is empty"),
            (json!({"command": "x", "success_codes": [256]}), "from 0 to 255"),
            (json!({"command": "x", "argv": ["rm"]}), "unknown field `argv`"),
        ] {
            let found = problem(params.clone()).unwrap_or_else(|| panic!("{params} passed"));
            assert!(found.contains(part), "{found:?} does not say {part:?}");
        }
    }

    #[test]
    fn the_table_is_complete() {
        let unknown = problem(json!({"nope": 1})).expect("it is refused");
        assert_eq!(
            unknown.matches('`').count() / 2 - 1,
            TABLE.len(),
            "a parameter is not described: {unknown}"
        );
    }
}
