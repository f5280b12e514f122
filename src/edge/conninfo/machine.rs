//! What the connection rules may ask of the machine: a variable, a small file, whether a path is there, who we are.
//!
//! It is the only way in which this folder touches the outside, so that tests need neither a global
//! environment nor a home directory. It does not cache: a password file that was rotated is to be seen.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Answers questions about the machine that the program runs on. [`Os`] is the real one.
pub trait Machine: Send + Sync {
    /// The environment variable `name`, if it is set and is text.
    fn variable(&self, name: &str) -> Option<String>;

    /// Reads a small file, with who may read it.
    ///
    /// # Errors
    /// As the operating system says, and if the path is not a plain file (a pipe would make us wait).
    fn read(&self, path: &Path) -> io::Result<Contents>;

    /// Whether something is at `path`.
    fn exists(&self, path: &Path) -> bool;

    /// The user that the program runs as.
    fn user(&self) -> Option<OsUser>;
}

/// A file that was read.
#[derive(Clone)]
pub struct Contents {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its permission bits, as in `0o600`.
    pub mode: u32,
    /// The id of the user that it belongs to.
    pub owner: u32,
}

/// A user of the operating system.
#[derive(Clone, Debug)]
pub struct OsUser {
    /// The name to log in with.
    pub name: String,
    /// The home directory.
    pub home: PathBuf,
}

/// The machine that the program runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Os;

impl Machine for Os {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn read(&self, path: &Path) -> io::Result<Contents> {
        let about = std::fs::metadata(path)?;
        if !about.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a plain file"));
        }
        Ok(Contents { bytes: std::fs::read(path)?, mode: about.mode() & 0o7777, owner: about.uid() })
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn user(&self) -> Option<OsUser> {
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten()?;
        Some(OsUser { name: user.name, home: user.dir })
    }
}

/// The home directory: `HOME` if set, else as the operating system has it.
pub(super) fn home(machine: &dyn Machine) -> Option<PathBuf> {
    match machine.variable("HOME").filter(|home| !home.is_empty()) {
        Some(home) => Some(home.into()),
        None => machine.user().map(|user| user.home),
    }
}

/// A machine of the test's own.
#[cfg(test)]
pub(super) mod fake {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Clone, Default)]
    pub(crate) struct Fake {
        variables: BTreeMap<String, String>,
        files: BTreeMap<PathBuf, Contents>,
    }

    impl Fake {
        /// User `ann` with home `/home/ann`, no variables, no files.
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn with_variable(mut self, name: &str, value: &str) -> Self {
            self.variables.insert(name.into(), value.into());
            self
        }

        pub(crate) fn with_file(mut self, path: &str, text: &str, mode: u32) -> Self {
            self.files.insert(path.into(), Contents { bytes: text.into(), mode, owner: 1000 });
            self
        }
    }

    impl Machine for Fake {
        fn variable(&self, name: &str) -> Option<String> {
            self.variables.get(name).cloned()
        }

        fn read(&self, path: &Path) -> io::Result<Contents> {
            self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
        }

        fn exists(&self, path: &Path) -> bool {
            self.files.keys().any(|file| file.starts_with(path))
        }

        fn user(&self) -> Option<OsUser> {
            Some(OsUser { name: "ann".into(), home: "/home/ann".into() })
        }
    }
}
