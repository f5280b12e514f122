//! The kind `backup`: queries and tables exported from one snapshot to a storage, with a manifest that is written last.
//!
//! It copies rows and not a database: definitions, roles and settings are pg_dump's. What is easy to get wrong: the objects
//! are written outside the database and so cannot be fenced. Each run writes to a folder of its own, named after its token;
//! the fence stands right before the manifest, which nobody can write twice; and readers trust manifests alone.

mod export;
mod params;
mod retain;
mod source;

use std::future::Future;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::{params::Params, source::Source};
use crate::{
    Error, ErrorKind,
    kind::{Description, Kind, Mode, Nature, Need, ParamError, Reader, Report, RunContext, Stop, Stopped},
    outside::{
        Outside,
        backup::{Encryption, Manifest, VERSION, begin, folder, publish},
        storage::{OpenStorage, Put},
    },
    statements,
};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Backup {
    outside: Outside,
}

/// What a backup remembers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Cursor {
    /// The folder of the manifest that was published for this occurrence, and what the report said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<Value>,
}

impl Backup {
    /// Writes to the storages that are known here.
    pub fn new(outside: Outside) -> Self {
        Backup { outside }
    }

    fn storage(&self, params: &Params) -> Result<OpenStorage, Stop> {
        OpenStorage::open(&params.storage, &self.outside.contents()).map_err(Stop::Failed)
    }
}

impl Kind for Backup {
    type Params = Params;

    fn name(&self) -> &'static str {
        "backup"
    }

    fn describe(&self) -> Description {
        Description {
            summary: "Exports tables and queries from one snapshot to a folder or a bucket.",
            nature: Nature::Outside,
            params: params::TABLE,
            example: params::EXAMPLE,
        }
    }

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        params.check()
    }

    fn needs(&self, params: &Params) -> Vec<Need> {
        vec![Need::Storage(params.storage.clone())]
    }

    async fn run(&self, context: &mut RunContext, params: Params) -> Result<Report, Stop> {
        let storage = self.storage(&params)?;
        let report = Report::new(Stopped::Drained).with("storage", storage.name());
        if context.mode() == Mode::Dry {
            return dry(context, &storage, &params, report).await;
        }
        // An attempt before this one may have published, and died before it could say so.
        let published = match context.cursor::<Cursor>()?.and_then(|cursor| cursor.published) {
            Some(published) => published,
            None => write(context, &storage, &params).await?,
        };
        let mut plan = retain::plan(context, &storage, &params).await?;
        plan.carry_out(context).await?;
        let mut report = report.with("removed", plan.to_json()).with("backups", plan.kept);
        if !plan.unreadable.is_empty() {
            report = report.with("unreadable", plan.unreadable.clone());
        }
        if let Value::Object(published) = published {
            report.details.extend(published);
        }
        Ok(report)
    }
}

/// Exports all sets and publishes them. What the report says of it.
async fn write(context: &mut RunContext, storage: &OpenStorage, params: &Params) -> Result<Value, Stop> {
    let mut reader = context.reader().await?;
    let sources = source::resolve(context, &mut reader, params).await?;
    let folder = folder(&params.prefix, context.job(), context.occurrence(), &context.token());
    let (install, run) = (context.install_id(), context.run_id());
    outside(context, begin(storage, &folder, install, run)).await?;
    let mut manifest = snapshot(context, &mut reader).await?;
    manifest.encryption = storage.keys().present_id().map(Encryption::by);
    for source in &sources {
        let exported = export::export(&mut reader, storage, &folder, source);
        // A database that cannot be reached says nothing about the job.
        manifest.sets.push(context.keep_while(exported).await??);
        let progress = json!({ "sets": manifest.sets.len(), "of": sources.len(), "rows": manifest.rows() });
        context.progress(&progress).await?;
    }
    drop(reader);
    context.checkpoint(&Cursor::default()).await?;
    if outside(context, publish(storage, &folder, &manifest)).await? == Put::Present {
        let message = format!("{folder} was given up for abandoned while this run still wrote to it");
        return Err(Stop::Failed(Error::new(ErrorKind::Outside, message)));
    }
    let published = published(&folder, &manifest);
    context.checkpoint(&Cursor { published: Some(published.clone()) }).await?;
    Ok(published)
}

/// Begins the snapshot of all sets, and the manifest that says when it was.
async fn snapshot(context: &RunContext, reader: &mut Reader) -> Result<Manifest, Stop> {
    let run = context.run_id();
    reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let rows = reader.query(statements::BACKUP_MOMENT, &[&run]).await?;
    let row = rows.first().ok_or_else(|| Stop::refused("the run no longer holds its job", "run it again"))?;
    Ok(Manifest {
        sexton_backup: VERSION,
        run_id: run,
        install_id: context.install_id(),
        job: context.job().to_owned(),
        revision: row.get("revision"),
        occurrence: context.occurrence(),
        token: context.token(),
        taken_at: row.get("taken_at"),
        database: row.get("database"),
        server: row.get("server"),
        compression: "zstd".to_owned(),
        encryption: None,
        sets: Vec::new(),
    })
}

fn published(folder: &str, manifest: &Manifest) -> Value {
    let set = |set: &crate::outside::backup::SetManifest| json!({ "name": set.name, "rows": set.rows, "bytes": set.bytes, "plain_bytes": set.plain_bytes });
    json!({
        "backup": manifest.run_id,
        "folder": folder,
        "taken_at": manifest.taken_at,
        "rows": manifest.rows(),
        "bytes": manifest.bytes(),
        "key": manifest.encryption.as_ref().map(|encryption| &encryption.key),
        "sets": manifest.sets.iter().map(set).collect::<Vec<_>>(),
    })
}

/// What would be written, counted in the same snapshot, and what would be removed.
async fn dry(
    context: &mut RunContext,
    storage: &OpenStorage,
    params: &Params,
    report: Report,
) -> Result<Report, Stop> {
    let mut reader = context.reader().await?;
    let sources: Vec<Source> = source::resolve(context, &mut reader, params).await?;
    snapshot(context, &mut reader).await?;
    let mut sets = Vec::new();
    for source in &sources {
        let count = source.count();
        let counted = context.keep_while(reader.query(&count, &[])).await??;
        let rows: i64 = counted.first().map_or(0, |row| row.get(0));
        sets.push(json!({ "name": source.name, "rows": rows, "columns": source.columns.all.len() }));
    }
    let plan = retain::plan(context, storage, params).await?;
    let folder = folder(&params.prefix, context.job(), context.occurrence(), &context.token());
    Ok(report
        .with("would_write", json!({ "folder": folder, "sets": sets }))
        .with("would_remove", plan.to_json()))
}

/// Does something with the storage while the run's session is kept; the run's failure if it fails.
async fn outside<T>(
    context: &mut RunContext,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Stop> {
    context.keep_while(work).await?.map_err(Stop::Failed)
}
