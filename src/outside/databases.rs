//! Other databases by name.
//!
//! Only the data. What is easy to get wrong: the password does not stand here but in a password file, which is read
//! again at every connect.

/// A database of the local file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// How to connect to it: a URL or keywords, as libpq reads them.
    pub conninfo: String,
}
