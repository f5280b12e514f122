//! What the benches have in common: arguments, the machine's description, quantiles.

use sexton::edge::cluster::Cluster;

/// The number after a flag. `cargo bench` adds `--bench`, which is none of ours.
pub fn argument(flag: &str) -> Option<u64> {
    text_argument(flag)?.replace('_', "").parse().ok()
}

/// The word after a flag.
pub fn text_argument(flag: &str) -> Option<String> {
    let arguments: Vec<String> = std::env::args().collect();
    let at = arguments.iter().position(|argument| argument == flag)?;
    arguments.get(at + 1).cloned()
}

/// A line about where it was measured.
pub fn machine(cluster: &Cluster) -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{cores} cores ({}), PostgreSQL {}, Sexton {} {}",
        model.unwrap_or("unknown"),
        cluster.binaries().version,
        env!("CARGO_PKG_VERSION"),
        if cfg!(debug_assertions) { "in a debug build" } else { "in a release build" },
    )
}

/// The value that so large a share of the values does not exceed; of none, 0.
pub fn quantile(values: impl IntoIterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let at = (share * values.len() as f64).ceil() as usize;
    values.get(at.clamp(1, values.len().max(1)) - 1).copied().unwrap_or_default()
}
