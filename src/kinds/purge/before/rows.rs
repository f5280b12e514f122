//! A row to call for: what was read of it, and what its call is made of.
//!
//! What is easy to get wrong: a value is a text in a URL, but in a token's claim it is what JSON makes of the column.

use serde_json::Value;

use super::{
    calls::Calls,
    template::{NoUrl, Piece, Template},
};
use crate::kinds::purge::statement::Quoted;

/// A row to call for.
#[derive(Debug)]
pub struct Row {
    /// Its key, by columns.
    pub key: Vec<String>,
    /// The same as one text.
    pub key_text: String,
    /// All that its call is made of.
    pub same: String,
    own: Vec<Option<String>>,
    own_values: Value,
    target: Option<Value>,
    /// Whether it goes without a call.
    pub guarded: bool,
    /// Rounds of calls so far.
    pub attempts: i32,
}

impl Row {
    /// Reads one; whether its target is marked as down stands beside it.
    pub fn of(row: &tokio_postgres::Row) -> (Self, bool) {
        let found = Row {
            key: row.get("key"),
            key_text: row.get("key_text"),
            same: row.get("same"),
            own: row.get("own"),
            own_values: row.get("own_values"),
            target: row.get("target"),
            guarded: row.get("guarded"),
            attempts: row.get("attempts"),
        };
        (found, row.get("down"))
    }

    /// Where the target's address is to be another, that one stands for it everywhere.
    fn instead<'a>(calls: &'a Calls, piece: &Piece) -> Option<&'a str> {
        let instead = calls.given.instead.as_deref()?;
        (calls.given.url.address().first() == Some(piece)).then_some(instead)
    }

    fn text(&self, calls: &Calls, piece: &Piece) -> Option<String> {
        let found = self.found(calls, piece)?;
        Some(Row::instead(calls, piece).map_or(found, str::to_owned))
    }

    fn found(&self, calls: &Calls, piece: &Piece) -> Option<String> {
        match piece {
            Piece::Text(text) => Some(text.clone()),
            Piece::Column(asked) => {
                let at = calls.own.iter().position(|(name, _)| name == asked)?;
                self.own.get(at)?.clone()
            }
            Piece::Target(asked) => {
                let at = calls.theirs.iter().position(|(name, _)| name == asked)?;
                self.target.as_ref()?.get("texts")?.get(at)?.as_str().map(str::to_owned)
            }
        }
    }

    fn value(&self, calls: &Calls, piece: &Piece) -> Value {
        if let Some(instead) = Row::instead(calls, piece) {
            return instead.into();
        }
        let at = |list: &[(String, Quoted)], asked: &str| list.iter().position(|(name, _)| name == asked);
        let found = match piece {
            Piece::Text(_) => None,
            Piece::Column(asked) => at(&calls.own, asked).and_then(|at| self.own_values.get(at)),
            Piece::Target(asked) => at(&calls.theirs, asked)
                .and_then(|at| self.target.as_ref().and_then(|target| target.get("values")?.get(at))),
        };
        found.cloned().unwrap_or_default()
    }

    /// The URL to call for it, and the target that it belongs to.
    pub fn url(&self, calls: &Calls) -> Result<(String, String), NoUrl> {
        calls.given.url.url(|piece| self.text(calls, piece))
    }

    /// What a claim of a token says of it.
    pub fn claim(&self, calls: &Calls, claim: &Value) -> Result<Value, NoUrl> {
        let Some(Ok(template)) = claim.as_str().map(Template::parse) else {
            return Ok(claim.clone());
        };
        template.claim(|piece| self.text(calls, piece), |piece| self.value(calls, piece))
    }
}
