//! Notices at a webhook: a real HTTP server that checks signatures as a receiver does.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};
use sexton::{
    edge::notice::Channels,
    outside::{Contents, Outside, Secret, Webhook, secrets::Known},
    protocol::notice::Message,
    runner::deliver::Deliver,
};

use crate::{
    notices_support::{notify, pass_time, put, until_quiet},
    support::{Db, Replica},
};

const CDN: &str = "webhook:cdn";
const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const OLD: &str = "whsec_b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQ=";
/// Part of the URL, as many receivers have it.
const TOKEN: &str = "canary-url-token-81";

/// What came, and what is answered next.
#[derive(Clone, Default)]
struct Inbox {
    calls: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    answers: Arc<Mutex<Vec<StatusCode>>>,
}

impl Inbox {
    /// A server with this inbox; it ends with the test's runtime.
    async fn serve(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/{*path}", post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        address
    }

    fn calls(&self) -> Vec<(HeaderMap, Bytes)> {
        self.calls.lock().unwrap().clone()
    }
}

async fn take(State(inbox): State<Inbox>, headers: HeaderMap, body: Bytes) -> Response {
    inbox.calls.lock().unwrap().push((headers, body));
    let status = inbox.answers.lock().unwrap().pop().unwrap_or(StatusCode::NO_CONTENT);
    // What a server might say to make its words, the secret among them, be stored.
    (status, [(LOCATION, "/elsewhere")], format!("{TOKEN} {NEW}")).into_response()
}

fn contents(server: SocketAddr) -> Contents {
    let mut contents = Contents::default();
    for (name, text) in [("new", NEW), ("old", OLD)] {
        contents.secrets.add(name, Known { secret: Secret::new(text), hosts: Vec::new() });
    }
    let webhook = Webhook {
        url: format!("http://{server}/hooks/{TOKEN}?b=1"),
        secrets: vec!["new".to_owned(), "old".to_owned()],
        private_addresses: true,
        plain_http: true,
    };
    contents.webhooks.insert("cdn".to_owned(), webhook);
    contents
}

fn channels(contents: Contents) -> Channels {
    Channels::new(&Outside::new(contents))
}

#[tokio::test]
async fn a_success_is_posted_signed_and_again_under_the_same_id_until_it_is_taken() {
    let (db, inbox) = (Db::new().await, Inbox::default());
    let server = inbox.serve().await;
    inbox.answers.lock().unwrap().push(StatusCode::BAD_GATEWAY);
    db.due_job("purge-cdn", "steps", json!({})).await;
    notify(&db, "purge-cdn", json!([{"on": ["succeeded"], "to": CDN}])).await;
    let replica = Replica::with(&db, |builder| builder.deliver(channels(contents(server))));
    db.until("the first attempt failed", "SELECT bool_or(error IS NOT NULL) FROM sexton.delivery", &[]).await;
    let error: String = db.get("SELECT error FROM sexton.delivery", &[]).await;
    assert_eq!(error, "it answered 502");
    pass_time(&db, "2 minutes").await;
    db.until("it is taken", "SELECT bool_and(state = 'sent') FROM sexton.delivery", &[]).await;
    replica.drain().await;

    let calls = inbox.calls();
    assert_eq!(calls.len(), 2);
    let key: String = db.get("SELECT key::text FROM sexton.delivery", &[]).await;
    for (headers, body) in &calls {
        for secret in [NEW, OLD] {
            standardwebhooks::Webhook::new(secret).unwrap().verify(body, headers).unwrap();
        }
        let another = standardwebhooks::Webhook::new("whsec_YW5vdGhlcg==").unwrap();
        assert!(another.verify(body, headers).is_err(), "whoever has no secret cannot sign");
        assert_eq!(headers["webhook-id"], key.as_str());
    }
    let said: Value = serde_json::from_slice(&calls[0].1).unwrap();
    assert_eq!((&said["type"], &said["version"]), (&json!("succeeded"), &json!(1)));
    let data = &said["data"];
    assert_eq!(
        (&data["job"], &data["outcome"], &data["report"]["steps"]),
        (&json!("purge-cdn"), &json!("succeeded"), &json!(3))
    );
    assert_eq!(data["run_id"], db.last_run::<String>("purge-cdn", "id::text").await.as_str());
    assert_eq!((&data["app"], &data["held_back"]), (&json!("default"), &json!(0)));
}

#[tokio::test]
async fn neither_its_url_nor_its_secret_nor_its_answer_comes_into_a_row() {
    let (db, inbox) = (Db::new().await, Inbox::default());
    let server = inbox.serve().await;
    *inbox.answers.lock().unwrap() = vec![StatusCode::FOUND, StatusCode::IM_A_TEAPOT];
    db.steps_job("job", json!({})).await;
    notify(&db, "job", json!([{"on": ["started"], "to": CDN}])).await;
    let sender = channels(contents(server));
    let replica = Replica::with(&db, |builder| builder.deliver(sender.clone()));
    let mut errors = Vec::new();
    for attempt in 1..=2 {
        if attempt == 1 {
            put(&db, "started", "job").await;
        } else {
            pass_time(&db, "2 minutes").await;
        }
        let tried = "SELECT attempt = $1 AND taken_by IS NULL FROM sexton.delivery";
        db.until("it was tried", tried, &[&attempt]).await;
        errors.push(db.get::<String>("SELECT error FROM sexton.delivery", &[]).await);
    }
    replica.drain().await;
    assert_eq!(errors, ["it answered 418", "it answered 302"], "and the redirect is not followed");
    assert_eq!(inbox.calls().len(), 2);

    // Nobody there, and nobody allowed.
    let mut closed = contents("127.0.0.1:1".parse().unwrap());
    errors.push(channels(closed.clone()).deliver(&Message::test(CDN)).await.unwrap_err().to_string());
    closed.webhooks.get_mut("cdn").unwrap().private_addresses = false;
    errors.push(channels(closed.clone()).deliver(&Message::test(CDN)).await.unwrap_err().to_string());
    closed.webhooks.get_mut("cdn").unwrap().plain_http = false;
    errors.push(channels(closed.clone()).deliver(&Message::test(CDN)).await.unwrap_err().to_string());
    errors.push(channels(Contents::default()).deliver(&Message::test(CDN)).await.unwrap_err().to_string());
    let rows = "SELECT concat((SELECT string_agg(d::text, '') FROM sexton.delivery d), (SELECT string_agg(c::text, '') FROM sexton.channel c))";
    let told = format!("{errors:?} {sender:?} {}", db.get::<String>(rows, &[]).await);
    for canary in [TOKEN, NEW, OLD] {
        assert!(!told.contains(canary), "{told}");
    }
    assert!(errors[2].contains("no connection") && errors[4].contains("without TLS"), "{errors:?}");
}

#[tokio::test]
async fn one_that_fails_ten_times_is_off_and_a_mail_channel_hears_of_it() {
    let (db, inbox) = (Db::new().await, Inbox::default());
    let server = inbox.serve().await;
    *inbox.answers.lock().unwrap() = vec![StatusCode::INTERNAL_SERVER_ERROR; 10];
    db.steps_job("job", json!({})).await;
    notify(
        &db,
        "job",
        json!([{"on": ["started"], "to": CDN}, {"on": ["failed"], "to": "mail:ops@example.org"}]),
    )
    .await;
    let replica = Replica::with(&db, |builder| builder.deliver(channels(contents(server))));
    put(&db, "started", "job").await;
    let failures = "SELECT EXISTS (SELECT FROM sexton.channel WHERE failures = $1)";
    for failure in 1..=10 {
        db.until("one more failure", failures, &[&failure]).await;
        if failure < 10 {
            pass_time(&db, "2 hours").await;
        }
    }
    let elsewhere = "SELECT string_agg(channel, ' ') = 'mail:ops@example.org' FROM sexton.notices WHERE event = 'channel_off'";
    db.until("another channel hears of it", elsewhere, &[]).await;
    pass_time(&db, "2 hours").await;
    assert_eq!(inbox.calls().len(), 10, "nothing more is sent to it");
    db.execute("SELECT sexton.channel_on('webhook:cdn')").await;
    db.until(
        "it arrives",
        "SELECT bool_or(channel = 'webhook:cdn' AND state = 'sent') FROM sexton.delivery",
        &[],
    )
    .await;
    replica.drain().await;
    until_quiet_but_mail(&db).await;
}

/// This replica knows no mail server.
async fn until_quiet_but_mail(db: &Db) {
    db.execute(
        "UPDATE sexton.delivery SET state = 'failed' WHERE channel LIKE 'mail:%' AND state = 'waiting'",
    )
    .await;
    until_quiet(db).await;
}
