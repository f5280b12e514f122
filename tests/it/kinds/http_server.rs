//! A real HTTP server in this process: it answers by the path, and remembers what came.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Response, StatusCode},
};
use futures_util::{StreamExt, stream};
use hawk::{DigestAlgorithm, Header, Key, PayloadHasher, RequestBuilder};
use standardwebhooks::Webhook;

use crate::storage_node;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Came {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Came {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}")).to_str().unwrap()
    }
}

/// What the server knows and remembers.
#[derive(Debug, Default)]
pub struct Known {
    came: Mutex<Vec<Came>>,
    /// `/flaky` answers that many times with 503.
    pub failures: AtomicUsize,
    /// The path `/hang` was asked for, and the caller went away.
    pub hanging: AtomicBool,
    pub abandoned: AtomicBool,
    /// Lets `/gate` answer.
    pub open: AtomicBool,
    port: AtomicUsize,
}

/// The server; it ends with the test's runtime.
pub struct Server {
    pub address: SocketAddr,
    pub known: Arc<Known>,
}

/// The key of `/hawk`, and one of the two that `/hmac` takes.
pub const HAWK_KEY: &str = "werxhqb98rpaxn39848xrunpaw3489ruxnpa98w4rxn";
pub const HMAC_KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub const MASTER: &str = "Ted Koppel is a robot";

impl Server {
    pub async fn start() -> Server {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let known = Arc::new(Known::default());
        known.port.store(address.port().into(), Ordering::Relaxed);
        let app = Router::new().fallback(answer).with_state(Arc::clone(&known));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Server { address, known }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn came(&self) -> Vec<Came> {
        self.known.came.lock().unwrap().clone()
    }
}

async fn answer(State(known): State<Arc<Known>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let came = Came {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    known.came.lock().unwrap().push(came.clone());
    let plain = |status: u16, text: &str| {
        Response::builder()
            .status(status)
            .header("x-answer", "yes")
            .body(Body::from(text.to_owned()))
            .unwrap()
    };
    match came.path.as_str() {
        "/redirect" => Response::builder().status(302).header("location", "/ok").body(Body::empty()).unwrap(),
        "/not-there" => plain(404, "nothing here"),
        "/busy" => Response::builder().status(503).header("retry-after", "17").body("later".into()).unwrap(),
        "/flaky" => {
            let failed =
                known.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            plain(if failed.is_ok() { 503 } else { 200 }, "flaky")
        }
        "/silent" => std::future::pending().await,
        "/hang" => {
            let _gone = Gone(Arc::clone(&known));
            known.hanging.store(true, Ordering::Relaxed);
            std::future::pending().await
        }
        "/gate" => {
            known.hanging.store(true, Ordering::Relaxed);
            while !known.open.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            plain(200, "through")
        }
        "/slow-body" => {
            let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"the beginning"))]);
            plain(200, "").map(|_| Body::from_stream(first.chain(stream::pending())))
        }
        "/large" => plain(200, &"é".repeat(200_000)),
        "/broken" => {
            let pieces = [Ok(Bytes::from_static(b"a")), Err(std::io::Error::other("broken"))];
            plain(200, "").map(|_| Body::from_stream(stream::iter(pieces)))
        }
        "/zero" => plain(200, "a\0b"),
        // Whatever came, in headers and body alike, as debugging pages do.
        "/echo" => {
            let all = format!(
                "{:?}",
                came.headers.iter().map(|(n, v)| (n, v.to_str().unwrap())).collect::<Vec<_>>()
            );
            Response::builder().header("x-echo", &all).body(Body::from(all)).unwrap()
        }
        "/hmac" => {
            let verified = Webhook::new(HMAC_KEY).unwrap().verify(came.body.as_bytes(), &came.headers);
            verified.map_or_else(|error| plain(401, &error.to_string()), |()| plain(200, "verified"))
        }
        "/hawk" => verdict(&came, &known, |id| (id == "sexton").then(|| HAWK_KEY.to_owned())),
        "/storage" => verdict(&came, &known, key_of_token),
        _ => plain(200, "fine"),
    }
}

/// Remembers that the caller went away before it was answered.
struct Gone(Arc<Known>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.abandoned.store(true, Ordering::Relaxed);
    }
}

/// What a server does that expects Hawk: the MAC by the key of the id, the body by its hash, a minute of skew.
fn verdict(came: &Came, known: &Known, key: impl Fn(&str) -> Option<String>) -> Response<Body> {
    let refuse = |text: &str| {
        let status = StatusCode::UNAUTHORIZED;
        Response::builder().status(status).body(Body::from(text.to_owned())).unwrap()
    };
    let Some(header) = came.header("authorization").strip_prefix("Hawk ") else { return refuse("no Hawk") };
    let header: Header = header.parse().unwrap();
    let Some(key) = header.id.as_deref().and_then(&key) else { return refuse("no such id") };
    let hash = (!came.body.is_empty()).then(|| {
        let bare = came.header("content-type").split(';').next().unwrap();
        PayloadHasher::hash(bare, DigestAlgorithm::Sha256, &came.body).unwrap()
    });
    let path = match came.query.as_str() {
        "" => came.path.clone(),
        query => format!("{}?{query}", came.path),
    };
    let port = u16::try_from(known.port.load(Ordering::Relaxed)).unwrap();
    let request = RequestBuilder::new(&came.method, "127.0.0.1", port, &path).hash(hash.as_deref()).request();
    let key = Key::new(key, DigestAlgorithm::Sha256).unwrap();
    match request.validate_header(&header, &key, Duration::from_secs(60)) {
        true => Response::new(Body::from("verified")),
        false => refuse("wrong MAC or hash"),
    }
}

/// The key of a token that is good and of user 42.
fn key_of_token(token: &str) -> Option<String> {
    let (claims, key) = storage_node::opened(token, MASTER)?;
    let good = claims["expires"].as_i64()? > jiff::Timestamp::now().as_second() && claims["uid"] == 42;
    good.then_some(key)
}
