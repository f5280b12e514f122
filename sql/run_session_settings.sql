-- Reads back what the session was started with: a pooler in between may have dropped it silently.
-- $1 names of settings. One row: whether it came by TCP, and the settings as name -> value.
SELECT pg_catalog.inet_client_addr() IS NOT NULL,
       pg_catalog.jsonb_object_agg(name, pg_catalog.current_setting(name))
  FROM pg_catalog.unnest($1::text[]) AS name
