//! What is kept of a program's output: its beginning and its end.

use std::collections::VecDeque;

/// Bytes kept of each stream: half from its beginning, half from its end.
pub const KEPT: usize = 64 * 1024;

/// The beginning and the end of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    cut: u64,
}

impl Kept {
    /// Adds what came next.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(KEPT / 2 - self.head.len()));
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(KEPT / 2);
        self.tail.drain(..over);
        self.cut += over as u64;
    }

    /// Bytes between the beginning and the end that were not kept.
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// As text that JSON can hold and PostgreSQL can store; where bytes were cut out, a line says how many.
    pub fn text(&self) -> String {
        let mut bytes = self.head.clone();
        if self.cut > 0 {
            bytes.extend_from_slice(format!("\n[… {} bytes cut …]\n", self.cut).as_bytes());
        }
        bytes.extend(&self.tail);
        String::from_utf8_lossy(&bytes).replace('\0', "\u{fffd}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_and_the_end_are_kept() {
        let mut kept = Kept::default();
        for chunk in "a".repeat(40_000).as_bytes().chunks(7000) {
            kept.push(chunk);
        }
        assert_eq!((kept.text().len(), kept.cut()), (40_000, 0));
        for _ in 0..100 {
            kept.push("b".repeat(1000).as_bytes());
        }
        kept.push(b"the end\0\xff");
        assert_eq!(kept.cut(), 40_000 + 100_000 + 9 - KEPT as u64);
        let text = kept.text();
        assert!(text.starts_with(&"a".repeat(KEPT / 2)) && text.ends_with("bbthe end\u{fffd}\u{fffd}"));
        assert!(text.contains(&format!("[… {} bytes cut …]", kept.cut())));
    }
}
