-- Whisperers: two that are there, one deleted yesterday, one deleted 7 months ago (whose row goes), and `purged`, which
-- only references speak of.
INSERT INTO whisperers (id, name, deleted_at) VALUES
  ('w1', 'gateway', NULL), ('w2', 'billing', NULL), ('w3', 'search', NULL),
  ('yesterday', 'trial', now() - interval '1 day'), ('long-ago', 'old', now() - interval '7 months');

INSERT INTO teams (id, name, whisperers) VALUES
  ('t1', 'Network', '{w2,purged,w1,yesterday,w2}'), ('t2', 'Billing', '{w2,w3}'), ('t3', 'Search', '{long-ago}'), ('t4', 'Empty', '{}');

INSERT INTO customers (id, email, rights, deleted_at) VALUES
  ('ada', 'ada@example.com', '{"whisperers": [{"id": "w1", "rights": "own"}, {"id": "purged", "rights": "own"}, {"id": "w3", "rights": "see"}]}', NULL),
  ('bob', 'bob@example.com', '{"whisperers": [{"id": "w2", "rights": "own"}]}', NULL),
  ('cyn', 'cyn@example.com', '{"whisperers": []}', NULL),
  ('dan', 'dan@example.com', '{}', now() - interval '5 months'),
  ('eve', 'eve@example.com', '{"whisperers": [{"id": "w1", "rights": "see"}]}', now() - interval '7 months');

INSERT INTO team_members VALUES ('t1', 'ada', 'admin'), ('t1', 'cyn', 'admin'), ('t1', 'bob', 'user'), ('t2', 'bob', 'admin'), ('t3', 'bob', 'admin');

INSERT INTO whisperers_status (whisperer, modified_at)
SELECT 'w1', now() - n * interval '1 hour' FROM generate_series(1, 40) AS n WHERE n <> 24;

INSERT INTO controllers VALUES ('c1', 'main', NULL), ('c2', 'lab', now() - interval '5 months'), ('c3', 'old', now() - interval '7 months');

INSERT INTO attachments (whisperer, pod, started_at, ended_at) VALUES
  ('w1', 'still-attached', now() - interval '2 years', NULL), ('w1', 'ended-lately', now() - interval '1 year', now() - interval '5 months'),
  ('w1', 'ended-long-ago', now() - interval '1 year', now() - interval '7 months');

INSERT INTO links VALUES ('l1', '/a', now() - interval '7 months'), ('l2', '/b', now() - interval '5 months'), ('l3', '/c', now());

INSERT INTO active_hosts SELECT '10.0.0.0'::inet + n, 'host-' || n, now() FROM generate_series(1, 100) AS n;
UPDATE active_hosts SET updated_at = now();
INSERT INTO sessions VALUES ('s1', 'ada', now());
