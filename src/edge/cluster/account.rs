//! The operating system's account under which a private cluster runs.
//!
//! PostgreSQL refuses to run as root, so root lends it another account; anybody else runs it as themselves.
//! What is easy to get wrong: that other account must be able to reach the binaries and the folder, and a path
//! below a home directory usually keeps it out.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
};

use nix::unistd::{Uid, User};

use crate::error::{Error, ErrorKind, Result};

/// Whom to lend a cluster to when we are root, in this order.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// Who runs a cluster's processes and owns its files.
#[derive(Clone, Debug)]
pub(super) enum Account {
    /// We ourselves, who are not root.
    Ourselves,
    /// Another account; only root can use this.
    Lent(User),
}

impl Account {
    /// Ourselves, or, if we are root, the first of `postgres` and `nobody` that exists.
    pub(super) fn find() -> Result<Account> {
        if !Uid::effective().is_root() {
            return Ok(Account::Ourselves);
        }
        for name in UNPRIVILEGED {
            if let Some(user) = User::from_name(name).map_err(|e| unknown(name, e))? {
                return Ok(Account::Lent(user));
            }
        }
        Err(Error::new(
            ErrorKind::Outside,
            "PostgreSQL refuses to run as root, and there is no other account",
        )
        .about("private cluster")
        .with_remedy("run as an ordinary user, or create the user \"postgres\""))
    }

    /// The account that owns `path`, so that root can open again what an earlier start made.
    pub(super) fn owner_of(path: &Path) -> Result<Account> {
        if !Uid::effective().is_root() {
            return Ok(Account::Ourselves);
        }
        let uid = fs::metadata(path).map_err(|e| outside("cannot read", path, e))?.uid();
        match User::from_uid(Uid::from_raw(uid)).map_err(|e| unknown(&uid.to_string(), e))? {
            Some(user) if !user.uid.is_root() => Ok(Account::Lent(user)),
            _ => Account::find(),
        }
    }

    /// A command that will run as this account, from the root directory, with nothing on its input, untouched
    /// by the `PG…` variables that are meant for clients.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        if let Account::Lent(user) = self {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
        command
    }

    /// Makes `path` belong to this account.
    pub(super) fn own(&self, path: &Path) -> Result<()> {
        let Account::Lent(user) = self else { return Ok(()) };
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .map_err(|e| outside(&format!("cannot give to user {} the path", user.name), path, e))
    }

    /// Whether this account may create files in the folder `path`.
    pub(super) fn may_write_in(&self, path: &Path) -> bool {
        let mut shell = self.command("sh");
        shell.args(["-c", r#"[ -d "$0" ] && [ -w "$0" ] && [ -x "$0" ]"#]).arg(path);
        shell.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// The numeric user of this account.
    pub(super) fn uid(&self) -> Uid {
        match self {
            Account::Ourselves => Uid::effective(),
            Account::Lent(user) => user.uid,
        }
    }

    /// The account's name for messages.
    pub(super) fn name(&self) -> &str {
        match self {
            Account::Ourselves => "this user",
            Account::Lent(user) => &user.name,
        }
    }
}

/// An error about a path: `what` went wrong with it.
pub(super) fn outside(
    what: &str,
    path: &Path,
    cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::new(ErrorKind::Outside, format!("{what} {}", path.display()))
        .about("private cluster")
        .caused_by(cause)
}

fn unknown(name: &str, cause: nix::Error) -> Error {
    Error::new(ErrorKind::Outside, format!("cannot look up the user {name}"))
        .about("private cluster")
        .caused_by(cause)
}
