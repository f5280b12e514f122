//! Secrets that must turn up nowhere: the password that replicas connect with, in what they log and in what is stored.
//!
//! What is easy to get wrong: faults make errors, and errors are where connection strings like to be quoted. So this looks
//! at a round's leavings, not at a quiet replica's.

use std::path::Path;

use crate::world::{Result, World};

/// The places where people look, and which others may read.
const STORED: &str = "SELECT place FROM (
      SELECT 'sexton.job' AS place, j::text AS text FROM sexton.job j
      UNION ALL SELECT 'sexton.run', r::text FROM sexton.run r
      UNION ALL SELECT 'sexton.revision', r::text FROM sexton.revision r
      UNION ALL SELECT 'sexton.replica', r::text FROM sexton.replica r
      UNION ALL SELECT 'sexton.audit', a::text FROM sexton.audit a
      UNION ALL SELECT 'sexton.notice', n::text FROM sexton.notice n
      UNION ALL SELECT 'pg_stat_activity', concat_ws(' ', a.application_name, a.query) FROM pg_stat_activity a
       WHERE a.pid <> pg_backend_pid()) stored
     WHERE position($1 IN text) > 0 LIMIT 1";

/// Looks for the password in a database and in the logs and diaries of a folder.
pub async fn look(world: &World, folder: &Path) -> Result<()> {
    let password =
        String::from_utf8_lossy(world.tcp.get_password().ok_or("there is a password")?).into_owned();
    if let Some(row) = world.rows(STORED, &[&password]).await?.first() {
        return Err(format!("the password stands in {}", row.get::<_, &str>("place")).into());
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() && std::fs::read_to_string(&path)?.contains(&password) {
            return Err(format!("the password stands in {}", path.display()).into());
        }
    }
    Ok(())
}
