//! The receipt of a batch: that its rows are gone from their tables, and which objects have them, in JSON.
//!
//! What is easy to get wrong: it outlives this program, as the manifest of a backup does. Fields are only ever added, with
//! a default; a change of meaning is a new [`VERSION`].

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::Spot;
use crate::{
    error::Result,
    outside::backup::{Encryption, Sealed, SetManifest, versioned},
};

/// The version that this program writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// A receipt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// See [`VERSION`].
    pub sexton_archive: u32,
    /// The storage, by the name that the writer had for it.
    pub storage: String,
    /// The folder of the run.
    pub folder: String,
    /// The part of the run.
    pub part: u32,
    /// The number of the batch in it.
    pub seq: u64,
    /// The run that deleted the rows.
    pub run_id: Uuid,
    /// The installation that the job belongs to.
    pub install_id: Uuid,
    /// The job's name.
    pub job: String,
    /// The revision of the job that the run had.
    pub revision: i64,
    /// What the run was for.
    pub occurrence: Timestamp,
    /// `epoch.version` of the holder.
    pub token: String,
    /// When the batch began, by the database's clock.
    pub archived_at: Timestamp,
    /// The database's name.
    pub database: String,
    /// The server's version, in its own words.
    pub server: String,
    /// How objects are compressed: `zstd`.
    pub compression: String,
    /// How they are encrypted, and this receipt sealed; `None`: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// An object for each table that lost rows.
    pub sets: Vec<SetManifest>,
}

impl Sealed for Receipt {
    fn encryption(&self) -> &Option<Encryption> {
        &self.encryption
    }

    fn encryption_mut(&mut self) -> &mut Option<Encryption> {
        &mut self.encryption
    }

    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }
}

pub(super) const NOUN: &str = "receipt of an archive";

impl Receipt {
    /// Where the batch lies.
    pub fn spot(&self) -> Spot {
        Spot { folder: self.folder.clone(), part: self.part, seq: self.seq }
    }

    /// Rows of all tables.
    pub fn rows(&self) -> u64 {
        self.sets.iter().map(|set| set.rows).sum()
    }

    /// Bytes as stored, of all tables.
    pub fn bytes(&self) -> u64 {
        self.sets.iter().map(|set| set.bytes).sum()
    }

    /// Reads one. Older versions stay readable.
    ///
    /// # Errors
    /// If it is of a newer version, or none of ours.
    pub fn parse(value: Value) -> Result<Self> {
        versioned(value, "sexton_archive", VERSION, NOUN)
    }
}
