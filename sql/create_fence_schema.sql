-- Creates the schema of the fence for the present role: everything under one role.
-- No parameters, no rows.
CREATE SCHEMA IF NOT EXISTS sexton_fence
