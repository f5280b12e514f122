-- Creates the group roles that are missing, and lets the present role act as the owner.
-- No parameters, no rows. Roles belong to the whole cluster, so that somebody who migrates another of its databases may
-- create them at the same moment: what is there then is left as it is. Two at once in pg_auth_members still fail with
-- "tuple concurrently updated"; the caller tries again.
DO $roles$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY '{sexton_owner,sexton_runner,sexton_operator,sexton_author,sexton_viewer}'::text[] LOOP
    CONTINUE WHEN to_regrole(name) IS NOT NULL;
    BEGIN
      EXECUTE format('CREATE ROLE %I NOLOGIN', name);
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
      NULL;
    END;
  END LOOP;
  -- From 16 on, who creates a role may grant it but not yet act as it.
  IF NOT pg_has_role(session_user, 'sexton_owner',
                     CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END) THEN
    EXECUTE format('GRANT sexton_owner TO %I', session_user);
  END IF;
END $roles$
