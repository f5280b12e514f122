//! A seeded schedule of faults. The same seed gives the same schedule, whatever becomes of it.

use std::time::Duration;

use crate::faults::{Fault, TABLE};

/// One fault to come.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    /// After the one before.
    pub pause: Duration,
    pub fault: Fault,
    /// Which replica, job or session, modulo how many there are.
    pub victim: usize,
    /// How long it lasts, for faults that last.
    pub length: Duration,
    /// Whatever else is to be chosen.
    pub choice: u64,
}

/// Draws without end.
pub struct Dice {
    rng: fastrand::Rng,
    faults: Vec<Fault>,
}

impl Dice {
    /// All faults of the table that this machine can do, or only some.
    pub fn new(seed: u64, faults: Vec<Fault>) -> Dice {
        Dice { rng: fastrand::Rng::with_seed(seed), faults }
    }

    fn fault(&mut self) -> Fault {
        let weight =
            |fault: &Fault| TABLE.iter().find(|entry| entry.fault == *fault).map_or(0, |entry| entry.weight);
        let total: u32 = self.faults.iter().map(weight).sum();
        let mut ticket = self.rng.u32(0..total.max(1));
        for fault in &self.faults {
            let weight = weight(fault);
            if ticket < weight {
                return *fault;
            }
            ticket -= weight;
        }
        Fault::Kill
    }
}

impl Iterator for Dice {
    type Item = Draw;

    fn next(&mut self) -> Option<Draw> {
        let pause = Duration::from_millis(self.rng.u64(20..260));
        let fault = self.fault();
        let length = Duration::from_millis(self.rng.u64(50..2500));
        Some(Draw { pause, fault, victim: self.rng.usize(..), length, choice: self.rng.u64(..) })
    }
}
