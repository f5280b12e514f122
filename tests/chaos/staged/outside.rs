//! F30 and I6 to I8: calls and programs whose replicas die, freeze and lose their sessions, and receivers that fail.
//!
//! Here nobody is excused but where a scene says so, unlike in the rounds. What is easy to get wrong: a check that excuses
//! everything passes too, so a frozen holder that nobody told the checker of must be called a violation.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use super::{LEASE, SOON, all_done, points::reached};
use crate::{
    checker::{self, Verdict},
    fleet::Fleet,
    hand::{Hand, plan},
    history::{Excuse, History},
    outside::{self, Outside},
    process::Setup,
    sink,
    world::{Result, Server, World},
};

async fn verdict(world: &World, outside: &Outside, excuses: Vec<Excuse>) -> Result<Verdict> {
    let mut history = History::read(world).await?;
    outside.read_into(&mut history)?;
    history.excuses = excuses;
    Ok(checker::check(&history))
}

fn clean(verdict: &Verdict) -> Result<String> {
    match verdict.violations.first() {
        Some(violation) => Err(violation.to_string().into()),
        None if verdict.seen.calls == 0 => Err("nobody was called".into()),
        None => Ok(format!(
            "{} attempts, {} calls and programs, 0 violations",
            verdict.seen.attempts, verdict.seen.calls
        )),
    }
}

/// Replicas are killed one after the other while they call and start; the receiver fails in every way.
pub async fn killed(server: &Server) -> Result<String> {
    let world = server.world().await?;
    let outside = Outside::start(30).await?;
    outside::create_jobs(&world).await?;
    let mut fleet = outside.fleet(&world, 3, LEASE).await?;
    let busy = "SELECT count(*) >= 3 FROM sexton.job WHERE state = 'running'";
    for kill in 0..12 {
        world.until("calls are under way", SOON, busy, &[]).await?;
        let index = kill % fleet.members.len();
        fleet.members[index].restart(&fleet.keeper, &[])?;
        fleet.ready(&world).await?;
    }
    outside.sink.relent();
    all_succeed_again(&world).await?;
    fleet.drain(SOON).await?;
    clean(&verdict(&world, &outside, Vec::new()).await?)
}

async fn all_succeed_again(world: &World) -> Result<()> {
    world.execute("SELECT sexton.resume(name) FROM sexton.job WHERE paused_at IS NOT NULL").await?;
    let healed: jiff::Timestamp = world.get("SELECT clock_timestamp()", &[]).await?;
    let sql = "SELECT NOT EXISTS (SELECT FROM sexton.job j WHERE NOT EXISTS
        (SELECT FROM sexton.run r WHERE r.job_id = j.id AND r.state = 'succeeded' AND r.started_at > $1))";
    world.until("every job succeeds again", SOON, sql, &[&healed]).await
}

/// What becomes of a holder in the middle of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// Its replica is killed, and what it started must die with it.
    Killed,
    /// Its session is terminated: it must let go of the call and the program at once.
    Terminated,
    /// It is frozen beyond its lease, and then goes on.
    Frozen,
}

/// A call that hangs and a program that takes long and heeds nothing; then the mishap, and another replica's turn.
pub async fn in_the_middle(server: &Server, mishap: Mishap) -> Result<String> {
    let world = server.world().await?;
    let outside = Outside::start(31).await?;
    outside.sink.relent();
    // The program outlasts the short lease, so a killed replica's case has that of users.
    let lease = if mishap == Mishap::Killed { Duration::from_secs(15) } else { LEASE };
    let mut fleet = outside.fleet(&world, 1, lease).await?;
    let call = json!({ "endpoint": "sink", "path": "call/first-hangs", "timeout": "1m" });
    world.job("call", "http", "manual", call).await?;
    // It would be seen beside the next one, which waits for a second at the most.
    let milliseconds = if mishap == Mishap::Killed { 4000 } else { 2000 };
    let long = json!({ "command": "diary", "params": { "ms": milliseconds, "manners": "stubborn" } });
    world.job("start", "command", "manual", long).await?;
    for job in ["call", "start"] {
        plan(&world, job).await?;
        world.verb("run_now", job).await?;
    }
    let deadline = Instant::now() + SOON;
    while outside.sink.calls().len() + crate::child::calls(outside.folder.path())?.len() < 2 {
        if Instant::now() > deadline {
            return Err("nobody was called".into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let now = || jiff::Timestamp::now().as_microsecond();
    let from = now();
    let terminate = "SELECT pg_terminate_backend(backend_pid) FROM sexton.run WHERE state = 'running'";
    match mishap {
        Mishap::Killed => fleet.members[0].process.kill(),
        Mishap::Terminated => world.execute(terminate).await?,
        Mishap::Frozen => fleet.members[0].process.signal(Signal::SIGSTOP),
    }
    fleet.join(&world, 1, |setup| outside.known_to(Setup { lease: Some(lease), ..setup })).await?;
    all_done(&world, SOON).await?;
    if mishap == Mishap::Frozen {
        fleet.heal()?;
    }
    fleet.drain(SOON).await?;
    let told = vec![Excuse { replica: "r0".to_owned(), from, until: now() }];
    if mishap != Mishap::Frozen {
        return clean(&verdict(&world, &outside, Vec::new()).await?);
    }
    let untold = verdict(&world, &outside, Vec::new()).await?;
    if !untold.violations.iter().any(|violation| violation.invariant == "I7") {
        return Err("the checker was not told that the holder was frozen, and found nothing".into());
    }
    let said = clean(&verdict(&world, &outside, told).await?)?;
    Ok(format!("{said}; if the checker is not told of the freeze: {}", untold.violations[0]))
}

/// A holder is frozen when it has its claim and nothing more: when it wakes up, it calls nobody and starts nothing.
pub async fn before_the_call(server: &Server) -> Result<String> {
    let call = ("http", json!({ "endpoint": "sink", "path": "call" }));
    let start = ("command", json!({ "command": "diary", "params": { "ms": 10, "manners": "polite" } }));
    for (kind, params) in [call, start] {
        let world = server.world().await?;
        let outside = Outside::start(35).await?;
        outside.sink.relent();
        let mut fleet = Fleet::new()?;
        let setup = |setup| outside.known_to(Setup { lease: Some(LEASE), ..setup });
        fleet.join(&world, 0, |given| setup(given).variable("SEXTON_FAILPOINTS", "claim.won=stop")).await?;
        fleet.ready(&world).await?;
        world.job("job", kind, "manual", params).await?;
        plan(&world, "job").await?;
        world.verb("run_now", "job").await?;
        reached(&mut fleet, "stop").await?;
        fleet.join(&world, 1, setup).await?;
        all_done(&world, SOON).await?;
        fleet.heal()?;
        fleet.drain(SOON).await?;
        let mut history = History::read(&world).await?;
        outside.read_into(&mut history)?;
        if history.calls.len() != 1 {
            return Err(
                format!("{kind}: {} calls instead of one: {:?}", history.calls.len(), history.calls).into()
            );
        }
    }
    Ok("one call and one program, by the next holder alone".to_owned())
}

/// A client that keeps a rule of the outside not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rude {
    /// It calls after another one has.
    Late,
    /// It calls with a key of its own for the second attempt.
    OtherKey,
    /// It calls beside another one.
    Beside,
    /// It says that all went well, and called nobody.
    Silent,
}

/// Plays it by hand, with good manners and without; what caught it.
pub async fn by_hand(server: &Server, rude: Rude) -> Result<String> {
    for control in [true, false] {
        let world = server.world().await?;
        let outside = Outside::start(32).await?;
        outside.sink.relent();
        two_attempts(&world, outside.sink.port, (!control).then_some(rude)).await?;
        let verdict = verdict(&world, &outside, Vec::new()).await?;
        let broken = if rude == Rude::Silent {
            "I8"
        } else if rude == Rude::Beside {
            "I7"
        } else {
            "I6"
        };
        let found = verdict.violations.iter().find(|violation| violation.invariant == broken);
        match (control, found) {
            (true, _) => drop(clean(&verdict).map_err(|error| format!("with good manners: {error}"))?),
            (false, Some(violation)) => return Ok(format!("caught by {violation}")),
            (false, None) => break,
        }
    }
    Err("survived: the checker finds nothing".into())
}

async fn two_attempts(world: &World, port: u16, rude: Option<Rude>) -> Result<()> {
    world.job("call", "http", "manual", json!({ "endpoint": "sink", "path": "call" })).await?;
    plan(world, "call").await?;
    world.verb("run_now", "call").await?;
    let install: uuid::Uuid = world.get("SELECT install_id FROM sexton.meta", &[]).await?;
    let key = |hand: &Hand, step: &str| {
        format!("sexton/{install}/{}/{}/{step}", hand.job, hand.occurrence.as_microsecond())
    };
    let token = |hand: &Hand| format!("{}.{}", hand.epoch, hand.version);
    let first = Hand::claim(world, "call").await?;
    let (first_key, first_token) = (key(&first, "call"), token(&first));
    let open = if rude == Some(Rude::Beside) {
        let (key, token) = (first_key.clone(), first_token.clone());
        let hanging =
            tokio::spawn(async move { sink::call(port, "call/first-hangs", &key, &token).await.is_ok() });
        tokio::time::sleep(Duration::from_millis(200)).await;
        Some(hanging)
    } else {
        sink::call(port, "call", &first_key, &first_token).await?;
        None
    };
    world.verb("kill", "call").await?;
    first.die(world).await?;
    let second = Hand::claim(world, "call").await?;
    if rude != Some(Rude::Silent) {
        let step = if rude == Some(Rude::OtherKey) { "other" } else { "call" };
        sink::call(port, "call", &key(&second, step), &token(&second)).await?;
    }
    if rude == Some(Rude::Late) {
        tokio::time::sleep(Duration::from_millis(1200)).await;
        sink::call(port, "call", &first_key, &first_token).await?;
    }
    if let Some(open) = open {
        open.abort();
    }
    Ok(second.finish("succeeded", 0).await?)
}
