//! Options that hold for one occurrence alone, and `sexton run-now`, which leaves it to a replica.

use clap::Args;
use serde_json::{Map, Value};

use super::{Context, Exit};
use crate::{
    error::{Error, ErrorKind, Result},
    kind::Options,
};

/// What narrows a run; operators may, and only authors widen (`--force`).
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "For this run alone")]
pub(super) struct Narrow {
    /// Only report, even if armed
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Stop after about that many rows
    #[arg(long, value_name = "ROWS")]
    limit_rows: Option<u64>,
    /// Stop after that long: `10m`
    #[arg(long, value_name = "TIME")]
    time_limit: Option<String>,
    /// Keep to a part of the keys, in the kind's own words
    #[arg(long, value_name = "RANGE")]
    range: Option<String>,
    /// Pass over guards; for authors of jobs alone
    #[arg(long)]
    force: bool,
    /// A value of an input that the job declares; numbers and true, false, null as such, everything else as text
    #[arg(long = "input", value_name = "NAME=VALUE")]
    inputs: Vec<String>,
}

impl Narrow {
    pub(super) fn is_empty(&self) -> bool {
        self.options() == Options::default() && self.inputs.is_empty()
    }

    fn options(&self) -> Options {
        Options {
            dry_run: self.dry_run.then_some(true),
            limit_rows: self.limit_rows,
            time_limit: self.time_limit.clone(),
            range: self.range.clone(),
            force: self.force.then_some(true),
        }
    }

    /// The options as `sexton.run_now` takes them.
    pub(super) fn options_json(&self) -> Result<Value> {
        serde_json::to_value(self.options())
            .map_err(|cause| Error::new(ErrorKind::Outside, "the options are no JSON").caused_by(cause))
    }

    /// The inputs as `sexton.run_now` takes them.
    pub(super) fn inputs_json(&self) -> Result<Value> {
        read_inputs(&self.inputs)
    }
}

/// The inputs that were given as `NAME=VALUE`.
pub(super) fn read_inputs(given: &[String]) -> Result<Value> {
    let mut inputs = Map::new();
    for input in given {
        let Some((name, value)) = input.split_once('=') else {
            return Err(Error::invalid(format!("\"{input}\" has no value"))
                .about("--input")
                .with_remedy("Write NAME=VALUE, such as `--input tenant=42`."));
        };
        let scalar =
            serde_json::from_str(value).ok().filter(|value: &Value| !value.is_object() && !value.is_array());
        inputs.insert(name.to_owned(), scalar.unwrap_or_else(|| value.into()));
    }
    Ok(Value::Object(inputs))
}

/// What `run-now` takes.
#[derive(Debug, Args)]
pub(super) struct RunNowArgs {
    /// The job's name
    job: String,
    #[command(flatten)]
    narrow: Narrow,
}

pub(super) async fn run_now(context: &Context, args: &RunNowArgs) -> Result<Exit> {
    let (options, inputs) = (args.narrow.options_json()?, args.narrow.inputs_json()?);
    let operator = context.global.operator().await?;
    context.output.sentence(&operator.run_now(&args.job, &options, &inputs).await?)?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_scalars_and_text() {
        let inputs = ["tenant=42", "name=Ann=a", "id=\"42\"", "list=[1]"].map(str::to_owned).to_vec();
        let narrow = Narrow { inputs, ..Narrow::default() };
        let expected = serde_json::json!({"tenant": 42, "name": "Ann=a", "id": "42", "list": "[1]"});
        assert_eq!(narrow.inputs_json().ok(), Some(expected));
        let narrow = Narrow { inputs: vec!["tenant".to_owned()], ..Narrow::default() };
        assert!(narrow.inputs_json().is_err_and(|error| error.kind() == ErrorKind::Invalid));
    }
}
