#pragma once
/*
 * The schema in numbered steps, one list a store, both with the same tables:
 *
 *   meta         one row: schema version, the oldest schema knowledge a binary
 *                needs to run against it, the log's id and where it lives;
 *                PostgreSQL: the fence of guesses (docs/decisions/004)
 *   events       the log; primary key `position`; unique (stream_id,
 *                aggregate_version), which a partition by position can keep
 *   streams      id (position of the first event), type, key; no version
 *   event_ids    every event's id and position: uniqueness that does not stand
 *                in the way of partitioning `events`
 *   checkpoints  key (subscription, generation, partition, partitions);
 *                position, owner, epoch, expiry, count
 *   projections  what is installed, and which generation is live
 *   generations  script and definition of each, live or being built
 *   read_tables  public name of each read model's table and its owner
 *   requests     what became of requests with an Idempotency-Key, for 24 hours
 *   snapshots    one folded state a stream
 *   event_types  what the scripts declare, for those who append in SQL
 *                (PostgreSQL: perigee.append_events, see pg_door.c)
 *
 * `events` repeats the stream's type and key, so that reading the log is a
 * sequential scan of one table; a join would be a random index lookup an
 * event, which is disastrous once the log is larger than memory
 * (docs/decisions/001).
 *
 * A step is never changed once it was released; a new one is added.  Running
 * a step twice is prevented by the version in `meta`, read under the
 * migration lock.
 */
#include "base/str.h"

#define SCHEMA_VERSION 3 /* what this binary creates */
/* The oldest schema this binary can run against. */
#define SCHEMA_OLDEST 2

/*
 * `meta` exists before the first step: made under the migration lock when it
 * is not there, with version 0, oldest_binary 0 and a fresh log id.  Each
 * step's transaction moves version and oldest_binary.
 */
extern const char pg_schema_meta[];
extern const char lite_schema_meta[];
/* Step 3: perigee.append_events and what it is made of. */
extern const char pg_door_sql[];

struct schema_step {
    uint32_t version;       /* after the step */
    uint32_t oldest_binary; /* SCHEMA_VERSION a binary must know from now on */
    const char *sql;        /* several statements */
};

extern const struct schema_step pg_schema_steps[];
extern const size_t pg_schema_step_count;
extern const struct schema_step lite_schema_steps[];
extern const size_t lite_schema_step_count;
