//! `sexton notices`: what people were told, and what did not reach them.
//!
//! What is easy to get wrong: `test` sends from this machine, by this machine's local file. That a replica elsewhere can
//! send is told by its notices, which this lists.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use comfy_table::{Cell, Color};

use super::{Context, Exit, file, format, jobs::shortened, output};
use crate::{
    edge::notice::Channels,
    error::{Error, Result},
    protocol::{
        notice::{Channel, Message},
        operate::NoticeRow,
    },
    runner::deliver::Deliver,
};

/// What `notices` takes.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct NoticesArgs {
    /// About this job alone
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// Only those that did not arrive, or not at the first attempt
    #[arg(long)]
    failed: bool,
    /// How many at the most
    #[arg(short = 'n', long, default_value_t = 20, value_name = "COUNT")]
    limit: u32,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Send a test to a channel, from here
    Test(TestArgs),
    /// Switch a channel on that failed ten times in a row
    On {
        /// `mail:ADDRESS`, `mail:NAME` or `webhook:NAME`
        channel: String,
    },
    /// List the channels: how each does, and what waits for it
    Channels,
}

#[derive(Debug, Args)]
struct TestArgs {
    /// `mail:ADDRESS`, `mail:NAME` or `webhook:NAME`
    channel: String,
    /// What this machine knows locally: the mail server, webhooks
    #[arg(long, value_name = "FILE", env = "SEXTON_CONFIG")]
    config: Option<PathBuf>,
}

pub(super) async fn notices(context: &Context, args: &NoticesArgs) -> Result<Exit> {
    match &args.verb {
        None => list(context, args).await,
        Some(Verb::Test(args)) => test(context, args).await,
        Some(Verb::On { channel }) => {
            let answer = context.global.operator().await?.channel_on(channel).await?;
            context.output.sentence(&answer)?;
            Ok(Exit::Done)
        }
        Some(Verb::Channels) => channels(context).await,
    }
}

async fn list(context: &Context, args: &NoticesArgs) -> Result<Exit> {
    let operator = context.global.operator().await?;
    let notices = operator.notices(args.job.as_deref(), args.failed, args.limit).await?;
    context.output.answer(&notices, |notices| described(notices))?;
    Ok(Exit::Done)
}

fn described(notices: &[NoticeRow]) -> String {
    if notices.is_empty() {
        return "There are none. docs/notices.md says who may hear of what.".to_owned();
    }
    let mut table = output::table(&["AT", "EVENT", "JOB", "CHANNEL", "STATE", "ATTEMPT", "NOTE"]);
    for notice in notices {
        let state = match notice.state.as_str() {
            "sent" => Cell::new("sent").fg(Color::Green),
            "failed" | "off" => Cell::new(&notice.state).fg(Color::Red),
            "retrying" => Cell::new("retrying").fg(Color::Yellow),
            state => Cell::new(state),
        };
        table.add_row(vec![
            Cell::new(format::utc(notice.at)),
            Cell::new(&notice.event),
            Cell::new(notice.job.as_deref().unwrap_or_default()),
            Cell::new(notice.channel.as_deref().unwrap_or_default()),
            state,
            output::number_cell(notice.attempt.map(|attempt| attempt.to_string()).unwrap_or_default()),
            Cell::new(shortened(&note(notice), 80)),
        ]);
    }
    output::lines(&table)
}

fn note(notice: &NoticeRow) -> String {
    match (&notice.error, notice.held_back, notice.due_at) {
        (Some(error), ..) => error.clone(),
        (None, _, Some(due)) => format!("due {}", format::utc(due)),
        (None, Some(held), None) if held > 0 => format!("and {held} held back before it"),
        _ => String::new(),
    }
}

async fn channels(context: &Context) -> Result<Exit> {
    let channels = context.global.operator().await?.channels().await?;
    context.output.answer(&channels, |channels| {
        let mut table = output::table(&["CHANNEL", "STATE", "WAITING", "LAST SENT", "ERROR"]);
        for channel in channels {
            table.add_row(vec![
                Cell::new(&channel.channel),
                Cell::new(&channel.state),
                output::number_cell(channel.waiting.to_string()),
                Cell::new(channel.sent_at.map(format::utc).unwrap_or_default()),
                Cell::new(shortened(channel.error.as_deref().unwrap_or_default(), 80)),
            ]);
        }
        if channels.is_empty() {
            "Nobody hears of anything yet. docs/notices.md says how.".to_owned()
        } else {
            output::lines(&table)
        }
    })?;
    Ok(Exit::Done)
}

async fn test(context: &Context, args: &TestArgs) -> Result<Exit> {
    if Channel::parse(&args.channel).is_none() {
        return Err(Error::invalid(format!("\"{}\" is no channel", args.channel))
            .with_remedy("Write mail:ADDRESS, mail:NAME or webhook:NAME."));
    }
    if let Some(exit) = file::read_local(context, args.config.as_deref()) {
        return Ok(exit);
    }
    let sender = Channels::new(&context.outside);
    sender.deliver(&Message::test(&args.channel)).await.map_err(|error| error.about(args.channel.clone()))?;
    context.output.sentence(&format!("{} took it.", args.channel))?;
    Ok(Exit::Done)
}
