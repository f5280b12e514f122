//! `sexton doctor`: everything that Sexton stands on, a line each, with what helps where it does not hold.
//!
//! It changes nothing. What is easy to get wrong: rights and row-level security are those of whoever asks. Ask as the
//! role that the replicas use.

mod channels;
mod databases;
mod installation;
mod server;
mod targets;

use std::path::PathBuf;

use clap::Args;
use comfy_table::{Cell, Color};
use serde::Serialize;

use super::{Context, Exit, file, output};
use crate::{
    error::{Error, ErrorKind, Result},
    protocol::connect::Connector,
};

/// What `doctor` takes.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// What the replicas know locally: the other databases in it are looked at too
    #[arg(long, value_name = "FILE", env = "SEXTON_CONFIG")]
    config: Option<PathBuf>,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    message: String,
    remedy: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Finding { check, verdict: Verdict::Ok, message: message.into(), remedy: None }
    }

    fn warn(check: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding { check, verdict: Verdict::Warn, message: message.into(), remedy: Some(remedy.into()) }
    }

    fn fail(check: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding { check, verdict: Verdict::Fail, message: message.into(), remedy: Some(remedy.into()) }
    }

    /// A check that an error ended: it says what helps.
    fn failed(check: &'static str, error: &Error) -> Self {
        let remedy = error.remedy().map(str::to_owned);
        Finding { check, verdict: Verdict::Fail, message: error.to_string(), remedy }
    }
}

pub(super) async fn doctor(context: &Context, args: &DoctorArgs) -> Result<Exit> {
    if let Some(exit) = file::read_local(context, args.config.as_deref()) {
        return Ok(exit);
    }
    let connector = context.global.connector()?;
    let (mut findings, mut exit) = examine(&connector).await;
    let elsewhere = databases::check(&context.outside).await;
    if exit == Exit::Done && elsewhere.iter().any(|finding| finding.verdict == Verdict::Fail) {
        exit = Exit::Failed;
    }
    findings.extend(elsewhere);
    context.output.answer(&findings, |findings| described(findings))?;
    Ok(exit)
}

/// All checks, in the order in which they stand on one another.
async fn examine(connector: &Connector) -> (Vec<Finding>, Exit) {
    let session = match connector.open("sexton/doctor", &[]).await {
        Ok(session) => session,
        Err(error) => return (vec![Finding::failed("database", &error)], error.kind().into()),
    };
    let mut findings = server::check(&session.client, connector).await;
    let schema = installation::schema(&session.client).await;
    let complete = schema.verdict == Verdict::Ok;
    findings.push(schema);
    if complete {
        findings.extend(installation::check(&session.client).await);
        findings.extend(channels::check(&session.client).await);
        findings.extend(targets::check(&session.client).await);
    }
    let failed = findings.iter().any(|finding| finding.verdict == Verdict::Fail);
    (findings, if failed { Exit::Failed } else { Exit::Done })
}

/// The findings of checks, or the error that ended them as one more.
fn or_failed(check: &'static str, found: Result<Vec<Finding>>) -> Vec<Finding> {
    found.unwrap_or_else(|error| vec![Finding::failed(check, &error)])
}

/// The one row of a check.
async fn row(client: &tokio_postgres::Client, sql: &str) -> Result<tokio_postgres::Row> {
    let rows = client.query_typed(sql, &[]).await?;
    rows.into_iter().next().ok_or_else(|| {
        Error::new(ErrorKind::Schema, "the schema sexton is incomplete").with_remedy("run `sexton migrate`")
    })
}

fn described(findings: &[Finding]) -> String {
    let mut table = output::table(&["", "CHECK", "FOUND"]);
    for finding in findings {
        let verdict = match finding.verdict {
            Verdict::Ok => Cell::new("ok").fg(Color::Green),
            Verdict::Warn => Cell::new("warn").fg(Color::Yellow),
            Verdict::Fail => Cell::new("FAIL").fg(Color::Red),
        };
        let remedy = finding.remedy.as_ref().map(|remedy| format!("\n→ {remedy}")).unwrap_or_default();
        table.add_row(vec![
            verdict,
            Cell::new(finding.check),
            Cell::new(format!("{}{remedy}", finding.message)),
        ]);
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (warned, failed) = (count(Verdict::Warn), count(Verdict::Fail));
    let summary = match (failed, warned) {
        (0, 0) => "All is well.".to_owned(),
        (0, warned) => format!("It works; {warned} warning(s)."),
        (failed, warned) => format!("{failed} failure(s), {warned} warning(s)."),
    };
    format!("{}\n{summary}", output::lines(&table))
}
