#include "store/pg_store.h"

#include <inttypes.h>
#include <stdio.h>

/*
 * The statements that put a batch into the log: one for events, ids and new
 * streams, since a stream is new when its id is the position of the event at
 * hand.  The guarded one does all of it, keys and notice too, or nothing.
 */

#define NAMES                                                                  \
    "stream_id, position, aggregate_version, event_id, event_type,"            \
    " event_version, aggregate_type, aggregate_id, tenant_id, actor_id,"       \
    " correlation_id, causation_id, occurred_at, data, metadata"

/* As send_columns sends them. */
#define ARRAYS                                                                 \
    "$1::bigint[], $2::bigint[], $3::bigint[], $4::uuid[], $5::text[],"        \
    " $6::integer[], $7::text[], $8::text[], $9::text[], $10::text[],"         \
    " $11::text[], $12::text[], $13::timestamptz[], $14::json[], $15::json[]"

#define STREAMS_AND_IDS                                                        \
    " new_streams as (insert into perigee.streams (id, type, key)"             \
    "   select position, aggregate_type, aggregate_id from u"                  \
    "    where stream_id = position),"                                         \
    " new_ids as (insert into perigee.event_ids (event_id, position)"          \
    "   select event_id, position from u)"

#define EVENTS                                                                 \
    " insert into perigee.events (" NAMES ", recorded_at) select * from u"

static const char insert_sql[] =
    "with u as (select * from unnest(" ARRAYS ", $16::timestamptz[])"
    "  as u(" NAMES ", recorded_at))," STREAMS_AND_IDS EVENTS;

/* ---- columns ---- */

/* Those of an event; the stream's id stands before them. */
/* clang-format off */
#define COLUMN(type, member) {type, offsetof(struct event, member)}
static const struct column {
    enum pg_type type;
    size_t offset;
} columns[] = {
    COLUMN(PG_INT8,        position),
    COLUMN(PG_INT8,        aggregate_version),
    COLUMN(PG_UUID,        event_id),
    COLUMN(PG_TEXT,        event_type),
    COLUMN(PG_INT4,        event_version),
    COLUMN(PG_TEXT,        aggregate_type),
    COLUMN(PG_TEXT,        aggregate_id),
    COLUMN(PG_TEXT,        tenant_id),
    COLUMN(PG_TEXT,        actor_id),
    COLUMN(PG_TEXT,        correlation_id),
    COLUMN(PG_TEXT,        causation_id),
    COLUMN(PG_TIMESTAMPTZ, occurred_at_us),
    COLUMN(PG_JSON,        data),
    COLUMN(PG_JSON,        metadata),
};
static const struct column recorded_at =
    COLUMN(PG_TIMESTAMPTZ, recorded_at_us);
/* clang-format on */

/* What a type of the statement is in memory. */
static void put_member(struct pg_args *args, enum pg_type type,
                       const void *member)
{
    if (type == PG_INT8)
        pg_put_u64(args, *(const uint64_t *)member);
    else if (type == PG_INT4)
        pg_put_u32(args, *(const uint32_t *)member);
    else if (type == PG_UUID)
        pg_put_uuid(args, *(const struct uuid *)member);
    else if (type == PG_TIMESTAMPTZ)
        pg_put_time(args, *(const int64_t *)member);
    else
        pg_put_str(args, *(const struct str *)member);
}

static void put_column(struct pg_args *args, const struct append_batch *batch,
                       const struct column *column)
{
    pg_array_begin(args, column->type, batch->count);
    for (size_t i = 0; i < batch->count; i++) {
        const char *event = (const char *)batch->rows[i].event;

        put_member(args, column->type, event + column->offset);
    }
    pg_array_end(args);
}

static void put_columns(struct pg_args *args, const struct append_batch *batch)
{
    pg_array_begin(args, PG_INT8, batch->count);
    for (size_t i = 0; i < batch->count; i++)
        pg_put_u64(args, batch->rows[i].stream_id);
    pg_array_end(args);
    for (size_t i = 0; i < COUNT(columns); i++)
        put_column(args, batch, &columns[i]);
}

/* ---- keys ---- */

/* Raises unique_violation for a key that is kept already. */
#define REMEMBER(first, second, third, fourth, fifth, sixth, seventh)          \
    "perigee.remember($" first "::text[], $" second "::text[], $" third        \
    "::text[], $" fourth "::bytea[], $" fifth "::bigint[], $" sixth            \
    "::bigint[], $" seventh "::integer[])"

static const char keys_sql[] =
    "select " REMEMBER("1", "2", "3", "4", "5", "6", "7");

static void put_names(struct pg_args *args, const struct append_batch *batch)
{
    static const size_t names[] = {offsetof(struct request_key, token),
                                   offsetof(struct request_key, tenant),
                                   offsetof(struct request_key, key)};

    for (size_t name = 0; name < COUNT(names); name++) {
        pg_array_begin(args, PG_TEXT, batch->mark_count);
        for (size_t i = 0; i < batch->mark_count; i++) {
            const char *key = (const char *)&batch->marks[i].key;

            pg_put_str(args, *(const struct str *)(key + names[name]));
        }
        pg_array_end(args);
    }
}

static void put_marks(struct pg_args *args, const struct append_batch *batch)
{
    const struct request_mark *marks = batch->marks;
    size_t count = batch->mark_count;

    put_names(args, batch);
    pg_array_begin(args, PG_BYTEA, count);
    for (size_t i = 0; i < count; i++)
        pg_put_str(args, str_n((const char *)marks[i].hash, SHA256_SIZE));
    pg_array_end(args);
    pg_array_begin(args, PG_INT8, count);
    for (size_t i = 0; i < count; i++)
        pg_put_u64(args, marks[i].first_position);
    pg_array_end(args);
    pg_array_begin(args, PG_INT8, count);
    for (size_t i = 0; i < count; i++)
        pg_put_u64(args, marks[i].first_version);
    pg_array_end(args);
    pg_array_begin(args, PG_INT4, count);
    for (size_t i = 0; i < count; i++)
        pg_put_u32(args, marks[i].count);
    pg_array_end(args);
}

/* ---- under the lock ---- */

/* Other instances wake by it; once a batch, since notices serialise commits. */
static const char notify_sql[] = "select pg_notify('perigee', $1::text)";

static void put_head(struct pg_args *args, const struct append_batch *batch)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64,
             batch->rows[batch->count - 1].event->position);
    pg_put_str(args, str_of(text));
}

static void send_events(struct pg_conn *conn, const struct append_batch *batch)
{
    struct pg_args *args = pg_args(conn);

    put_columns(args, batch);
    put_column(args, batch, &recorded_at);
    pg_send(conn, insert_sql);
    put_head(pg_args(conn), batch);
    pg_send(conn, notify_sql);
}

void pg_send_batch(struct pg_conn *conn, const struct append_batch *batch)
{
    if (batch->count + batch->mark_count == 0)
        pg_send_proof(conn);
    if (batch->count > 0)
        send_events(conn, batch);
    if (batch->mark_count == 0)
        return;
    put_marks(pg_args(conn), batch);
    pg_send(conn, keys_sql);
}

/* A commit that waited for its standby in vain, and was ended, shows rows that
 * no standby has.  Behind a later write that a standby has they are there, too;
 * this one writes to the write-ahead log alone. */
static const char proof_sql[] =
    "select pg_logical_emit_message(true, 'perigee', '')"
    " where current_setting('synchronous_standby_names') <> ''";

void pg_send_proof(struct pg_conn *conn)
{
    pg_send(conn, proof_sql);
}

/* ---- guarded ---- */

/* One row when the head is where it is known to be, and nobody has waited out
 * a lost commit since that was read.  A request without events moves no head,
 * so a key may have come all the same: that is an error, and undoes all. */
#define GUARDED(more)                                                          \
    "with guard as materialized (select clock_timestamp() as recorded_at"      \
    "   from perigee.meta m left join lateral"                                 \
    "       (select position, event_id from perigee.events"                    \
    "         order by position desc limit 1) e on true"                       \
    "  where coalesce(e.position, 0) = $16::bigint"                            \
    "    and coalesce(e.event_id, '00000000-0000-0000-0000-000000000000')"     \
    "        = $17::uuid"                                                      \
    "    and m.fence = $18::bigint),"                                          \
    " u as (select r.*, guard.recorded_at"                                     \
    "   from guard, unnest(" ARRAYS ") r(" NAMES "))," STREAMS_AND_IDS         \
    ", new_events as (" EVENTS                                                 \
    ") select guard.recorded_at, pg_notify('perigee', $19::text)" more         \
    " from guard"

static const char guarded_sql[] = GUARDED("");
static const char guarded_keys_sql[] =
    GUARDED(", " REMEMBER("20", "21", "22", "23", "24", "25", "26"));

void pg_send_guarded(struct pg_conn *conn, struct log_place known,
                     uint64_t fence, const struct append_batch *batch)
{
    struct pg_args *args = pg_args(conn);

    put_columns(args, batch);
    pg_put_u64(args, known.position);
    pg_put_uuid(args, known.event_id);
    pg_put_u64(args, fence);
    put_head(args, batch);
    if (batch->mark_count > 0)
        put_marks(args, batch);
    pg_send(conn, batch->mark_count > 0 ? guarded_keys_sql : guarded_sql);
}
