//! `sexton demo`: three replicas purge a table exactly once, and the one at work is killed half way.
//!
//! Everything happens on a private cluster with real processes of this very program; nothing needs to be set up, and
//! nothing is left behind. `story` tells it, `application` is the database, `processes` are the replicas, `live` is the
//! purge as it runs, `verify` counts, `screen` shows.
//!
//! It is not a test: those are in `tests/`, and they do not wait for anybody to read along. What is easy to get wrong:
//! it must leave nothing behind however it ends, so whatever it starts hangs on one future, and ^C drops that.

mod application;
mod live;
mod processes;
mod screen;
mod story;
mod verify;

use tokio::signal::unix::{SignalKind, signal};

use crate::error::{Error, ErrorKind, Result};

/// What becomes of the cluster when the story is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Afterwards {
    /// It ends.
    #[default]
    CleanUp,
    /// It stays, with its replicas, until ^C: to look around.
    Keep,
}

/// Tells the story on standard output; under a minute.
///
/// # Errors
/// If anything was not as it should be: a step failed, a count is wrong, or somebody interrupted. Everything was cleaned
/// up by then.
///
/// # Cancel safety
/// Dropping the future ends replicas and cluster, and waits for it.
pub async fn demo(afterwards: Afterwards) -> Result<()> {
    let mut interrupted = std::pin::pin!(interrupted()?);
    let stage = tokio::select! {
        told = story::tell() => told?,
        () = &mut interrupted => {
            return Err(Error::new(ErrorKind::Outside, "interrupted; replicas and cluster are gone").about("demo"));
        }
    };
    match afterwards {
        Afterwards::CleanUp => {
            drop(stage);
            screen::write("Nothing of it is left. To look around in it: sexton demo --keep");
        }
        Afterwards::Keep => {
            stage.show_around();
            interrupted.await;
        }
    }
    Ok(())
}

/// Waits for a signal that wants us to end.
fn interrupted() -> Result<impl Future<Output = ()>> {
    let listen = |kind| {
        signal(kind)
            .map_err(|cause| Error::new(ErrorKind::Outside, "cannot listen to signals").caused_by(cause))
    };
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}
