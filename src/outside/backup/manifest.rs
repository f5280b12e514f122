//! The manifest: what a backup is made of, in JSON.
//!
//! What is easy to get wrong: a manifest outlives this program. Fields are only ever added, with a default; a change of
//! meaning is a new [`VERSION`], and readers keep reading the old ones.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

use super::{super::storage::Digest, Sealed};
use crate::error::{Error, ErrorKind, Result};

/// The version that this program writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// A manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// See [`VERSION`].
    pub sexton_backup: u32,
    /// The backup's id: the run's.
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
    /// The instant of the snapshot, by the database's clock: what was committed before it is in the backup.
    pub taken_at: Timestamp,
    /// The database's name.
    pub database: String,
    /// The server's version, in its own words.
    pub server: String,
    /// How objects are compressed: `zstd`.
    pub compression: String,
    /// How objects are encrypted, and this manifest sealed; `None`: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// The sets, in the order of the job.
    pub sets: Vec<SetManifest>,
}

/// How a backup is encrypted. The form of objects is described in `docs/kinds/backup.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// `chacha20-poly1305`.
    pub cipher: String,
    /// The id of the key.
    pub key: String,
    /// The manifest's seal: see `seal`.
    pub mac: String,
}

/// One set of a backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetManifest {
    /// Its name.
    pub name: String,
    /// How a row is written.
    pub format: Format,
    /// The object, below the backup's folder.
    pub object: String,
    /// The table that it is of, qualified and quoted; `None` for a query.
    #[serde(default)]
    pub table: Option<String>,
    /// The query or predicate, as the job had it: for people.
    #[serde(default)]
    pub source: Option<String>,
    /// Rows.
    pub rows: u64,
    /// Bytes before compression.
    pub plain_bytes: u64,
    /// Bytes as stored.
    pub bytes: u64,
    /// SHA-256 of the bytes as stored, in hexadecimal digits.
    pub sha256: String,
    /// The columns that are exported, in their order.
    pub columns: Vec<Column>,
    /// SHA-256 over `columns`.
    pub fingerprint: String,
}

impl SetManifest {
    /// Whether a set of a table has a column of this name that is computed by the table, and so not exported.
    pub fn exported(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| !column.generated)
    }
}

/// A column of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as SQL writes it: `numeric(10,2)`.
    #[serde(rename = "type")]
    pub sql_type: String,
    /// Computed by the table: it is not exported, and restored by being computed again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub generated: bool,
    /// How its values stand in JSON lines.
    #[serde(default)]
    pub encoding: Encoding,
}

/// How a value stands in a line of JSON. Without a value (NULL), the line lacks the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As a string with the text that SQL has for it.
    #[default]
    Text,
    /// As a JSON number, or a string for what JSON has no number for (`NaN`); or true and false.
    Plain,
    /// As the JSON that it is.
    Json,
}

/// How a row is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A JSON object a line.
    #[default]
    Jsonl,
    /// CSV as PostgreSQL writes it, with a header.
    Csv,
}

impl Format {
    /// The ending of a file's name.
    pub fn ending(self) -> &'static str {
        match self {
            Format::Jsonl => "jsonl",
            Format::Csv => "csv",
        }
    }
}

/// The sum over names, types and what is generated: two tables with the same one take each other's rows.
pub fn fingerprint(columns: &[Column]) -> String {
    let mut digest = Digest::default();
    for column in columns {
        let generated = if column.generated { "generated" } else { "" };
        for part in [column.name.as_str(), column.sql_type.as_str(), generated] {
            digest.update(part.as_bytes());
            digest.update(&[0]);
        }
    }
    digest.sha256()
}

impl Sealed for Manifest {
    fn encryption(&self) -> &Option<Encryption> {
        &self.encryption
    }

    fn encryption_mut(&mut self) -> &mut Option<Encryption> {
        &mut self.encryption
    }

    fn to_json(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }
}

const NOUN: &str = "manifest of a backup";

impl Manifest {
    /// Reads one. Older versions stay readable.
    ///
    /// # Errors
    /// If it is of a newer version, or none of ours.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let value = serde_json::from_slice(text).map_err(|cause| unreadable(NOUN, cause))?;
        versioned(value, "sexton_backup", VERSION, NOUN)
    }

    /// Rows of all sets.
    pub fn rows(&self) -> u64 {
        self.sets.iter().map(|set| set.rows).sum()
    }

    /// Bytes as stored, of all sets.
    pub fn bytes(&self) -> u64 {
        self.sets.iter().map(|set| set.bytes).sum()
    }
}

/// Reads what says by a field of which version it is, up to the `newest`. A newer one is refused before it is read: it may
/// mean something else by the fields that are known.
///
/// # Errors
/// If it is newer, or is none, or lacks something.
pub fn versioned<T: DeserializeOwned>(value: Value, field: &str, newest: u32, noun: &str) -> Result<T> {
    match value.get(field).and_then(Value::as_u64) {
        Some(version) if version <= u64::from(newest) => {
            serde_json::from_value(value).map_err(|cause| unreadable(noun, cause))
        }
        Some(version) => {
            let message = format!("the {noun} is of version {version}, and this program reads {newest}");
            Err(Error::new(ErrorKind::Outside, message).with_remedy("use a newer sexton"))
        }
        None => Err(Error::new(ErrorKind::Outside, format!("it is no {noun}"))),
    }
}

/// Such a thing is damaged.
pub fn unreadable(noun: &str, cause: serde_json::Error) -> Error {
    Error::new(ErrorKind::Outside, format!("the {noun} is not readable")).caused_by(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, sql_type: &str) -> Column {
        Column {
            name: name.to_owned(),
            sql_type: sql_type.to_owned(),
            generated: false,
            encoding: Encoding::Text,
        }
    }

    #[test]
    fn a_newer_manifest_is_refused_and_a_foreign_file_is_none() {
        let newer = Manifest::parse(br#"{"sexton_backup": 2}"#).expect_err("it is newer");
        assert!(newer.to_string().contains("version 2"), "{newer}");
        assert!(Manifest::parse(b"{}").is_err());
        assert!(Manifest::parse(b"PK").is_err());
    }

    #[test]
    fn the_fingerprint_tells_columns_apart() {
        let one = fingerprint(&[column("ab", "text")]);
        assert_ne!(one, fingerprint(&[column("a", "btext")]));
        assert_ne!(one, fingerprint(&[column("ab", "text"), column("c", "text")]));
        assert_eq!(one, fingerprint(&[column("ab", "text")]));
    }
}
