-- Mozilla's Sync on PostgreSQL, as its own migrations make it (mozilla-services/syncstorage-rs): the storage, and the
-- tokenserver that says who is stored where. Upstream these are two databases; here they share one.

-- syncstorage-postgres: what is stored. `timestamp` columns hold UTC.
CREATE TABLE user_collections (
  fxa_uid       uuid NOT NULL,
  fxa_kid       text NOT NULL,
  collection_id bigint NOT NULL,
  modified      timestamp NOT NULL,
  count         bigint,
  total_bytes   bigint,
  PRIMARY KEY (fxa_uid, fxa_kid, collection_id)
);

CREATE TABLE bsos (
  fxa_uid       uuid NOT NULL,
  fxa_kid       text NOT NULL,
  collection_id bigint NOT NULL,
  bso_id        text NOT NULL,
  sortindex     bigint,
  payload       bytea NOT NULL,
  modified      timestamp NOT NULL,
  expiry        timestamp NOT NULL,
  PRIMARY KEY (fxa_uid, fxa_kid, collection_id, bso_id),
  FOREIGN KEY (fxa_uid, fxa_kid, collection_id) REFERENCES user_collections ON DELETE CASCADE
);
CREATE INDEX bsos_modified_idx ON bsos (fxa_uid, fxa_kid, collection_id, modified DESC);
CREATE INDEX bsos_expiry_idx ON bsos (fxa_uid, fxa_kid, collection_id, expiry);

CREATE TABLE collections (
  collection_id bigint PRIMARY KEY,
  name          varchar(32) NOT NULL UNIQUE
);

CREATE TABLE batches (
  fxa_uid       uuid NOT NULL,
  fxa_kid       text NOT NULL,
  collection_id bigint NOT NULL,
  batch_id      text NOT NULL,
  expiry        timestamp NOT NULL,
  PRIMARY KEY (fxa_uid, fxa_kid, collection_id, batch_id),
  FOREIGN KEY (fxa_uid, fxa_kid, collection_id) REFERENCES user_collections ON DELETE CASCADE
);
CREATE INDEX batch_expiry_idx ON batches (fxa_uid, fxa_kid, collection_id, expiry);

CREATE TABLE batch_bsos (
  fxa_uid       uuid NOT NULL,
  fxa_kid       text NOT NULL,
  collection_id bigint NOT NULL,
  batch_id      text NOT NULL,
  batch_bso_id  text NOT NULL,
  sortindex     bigint,
  payload       bytea,
  ttl           bigint,
  PRIMARY KEY (fxa_uid, fxa_kid, collection_id, batch_id, batch_bso_id),
  FOREIGN KEY (fxa_uid, fxa_kid, collection_id, batch_id) REFERENCES batches ON DELETE CASCADE
);

-- tokenserver-db-postgres: who is stored where. Instants are milliseconds since 1970.
CREATE TABLE services (
  id      serial PRIMARY KEY,
  service varchar(30) UNIQUE,
  pattern varchar(128)
);

CREATE TABLE nodes (
  id           bigserial PRIMARY KEY,
  service      integer NOT NULL,
  node         varchar(64) NOT NULL,
  available    integer NOT NULL,
  current_load integer NOT NULL,
  capacity     integer NOT NULL,
  downed       integer NOT NULL,
  backoff      integer NOT NULL,
  UNIQUE (service, node)
);

CREATE TABLE users (
  uid             bigserial PRIMARY KEY,
  service         integer NOT NULL,
  email           varchar(255) NOT NULL,
  generation      bigint NOT NULL,
  client_state    varchar(32) NOT NULL,
  created_at      bigint NOT NULL,
  replaced_at     bigint,
  nodeid          bigint NOT NULL,
  keys_changed_at bigint
);
CREATE INDEX lookup_idx ON users (email, service, created_at);
CREATE INDEX replaced_at_idx ON users (service, replaced_at);
CREATE INDEX node_idx ON users (nodeid);
