//! Backups as they lie in a storage: written by the kind `backup`, read back by `sexton restore`.
//!
//! A backup is a folder `JOB/OCCURRENCE/EPOCH.VERSION/` of one object a set, and a manifest, which is written last and only
//! if none is there. What is easy to get wrong: objects without a manifest say nothing, however whole they look; readers
//! trust manifests alone, and restore believes the manifest rather than what the job says today.

mod keep;
mod layout;
mod lines;
mod manifest;
mod rows;
mod seal;
mod shelf;
mod verify;

pub use keep::{Keep, kept};
pub use layout::{Folder, folder, is_name, is_prefix, occurrence_key, parse_token, root};
pub use lines::{Lines, quoted_json};
pub use manifest::{
    Column, Encoding, Encryption, Format, Manifest, SetManifest, VERSION, fingerprint, unreadable, versioned,
};
pub use rows::Columns;
pub use seal::{Seal, Sealed, judged, not_encrypted, sealed, unknown_key};
pub use shelf::{Backup, Debris, Shelf, begin, publish};
pub use verify::{Verified, difference, verify_set};
