//! A database, a storage and a backup job for each test of backups; and `sexton restore` as users start it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};
use sexton::{
    Registry,
    outside::{Contents, Outside, Storage, storage::OpenStorage, storages::Place},
    testing::{Occurrence, Ran},
};

use crate::support::Db;

/// A database, and a storage of the name `shelf`.
pub struct World {
    pub db: Db,
    pub contents: Contents,
    /// Holds the local file, and the storage if that is a folder.
    pub folder: tempfile::TempDir,
    local: String,
}

impl World {
    /// A database in which `sql` was run, and a folder as the storage.
    pub async fn new(sql: &str) -> World {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shelf");
        std::fs::create_dir(&path).unwrap();
        let local = format!("[storages.shelf]\nfolder = {path:?}\n");
        let storages = BTreeMap::from([("shelf".to_owned(), Storage::at(Place::Folder(path)))]);
        Self::with(sql, folder, Contents { storages, ..Contents::default() }, local).await
    }

    /// The same with a storage of one's own, and how the local file has it.
    pub async fn with(sql: &str, folder: tempfile::TempDir, contents: Contents, local: String) -> World {
        let db = Db::new().await;
        db.execute(sql).await;
        std::fs::write(folder.path().join("local.toml"), &local).unwrap();
        World { db, contents, folder, local }
    }

    /// Another database with the same storage.
    pub async fn elsewhere(&self, sql: &str) -> World {
        let folder = tempfile::tempdir().unwrap();
        Self::with(sql, folder, self.contents.clone(), self.local.clone()).await
    }

    /// Says in the local file what else is known of the storage, and reads all of it again.
    pub fn know(&mut self, more: &str) {
        let path = self.folder.path().join("local.toml");
        std::fs::write(&path, format!("{}{more}", self.local)).unwrap();
        self.contents = sexton::edge::config::local::load(&path).unwrap().outside;
    }

    /// The folder that is the storage.
    pub fn shelf(&self) -> PathBuf {
        self.folder.path().join("shelf")
    }

    /// The open storage.
    pub fn storage(&self) -> OpenStorage {
        OpenStorage::open("shelf", &self.contents).unwrap()
    }

    /// Saves the job `nightly` with these sets and rules.
    pub async fn job(&self, sets: Value, keep: Value) {
        let mut params = json!({ "storage": "shelf", "sets": sets });
        if !keep.is_null() {
            params["keep"] = keep;
        }
        let sql = "INSERT INTO sexton.job (name, kind, params) VALUES ('nightly', 'backup', $1)
                   ON CONFLICT (name) DO UPDATE SET params = excluded.params";
        self.db.client.execute(sql, &[&params]).await.unwrap();
    }

    /// One occurrence of the job.
    pub fn occurrence(&self) -> Occurrence {
        let registry = Registry::with_builtins_and(&Outside::new(self.contents.clone()));
        Occurrence::of("nightly", self.db.config.clone()).registry(registry)
    }

    /// Runs the job once, which must succeed.
    pub async fn succeed(&self) -> Ran {
        let ran = self.occurrence().run().await.unwrap();
        assert_eq!((ran.state.as_str(), ran.error.as_deref()), ("succeeded", None), "{:?}", ran.report);
        ran
    }

    /// `sexton restore --storage shelf …` on this database.
    pub async fn restore(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sexton"));
        command
            .args(["restore", "--storage", "shelf", "--database", &self.db.conninfo, "--config"])
            .arg(self.folder.path().join("local.toml"))
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("SHELF_ID", "id")
            .env("SHELF_KEY", "key");
        // A server of the test may stand on this thread.
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// The same, which must succeed; its standard output.
    pub async fn restored(&self, args: &[&str]) -> String {
        let output = self.restore(args).await;
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same, which must fail with this code; what it says.
    pub async fn not_restored(&self, args: &[&str], code: i32) -> String {
        let output = self.restore(args).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        said
    }

    /// The ids of the backups that `--list` presents.
    pub async fn listed(&self) -> Vec<Value> {
        serde_json::from_str(&self.restored(&["--list", "--json"]).await).unwrap()
    }

    /// All rows of a table as text.
    pub async fn rows(&self, table: &str) -> String {
        let sql = format!("SELECT coalesce(string_agg(t::text, E'\\n' ORDER BY t.id), '') FROM {table} AS t");
        self.db.get(&sql, &[]).await
    }
}

/// The folder that a report names.
pub fn folder_of(report: &Option<Value>) -> &str {
    report.as_ref().and_then(|report| report["folder"].as_str()).expect("a folder")
}

/// All files below a folder, by their paths from it.
pub fn files(folder: &Path) -> Vec<String> {
    let (mut folders, mut found) = (vec![folder.to_owned()], Vec::new());
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}
