-- Puts the token of a run into the fence of another database, in place of the last one.
-- $1 installation, $2 job id, $3 its name, $4 epoch, $5 version, $6 run id.
-- One row: of the last batch of the job that committed there, its run, the batches of that run until then, its rows and
-- its cursor; NULLs if there was none. Raises SX001 unless the token is later than the one there, or the same. Locks: the
-- job's row of the fence, which waits for a batch that is committing.
SELECT f.done_by, f.seq, f.rows, f.cursor FROM sexton_fence.install($1, $2, $3, $4, $5, $6) f
