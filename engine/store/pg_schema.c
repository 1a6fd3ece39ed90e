#include "store/schema.h"

#include "base/base.h"

/*
 * Types: `json`, not `jsonb`, because bodies must come back as they were
 * written and reading is 2.3-3 times faster; text compares by bytes
 * (COLLATE "C") as on SQLite.
 *
 * perigee.advance is the fence.  It raises instead of
 * returning false, so that a batch can be sent as one pipeline: the error
 * makes the server skip everything behind it, the rows and the commit too.
 */
const char pg_schema_meta[] =
    /* Asked first: the right to create schemas is needed even where
     * `if not exists` has nothing to do, and the schema may be a gift. */
    "do $$ begin"
    "  if not exists (select from pg_namespace where nspname = 'perigee') then"
    "    create schema if not exists perigee;"
    "  end if;"
    " end $$;"
    "create table if not exists perigee.meta ("
    "  one boolean primary key default true check (one),"
    "  version integer not null,"
    "  oldest_binary integer not null,"
    "  log_id uuid not null);"
    "insert into perigee.meta values (true, 0, 0, gen_random_uuid())"
    "  on conflict do nothing;";

const struct schema_step pg_schema_steps[] = {
    {1, 1,
     "create table perigee.streams ("
     "  id bigint primary key,"
     "  type text collate \"C\" not null,"
     "  key text collate \"C\" not null,"
     "  unique (type, key));"
     "create index streams_type on perigee.streams (type, id);"

     "create table perigee.events ("
     "  position bigint primary key check (position > 0),"
     "  stream_id bigint not null,"
     "  aggregate_version bigint not null check (aggregate_version > 0),"
     "  event_id uuid not null,"
     "  event_type text collate \"C\" not null,"
     "  event_version integer not null check (event_version > 0),"
     "  aggregate_type text collate \"C\" not null,"
     "  aggregate_id text collate \"C\" not null,"
     "  tenant_id text collate \"C\","
     "  actor_id text collate \"C\","
     "  correlation_id text collate \"C\","
     "  causation_id text collate \"C\","
     "  occurred_at timestamptz not null,"
     "  recorded_at timestamptz not null,"
     "  data json not null,"
     "  metadata json not null);"
     "create unique index events_stream on perigee.events"
     "  (stream_id, aggregate_version);"

     "create table perigee.event_ids ("
     "  event_id uuid primary key,"
     "  position bigint not null);"

     "create table perigee.checkpoints ("
     "  subscription text collate \"C\" not null,"
     "  generation integer not null,"
     "  partition integer not null"
     "    check (partition >= 0 and partition < partitions),"
     "  partitions integer not null,"
     "  position bigint not null,"
     "  epoch bigint not null default 0,"
     "  owner uuid,"
     "  expires_at timestamptz,"
     "  events_processed bigint not null default 0,"
     "  updated_at timestamptz not null default clock_timestamp(),"
     "  primary key (subscription, generation, partition, partitions))"
     "  with (fillfactor = 50);"

     "create table perigee.projections ("
     "  name text collate \"C\" primary key,"
     "  generation integer not null,"
     "  installed_at timestamptz not null default clock_timestamp());"

     "create table perigee.generations ("
     "  projection text collate \"C\" not null"
     "    references perigee.projections (name),"
     "  generation integer not null check (generation > 0),"
     "  partitions integer not null check (partitions > 0),"
     "  version integer not null,"
     "  script_hash text not null,"
     "  definition text not null,"
     "  installed_at timestamptz not null default clock_timestamp(),"
     "  primary key (projection, generation));"

     "create table perigee.read_tables ("
     "  name text collate \"C\" primary key,"
     "  projection text collate \"C\" not null"
     "    references perigee.projections (name));"

     "create function perigee.advance(p_subscription text, p_generation int,"
     "    p_partition int, p_partitions int, p_epoch bigint, p_from bigint,"
     "    p_to bigint, p_event uuid, p_processed bigint, p_ttl_ms int)"
     "  returns void language plpgsql volatile as $$"
     " begin"
     "   update perigee.checkpoints"
     "      set position = p_to,"
     "          events_processed = events_processed + p_processed,"
     "          expires_at = clock_timestamp()"
     "            + p_ttl_ms * interval '1 ms',"
     "          updated_at = clock_timestamp()"
     "    where subscription = p_subscription and generation = p_generation"
     "      and partition = p_partition and partitions = p_partitions"
     "      and epoch = p_epoch and position = p_from"
     "      and exists (select 1 from perigee.events e"
     "                   where e.position = p_to and e.event_id = p_event);"
     "   if not found then"
     "     raise exception 'the batch was fenced off' using errcode = 'PGF01';"
     "   end if;"
     " end $$;"},

    /* `home` is where the log was last seen to live (pg_home.c); `fence` keeps
     * a guess that comes too late from the log (pg_append.c).
     *
     * Keys live in a ring of 26 hourly parts that are emptied whole: an hour
     * is written, 24 are looked at, one is being emptied.  Deleting row by row
     * would cost the writer's table more than inserting does.
     *
     * Snapshots of one shape are sampled by script; neither column changes
     * while a script does not, so updates stay HOT. */
    {2, 1,
     "alter table perigee.meta add home text,"
     "  add fence bigint not null default 0;"

     "create table perigee.requests ("
     "  part smallint not null check (part between 0 and 25),"
     "  token text collate \"C\" not null,"
     "  tenant text collate \"C\" not null,"
     "  key text collate \"C\" not null,"
     "  hash bytea not null check (length(hash) = 32),"
     "  first_position bigint not null,"
     "  first_version bigint not null,"
     "  count integer not null,"
     "  stored_at timestamptz not null,"
     "  primary key (key, token, tenant, part)) partition by list (part);"
     "do $$ begin"
     "  for i in 0..25 loop"
     "    execute format('create table perigee.requests_%s partition of"
     " perigee.requests for values in (%s)', i, i);"
     "  end loop;"
     " end $$;"

     /* A key that is kept, in whatever part, is a unique violation: who stores
      * it has looked before, and looks again.  A transaction has one time, its
      * beginning, so what it clears away makes room for what it writes. */
     "create function perigee.remember(p_tokens text[], p_tenants text[],"
     "    p_keys text[], p_hashes bytea[], p_positions bigint[],"
     "    p_versions bigint[], p_counts integer[])"
     "  returns void language plpgsql volatile as $$"
     " declare"
     "   hour constant bigint := floor(extract(epoch from now()) / 3600);"
     "   old constant timestamptz := now() - interval '24 hours';"
     " begin"
     "   delete from perigee.requests r"
     "    using unnest(p_tokens, p_tenants, p_keys) k(token, tenant, key)"
     "    where r.part = hour % 26 and r.key = k.key and r.token = k.token"
     "      and r.tenant = k.tenant and r.stored_at <= old;"
     "   if exists (select"
     "        from unnest(p_tokens, p_tenants, p_keys) k(token, tenant, key)"
     "        join perigee.requests r on r.key = k.key"
     "         and r.token = k.token and r.tenant = k.tenant"
     "       where r.stored_at > old) then"
     "     raise unique_violation using message = 'the key is kept already';"
     "   end if;"
     "   insert into perigee.requests (part, token, tenant, key, hash,"
     "       first_position, first_version, count, stored_at)"
     "   select hour % 26, k.*, now() from unnest(p_tokens, p_tenants, p_keys,"
     "     p_hashes, p_positions, p_versions, p_counts) k;"
     " end $$;"

     "create table perigee.snapshots ("
     "  stream_id bigint primary key,"
     "  version bigint not null check (version > 0),"
     "  shape text collate \"C\" not null,"
     "  script_hash text not null,"
     "  state text not null,"
     "  saved_at timestamptz not null default clock_timestamp())"
     "  with (fillfactor = 70);"
     "create index snapshots_shape on perigee.snapshots (shape, script_hash);"

     "create table perigee.event_types ("
     "  aggregate_type text collate \"C\" not null,"
     "  event_type text collate \"C\","
     "  newest integer,"
     "  unique (aggregate_type, event_type));"},

    {3, 1, pg_door_sql},
};
const size_t pg_schema_step_count = COUNT(pg_schema_steps);
