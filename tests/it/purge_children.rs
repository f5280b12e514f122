//! Purges that take other tables' rows along: what is refused, what stays, who is stepped around, and what a trigger may do.

use serde_json::{Value, json};

use crate::{
    purge_support::{World, detail},
    support::code,
};

/// 60 orders, an hour apart; three items of each, two notes of every second item.
const SHOP: &str = "CREATE TABLE orders (id int PRIMARY KEY, at timestamptz NOT NULL, items int DEFAULT 3, changed timestamptz);
    INSERT INTO orders SELECT i, now() - i * interval '1 hour' FROM generate_series(1, 60) i; CREATE INDEX ON orders (at);
    CREATE TABLE items (id int PRIMARY KEY, order_id int REFERENCES orders, tag int, same int REFERENCES items);
    INSERT INTO items SELECT i, 1 + i / 3, i % 9 FROM generate_series(0, 179) i;
    CREATE INDEX items_order ON items (order_id); CREATE INDEX ON items (same);
    CREATE TABLE notes (item_id int REFERENCES items, text text); CREATE INDEX ON notes (item_id);
    INSERT INTO notes SELECT i, 'n' FROM generate_series(0, 179, 2) i, generate_series(1, 2);";

fn params(children: Value) -> Value {
    json!({"table": "orders", "by": "at", "retention": "10 hours 30 minutes", "max_fraction": 1, "batch": 20,
           "children": children})
}

fn both() -> Value {
    params(json!(["items", "notes"]))
}

impl World {
    async fn left(&self) -> (i64, i64, i64) {
        let count = async |table: &str| self.number(&format!("SELECT count(*) FROM {table}")).await;
        (count("orders").await, count("items").await, count("notes").await)
    }
}

#[tokio::test]
async fn a_budget_counts_rows_of_the_table_alone_and_the_report_each_table() {
    let world = World::new(SHOP).await;
    let mut params = both();
    params["limit_rows"] = 7.into();
    params["batch"] = 5.into();
    world.job(params).await;
    let ran = world.succeed().await;
    assert_eq!((ran.rows, detail(&ran, "/stopped").as_str()), (7, Some("limit_rows")));
    assert_eq!(detail(&ran, "/children/0"), &json!({"table": "public.items", "deleted": 21}));
    let (orders, items, notes) = world.left().await;
    assert_eq!((orders, items), (53, 180 - 21));
    assert_eq!(detail(&ran, "/children/1"), &json!({"table": "public.notes", "deleted": 180 - notes}));
    assert_eq!(
        world.number("SELECT count(*) FROM items WHERE order_id NOT IN (SELECT id FROM orders)").await,
        0
    );
}

#[tokio::test]
async fn a_child_that_is_not_one_is_refused_and_says_what_would_be() {
    let world = World::new(&format!(
        "{SHOP} CREATE TABLE other (id int, order_id text); CREATE VIEW v AS TABLE items;"
    ))
    .await;
    for (children, says) in [
        (json!(["other"]), "no foreign key leads from public.other to public.orders"),
        (json!(["notes"]), "no foreign key leads from public.notes"),
        (
            json!([{"table": "other", "column": "nope", "parent_column": "id"}]),
            "public.other has no column nope",
        ),
        (
            json!([{"table": "other", "column": "order_id", "parent_column": "nope"}]),
            "public.orders has no column nope",
        ),
        (json!([{"table": "other", "column": "order_id", "parent_column": "id"}]), "operator does not exist"),
        (
            json!([{"table": "other", "column": "id", "parent_column": "id"}]),
            "CREATE INDEX CONCURRENTLY ON public.other (id);",
        ),
        (
            json!([{"table": "other", "column": "id", "parent_column": "id", "parent": "gone"}]),
            "there is no table gone",
        ),
        (json!([{"table": "items", "protect": "nope"}]), "params.protect"),
        (json!(["public.orders"]), "public.orders is the table itself"),
        (json!(["v"]), "public.v is a view"),
    ] {
        world.job(params(children)).await;
        let refusal = world.refused().await;
        assert!(refusal.contains(says), "{refusal:?} does not say {says:?}");
    }
    world.job(both()).await;
    world.0.execute("ALTER TABLE items RENAME TO item_s").await;
    let refusal = world.refused().await;
    assert!(refusal.contains("public.item_s was renamed or replaced since the job was saved"), "{refusal}");
    assert_eq!(world.left_of("orders").await, 60);
}

impl World {
    async fn left_of(&self, table: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM {table}")).await
    }
}

#[tokio::test]
async fn an_editor_needs_the_rights_on_every_table_that_the_job_writes_to() {
    let world =
        World::new(&format!("{SHOP} CREATE TABLE kept (LIKE orders); CREATE TABLE kept_items (LIKE items);"))
            .await;
    let login = format!("author_in_{}", world.0.get::<String>("SELECT current_database()::text", &[]).await);
    world
        .0
        .execute(&format!(
            "CREATE ROLE {login} LOGIN IN ROLE sexton_author; GRANT DELETE ON orders, notes TO {login}"
        ))
        .await;
    let author = world.0.session_as(&login).await;
    let save = async |name: &str, children: Value, archive: Value| {
        let mut params = params(children);
        params["archive"] = archive;
        author
            .execute(
                "INSERT INTO sexton.job (name, kind, params) VALUES ($1, 'purge', $2)",
                &[&name, &params],
            )
            .await
    };
    assert_eq!(code(save("a", json!(["items"]), Value::Null).await), "42501");
    assert_eq!(code(save("b", json!(["itms"]), Value::Null).await), "42P01");
    assert_eq!(code(save("c", json!([{"table": "items"}]), Value::Null).await), "42501");
    world.0.execute(&format!("GRANT DELETE ON items TO {login}")).await;
    save("d", json!(["items", {"table": "notes"}]), Value::Null).await.unwrap();
    assert_eq!(code(save("e", json!(["items"]), json!({"table": "kept"})).await), "42501");
    let archived = json!([{"table": "items", "archive": {"table": "kept_items"}}]);
    assert_eq!(code(save("f", archived.clone(), Value::Null).await), "42501");
    world.0.execute(&format!("GRANT INSERT ON kept, kept_items TO {login}")).await;
    save("g", archived, json!({"table": "kept"})).await.unwrap();
}

#[tokio::test]
async fn an_unindexed_child_is_refused_unless_allowed() {
    let world = World::new(&format!("{SHOP} DROP INDEX items_order;")).await;
    world.job(both()).await;
    let refusal = world.refused().await;
    assert!(refusal.contains("CREATE INDEX CONCURRENTLY ON public.items (order_id);"), "{refusal}");
    let mut params = both();
    params["allow_unindexed_fk"] = true.into();
    world.job(params).await;
    assert_eq!(world.succeed().await.rows, 50);
    assert_eq!(world.left().await, (10, 30, 30));
}

#[tokio::test]
async fn the_role_needs_rights_on_children_and_to_lock_what_others_hang_on() {
    for (role, rights, says) in [
        ("family_blind", "SELECT, UPDATE, DELETE ON orders, items", "no SELECT right on public.notes"),
        ("family_held", "SELECT, DELETE ON orders, items, notes", "may not lock rows of public.items"),
        (
            "family_hidden",
            "SELECT, UPDATE, DELETE ON orders, items, notes; ALTER TABLE notes ENABLE ROW LEVEL SECURITY",
            "row-level security may hide rows of public.notes",
        ),
        ("family_enough", "SELECT, DELETE ON notes; GRANT SELECT, UPDATE, DELETE ON orders, items", ""),
    ] {
        let world = World::new(SHOP).await;
        world.job(both()).await;
        world.0.verb("run_now", "j").await;
        let (grants, then) = rights
            .split_once("; ALTER")
            .map_or((rights, String::new()), |(grants, then)| (grants, format!("ALTER{then}")));
        let grants: String =
            grants.split("; GRANT ").map(|right| format!("GRANT {right} TO {role};")).collect();
        world
            .0
            .execute(&format!("CREATE ROLE {role} LOGIN; GRANT sexton_runner TO {role}; {grants} {then}"))
            .await;
        let mut config = world.0.config.clone();
        config.user(role);
        let ran = sexton::testing::Occurrence::of("j", config)
            .registry(sexton::Registry::with_builtins())
            .run()
            .await
            .unwrap();
        let error = ran.error.clone().unwrap_or_default();
        let expected = if says.is_empty() { ("succeeded", 50) } else { ("refused", 0) };
        assert_eq!((ran.state.as_str(), ran.rows), expected, "{role}: {error}");
        assert!(error.contains(says), "{role}: {error}");
    }
}

#[tokio::test]
async fn a_row_whose_child_is_locked_is_stepped_around_and_goes_another_time() {
    for pacing in ["gentle", "full"] {
        let world = World::new(SHOP).await;
        let mut params = both();
        params["pacing"] = pacing.into();
        world.job(params).await;
        let application = world.0.session().await;
        application.batch_execute("BEGIN; UPDATE notes SET text = 'x' WHERE item_id = 150").await.unwrap();
        // A child that comes to be while its row is wanted: the application holds the row by its foreign key.
        let second = world.0.session().await;
        second.batch_execute("BEGIN; INSERT INTO items VALUES (1000, 41)").await.unwrap();
        let ran = world.succeed().await;
        assert_eq!((ran.rows, detail(&ran, "/skipped_locked").as_i64()), (48, Some(2)), "{:?}", ran.report);
        let left = "SELECT count(*) FROM items WHERE order_id IN (41, 51)";
        assert_eq!(world.number(left).await, 6, "all children of a row stay with it");
        application.batch_execute("COMMIT").await.unwrap();
        second.batch_execute("COMMIT").await.unwrap();
        assert_eq!(world.succeed().await.rows, 2);
        assert_eq!(world.left().await, (10, 30, 30));
    }
}

#[tokio::test]
async fn a_trigger_on_a_child_may_change_the_row_that_goes_with_it() {
    let world = World::new(&format!(
        "{SHOP} CREATE TABLE seen (id int);
         CREATE FUNCTION count_down() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN UPDATE orders SET items = items - 1, changed = now(), at = now() WHERE id = OLD.order_id;
                  INSERT INTO seen VALUES (OLD.id); RETURN NULL; END';
         CREATE TRIGGER count_down AFTER DELETE ON items FOR EACH ROW EXECUTE FUNCTION count_down();"
    ))
    .await;
    world.job(both()).await;
    let ran = world.succeed().await;
    assert_eq!((ran.rows, world.number("SELECT count(DISTINCT id) FROM seen").await), (50, 150));
    assert_eq!(world.left().await, (10, 30, 30));
    let warnings = detail(&ran, "/warnings").to_string();
    assert!(warnings.contains("triggers of public.items will fire: count_down"), "{warnings}");
}

#[tokio::test]
async fn a_trigger_that_keeps_a_row_keeps_its_children() {
    let world = World::new(&format!(
        "{SHOP} ALTER TABLE items DROP CONSTRAINT items_order_id_fkey;
         CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN IF OLD.id = 30 THEN RETURN NULL; END IF; RETURN OLD; END';
         CREATE TRIGGER no BEFORE DELETE ON orders FOR EACH ROW EXECUTE FUNCTION no();"
    ))
    .await;
    let children = json!([{"table": "items", "column": "order_id", "parent_column": "id"}, "notes"]);
    world.job(params(children)).await;
    let ran = world.run().await;
    assert_eq!(ran.state, "failed");
    assert!(ran.error.unwrap_or_default().contains("a trigger on it keeps them"));
    assert_eq!(world.number("SELECT count(*) FROM items WHERE order_id = 30").await, 3);
}

#[tokio::test]
async fn only_references_that_are_not_named_keep_a_row() {
    let world = World::new(&format!(
        "{SHOP} CREATE TABLE bills (order_id int REFERENCES orders); CREATE INDEX ON bills (order_id);
         INSERT INTO bills VALUES (20), (5);
         CREATE TABLE returns (item_id int REFERENCES items); CREATE INDEX ON returns (item_id); INSERT INTO returns VALUES (90);
         UPDATE items SET same = 100 WHERE id IN (101, 10);"
    ))
    .await;
    // Item 90 is of order 31; item 100 of order 34, as is 101, but 10 is of order 4, which stays.
    world.job(both()).await;
    let ran = world.run().await;
    assert_eq!(ran.state, "failed", "the default is to fail");
    assert!(ran.error.unwrap_or_default().contains("violates foreign key"));
    let mut params = both();
    params["on_referenced"] = "skip".into();
    world.job(params.clone()).await;
    let ran = world.succeed().await;
    let left = "SELECT count(*) FROM orders WHERE id IN (20, 31, 34)";
    assert_eq!((world.number(left).await, world.left().await.0), (3, 13));
    assert_eq!(detail(&ran, "/skipped_referenced").as_i64(), Some(3));
    world.0.execute("UPDATE items SET same = NULL WHERE id = 10; TRUNCATE bills, returns").await;
    assert_eq!(world.succeed().await.rows, 3);
    assert_eq!(world.left().await, (10, 30, 30));
}

#[tokio::test]
async fn a_hold_on_a_child_set_in_mid_run_keeps_what_it_belongs_to() {
    let world = World::new(SHOP).await;
    world.job(both()).await;
    let blocker = world.0.session().await;
    blocker.batch_execute("BEGIN; LOCK TABLE notes IN SHARE MODE").await.unwrap();
    let run = world.occurrence().run();
    let hold = async {
        world.0.until_job("j", "state = 'running'").await;
        world.0.execute("SELECT sexton.hold('notes', 'item_id = 60 OR item_id = 90', 'court')").await;
        blocker.batch_execute("ROLLBACK").await.unwrap();
    };
    let (ran, ()) = tokio::join!(run, hold);
    let ran = ran.unwrap();
    assert_eq!((ran.state.as_str(), ran.error.as_deref(), ran.rows), ("released", Some("held"), 0));
    let ran = world.succeed().await;
    assert_eq!((ran.rows, detail(&ran, "/holds/0/table").as_str()), (48, Some("public.notes")));
    // Items 60 and 90 are of orders 21 and 31: these stay, with all their items and all notes of these.
    assert_eq!(world.left().await, (12, 36, 38));
    let mut params = both();
    params["refuse_above"] = 1000.into();
    world.unarmed_job(params, json!({})).await;
    let dry = world.succeed().await;
    assert_eq!((detail(&dry, "/eligible").as_i64(), detail(&dry, "/kept").as_i64()), (Some(0), Some(2)));
}

#[tokio::test]
async fn a_hold_is_refused_where_a_cascade_that_is_not_named_would_reach_it() {
    let world = World::new(
        "CREATE TABLE t (id int PRIMARY KEY, at timestamptz); INSERT INTO t SELECT i, '2020-01-01' FROM generate_series(1, 9) i;
         CREATE TABLE a (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE); CREATE INDEX ON a (t); INSERT INTO a SELECT i, i FROM generate_series(1, 9) i;
         CREATE TABLE b (a int REFERENCES a ON DELETE CASCADE, n int); CREATE INDEX ON b (a); INSERT INTO b SELECT i, i FROM generate_series(1, 9) i;
         SELECT sexton.hold('b', 'n = 3', 'court');",
    )
    .await;
    let params = |children: Value| json!({"table": "t", "by": "at", "retention": "1 day", "max_fraction": 1, "children": children});
    world.job(params(json!(["a"]))).await;
    let refusal = world.refused().await;
    assert!(refusal.contains("hold 1 is on public.b, whose rows foreign keys would delete"), "{refusal}");
    world.job(params(json!(["a", "b"]))).await;
    assert_eq!(world.succeed().await.rows, 8);
    assert_eq!(world.number("SELECT sum(n)::bigint FROM b").await, 3);
}

#[tokio::test]
async fn partitions_go_by_rows_where_children_are_named() {
    let world = World::new(
        "CREATE TABLE p (id int, at timestamptz NOT NULL) PARTITION BY RANGE (at);
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (MINVALUE) TO ('2026-02-01');
         CREATE TABLE p2 PARTITION OF p DEFAULT; CREATE INDEX ON p (at);
         INSERT INTO p SELECT i, timestamptz '2026-01-01' + i * interval '6 hours' FROM generate_series(0, 399) i;
         CREATE TABLE c (p int, n int) PARTITION BY LIST (n); CREATE INDEX ON c (p);
         CREATE TABLE c1 PARTITION OF c FOR VALUES IN (1); CREATE TABLE c2 PARTITION OF c DEFAULT;
         INSERT INTO c SELECT i % 400, i % 2 FROM generate_series(0, 799) i;",
    )
    .await;
    let params = json!({"table": "p", "by": "at", "retention": "1 day", "batch": 17, "max_fraction": 1,
        "children": [{"table": "c", "column": "p", "parent_column": "id"}]});
    world.job(params).await;
    let application = world.0.session().await;
    application.batch_execute("BEGIN; SELECT FROM c WHERE p = 7 FOR UPDATE").await.unwrap();
    let now = "2026-02-15T00:00:00Z".parse().unwrap();
    let ran = world.occurrence().now(now).run().await.unwrap();
    assert_eq!((ran.state.as_str(), ran.rows), ("succeeded", 44 * 4 - 1), "{:?}", ran.error);
    let why = detail(&ran, "/walk_why").as_str().unwrap_or_default();
    assert!(why.contains("not by partitions: children"), "{why}");
    assert_eq!(world.number("SELECT count(*) FROM c WHERE p < 176").await, 2);
    assert_eq!(world.number("SELECT count(*) FROM pg_class WHERE relname = 'p1'").await, 1);
}

#[tokio::test]
async fn a_slow_child_makes_no_batch_smaller_than_a_thousand_rows() {
    // Each batch takes 50 ms at least, where the gentle pace aims at 20.
    let world = World::new(
        "CREATE TABLE t (id int PRIMARY KEY, at timestamptz); INSERT INTO t SELECT i, timestamptz '2020-01-01' + i * interval '1 s' FROM generate_series(1, 4000) i;
         CREATE INDEX ON t (at); CREATE TABLE c (t int REFERENCES t); CREATE INDEX ON c (t); INSERT INTO c SELECT i FROM generate_series(1, 4000) i;
         CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.05); RETURN NULL; END';
         CREATE TRIGGER slow AFTER DELETE ON c FOR EACH STATEMENT EXECUTE FUNCTION slow(); ANALYZE",
    )
    .await;
    world.job(json!({"table": "t", "by": "at", "retention": "1 day", "max_fraction": 1, "walk": "index", "children": ["c"]})).await;
    let ran = world.succeed().await;
    assert_eq!(ran.rows, 4000);
    assert!(detail(&ran, "/batches").as_i64() <= Some(6), "{:?}", ran.report);
}

#[tokio::test]
async fn no_batch_reads_all_of_an_index_whatever_the_statistics_say() {
    for analyzed in ["ANALYZE", ""] {
        let world = World::new(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, at timestamptz); CREATE INDEX ON t (at);
             INSERT INTO t SELECT i, CASE WHEN i <= 12000 THEN timestamptz '2020-01-01' ELSE now() END + i * interval '1 s' FROM generate_series(1, 40000) i;
             CREATE TABLE c (t int REFERENCES t); INSERT INTO c SELECT i FROM generate_series(1, 12000) i; CREATE INDEX ON c (t); {analyzed}"
        ))
        .await;
        let mut params =
            json!({"table": "t", "by": "at", "retention": "1 day", "max_fraction": 1, "walk": "index"});
        (params["children"], params["batch"]) = (json!(["c"]), 1000.into());
        world.job(params).await;
        assert_eq!(world.succeed().await.rows, 12_000);
        let read = "SELECT coalesce(sum(idx_tup_read), 0)::bigint FROM pg_stat_all_indexes WHERE relname IN ('t', 'c')";
        world.0.until("the statistics are there", &format!("SELECT ({read}) > 24000"), &[]).await;
        let read = world.number(read).await;
        // Where each batch reads the whole key it is 284,000.
        assert!(read < 150_000, "{analyzed}: {read} entries were read");
    }
}

#[tokio::test]
async fn workers_take_children_along_and_archive_too() {
    for walk in ["index", "heap"] {
        let world = World::new(
            "CREATE TABLE t (id int PRIMARY KEY, at timestamptz, wide text); CREATE INDEX ON t (at);
             INSERT INTO t SELECT i, timestamptz '2020-01-01' + i * interval '1 s', repeat('x', 100) FROM generate_series(1, 3000) i;
             CREATE TABLE c (t int REFERENCES t, n int); CREATE INDEX ON c (t); INSERT INTO c SELECT i, n FROM generate_series(1, 3000) i, generate_series(1, 2) n;
             CREATE TABLE kept (LIKE t); CREATE TABLE kept_c (LIKE c); SELECT sexton.hold('c', 't = 77', 'court'); ANALYZE",
        )
        .await;
        world
            .job(json!({"table": "t", "by": "at", "retention": "1 day", "max_fraction": 1, "walk": walk, "pacing": "full",
                "batch": 100, "workers": 2, "archive": {"table": "kept"},
                "children": [{"table": "c", "archive": {"table": "kept_c"}}]}))
            .await;
        let ran = world.succeed().await;
        assert_eq!(
            (ran.rows, detail(&ran, "/workers").as_i64()),
            (2999, Some(2)),
            "{walk}: {:?}",
            ran.report
        );
        assert_eq!(
            detail(&ran, "/children/0"),
            &json!({"table": "public.c", "deleted": 5998, "archived": 5998})
        );
        assert_eq!(detail(&ran, "/archived").as_i64(), Some(2999));
        assert_eq!((world.left_of("kept").await, world.left_of("kept_c").await), (2999, 5998));
        assert_eq!((world.left_of("t").await, world.left_of("c").await), (1, 2));
    }
}
