//! Starting the server of a private cluster and waiting until it answers.
//!
//! Ready means that a session was opened, not that a file says so. What is easy to get wrong: two things that
//! stop a start pass by themselves (a free port taken meanwhile by someone else, the remains of a server that
//! died a moment ago), and everything else must be reported at once, with what the server said.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
    time::{Duration, Instant},
};

use super::{
    Cluster,
    account::outside,
    builder::Listen,
    postmaster::{Postmaster, last_lines, log_length, log_since},
};
use crate::error::{Error, ErrorKind, Result};

/// The most that a start may take, recovery after a crash included.
const READY_MAX: Duration = Duration::from_secs(120);

/// How long to try again when what is in the way should pass by itself, and how often.
const PASSING_MAX: Duration = Duration::from_secs(5);
const PASSING_POLL: Duration = Duration::from_millis(100);

const POLL: Duration = Duration::from_millis(10);

/// The port that names the socket where there is no TCP; any would do in a folder of our own.
pub(super) const SOCKET_PORT: u16 = 5432;

/// Which port a start takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// A free one.
    Chosen,
    /// The one of the former start, since clients know it.
    Kept,
}

/// Why a start that failed may be tried again.
enum Passing {
    /// Someone else took the port after we had found it free.
    PortTaken,
    /// Another server has the data folder, perhaps one that is just ending.
    Remains,
}

impl Cluster {
    /// Starts the server and waits until it answers; tries again where that helps.
    pub(super) async fn launch(&mut self, port: Port) -> Result<()> {
        let began = Instant::now();
        loop {
            if port == Port::Chosen && self.listen == Listen::SocketAndTcp {
                self.port = free_port()?;
            }
            let mark = log_length(&self.home.log());
            let error = match self.attempt(began + READY_MAX).await {
                Ok(postmaster) => {
                    self.postmaster = Some(postmaster);
                    return Ok(());
                }
                Err(error) => error,
            };
            let said = log_since(&self.home.log(), mark);
            match passing(&said) {
                Some(_) if began.elapsed() < PASSING_MAX => tokio::time::sleep(PASSING_POLL).await,
                Some(Passing::Remains) => return Err(self.in_use()),
                _ => return Err(with_log(error, &said)),
            }
        }
    }

    /// Starts the server once.
    async fn attempt(&self, deadline: Instant) -> Result<Postmaster> {
        self.home.configure(&self.all_settings(), &self.account)?;
        let (program, data, log) = (self.binaries.program("postgres"), self.home.data(), self.home.log());
        let postmaster = Postmaster::launch(&self.account, &program, &data, &log, self.lifetime.stop())?;
        self.until_ready(postmaster, deadline).await
    }

    /// Opens sessions until one succeeds; gives up when the server has ended or the time is over.
    async fn until_ready(&self, mut postmaster: Postmaster, deadline: Instant) -> Result<Postmaster> {
        loop {
            let error = match self.session("postgres").await {
                Ok(_) => return Ok(postmaster),
                Err(error) => error,
            };
            if let Some(status) = postmaster.ended() {
                return Err(Error::new(ErrorKind::Outside, format!("the server ended by {status}")));
            }
            if Instant::now() >= deadline {
                let message = format!("the server was not ready within {READY_MAX:?}");
                return Err(Error::new(ErrorKind::Outside, message).caused_by(error));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The settings asked for, and those that say where the server listens.
    fn all_settings(&self) -> Vec<(String, String)> {
        let addresses = match self.listen {
            Listen::Socket => "",
            Listen::SocketAndTcp => "127.0.0.1",
        };
        let mut settings = self.settings.clone();
        for (name, value) in [
            ("listen_addresses", addresses),
            ("port", &self.port.to_string()),
            ("unix_socket_directories", &self.folder.path().to_string_lossy()),
        ] {
            settings.push((name.to_owned(), value.to_owned()));
        }
        settings
    }

    /// Another process has the data folder open; says how to reach its server.
    fn in_use(&self) -> Error {
        let file = std::fs::read_to_string(self.home.data().join("postmaster.pid")).unwrap_or_default();
        let lines: Vec<&str> = file.lines().collect();
        let error = match lines.as_slice() {
            [pid, _, _, port, socket, ..] if !socket.is_empty() => {
                Error::new(ErrorKind::Refused, format!("another process has it open (server process {pid})"))
                    .with_remedy(format!(
                        "connect to its server: \"host={socket} port={port} user=postgres dbname=postgres\""
                    ))
            }
            _ => Error::new(ErrorKind::Refused, "another server has not let go of it yet")
                .with_remedy("try again in a moment"),
        };
        error.about(format!("private cluster in {}", self.home.data().display()))
    }
}

/// Puts a link to the data folder where the watchdog looks for it.
pub(super) fn link_data(folder: &Path, data: &Path) -> Result<()> {
    let link = folder.join("data");
    std::os::unix::fs::symlink(data, &link).map_err(|e| outside("cannot create the link", &link, e))
}

/// The error for a cluster that was stopped.
pub(super) fn not_running() -> Error {
    Error::new(ErrorKind::Outside, "the server is stopped").about("private cluster")
}

fn with_log(error: Error, said: &str) -> Error {
    let said = match last_lines(said, 15) {
        lines if lines.is_empty() => "its log is empty".to_owned(),
        lines => format!("its log ends with:\n{lines}"),
    };
    Error::new(ErrorKind::Outside, format!("{error}; {said}")).about("private cluster")
}

/// Recognizes, in what the server said, what passes by itself. Its messages are English, since we set its locale.
fn passing(said: &str) -> Option<Passing> {
    if said.contains("could not create any TCP/IP sockets") {
        Some(Passing::PortTaken)
    } else if said.contains("is still in use")
        || said.contains(r#"lock file "postmaster.pid" already exists"#)
    {
        Some(Passing::Remains)
    } else {
        None
    }
}

/// A port that is free now. Someone may take it before the server does; then we try another.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr()).map_err(|error| {
        Error::new(ErrorKind::Outside, "no free port on 127.0.0.1").about("private cluster").caused_by(error)
    })?;
    Ok(address.port())
}
