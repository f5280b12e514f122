//! Batches whose rows were to be kept in a storage and that were taken back: what becomes of the objects.
//!
//! What is easy to get wrong: what a batch leaves behind costs a little room until the next run, what is taken from another
//! one are rows that are nowhere any more.

use crate::{
    backup_support::files,
    purge_stored::{log, log_is_whole, params},
    purge_support::detail,
};

/// The third batch meets a row that is locked, and is taken back; then it steps around that row.
#[tokio::test]
async fn a_batch_that_is_taken_back_takes_no_objects_of_those_before_it() {
    let world = log(params()).await;
    let was = world.rows("log").await;
    let application = world.db.session().await;
    application.batch_execute("BEGIN; SELECT FROM log WHERE id = 20 FOR UPDATE").await.unwrap();
    let ran = world.succeed().await;
    application.batch_execute("COMMIT").await.unwrap();
    assert_eq!((ran.rows, detail(&ran, "/skipped_locked").as_i64()), (29, Some(1)), "{:?}", ran.report);
    let objects = files(&world.shelf()).iter().filter(|file| file.ends_with(".zst")).count() as u64;
    assert_eq!(detail(&ran, "/stored/objects").as_u64(), Some(objects));
    log_is_whole(&world, &was, 29).await;
}
