//! What the demo says and how: numbered steps, quoted lines, a bar.
//!
//! It knows nothing of the story. What is easy to get wrong: a pipe has no cursor, so where standard output is no
//! terminal the bar becomes a line for each tenth; and a reader who goes away (`| head`) must not leave a cluster
//! behind, so nothing here panics when it cannot write.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use anstyle::{AnsiColor, Style};
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

const TITLE: Style = Style::new().bold();
const QUOTE: Style = AnsiColor::Cyan.on_default();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Standard output, as the demo uses it.
pub(super) struct Screen {
    step: u32,
    step_began: Instant,
}

impl Screen {
    pub(super) fn new() -> Self {
        Screen { step: 0, step_began: Instant::now() }
    }

    /// Begins the next step.
    pub(super) fn step(&mut self, title: &str) {
        self.step += 1;
        self.step_began = Instant::now();
        write(&format!("\n{TITLE}{}. {title}{TITLE:#}", self.step));
    }

    /// A line of the story.
    pub(super) fn say(&self, text: &str) {
        write(&indented(text));
    }

    /// A line of the story that closes with how long the step took.
    pub(super) fn say_timed(&self, text: &str) {
        self.say(&format!("{text} ({:.1} s)", self.step_began.elapsed().as_secs_f64()));
    }

    /// What somebody would type, or what Sexton said, word for word.
    pub(super) fn quote(text: &str) {
        for line in text.lines() {
            write(&format!("   {QUOTE}{line}{QUOTE:#}"));
        }
    }

    /// A check that holds.
    pub(super) fn good(&self, text: &str) {
        write(&format!("   {GOOD}ok{GOOD:#}     {text}"));
    }

    /// A check that does not.
    pub(super) fn bad(&self, text: &str) {
        write(&format!("   {BAD}WRONG{BAD:#}  {text}"));
    }

    /// A bar for so many rows.
    pub(super) fn bar(&self, total: u64) -> Bar {
        if !std::io::stdout().is_terminal() {
            return Bar { shown: None, total, tenth: 0 };
        }
        let style =
            ProgressStyle::with_template("   {wide_bar:.cyan} {human_pos:>9}/{human_len} rows  {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
        let shown =
            ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stdout()).with_style(style);
        Bar { shown: Some(shown), total, tenth: 0 }
    }
}

/// How far the purge is.
pub(super) struct Bar {
    shown: Option<ProgressBar>,
    total: u64,
    tenth: u64,
}

impl Bar {
    /// So many rows are done; `note` says by whom.
    pub(super) fn at(&mut self, rows: u64, note: &str) {
        if let Some(bar) = &self.shown {
            bar.set_message(note.to_owned());
            bar.set_position(rows);
            return;
        }
        let tenth = 10 * rows / self.total.max(1);
        if tenth > self.tenth {
            self.tenth = tenth;
            write(&format!("   {:>9} of {} rows  {note}", count(rows), count(self.total)));
        }
    }

    /// A line above the bar.
    pub(super) fn say(&self, text: &str) {
        match &self.shown {
            Some(bar) => bar.suspend(|| write(&indented(text))),
            None => write(&indented(text)),
        }
    }
}

impl Drop for Bar {
    /// Leaves the bar as it stands.
    fn drop(&mut self) {
        if let Some(bar) = &self.shown {
            bar.abandon();
        }
    }
}

/// A number for people: `1,001,000`.
pub(super) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// A length of time for people: `0.62 s`.
pub(super) fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// A line at the left margin. That it cannot be written is no reason to leave things behind.
pub(super) fn write(line: &str) {
    let _ = writeln!(anstream::stdout(), "{line}");
}

fn indented(text: &str) -> String {
    format!("   {}", text.replace('\n', "\n   "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_numbers_in_groups() {
        assert_eq!(count(1_001_000), "1,001,000");
        assert_eq!(seconds(Duration::from_millis(618)), "0.62 s");
    }
}
