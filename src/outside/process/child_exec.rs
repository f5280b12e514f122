//! `sexton child-exec`: sets its own process up as a command wants it, and becomes the command.
//!
//! Hidden, since nobody types it: what a child must do between fork and exec needs `unsafe` in the parent and none here.
//! On Linux it is two processes. The first leads the group, hears from the kernel when the replica dies, and then kills the
//! group; the second takes limits, then another user, asks to be killed when the first dies, and becomes the command. What
//! is easy to get wrong: that wish is void after a change of user, so it comes last; and a parent that died just before is
//! nobody's to notice, so the parent is compared once more.

use std::{
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use crate::outside::commands::Limits;

/// The word that asks for it, in place of a verb.
pub const NAME: &str = "child-exec";

/// Whose child it is.
const PARENT: &str = "--parent";
/// Tells the second process from the first.
const BECOME: &str = "--become";

/// The exit code if the command could not be started.
const FAILED: u8 = 127;

/// The arguments that tell the child how to set itself up; the command's own follow.
pub(super) fn arguments(limits: &Limits, user: Option<&str>) -> Vec<OsString> {
    let mut arguments = vec![NAME.to_owned(), PARENT.to_owned(), std::process::id().to_string()];
    let limits = [
        ("--cpu-seconds", limits.cpu_time.map(|time| time.as_secs().max(1))),
        ("--memory-mib", limits.memory_mib),
        ("--open-files", limits.open_files),
    ];
    for (name, limit) in limits {
        if let Some(limit) = limit {
            arguments.extend([name.to_owned(), limit.to_string()]);
        }
    }
    if let Some(user) = user {
        arguments.extend(["--user".to_owned(), user.to_owned()]);
    }
    arguments.push("--".to_owned());
    arguments.into_iter().map(OsString::from).collect()
}

/// Becomes the command, if the program was called with [`NAME`] (and these are the arguments after it); returns only if that fails.
/// To be called before anything else, while the process has one thread.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let error = match arguments.iter().position(|argument| argument == "--") {
        Some(at) if !cfg!(target_os = "linux") || arguments[..at].iter().any(|option| option == BECOME) => {
            prepare(&arguments[..at]).err().unwrap_or_else(|| become_it(&arguments[at + 1..]))
        }
        Some(at) => match lead(&arguments[..at], &arguments[at..]) {
            Ok(code) => return code,
            Err(error) => error,
        },
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
    die_with_parent(number(PARENT)?)
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

/// Leads the group: waits for the command's end, which it makes its own, or for that of the replica.
#[cfg(target_os = "linux")]
fn lead(options: &[OsString], rest: &[OsString]) -> Result<ExitCode, String> {
    use nix::{
        sys::signal::{SigSet, Signal, killpg},
        unistd::getpgrp,
    };
    // One that nobody sends to a group.
    const PARENT_DIED: Signal = Signal::SIGPWR;
    const FOR_THE_COMMAND: [Signal; 6] =
        [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: nix::Error| format!("{what}: {error}")
    };
    let mut signals = SigSet::empty();
    // What is sent to the group is for the command, which ends in its own way and time.
    for signal in FOR_THE_COMMAND.into_iter().chain([PARENT_DIED, Signal::SIGCHLD]) {
        signals.add(signal);
    }
    signals.thread_block().map_err(failed("it cannot block signals"))?;
    let parent = options.iter().position(|option| option == PARENT).and_then(|at| options.get(at + 1));
    die_with(PARENT_DIED, parent.and_then(|parent| parent.to_str()?.parse().ok()))?;
    let own_id = std::process::id().to_string();
    let mut command = Command::new("/proc/self/exe")
        .args([NAME, BECOME, PARENT, own_id.as_str()])
        .args(options)
        .args(rest)
        .spawn()
        .map_err(|error| format!("it cannot start itself again: {error}"))?;
    loop {
        match signals.wait().map_err(failed("it cannot wait"))? {
            PARENT_DIED => killpg(getpgrp(), Signal::SIGKILL).map_err(failed("it cannot end its group"))?,
            _ => {
                if let Some(status) =
                    command.try_wait().map_err(|error| format!("it cannot wait: {error}"))?
                {
                    return Ok(end_like(status));
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn lead(_: &[OsString], _: &[OsString]) -> Result<ExitCode, String> {
    Err("it is not needed here".to_owned())
}

/// Ends this process as the command did.
#[cfg(target_os = "linux")]
fn end_like(status: std::process::ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;

    use nix::sys::{
        resource::{Resource, setrlimit},
        signal::{SigSet, Signal, raise},
    };
    if let Some(signal) = status.signal() {
        // One dump of memory is enough.
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
        let _ = SigSet::all().thread_unblock();
        // The runtime's own handler of some signals steps back at the first one.
        for _ in 0..2 {
            let _ = Signal::try_from(signal).map(raise);
        }
        return ExitCode::from(u8::try_from(128 + signal).unwrap_or(FAILED));
    }
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED))
}

/// The second process dies with the first, whatever ends that.
#[cfg(target_os = "linux")]
fn die_with_parent(parent: Option<u64>) -> Result<(), String> {
    use nix::sys::signal::{SigSet, Signal};
    // The first one blocks signals, and that is inherited.
    SigSet::all().thread_unblock().map_err(|error| format!("it cannot unblock signals: {error}"))?;
    die_with(Signal::SIGKILL, parent)
}

/// Has the kernel send this signal when the parent dies, and looks whether it has.
#[cfg(target_os = "linux")]
fn die_with(signal: nix::sys::signal::Signal, parent: Option<u64>) -> Result<(), String> {
    use nix::{sys::prctl::set_pdeathsig, unistd::getppid};
    set_pdeathsig(signal).map_err(|error| format!("it cannot be bound to its parent: {error}"))?;
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
