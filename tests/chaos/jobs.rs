//! The jobs of a round: the kind `steps` in many forms, a purge of each walk, one-offs, a fan-out, a backup.

use serde_json::json;

use crate::world::{Result, World};

/// The job whose runs are submitted, by operators and by a fan-out.
pub const ONE_OFFS: &str = "each";

/// The names, the one that may be deleted last.
pub async fn create(world: &World) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for index in 0..10 {
        let name = format!("steps-{index}");
        let params = json!({
            "steps": 3 + index, "rest_ms": index * 3, "transaction": index % 3 == 0,
            "fails_in_100": if index == 4 { 5 } else { 0 },
        });
        let schedule = if index % 4 == 3 { "every 2s" } else { "every 1s" };
        world.job(&name, "steps", schedule, params).await?;
        names.push(name);
    }
    world
        .execute(
            r#"UPDATE sexton.job SET max_attempts = 3 WHERE name = 'steps-4';
               UPDATE sexton.job SET max_lateness = '700 ms' WHERE name = 'steps-8';
               UPDATE sexton.job SET resources = '["well"]' WHERE name IN ('steps-0', 'steps-5');
               UPDATE sexton.job SET resources = '[{"name": "well", "shared": true}]' WHERE name IN ('steps-1', 'steps-2')"#,
        )
        .await?;
    // The last name is the one that is deleted and created anew, which no purge shall be.
    for (target, walk, more) in [
        ("index", "index", json!({})),
        ("heap", "heap", json!({})),
        ("workers", "heap", json!({ "workers": 2, "archive": { "table": "public.by_workers_kept" } })),
        (
            "child",
            "index",
            json!({ "children": [{ "table": "public.items", "archive": { "table": "public.items_kept" } }] }),
        ),
    ] {
        let mut params = json!({
            "table": format!("public.by_{target}"), "by": "created_at", "retention": "1 hour", "where": "NOT keep",
            "walk": walk, "max_fraction": 1.0, "batch": 20, "pacing": "full",
        });
        if let (Some(params), Some(more)) = (params.as_object_mut(), more.as_object()) {
            params.extend(more.clone());
        }
        let name = format!("purge-{target}");
        world.job(&name, "purge", "every 1s", params).await?;
        world.verb("arm", &name).await?;
        names.insert(0, name);
    }
    names.splice(0..0, submitting(world).await?);
    world.execute("SELECT chaos.breed(500), chaos.pair(2000)").await?;
    Ok(names)
}

/// A job that submits runs of another, and one that makes backups.
async fn submitting(world: &World) -> Result<Vec<String>> {
    let inputs = "UPDATE sexton.job SET inputs = '{\"tenant\": \"bigint\"}', max_running = 2 WHERE name = $1";
    world.job(ONE_OFFS, "steps", "manual", json!({ "steps": 3, "rest_ms": 20 })).await?;
    world.rows(inputs, &[&ONE_OFFS]).await?;
    let query = "SELECT i AS tenant FROM generate_series(1, 6) i";
    let params = json!({ "query": query, "key": "tenant", "job": ONE_OFFS, "batch": 2 });
    world.job("spread", "fan_out", "every 2s", params).await?;
    let sets = json!([{ "table": "public.pairs" }, { "table": "public.twins" }]);
    let params = json!({ "storage": "shelf", "sets": sets, "keep": { "last": 3 } });
    world.job("backup", "backup", "every 2s", params).await?;
    Ok([ONE_OFFS, "spread", "backup"].map(str::to_owned).to_vec())
}
