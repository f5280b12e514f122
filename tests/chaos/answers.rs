//! What servers may say to the kind `http`: each answer is bent, sent by a real server, and read by the real client.
//!
//! Nothing may panic, hang beyond the call's timeout, or be kept in a form that the database refuses (NUL).

use std::{sync::Arc, time::Duration};

use sexton::outside::{
    Contents, Endpoint,
    http::{Auth, Call, Client, Method, Statuses, Target},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{
    bad_input::mutate,
    fleet::Fleet,
    staged,
    world::{Result, Server},
};

const ANSWERS: &[&str] = &[
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    "HTTP/1.1 503 Busy\r\nretry-after: 17\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 429 X\r\nretry-after: Sun, 06 Nov 1994 08:49:37 GMT\r\nconnection: close\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 204 No Content\r\nset-cookie: a=b; Path=/\r\nx-y: \u{e9}\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-type: text/html; charset=latin-1\r\n\r\n<p>",
];

/// That many answers, one connection each.
pub async fn feed(cases: u32, seed: u64) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let server = tokio::spawn(async move {
        let mut rng = fastrand::Rng::with_seed(seed);
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = mutate(&mut rng, ANSWERS);
            // Whatever becomes of the connection, the next one comes.
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let mut contents = Contents::default();
    let url = format!("http://127.0.0.1:{port}");
    contents.endpoints.insert("bent".into(), Endpoint { url, private_addresses: true, plain_http: true });
    let client = Client::new(Arc::new(contents))?;
    let call = Call {
        target: Target::Endpoint { name: "bent".into(), path: String::new() },
        method: Method::Post,
        query: Vec::new(),
        headers: Default::default(),
        body: None,
        auth: Auth::default(),
        ok: Statuses::default(),
        timeout: Duration::from_secs(5),
        idempotency_key: "key".into(),
        token: None,
    };
    let mut good = 0_u32;
    for number in 0..cases {
        let sent = tokio::time::timeout(Duration::from_secs(20), client.send(&call)).await;
        let answer = sent.map_err(|_| format!("answer {number} hangs"))??;
        good += u32::from(call.ok.contains(answer.status.unwrap_or(0)));
        let texts = answer.headers.iter().map(|(_, value)| value).chain([&answer.body]).chain(&answer.error);
        if texts.into_iter().any(|text| text.contains('\0')) {
            return Err(format!("answer {number} is kept with a NUL: {answer:?}").into());
        }
    }
    server.abort();
    Ok(format!("{cases} answers, {good} good ones, 0 panics"))
}

/// Notifications with anything in them, while a replica listens; afterwards it works as before.
pub async fn notifications(server: &Server, cases: u32, seed: u64) -> Result<String> {
    let world = server.world().await?;
    let mut fleet = Fleet::start(&world, 1, None, 2).await?;
    fleet.ready(&world).await?;
    let session = world.session().await?;
    let notify = session.prepare("SELECT pg_notify('sexton', left($1, 7900))").await?;
    let mut rng = fastrand::Rng::with_seed(seed);
    let corpus = ["", "due", "{\"job\": 1, \"version\": 2}", "sexton", "-1", "null", "\u{1}"];
    for _ in 0..cases {
        let payload = mutate(&mut rng, &corpus).replace('\0', "").repeat(rng.usize(1..4));
        session.execute(&notify, &[&payload]).await?;
    }
    staged::due(&world, 1, 3).await?;
    staged::all_done(&world, Duration::from_secs(60)).await?;
    if let Some(status) = fleet.members[0].process.ended() {
        return Err(format!("the replica ended by {status}").into());
    }
    let log = std::fs::read_to_string(&fleet.members[0].process.log)?;
    if log.contains("panicked") {
        return Err("the replica's log tells of a panic".into());
    }
    fleet.drain(Duration::from_secs(40)).await?;
    Ok(format!("{cases} notifications, the replica works on"))
}
