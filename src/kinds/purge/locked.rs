//! Rows that a batch has locked, and how later statements of it name them.
//!
//! What is easy to get wrong: in a partitioned table a place alone names no row.

use bytes::{BufMut, BytesMut};
use tokio_postgres::{
    Row,
    types::{FromSql, IsNull, ToSql, Type, to_sql_checked},
};

use super::statement::{Quoted, Sql};

/// The place of a row in its heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(u32, u16);

impl<'a> FromSql<'a> for Place {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        let raw: [u8; 6] = raw.try_into()?;
        let [a, b, c, d, e, f] = raw;
        Ok(Place(u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, f])))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TID
    }
}

impl ToSql for Place {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_u32(self.0);
        out.put_u16(self.1);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TID
    }

    to_sql_checked!();
}

/// Rows that were locked, by place. Nobody else can move them; and between two statements of ours, nor do we.
#[derive(Debug)]
pub struct Locked {
    places: Vec<Place>,
    /// The partition of each, where there are partitions.
    parts: Option<Vec<u32>>,
}

impl Locked {
    /// Rows of `(tableoid, ctid)`.
    pub fn of(rows: &[Row], partitioned: bool) -> Self {
        let parts = partitioned.then(|| rows.iter().map(|row| row.get(0)).collect());
        Locked { places: rows.iter().map(|row| row.get(1)).collect(), parts }
    }

    /// Binds them; gives the condition that a row of `table` is one of them.
    pub fn bind<'a>(&'a self, sql: &mut Sql<'a>, table: &Quoted) -> String {
        sql.values.push(&self.places);
        let n = sql.values.len();
        let Some(parts) = &self.parts else { return format!("{table}.ctid = ANY (${n}::tid[])") };
        sql.values.push(parts);
        // The first condition finds the rows; the second tells apart those of equal place in different partitions.
        format!(
            "{table}.ctid = ANY (${n}::tid[]) AND ({table}.tableoid, {table}.ctid) IN \
             (SELECT picked.part, picked.place FROM unnest(${}::oid[], ${n}::tid[]) AS picked(part, place))",
            n + 1
        )
    }
}
