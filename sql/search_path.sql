-- The search_path of this session, for another one that shall have the same. One row. No locks.
SELECT pg_catalog.current_setting('search_path')
