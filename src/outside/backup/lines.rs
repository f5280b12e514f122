//! Rows counted as they pass.
//!
//! What is easy to get wrong: a CSV value may hold line breaks within quotes, so lines are not rows there; and a chunk may
//! end anywhere.

use super::Format;

/// Counts the rows of a text that comes in chunks.
#[derive(Clone, Debug)]
pub struct Lines {
    format: Format,
    quoted: bool,
    lines: u64,
}

impl Lines {
    /// Counts rows of this format.
    pub fn new(format: Format) -> Self {
        Lines { format, quoted: false, lines: 0 }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                // A doubled quote toggles twice.
                b'"' if self.format == Format::Csv => self.quoted = !self.quoted,
                b'\n' if !self.quoted => self.lines += 1,
                _ => {}
            }
        }
    }

    /// How many rows there were; the header of CSV is none.
    pub fn rows(&self) -> u64 {
        match self.format {
            Format::Jsonl => self.lines,
            Format::Csv => self.lines.saturating_sub(1),
        }
    }
}

/// A text as a JSON string.
pub fn quoted_json(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_within_quotes_are_no_rows() {
        let mut rows = Lines::new(Format::Csv);
        for chunk in [&b"a,b\n1,\"x"[..], b"\ny\"\"\n", b"\"\n2,\n"] {
            rows.update(chunk);
        }
        assert_eq!(rows.rows(), 2);
        let mut rows = Lines::new(Format::Jsonl);
        rows.update(b"{\"a\":\"\\\"\"}\n{}\n");
        assert_eq!(rows.rows(), 2);
    }
}
