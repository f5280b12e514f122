//! What operators and authors may do to the row, each verb one SQL function and one transaction.
//!
//! A verb that stops something is a barrier: its UPDATE waits for the share lock of a batch that is about to
//! commit, and every later batch finds the row changed. Easy to get wrong: a verb may be given at any moment and
//! in any order, also while the holder is dead and nobody has noticed.

use crate::{
    database::{Database, EXTRA, Outcome},
    rules::{Mutant, Setup},
};

/// Each returns whether it changed anything.
impl Database {
    /// `sexton.pause(job)`: a barrier by the fence's look at `paused_at`.
    pub fn pause(&mut self) -> bool {
        !std::mem::replace(&mut self.job.paused, true)
    }

    /// `sexton.resume(job)`
    pub fn resume(&mut self) -> bool {
        std::mem::replace(&mut self.job.paused, false)
    }

    /// `sexton.pause_all()`: sets `meta.halted_at` and touches the row of every running destructive job.
    pub fn pause_all(&mut self) -> bool {
        !std::mem::replace(&mut self.halted, true)
    }

    /// `sexton.resume_all()`: lifts no individual pause.
    pub fn resume_all(&mut self) -> bool {
        std::mem::replace(&mut self.halted, false)
    }

    /// `sexton.cancel(job)`: ends the run, or drops a pending retry or extra occurrence.
    pub fn cancel(&mut self, now: u8) -> bool {
        let pending = self.job.attempt > 0 || self.job.occurrence >= EXTRA;
        if self.job.cancel_requested || !self.job.running && !pending {
            return false;
        }
        self.cancelled |= 1 << self.job.occurrence;
        if self.job.running {
            self.job.cancel_requested = true;
            self.forbid_running_run();
        } else {
            self.job.version += 1;
            self.next_occurrence(now);
        }
        true
    }

    /// `sexton.kill(job)`: the occurrence stays what it was, and the attempt was not at fault.
    pub fn kill(&mut self, setup: &Setup, now: u8) -> bool {
        if !self.job.running {
            return false;
        }
        self.forbid_running_run();
        self.settle(setup, Outcome::Killed, now);
        if setup.lacks(Mutant::DueAtIsIdentity) && self.job.occurrence < EXTRA {
            self.job.occurrence = self.job.occurrence.max(now);
            self.job.scheduled_at = self.job.occurrence;
        }
        true
    }

    /// `UPDATE sexton.job SET params = …`: the trigger counts the revision on, which disarms.
    pub fn edit(&mut self) -> bool {
        self.job.revision += 1;
        self.forbid_running_run();
        true
    }

    /// `sexton apply` with `armed = true`.
    pub fn apply(&mut self) -> bool {
        self.edit() && self.arm()
    }

    /// `sexton.arm(job)`
    pub fn arm(&mut self) -> bool {
        std::mem::replace(&mut self.job.armed_revision, self.job.revision) != self.job.revision
    }

    /// `sexton.disarm(job)`
    pub fn disarm(&mut self) -> bool {
        std::mem::replace(&mut self.job.armed_revision, 0) != 0
    }

    /// `sexton.run_now(job)`: idle, an occurrence of now; already due or to be retried, only `due_at`; running,
    /// once more afterwards; paused, an error.
    pub fn run_now(&mut self, now: u8) -> bool {
        if self.job.paused || self.job.rerun || !self.job.running && self.has_come(now) {
            return false;
        }
        self.accepted += 1;
        if self.job.running {
            self.job.rerun = true;
        } else {
            self.extra_occurrence();
        }
        true
    }

    fn forbid_running_run(&mut self) {
        if self.job.running {
            self.forbidden_runs |= 1 << self.job.run_id;
        }
    }
}
