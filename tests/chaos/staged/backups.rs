//! A holder that ends or freezes right before and right after the manifest of its backup: what is presented is good.
//!
//! What is easy to get wrong: a backup whose holder died after the manifest is one, and nobody may take it for half
//! written; one whose holder died before it must not be shown.

use serde_json::json;

use super::{LEASE, SOON, all_done, points::reached};
use crate::{
    backups,
    fleet::Fleet,
    hand::plan,
    outside::Outside,
    process::Setup,
    world::{Result, Server, World},
};

/// The first checkpoint comes right before the manifest, the second right after it.
const POINTS: [(&str, usize); 4] =
    [("batch.before@1", 0), ("batch.committed@1", 0), ("batch.before@2", 1), ("batch.committed@2", 1)];

/// Each point, with a holder that dies there and one that freezes there.
pub async fn at_the_manifest(server: &Server) -> Result<String> {
    for action in ["abort", "stop"] {
        let mut plays = Vec::new();
        for (point, there) in POINTS {
            plays.push(one_point(server.world().await?, format!("{point}={action}"), there));
        }
        for played in futures_util::future::join_all(plays).await {
            played?;
        }
    }
    Ok(format!("{} ends around the manifest, each presented backup whole", POINTS.len() * 2))
}

async fn one_point(world: World, wish: String, there: usize) -> Result<()> {
    play(world, &wish, there).await.map_err(|error| format!("{wish}: {error}").into())
}

async fn play(world: World, wish: &str, there: usize) -> Result<()> {
    world.execute("SELECT chaos.pair(300)").await?;
    let outside = Outside::start(34).await?;
    let sets = json!([{ "table": "public.pairs" }, { "table": "public.twins" }]);
    world.job("backup", "backup", "manual", json!({ "storage": "shelf", "sets": sets })).await?;
    let mut fleet = Fleet::new()?;
    let setup = |setup| outside.known_to(Setup { lease: Some(LEASE), ..setup });
    fleet.join(&world, 0, |given| setup(given).variable("SEXTON_FAILPOINTS", wish)).await?;
    fleet.ready(&world).await?;
    plan(&world, "backup").await?;
    world.verb("run_now", "backup").await?;
    reached(&mut fleet, wish.rsplit('=').next().unwrap_or_default()).await?;
    let found = backups::presented(&outside).await?.len();
    if found != there {
        return Err(format!("{found} backups are presented, and {there} were made").into());
    }
    fleet.join(&world, 1, setup).await?;
    all_done(&world, SOON).await?;
    let with_next = backups::presented(&outside).await?;
    if wish.ends_with("stop") {
        fleet.heal()?;
    }
    fleet.drain(SOON).await?;
    // Who was frozen has had its say meanwhile.
    let at_last = backups::presented(&outside).await?;
    if with_next.len() <= there.saturating_sub(1) || at_last != with_next {
        return Err(format!("first {with_next:?} are presented, then {at_last:?}").into());
    }
    Ok(())
}
