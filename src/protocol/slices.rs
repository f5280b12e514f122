//! A batch whose effect is cut into slices, for the sake of whoever shares a processor with it.
//!
//! On a machine with few processors, what an application feels of a purge is less its WAL than that a backend which works
//! for ten milliseconds on end keeps one of them: measured on two, with an application at 30 % of what it could do, its
//! p99 was 3.5 times its own beside batches of 10 ms, and half of that beside such of 1 ms, while no smaller share of the
//! time and no smaller WAL changed it. But batches that small spend half of their time on the fence. So a batch keeps
//! its size, and the server rests within it.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio_postgres::{Client, Statement, types::ToSql};

use super::session::RunSession;
use crate::statements;

/// A batch's effect, cut into parts that the server does one after the other in one transaction, resting between them.
///
/// What shares a processor with a purge waits no longer than for one slice, while the fence and the commit are needed
/// only once for all of them. All leave in one flight: between two of them nobody has to be woken.
#[derive(Clone, Copy)]
pub struct Slices<'a> {
    /// The statement, without `RETURNING`, with `$1…` for its values, and with [`IN_BATCH`] where it is evaluated whatever
    /// rows there are, such as in a bound of its range.
    pub effect: &'a str,
    /// The values of each slice: at least one, at most [`Slices::MOST`].
    pub params: &'a [&'a [&'a (dyn ToSql + Sync)]],
    /// How long the server rests between two; it keeps time in milliseconds.
    pub rest: Duration,
    /// The values of the one slice of the next batch, if it is certain to follow at once: it is begun behind this one's
    /// commit, and the server works on it while the client reads what became of this one. If another batch follows, or
    /// anything else is asked of the session, it is taken back. Not in another database.
    pub next: Option<&'a [&'a (dyn ToSql + Sync)]>,
}

/// True within the transaction of a batch, and an error anywhere else.
///
/// The BEGIN of a batch and its effect leave in one flight. If something cancels just the BEGIN, the effect would be a
/// transaction of its own, without a fence; by this condition in it, it is none. (`current_setting` fails for a setting
/// that was never set, and the cast for one that was set in a transaction that is over.)
pub const IN_BATCH: &str = "(pg_catalog.current_setting('sexton.in_batch')::pg_catalog.bool IS NOT NULL)";

impl Slices<'_> {
    /// More would be of no use: a batch is short.
    pub const MOST: usize = 16;
}

/// So much less is asked of the server, which rests for whole milliseconds. What is left until the end it takes from a
/// clock in seconds as a floating-point number and rounds it up, so that a rest of 1 ms was one of 2 ms as often as not
/// (measured: 1.7 ms on average, and 1.1 with this).
const ROUNDED_UP: Duration = Duration::from_micros(100);

/// How a batch's rows are counted.
#[derive(Clone, Copy)]
pub(super) enum Counted {
    /// The server says how many the statement affected.
    ByServer,
    /// The statement gives one row with the number.
    AsRow,
}

/// What the slices of a batch came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affected {
    /// How many rows they affected.
    pub(super) rows: u64,
    /// How long the server rested between them.
    pub(super) rested: Duration,
    /// When the last one was answered.
    pub(super) done: Instant,
}

/// The effect of a batch, and the rest between its slices, as prepared statements.
pub(super) struct Prepared {
    pub(super) effect: Statement,
    rest: Option<Statement>,
}

impl Prepared {
    pub(super) async fn on(
        session: &mut RunSession,
        slices: &Slices<'_>,
    ) -> Result<Prepared, tokio_postgres::Error> {
        let effect = session.prepare(slices.effect, &[]).await?;
        let rest = match slices.rest.is_zero() || slices.params.len() < 2 {
            true => None,
            false => Some(session.prepare(statements::REST, &[]).await?),
        };
        Ok(Prepared { effect, rest })
    }

    /// Sends all slices before any is answered.
    ///
    /// What is easy to get wrong: the client sends a statement when its future is first polled, so the futures are polled in
    /// the order in which the server is to work.
    pub(super) async fn in_one_flight(
        &self,
        client: &Client,
        slices: &Slices<'_>,
        counted: Counted,
    ) -> Result<Affected, tokio_postgres::Error> {
        let seconds = slices.rest.saturating_sub(ROUNDED_UP).as_secs_f64();
        let slice = async |number: usize, params: &[&(dyn ToSql + Sync)]| {
            let rest = async {
                match &self.rest {
                    Some(rest) if number > 0 => {
                        client.execute(rest, &[&seconds]).await.map(|_| Instant::now())
                    }
                    _ => Ok(Instant::now()),
                }
            };
            let effect = async {
                let rows = match counted {
                    Counted::ByServer => client.execute(&self.effect, params).await?,
                    Counted::AsRow => {
                        client.query_one(&self.effect, params).await?.get::<_, i64>(0).unsigned_abs()
                    }
                };
                Ok((rows, Instant::now()))
            };
            let (rested, effect) = futures_util::join!(rest, effect);
            let (rows, done) = effect?;
            Ok::<_, tokio_postgres::Error>(Answer { rows, rested: rested?, done })
        };
        let slices = slices.params.iter().enumerate().map(|(number, params)| slice(number, params));
        let answers: Result<Vec<Answer>, _> = join_all(slices).await.into_iter().collect();
        Ok(in_all(&answers?))
    }
}

/// What the server answered to a slice.
struct Answer {
    rows: u64,
    /// When the rest before it was over.
    rested: Instant,
    /// When it was done itself.
    done: Instant,
}

fn in_all(answers: &[Answer]) -> Affected {
    let rests = answers.windows(2).map(|pair| pair[1].rested.saturating_duration_since(pair[0].done));
    Affected {
        rows: answers.iter().map(|answer| answer.rows).sum(),
        rested: rests.sum(),
        done: answers.last().map_or_else(Instant::now, |answer| answer.done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rests that are taken for work would make batches smaller and the rests after them longer.
    #[test]
    fn rows_of_all_slices_count_and_only_what_lies_between_them_is_rest() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let answer = |rows, rested, done| Answer { rows, rested: at(rested), done: at(done) };
        let (none, some) = (Duration::ZERO, Duration::from_millis(2 + 5));
        let one = Affected { rows: 7, rested: none, done: at(10) };
        assert_eq!(in_all(&[answer(7, 3, 10)]), one, "before the first there is none");
        let answers = [answer(7, 3, 10), answer(0, 12, 20), answer(5, 25, 40)];
        assert_eq!(in_all(&answers), Affected { rows: 12, rested: some, done: at(40) });
    }
}
