//! What can be read off a migrated database: that each statement is understood, and each object explains itself.

use sexton::statements;

use crate::support::Db;

#[tokio::test]
async fn every_statement_is_parsed_by_the_server() {
    let db = Db::new().await;
    sexton::edge::migrate::fence(&db.config.clone().into(), &Default::default(), |_| {}).await.unwrap();
    for (name, text) in statements::ALL {
        // At the protocol level, which refuses a second statement; SQL's own PREPARE refuses LISTEN and VACUUM.
        if let Err(error) = db.client.prepare(text).await {
            panic!("sql/{name}.sql: {error:?}");
        }
        assert!(text.starts_with("-- "), "sql/{name}.sql begins with what it is for");
    }
}

/// Names of what a query finds, of which there must be none.
async fn none(db: &Db, what: &str, query: &str) {
    let sql = format!("SELECT coalesce(string_agg(name, ', '), '') FROM ({query}) AS found (name)");
    assert_eq!(db.get::<String>(&sql, &[]).await, "", "{what}");
}

/// The objects of the schema, but for the history of migrations, which is refinery's.
const RELATIONS: &str =
    "pg_class c WHERE c.relnamespace = 'sexton'::regnamespace AND c.relname !~ 'schema_history'";

#[tokio::test]
async fn every_object_has_a_comment() {
    let db = Db::new().await;
    let kinds = "c.relkind IN ('r', 'v', 'S') AND c.relname NOT LIKE '%\\_id\\_seq'";
    let relations =
        format!("SELECT c.relname FROM {RELATIONS} AND {kinds} AND obj_description(c.oid) IS NULL");
    none(&db, "tables, views and sequences without a comment", &relations).await;
    let columns = format!(
        "SELECT c.relname || '.' || a.attname FROM pg_attribute a, {RELATIONS} AND a.attrelid = c.oid
            AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND col_description(c.oid, a.attnum) IS NULL"
    );
    none(&db, "columns without a comment", &columns).await;
    // An index that a constraint made is explained by the constraint.
    let indexes = format!(
        "SELECT c.relname FROM {RELATIONS} AND c.relkind = 'i' AND obj_description(c.oid) IS NULL
            AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid)"
    );
    none(&db, "indexes without a comment", &indexes).await;
    none(
        &db,
        "functions without a comment",
        "SELECT p.oid::regprocedure::text FROM pg_proc p
          WHERE p.pronamespace = 'sexton'::regnamespace AND obj_description(p.oid) IS NULL",
    )
    .await;
    none(
        &db,
        "triggers without a comment",
        "SELECT t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
          WHERE c.relnamespace = 'sexton'::regnamespace AND NOT t.tgisinternal AND obj_description(t.oid) IS NULL",
    )
    .await;
}

#[tokio::test]
async fn every_definer_function_pins_its_search_path() {
    let db = Db::new().await;
    let definers = "pg_proc p WHERE p.pronamespace = 'sexton'::regnamespace AND p.prosecdef";
    let unpinned = format!(
        "SELECT p.oid::regprocedure::text FROM {definers}
            AND NOT 'search_path=pg_catalog, pg_temp' = ANY (coalesce(p.proconfig, '{{}}'))"
    );
    none(&db, "definer functions that look names up where the caller says", &unpinned).await;
    let count = format!("SELECT count(*) FROM {definers}");
    assert!(db.get::<i64>(&count, &[]).await > 20, "there are definer functions to look at");
}

#[tokio::test]
async fn an_unpinned_definer_function_would_be_found() {
    let db = Db::new().await;
    db.execute("CREATE FUNCTION sexton.careless() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'")
        .await;
    let found: bool = db
        .get(
            "SELECT NOT 'search_path=pg_catalog, pg_temp' = ANY (coalesce(proconfig, '{}')) FROM pg_proc WHERE proname = 'careless'",
            &[],
        )
        .await;
    assert!(found);
}

#[tokio::test]
async fn public_has_no_right_in_the_schema() {
    let db = Db::new().await;
    none(
        &db,
        "functions that anybody may execute",
        "SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = 'sexton'::regnamespace
            AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0)",
    )
    .await;
    let relations = format!(
        "SELECT c.relname FROM {RELATIONS} AND EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee = 0)"
    );
    none(&db, "tables, views and sequences that anybody may use", &relations).await;
    let schema = "SELECT has_schema_privilege('pg_monitor', 'sexton', 'USAGE, CREATE')";
    assert!(!db.get::<bool>(schema, &[]).await, "a role that was granted nothing has nothing");
}
