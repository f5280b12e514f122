//! The server's side of a run session: what a batch does there once it was sent, with or without its client.
//!
//! Easy to get wrong: a client that is gone does not stop its statement. A batch in one statement may commit long
//! after the process that sent it died; in a transaction it cannot, since somebody has to send COMMIT.

use crate::{
    rules::{Fault, Form, Mutant},
    world::{At, Backend, Client, Emit, State, Work, World, change, outside, progress},
};

/// The server's side of one session.
impl World {
    /// What the session does next.
    pub fn server(&self, state: &State, r: usize, emit: Emit) {
        let replica = state.replicas[r];
        match replica.backend {
            Backend::Working(work) if self.0.form == Form::Statement => self.fence(state, r, work, emit),
            Backend::Closed | Backend::Open | Backend::Working(_) | Backend::Fenced(_) => {}
        }
        if replica.client != Client::Up && replica.backend != Backend::Closed {
            change(state, emit, progress(r, "the server ends its session"), |next| next.replicas[r].close());
        }
    }

    /// `sexton.fence`, last in the batch. In one statement the commit follows at once.
    pub fn fence(&self, state: &State, r: usize, work: Work, emit: Emit) {
        if !state.database.fence_admits(&self.0, work.token, work.step) {
            change(state, emit, progress(r, "fence: refused, rolled back"), |next| {
                self.refused(next, r, work)
            });
        } else if self.0.form == Form::Transaction {
            change(state, emit, progress(r, "fence: admitted"), |next| {
                next.replicas[r].backend = Backend::Fenced(work);
            });
        } else {
            self.commit_or_lose_the_answer(state, r, work, "fence: admitted, committed", emit);
        }
    }

    /// COMMIT, or a COMMIT whose answer never arrives.
    pub fn commit_or_lose_the_answer(
        &self,
        state: &State,
        r: usize,
        work: Work,
        action: &'static str,
        emit: Emit,
    ) {
        change(state, emit, progress(r, action), |next| self.commit(next, r, work));
        if state.faults > 0 && self.0.faults.contains(&Fault::ReplyLost) {
            change(state, emit, outside(r + 1, "committed, the answer is lost"), |next| {
                next.faults -= 1;
                let at = next.replicas[r].at;
                self.commit(next, r, work);
                next.replicas[r].at = at;
                next.replicas[r].close();
            });
        }
    }

    /// The batch is durable. The client learns it in the same step: what it does not read for being frozen or
    /// dead changes nothing, and an answer that never arrives is `Fault::ReplyLost`.
    fn commit(&self, next: &mut State, r: usize, work: Work) {
        let broken = next.database.commit_batch(&self.0, work.token, work.occurrence, work.step);
        next.broken.merge(broken);
        let after = Work { step: work.step + 1, ..work };
        let apart = self.0.lacks(Mutant::ProgressApart);
        next.replicas[r].backend = Backend::Open;
        if next.replicas[r].client != Client::Dead {
            next.replicas[r].at = if apart { At::Unrecorded(after) } else { At::Border(after) };
        }
    }

    /// The batch is rolled back by the fence. With `COMMIT` trusted the client believes that it is done.
    fn refused(&self, next: &mut State, r: usize, work: Work) {
        next.replicas[r].backend = Backend::Open;
        if next.replicas[r].client != Client::Dead {
            next.replicas[r].at = if self.0.lacks(Mutant::CommitTrusted) {
                At::Border(Work { step: work.step + 1, ..work })
            } else {
                At::Refused(work.token)
            };
        }
    }

    /// Whether somebody holds the job row `FOR SHARE`: claim, finish and every verb wait for it.
    pub fn row_is_locked(&self, state: &State) -> bool {
        let weak = [Mutant::FencePlainSelect, Mutant::FenceKeyShare, Mutant::FenceOff];
        !weak.iter().any(|&mutant| self.0.lacks(mutant))
            && state.replicas.iter().any(|replica| matches!(replica.backend, Backend::Fenced(_)))
    }
}
