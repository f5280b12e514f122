-- A few users with items that live, that expired, and that expired after the last midnight.
INSERT INTO collections VALUES (1, 'clients'), (2, 'crypto'), (7, 'tabs'), (12, 'history');

INSERT INTO user_collections
SELECT uid, '0000000000001-aa', collection_id, timezone('UTC', now()), 0, 0
  FROM (VALUES ('0e2b8f00-0000-4000-8000-000000000001'::uuid), ('0e2b8f00-0000-4000-8000-000000000002')) AS u (uid),
       collections;

-- Ten items of each user's history that live, and of one user's tabs and clients these:
INSERT INTO bsos
SELECT fxa_uid, fxa_kid, 12, 'lives-' || n, NULL, '\x00', timezone('UTC', now()), timezone('UTC', now()) + interval '30 days'
  FROM user_collections, generate_series(1, 10) AS n WHERE collection_id = 12;
INSERT INTO bsos
SELECT '0e2b8f00-0000-4000-8000-000000000001', '0000000000001-aa', collection_id, bso_id, NULL, '\x00', expiry - interval '1 day', expiry
  FROM (VALUES (7, 'long-expired', timezone('UTC', now()) - interval '90 days'),
               (7, 'expired-yesterday', date_trunc('day', timezone('UTC', now())) - interval '1 microsecond'),
               -- At midnight: not before it.
               (7, 'expired-today', date_trunc('day', timezone('UTC', now()))),
               (1, 'never', 'infinity'::timestamp),
               (12, 'long-expired', timezone('UTC', now()) - interval '90 days')) AS item (collection_id, bso_id, expiry);

-- Batches that were never committed, with what had been uploaded to them; one is still under way.
INSERT INTO batches
SELECT '0e2b8f00-0000-4000-8000-000000000002', '0000000000001-aa', 12, batch_id, expiry
  FROM (VALUES ('given-up', timezone('UTC', now()) - interval '2 days'),
               ('under-way', timezone('UTC', now()) + interval '2 hours'),
               ('begun-later', timezone('UTC', now()) + interval '2 hours')) AS batch (batch_id, expiry);
INSERT INTO batch_bsos
SELECT fxa_uid, fxa_kid, collection_id, batch_id, 'item-' || n, NULL, '\x00', NULL
  FROM batches, generate_series(1, 3) AS n;

INSERT INTO services (service, pattern) VALUES ('sync-1.5', '{node}/1.5/{uid}');
\set nodes `echo "${NODES:-https://node%.example.com}"`
INSERT INTO nodes (service, node, available, current_load, capacity, downed, backoff)
VALUES (1, replace(:'nodes', '%', '1'), 100, 3, 200, 0, 0), (1, replace(:'nodes', '%', '2'), 0, 2, 200, 1, 0);

-- Records that were replaced: long ago, within the grace of a day, and never; on node 2, which is down; on one that is gone.
INSERT INTO users (service, email, generation, client_state, created_at, replaced_at, nodeid, keys_changed_at)
SELECT 1, email, 1, 'aaaa', created_at, created_at + replaced, nodeid, keys
  FROM (VALUES ('a@example.com', 40, 20, 1, NULL), ('a@example.com', 20, NULL, 1, 2), ('b@example.com', 9, 7, 2, 1),
               ('b@example.com', 2, NULL, 1, 2), ('c@example.com', 3, 3, 1, 1), ('c@example.com', 1, NULL, 1, 2),
               ('d@example.com', 1, NULL, 1, 1), ('e@example.com', 30, 12, 3, 1), ('e@example.com', 18, NULL, 1, 2),
               ('f@example.com', 12, 8, 2, 1), ('f@example.com', 4, NULL, 1, 1)) AS r (email, days, lived, nodeid, keys),
       LATERAL (SELECT ((extract(epoch FROM now()) - days * 86400) * 1000)::bigint AS created_at,
                       lived * 86400000::bigint - 3600000 AS replaced) AS at;
