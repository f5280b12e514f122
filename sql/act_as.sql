-- What SET ROLE does, for the rest of the session: what is created from now on belongs to that role.
-- $1 role. One row: its name.
SELECT pg_catalog.set_config('role', $1, false)
