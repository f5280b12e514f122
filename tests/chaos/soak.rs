//! F32: a round that goes on for a day, with a fault a minute, and what becomes of memory, files and tables meanwhile.
//!
//! Two replicas are spared the faults that start one anew, so that what grows is seen. What is easy to get wrong: memory
//! grows at first, while caches fill; only what still grows after that is a leak.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    dice::Dice,
    faults::Fault,
    fleet::Fleet,
    process::{Program, Setup},
    round::Cast,
    world::{Result, Server, World},
};

/// The most that memory of a replica may grow in an hour, in MB, from the first sixth of the time on.
const GROWTH_MAX: f64 = 1.0;
/// Below this, a slope is noise.
const JUDGED_FROM: Duration = Duration::from_secs(3600);
/// The most that the table of jobs may take, in bytes.
const JOB_TABLE_MAX: i64 = 10 * 1024 * 1024;
/// More open files than at first that are no growth: sessions come and go.
const FILES_SPREAD: usize = 16;

/// What was seen at one time.
struct Sample {
    hours: f64,
    /// Of each witness: resident memory in MB, open files.
    witnesses: Vec<(f64, usize)>,
}

/// Plays it for so long; what was seen.
pub async fn play(server: &mut Server, seed: u64, length: Duration, faults: Vec<Fault>) -> Result<String> {
    let began = Instant::now();
    let mut cast = Cast::begin(server, seed).await?;
    let world = cast.nemesis.world.clone();
    let mut witnesses = Fleet::new()?;
    for index in 0..2 {
        let sexton = |setup| cast.outside.known_to(Setup { program: Program::Sexton, ..setup });
        witnesses.join(&world, 100 + index, sexton).await?;
    }
    let mut samples = Vec::new();
    let struck = async {
        // A fault a minute in a day, and as many in less time.
        let pause = (length / 1440).max(Duration::from_secs(1));
        for mut draw in Dice::new(seed, faults) {
            draw.pause = pause;
            cast.nemesis.strike(&draw).await.map_err(|error| format!("{draw:?}: {error}"))?;
            samples.push(sample(&witnesses, began.elapsed())?);
            // With the server down, the next time will do.
            let _ = world.execute("SELECT chaos.breed(60), chaos.pair(5)").await;
            if began.elapsed() >= length {
                break;
            }
        }
        Ok(())
    };
    let struck = struck.await;
    let round = cast.end(struck).await?;
    if let Some(violation) = round.verdict.violations.first() {
        return Err(format!("{} violations, the first: {violation}", round.verdict.violations.len()).into());
    }
    let tables = judge_tables(&world).await?;
    let said = judge(&samples, length)?;
    witnesses.drain(Duration::from_secs(40)).await?;
    let (attempts, faults) = (round.verdict.seen.attempts, round.injected.values().sum::<usize>());
    Ok(format!(
        "{:.2} hours, {attempts} attempts, {faults} faults, 0 violations; {said}; {tables}",
        length.as_secs_f64() / 3600.0
    ))
}

fn sample(witnesses: &Fleet, elapsed: Duration) -> Result<Sample> {
    let mut seen = Vec::new();
    for member in &witnesses.members {
        let folder = format!("/proc/{}", member.process.pid());
        let status = std::fs::read_to_string(format!("{folder}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes: f64 =
            resident.ok_or("a process has memory")?.trim().trim_end_matches(" kB").parse()?;
        seen.push((kilobytes / 1024.0, std::fs::read_dir(format!("{folder}/fd"))?.count()));
    }
    Ok(Sample { hours: elapsed.as_secs_f64() / 3600.0, witnesses: seen })
}

async fn judge_tables(world: &World) -> Result<String> {
    let bytes: i64 = world.get("SELECT pg_total_relation_size('sexton.job')", &[]).await?;
    match bytes < JOB_TABLE_MAX {
        true => Ok(format!("sexton.job takes {} kB", bytes / 1024)),
        false => Err(format!("sexton.job has grown to {bytes} bytes").into()),
    }
}

/// By the samples after the first sixth.
fn judge(samples: &[Sample], length: Duration) -> Result<String> {
    let settled = &samples[samples.len() / 6..];
    let mut said = Vec::new();
    for witness in 0..2 {
        let points: Vec<(f64, f64)> =
            settled.iter().map(|sample| (sample.hours, sample.witnesses[witness].0)).collect();
        let slope = slope(&points);
        if length >= JUDGED_FROM && slope > GROWTH_MAX {
            return Err(format!("memory of a replica grows by {slope:.1} MB an hour").into());
        }
        let files: Vec<usize> = settled.iter().map(|sample| sample.witnesses[witness].1).collect();
        let quarter = (files.len() / 4).max(1);
        let most = |part: &[usize]| part.iter().copied().max().unwrap_or(0);
        let (first, last) = (most(&files[..quarter]), most(&files[files.len() - quarter..]));
        if last > first + FILES_SPREAD {
            return Err(format!("open files of a replica grow: {first} at first, {last} at last").into());
        }
        let memory = points.last().map_or(0.0, |point| point.1);
        said.push(format!("{memory:.0} MB, {slope:+.1} MB an hour, {first} and {last} files"));
    }
    Ok(format!("replicas: {}", said.join("; ")))
}

/// Of the straight line that is nearest to the points.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let across: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let along: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if along == 0.0 { 0.0 } else { across / along }
}
