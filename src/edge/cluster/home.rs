//! The files of one private cluster: data folder, log, password, settings.
//!
//! It runs `initdb` and writes the settings, and starts nothing. What is easy to get wrong: an `initdb` that is
//! killed half way leaves a folder that looks like a cluster, so it works under another name until it is done.

use std::{
    fs::{self, DirBuilder},
    io::ErrorKind as Io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{
    account::{Account, outside},
    binaries::Binaries,
    postmaster::{Stop, last_lines},
};
use crate::error::{Error, ErrorKind, Result};

/// The superuser that `initdb` creates.
pub(super) const SUPERUSER: &str = "postgres";

/// How long the data of a cluster are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// They go with the server, so nothing is lost by a hard stop.
    Throwaway,
    /// They stay when the server has stopped.
    Kept,
}

impl Lifetime {
    /// How the server stops when its owner lets go of it.
    pub(super) fn stop(self) -> Stop {
        match self {
            Lifetime::Throwaway => Stop::Immediate,
            Lifetime::Kept => Stop::Fast,
        }
    }
}

/// Where the files of a cluster are. Throwaway clusters keep them in their temporary folder.
#[derive(Debug)]
pub(super) struct Home(PathBuf);

impl Home {
    pub(super) fn new(folder: &Path) -> Home {
        Home(folder.to_owned())
    }

    /// Prepares a folder that a person named: creates it if need be, refuses one that holds something else. Its
    /// parents get the usual mode, since the account has to pass through them.
    pub(super) fn prepare(folder: &Path, account: &Account) -> Result<Home> {
        create(folder).map_err(|e| outside("cannot create the folder", folder, e))?;
        let folder = fs::canonicalize(folder).map_err(|e| outside("cannot find the folder", folder, e))?;
        let home = Home(folder);
        if !home.exists() {
            home.refuse_foreign_files()?;
            account.own(&home.0)?;
        }
        if !account.may_write_in(&home.0) {
            let message = format!("{} cannot enter and write {}", account.name(), home.0.display());
            return Err(Error::new(ErrorKind::Outside, message).about("private cluster").with_remedy(
                "name a folder that this account may write, below folders that it may enter, such as /var/tmp",
            ));
        }
        Ok(home)
    }

    pub(super) fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// Whether there is a cluster.
    pub(super) fn exists(&self) -> bool {
        self.data().exists()
    }

    /// The major version that made the data folder.
    pub(super) fn major(&self) -> Result<u32> {
        let path = self.data().join("PG_VERSION");
        let text = fs::read_to_string(&path).map_err(|e| outside("cannot read", &path, e))?;
        text.trim().parse().map_err(|e| outside("no version in", &path, e))
    }

    /// The superuser's password, for TCP.
    pub(super) fn password(&self) -> Result<String> {
        let path = self.password_file();
        fs::read_to_string(&path)
            .map(|text| text.trim().to_owned())
            .map_err(|e| outside("cannot read the password in", &path, e))
    }

    /// Makes the cluster: the socket is for whoever may enter its folder, TCP wants the password.
    ///
    /// # Cancel safety
    /// Dropping the future kills `initdb`; what it leaves is not taken for a cluster.
    pub(super) async fn initialize(
        &self,
        account: &Account,
        binaries: &Binaries,
        lifetime: Lifetime,
    ) -> Result<()> {
        let new = self.0.join("data.new");
        match fs::remove_dir_all(&new) {
            Err(error) if error.kind() != Io::NotFound => return Err(outside("cannot remove", &new, error)),
            _ => {}
        }
        let password = uuid::Uuid::new_v4().simple().to_string();
        write_private(&self.password_file(), &password, account)?;
        let mut initdb = account.command(binaries.program("initdb"));
        initdb.arg("--pgdata").arg(&new).arg("--pwfile").arg(self.password_file());
        initdb.args(["--username", SUPERUSER, "--encoding=UTF8", "--locale=C"]);
        initdb.args(["--auth-local=trust", "--auth-host=scram-sha-256", "--no-instructions"]);
        if lifetime == Lifetime::Throwaway {
            initdb.arg("--no-sync");
        }
        let mut initdb = tokio::process::Command::from(initdb);
        let output = initdb.kill_on_drop(true).output().await;
        let output = output.map_err(|e| outside("cannot run", &binaries.program("initdb"), e))?;
        if !output.status.success() {
            let noise = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::new(ErrorKind::Outside, format!("initdb failed: {}", last_lines(&noise, 10)))
                .about("private cluster"));
        }
        append(&new.join("postgresql.conf"), "include = 'sexton.conf'\n")?;
        fs::rename(&new, self.data()).map_err(|e| outside("cannot rename", &new, e))
    }

    /// Writes the settings that hold from the next start on, in place of the former ones.
    pub(super) fn configure(&self, settings: &[(String, String)], account: &Account) -> Result<()> {
        let mut text = String::from("# Written anew at every start; ALTER SYSTEM has the last word.\n");
        for (name, value) in settings {
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.') {
                return Err(Error::invalid(format!("{name:?} is not the name of a setting"))
                    .about("private cluster")
                    .with_remedy("use a name as in postgresql.conf, such as wal_level"));
            }
            text += &format!("{name} = '{}'\n", value.replace('\\', r"\\").replace('\'', "''"));
        }
        write_private(&self.data().join("sexton.conf"), &text, account)
    }

    fn password_file(&self) -> PathBuf {
        self.0.join("password")
    }

    /// A folder with other things in it was named by mistake, or by a mistyped path.
    fn refuse_foreign_files(&self) -> Result<()> {
        const OURS: [&str; 3] = ["data.new", "log", "password"];
        let entries = fs::read_dir(&self.0).map_err(|e| outside("cannot read the folder", &self.0, e))?;
        let foreign = entries.flatten().find(|entry| !OURS.iter().any(|name| entry.file_name() == *name));
        match foreign {
            Some(entry) => Err(Error::new(
                ErrorKind::Refused,
                format!("{} holds something else: {}", self.0.display(), entry.file_name().display()),
            )
            .about("private cluster")
            .with_remedy("name an empty or a new folder")),
            None => Ok(()),
        }
    }
}

/// Creates a folder for one account alone; no effect if it is there.
fn create(folder: &Path) -> std::io::Result<()> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == Io::AlreadyExists && folder.is_dir() => Ok(()),
        other => other,
    }
}

/// Writes a file that only `account` may read.
fn write_private(path: &Path, text: &str, account: &Account) -> Result<()> {
    let write = || {
        fs::write(path, "")?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        fs::write(path, text)
    };
    write().map_err(|e| outside("cannot write", path, e))?;
    account.own(path)
}

fn append(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    let open = fs::File::options().append(true).open(path);
    open.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|e| outside("cannot write", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_other_files_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.tex"), "").unwrap();
        let error = Home::prepare(folder.path(), &Account::find().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().ends_with("holds something else: thesis.tex"), "{error}");
    }

    #[test]
    fn settings_are_quoted_and_their_names_checked() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        fs::create_dir(home.data()).unwrap();
        let account = Account::find().unwrap();
        home.configure(&[("a.b".into(), r"it's \ here".into())], &account).unwrap();
        let text = fs::read_to_string(home.data().join("sexton.conf")).unwrap();
        assert!(text.ends_with("a.b = 'it''s \\\\ here'\n"), "{text}");
        assert!(home.configure(&[("x = 1\ny".into(), String::new())], &account).is_err());
    }
}
