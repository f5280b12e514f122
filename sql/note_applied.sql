-- Remembers what was applied, against which later edits by hand show.
-- $1 name, $2 the canonical definition (NULL: leave what is remembered), $3 generation (NULL: leave it). No rows.
-- Writes nothing where nothing is new, since every replica of a deployment may apply.
UPDATE sexton.job j SET applied = coalesce($2, j.applied), generation = coalesce($3, j.generation)
 WHERE j.name = $1
   AND (j.applied, j.generation) IS DISTINCT FROM (coalesce($2, j.applied), coalesce($3, j.generation))
