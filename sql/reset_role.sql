-- Back to the role that the session logged in as. No parameters, no rows.
RESET ROLE
