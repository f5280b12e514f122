//! Does to a fleet and its server what the dice say, and takes it back when its time is over.
//!
//! It never asks whether what it does is fair. What is easy to get wrong: a fault that is still in force when the round
//! ends would look like a fault of the protocol, so all of them are kept in a list and undone.

use std::{collections::BTreeMap, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::{
    dice::Draw,
    faults::Fault,
    fleet::Fleet,
    history::Excuse,
    proxy::{Line, Trap},
    world::{Result, Server, World},
};

/// What is to be taken back.
enum Undo {
    /// A replica, and its excuse.
    Thaw(usize, usize),
    Open(usize, usize),
    StartServer,
    /// Sessions that hold something: dropped.
    Release(Client),
}

/// How often each fault was injected.
pub type Injected = BTreeMap<Fault, usize>;

/// One round's.
pub struct Nemesis<'a> {
    pub server: &'a mut Server,
    pub world: World,
    pub fleet: Fleet,
    pub injected: Injected,
    pub drains: Vec<Duration>,
    /// Who was frozen or cut off, and until when.
    pub excuses: Vec<Excuse>,
    undo: Vec<(Instant, Undo)>,
}

impl<'a> Nemesis<'a> {
    pub fn new(server: &'a mut Server, world: World, fleet: Fleet) -> Self {
        let (injected, drains, excuses, undo) = Default::default();
        Nemesis { server, world, fleet, injected, drains, excuses, undo }
    }

    /// What is done to this replica from now on excuses it until it is taken back.
    fn excuse(&mut self, victim: usize) -> usize {
        let (replica, from) = (self.fleet.members[victim].setup.name.clone(), now());
        self.excuses.push(Excuse { replica, from, until: i64::MAX / 2 });
        self.excuses.len() - 1
    }

    /// Waits its pause, then does it; what is over meanwhile is taken back.
    pub async fn strike(&mut self, draw: &Draw) -> Result<()> {
        self.rest(draw.pause).await?;
        // Whoever ended by a failpoint is started again, some time later.
        if draw.choice.is_multiple_of(3) {
            self.fleet.revive()?;
        }
        if self.inject(draw).await? {
            *self.injected.entry(draw.fault).or_default() += 1;
        }
        Ok(())
    }

    /// Does nothing for so long, but take back what is over meanwhile.
    pub async fn rest(&mut self, length: Duration) -> Result<()> {
        let until = Instant::now() + length;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(Duration::from_millis(250))).await;
            self.take_back(Instant::now()).await?;
            if left.is_zero() {
                return Ok(());
            }
        }
    }

    /// Takes everything back, whether its time is over or not.
    pub async fn relent(&mut self) -> Result<()> {
        self.undo.sort_by_key(|(at, _)| *at);
        let all = std::mem::take(&mut self.undo);
        for (_, undo) in all {
            self.do_undo(undo).await?;
        }
        self.server.cluster.start_again().await?;
        self.fleet.heal()
    }

    async fn take_back(&mut self, now: Instant) -> Result<()> {
        let (over, left) = std::mem::take(&mut self.undo).into_iter().partition(|(at, _)| *at <= now);
        self.undo = left;
        let over: Vec<(Instant, Undo)> = over;
        for (_, undo) in over {
            self.do_undo(undo).await?;
        }
        Ok(())
    }

    async fn do_undo(&mut self, undo: Undo) -> Result<()> {
        match undo {
            Undo::Thaw(victim, excuse) => {
                self.fleet.members[victim].process.signal(Signal::SIGCONT);
                self.excuses[excuse].until = now();
            }
            Undo::Open(victim, excuse) => {
                self.fleet.members[victim].proxy.set(Line::Open);
                self.excuses[excuse].until = now();
            }
            Undo::StartServer => self.server.cluster.start_again().await?,
            Undo::Release(session) => drop(session),
        }
        Ok(())
    }

    /// Whether it could be done; a session that is not there cannot be ended.
    async fn inject(&mut self, draw: &Draw) -> Result<bool> {
        let victim = draw.victim % self.fleet.members.len();
        let member = &mut self.fleet.members[victim];
        // Some last beyond the lease.
        let length = if draw.choice.is_multiple_of(4) { draw.length * 3 } else { draw.length };
        let until = Instant::now() + length;
        match draw.fault {
            Fault::Kill => member.restart(&self.fleet.keeper, &[])?,
            Fault::Failpoint => {
                let wish = failpoint(draw.choice);
                member.restart(&self.fleet.keeper, &[("SEXTON_FAILPOINTS", &wish)])?;
            }
            Fault::Freeze => {
                member.process.signal(Signal::SIGSTOP);
                let excuse = self.excuse(victim);
                self.undo.push((until, Undo::Thaw(victim, excuse)));
            }
            Fault::LineDead | Fault::LineOneWay | Fault::LineSlow => {
                member.proxy.set(line(draw));
                let excuse = self.excuse(victim);
                self.undo.push((until, Undo::Open(victim, excuse)));
            }
            Fault::LineReset => member.proxy.reset(),
            Fault::AnswerCut => member.proxy.lay(Trap::Truncate),
            Fault::AnswerLost => member.proxy.lay(Trap::Swallow),
            Fault::ClockWrong => {
                let variables = crate::machine::wrong_clock(draw.choice).ok_or("libfaketime is there")?;
                let variables: Vec<(&str, &str)> =
                    variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
                member.restart(&self.fleet.keeper, &variables)?;
            }
            Fault::Drain => {
                // Behind a dead line it would take its time, rightly: that is no drain under load.
                member.proxy.set(Line::Open);
                let (_, took) = member.process.drain(Duration::from_secs(40)).await?;
                self.drains.push(took);
                member.restart(&self.fleet.keeper, &[])?;
            }
            Fault::ServerCrash => self.server.cluster.restart_immediate().await?,
            Fault::KillPostmaster => {
                self.server.cluster.kill_postmaster().await;
                self.server.cluster.start_again().await?;
            }
            Fault::ServerOff => {
                self.server.cluster.stop().await;
                self.undo.push((Instant::now() + draw.length, Undo::StartServer));
            }
            Fault::Terminate
            | Fault::Cancel
            | Fault::KillBackend
            | Fault::Blocker
            | Fault::OldSnapshot
            | Fault::Stranger => {
                // With the server off there is nobody to hit.
                if self.server.cluster.pid().is_some() {
                    // A session that waits for another fault is no fault; it must not keep us waiting.
                    let hit = tokio::time::timeout(Duration::from_secs(5), self.hit_session(draw)).await;
                    return match hit {
                        Ok(Ok(hit)) => Ok(hit),
                        // The session that asks may itself be hit by another fault; a wrong question is ours.
                        Ok(Err(error)) if error.to_string().contains("ToSql") => Err(error),
                        Ok(Err(_)) | Err(_) => Ok(false),
                    };
                }
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn hit_session(&mut self, draw: &Draw) -> Result<bool> {
        let pick = i64::try_from(draw.choice % 97)?;
        match draw.fault {
            Fault::Terminate | Fault::Cancel | Fault::KillBackend => {
                let sessions = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'sexton/%' AND
                    ($2 OR application_name NOT LIKE '%/control') ORDER BY md5(pid::text || $1::bigint::text) LIMIT 1";
                let any = draw.fault == Fault::Terminate && draw.choice.is_multiple_of(5);
                let Some(row) = self.world.rows(sessions, &[&pick, &any]).await?.pop() else {
                    return Ok(false);
                };
                let pid: i32 = row.get(0);
                match draw.fault {
                    Fault::Terminate => self.world.get("SELECT pg_terminate_backend($1)", &[&pid]).await,
                    Fault::Cancel => self.world.get("SELECT pg_cancel_backend($1)", &[&pid]).await,
                    _ => Ok(kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok()),
                }
            }
            fault => {
                let session = self.world.session().await?;
                let sql = match fault {
                    Fault::Blocker => "SET lock_timeout = '2s'; BEGIN; LOCK TABLE chaos.ledger IN ACCESS EXCLUSIVE MODE".to_owned(),
                    Fault::OldSnapshot => {
                        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class".to_owned()
                    }
                    _ => format!(
                        "SELECT pg_try_advisory_lock(m.lock_class, j.lock_id) FROM sexton.meta m, LATERAL
                           (SELECT lock_id FROM sexton.job WHERE state = 'idle' ORDER BY md5(id::text || '{pick}') LIMIT 1) j"
                    ),
                };
                session.batch_execute(&sql).await?;
                let most = if fault == Fault::Blocker { Duration::from_secs(1) } else { draw.length };
                self.undo.push((Instant::now() + draw.length.min(most), Undo::Release(session)));
                Ok(true)
            }
        }
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

fn failpoint(choice: u64) -> String {
    let names: Vec<&str> =
        sexton::failpoint::NAMES.iter().copied().filter(|name| !name.starts_with("elsewhere.")).collect();
    let name = names[usize::try_from(choice / 7).unwrap_or(0) % names.len()];
    let action = ["exit", "abort", "panic"][usize::try_from(choice / 100).unwrap_or(0) % 3];
    format!("{name}@{}={action}", 1 + choice / 1000 % 12)
}

fn line(draw: &Draw) -> Line {
    match draw.fault {
        Fault::LineDead => Line::Dead,
        Fault::LineOneWay if draw.choice.is_multiple_of(2) => Line::DeafServer,
        Fault::LineOneWay => Line::DeafReplica,
        _ => Line::Slow(Duration::from_millis(1 + draw.choice / 5 % 100)),
    }
}
