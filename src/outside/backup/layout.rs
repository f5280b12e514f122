//! Where the objects of a backup lie: `JOB/OCCURRENCE/EPOCH.VERSION/`, below the job's prefix.
//!
//! Keys hold neither `:` nor `+`, which some file systems and some servers do not take; job names are safe in URLs already.
//! What is easy to get wrong: tokens are compared as numbers, since `1.10` comes after `1.9`.

use jiff::{Timestamp, tz::TimeZone};

/// The manifest of a backup, in its folder.
pub const MANIFEST: &str = "manifest.json";
/// Says whose folder it is; the first object that is written to it.
pub const BEGUN: &str = "begun.json";

/// The folder of one run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Folder {
    /// The occurrence as it stands in keys.
    pub occurrence: String,
    /// Epoch and version of the holder.
    pub token: (i64, i64),
    /// The whole of it, without a slash at its end.
    pub path: String,
}

/// Everything of one job: `PREFIX/JOB`.
pub fn root(prefix: &str, job: &str) -> String {
    match prefix.trim_matches('/') {
        "" => job.to_owned(),
        prefix => format!("{prefix}/{job}"),
    }
}

/// What may be the name of a file everywhere.
pub fn is_name(text: &str) -> bool {
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    first && text.len() <= 100 && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// What may stand before all keys of a job.
pub fn is_prefix(text: &str) -> bool {
    text.split('/').all(|part| part.is_empty() || is_name(part))
}

/// The folder of one run of a job.
pub fn folder(prefix: &str, job: &str, occurrence: Timestamp, token: &str) -> String {
    format!("{}/{}/{token}", root(prefix, job), occurrence_key(occurrence))
}

/// An occurrence as it stands in keys.
pub fn occurrence_key(occurrence: Timestamp) -> String {
    occurrence.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%S%.6fZ").to_string()
}

impl Folder {
    /// The folder that a key lies in, if its last parts are `OCCURRENCE/EPOCH.VERSION/OBJECT`.
    pub fn of_key(key: &str) -> Option<Folder> {
        let (path, _) = key.rsplit_once('/')?;
        let (above, token) = path.rsplit_once('/')?;
        let occurrence = above.rsplit_once('/').map_or(above, |(_, name)| name);
        let is_occurrence = occurrence.len() >= 16
            && occurrence.ends_with('Z')
            && occurrence.bytes().all(|c| c.is_ascii_digit() || b"TZ.".contains(&c));
        let token = parse_token(token).filter(|_| is_occurrence)?;
        Some(Folder { occurrence: occurrence.to_owned(), token, path: path.to_owned() })
    }

    /// The key of an object in it.
    pub fn key(&self, object: &str) -> String {
        format!("{}/{object}", self.path)
    }
}

/// `epoch.version` as numbers.
pub fn parse_token(token: &str) -> Option<(i64, i64)> {
    let (epoch, version) = token.split_once('.')?;
    Some((epoch.parse().ok()?, version.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_safe_and_lead_back() {
        let at: Timestamp = "2027-03-01T03:00:00.25+02:00".parse().expect("an instant");
        let path = folder("/nightly/", "my-backup", at, "1790000000.17");
        assert_eq!(path, "nightly/my-backup/20270301T010000.250000Z/1790000000.17");
        assert!(!path.contains([':', '+']));
        let found = Folder::of_key(&format!("{path}/manifest.json")).expect("a folder");
        assert_eq!((found.path, found.token), (path, (1_790_000_000, 17)));
    }

    #[test]
    fn what_does_not_look_like_a_backup_is_none() {
        for key in ["a", "a/b/c/d", "x/20270301T010000.250000Z/17/a", "x/notes/1.2/a", "1.2/a"] {
            assert_eq!(Folder::of_key(key), None, "{key}");
        }
    }
}
