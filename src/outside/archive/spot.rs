//! Where the objects of a batch lie: `JOB/OCCURRENCE/EPOCH.VERSION/INSTALLATION/STORAGE/PART-SEQ…`, below the job's prefix.
//!
//! The token is the holder's alone, and a number is given once in its part; but a batch that was taken back leaves its
//! number to the next one. What is easy to get wrong: what was sent for it may reach the storage later than what is sent
//! for the next; so each try has keys of its own. Two storages of one job may be one place by two names. And a folder of
//! backups must not look like one of archives, nor the other way round.

use jiff::Timestamp;
use uuid::Uuid;

use crate::outside::backup::{folder, parse_token};

/// The place of a batch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// The folder of the run, without a slash at its end.
    pub folder: String,
    /// The part of the run: 0, or a worker's.
    pub part: u32,
    /// How many batches the part had committed before.
    pub seq: u64,
}

/// What stands in a folder's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Epoch and version of the holder.
    pub token: (i64, i64),
    /// The installation.
    pub install: Uuid,
    /// The storage, by the name that the holder had for it.
    pub storage: String,
}

impl Spot {
    /// That of a batch of this run.
    pub fn new(
        (prefix, job, occurrence): (&str, &str, Timestamp),
        (token, install, storage): (&str, Uuid, &str),
        (part, seq): (u32, u64),
    ) -> Self {
        let folder = folder(prefix, job, occurrence, token);
        Spot { folder: format!("{folder}/{install}/{}", plain(storage)), part, seq }
    }

    /// The key of its receipt.
    pub fn receipt(&self) -> String {
        format!("{}/{}.json", self.folder, self.stem())
    }

    /// The name of an object in its folder: of this try, of the `number`th table, whose name is there for people.
    pub fn object(&self, tried: u32, (number, table): (usize, &str), ending: &str) -> String {
        format!("{}.{tried}.{number}-{}.{ending}.zst", self.stem(), plain(table))
    }

    /// The place that a key is of, and whether it is a receipt's.
    pub fn of_key(key: &str) -> Option<(Spot, bool)> {
        let (folder, name) = key.rsplit_once('/')?;
        let (stem, ending) = name.split_once('.')?;
        let (part, seq) = stem.split_once('-')?;
        let spot = Spot { folder: folder.to_owned(), part: part.parse().ok()?, seq: seq.parse().ok()? };
        spot.owner()?;
        Some((spot, ending == "json"))
    }

    /// Whose folder it is.
    pub(super) fn owner(&self) -> Option<Owner> {
        let mut parts = self.folder.rsplit('/');
        let storage = parts.next()?.to_owned();
        let install = parts.next()?.parse().ok()?;
        Some(Owner { token: parse_token(parts.next()?)?, install, storage })
    }

    fn stem(&self) -> String {
        format!("{}-{:08}", self.part, self.seq)
    }
}

/// A name as keys may have it.
pub(super) fn plain(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    name.chars().map(|c| if is_plain(c) { c } else { '_' }).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outside::backup::Folder;

    fn spot() -> Spot {
        let at: Timestamp = "2027-03-01T03:00:00Z".parse().expect("an instant");
        Spot::new(("cold/", "logs", at), ("17.4", Uuid::nil(), "cold"), (2, 31))
    }

    #[test]
    fn keys_lead_back() {
        let spot = spot();
        let object = format!("{}/{}", spot.folder, spot.object(3, (1, "app.\"Odd / name\""), "jsonl"));
        assert_eq!(
            object,
            "cold/logs/20270301T030000.000000Z/17.4/00000000-0000-0000-0000-000000000000/cold/2-00000031.3.1-app._Odd___name_.jsonl.zst"
        );
        assert_eq!(Spot::of_key(&object), Some((spot.clone(), false)));
        assert_eq!(Spot::of_key(&spot.receipt()), Some((spot, true)));
    }

    #[test]
    fn what_is_a_backup_is_no_archive() {
        for key in
            ["a", "j/20270301T010000.250000Z/1.7/manifest.json", "j/20270301T010000.250000Z/1.7/0-1.json"]
        {
            assert_eq!(Spot::of_key(key), None, "{key}");
        }
        assert_eq!(Folder::of_key(&spot().receipt()), None);
    }
}
