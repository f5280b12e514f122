//! Where the next batch of an index walk probably ends, told from how densely the last one's rows lay.
//!
//! Finding the end exactly means to count through the index, which costs a `full` purge a twelfth of its time (measured:
//! 25 ms of 330, half a million rows). Where a wrong guess does no harm it is not needed: any bound is right for a range
//! that is deleted whole, and one that holds too much runs into the statement's time limit and is looked up after all.
//! What is easy to get wrong: a guess must be forgotten as soon as it misses by much, or a gap in the ages is crossed in
//! thousands of empty steps, and a dense place is met at full width again and again.

use super::moment::Moment;

/// A batch that held less than this share of what was expected, or more than its inverse, says that density changed.
const MISSED: f64 = 0.4;

/// The density of ages: how far apart two rows lie.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ahead {
    apart: Option<f64>,
}

impl Ahead {
    /// So many rows lie between these two.
    pub fn measured(&mut self, from: Moment, to: Moment, rows: u64) {
        self.apart = match from.distance(to) {
            Some(width) if rows > 0 && width > 0 => Some(width as f64 / rows as f64),
            _ => None,
        };
    }

    /// Of the rows expected between these two, so many were there.
    pub fn found(&mut self, from: Moment, to: Moment, expected: u64, rows: u64) {
        let share = rows as f64 / expected.max(1) as f64;
        match (MISSED..1.0 / MISSED).contains(&share) {
            true => self.measured(from, to, rows),
            false => self.forget(),
        }
    }

    /// Nothing is known any more: the next bound is to be looked up.
    pub fn forget(&mut self) {
        self.apart = None;
    }

    /// A bound about so many rows on. `None` where nothing is known, or the type has no such arithmetic.
    pub fn bound(&self, from: Moment, rows: u64) -> Option<Moment> {
        // Neither a fraction nor the last digits matter for a guess.
        from.plus((self.apart? * rows as f64) as i64).filter(|bound| *bound > from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_lies_as_far_on_as_the_density_says() {
        let mut ahead = Ahead::default();
        assert_eq!(ahead.bound(Moment::Number(0), 10), None);
        ahead.measured(Moment::Number(100), Moment::Number(300), 50);
        assert_eq!(ahead.bound(Moment::Number(300), 10), Some(Moment::Number(340)));
        ahead.found(Moment::Number(300), Moment::Number(340), 10, 20);
        assert_eq!(ahead.bound(Moment::Number(340), 10), Some(Moment::Number(360)));
    }

    #[test]
    fn a_miss_is_forgotten() {
        for rows in [0, 3, 26, 1000] {
            let mut ahead = Ahead::default();
            ahead.measured(Moment::Number(0), Moment::Number(100), 10);
            ahead.found(Moment::Number(100), Moment::Number(200), 10, rows);
            assert_eq!(ahead.bound(Moment::Number(200), 10), None, "{rows}");
        }
    }

    #[test]
    fn there_is_no_bound_beyond_the_ends_of_time() {
        let mut ahead = Ahead::default();
        ahead.measured(Moment::BEGINNING, Moment::Micros(0), 10);
        assert_eq!(ahead.bound(Moment::Micros(0), 10), None, "-infinity is no distance away");
        ahead.measured(Moment::Micros(0), Moment::Micros(i64::MAX - 1), 1);
        assert_eq!(ahead.bound(Moment::Micros(i64::MAX - 1), 10), None);
        ahead.measured(Moment::Micros(0), Moment::Micros(1), 10);
        assert_eq!(ahead.bound(Moment::Micros(1), 1), None, "it must move on");
    }
}
