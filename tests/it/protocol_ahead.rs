//! A batch that is begun behind the commit of the one before, for kinds of one's own.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use sexton::{
    Registry,
    kind::{Batch, Description, IN_BATCH, Kind, Nature, Report, RunContext, Slices, Stop, Stopped},
    testing::Occurrence,
};
use tokio_postgres::types::ToSql;

use crate::support::Db;

/// Deletes things below a number, the next ones announced, and then others.
struct Deletes;

#[derive(Deserialize)]
struct Params {
    guarded: bool,
}

impl Kind for Deletes {
    type Params = Params;

    fn name(&self) -> &'static str {
        "deletes"
    }

    fn describe(&self) -> Description {
        Description { summary: "Deletes things.", nature: Nature::Database, params: &[], example: "" }
    }

    async fn run(&self, context: &mut RunContext, params: Params) -> Result<Report, Stop> {
        let bound = if params.guarded {
            format!("CASE WHEN {IN_BATCH} THEN $1::int END")
        } else {
            "$1::int".to_owned()
        };
        let effect = &format!("DELETE FROM public.things WHERE id = {bound}");
        for (now, next) in [(1_i32, Some(2_i32)), (2, Some(3)), (4, None)] {
            let next = next.as_ref().map(|id| [id as &(dyn ToSql + Sync)]);
            let next = next.as_ref().map(<[_; 1]>::as_slice);
            let slices = Slices { effect, params: &[&[&now]], rest: Duration::ZERO, next };
            assert_eq!(context.is_begun(&slices), now == 2, "only what was announced");
            assert!(matches!(
                context.batch_in_slices(&slices, &json!(now)).await?,
                Batch::Committed { rows: 1, .. }
            ));
        }
        Ok(Report::new(Stopped::LimitRows))
    }
}

async fn left_after(guarded: bool) -> (String, Option<String>, String) {
    let db = Db::new().await;
    db.execute("CREATE TABLE public.things AS SELECT generate_series(1, 5) AS id").await;
    db.insert("job", "deletes", "manual", json!({"guarded": guarded})).await;
    let mut registry = Registry::new();
    registry.add(Deletes);
    let ran = Occurrence::of("job", db.config.clone()).registry(registry).run().await.unwrap();
    let left = db.get("SELECT string_agg(id::text, ' ' ORDER BY id) FROM public.things", &[]).await;
    (ran.state, ran.error, left)
}

#[tokio::test]
async fn what_was_begun_is_taken_up_or_taken_back() {
    assert_eq!(left_after(true).await, ("succeeded".to_owned(), None, "3 5".to_owned()));
}

#[tokio::test]
async fn an_effect_that_could_commit_without_its_fence_is_refused() {
    let (state, error, left) = left_after(false).await;
    assert_eq!((state.as_str(), left.as_str()), ("failed", "1 2 3 4 5"), "{error:?}");
    assert!(error.is_some_and(|error| error.contains("could commit without its fence")));
}
