//! A notice as a POST to a webhook, signed as Standard Webhooks has it.
//!
//! The URL and the secret are the local file's own, so they need no entry in the lists that rule what jobs may call;
//! private addresses, plain HTTP and redirects are refused all the same. What is easy to get wrong: a URL may hold a token,
//! and an answer may send anything back. Neither goes into an error, which tells a status and no more.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::{
    error::{Error, ErrorKind, Result},
    outside::{
        Contents, Endpoint, HttpRules, Webhook,
        http::{
            Answer, Auth, Body, Call, Class, Client, HostPattern, Method, Statuses, Target,
            auth::{OneOrTwo, SecretName},
        },
        secrets::Known,
    },
    protocol::notice::Message,
};

/// The most that a call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Posts one message.
pub(super) async fn send(
    contents: &Contents,
    name: &str,
    webhook: &Webhook,
    message: &Message,
) -> Result<()> {
    let client = Client::new(Arc::new(rules(contents, name, webhook)?))?;
    let names = webhook.secrets.iter().map(|secret| SecretName(secret.clone())).collect();
    let call = Call {
        target: Target::Endpoint { name: name.to_owned(), path: String::new() },
        method: Method::Post,
        query: Vec::new(),
        headers: BTreeMap::new(),
        body: Some(Body { text: body(message).to_string(), content_type: "application/json" }),
        auth: Auth::Hmac(OneOrTwo(names)),
        ok: Statuses::default(),
        timeout: CALL_TIMEOUT,
        idempotency_key: message.key.to_string(),
        token: None,
    };
    judge(&client.send(&call).await?)
}

/// What the client needs to know for this one webhook.
fn rules(contents: &Contents, name: &str, webhook: &Webhook) -> Result<Contents> {
    let mut own = Contents {
        http: HttpRules { roots: contents.http.roots.clone(), ..HttpRules::default() },
        ..Contents::default()
    };
    let Webhook { url, private_addresses, plain_http, .. } = webhook;
    let endpoint =
        Endpoint { url: url.clone(), private_addresses: *private_addresses, plain_http: *plain_http };
    own.endpoints.insert(name.to_owned(), endpoint);
    for secret in &webhook.secrets {
        let known = Known {
            secret: contents.secrets.get(secret)?.clone(),
            hosts: HostPattern::parse("*").into_iter().collect(),
        };
        own.secrets.add(secret, known);
    }
    Ok(own)
}

fn judge(answer: &Answer) -> Result<()> {
    let what = match (answer.class, answer.status) {
        (Class::Ok, _) => return Ok(()),
        (_, Some(status)) => format!("it answered {status}"),
        (Class::Timeout, None) => format!("no whole answer within {} s", CALL_TIMEOUT.as_secs()),
        (Class::Connect, None) => {
            "no connection: nobody there, no such name, or no trusted certificate".to_owned()
        }
        (_, None) => "the connection broke".to_owned(),
    };
    Err(Error::new(ErrorKind::Outside, what))
}

/// What is posted.
fn body(message: &Message) -> Value {
    let mut data = message.payload.as_object().cloned().unwrap_or_default();
    let columns = [
        ("job", message.job.clone().map(Value::from)),
        ("app", message.app.clone().map(Value::from)),
        ("run_id", message.run_id.map(|run| run.to_string().into())),
        ("held_back", Some(message.held_back.into())),
    ];
    data.extend(columns.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    json!({ "type": message.event, "timestamp": message.at.to_string(), "version": message.payload_version, "data": data })
}
