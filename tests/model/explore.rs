//! Breadth-first exploration of every reachable state, and the shortest way to the one looked for.
//!
//! It knows nothing of the protocol. Easy to get wrong: liveness is judged over steps of [`Kind::Progress`]
//! alone, since a way out that needs an operator or another fault is no way out.

use std::{
    collections::{HashMap, VecDeque},
    fmt::Debug,
    hash::{BuildHasherDefault, Hash, Hasher},
};

/// Beyond this many states an exploration has outgrown its purpose, and the bounds want looking at.
const STATES_MAX: usize = 2_000_000;

/// Who moves, which decides what counts as a way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A replica or the server does what it is there for.
    Progress,
    /// Chance, an operator or the clock.
    Outside,
}

/// One transition, as it is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Whether liveness may count on it.
    pub kind: Kind,
    /// Which replica or worker, from 1; 0 for all others.
    pub actor: u8,
    /// What it does.
    pub action: &'static str,
}

/// A system of states and transitions.
pub trait Model {
    /// One state of the whole system, ghosts included.
    type State: Clone + Eq + Hash + Debug;

    /// Where it starts.
    fn initial(&self) -> Self::State;

    /// Hands each transition out of `state` to `emit`.
    fn transitions(&self, state: &Self::State, emit: &mut dyn FnMut(Step, Self::State));

    /// One line about a state for a printed history.
    fn describe(&self, state: &Self::State) -> String;
}

/// All that was reached.
pub struct Explored<S> {
    /// The states, in the order in which they were found: the shortest way first.
    pub states: Vec<S>,
    parents: Vec<Option<(u32, Step)>>,
    progress: Vec<(u32, u32)>,
}

/// Explores until a state satisfies `wanted`; returns what was reached and that state's number.
///
/// Each state comes into being once, so that the first state found is one with the fewest steps.
pub fn search<M: Model>(model: &M, wanted: impl Fn(&M::State) -> bool) -> (Explored<M::State>, Option<u32>) {
    let initial = model.initial();
    let mut numbers: HashMap<M::State, u32, BuildHasherDefault<Quick>> = HashMap::default();
    let mut all = Explored { states: vec![initial.clone()], parents: vec![None], progress: Vec::new() };
    numbers.insert(initial, 0);
    let mut from = 0;
    while from < all.states.len() {
        if wanted(&all.states[from]) {
            return (all, Some(from as u32));
        }
        let state = all.states[from].clone();
        model.transitions(&state, &mut |step, next| {
            let number = *numbers.entry(next).or_insert_with_key(|next| {
                all.states.push(next.clone());
                all.parents.push(Some((from as u32, step)));
                all.states.len() as u32 - 1
            });
            if step.kind == Kind::Progress {
                all.progress.push((from as u32, number));
            }
        });
        assert!(all.states.len() < STATES_MAX, "more than {STATES_MAX} states: the bounds are too wide");
        from += 1;
    }
    (all, None)
}

impl<S: Clone + Eq + Hash + Debug> Explored<S> {
    /// The steps from the initial state to this one, each with the state that it led to.
    pub fn history(&self, mut number: u32) -> Vec<(Step, &S)> {
        let mut steps = Vec::new();
        while let Some((parent, step)) = self.parents[number as usize] {
            steps.push((step, &self.states[number as usize]));
            number = parent;
        }
        steps.reverse();
        steps
    }

    /// The first state of those that satisfy `premise` from which progress alone cannot reach `goal`.
    pub fn stuck(&self, premise: impl Fn(&S) -> bool, goal: impl Fn(&S) -> bool) -> Option<u32> {
        let mut into: Vec<Vec<u32>> = vec![Vec::new(); self.states.len()];
        for &(from, to) in &self.progress {
            into[to as usize].push(from);
        }
        let mut reaches: Vec<bool> = self.states.iter().map(&goal).collect();
        let mut queue: VecDeque<u32> =
            (0..self.states.len() as u32).filter(|&n| reaches[n as usize]).collect();
        while let Some(number) = queue.pop_front() {
            for &before in &into[number as usize] {
                if !reaches[before as usize] {
                    reaches[before as usize] = true;
                    queue.push_back(before);
                }
            }
        }
        (0..self.states.len() as u32).find(|&n| !reaches[n as usize] && premise(&self.states[n as usize]))
    }
}

/// A history as text: one numbered line a step.
pub fn print<M: Model>(model: &M, history: &[(Step, &M::State)]) -> String {
    let mut text = String::new();
    for (number, (step, state)) in history.iter().enumerate() {
        let who = if step.actor == 0 { "-".to_owned() } else { step.actor.to_string() };
        text += &format!("{:>3}. {who} {:<34} {}\n", number + 1, step.action, model.describe(state));
    }
    text
}

/// A plain multiplicative hash: states are many, small and not hostile, and tests run unoptimised.
#[derive(Default)]
struct Quick(u64);

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}
