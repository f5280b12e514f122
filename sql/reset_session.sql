-- Back to the settings that the session was started with, the lease among them. No parameters, no rows.
RESET ALL
