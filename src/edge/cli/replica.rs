//! A replica within this process, for commands that run jobs and then end: its life, and what it ran.

use std::{
    io::IsTerminal,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{task::JoinHandle, time::Instant};
use uuid::Uuid;

use super::{
    Context,
    board::Board,
    run::{Signals, own_name},
};
use crate::{
    edge::notice::Channels,
    error::{Error, ErrorKind, Result},
    protocol::operate::Operator,
    runner::{Runner, Shutdown, hooks::RunEvent},
};

/// How often what became of the jobs is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Jobs that could start and do not for this long are given up: something holds them back that waiting does not end.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a replica has run.
#[derive(Debug, Default)]
struct Tally {
    active: usize,
    ended: Vec<Uuid>,
}

/// A replica at work.
pub(super) struct Replica {
    pub(super) name: String,
    shutdown: Shutdown,
    work: JoinHandle<Result<()>>,
    obeying: JoinHandle<()>,
    tally: Arc<Mutex<Tally>>,
    board: Option<Board>,
    idle_since: Instant,
}

impl Replica {
    /// Starts it, for these jobs alone or for all that are due.
    pub(super) fn start(context: &Context, slots: u16, only: Option<&[String]>) -> Result<Self> {
        let name = own_name();
        let tally = Arc::new(Mutex::new(Tally::default()));
        let counted = Arc::clone(&tally);
        let mut builder = Runner::builder(context.global.connector()?)
            .registry(context.registry.clone())
            .deliver(Channels::new(&context.outside))
            .name(name.clone())
            .slots(slots)
            .on_run(move |event| count(&counted, event));
        if let Some(only) = only {
            builder = builder.only(only);
        }
        let runner = builder.build();
        let shutdown = runner.shutdown();
        let obeying = tokio::spawn(Signals::new()?.obey(shutdown.clone(), None));
        let board = (std::io::stderr().is_terminal() && !context.output.is_json()).then(Board::new);
        let work = tokio::spawn(runner.run());
        Ok(Replica { name, shutdown, work, obeying, tally, board, idle_since: Instant::now() })
    }

    /// Waits a little, showing how runs go on.
    ///
    /// # Errors
    /// Why the replica ended by itself.
    pub(super) async fn pass_time(&mut self, operator: &Operator, jobs: &[String]) -> Result<()> {
        tokio::select! {
            ended = &mut self.work => {
                ended.map_err(|cause| Error::new(ErrorKind::Outside, "the replica broke down").caused_by(cause))??;
            }
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if let Some(board) = &mut self.board {
            let mut running = operator.running(None).await?;
            running.retain(|run| run.holder == self.name || jobs.contains(&run.job));
            board.show(&running);
        }
        Ok(())
    }

    /// Whether a run of this replica is on.
    pub(super) fn is_busy(&self) -> bool {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).active > 0
    }

    /// Whether it was told to end by a signal.
    pub(super) fn is_interrupted(&self) -> bool {
        self.shutdown.is_asked()
    }

    /// Notes whether anything is going on; whether nothing has for too long.
    pub(super) fn has_waited_enough(&mut self, going_on: bool) -> bool {
        if going_on || self.is_busy() {
            self.idle_since = Instant::now();
        }
        self.idle_since.elapsed() > PATIENCE
    }

    /// Ends it in order; the runs that ended in it.
    pub(super) async fn stop(mut self) -> Result<Vec<Uuid>> {
        if let Some(board) = &mut self.board {
            board.clear();
        }
        self.shutdown.drain();
        if !self.work.is_finished() {
            let ended = (&mut self.work).await;
            ended.map_err(|cause| {
                Error::new(ErrorKind::Outside, "the replica broke down").caused_by(cause)
            })??;
        }
        self.obeying.abort();
        Ok(std::mem::take(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner).ended))
    }
}

fn count(tally: &Mutex<Tally>, event: &RunEvent<'_>) {
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    match event {
        RunEvent::Started(_) => tally.active += 1,
        RunEvent::Finished(run, _) => {
            tally.active = tally.active.saturating_sub(1);
            tally.ended.push(run.run_id);
        }
        RunEvent::Lost(_) => tally.active = tally.active.saturating_sub(1),
    }
}
