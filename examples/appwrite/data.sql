-- Three projects: `shop` is used, `slow` keeps sessions for a day alone, nobody has used `asleep` for two months.
-- In each table a row's _uid says what becomes of it: `old-…` goes with the defaults, `new-…` stays.
SET LOCAL TimeZone = 'UTC';

INSERT INTO appwrite._console_projects (_id, _uid, name, region, auths, "accessedAt") VALUES
  (1, 'shop', 'Shop', 'default', '{}', now() - interval '1 hour'),
  (2, 'slow', 'Slow', 'default', '{"duration": 86400}', now() - interval '29 days'),
  (3, 'asleep', 'Asleep', 'default', '{}', now() - interval '60 days');

-- 40 rows a project that stay, and 5 that go: an hour to the one and to the other side of each default.
CREATE TEMPORARY TABLE row ON COMMIT DROP AS
SELECT project, age || '-' || n AS uid, age,
       CASE age WHEN 'old' THEN interval '1 hour' ELSE interval '-1 hour' END AS past
  FROM generate_series(1, 3) AS project,
       (SELECT 'new', generate_series(1, 40) UNION ALL SELECT 'old', generate_series(1, 5)) AS v (age, n);

INSERT INTO appwrite._executions (_uid, _tenant, "_createdAt", status)
SELECT uid, project, now() - interval '14 days' - past, 'completed' FROM row;

INSERT INTO appwrite._audit (_uid, _tenant, time, event)
SELECT uid, project, now() - interval '14 days' - past, 'session.create' FROM row;

INSERT INTO appwrite._stats (_uid, _tenant, time, period, metric, value)
SELECT uid, project, now() - interval '100 days' - past, '1h', 'executions', 1 FROM row;
-- Totals of a day and of all time are never deleted.
INSERT INTO appwrite._stats (_uid, _tenant, time, period, metric, value)
SELECT 'total-' || period, project, now() - interval '200 days', period, 'executions', 7
  FROM generate_series(1, 3) AS project, (VALUES ('1d'), ('inf')) AS p (period);

INSERT INTO appwrite._abuse (_uid, _tenant, time, key, count)
SELECT uid, project, now() - interval '1 day' - past, 'ip:1', 1 FROM row;

INSERT INTO appwrite._cache (_uid, _tenant, "accessedAt", resource)
SELECT uid, project, now() - interval '30 days' - past, 'bucket/1' FROM row;
-- Never looked at: there is no age to tell.
INSERT INTO appwrite._cache (_uid, _tenant, "accessedAt", resource) VALUES ('new-null', 1, NULL, 'bucket/2');

-- Sessions live a year, unless the project says otherwise: those of `slow` are a day old.
INSERT INTO appwrite._sessions (_uid, _tenant, "_createdAt", "userId")
SELECT uid, project, now() - CASE project WHEN 2 THEN interval '1 day' ELSE interval '365 days' END - past, 'u' FROM row;

INSERT INTO appwrite._tokens (_uid, _tenant, "_createdAt", "userId", expire)
SELECT uid, project, now() - interval '2 hours', 'u', now() - past FROM row;

-- Schedules: of a function that is gone, of one that is there, of one that is active, of an execution, too young, of a
-- project that is gone.
INSERT INTO appwrite._functions (_uid, _tenant, name) VALUES ('present', 1, 'Present');
INSERT INTO appwrite._console_schedules (_uid, "resourceType", "resourceId", "projectId", active, region, "resourceUpdatedAt")
VALUES ('old-function', 'function', 'gone', 'shop', false, 'default', now() - interval '2 days'),
       ('old-project', 'execution', 'e', 'gone', false, 'default', now() - interval '2 days'),
       ('new-present', 'function', 'present', 'shop', false, 'default', now() - interval '2 days'),
       ('new-active', 'function', 'gone', 'shop', true, 'default', now() - interval '2 days'),
       ('new-execution', 'execution', 'e', 'shop', false, 'default', now() - interval '2 days'),
       ('new-elsewhere', 'function', 'gone', 'shop', false, 'fra', now() - interval '2 days'),
       ('new-young', 'function', 'gone', 'shop', false, 'default', now() - interval '1 hour');
