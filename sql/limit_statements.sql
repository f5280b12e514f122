-- Sets how long a statement of this session may take. $1 milliseconds. No rows that matter.
SELECT pg_catalog.set_config('statement_timeout', $1, false)
