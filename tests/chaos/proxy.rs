//! The network between one replica and the server, in our hands.
//!
//! It forwards bytes and, told so, stalls one way or both, delays, resets, cuts an answer in half or swallows it. What is
//! easy to get wrong: an answer is only worth swallowing if it is that of a COMMIT or of a batch with its fence, so the
//! messages of the protocol are told apart ([`Wire`]).

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

use crate::{wire::Wire, world::Result};

/// How the line is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    Open,
    /// Nothing passes either way; connections stay.
    Dead,
    /// What the replica sends does not arrive.
    DeafServer,
    /// What the server sends does not arrive.
    DeafReplica,
    /// Each piece takes that much longer.
    Slow(Duration),
}

/// What happens to the next answer to a batch or COMMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// It is lost, and the connection reset.
    Swallow,
    /// Half of it arrives.
    Truncate,
}

struct State {
    line: watch::Receiver<Line>,
    resets: watch::Receiver<u32>,
    silences: watch::Receiver<u32>,
    swallow: AtomicU32,
    truncate: AtomicU32,
    hold_commit: AtomicBool,
    held: AtomicBool,
    server: AtomicU16,
}

/// One line, from one port to the server.
pub struct Proxy {
    pub port: u16,
    line: watch::Sender<Line>,
    resets: watch::Sender<u32>,
    silences: watch::Sender<u32>,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of `host` and forwards to the server's port on 127.0.0.1.
    pub async fn start(host: &str, server: u16) -> Result<Proxy> {
        let listener = TcpListener::bind((host, 0)).await?;
        let port = listener.local_addr()?.port();
        let (line, line_seen) = watch::channel(Line::Open);
        let (resets, resets_seen) = watch::channel(0);
        let (silences, silences_seen) = watch::channel(0);
        let state = Arc::new(State {
            line: line_seen,
            resets: resets_seen,
            silences: silences_seen,
            swallow: AtomicU32::new(0),
            truncate: AtomicU32::new(0),
            hold_commit: AtomicBool::new(false),
            held: AtomicBool::new(false),
            server: AtomicU16::new(server),
        });
        let task = tokio::spawn(accept(listener, state.clone()));
        Ok(Proxy { port, line, resets, silences, state, task })
    }

    pub fn set(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// The connections that there are pass nothing any more, and stay; new ones are as good as ever.
    pub fn silence(&self) {
        self.silences.send_modify(|count| *count += 1);
    }

    /// Resets all connections.
    pub fn reset(&self) {
        self.resets.send_modify(|count| *count += 1);
    }

    /// New connections go to another server on this machine.
    pub fn lead_to(&self, server: u16) {
        self.state.server.store(server, Ordering::Relaxed);
    }

    /// Lays a trap for the next answer.
    pub fn lay(&self, trap: Trap) {
        let trap = match trap {
            Trap::Swallow => &self.state.swallow,
            Trap::Truncate => &self.state.truncate,
        };
        trap.store(1, Ordering::Relaxed);
    }

    /// From now on a COMMIT is held back for ever, what precedes it is not.
    pub fn hold_commit(&self) {
        self.state.hold_commit.store(true, Ordering::Relaxed);
    }

    /// Whether a COMMIT is being held back.
    pub fn holds_commit(&self) -> bool {
        self.state.held.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.reset();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((replica, _)) = listener.accept().await {
        tokio::spawn(connect(replica, state.clone()));
    }
}

/// One connection, until either side or the suite ends it.
async fn connect(mut replica: TcpStream, state: Arc<State>) {
    let mut line = state.line.clone();
    // A dead line takes no new connection either: the system accepts it, and nothing answers.
    if line.wait_for(|line| *line != Line::Dead).await.is_err() {
        return;
    }
    let server = state.server.load(Ordering::Relaxed);
    let Ok(mut upstream) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    // Delays are ours to make.
    let _ = (replica.set_nodelay(true), upstream.set_nodelay(true));
    let wire = Mutex::new(Wire::new());
    let mut resets = state.resets.clone();
    resets.mark_unchanged();
    let mut silences = state.silences.clone();
    silences.mark_unchanged();
    let rude = {
        let (from_replica, to_replica) = replica.split();
        let (from_server, to_server) = upstream.split();
        tokio::select! {
            () = sent(from_replica, to_server, &state, &wire) => false,
            rude = answered(from_server, to_replica, &state, &wire) => rude,
            _ = resets.changed() => true,
            Ok(()) = silences.changed() => resets.changed().await.is_ok(),
        }
    };
    if rude {
        let _ = (replica.set_zero_linger(), upstream.set_zero_linger());
    }
}

/// Replica to server.
async fn sent(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, state: &State, wire: &Mutex<Wire>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        pass(state, Line::DeafServer).await;
        let commit = look(wire).sent(&buffer[..count]);
        if let Some(commit) = commit.filter(|_| state.hold_commit.load(Ordering::Relaxed)) {
            let _ = to.write_all(&buffer[..commit]).await;
            state.held.store(true, Ordering::Relaxed);
            std::future::pending::<()>().await;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Server to replica; whether the connection is to end rudely.
async fn answered(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, state: &State, wire: &Mutex<Wire>) -> bool {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        pass(state, Line::DeafReplica).await;
        let answer = look(wire).answered(&buffer[..count]);
        if let Some(at) = answer {
            if state.swallow.swap(0, Ordering::Relaxed) > 0 {
                let _ = to.write_all(&buffer[..at]).await;
                return true;
            }
            if state.truncate.swap(0, Ordering::Relaxed) > 0 {
                let _ = to.write_all(&buffer[..(at + 3).min(count)]).await;
                return true;
            }
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return false;
        }
    }
    false
}

fn look(wire: &Mutex<Wire>) -> std::sync::MutexGuard<'_, Wire> {
    wire.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits while the line is dead, or dead this way.
async fn pass(state: &State, this_way: Line) {
    let mut line = state.line.clone();
    let now = line.wait_for(|line| *line != Line::Dead && *line != this_way).await.map(|line| *line);
    if let Ok(Line::Slow(delay)) = now {
        tokio::time::sleep(delay).await;
    }
}
