//! `sexton oneshot`: a replica for a moment, as a CronJob wants it.
//!
//! Without names it runs what is due, and waits for what comes due within `--within`. With names it runs these now and
//! waits for them, also where another replica took one. What is easy to get wrong: when it is over. A job counts as
//! done when its occurrence is settled, or when its retry lies beyond `--within`; one that nobody starts (paused
//! meanwhile, halted, its lock held by a stranger) is given up after 5 s, with the reason.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::{Context, Exit, file, format, narrow::Narrow, output, replica::Replica, runs};
use crate::{
    error::{Error, Result},
    kind::Registered,
    protocol::{
        operate::{Operator, RequestedRow, RunRow},
        run::Outcome,
        session::{RunSession, Settings},
    },
    runner::SLOTS,
};

/// What `oneshot` takes.
#[derive(Debug, Args)]
pub(super) struct OneshotArgs {
    /// Run these, now, due or not; else whatever is due
    jobs: Vec<String>,
    /// Also wait for what comes due within this time, retries included
    #[arg(long, value_name = "TIME", value_parser = format::read_span, default_value = "0s")]
    within: Duration,
    /// How many jobs run at a time
    #[arg(long, value_name = "COUNT", default_value_t = SLOTS)]
    slots: u16,
    /// What this replica knows locally: secrets, hosts, storages, commands
    #[arg(long, value_name = "FILE", env = "SEXTON_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    narrow: Narrow,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Done {
    /// The runs that ended, in the order in which they did.
    pub(super) runs: Vec<RunRow>,
    /// Jobs that did not run to an end, and why.
    pub(super) not_run: Vec<NotRun>,
}

/// A job that was to run and did not.
#[derive(Debug, Serialize)]
pub(super) struct NotRun {
    pub(super) job: String,
    pub(super) why: String,
}

impl Done {
    /// 1 if anything failed or was left unfinished; 3 if anything was refused or held back.
    pub(super) fn exit(&self) -> Exit {
        let fine = [Outcome::Succeeded, Outcome::Refused];
        let unfinished = |outcome: &Outcome| !fine.contains(outcome);
        if self.outcomes().any(|outcome| unfinished(&outcome)) {
            Exit::Failed
        } else if self.outcomes().any(|outcome| outcome == Outcome::Refused) || !self.not_run.is_empty() {
            Exit::Refused
        } else {
            Exit::Done
        }
    }

    fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        self.runs.iter().filter_map(|run| Outcome::parse(&run.state))
    }
}

pub(super) async fn oneshot(context: &Context, args: &OneshotArgs) -> Result<Exit> {
    if args.jobs.is_empty() && !args.narrow.is_empty() {
        return Err(Error::invalid("options for a run need the job that they are for")
            .with_remedy("Name it: `sexton oneshot JOB --dry-run`."));
    }
    if let Some(exit) = file::read_local(context, args.config.as_deref()) {
        return Ok(exit);
    }
    let done = if args.jobs.is_empty() {
        what_is_due(context, args).await?
    } else {
        these(context, &args.jobs, &args.narrow, args.within, args.slots).await?
    };
    context.output.answer(&done, described)?;
    Ok(done.exit())
}

/// Runs these jobs now, and waits for each to be settled.
pub(super) async fn these(
    context: &Context,
    jobs: &[String],
    narrow: &Narrow,
    within: Duration,
    slots: u16,
) -> Result<Done> {
    let (options, inputs) = (narrow.options_json()?, narrow.inputs_json()?);
    let operator = context.global.operator().await?;
    // Where no run can be had, as behind a transaction pooler, nothing shall become due that would run later, elsewhere.
    drop(RunSession::open(&context.global.connector()?, "sexton/oneshot", &Settings::default()).await?);
    let mut waiting = Vec::new();
    for job in jobs {
        let asked = operator.request(job, &options, &inputs).await?;
        let target = asked.occurrence.filter(|_| !asked.once_more);
        waiting.push(Wanted {
            job: job.clone(),
            target,
            patience_ends: asked.now.checked_add(within).unwrap_or(asked.now),
        });
    }
    let mut replica = Replica::start(context, slots, Some(jobs))?;
    let mut done = Done::default();
    while !waiting.is_empty() && !replica.is_interrupted() {
        replica.pass_time(&operator, jobs).await?;
        let (mut left, mut going_on) = (Vec::new(), false);
        for mut wanted in waiting {
            match wanted.look(operator.requested(&wanted.job).await?) {
                Look::Settled => wanted.settle(&operator, &mut done).await?,
                Look::Held => left.push(wanted),
                Look::GoingOn => {
                    going_on = true;
                    left.push(wanted);
                }
            }
        }
        waiting = left;
        if replica.has_waited_enough(going_on) {
            break;
        }
    }
    if replica.is_interrupted() {
        // What ran is given back as it stops; it may have been an earlier occurrence, of a replica that died.
        for id in replica.stop().await? {
            let run = operator.run(id).await?;
            if waiting.iter().any(|wanted| wanted.job == run.job) {
                waiting.retain(|wanted| wanted.job != run.job);
                done.runs.push(run);
            }
        }
        for wanted in waiting {
            wanted.settle(&operator, &mut done).await?;
        }
        return Ok(done);
    }
    for wanted in waiting {
        done.not_run.push(NotRun { why: operator.why(&wanted.job).await?, job: wanted.job });
    }
    replica.stop().await?;
    Ok(done)
}

/// A job that was asked to run.
struct Wanted {
    job: String,
    /// The occurrence that was asked for; not known yet while an earlier run is on.
    target: Option<Timestamp>,
    /// A retry later than this is not waited for.
    patience_ends: Timestamp,
}

/// How a job that was asked to run stands.
#[derive(Debug, PartialEq)]
enum Look {
    /// Its occurrence is over, or goes on later than we wait.
    Settled,
    /// It runs, or its retry comes in time.
    GoingOn,
    /// It could run and does not.
    Held,
}

impl Wanted {
    fn look(&mut self, row: Option<RequestedRow>) -> Look {
        let Some(row) = row else { return Look::Settled };
        if row.once_more {
            return Look::GoingOn;
        }
        if self.target.is_none() {
            self.target = row.occurrence;
        }
        match row.due_at {
            _ if row.occurrence != self.target => Look::Settled,
            _ if row.state == "running" => Look::GoingOn,
            Some(due_at) if row.attempt > 0 && due_at > row.now => {
                if due_at > self.patience_ends {
                    Look::Settled
                } else {
                    Look::GoingOn
                }
            }
            _ => Look::Held,
        }
    }

    /// Notes the last run of the occurrence.
    async fn settle(&self, operator: &Operator, done: &mut Done) -> Result<()> {
        let runs = operator.runs(Some(&self.job), 50).await?;
        let last = runs.into_iter().filter(|run| Some(run.occurrence) == self.target);
        match last.max_by_key(|run| (run.epoch, run.version)) {
            Some(run) => done.runs.push(run),
            None => {
                let due =
                    operator.requested(&self.job).await?.is_some_and(|row| row.occurrence == self.target);
                let why = match due {
                    true => format!(
                        "It is still due: a replica takes it, or `sexton cancel {}` drops it.",
                        self.job
                    ),
                    false => "It was cancelled or deleted before it ran.".to_owned(),
                };
                done.not_run.push(NotRun { job: self.job.clone(), why });
            }
        }
        Ok(())
    }
}

/// Runs what is due, until nothing is.
async fn what_is_due(context: &Context, args: &OneshotArgs) -> Result<Done> {
    let operator = context.global.operator().await?;
    let kinds: Vec<&str> = context.registry.iter().map(Registered::name).collect();
    let mut replica = Replica::start(context, args.slots, None)?;
    let knows = context.registry.known();
    let mut since = None;
    let stuck = loop {
        replica.pass_time(&operator, &[]).await?;
        let due =
            operator.due_within(&kinds, &knows, args.within.as_secs_f64(), since, &replica.name).await?;
        since = since.or(due.first().map(|row| row.now));
        if replica.is_interrupted() || (due.is_empty() && !replica.is_busy()) {
            break Vec::new();
        }
        let going_on = due.iter().any(|row| row.state == "running" || row.due_at > Some(row.now));
        if replica.has_waited_enough(going_on) {
            break due;
        }
    };
    let mut done = Done::default();
    for row in stuck {
        done.not_run.push(NotRun { why: operator.why(&row.name).await?, job: row.name });
    }
    for id in replica.stop().await? {
        let run = operator.run(id).await?;
        // A retry that went well makes good what failed before.
        done.runs.retain(|earlier| (earlier.job_id, earlier.occurrence) != (run.job_id, run.occurrence));
        done.runs.push(run);
    }
    Ok(done)
}

fn described(done: &Done) -> String {
    let mut text = match done.runs.is_empty() {
        true if done.not_run.is_empty() => "Nothing was due.\n".to_owned(),
        true => String::new(),
        false => output::lines(&runs::table(&done.runs)),
    };
    for run in done.runs.iter().filter(|run| run.state != "succeeded") {
        text.push_str(&format!(
            "\n{} {}: {}\n",
            run.job,
            run.state,
            run.error.as_deref().unwrap_or("no reason given")
        ));
        if run.state == "released" {
            text.push_str(&format!(
                "{} goes on at its cursor with the next replica, or `sexton oneshot`.\n",
                run.job
            ));
        }
    }
    for held in &done.not_run {
        text.push_str(&format!("\n{} did not run. {}\n", held.job, held.why));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(state: &str, occurrence: &str, due_at: &str, attempt: i32) -> Option<RequestedRow> {
        let at = |text: &str| Some(text.parse::<Timestamp>().expect("an instant"));
        Some(RequestedRow {
            state: state.to_owned(),
            occurrence: at(occurrence),
            origin: Some("run_now".to_owned()),
            due_at: at(due_at),
            attempt,
            once_more: false,
            run_id: None,
            paused: false,
            now: at("2026-11-22T00:00:10Z").expect("an instant"),
        })
    }

    #[test]
    fn a_job_is_waited_for_until_its_occurrence_is_settled() {
        let (asked, next) = ("2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z");
        let limit = "2026-11-22T00:01:00Z";
        let mut wanted = Wanted {
            job: "a".to_owned(),
            target: asked.parse().ok(),
            patience_ends: limit.parse().expect("an instant"),
        };
        assert_eq!(wanted.look(row("idle", asked, asked, 0)), Look::Held);
        assert_eq!(wanted.look(row("running", asked, asked, 1)), Look::GoingOn);
        assert_eq!(
            wanted.look(row("idle", asked, "2026-11-22T00:00:40Z", 1)),
            Look::GoingOn,
            "a retry in time"
        );
        assert_eq!(
            wanted.look(row("idle", asked, "2026-11-22T00:02:00Z", 1)),
            Look::Settled,
            "a retry too late"
        );
        assert_eq!(wanted.look(row("idle", next, next, 0)), Look::Settled);
        assert_eq!(wanted.look(None), Look::Settled);
    }
}
