//! What happens to replicas and server, and what operators do: all that nobody can count on or rule out.
//!
//! Each fault and each verb costs one of its budget. Easy to get wrong: a fault must be possible at every point of
//! the program, between two statements above all, or the model proves less than it says.

use crate::{
    database::Outcome,
    rules::{Fault, Mutant, VERBS, Verb},
    world::{At, Backend, Client, Emit, Replica, State, Work, World, change, outside},
};

/// Faults.
impl World {
    /// Faults of one replica or its session.
    pub fn replica_faults(&self, state: &State, r: usize, emit: Emit) {
        let replica = state.replicas[r];
        if replica.client == Client::Frozen {
            change(state, emit, outside(r + 1, "wakes"), |next| next.replicas[r].client = Client::Up);
        }
        if state.faults == 0 {
            return;
        }
        for &fault in self.0.faults {
            let step = |action| outside(r + 1, action);
            let mut hit = |action, harm: &dyn Fn(&mut State)| {
                change(state, emit, step(action), |next| {
                    next.faults -= 1;
                    harm(next);
                });
            };
            let up = replica.client == Client::Up;
            match (fault, replica.at) {
                (Fault::Crash, _) if up => hit("crashes", &|next| {
                    next.replicas[r].client = Client::Dead;
                    next.replicas[r].at = At::Idle;
                }),
                (Fault::Freeze, at) if up && at != At::Idle => {
                    hit("freezes", &|next| next.replicas[r].client = Client::Frozen);
                }
                (Fault::Terminate, _) if replica.backend != Backend::Closed => {
                    hit("its session is terminated", &|next| next.replicas[r].close());
                }
                (Fault::BatchError, At::Sent(work)) if matches!(replica.backend, Backend::Working(_)) => {
                    hit("batch rolled back: try again", &|next| self.batch_error(next, r, work));
                }
                (Fault::Fail, At::Border(work)) if up && replica.backend == Backend::Open => {
                    let spent = State { faults: state.faults - 1, ..state.clone() };
                    self.finish(&spent, r, work.token, Outcome::Failed, step("finish failed"), emit);
                }
                (Fault::Drain, At::Border(work)) if up && replica.backend == Backend::Open => {
                    let spent = State { faults: state.faults - 1, ..state.clone() };
                    self.finish(
                        &spent,
                        r,
                        work.token,
                        Outcome::Released,
                        step("drain: finish released"),
                        emit,
                    );
                }
                _ => {}
            }
        }
    }

    /// 40001, 40P01, 55P03: not done, the same cursor again.
    fn batch_error(&self, next: &mut State, r: usize, work: Work) {
        next.replicas[r].backend = Backend::Open;
        let done = if self.0.lacks(Mutant::CommitTrusted) { 1 } else { 0 };
        next.replicas[r].at = At::Border(Work { step: work.step + done, ..work });
    }

    /// Faults of the server.
    pub fn server_faults(&self, state: &State, emit: Emit) {
        if state.faults == 0 {
            return;
        }
        for &fault in self.0.faults {
            match fault {
                Fault::Restart => change(state, emit, outside(0, "the server restarts"), |next| {
                    next.faults -= 1;
                    next.replicas.iter_mut().for_each(Replica::close);
                }),
                Fault::Failover => self.failover(state, emit),
                _ => {}
            }
        }
    }

    fn failover(&self, state: &State, emit: Emit) {
        let Some(standby) = &state.standby else {
            change(state, emit, outside(0, "the standby falls behind"), |next| {
                next.standby = Some(Box::new(next.database.clone()));
            });
            return;
        };
        change(state, emit, outside(0, "failover loses commits"), |next| {
            next.faults -= 1;
            next.database = (**standby).clone();
            next.standby = None;
            next.timeline += 1;
            next.replicas.iter_mut().for_each(Replica::close);
        });
    }
}

/// Operators and authors, at any moment in which the job row is not locked.
impl World {
    /// Any verb that changes something.
    pub fn operator(&self, state: &State, emit: Emit) {
        if state.verbs == 0 || self.row_is_locked(state) {
            return;
        }
        for &verb in VERBS.iter().filter(|verb| self.0.verbs.contains(verb)) {
            let mut next = State { verbs: state.verbs - 1, ..state.clone() };
            let (database, now) = (&mut next.database, state.now);
            let (changed, name) = match verb {
                Verb::Pause => (database.pause(), "pause"),
                Verb::Resume => (database.resume(), "resume"),
                Verb::PauseAll => (database.pause_all(), "pause_all"),
                Verb::ResumeAll => (database.resume_all(), "resume_all"),
                Verb::Cancel => (database.cancel(now), "cancel"),
                Verb::Kill => (database.kill(&self.0, now), "kill"),
                Verb::Edit => (database.edit(), "edit params"),
                Verb::Apply => (database.apply(), "apply, armed"),
                Verb::Disarm => (database.disarm(), "disarm"),
                Verb::Arm => (database.arm(), "arm"),
                Verb::RunNow => (database.run_now(now), "run_now"),
            };
            if changed {
                emit(outside(0, name), next);
            }
        }
    }
}
