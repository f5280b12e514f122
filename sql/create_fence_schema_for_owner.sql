-- Creates the schema of the fence for the group role that owns it. That role so needs no right on the database itself.
-- No parameters, no rows.
CREATE SCHEMA IF NOT EXISTS sexton_fence AUTHORIZATION sexton_owner
