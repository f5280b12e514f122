//! One set on its way from the server to the storage.
//!
//! What is easy to get wrong: an upload that fails half way is aborted here and waited for; one that is dropped aborts by
//! itself, as well as it can.

use futures_util::{StreamExt, pin_mut};

use super::source::Source;
use crate::{
    error::Result,
    kind::Reader,
    outside::{
        backup::{Lines, SetManifest, fingerprint},
        storage::{OpenStorage, Upload},
    },
};

/// Exports a set within the reader's transaction, in bounded memory.
///
/// # Errors
/// Whatever the database or the storage reports: there is no object then.
///
/// # Cancel safety
/// Dropping the future aborts the upload and cancels the COPY.
pub async fn export(
    reader: &mut Reader,
    storage: &OpenStorage,
    folder: &str,
    source: &Source,
) -> Result<SetManifest> {
    let object = format!("{}.{}.zst", source.name, source.format.ending());
    let mut upload = storage.upload(&format!("{folder}/{object}"))?;
    let mut lines = Lines::new(source.format);
    if let Err(error) = pump(reader, source, &mut upload, &mut lines).await {
        upload.abort().await;
        return Err(error);
    }
    let written = upload.finish().await?;
    Ok(SetManifest {
        name: source.name.clone(),
        format: source.format,
        object,
        table: source.table.clone(),
        source: source.text.clone(),
        rows: lines.rows(),
        plain_bytes: written.plain_bytes,
        bytes: written.bytes,
        sha256: written.sha256,
        fingerprint: fingerprint(&source.columns.all),
        columns: source.columns.all.clone(),
    })
}

async fn pump(reader: &mut Reader, source: &Source, upload: &mut Upload, lines: &mut Lines) -> Result<()> {
    let about = |error: crate::error::Error| error.about(format!("set {}", source.name));
    let stream = reader.copy_out(&source.copy()).await.map_err(about)?;
    pin_mut!(stream);
    while let Some(rows) = stream.next().await {
        let rows = rows.map_err(about)?;
        lines.update(&rows);
        upload.write(&rows).await?;
    }
    reader.copied();
    Ok(())
}
