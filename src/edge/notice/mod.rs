//! Sends notices: to mail addresses by the mail server of the local file, to webhooks of the local file.
//!
//! What a message looks like is said here; which there are, and when they are sent, is the database's and the runner's
//! part. What is easy to get wrong: an error ends up in a table, a log and a mail to somebody else, and another machine
//! may have written it. So secrets are cut out of it, and it is one line of bounded length.

mod mail;
mod text;
mod webhook;

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};

use crate::{
    error::{Error, ErrorKind, Result},
    outside::{Contents, Outside},
    protocol::notice::{ANY_ADDRESS, Channel, Message},
    runner::deliver::Deliver,
};

/// The longest error, in characters.
const ERROR_MAX: usize = 500;

/// The channels of a local file.
#[derive(Clone, Debug)]
pub struct Channels {
    outside: Outside,
}

impl Channels {
    /// Sends to what `outside` knows at each moment.
    pub fn new(outside: &Outside) -> Self {
        Channels { outside: outside.clone() }
    }

    async fn send(&self, message: &Message) -> Result<()> {
        let contents = self.outside.contents();
        let sent = match Channel::parse(&message.channel) {
            Some(Channel::Address(address)) => mail::send(&contents, message, &[address]).await,
            Some(Channel::Recipients(name)) => match contents.recipients.get(&name) {
                Some(to) => mail::send(&contents, message, to).await,
                None => Err(unknown(&message.channel, &format!("[recipients.{name}]"))),
            },
            Some(Channel::Webhook(name)) => match contents.webhooks.get(&name) {
                Some(webhook) => webhook::send(&contents, &name, webhook, message).await,
                None => Err(unknown(&message.channel, &format!("[webhooks.{name}]"))),
            },
            None => Err(Error::invalid(format!("{} is no channel", message.channel))),
        };
        sent.map_err(|error| fit_to_store(&error, &contents))
    }
}

impl Deliver for Channels {
    fn channels(&self) -> Vec<String> {
        let contents: Arc<Contents> = self.outside.contents();
        let mut channels = Vec::new();
        if contents.mail.is_some() {
            channels.push(ANY_ADDRESS.to_owned());
            channels.extend(contents.recipients.keys().map(|name| format!("mail:{name}")));
        }
        channels.extend(contents.webhooks.keys().map(|name| format!("webhook:{name}")));
        channels
    }

    fn deliver<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<()>> {
        self.send(message).boxed()
    }
}

fn unknown(channel: &str, section: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("this replica does not know {channel}"))
        .with_remedy(format!("add {section} to its local file"))
}

/// An error without secrets and control characters, of bounded length.
fn fit_to_store(error: &Error, contents: &Contents) -> Error {
    let mut text = error.to_string();
    for name in contents.secrets.names() {
        if let Ok(secret) = contents.secrets.get(name) {
            text = text.replace(secret.expose(), "…");
        }
    }
    for webhook in contents.webhooks.values() {
        text = text.replace(&webhook.url, "…");
    }
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(ERROR_MAX).collect();
    let told = Error::new(error.kind(), text);
    match error.remedy() {
        Some(remedy) => told.with_remedy(remedy),
        None => told,
    }
}
