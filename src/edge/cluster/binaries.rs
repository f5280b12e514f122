//! Where PostgreSQL's server programs are: finds the folder that holds `initdb` and `postgres`.
//!
//! It never fetches anything; `scripts/postgres` does, and says so. What is easy to get wrong: on Debian the
//! `PATH` holds wrappers for the clients alone, so a look at `PATH` finds no server although one is installed.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::account::Account;
use crate::error::{Error, ErrorKind, Result};

/// The oldest major version that Sexton works with.
pub const MAJOR_MIN: u32 = 14;

/// The variable that names the folder and overrides every search.
const VARIABLE: &str = "SEXTON_PGBIN";

/// Folders with a folder for each version, and what lies between that folder and its programs.
const VERSIONED: [(&str, &str, &str); 6] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// A version of PostgreSQL, such as 15.18.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerVersion {
    /// The number that decides on the data folder's format.
    pub major: u32,
    /// The number of the bug-fix release; 0 for betas.
    pub minor: u32,
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A folder with PostgreSQL's server programs, tried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    /// The folder that holds `initdb` and `postgres`.
    pub dir: PathBuf,
    /// What `postgres --version` said.
    pub version: ServerVersion,
}

impl Binaries {
    /// The path of one of the programs.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// Finds PostgreSQL's server programs, version 14 or newer: the folder that `SEXTON_PGBIN` names, else the
/// newest of the system's own (the packages' folders, `pg_config --bindir`, `PATH`, Homebrew).
///
/// # Errors
/// [`ErrorKind::Invalid`] if `SEXTON_PGBIN` names a folder that will not do; [`ErrorKind::Outside`] if the
/// system has none. Both say what to do.
pub fn find_binaries() -> Result<Binaries> {
    find(&Account::find()?, None)
}

/// As [`find_binaries`], of the given major version if there is one given.
pub(super) fn find(account: &Account, major: Option<u32>) -> Result<Binaries> {
    match std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
        Some(dir) => named(account, Path::new(&dir), major)
            .map_err(|error| error.about(format!("variable {VARIABLE}"))),
        None => newest(account, candidates(), major),
    }
}

/// The programs in just this folder.
pub(super) fn named(account: &Account, dir: &Path, major: Option<u32>) -> Result<Binaries> {
    let binaries = inspect(account, dir)?;
    let version = binaries.version;
    match major {
        Some(major) if version.major != major => Err(Error::invalid(format!(
            "{} is PostgreSQL {version}, but the data folder was made by PostgreSQL {major}",
            dir.display()
        ))
        .with_remedy(format!("set {VARIABLE} to the programs of PostgreSQL {major}"))),
        _ if version.major < MAJOR_MIN => Err(Error::invalid(format!(
            "{} is PostgreSQL {version}; Sexton needs {MAJOR_MIN} or newer",
            dir.display()
        ))
        .with_remedy(format!("set {VARIABLE} to the bin folder of a newer one"))),
        _ => Ok(binaries),
    }
}

/// The newest of the folders that will do.
fn newest(account: &Account, folders: Vec<PathBuf>, major: Option<u32>) -> Result<Binaries> {
    let found = folders.iter().filter_map(|dir| named(account, dir, major).ok());
    // Of equal versions the first one stays, so that the order of the search decides.
    let best = found.reduce(|best, next| if next.version > best.version { next } else { best });
    best.ok_or_else(|| {
        let (which, number) = match major {
            Some(major) => (format!("PostgreSQL {major}"), major.to_string()),
            None => (format!("PostgreSQL {MAJOR_MIN} or newer"), String::new()),
        };
        Error::new(ErrorKind::Outside, format!("no server programs of {which} on this system"))
            .about("private cluster")
            .with_remedy(format!(
                "install the package postgresql{}{number}, or set {VARIABLE} to the folder that scripts/postgres \
                 prints",
                if number.is_empty() { "" } else { "-" }
            ))
    })
}

/// Asks the folder's `postgres` for its version, as the account that will run it.
fn inspect(account: &Account, dir: &Path) -> Result<Binaries> {
    for program in ["initdb", "postgres"] {
        if !dir.join(program).is_file() {
            return Err(Error::invalid(format!("there is no {program} in {}", dir.display()))
                .with_remedy("name the folder that holds initdb and postgres, often called bin"));
        }
    }
    let output = account.command(dir.join("postgres")).arg("--version").output().map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => "move them below a folder that every user may read",
            _ => "install PostgreSQL anew",
        };
        let message = format!("{} may not run the programs in {}", account.name(), dir.display());
        Error::invalid(message).with_remedy(remedy).caused_by(error)
    })?;
    let said = String::from_utf8_lossy(&output.stdout);
    let version = parse_version(&said).ok_or_else(|| {
        let noise = String::from_utf8_lossy(&output.stderr);
        Error::invalid(format!(
            "{}/postgres does not say its version: {}",
            dir.display(),
            noise.lines().next().unwrap_or(said.trim())
        ))
        .with_remedy("install PostgreSQL anew")
    })?;
    Ok(Binaries { dir: dir.to_owned(), version })
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian …)`, `18beta1` and the like.
fn parse_version(text: &str) -> Option<ServerVersion> {
    let number = text.split_once("(PostgreSQL) ")?.1;
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    let major = digits(number);
    let minor = number[major.len()..].strip_prefix('.').map(digits).unwrap_or_default();
    Some(ServerVersion { major: major.parse().ok()?, minor: minor.parse().unwrap_or(0) })
}

/// Every folder of the system's own that may hold the programs, in the order of the search.
fn candidates() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let (packages, others) = VERSIONED.split_at(2);
    folders.extend(packages.iter().flat_map(versioned));
    folders.extend(pg_config());
    folders.extend(on_path());
    folders.extend(others.iter().flat_map(versioned));
    folders
}

fn versioned((base, prefix, inner): &(&str, &str, &str)) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(base) else { return Vec::new() };
    let named = entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with(prefix));
    named.map(|entry| entry.path().join(inner)).collect()
}

fn pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").stderr(Stdio::null()).output().ok()?;
    let dir = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(dir.trim()))
}

/// The folder behind the `initdb` on `PATH`: through the link, since a folder of links may lack the rest.
fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut programs = std::env::split_paths(&path).map(|dir| dir.join("initdb"));
    programs.find_map(|program| fs::canonicalize(program).ok()?.parent().map(Path::to_owned))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A folder with programs that claim to be of a version, in reach of every account.
    fn pretend(base: &Path, version: &str) -> PathBuf {
        let dir = base.join(version);
        fs::create_dir(&dir).unwrap();
        for program in ["initdb", "postgres"] {
            let path = dir.join(program);
            fs::write(&path, format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        dir
    }

    fn base(mode: u32) -> tempfile::TempDir {
        let base = tempfile::tempdir().unwrap();
        fs::set_permissions(base.path(), fs::Permissions::from_mode(mode)).unwrap();
        base
    }

    #[test]
    fn versions_are_read_as_the_packages_write_them() {
        let read = |text| parse_version(text).map(|v| v.to_string());
        assert_eq!(read("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n").as_deref(), Some("15.18"));
        assert_eq!(read("postgres (PostgreSQL) 18beta1").as_deref(), Some("18.0"));
        assert_eq!(read("sh: not found"), None);
    }

    #[test]
    fn the_newest_wins_and_too_old_ones_do_not_count() {
        let (account, base) = (Account::find().unwrap(), base(0o755));
        let folders: Vec<_> = ["15.2", "13.9", "18.4", "18.1"].map(|v| pretend(base.path(), v)).into();
        assert_eq!(newest(&account, folders.clone(), None).unwrap().dir, folders[2]);
        assert_eq!(newest(&account, folders.clone(), Some(15)).unwrap().dir, folders[0]);
        let error = newest(&account, folders, Some(17)).unwrap_err();
        assert!(error.remedy().unwrap().contains("postgresql-17"), "{:?}", error.remedy());
    }

    #[test]
    fn without_programs_the_error_says_what_to_do() {
        let account = Account::find().unwrap();
        let error = newest(&account, Vec::new(), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Outside);
        assert_eq!(
            error.remedy(),
            Some(
                "install the package postgresql, or set SEXTON_PGBIN to the folder that scripts/postgres prints"
            )
        );
        let error = named(&account, Path::new("/nowhere"), None).unwrap_err();
        assert_eq!(error.to_string(), "there is no initdb in /nowhere");
    }

    #[test]
    fn programs_out_of_reach_of_the_account_are_an_error_with_a_remedy() {
        let account = Account::find().unwrap();
        if let Account::Lent(_) = account {
            let base = base(0o700);
            let dir = pretend(base.path(), "16.1");
            let error = named(&account, &dir, None).unwrap_err();
            assert_eq!(error.remedy(), Some("move them below a folder that every user may read"));
        }
    }
}
