//! `sexton watch`: what runs, live.
//!
//! A terminal gets bars, a pipe a line for each change, `--json` an array a look.

use std::{collections::BTreeMap, io::IsTerminal, time::Duration};

use clap::Args;
use uuid::Uuid;

use super::{
    Context, Exit,
    board::{self, Board},
    format,
    output::{self, Reader},
};
use crate::{
    error::Result,
    protocol::operate::{Operator, RunningRow},
};

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What `watch` takes.
#[derive(Debug, Args)]
pub(super) struct WatchArgs {
    /// This job alone
    job: Option<String>,
    /// Look once, and exit
    #[arg(long)]
    once: bool,
}

pub(super) async fn watch(context: &Context, args: &WatchArgs) -> Result<Exit> {
    let operator = context.global.operator().await?;
    if let Some(job) = &args.job {
        // An unknown name is told at once, and not watched for ever.
        operator.why(job).await?;
    }
    let mut view = View::new(context, args);
    loop {
        let running = operator.running(args.job.as_deref()).await?;
        let reader = view.show(&operator, &running).await?;
        if args.once || reader == Reader::Gone {
            return Ok(Exit::Done);
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Done),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Where what runs is shown.
enum View {
    Bars { board: Board, job: Option<String> },
    Lines { seen: BTreeMap<Uuid, String>, once: bool },
    Json,
}

impl View {
    fn new(context: &Context, args: &WatchArgs) -> Self {
        if context.output.is_json() {
            View::Json
        } else if std::io::stderr().is_terminal() && std::io::stdout().is_terminal() && !args.once {
            View::Bars { board: Board::new(), job: args.job.clone() }
        } else {
            View::Lines { seen: BTreeMap::new(), once: args.once }
        }
    }

    async fn show(&mut self, operator: &Operator, running: &[RunningRow]) -> Result<Reader> {
        match self {
            View::Json => output::write_out(&serde_json::json!(running).to_string()),
            View::Bars { board, job } => {
                if running.is_empty() {
                    board.show_idle(idle(operator, job.as_deref()).await?);
                } else {
                    board.show(running);
                }
                Ok(Reader::There)
            }
            View::Lines { seen, once } => {
                let mut lines = changes(seen, running);
                if running.is_empty() && *once {
                    lines.push(idle(operator, None).await?);
                }
                if lines.is_empty() { Ok(Reader::There) } else { output::write_out(&lines.join("\n")) }
            }
        }
    }
}

/// A line for each run that is new or went on, and for each that is over.
fn changes(seen: &mut BTreeMap<Uuid, String>, running: &[RunningRow]) -> Vec<String> {
    let over: Vec<Uuid> =
        seen.keys().filter(|id| running.iter().all(|run| run.run_id != **id)).copied().collect();
    let mut lines: Vec<String> =
        over.iter().filter_map(|id| seen.remove(id)).map(|run| format!("{run} is over")).collect();
    for run in running {
        let mark = format!("{}: run {}", run.job, run.run_id);
        seen.insert(run.run_id, mark);
        lines.push(board::line(run));
    }
    lines
}

/// What comes next, where nothing runs.
async fn idle(operator: &Operator, job: Option<&str>) -> Result<String> {
    if let Some(job) = job {
        return Ok(format!("{job} does not run. {}", operator.why(job).await?));
    }
    let jobs = operator.jobs().await?;
    let coming = jobs.iter().filter(|job| !matches!(job.state.as_str(), "paused" | "invalid"));
    let next = coming.filter_map(|job| job.next_due_at.map(|at| (at, job))).min_by_key(|(at, _)| *at);
    Ok(match next {
        Some((at, job)) if at <= job.now => format!("Nothing runs. {} is due.", job.name),
        Some((at, job)) => format!("Nothing runs. Next: {}, {}.", job.name, format::relative(at, job.now)),
        None => "Nothing runs, and nothing is due by itself.".to_owned(),
    })
}
