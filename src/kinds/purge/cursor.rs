//! What a purge remembers from batch to batch, and from attempt to attempt.
//!
//! The cutoff and the walk are fixed by the first attempt of an occurrence, and stand here from before its first batch:
//! a replica that takes over means the same rows. That there is a cursor at all says that the guards let the purge pass.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[cfg(feature = "backup")]
use super::walk::failed;
use super::{
    among::Among,
    moment::{Block, Moment},
    walk_detach::Detaching,
};
#[cfg(feature = "backup")]
use crate::kind::Stop;

/// Where a purge stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    /// Rows older than this go; `None` for a purge without an age.
    pub cutoff: Option<Cutoff>,
    /// How far the walk is.
    pub at: Place,
    /// Whether whole partitions went first, or go.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_partition: bool,
    /// Where the heap ended when the walk began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<Block>,
    /// Of a part of an index walk, where the next part begins; the last one ends at the cutoff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
    /// Why this walk.
    pub why: String,
    /// Ranges where rows were locked; a patient pass visits them at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Range>,
    /// The partition that is being detached concurrently.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detaching: Option<Detaching>,
    /// Rows that were eligible when the first attempt began.
    pub eligible: u64,
    /// Whether these were counted, or estimated.
    pub counted: bool,
    /// Where the table is one of several targets: how the job stands with all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub among: Option<Among>,
    /// What the last batch wrote to storages, as its receipts have it: whoever comes next puts those that are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receipts: Vec<Value>,
}

/// The cutoff of an occurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cutoff {
    /// The instant.
    pub at: Timestamp,
    /// The same, as the age column has it.
    pub age: Moment,
    /// The wall clock that a retention of each row's own is counted back from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Moment>,
}

/// The position of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Of the index walk: everything younger is still to do.
    Age(Moment),
    /// Of the heap walk: this block and all behind it are still to do.
    Block(Block),
    /// Of the partition walk: partitions that end after this are still to do.
    Partition(Moment),
}

impl Place {
    /// The walk's name.
    pub fn walk(&self) -> &'static str {
        match self {
            Place::Age(_) => "index",
            Place::Block(_) => "heap",
            Place::Partition(_) => "partition",
        }
    }
}

/// A part of a walk: from the first bound, inclusive, up to the second, exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Range {
    /// Of ages.
    Ages(Moment, Moment),
    /// Of blocks.
    Blocks(Block, Block),
}

impl Range {
    /// Where it ends, and the next begins.
    pub fn end(&self) -> Place {
        match self {
            Range::Ages(_, to) => Place::Age(*to),
            Range::Blocks(_, to) => Place::Block(*to),
        }
    }

    /// Whether it begins with this block.
    pub fn begins_at(&self, block: Block) -> bool {
        matches!(self, Range::Blocks(from, _) if *from == block)
    }

    /// Cuts it into at most so many ranges of equal width, which meet and leave nothing out. One whose end is infinite
    /// stays whole.
    pub fn cut(&self, most: u32) -> Vec<Range> {
        let cut = |part: u32| match *self {
            Range::Ages(from, to) => from.towards(to, part, most).map(Place::Age),
            Range::Blocks(from, to) => {
                let width = u64::from(to.0.saturating_sub(from.0)) * u64::from(part) / u64::from(most);
                u32::try_from(width).ok().map(|width| Place::Block(Block(from.0 + width)))
            }
        };
        let (mut ranges, mut rest) = (Vec::new(), *self);
        for bound in (1..most).filter_map(cut) {
            let (front, back) = match (rest, bound) {
                (Range::Ages(from, to), Place::Age(at)) if from < at && at < to => {
                    (Range::Ages(from, at), Range::Ages(at, to))
                }
                (Range::Blocks(from, to), Place::Block(at)) if from < at && at < to => {
                    (Range::Blocks(from, at), Range::Blocks(at, to))
                }
                _ => continue,
            };
            ranges.push(front);
            rest = back;
        }
        ranges.push(rest);
        ranges
    }
}

impl Cursor {
    /// The name of the walk that the occurrence began with.
    pub fn walk(&self) -> &'static str {
        if self.by_partition { "partition" } else { self.at.walk() }
    }

    /// More than this many ranges with locked rows are not told apart.
    const SKIPPED_MOST: usize = 64;

    /// The same, after a batch with these receipts.
    #[cfg(feature = "backup")]
    pub fn with_receipts(&self, receipts: &[crate::outside::archive::Receipt]) -> Result<Self, Stop> {
        let receipts = receipts.iter().map(serde_json::to_value).collect::<Result<_, _>>();
        let receipts = receipts.map_err(|_| failed("a receipt cannot be stored as JSON"))?;
        Ok(Cursor { receipts, ..self.clone() })
    }

    /// Remembers a range for the patient pass. Beyond a number, the last ranges grow together: the pass then looks at
    /// more than it must, but at nothing twice and at nothing less.
    pub fn remember(&mut self, range: Range) {
        if self.skipped.len() < Self::SKIPPED_MOST {
            self.skipped.push(range);
            return;
        }
        match (self.skipped.last_mut(), range) {
            (Some(Range::Ages(_, to)), Range::Ages(_, end)) => *to = end.max(*to),
            (Some(Range::Blocks(_, to)), Range::Blocks(_, end)) => *to = end.max(*to),
            _ => self.skipped.push(range),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_into_ranges_that_meet() {
        let number = |from, to| Range::Ages(Moment::Number(from), Moment::Number(to));
        let blocks = |from, to| Range::Blocks(Block(from), Block(to));
        let uuid = |n: u128| Moment::Uuid(uuid::Uuid::from_u128(n));
        assert_eq!(number(-3, 7).cut(2), [number(-3, 2), number(2, 7)]);
        assert_eq!(blocks(5, 8).cut(8), [blocks(5, 6), blocks(6, 7), blocks(7, 8)], "none is empty");
        let extremes = [
            number(i64::MIN / 2 + 1, i64::MAX / 2),
            blocks(0, u32::MAX),
            Range::Ages(uuid(0), uuid(u128::MAX)),
            Range::Ages(Moment::Micros(0), Moment::Micros(i64::MAX - 1)),
        ];
        for range in extremes {
            let parts = range.cut(16);
            assert_eq!(parts.len(), 16, "{range:?}");
            assert_eq!(parts.last().map(Range::end), Some(range.end()));
            for pair in parts.windows(2) {
                let begins = match pair[1] {
                    Range::Ages(from, _) => Place::Age(from),
                    Range::Blocks(from, _) => Place::Block(from),
                };
                assert_eq!(pair[0].end(), begins, "{range:?}");
            }
        }
        for whole in
            [Range::Ages(Moment::BEGINNING, Moment::Micros(5)), number(i64::MIN, i64::MAX), blocks(3, 4)]
        {
            assert_eq!(whole.cut(16), [whole]);
        }
    }

    #[test]
    fn many_ranges_grow_together() {
        let mut cursor = Cursor {
            cutoff: None,
            at: Place::Block(Block(0)),
            by_partition: false,
            end: None,
            until: None,
            why: String::new(),
            skipped: Vec::new(),
            detaching: None,
            eligible: 0,
            counted: true,
            among: None,
            receipts: Vec::new(),
        };
        for block in 0..200 {
            cursor.remember(Range::Blocks(Block(block * 2), Block(block * 2 + 1)));
        }
        assert_eq!(cursor.skipped.len(), Cursor::SKIPPED_MOST);
        assert_eq!(cursor.skipped.last(), Some(&Range::Blocks(Block(126), Block(399))));
        let text = serde_json::to_string(&cursor).expect("a cursor is JSON");
        assert_eq!(serde_json::from_str::<Cursor>(&text).expect("and comes back"), cursor);
    }
}
