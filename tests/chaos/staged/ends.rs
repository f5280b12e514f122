//! How the suite itself ends: interrupted in the middle of this and that, killed, or failed, it leaves nothing behind.
//!
//! It is started as a process, in a folder for temporary files that is its own, with a mark in its environment. What is
//! easy to get wrong: a server overwrites its environment with what `ps` shows, so its processes are known by the folder
//! that they work in.

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};

use super::lacking;
use crate::world::Result;

/// How it is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// As ^C in a terminal does: all of its process group hear it.
    Interrupt,
    /// The suite alone, without a word.
    Kill,
    /// Its server is killed, and so an entry fails.
    Failure,
}

/// What is played, and what must be there before the end comes.
struct Case {
    only: &'static str,
    end: End,
    reached: fn(&Inner) -> bool,
}

const CASES: &[Case] = &[
    Case { only: "fence-off", end: End::Interrupt, reached: |inner| inner.has("sexton-") },
    Case { only: "round", end: End::Interrupt, reached: |inner| inner.count(" replica") >= 5 },
    Case { only: "F10", end: End::Interrupt, reached: |inner| inner.count("pg_basebackup") > 0 },
    Case {
        only: "schedules",
        end: End::Interrupt,
        reached: |inner| inner.computed() > Duration::from_secs(1),
    },
    Case {
        only: "F23",
        end: End::Interrupt,
        reached: |inner| inner.count("pgbouncer") > 0 || inner.said("SKIPPED"),
    },
    Case { only: "F13", end: End::Interrupt, reached: |inner| inner.spaces() > 0 || inner.said("SKIPPED") },
    Case { only: "F19", end: End::Interrupt, reached: |inner| inner.mounts() > 0 || inner.said("SKIPPED") },
    Case { only: "round", end: End::Kill, reached: |inner| inner.count(" replica") >= 5 },
    Case { only: "F28", end: End::Failure, reached: |inner| inner.count("sexton migrate") >= 5 },
];

/// Plays all cases side by side.
pub async fn nothing_left() -> Result<String> {
    if !Path::new("/proc/self/environ").exists() {
        return lacking("there is no /proc to find what is left");
    }
    let plays = CASES.iter().enumerate().map(|(number, case)| async move {
        let told = |error| format!("{:?} of {} (case {number}): {error}", case.end, case.only);
        play(case, number).await.map_err(told)
    });
    for played in futures_util::future::join_all(plays).await {
        played?;
    }
    Ok(format!("{} ends: no process, no folder, no mount, no network is left", CASES.len()))
}

async fn play(case: &Case, number: usize) -> Result<()> {
    let mut inner = Inner::start(case.only, number)?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while !(case.reached)(&inner) {
        if Instant::now() > deadline || inner.child.try_wait()?.is_some() {
            return Err(format!("it does not come so far: {}", inner.log()).into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    match case.end {
        End::Interrupt => drop(killpg(inner.pid(), Signal::SIGINT)),
        End::Kill => drop(kill(inner.pid(), Signal::SIGKILL)),
        End::Failure => drop(kill(inner.postmaster()?, Signal::SIGKILL)),
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        match inner.child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() > deadline => return Err("it does not end".into()),
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    if status.success() && !inner.said("SKIPPED") {
        return Err(format!("it ended as if all was well: {}", inner.log()).into());
    }
    // Who is told by a pipe that its owner is gone needs a moment.
    let patience = if case.end == End::Kill { Duration::from_secs(15) } else { Duration::from_secs(1) };
    let deadline = Instant::now() + patience;
    while let Some(left) = inner.left(case.end) {
        if Instant::now() > deadline {
            return Err(format!("it leaves {left}").into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// A suite within the suite; it ends when dropped.
struct Inner {
    child: Child,
    folder: tempfile::TempDir,
    mark: String,
    log: tempfile::NamedTempFile,
}

impl Inner {
    fn start(only: &str, number: usize) -> Result<Inner> {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::Builder::new().prefix("sxe").tempdir()?;
        // The server's account puts its folder there.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777))?;
        let mark = format!("{}-{number}", std::process::id());
        let log = tempfile::NamedTempFile::new()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--only", only, "--cases", "1000000000"]).process_group(0);
        command.env("TMPDIR", folder.path()).env("CHAOS_MARK", &mark);
        let out = log.reopen()?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        Ok(Inner { child: command.spawn()?, folder, mark, log })
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    fn said(&self, words: &str) -> bool {
        self.log().contains(words)
    }

    /// Whether something of this name lies in its folder.
    fn has(&self, prefix: &str) -> bool {
        self.entries()
            .iter()
            .any(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
    }

    fn entries(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.path()).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }

    /// The command lines of all processes that are its own, itself among them.
    fn processes(&self) -> Vec<(i32, String)> {
        let mark = format!("CHAOS_MARK={}\0", self.mark);
        let folder = self.folder.path().to_string_lossy().into_owned();
        let of = |path: &Path, file: &str| std::fs::read(path.join(file)).unwrap_or_default();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let path = entry.path();
            let line = String::from_utf8_lossy(&of(&path, "cmdline")).replace('\0', " ");
            let works_in = std::fs::read_link(path.join("cwd")).unwrap_or_default();
            let marked = String::from_utf8_lossy(&of(&path, "environ")).contains(&mark);
            // What has ended and is not yet waited for has no command line.
            if !line.is_empty() && (marked || line.contains(&folder) || works_in.starts_with(&folder)) {
                found.push((pid, line));
            }
        }
        found
    }

    fn count(&self, words: &str) -> usize {
        self.processes().iter().filter(|(_, line)| line.contains(words)).count()
    }

    /// How long it has computed, its children apart.
    fn computed(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        // The 14th value of all is in ticks, of which there are a hundred a second wherever Linux runs.
        let ticks = after_name.split_whitespace().nth(11).and_then(|text| text.parse().ok()).unwrap_or(0);
        Duration::from_millis(ticks * 10)
    }

    /// Its server: the one that was told its folder.
    fn postmaster(&self) -> Result<Pid> {
        let processes = self.processes();
        let found =
            processes.iter().find(|(_, line)| line.contains("postgres -D") || line.contains("postgres\" -D"));
        found
            .map(|(pid, _)| Pid::from_raw(*pid))
            .ok_or_else(|| format!("no server among {processes:?}").into())
    }

    fn mounts(&self) -> usize {
        let folder = self.folder.path().to_string_lossy().into_owned();
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        mounts.lines().filter(|line| line.contains(&folder)).count()
    }

    /// Network namespaces and links with its number.
    fn spaces(&self) -> usize {
        let name = format!("sx{}", self.child.id() % 10_000);
        let named = |folder: &str| {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&name)).count()
        };
        named("/run/netns") + named("/sys/class/net")
    }

    /// What it has left behind, in words.
    fn left(&self, end: End) -> Option<String> {
        let processes = self.processes();
        if !processes.is_empty() {
            return Some(format!("processes: {processes:?}"));
        }
        if self.mounts() + self.spaces() > 0 {
            return Some(format!("{} mounts, {} networks", self.mounts(), self.spaces()));
        }
        // Who is killed removes nothing; but the folder of the server, with its socket, goes all the same.
        let stays = |path: &&PathBuf| end != End::Kill || path.to_string_lossy().contains("sexton-");
        let files: Vec<_> = self.entries().iter().filter(stays).cloned().collect();
        (!files.is_empty()).then(|| format!("files: {files:?}"))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = killpg(self.pid(), Signal::SIGINT);
            let deadline = Instant::now() + Duration::from_secs(20);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
