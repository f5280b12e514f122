//! Calls for many rows at once, within limits, and what came of each.
//!
//! A call that fails in passing is repeated at once, a few times. A target that fails again and again is left alone for
//! a while: its other rows are deferred without a call, so that those of healthy targets get on. What is easy to get
//! wrong: a row is deferred whatever went wrong with it, or one bad row would stop all others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{sync::Semaphore, time::Instant};

use super::{calls::Calls, rows::Row, template::NoUrl};
use crate::{
    error::{Error, Result},
    outside::http::{Answer, Auth, Call, Class, Client, Target},
};

/// The first wait before a call is repeated; it doubles, up to the most.
const WAIT: Duration = Duration::from_millis(250);
/// The most that a repetition waits, by itself or as `Retry-After` says; if that says more, the target is left alone.
const WAIT_MOST: Duration = Duration::from_secs(10);
/// How long a target that failed again and again is left alone.
const OPEN_FOR: Duration = Duration::from_secs(30);
/// The most that a `Retry-After` is believed.
const RETRY_AFTER_MOST: Duration = Duration::from_secs(86_400);

/// Statuses that may be others in a moment. Timeouts, failed and broken connections are of the same kind.
const IN_PASSING: &[u16] = &[408, 425, 429, 500, 502, 503, 504, 507];

/// What came of a row.
#[derive(Debug)]
pub enum Outcome {
    /// The call succeeded.
    Called,
    /// It goes without one: the guard says so.
    Guarded,
    /// It goes without one: it has no target.
    NoTarget,
    /// It stays for later.
    Deferred(Failure),
}

/// Why a row stays.
#[derive(Debug)]
pub struct Failure {
    pub class: Class,
    pub target: Option<String>,
    /// Whether it was called, and not merely left since its target is down.
    pub called: bool,
    /// Whether the same may succeed soon.
    pub in_passing: bool,
    /// Not sooner than in this time.
    pub not_before: Duration,
    pub error: String,
}

/// What is known of a target.
#[derive(Debug, Default)]
struct Health {
    failures: u32,
    last: Option<Class>,
    open_until: Option<Instant>,
    calls: Option<Arc<Semaphore>>,
    count: Count,
}

/// How often a target was called.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// Calls that succeeded.
    pub ok: u64,
    /// Calls that did not.
    pub failed: u64,
}

/// Makes the calls of a run.
pub struct Caller<'a> {
    calls: &'a Calls,
    client: Arc<Client>,
    token: String,
    /// What the key of each call begins with.
    key: String,
    all: Semaphore,
    targets: Mutex<HashMap<String, Health>>,
}

impl<'a> Caller<'a> {
    pub fn new(calls: &'a Calls, client: Arc<Client>, token: String, key: String) -> Self {
        let all = Semaphore::new(calls.given.concurrency.into());
        Caller { calls, client, token, key, all, targets: Mutex::default() }
    }

    /// How often each target was called.
    pub fn counts(&self) -> Vec<(String, Count)> {
        let mut counts: Vec<_> =
            self.targets().iter().map(|(name, health)| (name.clone(), health.count)).collect();
        counts.sort_by(|a, b| a.0.cmp(&b.0));
        counts
    }

    /// The targets that are left alone now.
    pub fn open(&self) -> Vec<String> {
        let now = Instant::now();
        let open = |health: &Health| health.open_until.is_some_and(|until| until > now);
        let mut names: Vec<String> =
            self.targets().iter().filter(|(_, health)| open(health)).map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }

    /// Calls for all rows; what came of each, in the same order.
    pub async fn all(&self, rows: &[Row]) -> Vec<Outcome> {
        let mut under_way: FuturesUnordered<_> =
            rows.iter().enumerate().map(async |(at, row)| (at, self.one(row).await)).collect();
        let mut outcomes: Vec<Option<Outcome>> = rows.iter().map(|_| None).collect();
        while let Some((at, outcome)) = under_way.next().await {
            outcomes[at] = Some(outcome);
        }
        outcomes.into_iter().flatten().collect()
    }

    async fn one(&self, row: &Row) -> Outcome {
        if row.guarded {
            return Outcome::Guarded;
        }
        let wrong = |target: Option<String>, error: String| {
            let (class, not_before) = (Class::Other, Duration::ZERO);
            Outcome::Deferred(Failure { class, target, called: true, in_passing: false, not_before, error })
        };
        let (url, target) = match row.url(self.calls) {
            Ok(found) => found,
            Err(NoUrl::NoTarget) => return Outcome::NoTarget,
            Err(NoUrl::Wrong(why)) => return wrong(None, why),
        };
        let call = match self.call(row, url) {
            Ok(call) => call,
            Err(error) => return wrong(Some(target), error),
        };
        let places = {
            let mut targets = self.targets();
            let health = targets.entry(target.clone()).or_default();
            let places = || Arc::new(Semaphore::new(self.calls.given.per_target.into()));
            Arc::clone(health.calls.get_or_insert_with(places))
        };
        // Neither is ever closed.
        let _place = places.acquire().await;
        match self.repeat(&call, &target).await {
            Ok(outcome) => outcome,
            Err(error) => wrong(Some(target), error.to_string()),
        }
    }

    fn call(&self, row: &Row, url: String) -> Result<Call, String> {
        let given = &self.calls.given;
        let mut auth = given.auth.clone();
        if let Auth::Tokenlib(tokenlib) = &mut auth {
            for claim in tokenlib.token.values_mut() {
                *claim = row.claim(self.calls, claim).map_err(|error| match error {
                    NoUrl::Wrong(why) => why,
                    NoUrl::NoTarget => "the row has no target".to_owned(),
                })?;
            }
        }
        Ok(Call {
            target: Target::Url(url),
            method: given.method,
            query: Vec::new(),
            headers: Default::default(),
            body: None,
            auth,
            ok: given.ok.clone(),
            timeout: given.timeout(),
            idempotency_key: format!("{}/{}", self.key, name_of(row)),
            token: Some(self.token.clone()),
        })
    }

    /// Calls until that succeeds, makes no sense any more, or was repeated often enough.
    async fn repeat(&self, call: &Call, target: &str) -> Result<Outcome> {
        let (mut repetitions, mut wait) = (0, WAIT);
        loop {
            let place = self.all.acquire().await;
            // Looked at after the wait for a place: meanwhile others failed.
            if let Some(failure) = self.left_alone(target) {
                return Ok(Outcome::Deferred(failure));
            }
            let answer = self.client.send(call).await?;
            drop(place);
            let in_passing = is_in_passing(&answer);
            let asked = answer.retry_after.unwrap_or_default().min(RETRY_AFTER_MOST);
            let open = self.learn(target, &answer, asked);
            if answer.class == Class::Ok {
                return Ok(Outcome::Called);
            }
            if !in_passing || open || repetitions >= self.calls.given.retries {
                let error = answer.error.unwrap_or_else(|| answer.class.to_string());
                let target = Some(target.to_owned());
                return Ok(Outcome::Deferred(Failure {
                    class: answer.class,
                    target,
                    called: true,
                    in_passing,
                    not_before: asked,
                    error,
                }));
            }
            tokio::time::sleep(jittered(wait).max(asked)).await;
            repetitions += 1;
            wait = (wait * 2).min(WAIT_MOST);
        }
    }

    /// Counts an answer. Whether the target is left alone from now on.
    fn learn(&self, target: &str, answer: &Answer, asked: Duration) -> bool {
        let mut targets = self.targets();
        let health = targets.entry(target.to_owned()).or_default();
        if answer.class == Class::Ok {
            health.count.ok += 1;
            (health.failures, health.open_until) = (0, None);
            return false;
        }
        health.count.failed += 1;
        health.failures += 1;
        health.last = Some(answer.class);
        let down = health.failures >= self.calls.given.breaker.into();
        if down || asked > WAIT_MOST {
            let until = Instant::now() + if down { asked.max(OPEN_FOR) } else { asked };
            health.open_until = health.open_until.max(Some(until));
        }
        health.open_until.is_some()
    }

    /// Why a row of this target is not called for now. When its time is over, the next call shows how it is.
    fn left_alone(&self, target: &str) -> Option<Failure> {
        let mut targets = self.targets();
        let health = targets.get_mut(target)?;
        let until = health.open_until?;
        let now = Instant::now();
        if until <= now {
            // One call as a trial; the others wait for its answer.
            health.open_until = Some(now + self.calls.given.timeout());
            return None;
        }
        Some(Failure {
            class: health.last.unwrap_or(Class::Other),
            target: Some(target.to_owned()),
            called: false,
            in_passing: true,
            not_before: until - now,
            error: format!("not called: {target} failed {} times in a row", health.failures),
        })
    }

    fn targets(&self) -> MutexGuard<'_, HashMap<String, Health>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a row's calls are told apart by: all that they are made of, so that another call is not taken for a repetition.
fn name_of(row: &Row) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(row.same.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn is_in_passing(answer: &Answer) -> bool {
    match answer.class {
        Class::Timeout | Class::Connect => true,
        Class::Other => answer.status.is_none(),
        Class::Ok | Class::Http4xx | Class::Http5xx => {
            answer.status.is_some_and(|status| IN_PASSING.contains(&status))
        }
    }
}

/// Half of it at the least.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// Refused by the replica's own rules.
pub fn refused(error: Error) -> crate::kind::Stop {
    let remedy = error.remedy().map(str::to_owned);
    crate::kind::Stop::Refused { reason: error.to_string(), remedy, details: serde_json::Map::new() }
}
