//! What people may ask about notices, and do about channels.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};
use uuid::Uuid;

use super::{Operator, rows::rows};
use crate::{error::Result, statements};

rows! {
    /// A notice, and what became of it on its way to a channel.
    pub struct NoticeRow {
        /// Order of entry.
        id: i64,
        /// When it happened.
        at: Timestamp,
        /// What.
        event: String,
        /// About which job.
        job: Option<String>,
        /// About which run.
        run_id: Option<Uuid>,
        /// To which channel; none if no channel hears of it.
        channel: Option<String>,
        /// waiting, retrying, sent, held_back, failed, off, nobody.
        state: String,
        /// Attempts made.
        attempt: Option<i32>,
        /// How many like it were held back before it.
        held_back: Option<i64>,
        /// When it is sent, or tried again.
        due_at: Option<Timestamp>,
        /// When it was sent or given up.
        ended_at: Option<Timestamp>,
        /// What went wrong last.
        error: Option<String>,
        /// How to read the payload.
        payload_version: i32,
        /// The facts.
        payload: Value,
    }

    /// A channel, and how it does.
    pub struct ChannelRow {
        /// Its name.
        channel: String,
        /// on, failing, off.
        state: String,
        /// Failures in a row.
        failures: i32,
        /// Since when it is off.
        off_at: Option<Timestamp>,
        /// Until when it rests.
        retry_at: Option<Timestamp>,
        /// When something reached it last.
        sent_at: Option<Timestamp>,
        /// What went wrong last.
        error: Option<String>,
        /// How many notices wait for it.
        waiting: i64,
        /// When the first of them was due.
        since: Option<Timestamp>,
        /// Whether one has been due for two minutes, and nobody sends it.
        overdue: bool,
    }
}

impl Operator {
    /// Switches a channel on that failed ten times in a row. What waited for it for less than a day is sent.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](crate::ErrorKind::Denied).
    ///
    /// # Cancel safety
    /// As [`Operator::pause`].
    pub async fn channel_on(&self, channel: &str) -> Result<String> {
        self.verb(statements::CHANNEL_ON, &[(&channel, Type::TEXT)]).await
    }

    /// The latest notices and what became of them, of one job or of all; if `failed`, only those that did not arrive, or
    /// not at the first attempt.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](crate::ErrorKind::Denied).
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn notices(&self, job: Option<&str>, failed: bool, limit: u32) -> Result<Vec<NoticeRow>> {
        let limit: i64 = limit.into();
        let params: [(&(dyn ToSql + Sync), Type); 3] =
            [(&job, Type::TEXT), (&failed, Type::BOOL), (&limit, Type::INT8)];
        self.list(statements::NOTICES, &params).await
    }

    /// The channels that somebody named or that something was sent to.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](crate::ErrorKind::Denied).
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn channels(&self) -> Result<Vec<ChannelRow>> {
        self.list(statements::CHANNELS, &[]).await
    }
}
