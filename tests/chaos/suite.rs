//! The order of the suite: mutants, rounds of random faults, staged faults, takeover times, bad input.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};

use crate::{
    answers,
    args::Args,
    bad_input,
    checker::Seen,
    faults::{Fault, TABLE},
    machine, mutants,
    report::Figures,
    round::{self, Round},
    soak, staged,
    takeover::{self, Loss, quantile},
    tally::{Lacking, Tally},
    world::{Result, Server},
};

/// The most that an entry may take; what hangs has failed.
const STAGE_MAX: Duration = Duration::from_secs(240);

/// How many entries that do not disturb one another are played at a time.
const SIDE_BY_SIDE: usize = 4;

async fn within<T>(most: Duration, entry: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(most, entry)
        .await
        .unwrap_or_else(|_| Err(format!("hangs: not done within {most:?}").into()))
}

/// Plays what is wanted.
pub async fn play(args: &Args, tally: &mut Tally) -> Result<Figures> {
    let mut figures = Figures::default();
    let mut server = Server::start(&[]).await?;
    figures.server = server.version().await?;
    mutants(&server, args, tally, &mut figures).await;
    rounds(&mut server, args, tally, &mut figures).await;
    stages(&server, args, tally, &mut figures).await;
    if args.is_asked_for("F32") {
        soak(&mut server, args, tally).await;
    }
    if Loss::ALL.iter().any(|loss| args.wants(loss.describe().0, "takeover")) {
        takeovers(&server, args, tally, &mut figures).await;
    }
    bad_input(&server, args, tally).await;
    Ok(figures)
}

/// Each has databases of its own, so some are played side by side.
async fn mutants(server: &Server, args: &Args, tally: &mut Tally, figures: &mut Figures) {
    let wanted = mutants::ALL.iter().filter(|mutant| args.wants("mutant", mutant.name));
    let proofs = wanted.map(|mutant| async move {
        let began = Instant::now();
        let proved = within(STAGE_MAX, mutants::prove(server, mutant)).await;
        (mutant, began.elapsed(), proved)
    });
    let mut proofs = stream::iter(proofs).buffered(SIDE_BY_SIDE);
    while let Some((mutant, took, proved)) = proofs.next().await {
        figures.mutants += usize::from(proved.is_ok());
        tally.note("mutant", mutant.name, took, proved.map(|by| format!("caught by {by}")));
    }
}

/// First those that mostly wait, on servers of their own, side by side; then the others, one by one.
async fn stages(server: &Server, args: &Args, tally: &mut Tally, figures: &mut Figures) {
    let wanted = staged::ALL.iter().filter(|stage| args.wants(stage.number, stage.name));
    let wanted = wanted.filter(|stage| !stage.is_long() || args.is_asked_for(stage.number));
    let (patient, others): (Vec<_>, Vec<_>) = wanted.partition(|stage| stage.is_patient());
    for (stages, at_once) in [(patient, SIDE_BY_SIDE), (others, 1)] {
        let plays = stages.into_iter().map(|stage| async move {
            let began = Instant::now();
            let played = within(STAGE_MAX, stage.play(server)).await;
            (stage, began.elapsed(), played)
        });
        let mut plays = stream::iter(plays).buffered(at_once);
        while let Some((stage, took, played)) = plays.next().await {
            figures.mutants += usize::from(stage.number == "mutant" && played.is_ok());
            tally.note(stage.number, stage.name, took, played);
        }
    }
}

async fn bad_input(server: &Server, args: &Args, tally: &mut Tally) {
    // A panic is caught and told by us; the hook would print each.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    for reader in bad_input::ALL.iter().filter(|reader| args.wants("input", reader.name)) {
        let (began, cases, seed) = (Instant::now(), args.cases, args.seed);
        let fed = tokio::task::spawn_blocking(move || reader.feed(cases, seed)).await;
        tally.note("input", reader.name, began.elapsed(), fed.unwrap_or_else(|error| Err(error.into())));
    }
    std::panic::set_hook(hook);
    let most = STAGE_MAX + Duration::from_millis(2) * args.cases;
    if args.wants("input", "names of jobs") {
        let began = Instant::now();
        let fed = within(most, bad_input::names(server, args.cases, args.seed)).await;
        tally.note("input", "names of jobs", began.elapsed(), fed);
    }
    if args.wants("input", "answers of HTTP servers") {
        let began = Instant::now();
        let fed = within(most, answers::feed(args.cases, args.seed)).await;
        tally.note("input", "answers of HTTP servers", began.elapsed(), fed);
    }
    if args.wants("input", "notifications") {
        let began = Instant::now();
        let fed = within(most, answers::notifications(server, args.cases, args.seed)).await;
        tally.note("input", "notifications", began.elapsed(), fed);
    }
}

/// A fault that is never injected shows nothing; in a short run some of the rare ones may be missing.
fn all_injected(args: &Args, faults: &[Fault], figures: &Figures) -> Option<Result<String>> {
    if args.attempts < 3000 || figures.rounds < 3 {
        return None;
    }
    let missing: Vec<String> = faults
        .iter()
        .filter(|fault| !figures.injected.contains_key(fault))
        .map(|fault| format!("{fault:?}"))
        .collect();
    Some(match missing.is_empty() {
        true => Ok(format!("{} kinds of faults", faults.len())),
        false => Err(format!("never injected: {}", missing.join(", ")).into()),
    })
}

async fn rounds(server: &mut Server, args: &Args, tally: &mut Tally, figures: &mut Figures) {
    let one = |number: &str| args.only.as_deref() == Some(number);
    let only_one = TABLE.iter().any(|entry| one(entry.number));
    let mut faults: Vec<Fault> =
        TABLE.iter().filter(|entry| !only_one || one(entry.number)).map(|entry| entry.fault).collect();
    if machine::libfaketime().is_none() {
        faults.retain(|fault| *fault != Fault::ClockWrong);
        let lacking: Result<String> = Err(Lacking("libfaketime is not installed".into()).into());
        tally.note("F16", "wrong clocks of replicas", Duration::ZERO, lacking);
    }
    for seed in args.seed..args.seed + args.seeds {
        let name = format!("seed {seed}");
        if !only_one && !args.wants("round", &name) {
            continue;
        }
        let began = Instant::now();
        let each = args.attempts.unsigned_abs().div_ceil(args.seeds);
        let most = STAGE_MAX + Duration::from_secs(each);
        let played = round::play(server, seed, i64::try_from(each).unwrap_or(i64::MAX), faults.clone());
        let judged = match within(most, played).await {
            Ok(round) => {
                figures.add(&round);
                judge(&round)
            }
            Err(error) => Err(error),
        };
        tally.note("round", &name, began.elapsed(), judged);
        // Whatever happened to the server, the next one finds it running.
        if let Err(error) = server.cluster.start_again().await {
            tally.note("round", "the server comes back", began.elapsed(), Err(error.into()));
        }
    }
    if let Some(injected) = all_injected(args, &faults, figures) {
        tally.note("round", "every fault was injected", Duration::ZERO, injected);
    }
}

async fn soak(server: &mut Server, args: &Args, tally: &mut Tally) {
    let (began, length) = (Instant::now(), Duration::from_secs_f64(args.hours * 3600.0));
    let faults = TABLE.iter().map(|entry| entry.fault);
    let faults =
        faults.filter(|fault| *fault != Fault::ClockWrong || machine::libfaketime().is_some()).collect();
    let soaked = within(length + STAGE_MAX, soak::play(server, args.seed, length, faults)).await;
    tally.note("F32", "a fault a minute, and nothing grows", began.elapsed(), soaked);
}

fn judge(round: &Round) -> Result<String> {
    let Seen { attempts, batches, effects, successes, takeovers, calls, .. } = round.verdict.seen;
    if !round.verdict.violations.is_empty() {
        let count = round.verdict.violations.len();
        let first: Vec<String> = round.verdict.violations.iter().take(3).map(ToString::to_string).collect();
        return Err(format!("{count} violations, the first: {}", first.join("; ")).into());
    }
    if successes * 10 < attempts || round.verdict.seen.lacks_something() {
        return Err(format!("too thin to judge: {:?}", round.verdict.seen).into());
    }
    let faults: usize = round.injected.values().sum();
    Ok(format!(
        "{attempts} attempts, {faults} faults, {} verbs, {batches} batches, {effects} effects, {successes} successes, \
         {takeovers} takeovers, {calls} calls and programs, 0 violations",
        round.verbs.count()
    ))
}

async fn takeovers(server: &Server, args: &Args, tally: &mut Tally, figures: &mut Figures) {
    let began = Instant::now();
    match within(STAGE_MAX * 10, takeover::measure(server, args.trials)).await {
        Ok(times) => figures.takeovers = times,
        Err(error) => tally.note("takeover", "trials", began.elapsed(), Err(error)),
    }
    for loss in Loss::ALL {
        let Some(times) = figures.takeovers.get(&loss) else { continue };
        let (number, what) = loss.describe();
        let [p50, p99, most] = [0.5, 0.99, 1.0].map(|share| quantile(times, share));
        let said = format!(
            "{} trials: p50 {p50:.2?}, p99 {p99:.2?}, max {most:.2?}; bound {:.1?}",
            times.len(),
            loss.bound()
        );
        let judged = if p99 <= loss.bound() { Ok(said) } else { Err(said.into()) };
        tally.note(number, &format!("takeover from a replica {what}"), began.elapsed(), judged);
    }
}
