//! Sessions that go from one one-off of a job to the next: nothing that a run leaves reaches the run after it.

use serde_json::json;

use crate::support::{Db, Replica};

/// Each step first writes down what it finds of an earlier one, and then leaves all that a session can be left with.
const LEAVES: &str = "
CREATE TABLE seen (id bigint GENERATED ALWAYS AS IDENTITY, pid int, what text);
CREATE FUNCTION found() RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws(' ',
    CASE WHEN to_regclass('pg_temp.left_behind') IS NOT NULL THEN 'table' END,
    CASE WHEN current_setting('test.left_behind', true) <> '' THEN 'setting' END,
    CASE WHEN current_setting('statement_timeout') <> '5min' THEN 'limit' END,
    CASE WHEN current_setting('idle_session_timeout') <> '15s' THEN 'lease' END,
    CASE WHEN current_setting('search_path') <> '\"$user\", public' THEN 'search_path' END,
    (SELECT 'statement' FROM pg_prepared_statements WHERE name = 'left_behind'),
    (SELECT 'cursor' FROM pg_cursors WHERE name = 'left_behind'),
    (SELECT 'lock' FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND objid = 4711),
    (SELECT 'channel' FROM pg_listening_channels() c WHERE c = 'left_behind')) $$;
CREATE FUNCTION leave(also_statement boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO public.seen (pid, what) SELECT pg_backend_pid(), public.found();
  CREATE TEMP TABLE left_behind (n int);
  PERFORM set_config('test.left_behind', 'yes', false), set_config('statement_timeout', '0', false),
          set_config('idle_session_timeout', '0', false), set_config('search_path', 'pg_catalog', false),
          pg_advisory_lock(4711);
  EXECUTE 'DECLARE left_behind CURSOR WITH HOLD FOR SELECT 1';
  EXECUTE 'LISTEN left_behind';
  IF also_statement THEN
    EXECUTE 'PREPARE left_behind AS SELECT 1';
  END IF;
END $$;
CREATE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM public.leave(NEW.label IS NOT NULL);
  RETURN NEW;
END $$;
CREATE TRIGGER leave AFTER INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION leave()";

const FOUND: &str =
    "SELECT coalesce(string_agg(DISTINCT what, ', ') FILTER (WHERE what <> ''), 'nothing') FROM seen";
const SESSIONS: &str = "SELECT count(DISTINCT pid) FROM seen";

/// Twelve one-offs, one after the other by one replica, which waits for more when they are done.
async fn twelve(label: Option<&str>) -> (Db, Replica) {
    let db = Db::new().await;
    db.execute(LEAVES).await;
    let sql = "INSERT INTO sexton.job (name, kind, params) VALUES ('one', 'steps', $1)";
    db.client.execute(sql, &[&json!({"steps": 1, "label": label})]).await.unwrap();
    db.planned("one").await;
    db.execute("SELECT sexton.submit('one') FROM generate_series(1, 12)").await;
    let replica = Replica::with(&db, |builder| builder.slots(1));
    db.until("all are done", "SELECT count(*) = 12 FROM sexton.run WHERE state = 'succeeded'", &[]).await;
    (db, replica)
}

#[tokio::test]
async fn a_session_that_goes_on_to_the_next_one_off_is_as_clean_as_a_new_one() {
    let (db, replica) = twelve(None).await;
    assert_eq!(db.get::<i64>(SESSIONS, &[]).await, 1, "all had the same one");
    assert_eq!(db.get::<String>(FOUND, &[]).await, "nothing");
    let left = "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'sexton/%'";
    db.until("it is closed when there is nothing more to do", left, &[]).await;
    db.assert_exact().await;
    replica.drain().await;
}

#[tokio::test]
async fn one_with_a_statement_that_is_not_ours_is_closed() {
    let (db, replica) = twelve(Some("prepares a statement")).await;
    assert_eq!(db.get::<i64>(SESSIONS, &[]).await, 12, "each had its own");
    assert_eq!(db.get::<String>(FOUND, &[]).await, "nothing");
    replica.drain().await;
}

/// The control to both: what is not taken back is found, each thing by itself.
#[tokio::test]
async fn without_discard_all_it_is_all_there() {
    let db = Db::new().await;
    db.execute(LEAVES).await;
    let session = db.session().await;
    session.batch_execute("SELECT public.leave(true)").await.unwrap();
    let found = async || session.query_one("SELECT public.found()", &[]).await.unwrap().get::<_, String>(0);
    assert_eq!(found().await, "table setting limit lease search_path statement cursor lock channel");
    for (takes_back, left) in [
        ("RESET ALL", "table limit lease statement cursor lock channel"),
        ("DISCARD TEMP", "limit lease statement cursor lock channel"),
        ("DEALLOCATE ALL", "limit lease cursor lock channel"),
        ("CLOSE ALL", "limit lease lock channel"),
        ("SELECT pg_advisory_unlock_all()", "limit lease channel"),
        ("UNLISTEN *", "limit lease"),
    ] {
        session.batch_execute(takes_back).await.unwrap();
        assert_eq!(
            found().await,
            left,
            "after {takes_back}; a session of our own has neither limit nor lease"
        );
    }
}
