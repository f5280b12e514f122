//! As much of PostgreSQL's wire protocol as it takes to tell the answer of a batch or COMMIT from any other.
//!
//! Messages are a letter and a length; only the first one a client sends has no letter. A connection's two directions
//! share what is awaited.

use std::collections::HashSet;

/// One connection.
pub struct Wire {
    sent: Framer,
    answered: Framer,
    /// Names of prepared statements that end a batch.
    fences: HashSet<Vec<u8>>,
    awaited: bool,
}

impl Wire {
    pub fn new() -> Wire {
        let sent = Framer { first: First::Bare, ..Framer::default() };
        Wire { sent, answered: Framer::default(), fences: HashSet::new(), awaited: false }
    }

    /// Looks at what the replica sends; where in it a COMMIT begins, if one does.
    pub fn sent(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut commit = None;
        let Wire { sent, fences, awaited, .. } = self;
        sent.feed(bytes, |kind, body, at| match kind {
            b'P' => {
                let mut parts = body.split(|byte| *byte == 0);
                let (name, text) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                if contains(text, b"sexton.fence(") {
                    fences.insert(name.to_vec());
                }
            }
            b'B' => {
                let statement = body.split(|byte| *byte == 0).nth(1).unwrap_or_default();
                if fences.contains(statement) {
                    *awaited = true;
                }
            }
            b'Q' if contains(body, b"COMMIT") => {
                commit = Some(at);
                *awaited = true;
            }
            _ => {}
        });
        commit
    }

    /// Looks at what the server answers; where the awaited answer begins, if it is there.
    pub fn answered(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut found = None;
        let Wire { answered, awaited, .. } = self;
        answered.feed(bytes, |kind, _, at| {
            if kind == b'C' && std::mem::replace(awaited, false) && found.is_none() {
                found = Some(at);
            }
        });
        found
    }
}

/// Whether the next message has a letter.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum First {
    #[default]
    Lettered,
    Bare,
}

/// Cuts a stream into messages.
#[derive(Default)]
struct Framer {
    begun: Vec<u8>,
    first: First,
}

impl Framer {
    /// Calls `each` with the letter and body of each message that is whole now, and where in `bytes` it begins (0 if before).
    fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(u8, &[u8], usize)) {
        let before = self.begun.len();
        self.begun.extend_from_slice(bytes);
        let mut at = 0;
        loop {
            let letter = usize::from(self.first == First::Lettered);
            let Some(&[a, b, c, d]) = self.begun.get(at + letter..at + letter + 4) else { break };
            // The length counts itself; what says less is no message.
            let length = u32::from_be_bytes([a, b, c, d]).max(4) as usize + letter;
            let Some(message) = self.begun.get(at..at + length) else { break };
            let kind = if letter == 1 { message[0] } else { 0 };
            each(kind, &message[letter + 4..], at.saturating_sub(before));
            at += length;
            self.first = First::Lettered;
        }
        self.begun.drain(..at);
    }
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}
