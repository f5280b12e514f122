//! A call for each row before it goes: the purge of storage nodes.
//!
//! A batch takes the rows of a range a few hundred at a time (`calls`, `rows`). It calls
//! for all of them at once within the limits, and no transaction is open while it does (`caller`); then one fenced transaction deletes exactly the rows whose
//! call succeeded, was not wanted, or has nowhere to go, and notes the others in `sexton.deferred` (`batch`). What is
//! easy to get wrong: between call and transaction anything may happen to a row; so the DELETE looks at the whole
//! predicate again, and at all that the call was made of.

mod batch;
mod caller;
mod calls;
mod described;
mod dry;
mod params;
mod rows;
mod template;
mod told;

pub use self::{
    batch::{Before, RANGE},
    caller::refused,
    calls::Calls,
    described::TABLE,
    dry::dry,
    params::BeforeDelete,
};
