//! Storages by name: a folder, or a bucket that speaks S3, and the keys that its objects are encrypted with.
//!
//! Only the data; the client is the feature `backup`'s. What is easy to get wrong: keys are names of secrets, never the
//! keys themselves.

use std::path::PathBuf;

/// A storage of the local file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// Where it is.
    pub place: Place,
    /// The name of the secret that objects are encrypted with; `None`: they are not.
    pub encrypt_with: Option<String>,
    /// The names of the secrets that objects were encrypted with before.
    pub decrypt_with: Vec<String>,
}

/// Where a storage is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder of this machine, by its absolute path.
    Folder(PathBuf),
    /// A bucket.
    Bucket(Bucket),
}

impl Storage {
    /// A storage that encrypts nothing.
    pub fn at(place: Place) -> Self {
        Storage { place, encrypt_with: None, decrypt_with: Vec::new() }
    }
}

/// A bucket that speaks S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// `s3://BUCKET` or `s3://BUCKET/PREFIX`.
    pub url: String,
    /// Its region; `None` where the server has none.
    pub region: Option<String>,
    /// Where the server is, if not Amazon's: `https://s3.example.com`.
    pub endpoint: Option<String>,
    /// The name of the secret that is the access key's id; `None`: anonymous.
    pub access_key_id: Option<String>,
    /// The name of the secret that is the access key.
    pub secret_access_key: Option<String>,
    /// Whether the bucket's name is part of the host's name. Default: part of the path.
    pub virtual_hosted: bool,
    /// Whether the endpoint may be `http://`. Default: no.
    pub plain_http: bool,
}
