-- Makes a job "at deploy" due, if this deployment is new to it.
-- $1 name, $2 the deployment. One row: whether it did.
SELECT sexton.deployed($1, $2)
