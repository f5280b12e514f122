//! Standard output: text or JSON, tables, and a reader that has gone away.
//!
//! What is easy to get wrong: `sexton jobs | head -1` closes the pipe early. That is no error of ours, and the printing
//! macros would panic; so everything is put together first and written by one call.

use std::io::{ErrorKind as IoErrorKind, IsTerminal, Write};

use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Table};
use serde::Serialize;

use super::global::Global;
use crate::error::{Error, ErrorKind, Result};

/// Where answers go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Text,
    Json,
}

impl Output {
    pub(super) fn new(global: &Global) -> Self {
        Output { shape: if global.json { Shape::Json } else { Shape::Text } }
    }

    /// Answers: `value` as JSON if that was asked for, else what `text` makes of it.
    pub(super) fn answer<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        let answer = match self.shape {
            Shape::Text => text(value),
            Shape::Json => serde_json::to_string_pretty(value)
                .map_err(|cause| Error::new(ErrorKind::Outside, "the answer is no JSON").caused_by(cause))?,
        };
        write_out(&answer).map(drop)
    }

    /// Answers with a sentence that the database made: `{"message": …}` in JSON.
    pub(super) fn sentence(self, sentence: &str) -> Result<()> {
        self.answer(&serde_json::json!({ "message": sentence }), |_| sentence.to_owned())
    }

    pub(super) fn is_json(self) -> bool {
        self.shape == Shape::Json
    }
}

/// Whether anybody still reads what we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    There,
    Gone,
}

/// Writes to standard output, without colors where they are not wanted.
pub(super) fn write_out(text: &str) -> Result<Reader> {
    let mut stdout = anstream::stdout().lock();
    let written = writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush());
    match written {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == IoErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Error::new(ErrorKind::Outside, "cannot write to standard output").caused_by(error)),
    }
}

/// An empty table with these headers: without borders, as wide as the terminal, and as wide as it likes in a pipe.
pub(super) fn table(headers: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    if std::io::stdout().is_terminal() {
        // Whether colors come through is decided where they are written.
        table.enforce_styling().set_content_arrangement(ContentArrangement::Dynamic);
        let header = headers.iter().map(|header| Cell::new(header).fg(Color::DarkGrey));
        table.set_header(header);
    } else {
        table.force_no_tty().set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(headers);
    }
    let last = headers.len().saturating_sub(1);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        // The last one is prose, and wraps; names, ids and numbers must stay in one piece.
        if index < last {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table
}

/// The table as text: no blanks at the ends of its lines.
pub(super) fn lines(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// A cell whose color says how things are.
pub(super) fn state_cell(state: &str) -> Cell {
    let cell = Cell::new(state);
    match state {
        "succeeded" => cell.fg(Color::Green),
        "running" | "due" => cell.fg(Color::Cyan),
        "paused" | "retrying" | "released" | "superseded" | "cancelled" | "refused" => cell.fg(Color::Yellow),
        "failed" | "timed_out" | "lost" | "invalid" => cell.fg(Color::Red),
        _ => cell,
    }
}

/// A cell whose content stands on the right, as numbers do.
pub(super) fn number_cell(text: String) -> Cell {
    Cell::new(text).set_alignment(comfy_table::CellAlignment::Right)
}
