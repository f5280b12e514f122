//! The plot: the application's times over time, and what went on beside it.

use std::fmt::Write;

use crate::{Beside, Window, application::Done, support::quantile};

/// The application's p50 and p99 of each tenth of a second, over time, with what went on beside it.
pub fn plot(windows: &[Window], done: &[Done]) -> String {
    const STEP: f64 = 0.2;
    let end = windows.last().map_or(1.0, |window| window.to.as_secs_f64());
    let x = |seconds: f64| 50.0 + seconds / end * 730.0;
    // From 0.1 ms to 10 s, by powers of ten.
    let y = |ms: f64| 260.0 - (ms.max(0.1) / 0.1).log10() / 5.0 * 230.0;
    let mut text = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 300\" font-family=\"sans-serif\" font-size=\"12\">\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
    );
    let mut put = |line: String| text.push_str(&(line + "\n"));
    for window in windows {
        let (fill, name) = match &window.beside {
            Beside::Nothing => continue,
            Beside::Purge(pace) => ("#cfe3f5", pace.as_str()),
            Beside::Single => ("#f5d0d0", "DELETE"),
        };
        let (from, to) = (x(window.from.as_secs_f64()), x(window.to.as_secs_f64()));
        put(format!(
            "<rect x=\"{from:.1}\" y=\"30\" width=\"{:.1}\" height=\"230\" fill=\"{fill}\"/>",
            to - from
        ));
        let middle = (from + to) / 2.0;
        put(format!("<text x=\"{middle:.1}\" y=\"24\" fill=\"#555\" text-anchor=\"middle\">{name}</text>"));
    }
    for (label, ms) in [
        ("0.1 ms", 0.1),
        ("1 ms", 1.0),
        ("10 ms", 10.0),
        ("100 ms", 100.0),
        ("1 s", 1000.0),
        ("10 s", 10_000.0),
    ] {
        let y = y(ms);
        put(format!(
            "<path d=\"M50 {y:.1}H780\" stroke=\"#ddd\"/><text x=\"46\" y=\"{:.1}\" fill=\"#555\" text-anchor=\"end\">{label}</text>",
            y + 4.0
        ));
    }
    for (share, colour, name, at) in [(0.5, "#2a6fb0", "p50", 640), (0.99, "#b03030", "p99", 700)] {
        let mut points = String::new();
        let steps = (end / STEP) as u32;
        for step in 0..steps {
            let from = f64::from(step) * STEP;
            let within = done.iter().filter(|done| (from..from + STEP).contains(&done.at.as_secs_f64()));
            let ms = quantile(within.map(|done| done.took.as_secs_f64() * 1000.0), share);
            write!(points, "{:.1},{:.1} ", x(from), y(ms)).expect("a String takes all");
        }
        put(format!(
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"
        ));
        put(format!("<text x=\"{at}\" y=\"290\" fill=\"{colour}\">{name}</text>"));
    }
    put(format!(
        "<text x=\"50\" y=\"290\" fill=\"#555\">the application's transactions, each {STEP} s, over {end:.0} s</text>"
    ));
    text + "</svg>\n"
}
