-- Arms a job that the file wants armed.
-- $1 name. One row: false if a person disarmed it by hand, which stays.
SELECT sexton.arm_applied($1)
