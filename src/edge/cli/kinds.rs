//! `sexton kinds`: what this program can do, in the kinds' own words.

use std::fmt::Write;

use clap::Args;
use comfy_table::Cell;
use serde_json::{Value, json};

use super::{Context, Exit, output};
use crate::{
    error::{Error, ErrorKind, Result},
    kind::{Nature, Registered},
};

/// What `kinds` takes.
#[derive(Debug, Args)]
pub(super) struct KindsArgs {
    /// Explain this one: its params, their defaults, an example
    kind: Option<String>,
}

pub(super) fn list(context: &Context, args: &KindsArgs) -> Result<Exit> {
    let Some(name) = &args.kind else {
        let kinds: Vec<&Registered> = context.registry.iter().collect();
        let answer: Vec<Value> = kinds.iter().map(|kind| as_json(kind)).collect();
        context.output.answer(&answer, |_| table(&kinds))?;
        return Ok(Exit::Done);
    };
    let Some(kind) = context.registry.get(name) else {
        let known: Vec<&str> = context.registry.iter().map(Registered::name).collect();
        return Err(Error::new(ErrorKind::NotFound, format!("there is no kind \"{name}\""))
            .with_remedy(format!("This program knows: {}.", known.join(", "))));
    };
    context.output.answer(&as_json(kind), |_| explained(kind))?;
    Ok(Exit::Done)
}

fn nature(kind: &Registered) -> &'static str {
    match kind.describe().nature {
        Nature::Database => "database",
        Nature::Destructive => "destructive",
        Nature::Outside => "outside",
    }
}

fn as_json(kind: &Registered) -> Value {
    let description = kind.describe();
    let params = description.params.iter();
    let params: Vec<Value> = params
        .map(|param| json!({ "name": param.name, "takes": param.takes, "default": param.default, "help": param.help }))
        .collect();
    json!({ "kind": kind.name(), "nature": nature(kind), "summary": description.summary, "params": params,
            "example": description.example })
}

fn table(kinds: &[&Registered]) -> String {
    let mut table = output::table(&["KIND", "NATURE", "DOES"]);
    for kind in kinds {
        table.add_row(vec![
            Cell::new(kind.name()),
            Cell::new(nature(kind)),
            Cell::new(kind.describe().summary),
        ]);
    }
    format!("{}\n`sexton kinds KIND` lists the params of one.", output::lines(&table))
}

fn explained(kind: &Registered) -> String {
    let description = kind.describe();
    let rule = match description.nature {
        Nature::Database => "Its effects are in the database, and can be made again.",
        Nature::Destructive => {
            "It deletes: its jobs only report until `sexton arm JOB`, and an edit disarms them."
        }
        Nature::Outside => "It acts outside the database: one runner at a time at the most, at least once.",
    };
    let mut text = format!("{}: {}\n{rule}\n\n", kind.name(), description.summary);
    let mut table = output::table(&["PARAM", "TAKES", "DEFAULT", "DOES"]);
    for param in description.params {
        table.add_row(vec![param.name, param.takes, param.default, param.help]);
    }
    let example = description.example.trim();
    let _ = write!(text, "{}\nExample:\n\n{example}\n", output::lines(&table));
    text
}

#[cfg(test)]
mod tests {
    use crate::{edge::config, kind::Registry};

    #[test]
    fn the_example_of_each_kind_is_a_file_that_can_be_applied() {
        let registry = Registry::with_builtins();
        let folder = tempfile::tempdir().expect("a folder");
        for kind in registry.iter() {
            let file = folder.path().join(kind.name());
            std::fs::write(&file, kind.describe().example).expect("it can be written");
            let config = config::load(&[file], &registry);
            let config = config.unwrap_or_else(|problems| panic!("{}: {problems}", kind.name()));
            assert_eq!(config.jobs().first().map(config::Job::kind), Some(kind.name()));
        }
    }
}
