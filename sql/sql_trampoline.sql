-- The function through which the statement of a job runs, under the rights of whoever creates it. It lives in this
-- session's temporary schema, which no other session can reach, and in this transaction: sql_discard.sql ends it.
-- No parameters, no rows. SET ROLE alone is no sandbox (RESET ROLE in the statement ends it); in here it is refused, and
-- so is COMMIT. Each line after the statement closes a way by which it would go on later under the caller's rights
-- (measured on PostgreSQL 15, the first two): deferred triggers, cursors WITH HOLD, prepared statements in place of ours.
CREATE OR REPLACE FUNCTION pg_temp.sexton_statement(
  p_text pg_catalog.text, p_inputs pg_catalog.text[], p_keep pg_catalog.int4, p_width pg_catalog.int4,
  OUT counted pg_catalog.int8, OUT kept pg_catalog.jsonb)
LANGUAGE plpgsql SECURITY DEFINER AS $trampoline$
DECLARE
  answer record;
  answer_json pg_catalog.jsonb;
BEGIN
  counted := 0;
  kept := '[]';
  IF p_keep IS NULL THEN
    EXECUTE p_text USING p_inputs;
    GET DIAGNOSTICS counted = ROW_COUNT;
  ELSE
    FOR answer IN EXECUTE p_text USING p_inputs LOOP
      counted := counted + 1;
      IF counted <= p_keep THEN
        answer_json := pg_catalog.to_jsonb(answer);
        IF pg_catalog.length(answer_json::pg_catalog.text) > p_width THEN
          answer_json := pg_catalog.to_jsonb(pg_catalog.left(answer_json::pg_catalog.text, p_width) || '…');
        END IF;
        kept := kept || pg_catalog.jsonb_build_array(answer_json);
      END IF;
    END LOOP;
  END IF;
  SET CONSTRAINTS ALL IMMEDIATE;
  EXECUTE 'CLOSE ALL';
  IF EXISTS (SELECT FROM pg_catalog.pg_prepared_statements s WHERE s.from_sql) THEN
    RAISE EXCEPTION 'the statement of a job must not PREPARE' USING ERRCODE = 'SX006';
  END IF;
END $trampoline$
