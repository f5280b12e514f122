-- The tables of Cloudron's box that its tasks and its janitor work on, as its migrations make them on MySQL, in
-- PostgreSQL's types. Not here: its table `locks`, one row with a JSON blob and a version; resources stand in for it.

CREATE TABLE apps (
  id                    varchar(128) PRIMARY KEY,
  "manifestJson"        text,
  "installationState"   varchar(512) NOT NULL,
  "runState"            varchar(512),
  health                varchar(128),
  fqdn                  varchar(128) NOT NULL UNIQUE,
  "enableBackup"        boolean NOT NULL DEFAULT true
);

CREATE TABLE tasks (
  id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  type           varchar(32) NOT NULL,
  "argsJson"     text,
  percent        integer NOT NULL DEFAULT 0,
  message        text,
  "errorJson"    text,
  "resultJson"   text,
  "creationTime" timestamp NOT NULL DEFAULT timezone('UTC', now()),
  ts             timestamp NOT NULL DEFAULT timezone('UTC', now())
);
CREATE INDEX tasks_creationtime ON tasks ("creationTime");

CREATE TABLE eventlog (
  id             varchar(128) PRIMARY KEY,
  action         varchar(128) NOT NULL,
  "sourceJson"   text,
  "dataJson"     text,
  "creationTime" timestamp NOT NULL DEFAULT timezone('UTC', now())
);
CREATE INDEX eventlog_creationtime ON eventlog ("creationTime");

-- `expires` is milliseconds since 1970.
CREATE TABLE tokens (
  id            varchar(128) PRIMARY KEY,
  "accessToken" varchar(128) NOT NULL UNIQUE,
  identifier    varchar(128) NOT NULL,
  "clientId"    varchar(128),
  expires       bigint NOT NULL
);
