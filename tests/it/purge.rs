//! What a purge deletes, refuses and reports.

use serde_json::json;

use crate::purge_support::{World, detail};

/// 1,000 rows, one an hour back from now; every tenth has no age.
const EVENTS: &str = "CREATE TABLE events (id bigint PRIMARY KEY, at timestamptz, tenant bigint NOT NULL);
    INSERT INTO events SELECT i, CASE WHEN i % 10 > 0 THEN now() - i * interval '1 hour' END, i % 3
      FROM generate_series(1, 1000) i;";

#[tokio::test]
async fn both_walks_delete_what_is_old_and_keep_what_has_no_age() {
    for (walk, index) in [("heap", ""), ("index", "CREATE INDEX ON events (at)")] {
        let world = World::new(&format!("{EVENTS} {index}")).await;
        let due = world.number("SELECT count(*) FROM events WHERE at < now() - interval '20 days'").await;
        world
            .job(json!({"table": "events", "by": "at", "retention": "20 days", "walk": walk, "batch": 50,
                         "max_fraction": 1}))
            .await;
        let ran = world.run().await;
        assert_eq!((ran.state.as_str(), ran.error.as_deref()), ("succeeded", None), "{walk}");
        assert_eq!(ran.rows, due, "{walk}: {:?}", ran.report);
        assert_eq!(detail(&ran, "/walk"), walk);
        assert_eq!(world.number("SELECT count(*) FROM events").await, 1000 - due);
        assert_eq!(world.number("SELECT count(*) FROM events WHERE at IS NULL").await, 100);
        println!("{}", serde_json::to_string_pretty(&ran.report).unwrap());
    }
}
