//! Secrets that must turn up nowhere: the password that replicas connect with and what their local file names, in tables,
//! logs, the list of processes, and what sessions say of themselves.
//!
//! What is easy to get wrong: faults make errors, and errors are where secrets like to be quoted. So this looks at the
//! leavings of rounds, not of a quiet replica. And a secret may be there in another form than it was given in.

use std::path::Path;

use crate::world::{Result, World};

/// What all secrets of the local file have in common: as text, in base64 (alone, and behind `u:`), in hexadecimal.
const MARKS: &[&str] = &["canary-", "Y2FuYXJ5L", "dTpjYW5hcnkt", "63616e6172792d"];

fn marks(world: &World) -> Result<Vec<String>> {
    let password = world.tcp.get_password().ok_or("there is a password")?;
    let mut marks: Vec<String> = MARKS.iter().map(|mark| (*mark).to_owned()).collect();
    marks.push(String::from_utf8_lossy(password).into_owned());
    Ok(marks)
}

fn found<'a>(text: &str, marks: &'a [String]) -> Option<&'a str> {
    marks.iter().find(|mark| text.contains(mark.as_str())).map(String::as_str)
}

/// Every table and every view of ours, as one query that names where it found something.
const EVERYWHERE: &str = "SELECT string_agg(format(
      'SELECT %L AS place, t::text AS text FROM %I.%I t WHERE t::text LIKE ANY ($1)', n.nspname || '.' || c.relname, n.nspname, c.relname),
      ' UNION ALL ') || ' LIMIT 1'
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE (c.relkind IN ('r', 'p', 'm') OR c.relkind = 'v' AND n.nspname = 'sexton')
     AND n.nspname !~ '^(pg_|information_schema$)'";

/// Looks everywhere in a database, in the logs and diaries of a folder, and in the server's log.
pub async fn look(world: &World, folder: &Path, server_log: &Path) -> Result<()> {
    let marks = marks(world)?;
    let patterns: Vec<String> = marks.iter().map(|mark| format!("%{mark}%")).collect();
    let sql: String = world.get(EVERYWHERE, &[]).await?;
    if let Some(row) = world.rows(&sql, &[&patterns]).await?.first() {
        let text: &str = row.get("text");
        return Err(format!("a secret stands in {}: {text}", row.get::<_, &str>("place")).into());
    }
    let mut files: Vec<_> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.push(server_log.to_owned());
    for path in files.iter().filter(|path| path.is_file()) {
        let text = String::from_utf8_lossy(&std::fs::read(path)?).into_owned();
        if let Some(line) = text.lines().find(|line| found(line, &marks).is_some()) {
            return Err(format!("a secret stands in {}: {line}", path.display()).into());
        }
    }
    look_now(world).await
}

/// Looks at what is there for a moment only: sessions, and processes with their arguments.
pub async fn look_now(world: &World) -> Result<()> {
    let marks = marks(world)?;
    let sessions =
        "SELECT concat_ws(' ', application_name, query) FROM pg_stat_activity WHERE pid <> pg_backend_pid()";
    for row in world.rows(sessions, &[]).await? {
        if let Some(mark) = found(row.get(0), &marks) {
            return Err(format!("{mark} stands in pg_stat_activity: {}", row.get::<_, &str>(0)).into());
        }
    }
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        // Processes come and go.
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if let Some(mark) = found(&line, &marks) {
            return Err(format!("{mark} stands in the list of processes: {line}").into());
        }
        // What a program is given is seen by all that it starts. Replicas have the password there, rightly.
        if line.contains(" child ")
            && let Ok(environment) = std::fs::read(entry.path().join("environ"))
            && let Some(mark) = found(&String::from_utf8_lossy(&environment), &marks)
        {
            return Err(format!("{mark} stands in the environment of {line}").into());
        }
    }
    Ok(())
}
