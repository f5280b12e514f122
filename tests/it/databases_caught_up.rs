//! What a run records, when it enters another database, of a batch that committed there and was not recorded here: by
//! hand, statement by statement.
//!
//! Only the home database is here; what the other one would tell of its last batch is given. What is easy to get wrong:
//! that batch may be of an occurrence that is over, or older than what others did since; its cursor then leads astray.

use serde_json::{Value, json};
use tokio_postgres::Error;

use crate::support::{Db, Hand, detail};

/// A holder tells of the second batch of an earlier run: whether that run did the same, and whether the batch is news.
async fn catch_up(hand: &Hand, of: &Hand) -> Result<(bool, bool), Error> {
    let sql = "SELECT c.same, c.news FROM sexton.catch_up($1, $2, $3, $4, 2, 1, $5) c";
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
        [&hand.job, &hand.version, &hand.run, &of.run, &done(2)];
    let row = hand.client.query_one(sql, &params).await?;
    Ok((row.get(0), row.get(1)))
}

/// A cursor behind so many steps.
fn done(steps: i64) -> Value {
    json!({ "done": steps })
}

/// How many batches are recorded of a run, and its cursor.
async fn recorded(db: &Db, hand: &Hand) -> (i64, Option<Value>) {
    let sql = "SELECT seq, cursor FROM sexton.run_part WHERE run_id = $1";
    let row = db.client.query_one(sql, &[&hand.run]).await.unwrap();
    (row.get(0), row.get(1))
}

/// The next holder, the last one's session being over.
async fn next(db: &Db, last: &Hand) -> Hand {
    last.client.batch_execute("SELECT pg_advisory_unlock_all()").await.unwrap();
    Hand::claim(db, "job").await
}

/// A holder with one batch here and a second one there, and the next holder.
async fn one_behind(db: &Db) -> (Hand, Hand) {
    db.due("job").await;
    let first = Hand::claim(db, "job").await;
    first.batch(0).await.unwrap();
    let second = next(db, &first).await;
    assert_eq!(second.cursor, Some(done(1)));
    (first, second)
}

#[tokio::test]
async fn it_is_recorded_once_and_the_run_goes_on_from_there() {
    let db = Db::new().await;
    let (first, second) = one_behind(&db).await;
    assert_eq!(catch_up(&second, &first).await.unwrap(), (true, true));
    assert_eq!(recorded(&db, &first).await, (2, Some(done(2))));
    assert_eq!(recorded(&db, &second).await, (0, Some(done(2))));
    assert_eq!(catch_up(&second, &first).await.unwrap(), (true, false), "no news twice");
    assert_eq!(recorded(&db, &first).await, (2, Some(done(2))));
}

/// A holder that was superseded tells of the batch, and then the one that came after it, whose cursor is from before; what
/// either was answered.
async fn told_by_a_zombie_first(db: &Db) -> (Result<(bool, bool), Error>, (bool, bool)) {
    let (first, zombie) = one_behind(db).await;
    let holder = next(db, &zombie).await;
    assert_eq!(holder.cursor, Some(done(1)));
    let refused = catch_up(&zombie, &first).await;
    (refused, catch_up(&holder, &first).await.unwrap())
}

#[tokio::test]
async fn a_superseded_holder_records_nothing() {
    let db = Db::new().await;
    let (zombie, holder) = told_by_a_zombie_first(&db).await;
    assert_eq!(detail(zombie), "superseded");
    assert_eq!(holder, (true, true), "it is news to the holder, who does not do the batch again");
}

#[tokio::test]
async fn unasked_a_superseded_holder_takes_the_news_from_the_next() {
    let db = Db::new().await;
    db.patch("sexton.held_run", "stop IS NOT NULL", "false").await;
    let (zombie, holder) = told_by_a_zombie_first(&db).await;
    zombie.unwrap();
    assert_eq!(holder, (true, false), "the control: it goes on with a cursor from before the batch");
}

/// A takeover while what a holder records is about to commit: the cursor that the next one goes on with.
async fn takeover_while_it_is_recorded(db: &Db) -> Option<Value> {
    let (first, zombie) = one_behind(db).await;
    zombie.client.batch_execute("SELECT pg_advisory_unlock_all(); BEGIN").await.unwrap();
    catch_up(&zombie, &first).await.unwrap();
    let mut takeover = Box::pin(Hand::claim(db, "job"));
    let waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
                   AND wait_event IN ('transactionid', 'tuple') AND query LIKE '%sexton.claim%'";
    let early = tokio::select! {
        holder = &mut takeover => Some(holder),
        () = db.until("the takeover waits for the row", waits, &[]) => None,
    };
    zombie.client.batch_execute("COMMIT").await.unwrap();
    let holder = match early {
        Some(holder) => holder,
        None => takeover.await,
    };
    assert_eq!(catch_up(&holder, &first).await.unwrap(), (true, false), "it is recorded");
    recorded(db, &holder).await.1
}

#[tokio::test]
async fn a_takeover_waits_for_what_is_recorded_and_goes_on_from_there() {
    assert_eq!(takeover_while_it_is_recorded(&Db::new().await).await, Some(done(2)));
}

#[tokio::test]
async fn without_the_lock_a_takeover_slips_in_before_what_is_recorded() {
    let db = Db::new().await;
    db.patch("sexton.held_run", "p_job FOR SHARE", "p_job").await;
    let cursor = takeover_while_it_is_recorded(&db).await;
    assert_eq!(cursor, Some(done(1)), "the control: it does the batch again");
}

/// With the cursor of an occurrence that is over, the present one would pass over all that it has to do.
#[tokio::test]
async fn a_batch_of_another_occurrence_is_recorded_and_moves_no_cursor() {
    let db = Db::new().await;
    let (first, second) = one_behind(&db).await;
    second.finish("refused", 0).await.unwrap();
    db.verb("run_now", "job").await;
    let holder = next(&db, &second).await;
    assert_ne!(holder.occurrence, first.occurrence);
    assert_eq!(catch_up(&holder, &first).await.unwrap(), (false, false));
    assert_eq!(recorded(&db, &holder).await, (0, None));
    assert_eq!(recorded(&db, &first).await, (2, Some(done(2))));
    let history = "SELECT batches || ' ' || rows_done FROM sexton.run WHERE id = $1";
    assert_eq!(db.get::<String>(history, &[&first.run]).await, "2 2", "the history is right all the same");
}

/// Another run has committed since, in yet another database perhaps: of that, the batch's cursor knows nothing.
#[tokio::test]
async fn a_batch_that_others_went_beyond_moves_no_cursor() {
    let db = Db::new().await;
    let (first, second) = one_behind(&db).await;
    second.batch(0).await.unwrap();
    second.batch(1).await.unwrap();
    second.batch(2).await.unwrap();
    let third = next(&db, &second).await;
    assert_eq!(catch_up(&third, &first).await.unwrap(), (true, false));
    assert_eq!(recorded(&db, &third).await, (0, Some(done(3))));
    assert_eq!(recorded(&db, &first).await, (2, Some(done(2))));
}
