-- Legal holds: rows that no purge may delete, whatever its retention says, and from which no reference is removed, until
-- somebody lifts the hold.
--
-- A hold is a row here, and takes effect with the next batch: when sexton.hold() returns, no batch of a purge commits
-- that did not know of it. Its predicate becomes part of purges' statements, and so is run with the rights of their
-- role: whoever is no author of jobs may only compare columns with values in it.

CREATE TABLE sexton.hold (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  database   text CHECK (database ~ '\S'),
  table_name text NOT NULL,
  table_oid  oid,
  predicate  text NOT NULL CHECK (predicate ~ '\S'),
  reason     text NOT NULL CHECK (reason ~ '\S'),
  held_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  held_by    text NOT NULL,
  lifted_at  timestamptz,
  lifted_by  text,
  CHECK ((lifted_at IS NULL) = (lifted_by IS NULL)),
  CHECK ((database IS NULL) = (table_oid IS NOT NULL))
);
COMMENT ON TABLE  sexton.hold IS 'Legal holds: rows that no purge deletes. Set and lifted by sexton.hold() and sexton.unhold(); lifted ones stay as history.';
COMMENT ON COLUMN sexton.hold.id IS 'Names it in sexton.unhold().';
COMMENT ON COLUMN sexton.hold.database IS 'The other database that the table is in, by the name that jobs give it. NULL: this one.';
COMMENT ON COLUMN sexton.hold.table_name IS 'The table, schema-qualified. A table that has this name, or the oid, is meant: one that was renamed and one that was restored alike.';
COMMENT ON COLUMN sexton.hold.table_oid IS 'The oid of that table; NULL if it is in another database.';
COMMENT ON COLUMN sexton.hold.predicate IS 'Which rows stay: those for which this is true.';
COMMENT ON COLUMN sexton.hold.reason IS 'Why, in the words of whoever set it.';
COMMENT ON COLUMN sexton.hold.held_at IS 'Since when.';
COMMENT ON COLUMN sexton.hold.held_by IS 'Who set it.';
COMMENT ON COLUMN sexton.hold.lifted_at IS 'When it was lifted; NULL: it is in force.';
COMMENT ON COLUMN sexton.hold.lifted_by IS 'Who lifted it.';

-- Runs with the rights of whoever writes, as job_guard() does and for its reasons: the table and the predicate's names
-- are looked up by his or her search_path, and nothing is parsed with more rights than that.
CREATE FUNCTION sexton.hold_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  target pg_catalog.regclass;
  words text[];
  -- Without the literals, for a look at the rest.
  bare text := pg_catalog.regexp_replace(NEW.predicate, '''[^'']*''', '''''', 'g');
BEGIN
  IF NEW.database IS NULL THEN
    target := pg_catalog.to_regclass(NEW.table_name);
    IF target IS NULL THEN
      RAISE EXCEPTION 'hold: table "%" does not exist', NEW.table_name USING ERRCODE = 'SX006',
        HINT = 'Name its schema as well: schema.table.';
    END IF;
    SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname) INTO NEW.table_oid, NEW.table_name
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = target;
  ELSE
    -- Nobody can look there from here: purges find it by its full name, and have that server judge the predicate.
    words := pg_catalog.parse_ident(NEW.table_name);
    IF pg_catalog.cardinality(words) <> 2 THEN
      RAISE EXCEPTION 'hold: "%" is no full name of a table in another database', NEW.table_name USING ERRCODE = 'SX006',
        HINT = 'Name its schema as well: schema.table.';
    END IF;
    NEW.table_name := pg_catalog.format('%I.%I', words[1], words[2]);
    NEW.table_oid := NULL;
  END IF;
  IF NEW.predicate ~ '\$[0-9]' THEN
    RAISE EXCEPTION 'hold: the predicate cannot have parameters' USING ERRCODE = 'SX006', HINT = 'Write the values into it.';
  END IF;
  IF NOT pg_catalog.has_column_privilege('sexton.job', 'params', 'INSERT')
     AND (bare ~* '[$\\;.:]|--|/\*|\mselect\M' OR EXISTS (
       SELECT FROM pg_catalog.regexp_matches(bare, '([A-Za-z0-9_"]+)\s*\(', 'g') AS m
        WHERE pg_catalog.lower(m[1]) <> ALL ('{in,and,or,not}'))) THEN
    RAISE EXCEPTION 'hold: functions, casts, sub-queries and comments in a predicate are for authors of jobs'
      USING ERRCODE = '42501', HINT = 'Compare columns with values, such as tenant_id = 7 or tenant_id IN (7, 8).';
  END IF;
  IF NEW.database IS NULL THEN
    -- Parsed, not executed. What closes one kind of bracket early does not fit into the other.
    BEGIN
      EXECUTE pg_catalog.format(E'PREPARE sexton_hold AS SELECT (%1$s\n), ARRAY[%1$s\n] FROM %2$s WHERE (%1$s\n)', NEW.predicate, NEW.table_name);
    EXCEPTION WHEN OTHERS THEN
      RAISE EXCEPTION 'hold: the predicate is no condition over the columns of %: %', NEW.table_name, SQLERRM
        USING ERRCODE = 'SX006', HINT = 'Write it as it would stand in a WHERE, such as tenant_id = 7.';
    END;
    DEALLOCATE sexton_hold;
  END IF;
  NEW.held_at := pg_catalog.clock_timestamp();
  NEW.held_by := sexton.actor();
  NEW.lifted_at := NULL;
  NEW.lifted_by := NULL;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION sexton.hold_guard() IS 'Looks up the table of a hold, and has the server judge its predicate.';
CREATE TRIGGER guard BEFORE INSERT ON sexton.hold FOR EACH ROW EXECUTE FUNCTION sexton.hold_guard();
COMMENT ON TRIGGER guard ON sexton.hold IS 'See sexton.hold_guard().';

CREATE FUNCTION sexton.hold_noted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  touched bigint[];
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'hold: in a transaction that is %, runs could not be seen', current_setting('transaction_isolation')
      USING ERRCODE = 'SX005', HINT = 'Set it in a transaction of its own.';
  END IF;
  -- A claim that is committing is waited for, so that its run is seen below; later ones wait for us and read the hold.
  -- The table and not its row, as in pause_all().
  LOCK TABLE sexton.meta IN EXCLUSIVE MODE;
  -- Touching the row makes it a barrier, as in pause_all(): this waits for a batch that is committing. The run's mark
  -- comes after it, in the order in which finish() locks the two.
  WITH held AS (
    UPDATE sexton.job j SET version = j.version
     WHERE j.state = 'running'
       AND EXISTS (SELECT FROM sexton.run r WHERE r.id = j.run_id AND r.kind IN ('purge', 'references') AND r.destructive AND r.mode = 'real')
    RETURNING j.id)
  SELECT array_agg(id) INTO touched FROM held;
  UPDATE sexton.run r SET held_at = NEW.held_at
   WHERE r.state = 'running' AND r.job_id = ANY (touched) AND r.held_at IS NULL;
  INSERT INTO sexton.audit (actor, verb, detail) VALUES (sexton.actor(), 'hold', jsonb_build_object(
    'id', NEW.id, 'database', NEW.database, 'table', NEW.table_name, 'predicate', NEW.predicate, 'reason', NEW.reason,
    'stopped', coalesce(cardinality(touched), 0)));
  PERFORM sexton.wake(0);
  RETURN NEW;
END $$;
COMMENT ON FUNCTION sexton.hold_noted() IS 'Makes a new hold a barrier for the purges and removals of references that run, and writes it to the audit.';
CREATE TRIGGER noted AFTER INSERT ON sexton.hold FOR EACH ROW EXECUTE FUNCTION sexton.hold_noted();
COMMENT ON TRIGGER noted ON sexton.hold IS 'See sexton.hold_noted().';

CREATE FUNCTION sexton.hold(table_name text, predicate text, reason text, database text DEFAULT NULL) RETURNS text
LANGUAGE sql AS $$
  INSERT INTO sexton.hold AS h (table_name, predicate, reason, database) VALUES ($1, $2, $3, $4)
  RETURNING format('Hold %s is set: no purge deletes rows of %s%s where %s. sexton.unhold(%s) lifts it.',
                   h.id, h.table_name, ' in the database ' || h.database, h.predicate, h.id) $$;
COMMENT ON FUNCTION sexton.hold(text, text, text, text) IS
  'Keeps rows of a table from every purge, from its next batch on: when this returns, no batch commits that would delete one. Runs under way go on with it. database: the other one that the table is in, by the name that jobs give it; its full name is needed then.';

CREATE FUNCTION sexton.unhold(id bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  h sexton.hold;
BEGIN
  UPDATE sexton.hold k SET lifted_at = clock_timestamp(), lifted_by = sexton.actor()
   WHERE k.id = unhold.id AND k.lifted_at IS NULL RETURNING * INTO h;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no hold % in force', id USING ERRCODE = 'SX006', HINT = coalesce(
      'In force: ' || (SELECT string_agg(k.id::text, ', ' ORDER BY k.id) FROM sexton.hold k WHERE k.lifted_at IS NULL),
      'There are none.');
  END IF;
  INSERT INTO sexton.audit (actor, verb, detail) VALUES (sexton.actor(), 'unhold', jsonb_build_object(
    'id', h.id, 'database', h.database, 'table', h.table_name, 'predicate', h.predicate, 'reason', h.reason));
  RETURN format('Hold %s on %s%s is lifted; purges may delete its rows from their next run on.', h.id, h.table_name,
                ' in the database ' || h.database);
END $$;
COMMENT ON FUNCTION sexton.unhold(bigint) IS 'Lifts a hold. It stays in the table, with who and when.';

CREATE FUNCTION sexton.holds_on(p_table oid)
RETURNS TABLE (id bigint, held_oid oid, reach text, table_name text, predicate text, reason text, held_by text, held_at timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH RECURSIVE above(oid) AS (
    SELECT p_table UNION SELECT i.inhparent FROM above a JOIN pg_inherits i ON i.inhrelid = a.oid
  ), below(oid) AS (
    SELECT p_table UNION SELECT i.inhrelid FROM below b JOIN pg_inherits i ON i.inhparent = b.oid
  ), changed(oid) AS (
    SELECT c.conrelid FROM pg_constraint c
     WHERE c.contype = 'f' AND c.confdeltype IN ('c', 'n', 'd') AND (c.confrelid IN (TABLE above) OR c.confrelid IN (TABLE below))
    UNION
    SELECT n.oid FROM changed k CROSS JOIN LATERAL (
      SELECT c.conrelid AS oid FROM pg_constraint c WHERE c.contype = 'f' AND c.confdeltype IN ('c', 'n', 'd') AND c.confrelid = k.oid
      UNION ALL SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = k.oid
      UNION ALL SELECT i.inhparent FROM pg_inherits i WHERE i.inhrelid = k.oid) n
  ), reached(oid, reach) AS (
    SELECT oid, 'rows' FROM above
    UNION ALL SELECT oid, 'partition' FROM below WHERE oid <> p_table
    UNION ALL SELECT oid, 'cascade' FROM changed
  )
  SELECT h.id, t.oid, t.reach, h.table_name, h.predicate, h.reason, h.held_by, h.held_at
    FROM reached t
    JOIN pg_class c ON c.oid = t.oid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN sexton.hold h ON h.lifted_at IS NULL AND h.database IS NULL AND (h.table_oid = t.oid OR h.table_name = format('%I.%I', n.nspname, c.relname))
   ORDER BY h.id, t.reach $$;
COMMENT ON FUNCTION sexton.holds_on(oid) IS
  'The holds in force that concern a DELETE on a table: on its rows (set on it or on what it is a partition of), on a partition of it, or on a table whose rows would be changed by foreign keys (cascade).';
