//! The checker itself: a sound history, of which a part is taken away, or in which something is forged. It must object.
//!
//! What is easy to get wrong: a check that lost its history finds nothing wrong in it, and so passes for ever.

use serde_json::json;

use super::{LEASE, SOON, all_done, due, judge_history};
use crate::{
    diary,
    fleet::Fleet,
    history::{History, Wish},
    world::{Result, Server},
};

/// What is done to the history.
type Change = (&'static str, fn(&mut History));

const CHANGES: &[Change] = &[
    ("no change of any job is left", |history| history.changes.clear()),
    ("no batch is left", |history| history.fences.clear()),
    ("one batch is missing", |history| history.fences.truncate(history.fences.len() - 1)),
    ("no step is left", |history| history.steps.clear()),
    ("one step is missing", |history| history.steps.truncate(history.steps.len() - 1)),
    ("no run is left", |history| history.runs.clear()),
    ("no deleted row is left", |history| history.gone.clear()),
    ("a step was acknowledged that is not there", |history| {
        history.acknowledged.push((history.runs[0].id, i32::MAX));
    }),
    ("a run ended otherwise than its replica was told", |history| {
        history.told.iter_mut().for_each(|told| told.2 = told.2.take().map(|_| "failed".to_owned()));
    }),
    ("a claim was won by another replica", |history| {
        history.told.iter_mut().for_each(|told| told.0 = "nobody".to_owned());
    }),
    ("a token was given to two runs", |history| {
        let (job, token, _) = history.tokens[0].clone();
        history.tokens.push((job, token, uuid::Uuid::nil()));
    }),
    ("a run now was never run", |history| {
        let job = history.runs[0].job;
        history.wishes.push(Wish { moment: i64::MAX, job, verb: "run_now".to_owned(), key: None });
    }),
    ("something was submitted and never run", |history| {
        let job = history.runs[0].job;
        history.wishes.push(Wish {
            moment: i64::MAX,
            job,
            verb: "submit".to_owned(),
            key: Some("k".to_owned()),
        });
    }),
    ("everything was halted", |history| history.halts.push((Some(0), true))),
    ("a version was issued twice", |history| {
        let version = history.runs[0].version;
        history.changes.iter_mut().for_each(|change| change.version = version);
    }),
    ("all jobs were paused when their runs began", |history| {
        history.changes.iter_mut().for_each(|change| change.paused = true);
    }),
];

/// Makes a history, and changes it in each way.
pub async fn objects(server: &Server) -> Result<String> {
    let world = server.world().await?;
    let mut fleet = Fleet::start(&world, 2, Some(LEASE), 3).await?;
    fleet.ready(&world).await?;
    world.execute("SELECT chaos.breed(50)").await?;
    let params = json!({ "table": "public.by_index", "by": "created_at", "retention": "1 hour", "where": "NOT keep", "max_fraction": 1.0 });
    world.job("purge", "purge", "manual", params).await?;
    world.verb("arm", "purge").await?;
    due(&world, 3, 5).await?;
    all_done(&world, SOON).await?;
    fleet.drain(SOON).await?;
    let mut history = History::read(&world).await?;
    diary::read_into(&mut history, fleet.keeper.diaries())?;
    judge_history(&history)?;
    for (what, change) in CHANGES {
        let mut changed = history.clone();
        change(&mut changed);
        if judge_history(&changed).is_ok() {
            return Err(format!("the checker does not see that {what}").into());
        }
    }
    Ok(format!("it objects to each of {} changes", CHANGES.len()))
}
