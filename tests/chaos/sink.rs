//! The other side of the kind `http`: a server that fails in every way a server can, and the third history.
//!
//! It notes each call before it does anything with it, and whether another one for the same job was still under way. What
//! is easy to get wrong: a caller that was killed is gone before anybody told this server. So a call is beside another one
//! only if that is still open a second later, by the socket itself and not by what our own tasks have come to.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::{history::Call, world::Result};

/// How long a call waits for the one before it to be gone.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// The server; it ends when dropped.
pub struct Sink {
    pub port: u16,
    known: Arc<Known>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Known {
    calls: Mutex<Vec<Call>>,
    open: Mutex<HashMap<usize, Open>>,
    /// Answers at once, and well.
    kind: AtomicBool,
}

/// A call that is not answered yet.
struct Open {
    job: i64,
    token: String,
    socket: std::net::TcpStream,
}

impl Open {
    /// Whether the caller is gone, as the kernel knows it.
    fn is_over(&self) -> bool {
        match self.socket.peek(&mut [0]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sink {
    /// Starts it; the seed says how it answers.
    pub async fn start(seed: u64) -> Result<Sink> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let known = Arc::new(Known::default());
        let shared = Arc::clone(&known);
        let task = tokio::spawn(async move {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut all = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                // A caller that goes away is no matter of ours.
                let (known, lot) = (Arc::clone(&shared), rng.u64(..));
                all.spawn(async move { drop(known.serve(stream, lot).await) });
                while all.try_join_next().is_some() {}
            }
        });
        Ok(Sink { port, known, task })
    }

    /// From now on it answers at once, and well.
    pub fn relent(&self) {
        self.known.kind.store(true, Ordering::Relaxed);
    }

    /// The calls so far, in the order in which they came.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.known.calls).clone()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Request {
    path: String,
    headers: HashMap<String, String>,
}

async fn read(stream: &mut TcpStream) -> Result<Request> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await? == 0 || bytes.len() > 1 << 20 {
            return Err("no request".into());
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let mut lines = text.lines();
    let path = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    let named = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers: HashMap<String, String> = lines.filter_map(named).collect();
    let length: usize = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    while bytes.len() < head + 4 + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err("half a request".into());
        }
    }
    Ok(Request { path, headers })
}

impl Known {
    async fn serve(&self, mut stream: TcpStream, lot: u64) -> Result<()> {
        let request = read(&mut stream).await?;
        let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
        let (key, token) = (header("idempotency-key"), header("sexton-token"));
        let job = key.split('/').nth(2).and_then(|job| job.parse().ok());
        let Some(job) = job.filter(|_| request.path.starts_with("/call")) else {
            // Webhooks and buckets: whoever quotes what it was sent is what secrets must survive.
            let said = format!("{:?}", request.headers);
            return Ok(stream.write_all(answer(500, &said).as_bytes()).await?);
        };
        // As the one that answers owns the stream, another handle watches it.
        let watched = std::os::fd::AsFd::as_fd(&stream).try_clone_to_owned()?.into();
        let number = {
            let mut calls = lock(&self.calls);
            calls.push(Call {
                kind: "http",
                job,
                key,
                token: token.clone(),
                at: Timestamp::now().as_microsecond(),
                acknowledged: false,
                beside: None,
            });
            lock(&self.open).insert(calls.len() - 1, Open { job, token, socket: watched });
            calls.len() - 1
        };
        let beside = self.still_open(job, number).await;
        lock(&self.calls)[number].beside = beside;
        let first = !lock(&self.calls)[..number].iter().any(|call| call.job == job);
        let good = if first && request.path.contains("first-hangs") {
            let _ = stream.read(&mut [0; 64]).await;
            Ok(Ok(false))
        } else {
            tokio::time::timeout(Duration::from_secs(30), self.respond(&mut stream, lot)).await
        };
        lock(&self.calls)[number].acknowledged = matches!(good, Ok(Ok(true)));
        lock(&self.open).remove(&number);
        Ok(())
    }

    /// The token of an earlier call for this job that does not end within a second.
    async fn still_open(&self, job: i64, number: usize) -> Option<String> {
        let began = tokio::time::Instant::now();
        loop {
            let earlier = |(other, open): (&usize, &Open)| {
                (*other < number && open.job == job && !open.is_over()).then(|| open.token.clone())
            };
            let beside = lock(&self.open).iter().find_map(earlier);
            if beside.is_none() || began.elapsed() >= PATIENCE {
                return beside;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Answers by lot; whether it was a success, and all of it was sent.
    async fn respond(&self, stream: &mut TcpStream, lot: u64) -> Result<bool> {
        let wait = |most: u64| tokio::time::sleep(Duration::from_millis(lot / 100 % most));
        let good = answer(200, "done");
        match if self.kind.load(Ordering::Relaxed) { 0 } else { lot % 100 } {
            0..55 => wait(150).await,
            55..67 => wait(2500).await,
            67..75 => {
                stream.write_all(answer(500, "not now").as_bytes()).await?;
                return Ok(false);
            }
            75..80 => {
                let busy = "HTTP/1.1 429 Too Many\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(busy.as_bytes()).await?;
                return Ok(false);
            }
            // Received, perhaps done, and then a reset.
            80..86 => {
                wait(50).await;
                return Ok(stream.set_zero_linger().map(|()| false)?);
            }
            // Until the caller goes away.
            86..92 => return Ok(stream.read(&mut [0; 64]).await.map(|_| false)?),
            // Half of it.
            92..96 => {
                stream.write_all(&good.as_bytes()[..good.len() - 2]).await?;
                return Ok(false);
            }
            _ => {
                for byte in good.as_bytes() {
                    stream.write_all(&[*byte]).await?;
                    tokio::time::sleep(Duration::from_millis(15)).await;
                }
                return Ok(true);
            }
        }
        stream.write_all(good.as_bytes()).await?;
        Ok(true)
    }
}

fn answer(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// A call by hand, for clients that keep no rules; whether it was answered well.
pub async fn call(port: u16, path: &str, key: &str, token: &str) -> Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!(
        "POST /{path} HTTP/1.1\r\nhost: sink\r\nidempotency-key: {key}\r\nsexton-token: {token}\r\n\
         content-length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut said = String::new();
    stream.read_to_string(&mut said).await?;
    Ok(said.starts_with("HTTP/1.1 200"))
}
