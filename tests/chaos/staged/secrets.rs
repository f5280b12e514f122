//! Secrets, where each is used and everything fails: calls whose answers quote them, buckets that turn them away, webhooks
//! and mails that do not arrive, with replicas that log all they can.

use serde_json::json;

use super::SOON;
use crate::{
    canary,
    fleet::Fleet,
    outside::{self, Outside},
    process::{Program, Setup},
    world::{Result, Server},
};

/// Plays all of it, and looks everywhere; first at a planted one, which must be found.
pub async fn nowhere(server: &Server) -> Result<String> {
    let world = server.world().await?;
    let outside = Outside::start(33).await?;
    outside::create_jobs(&world).await?;
    // Its answers quote what was sent.
    world.execute("UPDATE sexton.job SET params = params || '{\"path\": \"quote\"}', max_attempts = 2 WHERE kind = 'http'").await?;
    let sets = json!([{ "table": "public.items" }]);
    world.job("to-bucket", "backup", "every 1s", json!({ "storage": "bucket", "sets": sets })).await?;
    world.job("to-shelf", "backup", "every 1s", json!({ "storage": "shelf", "sets": sets })).await?;
    world
        .execute(
            "UPDATE sexton.job SET max_attempts = 2 WHERE name = 'to-bucket';
             SELECT sexton.subscribe(channel, '{failed,succeeded}') FROM (VALUES ('webhook:ops'), ('mail:ops@example.org')) c (channel)",
        )
        .await?;
    let mut fleet = Fleet::new()?;
    for (index, program) in [(0, Program::Sexton), (1, Program::Embedded)] {
        let loud = |setup| outside.known_to(Setup { program, ..setup }).variable("SEXTON_LOG", "trace");
        fleet.join(&world, index, loud).await?;
    }
    fleet.ready(&world).await?;
    let mut looks = 0;
    let tried = "SELECT (SELECT count(*) FROM sexton.job j WHERE (SELECT count(*) FROM sexton.run r WHERE r.job_id = j.id
            AND r.state <> 'running') >= 2) = (SELECT count(*) FROM sexton.job)
        AND (SELECT count(DISTINCT channel) FROM sexton.delivery WHERE error IS NOT NULL) = 2";
    let deadline = tokio::time::Instant::now() + SOON;
    while !world.get::<bool>(tried, &[]).await? {
        if tokio::time::Instant::now() > deadline {
            let left = "SELECT string_agg(concat_ws(' ', name, sexton.why(name)), E'\\n') FROM sexton.job j
                WHERE (SELECT count(*) FROM sexton.run r WHERE r.job_id = j.id) < 2";
            return Err(
                format!("not all was tried: {:?}", world.get::<Option<String>>(left, &[]).await?).into()
            );
        }
        canary::look_now(&world).await?;
        looks += 1;
    }
    fleet.drain(SOON).await?;
    let quoted: i64 =
        world.get("SELECT count(*) FROM chaos.run WHERE report::text LIKE '%[secret]%'", &[]).await?;
    if quoted == 0 {
        return Err("no answer quoted a secret: this showed nothing".into());
    }
    let log = server.cluster.log_file();
    canary::look(&world, fleet.keeper.diaries(), &log).await?;
    world.execute("CREATE TABLE public.planted AS SELECT 'a canary-planted' AS text").await?;
    if canary::look(&world, fleet.keeper.diaries(), &log).await.is_ok() {
        return Err("a planted secret was not found".into());
    }
    world.execute("DROP TABLE public.planted").await?;
    let planted = fleet.keeper.diaries().join("planted.log");
    std::fs::write(&planted, "header: dTpjYW5hcnkt")?;
    if canary::look(&world, fleet.keeper.diaries(), &log).await.is_ok() {
        return Err("a secret that was planted in a log was not found".into());
    }
    let count = outside::CANARIES.len() + 2;
    Ok(format!(
        "{count} secrets, {quoted} answers that quoted one, {looks} looks at processes and sessions; planted ones are found"
    ))
}
