-- Takes back all that a session can be left with: settings and role, temporary tables, cursors, prepared statements,
-- notifications listened for, and all of its advisory locks. Not in a transaction. No parameters, no rows.
DISCARD ALL
