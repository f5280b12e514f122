//! The database: the rows of schema `sexton`, the application's effects, and the functions that change them.
//!
//! One method here stands for one SQL function of the protocol and is one transaction; who calls it, and what
//! happens between two calls, is `world`. Not modelled: time apart from instants. `due_at` is left out, since a
//! retry may come at once or at any later moment and both are explored. Easy to get wrong: nothing in this file
//! may ask who is calling or whether that caller lives; the database cannot know either.

use crate::rules::{Broken, Mutant, Promise, Setup};

/// Occurrences below are instants of the regular grid, those from here on came from `run_now`.
pub const EXTRA: u8 = 9;

/// `run.state` and, but for the first, the outcomes. `timed_out` behaves as `Failed`; `refused` as a `Failed`
/// without attempts left.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Outcome {
    /// Exits: each of the others.
    Running,
    /// Work done: the next occurrence.
    Succeeded,
    /// Work failed: the same occurrence while attempts are left.
    Failed,
    /// An operator said so: the next occurrence.
    Cancelled,
    /// The definition changed: the same occurrence, attempt given back.
    Superseded,
    /// Given back at a batch border: the same occurrence, attempt given back.
    Released,
    /// The holder is gone: as `Failed`.
    Lost,
    /// An operator took the job from its holder: the same occurrence, attempt given back. In SQL it is `lost`
    /// too, with the error `killed by …`.
    Killed,
}

/// Whether a run changes the application's rows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mode {
    /// It does; claimed while `armed_revision = revision`.
    Real,
    /// It only counts.
    Dry,
}

/// Why a run must stop, as `sexton.stop_reason` says and the fence's DETAIL repeats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The row carries another claim, or none.
    Superseded,
    /// The revision is another.
    Edited,
    /// A cancel is pending.
    Cancelled,
    /// Paused, halted or disarmed: the work may go on later.
    Stopped,
}

/// The row of `sexton.job`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Job {
    /// `state = 'running'`
    pub running: bool,
    /// +1 with every change of holder.
    pub version: u8,
    /// The uuid of the running run; 0 stands for null.
    pub run_id: u8,
    /// Counts edits of the definition.
    pub revision: u8,
    /// Armed while equal to `revision`; 0 stands for null.
    pub armed_revision: u8,
    /// Identity of what is due or running.
    pub occurrence: u8,
    /// The regular instant that is due, running or next.
    pub scheduled_at: u8,
    /// Attempts used up for this occurrence.
    pub attempt: u8,
    /// `paused_at is not null`
    pub paused: bool,
    /// `cancel_requested_at is not null`
    pub cancel_requested: bool,
    /// `rerun is not null`: asked by `run_now` to run once more after the present occurrence.
    pub rerun: bool,
    /// Regular instants passed over, not yet taken by a run's `coalesced`.
    pub missed_count: u8,
}

/// A row of `sexton.run`; its cursor and seq (`sexton.run_part`) are one number here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Run {
    /// The claim's uuid.
    pub id: u8,
    /// Which occurrence it is for.
    pub occurrence: u8,
    /// Which attempt at it.
    pub attempt: u8,
    /// `meta.epoch` at the claim.
    pub epoch: u8,
    /// `job.version` after the claim.
    pub version: u8,
    /// `job.revision` at the claim.
    pub revision: u8,
    /// Real or dry.
    pub mode: Mode,
    /// Running, or how it ended.
    pub outcome: Outcome,
    /// The next step: cursor and expected seq.
    pub cursor: u8,
    /// `job.missed_count` as of the claim: regular instants that this run stands for besides its own.
    pub coalesced: u8,
}

/// One committed batch of a real run, as the application sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Effect {
    /// Occurrence, step and revision identify it.
    pub occurrence: u8,
    /// The step.
    pub step: u8,
    /// The revision that it was computed under.
    pub revision: u8,
}

/// What a claim hands its holder and every call hands back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token {
    /// The version that the claim set.
    pub version: u8,
    /// The uuid that the claim brought.
    pub run_id: u8,
    /// The definition that was read with it.
    pub revision: u8,
    /// Real or dry.
    pub mode: Mode,
}

/// What `sexton.claim` answered.
pub enum Claim {
    /// The run is ours; it goes on at the cursor.
    Won(Token, u8),
    /// Somebody was faster, or nothing is due, or an orphan was settled and nothing started.
    Nothing,
}

/// Everything that a lossy failover takes back: all of the database, and what it promised meanwhile.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Database {
    /// The job.
    pub job: Job,
    /// Its runs, oldest first.
    pub runs: Vec<Run>,
    /// The application's side.
    pub effects: Vec<Effect>,
    /// `meta.epoch`
    pub epoch: u8,
    /// `meta.timeline`
    pub timeline: u8,
    /// `meta.halted_at is not null`
    pub halted: bool,
    /// Ghost: runs that kill, cancel or an edit have forbidden, as bits.
    pub forbidden_runs: u32,
    /// Ghost: occurrences that were cancelled, as bits.
    pub cancelled: u16,
    /// Ghost: extra occurrences handed out so far.
    pub extras: u8,
    /// Ghost: requests of `run_now` accepted so far.
    pub accepted: u8,
}

impl Database {
    /// A job armed, idle, due at instant 1.
    pub fn new() -> Database {
        let job = Job {
            running: false,
            version: 0,
            run_id: 0,
            revision: 1,
            armed_revision: 1,
            occurrence: 1,
            scheduled_at: 1,
            attempt: 0,
            paused: false,
            cancel_requested: false,
            rerun: false,
            missed_count: 0,
        };
        Database {
            job,
            runs: Vec::new(),
            effects: Vec::new(),
            epoch: 1,
            timeline: 1,
            halted: false,
            forbidden_runs: 0,
            cancelled: 0,
            extras: 0,
            accepted: 0,
        }
    }

    /// Whether an idle job may be claimed: what the due scan and `claim` both ask.
    pub fn is_due(&self, now: u8) -> bool {
        !self.job.running && !self.is_barred(self.claim_mode()) && self.has_come(now)
    }

    /// Whether the occurrence has come, pauses aside.
    pub fn has_come(&self, now: u8) -> bool {
        self.job.occurrence >= EXTRA || self.job.occurrence <= now
    }

    /// What a run would be if it were claimed now.
    pub fn claim_mode(&self) -> Mode {
        if self.is_armed() { Mode::Real } else { Mode::Dry }
    }

    fn is_armed(&self) -> bool {
        self.job.armed_revision == self.job.revision
    }

    /// Paused, or halted while the run would delete.
    pub fn is_barred(&self, mode: Mode) -> bool {
        self.job.paused || mode == Mode::Real && self.halted
    }

    /// `sexton.claim(job, version, run)`: compare and swap on `version`, the row locked `FOR NO KEY UPDATE`.
    ///
    /// The caller has proved that its own backend holds the job's lock (SX003 otherwise), so that a running row
    /// is an orphan's. `scanned` is the version that the scan saw.
    pub fn claim(&mut self, setup: &Setup, scanned: u8, run_id: u8, now: u8) -> Claim {
        let compared = !setup.lacks(Mutant::ClaimBlind) && !setup.lacks(Mutant::ClaimUncompared);
        if compared && self.job.version != scanned || !self.job.running && !self.is_due(now) {
            return Claim::Nothing;
        }
        if self.job.running {
            let attempts_left =
                setup.lacks(Mutant::CrashesUncounted) || self.job.attempt < setup.max_attempts;
            let cancelled = self.job.cancel_requested && !setup.lacks(Mutant::CancelForgotten);
            if cancelled || self.is_barred(self.claim_mode()) || !attempts_left {
                self.settle(setup, if cancelled { Outcome::Cancelled } else { Outcome::Lost }, now);
                return Claim::Nothing;
            }
            self.running_run().outcome = Outcome::Lost;
        }
        let base = if setup.lacks(Mutant::ClaimBlind) { scanned } else { self.job.version };
        self.start(setup, base + 1, run_id)
    }

    fn start(&mut self, setup: &Setup, version: u8, run_id: u8) -> Claim {
        let mode = self.claim_mode();
        let job = &mut self.job;
        let coalesced = std::mem::take(&mut job.missed_count);
        *job =
            Job { running: true, version, run_id, attempt: job.attempt + 1, cancel_requested: false, ..*job };
        let (occurrence, revision, attempt) = (job.occurrence, job.revision, job.attempt);
        let cursor = self.inherited_cursor(setup, mode);
        self.runs.push(Run {
            id: run_id,
            occurrence,
            attempt,
            epoch: self.epoch,
            version,
            revision,
            mode,
            outcome: Outcome::Running,
            cursor,
            coalesced,
        });
        Claim::Won(Token { version, run_id, revision, mode }, cursor)
    }

    /// The cursor of the latest run of this occurrence with equal revision and mode; part of `claim`.
    fn inherited_cursor(&self, setup: &Setup, mode: Mode) -> u8 {
        let equal = |run: &&Run| {
            run.occurrence == self.job.occurrence
                && (run.revision == self.job.revision || setup.lacks(Mutant::CursorAcrossRevisions))
                && (run.mode == mode || setup.lacks(Mutant::CursorAcrossModes))
        };
        self.runs.iter().filter(equal).max_by_key(|run| (run.epoch, run.version)).map_or(0, |run| run.cursor)
    }

    /// `sexton.stop_reason`: the one place that says when a run must stop; the fence and the ping both ask it.
    pub fn stop_reason(&self, setup: &Setup, token: Token) -> Option<Stop> {
        let job = &self.job;
        let run_differs = job.run_id != token.run_id && !setup.lacks(Mutant::FenceByVersion);
        let disarmed = token.mode == Mode::Real && !self.is_armed();
        if !job.running || job.version != token.version || run_differs {
            Some(Stop::Superseded)
        } else if job.revision != token.revision && !setup.lacks(Mutant::FenceIgnoresRevision) {
            Some(Stop::Edited)
        } else if job.cancel_requested && !setup.lacks(Mutant::FenceIgnoresCancel) {
            Some(Stop::Cancelled)
        } else if self.is_barred(token.mode) && !setup.lacks(Mutant::FenceIgnoresPause)
            || disarmed && !setup.lacks(Mutant::FenceIgnoresArming)
        {
            Some(Stop::Stopped)
        } else {
            None
        }
    }

    /// `sexton.fence(job, version, run, part, seq, …)`: refused with SX001 if the run must stop, with SX004 if
    /// the batch does not follow the last one that committed. `seq` is the step that the batch does.
    pub fn fence_admits(&self, setup: &Setup, token: Token, seq: u8) -> bool {
        let follows = self.seq_of(setup, token) == Some(seq) || setup.lacks(Mutant::FenceIgnoresSeq);
        setup.lacks(Mutant::FenceOff) || self.stop_reason(setup, token).is_none() && follows
    }

    /// The seq that `sexton.run_part` expects next of this run; without run ids, of the run with this version.
    fn seq_of(&self, setup: &Setup, token: Token) -> Option<u8> {
        let by_version = setup.lacks(Mutant::FenceByVersion);
        let same =
            |run: &&Run| if by_version { run.version == token.version } else { run.id == token.run_id };
        self.runs.iter().rfind(same).map(|run| run.cursor)
    }

    /// COMMIT of a batch that passed the fence: effect and progress become visible together.
    pub fn commit_batch(&mut self, setup: &Setup, token: Token, occurrence: u8, step: u8) -> Broken {
        let broken = self.promises_of_commit(token);
        if token.mode == Mode::Real {
            self.effects.push(Effect { occurrence, step, revision: token.revision });
            self.effects.sort_unstable();
        }
        if !setup.lacks(Mutant::ProgressApart) {
            self.record_progress(token.run_id, step + 1);
        }
        broken
    }

    /// The fence's write of `run_part`: part of the batch's transaction, unless a mutant takes it out.
    pub fn record_progress(&mut self, run_id: u8, cursor: u8) {
        if let Some(run) = self.runs.iter_mut().find(|run| run.id == run_id) {
            run.cursor = cursor;
        }
    }

    /// What must hold at the moment in which a batch commits: I1 by the row, G9 by what operators were told.
    /// It is spelled out once more, so that a mutant of `stop_reason` is not judged by itself.
    fn promises_of_commit(&self, token: Token) -> Broken {
        let mut broken = Broken::default();
        let real = token.mode == Mode::Real;
        let disarmed = real && !self.is_armed();
        let stopped = self.is_barred(token.mode) || disarmed;
        let owned = self.owns(token) && self.job.revision == token.revision && !self.job.cancel_requested;
        broken.unless(owned && !stopped, Promise::I1NoSupersededCommit);
        let forbidden = self.forbidden_runs & (1 << token.run_id) != 0;
        broken.unless(!forbidden && !stopped, Promise::G9VerbsAreBarriers);
        broken
    }

    /// Whether the job row still carries exactly this claim.
    pub fn owns(&self, token: Token) -> bool {
        self.job.running && (self.job.version, self.job.run_id) == (token.version, token.run_id)
    }

    /// `sexton.finish(job, version, run, outcome)`; refused (SX001) unless the row carries this token.
    pub fn finish(&mut self, setup: &Setup, token: Token, outcome: Outcome, now: u8) -> Broken {
        let mut broken = Broken::default();
        let unchecked = setup.lacks(Mutant::FinishUnchecked) && self.job.running;
        if self.owns(token) || unchecked {
            broken.unless(self.owns(token), Promise::I1NoSupersededCommit);
            self.settle(setup, outcome, now);
        }
        broken
    }

    /// Ends the running run; part of `finish`, `kill` and of a `claim` that starts nothing.
    ///
    /// A pending cancel turns every outcome that would bring the occurrence back into `Cancelled`.
    pub fn settle(&mut self, setup: &Setup, outcome: Outcome, now: u8) {
        let comes_back = match outcome {
            Outcome::Released | Outcome::Superseded | Outcome::Killed => true,
            Outcome::Failed => self.job.attempt < setup.max_attempts,
            Outcome::Lost => self.job.attempt < setup.max_attempts || setup.lacks(Mutant::CrashesUncounted),
            Outcome::Succeeded | Outcome::Cancelled | Outcome::Running => false,
        };
        let cancelled = self.job.cancel_requested && comes_back && !setup.lacks(Mutant::CancelForgotten);
        let outcome = if cancelled { Outcome::Cancelled } else { outcome };
        self.running_run().outcome = outcome;
        let job = &mut self.job;
        *job = Job { running: false, version: job.version + 1, run_id: 0, cancel_requested: false, ..*job };
        if !comes_back || cancelled {
            self.next_occurrence(now);
            return;
        }
        if matches!(outcome, Outcome::Released | Outcome::Superseded | Outcome::Killed) {
            job.attempt -= 1;
        }
        if setup.lacks(Mutant::RerunForgotten) {
            job.rerun = false;
        }
    }

    /// `sexton.advance`: the next occurrence follows from the last one, never from the moment of the settlement
    /// alone; regular instants that passed meanwhile are counted. That a settlement in SQL alone leaves the
    /// planning to the next replica is not modelled: it may plan at once.
    pub fn next_occurrence(&mut self, now: u8) {
        let job = &mut self.job;
        job.attempt = 0;
        if job.occurrence == job.scheduled_at {
            let next = (job.scheduled_at + 1).max(now + 1);
            job.missed_count += next - job.scheduled_at - 1;
            job.scheduled_at = next;
        }
        job.occurrence = job.scheduled_at;
        if std::mem::take(&mut job.rerun) {
            self.extra_occurrence();
        }
    }

    /// An occurrence of now, apart from the regular grid, which stays.
    pub fn extra_occurrence(&mut self) {
        self.job.occurrence = EXTRA + self.extras;
        self.extras += 1;
    }

    fn running_run(&mut self) -> &mut Run {
        let run_id = self.job.run_id;
        self.runs.iter_mut().find(|run| run.id == run_id).expect("a running job has a run")
    }
}
