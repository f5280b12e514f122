//! The next range of the heap: so many blocks, each looked at once.
//!
//! The walk ends where the heap ended when it began. A row that an update moves behind the position is left for the
//! next run; one that it moves ahead is met there. What is easy to get wrong: how many rows a range holds is not known
//! beforehand, so a budget of rows is kept by the statement's own limit.

use super::{
    cursor::Range,
    moment::Block,
    progress::TELL_EVERY,
    statement::Form,
    walk::{Next, Step, Walk},
};

/// No block of 8 KiB holds more rows than this; for larger ones it is scaled.
const ROWS_OF_BLOCK: i64 = 291 * 4;

/// The next range from `from` on.
pub fn next(walk: &Walk<'_>, from: Block) -> Next {
    let end = walk.cursor.end.unwrap_or(from);
    if from >= end {
        return Next::Done;
    }
    let size = u32::try_from(walk.pace.size()).unwrap_or(u32::MAX);
    let to = Block(from.0.saturating_add(size).min(end.0));
    let blocks = to.0 - from.0;
    let form = match walk.rows_left() {
        Some(left) if left < i64::from(blocks).saturating_mul(ROWS_OF_BLOCK) => Form::Some(left),
        _ => Form::Whole,
    };
    let units = if form == Form::Whole { u64::from(blocks) } else { 0 };
    Next::Step(Step { range: Range::Blocks(from, to), form, units, guessed: false })
}

/// The step after this one, if it is certain that it follows at once, with nothing to be asked of the server between the
/// two: then it is begun behind the commit of this one.
pub fn after(walk: &Walk<'_>, step: &Step) -> Option<Step> {
    let Range::Blocks(_, from) = step.range else { return None };
    let plain = walk.removal.is_none();
    #[cfg(feature = "http")]
    let plain = plain && walk.before.is_none();
    let certain = plain
        && step.form == Form::Whole
        && walk.pace.never_rests()
        && !walk.pressure.asks()
        && walk.budget.left(walk.tally.deleted).is_none()
        && walk.told.elapsed() < TELL_EVERY;
    match certain.then(|| next(walk, from)) {
        Some(Next::Step(next)) => Some(next),
        _ => None,
    }
}
