//! What this machine can do: programs that are installed, rights that we have. What it cannot is skipped out loud.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// libfaketime, where Debian and Fedora have it.
pub fn libfaketime() -> Option<PathBuf> {
    [
        "/usr/lib/x86_64-linux-gnu/faketime",
        "/usr/lib/aarch64-linux-gnu/faketime",
        "/usr/lib64/faketime",
        "/usr/lib/faketime",
    ]
    .iter()
    .map(|folder| Path::new(folder).join("libfaketimeMT.so.1"))
    .find(|path| path.exists())
}

/// Variables that give a process another clock; the monotonic one stays true.
pub fn wrong_clock(choice: u64) -> Option<Vec<(&'static str, String)>> {
    let wrong = ["+1h", "-1h", "+1d", "-1d", "+0 x2"][usize::try_from(choice % 5).unwrap_or(0)];
    Some(fake_clock(&libfaketime()?, wrong))
}

/// The same for a clock of one's choice.
pub fn fake_clock(library: &Path, clock: &str) -> Vec<(&'static str, String)> {
    vec![
        ("LD_PRELOAD", library.to_string_lossy().into_owned()),
        ("FAKETIME", clock.to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("FAKETIME_DONT_RESET", "1".to_owned()),
    ]
}

/// Where a program is.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// Whether we are root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Runs a program; an error with what it said.
pub fn run(program: &str, arguments: &[&str]) -> crate::world::Result<()> {
    let output = Command::new(program).args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}", arguments.join(" "), said.trim()).into())
}

/// One line about the machine, for the report.
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores, {} GB, Linux {}", kilobytes.unwrap_or(0) / 1_048_576, kernel.trim())
}
