-- Creates the schema for the present role: everything under one role.
-- No parameters, no rows.
CREATE SCHEMA IF NOT EXISTS sexton
