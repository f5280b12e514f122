//! The campaign's own part of `docs/reliability.md`, and the picture beside it. Figures of this very run, nothing else.
//!
//! The part stands between two marks; everything around it is written by people and left alone.

use std::{fmt::Write, path::Path, time::Duration};

use crate::{
    args::Args,
    checker::Seen,
    faults::TABLE,
    machine,
    nemesis::Injected,
    round::Round,
    storm::Verbs,
    takeover::{Loss, Times, quantile},
    tally::{Entry, Outcome, Tally},
    world::Result,
};

const BEGIN: &str = "<!-- campaign: begin -->";
const END: &str = "<!-- campaign: end -->";

/// What a run of the suite yields besides passed and failed.
#[derive(Debug, Default)]
pub struct Figures {
    pub seen: Seen,
    pub rounds: usize,
    pub violations: usize,
    pub injected: Injected,
    pub verbs: Verbs,
    pub drains: Vec<Duration>,
    pub played: Duration,
    pub mutants: usize,
    /// The server's version.
    pub server: String,
    pub takeovers: Times,
}

impl Figures {
    pub fn add(&mut self, round: &Round) {
        self.seen += round.verdict.seen;
        self.rounds += 1;
        self.violations += round.verdict.violations.len();
        for (fault, count) in &round.injected {
            *self.injected.entry(*fault).or_default() += count;
        }
        self.verbs.add(&round.verbs);
        self.drains.extend(&round.drains);
        self.played += round.took;
    }
}

/// Writes both, the picture beside the report.
pub fn write(path: &Path, args: &Args, tally: &Tally, figures: &Figures) -> Result<()> {
    let part = markdown(args, tally, figures)?;
    let old = std::fs::read_to_string(path).unwrap_or_default();
    let new = match (old.split_once(BEGIN), old.split_once(END)) {
        (Some((before, _)), Some((_, after))) => format!("{before}{BEGIN}\n{part}{END}{after}"),
        _ => format!("{old}\n{BEGIN}\n{part}{END}\n"),
    };
    std::fs::write(path, new)?;
    std::fs::write(path.with_file_name("takeover.svg"), svg(&figures.takeovers)?)?;
    Ok(())
}

fn markdown(args: &Args, tally: &Tally, figures: &Figures) -> Result<String> {
    let mut text = String::new();
    let Seen {
        attempts,
        batches,
        effects,
        successes,
        occurrences,
        takeovers,
        calls,
        told,
        acknowledged,
        wishes,
    } = figures.seen;
    writeln!(
        text,
        "Command: `scripts/chaos {}`. Machine: {}. Versions: {}, sexton {}, debug build.\n",
        args.command,
        machine::describe(),
        figures.server,
        env!("CARGO_PKG_VERSION")
    )?;
    writeln!(text, "| | |\n|---|---:|")?;
    let minutes = figures.played.as_secs_f64() / 60.0;
    for (what, count) in [
        ("rounds (seeds)", figures.rounds),
        ("attempts", attempts),
        ("batches committed", batches),
        ("effects (rows)", effects),
        ("successes", successes),
        ("regular occurrences run", occurrences),
        ("takeovers of lost runs", takeovers),
        ("calls and programs that receivers noted", calls),
        ("claims and outcomes that replicas were told of", told),
        ("steps that replicas were told of", acknowledged),
        ("wishes of operators, such as `run_now`", wishes),
        ("verbs of operators accepted", figures.verbs.count()),
        ("faults injected", figures.injected.values().sum()),
        ("mutants caught", figures.mutants),
        ("**violations**", figures.violations),
    ] {
        writeln!(text, "| {what} | {count} |")?;
    }
    writeln!(text, "| minutes of rounds | {minutes:.1} |")?;
    verbs(&mut text, &figures.verbs)?;
    writeln!(
        text,
        "| drain under load, p50 / p99 | {:.1?} / {:.1?} |\n",
        quantile(&figures.drains, 0.5),
        quantile(&figures.drains, 0.99)
    )?;
    writeln!(
        text,
        "Takeover at default settings, from the fault to the next claim, by the database's clock:\n"
    )?;
    writeln!(text, "| holder | trials | p50 | p99 | max | bound (p99) |\n|---|---:|---:|---:|---:|---:|")?;
    for loss in Loss::ALL {
        let Some(times) = figures.takeovers.get(&loss) else { continue };
        let [p50, p99, most] = [0.5, 0.99, 1.0].map(|share| quantile(times, share).as_secs_f64());
        let (number, what) = loss.describe();
        writeln!(
            text,
            "| {what} ({number}) | {} | {p50:.2} s | {p99:.2} s | {most:.2} s | {:.1} s |",
            times.len(),
            loss.bound().as_secs_f64()
        )?;
    }
    writeln!(text, "\n![Takeover time by fault](takeover.svg)\n")?;
    writeln!(text, "Faults by lot:\n\n| | fault | injected |\n|---|---|---:|")?;
    for entry in TABLE {
        let count = figures.injected.get(&entry.fault).copied().unwrap_or(0);
        writeln!(text, "| {} | {} | {count} |", entry.number, entry.what)?;
    }
    writeln!(text, "\nStaged faults, takeovers, bad input:\n\n| | entry | result |\n|---|---|---|")?;
    let told = |entry: &&Entry| !matches!(entry.number.as_str(), "mutant" | "round");
    for entry in tally.entries.iter().filter(told) {
        let (word, said) = match &entry.outcome {
            Outcome::Passed(said) => ("passed", said),
            Outcome::Failed(said) => ("**failed**", said),
            Outcome::Skipped(said) => ("skipped", said),
        };
        writeln!(text, "| {} | {} | {word}: {} |", entry.number, entry.name, said.replace(['\n', '|'], " "))?;
    }
    Ok(text)
}

/// All of them, an empty statement beside them, and each by its name.
fn verbs(text: &mut String, verbs: &Verbs) -> Result<()> {
    let mut row = |what: &str, times: &[Duration]| {
        let (p50, p99) = (quantile(times, 0.5), quantile(times, 0.99));
        writeln!(text, "| {what}, p50 / p99 | {p50:.1?} / {p99:.1?} |")
    };
    let times = |verbs: &[(&str, Duration)]| verbs.iter().map(|(_, took)| *took).collect::<Vec<_>>();
    row("verbs on a session that has given one before", &times(&verbs.later))?;
    row("verbs that are the first of a session", &times(&verbs.first))?;
    row("an empty statement just before each", &verbs.empty)?;
    let names: std::collections::BTreeSet<&str> = verbs.later.iter().map(|(name, _)| *name).collect();
    for name in names {
        let of_name: Vec<_> = verbs.later.iter().filter(|(other, _)| *other == name).copied().collect();
        row(&format!("`{name}`, not the first"), &times(&of_name))?;
    }
    Ok(())
}

/// One row a kind of loss: a dot for each trial, a tick for the bound. The axis is logarithmic, from 10 ms to 30 s.
fn svg(takeovers: &Times) -> Result<String> {
    const WIDTH: f64 = 760.0;
    const LEFT: f64 = 190.0;
    const ROW: f64 = 46.0;
    let x = |time: Duration| {
        let share = (time.as_secs_f64().max(0.01) / 0.01).log10() / 3000_f64.log10();
        LEFT + share * (WIDTH - LEFT - 20.0)
    };
    let height = ROW * takeovers.len() as f64 + 60.0;
    let mut text = String::new();
    writeln!(
        text,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">"##
    )?;
    writeln!(
        text,
        r##"<rect width="100%" height="100%" fill="#fff"/><text x="12" y="22" font-weight="bold">Takeover time by fault</text>"##
    )?;
    for (label, seconds) in [("10 ms", 0.01), ("100 ms", 0.1), ("1 s", 1.0), ("10 s", 10.0)] {
        let x = x(Duration::from_secs_f64(seconds));
        writeln!(
            text,
            r##"<path d="M{x:.1} 34V{:.1}" stroke="#ddd"/><text x="{x:.1}" y="{:.1}" fill="#555" text-anchor="middle">{label}</text>"##,
            height - 26.0,
            height - 8.0
        )?;
    }
    for (row, (loss, times)) in takeovers.iter().enumerate() {
        let y = 34.0 + ROW * (row as f64 + 0.5);
        writeln!(text, r##"<text x="12" y="{:.1}">{}</text>"##, y + 4.0, loss.describe().1)?;
        for (number, time) in times.iter().enumerate() {
            let offset = (number % 7) as f64 * 3.0 - 9.0;
            writeln!(
                text,
                r##"<circle cx="{:.1}" cy="{:.1}" r="3" fill="#2a6fb0" fill-opacity="0.5"/>"##,
                x(*time),
                y + offset
            )?;
        }
        let bound = x(loss.bound());
        writeln!(
            text,
            r##"<path d="M{bound:.1} {:.1}V{:.1}" stroke="#b03030" stroke-width="2"/>"##,
            y - 16.0,
            y + 16.0
        )?;
    }
    text.push_str("</svg>\n");
    Ok(text)
}
