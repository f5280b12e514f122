//! A piece of a schedule's text that remembers where it stands, so that an error can point at it.
//!
//! It knows words and spaces, no grammar. What is easy to get wrong: the piece's place is in the text as given;
//! whoever changes letters or spaces must make a new string and keep the piece for its place.

use std::fmt;

/// A part of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    whole: &'a str,
    start: usize,
    end: usize,
}

impl<'a> Piece<'a> {
    /// All of `whole`, without the spaces around it.
    pub(super) fn new(whole: &'a str) -> Self {
        Piece { whole, start: 0, end: whole.len() }.trimmed()
    }

    pub(super) fn text(self) -> &'a str {
        &self.whole[self.start..self.end]
    }

    pub(super) fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Where it starts, in bytes.
    pub(super) fn at(self) -> usize {
        self.start
    }

    /// Where it starts, in characters, from one.
    pub(super) fn column(self) -> usize {
        self.whole[..self.start].chars().count() + 1
    }

    /// Whether it is `word`, in whatever case.
    pub(super) fn is(self, word: &str) -> bool {
        self.text().eq_ignore_ascii_case(word)
    }

    /// Parts at byte `at` of the piece, which must be a border of characters; spaces around both are dropped.
    pub(super) fn split_at(self, at: usize) -> (Self, Self) {
        let border = self.start + at;
        let (left, right) = (Piece { end: border, ..self }, Piece { start: border, ..self });
        (left.trimmed(), right.trimmed())
    }

    /// The first word (up to a space or comma) and the rest.
    pub(super) fn split_word(self) -> (Self, Self) {
        let text = self.text();
        self.split_at(text.find(|c: char| c.is_whitespace() || c == ',').unwrap_or(text.len()))
    }

    /// The words between spaces.
    pub(super) fn words(self) -> impl Iterator<Item = Piece<'a>> {
        self.text().split_whitespace().map(move |word| {
            let start = word.as_ptr() as usize - self.whole.as_ptr() as usize;
            Piece { whole: self.whole, start, end: start + word.len() }
        })
    }

    /// Drops `mark` at the front, if it is there.
    pub(super) fn without_prefix(self, mark: char) -> Option<Self> {
        self.text().starts_with(mark).then(|| Piece { start: self.start + mark.len_utf8(), ..self }.trimmed())
    }

    /// What a pair of quotes at the front encloses, and what follows them.
    pub(super) fn split_quoted(self) -> Option<(Self, Self)> {
        let quote = self.text().chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let inner = Piece { start: self.start + 1, ..self };
        let length = inner.text().find(quote)?;
        let (quoted, _) = inner.split_at(length);
        Some((quoted, Piece { start: inner.start + length + 1, ..self }.trimmed()))
    }

    fn trimmed(self) -> Self {
        let text = self.text();
        let start = self.start + (text.len() - text.trim_start().len());
        Piece { start: start.min(self.end), end: (start + text.trim().len()).min(self.end), ..self }
    }
}

impl fmt::Display for Piece<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
