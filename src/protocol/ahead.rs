//! A batch that is begun behind the commit of the one before it: the server works on while the client reads what became of
//! that one, so that between two batches it waits for the client once and not twice.
//!
//! Nothing is gained by haste here but time: the batch that was begun is as any other, and commits by its own fence, which
//! is sent when the one before is known to have committed. What is easy to get wrong: whatever else is sent on the session
//! would become part of it, so it is taken back first (`RunSession::settle_abandoned`); and it must be the batch that is
//! asked for in the end, to the last byte of its values.

use std::{
    error::Error as StdError,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use tokio_postgres::{
    Client, Error, Statement,
    types::{Format, IsNull, ToSql, Type, to_sql_checked},
};

use super::slices::Affected;

type Values<'a> = &'a [&'a (dyn ToSql + Sync)];
type Answer = Result<Affected, Error>;

/// A batch's transaction and effect, sent and not answered yet.
pub(super) struct Begun {
    effect: String,
    types: Vec<Type>,
    values: Vec<Encoded>,
    /// In a mutex that nobody ever locks, so that a session may be shared.
    answer: Mutex<Pin<Box<dyn Future<Output = Answer> + Send>>>,
    /// When its time began.
    pub(super) since: Instant,
}

impl Begun {
    /// To be sent by [`Begun::send`]; `None` if a value does not fit its parameter.
    pub(super) fn new(
        client: Arc<Client>,
        begin: String,
        effect: &str,
        statement: Statement,
        values: Values<'_>,
    ) -> Option<Begun> {
        let types = statement.params().to_vec();
        let values = Encoded::all(values, &types)?;
        let own = values.clone();
        let answer = async move {
            let values = own.iter().map(|value| value as &(dyn ToSql + Sync)).collect::<Vec<_>>();
            let (begun, affected) =
                futures_util::join!(client.batch_execute(&begin), client.execute(&statement, &values));
            begun?;
            Ok(Affected { rows: affected?, rested: Duration::ZERO, done: Instant::now() })
        };
        let (answer, since) = (Mutex::new(Box::pin(answer) as Pin<Box<_>>), Instant::now());
        Some(Begun { effect: effect.to_owned(), types, values, answer, since })
    }

    /// Sends it: what is polled once is sent.
    pub(super) async fn send(&mut self) {
        let answer = self.answer.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut early = None;
        poll_fn(|context| {
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                early = Some(answer);
            }
            Poll::Ready(())
        })
        .await;
        if let Some(early) = early {
            *answer = Box::pin(std::future::ready(early));
        }
    }

    /// The same, its time running from now: the batch before it is over.
    pub(super) fn beginning_now(self) -> Begun {
        Begun { since: Instant::now(), ..self }
    }

    /// Whether this is that batch.
    pub(super) fn is(&self, effect: &str, values: &[Values<'_>]) -> bool {
        let [values] = values else { return false };
        self.effect == effect && Encoded::all(values, &self.types).is_some_and(|values| values == self.values)
    }

    /// What it came to.
    pub(super) async fn answer(self) -> Answer {
        self.answer.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).await
    }
}

/// A value as it is sent, independent of where it came from.
#[derive(Clone, Debug, PartialEq)]
struct Encoded {
    text: bool,
    /// `None` for NULL.
    bytes: Option<Vec<u8>>,
}

impl Encoded {
    fn all(values: Values<'_>, types: &[Type]) -> Option<Vec<Encoded>> {
        if values.len() != types.len() {
            return None;
        }
        values.iter().zip(types).map(|(value, ty)| Encoded::of(*value, ty)).collect()
    }

    fn of(value: &(dyn ToSql + Sync), ty: &Type) -> Option<Encoded> {
        let mut bytes = BytesMut::new();
        let null = value.to_sql_checked(ty, &mut bytes).ok()?;
        let text = matches!(value.encode_format(ty), Format::Text);
        Some(Encoded { text, bytes: matches!(null, IsNull::No).then(|| bytes.to_vec()) })
    }
}

impl ToSql for Encoded {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        let Some(bytes) = &self.bytes else { return Ok(IsNull::Yes) };
        out.extend_from_slice(bytes);
        Ok(IsNull::No)
    }

    // It was encoded for the very type that it is sent as.
    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        if self.text { Format::Text } else { Format::Binary }
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_sent_as_it_was() {
        let all = |values: Values<'_>| Encoded::all(values, &[Type::INT8, Type::TEXT]).expect("they fit");
        let values = all(&[&7_i64, &None::<String>]);
        assert_eq!(values, all(&[&7_i64, &None::<String>]));
        assert_ne!(values, all(&[&8_i64, &None::<String>]));
        assert_ne!(values, all(&[&7_i64, &""]), "empty is not NULL");
        let mut out = BytesMut::new();
        assert!(matches!(values[0].to_sql_checked(&Type::INT8, &mut out), Ok(IsNull::No)));
        assert_eq!(out, 7_i64.to_be_bytes()[..]);
        assert!(matches!(values[1].to_sql_checked(&Type::TEXT, &mut out), Ok(IsNull::Yes)));
    }

    #[test]
    fn what_does_not_fit_is_not_sent() {
        assert_eq!(Encoded::all(&[&"seven"], &[Type::INT8]), None);
        assert_eq!(Encoded::all(&[], &[Type::INT8]), None);
    }
}
