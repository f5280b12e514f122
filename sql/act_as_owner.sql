-- What SET ROLE does, for whoever migrates by hand: what is created from now on belongs to the schema's owner.
-- No parameters. One row: that role.
SELECT pg_catalog.set_config('role', pg_catalog.pg_get_userbyid(n.nspowner)::text, false)
  FROM pg_catalog.pg_namespace n WHERE n.nspname = 'sexton'
