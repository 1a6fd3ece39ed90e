#include "store/schema.h"

#include "base/base.h"

/*
 * The same tables as on PostgreSQL, with the prefix `perigee_`.  Times of the
 * log are integers (microseconds since 1970, UTC): they are read a million
 * times and shown rarely.  UUIDs are 16-byte blobs here; read-model tables
 * keep readable text instead (base/value.h).
 */
const char lite_schema_meta[] =
    "create table if not exists perigee_meta ("
    "  one integer primary key check (one = 1),"
    "  version integer not null,"
    "  oldest_binary integer not null,"
    "  log_id blob not null check (length(log_id) = 16)) strict;"
    "insert into perigee_meta (one, version, oldest_binary, log_id)"
    "  values (1, 0, 0, randomblob(16))"
    "  on conflict do nothing;";

const struct schema_step lite_schema_steps[] = {
    {1, 1,
     "create table perigee_streams ("
     "  id integer primary key,"
     "  type text not null,"
     "  key text not null,"
     "  unique (type, key)) strict;"
     "create index perigee_streams_type on perigee_streams (type, id);"

     "create table perigee_events ("
     "  position integer primary key check (position > 0),"
     "  stream_id integer not null,"
     "  aggregate_version integer not null check (aggregate_version > 0),"
     "  event_id blob not null check (length(event_id) = 16),"
     "  event_type text not null,"
     "  event_version integer not null check (event_version > 0),"
     "  aggregate_type text not null,"
     "  aggregate_id text not null,"
     "  tenant_id text,"
     "  actor_id text,"
     "  correlation_id text,"
     "  causation_id text,"
     "  occurred_at integer not null,"
     "  recorded_at integer not null,"
     "  data text not null,"
     "  metadata text not null) strict;"
     "create unique index perigee_events_stream on perigee_events"
     "  (stream_id, aggregate_version);"

     "create table perigee_event_ids ("
     "  event_id blob primary key,"
     "  position integer not null) strict, without rowid;"

     "create table perigee_checkpoints ("
     "  subscription text not null,"
     "  generation integer not null,"
     "  partition integer not null"
     "    check (partition >= 0 and partition < partitions),"
     "  partitions integer not null,"
     "  position integer not null,"
     "  epoch integer not null default 0,"
     "  owner blob,"
     "  expires_at integer,"
     "  events_processed integer not null default 0,"
     "  updated_at integer not null,"
     "  primary key (subscription, generation, partition, partitions))"
     "  strict, without rowid;"

     "create table perigee_projections ("
     "  name text primary key,"
     "  generation integer not null,"
     "  installed_at integer not null) strict;"

     "create table perigee_generations ("
     "  projection text not null references perigee_projections (name),"
     "  generation integer not null check (generation > 0),"
     "  partitions integer not null check (partitions > 0),"
     "  version integer not null,"
     "  script_hash text not null,"
     "  definition text not null,"
     "  installed_at integer not null,"
     "  primary key (projection, generation)) strict;"

     "create table perigee_read_tables ("
     "  name text primary key,"
     "  projection text not null references perigee_projections (name))"
     "  strict;"},

    {2, 1,
     "create table perigee_requests ("
     "  key text not null,"
     "  token text not null,"
     "  tenant text not null,"
     "  hash blob not null check (length(hash) = 32),"
     "  first_position integer not null,"
     "  first_version integer not null,"
     "  count integer not null,"
     "  stored_at integer not null,"
     "  primary key (key, token, tenant)) strict, without rowid;"
     "create index perigee_requests_age on perigee_requests (stored_at);"

     "create table perigee_snapshots ("
     "  stream_id integer primary key,"
     "  version integer not null check (version > 0),"
     "  shape text not null,"
     "  script_hash text not null,"
     "  state text not null,"
     "  saved_at integer not null) strict;"},

    /* PostgreSQL's door for programs that append in SQL; a file has one engine,
     * and no such door. */
    {3, 1, ""},
};
const size_t lite_schema_step_count = COUNT(lite_schema_steps);
