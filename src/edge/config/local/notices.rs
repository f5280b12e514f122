//! `[recipients.NAME]` and `[webhooks.NAME]` of the local file: what the channels of notices stand for.

use super::section::Section;
use crate::{
    outside::{Webhook, secrets},
    protocol::notice::is_address,
};

pub(super) fn recipients(section: &mut Section<'_>) -> Option<Vec<String>> {
    let to = section.texts("to", |text| match is_address(text) {
        true => Ok(text.to_owned()),
        false => Err("takes plain mail addresses: \"ops@example.org\"".to_owned()),
    });
    if to.is_empty() {
        section.missing("say whom it stands for: to = [\"ops@example.org\"]");
        return None;
    }
    Some(to)
}

pub(super) fn webhook(section: &mut Section<'_>) -> Option<Webhook> {
    let plain_http = section.flag("plain_http");
    if !section.has("url") {
        section.missing("say where it is: url = \"https://hooks.example.com/sexton\"");
    }
    let url = section.text_as("url", |url| {
        let rest = url.strip_prefix("https://").or(url.strip_prefix("http://").filter(|_| plain_http));
        match rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default()) {
            None => {
                Err("takes a URL that begins with https:// (or http://, with plain_http = true)".to_owned())
            }
            Some("") => Err("names no host".to_owned()),
            Some(host) if host.contains('@') => Err("must hold no credentials".to_owned()),
            Some(_) => Ok(url.to_owned()),
        }
    });
    let secrets = section.texts("secrets", |text| {
        secrets::reference(text)
            .map(str::to_owned)
            .ok_or_else(|| "takes names of secrets: \"secret:NAME\"".to_owned())
    });
    if secrets.is_empty() {
        section.missing("say what to sign with: secrets = [\"secret:NAME\"], with [secrets.NAME]");
        return None;
    }
    Some(Webhook { url: url?, secrets, private_addresses: section.flag("private_addresses"), plain_http })
}
