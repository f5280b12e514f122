-- From here on the transaction cannot write, whatever it calls. No parameters, no rows.
SET TRANSACTION READ ONLY
