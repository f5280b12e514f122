//! The channels that notices go to: a line for each that is off, fails, or that nobody sends to; one if all is well.

use tokio_postgres::Client;

use super::{Finding, or_failed};
use crate::{error::Result, protocol::operate::ChannelRow, statements};

pub(super) async fn check(client: &Client) -> Vec<Finding> {
    or_failed("channels", channels(client).await)
}

async fn channels(client: &Client) -> Result<Vec<Finding>> {
    let rows = client.query_typed(statements::CHANNELS, &[]).await?;
    let channels: Vec<ChannelRow> = rows.iter().map(ChannelRow::from).collect();
    let troubles: Vec<Finding> = channels.iter().filter_map(trouble).collect();
    Ok(match (troubles.is_empty(), channels.len()) {
        (true, 0) => vec![Finding::ok("channels", "nobody asked for notices")],
        (true, count) => vec![Finding::ok("channels", format!("{count} for notices, none off or failing"))],
        (false, _) => troubles,
    })
}

fn trouble(channel: &ChannelRow) -> Option<Finding> {
    let (name, error) = (&channel.channel, channel.error.as_deref().unwrap_or("no reason given"));
    let waiting = channel.waiting;
    match (channel.state.as_str(), channel.overdue) {
        ("off", _) => Some(Finding::fail(
            "channels",
            format!(
                "{name} is switched off after {} failures: {error}; {waiting} notice(s) wait",
                channel.failures
            ),
            format!("Mend it, try it (`sexton notices test {name}`), then: `sexton notices on {name}`."),
        )),
        ("failing", _) => Some(Finding::warn(
            "channels",
            format!("{name} failed {} time(s) in a row: {error}; {waiting} notice(s) wait", channel.failures),
            format!("`sexton notices --failed` lists them; `sexton notices test {name}` tries it from here."),
        )),
        (_, true) => Some(Finding::warn(
            "channels",
            format!("{waiting} notice(s) wait for {name}, and no replica sends there"),
            "Give the replicas a local file (`sexton run --config`) with [mail], [recipients.NAME] or [webhooks.NAME].",
        )),
        _ => None,
    }
}
