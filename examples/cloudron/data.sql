INSERT INTO apps (id, "installationState", fqdn, "enableBackup") VALUES
  ('1', 'installed', 'wiki.example.com', true), ('2', 'installed', 'git.example.com', true), ('3', 'installed', 'chat.example.com', false);

-- The janitor's: logs of half a year, by the week, and tokens.
INSERT INTO eventlog (id, action, "creationTime")
SELECT 'e' || n, 'user.login', timezone('UTC', now()) - n * interval '7 days' FROM generate_series(0, 20) AS n;
INSERT INTO tasks (type, percent, "creationTime")
SELECT 'app_' || n, 100, timezone('UTC', now()) - n * interval '7 days' FROM generate_series(0, 20) AS n;
INSERT INTO tokens (id, "accessToken", identifier, expires)
SELECT id, id, 'u', (extract(epoch FROM now() + lives) * 1000)::bigint
  FROM (VALUES ('expired', interval '-1 minute'), ('valid', '1 year'), ('valid-for-a-while', '1 hour')) AS t (id, lives);
