//! `sexton child-exec`: sets its own process up as a command wants it, and becomes the command.
//!
//! Hidden, since nobody types it: what a child must do between fork and exec needs `unsafe` in the parent and none here.
//! It takes limits, then another user, then asks the kernel to be killed when its parent dies. What is easy to get wrong:
//! that wish is void after a change of user, so it comes last; and a parent that died just before is nobody's to notice,
//! so the parent is compared once more.

use std::{
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use super::Start;

/// The word that asks for it, in place of a verb.
pub const NAME: &str = "child-exec";

/// The exit code if the command could not be started.
const FAILED: u8 = 127;

/// The arguments that tell the child how to set itself up; the command's own follow.
pub(super) fn arguments(start: &Start) -> Vec<OsString> {
    let mut arguments = vec![NAME.to_owned(), "--parent".to_owned(), std::process::id().to_string()];
    let limits = [
        ("--cpu-seconds", start.limits.cpu_time.map(|time| time.as_secs().max(1))),
        ("--memory-mib", start.limits.memory_mib),
        ("--open-files", start.limits.open_files),
    ];
    for (name, limit) in limits {
        if let Some(limit) = limit {
            arguments.extend([name.to_owned(), limit.to_string()]);
        }
    }
    if let Some(user) = &start.user {
        arguments.extend(["--user".to_owned(), user.clone()]);
    }
    arguments.push("--".to_owned());
    arguments.into_iter().map(OsString::from).collect()
}

/// Becomes the command, if the program was called with [`NAME`] (and these are the arguments after it); returns only if that fails.
/// To be called before anything else, while the process has one thread.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let error = match arguments.iter().position(|argument| argument == "--") {
        Some(at) => prepare(&arguments[..at]).err().unwrap_or_else(|| become_it(&arguments[at + 1..])),
        None => "it is for Sexton's own use: it starts the commands of jobs".to_owned(),
    };
    eprintln!("sexton {NAME}: {error}");
    ExitCode::from(FAILED)
}

fn become_it(argv: &[OsString]) -> String {
    let Some((program, arguments)) = argv.split_first() else { return "no program is named".to_owned() };
    let error = Command::new(program).args(arguments).exec();
    format!("{} cannot be started: {error}", program.display())
}

fn prepare(options: &[OsString]) -> Result<(), String> {
    let value = |name: &str| {
        let at = options.iter().position(|option| option == name)?;
        options.get(at + 1).map(OsString::as_os_str)
    };
    let number = |name: &str| -> Result<Option<u64>, String> {
        let text = value(name).map(OsStr::to_string_lossy);
        let read = |text: std::borrow::Cow<'_, str>| {
            text.parse().map_err(|_| format!("{name}: {text} is no number"))
        };
        text.map(read).transpose()
    };
    limit(number("--cpu-seconds")?, number("--memory-mib")?, number("--open-files")?)?;
    if let Some(user) = value("--user") {
        become_user(&user.to_string_lossy())?;
    }
    die_with_parent(number("--parent")?)
}

fn limit(cpu_seconds: Option<u64>, memory_mib: Option<u64>, open_files: Option<u64>) -> Result<(), String> {
    use nix::sys::resource::{Resource, setrlimit};
    let limits = [
        (Resource::RLIMIT_CPU, cpu_seconds, "cpu_time"),
        (Resource::RLIMIT_AS, memory_mib.map(|mib| mib.saturating_mul(1024 * 1024)), "memory_mib"),
        (Resource::RLIMIT_NOFILE, open_files, "open_files"),
    ];
    for (resource, limit, name) in limits {
        let Some(limit) = limit else { continue };
        setrlimit(resource, limit, limit)
            .map_err(|error| format!("{name} cannot be set to {limit}: {error}"))?;
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn become_user(name: &str) -> Result<(), String> {
    use nix::unistd::{User, initgroups, setgid, setuid};
    let failed = |error: nix::Error| format!("it cannot become user {name}: {error}");
    let user = User::from_name(name).map_err(failed)?.ok_or_else(|| format!("there is no user {name}"))?;
    let text = std::ffi::CString::new(name).map_err(|error| format!("user {name}: {error}"))?;
    initgroups(&text, user.gid).map_err(failed)?;
    setgid(user.gid).map_err(failed)?;
    setuid(user.uid).map_err(failed)
}

#[cfg(not(target_os = "linux"))]
fn become_user(name: &str) -> Result<(), String> {
    Err(format!("it cannot become user {name}: only Linux has what that needs"))
}

#[cfg(target_os = "linux")]
fn die_with_parent(parent: Option<u64>) -> Result<(), String> {
    use nix::{
        sys::{prctl::set_pdeathsig, signal::Signal},
        unistd::getppid,
    };
    set_pdeathsig(Signal::SIGKILL).map_err(|error| format!("it cannot be bound to its parent: {error}"))?;
    match parent {
        Some(parent) if u64::try_from(getppid().as_raw()) != Ok(parent) => {
            Err("its parent is gone".to_owned())
        }
        _ => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_: Option<u64>) -> Result<(), String> {
    Ok(())
}
