//! Lines of JSON on their way into COPY's text format.
//!
//! What is easy to get wrong: numbers are taken as they are written, since a float between would cost `numeric` its digits;
//! and a key that is not there is NULL, while `null` is jsonb's own null.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::{
    error::{Error, ErrorKind, Result},
    outside::backup::{Encoding, SetManifest},
};

/// Puts lines together and decodes them.
pub(super) struct Decoder {
    columns: Vec<(String, Encoding)>,
    /// The beginning of a line whose end has not come yet.
    rest: Vec<u8>,
    rows: u64,
}

impl Decoder {
    pub(super) fn new(set: &SetManifest) -> Self {
        let columns = set.exported().map(|column| (column.name.clone(), column.encoding)).collect();
        Decoder { columns, rest: Vec::new(), rows: 0 }
    }

    /// Decodes what is complete of `chunk`.
    pub(super) fn update(&mut self, chunk: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(chunk.len());
        let mut chunk = chunk;
        while let Some(end) = chunk.iter().position(|byte| *byte == b'\n') {
            let (line, after) = chunk.split_at(end);
            chunk = &after[1..];
            self.rows += 1;
            if self.rest.is_empty() {
                self.row(line, &mut out)?;
            } else {
                self.rest.extend_from_slice(line);
                let line = std::mem::take(&mut self.rest);
                self.row(&line, &mut out)?;
            }
        }
        self.rest.extend_from_slice(chunk);
        Ok(out)
    }

    fn row(&self, line: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let broken = |cause: serde_json::Error| {
            Error::new(ErrorKind::Outside, format!("line {} is no JSON object", self.rows)).caused_by(cause)
        };
        let values: BTreeMap<String, &RawValue> = serde_json::from_slice(line).map_err(broken)?;
        for (index, (name, encoding)) in self.columns.iter().enumerate() {
            if index > 0 {
                out.push(b'\t');
            }
            match values.get(name) {
                None => out.extend_from_slice(b"\\N"),
                Some(raw) if *encoding != Encoding::Json && raw.get().starts_with('"') => {
                    let text: String = serde_json::from_str(raw.get()).map_err(broken)?;
                    escape(&text, out);
                }
                Some(raw) => escape(raw.get(), out),
            }
        }
        out.push(b'\n');
        Ok(())
    }
}

/// As COPY's text format has it.
fn escape(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were() {
        let columns = [("n", Encoding::Plain), ("t", Encoding::Text), ("j", Encoding::Json)];
        let columns = columns.map(|(name, encoding)| (name.to_owned(), encoding)).to_vec();
        let mut decoder = Decoder { columns, rest: Vec::new(), rows: 0 };
        let mut out =
            decoder.update(br#"{"n":1.50000000000000000000001,"t":"a\n\"b\\"#).expect("the beginning");
        out.extend(decoder.update(b"\\\\tc\",\"j\":null}\n{\"n\":\"NaN\"}\n{").expect("two lines"));
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text, "1.50000000000000000000001\ta\\n\"b\\\\\\\\tc\tnull\nNaN\t\\N\t\\N\n");
    }
}
