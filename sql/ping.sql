-- Asks whether the run still holds its job; sent from the run session it also keeps that session alive.
-- $1 job id, $2 version, $3 run id. One row: why the run must stop, NULL if it need not. No locks.
SELECT sexton.ping($1, $2, $3)
