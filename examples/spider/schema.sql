-- Spider's resources as tables. Upstream each is an index of Elasticsearch, named in the comment; its documents hold lists
-- of ids without any foreign key, as these rows do.

-- spider-teams
CREATE TABLE teams (
  id         text PRIMARY KEY,
  name       text NOT NULL,
  -- Ids, in the order in which the team wants to see them.
  whisperers text[] NOT NULL DEFAULT '{}',
  edited_by  text,
  edited_at  timestamptz
);

-- spider-customers: users, with the whisperers that they own or may look at.
CREATE TABLE customers (
  id         text PRIMARY KEY,
  email      text NOT NULL,
  -- {"whisperers": [{"id": "w1", "rights": "own"}]}
  rights     jsonb NOT NULL DEFAULT '{}',
  deleted_at timestamptz,
  edited_by  text,
  edited_at  timestamptz
);

CREATE TABLE team_members (
  team_id     text NOT NULL REFERENCES teams,
  customer_id text NOT NULL,
  role        text NOT NULL CHECK (role IN ('admin', 'user')),
  PRIMARY KEY (team_id, customer_id)
);

-- spider-whisp
CREATE TABLE whisperers (
  id         text PRIMARY KEY,
  name       text NOT NULL,
  config     jsonb NOT NULL DEFAULT '{}',
  deleted_at timestamptz
);

-- spider-whisp-status: a row for each whisperer and moment, updated every 20 seconds.
CREATE TABLE whisperers_status (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  whisperer   text NOT NULL,
  status      jsonb NOT NULL DEFAULT '{}',
  modified_at timestamptz NOT NULL
);
CREATE INDEX ON whisperers_status (modified_at);

-- spider-controllers
CREATE TABLE controllers (
  id         text PRIMARY KEY,
  name       text NOT NULL,
  deleted_at timestamptz
);

-- spider-attachments: which whisperer was attached to what.
CREATE TABLE attachments (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  whisperer  text NOT NULL,
  pod        text NOT NULL,
  started_at timestamptz NOT NULL,
  ended_at   timestamptz
);
CREATE INDEX ON attachments (ended_at);

-- spider-links: links that users share.
CREATE TABLE links (
  id         text PRIMARY KEY,
  target     text NOT NULL,
  created_at timestamptz NOT NULL
);
CREATE INDEX ON links (created_at);

-- spider-active-hosts-streaming
CREATE TABLE active_hosts (
  ip         inet PRIMARY KEY,
  name       text,
  updated_at timestamptz NOT NULL
);

-- spider-session
CREATE TABLE sessions (
  id         text PRIMARY KEY,
  customer   text NOT NULL,
  updated_at timestamptz NOT NULL
);
