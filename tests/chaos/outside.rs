//! What replicas of the suite know locally: the sink, the program, a folder, and secrets that must turn up nowhere.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{
    child,
    fleet::Fleet,
    history::History,
    process::{Program, Setup},
    replica,
    sink::Sink,
    world::{Result, World},
};

/// Each is in the local file of every replica, and used. As text none of them is like anything else.
pub const CANARIES: &[(&str, &str)] = &[
    ("bearer", "canary-bearer-5b1f0c77"),
    ("basic", "canary-basic-90d2a4ee"),
    ("hawk", "canary-hawk-1c7be2d3"),
    ("tokenlib", "canary-tokenlib-77aa01f9"),
    ("header", "canary-header-c0ffee42"),
    ("mail", "canary-mail-6de3b3a1"),
    ("storage-id", "canary-storage-id-88e1"),
    ("storage-key", "canary-storage-key-2f9c"),
    // Base64, as Standard Webhooks wants it.
    ("hmac", "whsec_Y2FuYXJ5LWhtYWMtMDAxMjM0NTY3ODlhYmNkZWY="),
    ("webhook", "whsec_Y2FuYXJ5LXdlYmhvb2stMDAxMjM0NTY3ODlhYmM="),
];
/// In the URL of a webhook, where such things stand too.
pub const WEBHOOK_PATH: &str = "canary-webhook-path-31d8";

/// The receivers, and the file that names them.
pub struct Outside {
    pub sink: Sink,
    pub file: PathBuf,
    pub folder: tempfile::TempDir,
}

impl Outside {
    /// Starts the sink, and writes the file.
    pub async fn start(seed: u64) -> Result<Outside> {
        let (sink, folder) = (Sink::start(seed).await?, tempfile::tempdir()?);
        let file = folder.path().join("local.toml");
        std::fs::write(&file, text(sink.port, folder.path())?)?;
        Ok(Outside { sink, file, folder })
    }

    /// A replica that knows it.
    pub fn known_to(&self, setup: Setup) -> Setup {
        let name = if setup.program == Program::Sexton { "SEXTON_CONFIG" } else { replica::OUTSIDE };
        let file = self.file.to_string_lossy().into_owned();
        setup.variable(name, file)
    }

    /// Adds what the receivers noted.
    pub fn read_into(&self, history: &mut History) -> Result<()> {
        history.calls = self.sink.calls();
        history.calls.extend(child::calls(self.folder.path())?);
        Ok(())
    }

    /// Replicas that know it, all of this binary.
    pub async fn fleet(&self, world: &World, count: usize, lease: std::time::Duration) -> Result<Fleet> {
        let mut fleet = Fleet::new()?;
        for index in 0..count {
            fleet.join(world, index, |setup| self.known_to(Setup { lease: Some(lease), ..setup })).await?;
        }
        fleet.ready(world).await?;
        Ok(fleet)
    }
}

fn text(port: u16, folder: &Path) -> Result<String> {
    let mut text = String::new();
    for (name, secret) in CANARIES {
        let file = folder.join(format!("{name}.secret"));
        std::fs::write(&file, secret)?;
        text += &format!("[secrets.{name}]\nfile = {file:?}\nhosts = [\"127.0.0.1\"]\n");
    }
    let program = std::env::current_exe()?;
    std::fs::create_dir(folder.join("shelf"))?;
    text += &format!(
        r#"
[endpoints.sink]
url = "http://127.0.0.1:{port}"
private_addresses = true
plain_http = true

[commands.diary]
argv = [{program:?}, "child", {folder:?}, "{{ms}}", "{{manners}}"]
params = {{ ms = "whole", manners = ["polite", "stubborn"] }}
grace = "500ms"

[storages.shelf]
folder = {shelf:?}

[storages.bucket]
url = "s3://chaos/main"
region = "eu-central-1"
endpoint = "http://127.0.0.1:{port}"
plain_http = true
access_key_id = "secret:storage-id"
secret_access_key = "secret:storage-key"

[webhooks.ops]
url = "http://127.0.0.1:{port}/hook/{WEBHOOK_PATH}"
secrets = ["secret:webhook"]
private_addresses = true
plain_http = true

[mail]
url = "smtp://127.0.0.1:1?tls=required"
user = "sexton"
password = "secret:mail"
from = "sexton@example.com"
"#,
        shelf = folder.join("shelf"),
    );
    Ok(text)
}

/// Jobs that call and start, each with another secret; the names.
pub async fn create_jobs(world: &World) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let auths: [Value; 5] = [
        json!({ "bearer": "secret:bearer" }),
        json!({ "basic": { "user": "u", "password": "secret:basic" } }),
        json!({ "hmac": "secret:hmac" }),
        json!({ "hawk": { "id": "i", "key": "secret:hawk" } }),
        json!({ "tokenlib": { "secret": "secret:tokenlib", "token": { "uid": 42 } } }),
    ];
    for (index, auth) in auths.into_iter().enumerate() {
        let params = json!({
            "endpoint": "sink", "path": "call", "auth": auth, "timeout": "4s", "body": { "number": index },
            "headers": { "x-api-key": "secret:header" },
        });
        names.push((format!("call-{index}"), "http", "every 1s", params));
    }
    for (index, manners) in ["polite", "stubborn", "polite"].into_iter().enumerate() {
        let params = json!({ "command": "diary", "params": { "ms": 40 + 700 * index, "manners": manners } });
        names.push((format!("start-{index}"), "command", "every 2s", params));
    }
    for (name, kind, schedule, params) in &names {
        world.job(name, kind, schedule, params.clone()).await?;
    }
    world.execute("UPDATE sexton.job SET backoff_max = '1 s' WHERE kind IN ('http', 'command')").await?;
    Ok(names.into_iter().map(|(name, ..)| name).collect())
}
