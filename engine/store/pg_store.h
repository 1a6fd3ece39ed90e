#pragma once
/*
 * Inside of the PostgreSQL store: what its files share.  Each file has the
 * functions of store/store.h that its comment names; pg_store.c puts them into
 * the table of store/store_ops.h.
 *
 *   pg_migrate     schema: migrate, check, the log's id
 *   pg_home        where the log lives, and its id
 *   pg_append      the writer's transaction
 *   pg_insert      the statements that put a batch into the log
 *   pg_request     keys of requests that may come again
 *   pg_snapshot    folded states
 *   pg_types       what the scripts declare
 *   pg_read        the log
 *   pg_lease       checkpoints and leases
 *   pg_keeper      renewal, head, notices
 *   pg_projection  installing read models
 *   pg_flush       a batch's changes as set-based statements
 *   pg_commit      committing and settling a batch
 *   pg_rows        reading read models
 */
#include "store/pg_exchange.h"
#include "store/pool.h"
#include "store/store_ops.h"

struct pg_store {
    struct store base;

    /* --- set before use, then read only --- */
    struct pg_target *target;
    struct pg_target *direct; /* for LISTEN and the schema */
    char *read_schema;
    struct pg_pool *pool;
    /* The writer and the keeper have connections of their own; in a pool of
     * fewer than 4, or where fewer than 3 stay, they borrow like everybody,
     * and nothing listens. */
    bool has_seats;

    /* --- any thread, atomic --- */
    uint32_t seats_open;
    uint32_t event_bytes; /* average of a page lately: see pg_read.c */
};

static inline struct pg_store *pg_store_of(struct store *store)
{
    return CONTAINER_OF(store, struct pg_store, base);
}

/* A loan of the store's pool: see pg_pool_acquire and pg_pool_release. */
struct pg_conn *pg_borrow(struct store *store, const char *who,
                          struct err *err) MUST_USE;
void pg_give_back(struct store *store, struct pg_conn *conn);

/* The lasting place of the writer or the keeper. */
struct pg_seat {
    struct pg_store *store;
    const struct pg_target *target;
    const char *who;
    struct pg_conn *conn; /* NULL: not connected, or given back */
    uint64_t opened;      /* how many of its own it has had */
    uint64_t rested_ms;   /* when its own was last used */
};

/* Reserves the place, and gives it back; connects to nothing. */
void pg_seat_init(struct pg_seat *seat, struct pg_store *store,
                  const struct pg_target *target, const char *who);
void pg_seat_done(struct pg_seat *seat);
/* A usable connection in `seat->conn`: the one there is, or another, which
 * `seat->opened` tells. */
bool pg_seat_take(struct pg_seat *seat, struct err *err) MUST_USE;
/* The work is done for now. */
void pg_seat_rest(struct pg_seat *seat);

/* Two advisory locks of the database, taken by transactions.  The numbers are
 * ours: "perigee" in ASCII and one more byte. */
#define PG_LOCK_LOG       INT64_C(0x7065726967656501)
#define PG_LOCK_MIGRATION INT64_C(0x7065726967656502)

/* A name as an identifier, quoted; in the buffer's memory. */
void pg_quote(struct buf *out, struct str name);
#define PG_NAME_SIZE 64 /* what PostgreSQL takes, with the NUL */
/* table__generation */
void pg_table_name(char name[PG_NAME_SIZE], struct str table,
                   uint32_t generation);
/* schema.table__generation, quoted; generation 0: the public view. */
void pg_quote_table(struct buf *out, const char *schema, struct str table,
                    uint32_t generation);
/* The columns of a table with a comma between; with `alias` each is read as
 * pg_value wants it. */
void pg_quote_columns(struct buf *out, const struct table_def *table,
                      const char *alias);

/* ---- pg_migrate.c ---- */

/* As store/store.h says of store_*. */
bool pg_migrate(struct store *store, uint32_t *steps_out,
                struct err *err) MUST_USE;
bool pg_check_schema(struct store *store, struct err *err) MUST_USE;
bool pg_log_id(struct store *store, struct uuid *out, struct err *err) MUST_USE;

/* ---- pg_home.c ---- */

/* Looks whether the log still lives where it was last seen, and gives it
 * another id when it does not.  The schema is known to be ours. */
bool pg_home_check(struct pg_conn *conn, struct err *err) MUST_USE;
/* As store/store.h says of store_*. */
bool pg_log_renew(struct store *store, struct err *err) MUST_USE;

/* ---- pg_append.c ---- */

/* As store/store.h says of store_*. */
struct store_writer *pg_writer_open(struct store *store,
                                    struct err *err) MUST_USE;
void pg_writer_close(struct store_writer *writer);
bool pg_append_begin(struct store_writer *writer, struct log_place known,
                     struct arena *arena, struct append_delta *out,
                     struct err *err) MUST_USE;
bool pg_append_lookup(struct store_writer *writer, struct append_lookup *lookup,
                      struct err *err) MUST_USE;
enum append_end pg_append_commit(struct store_writer *writer,
                                 const struct append_batch *batch,
                                 struct err *err) MUST_USE;
void pg_append_abort(struct store_writer *writer);
enum append_end pg_append_guarded(struct store_writer *writer,
                                  struct log_place known,
                                  const struct append_batch *batch,
                                  int64_t *recorded_at_us,
                                  struct err *err) MUST_USE;

/* ---- pg_insert.c ---- */

/* Queues all that a batch writes, the notice to others included. */
void pg_send_batch(struct pg_conn *conn, const struct append_batch *batch);
/* Queues what makes the commit behind it wait until everything that shows by
 * now is as durable as the database promises; nothing without a synchronous
 * standby. */
void pg_send_proof(struct pg_conn *conn);
/* Queues the same as one statement that does nothing unless the head is
 * `known` and the log's fence is `fence`; its answer is then without a row,
 * else recorded_at. */
void pg_send_guarded(struct pg_conn *conn, struct log_place known,
                     uint64_t fence, const struct append_batch *batch);

/* ---- pg_request.c ---- */

/* Queues the question for keys, and reads its answer into them. */
void pg_send_asks(struct pg_conn *conn, const struct request_ask *asks,
                  size_t count);
void pg_read_asks(const PGresult *rows, struct request_ask *asks, size_t count);
/* As store/store.h says of store_*. */
bool pg_request_find(struct store *store, struct request_ask *ask,
                     struct arena *arena, struct err *err) MUST_USE;
bool pg_request_forget(struct store *store, struct err *err) MUST_USE;

/* ---- pg_snapshot.c ---- */

/* As store/store.h says of store_*. */
bool pg_snapshot_find(struct store *store, struct str aggregate_type,
                      struct str aggregate_id, struct str shape,
                      uint64_t at_most, struct arena *arena,
                      struct snapshot *out, bool *found_out,
                      struct err *err) MUST_USE;
bool pg_snapshot_save(struct store *store, const struct snapshot *snapshots,
                      size_t count, struct err *err) MUST_USE;
bool pg_snapshot_sample(struct store *store, struct str aggregate_type,
                        struct str shape, struct str script_hash,
                        uint32_t limit, struct arena *arena,
                        struct snapshot **out, size_t *count_out,
                        struct err *err) MUST_USE;

/* ---- pg_types.c ---- */

/* As store/store.h says of store_*. */
bool pg_declare_types(struct store *store, const struct declared_type *types,
                      size_t count, struct err *err) MUST_USE;

/* ---- pg_read.c ---- */

/* As store/store.h says of store_*. */
bool pg_head(struct store *store, uint64_t *out, struct err *err) MUST_USE;
bool pg_read_after(struct store *store, uint64_t after, uint32_t limit,
                   const struct event_filter *filter, struct event_page **out,
                   struct err *err) MUST_USE;
bool pg_read_stream(struct store *store, struct str aggregate_type,
                    struct str aggregate_id, uint64_t from_version,
                    uint32_t limit, enum read_direction direction,
                    struct event_page **out, struct err *err) MUST_USE;
bool pg_list_streams(struct store *store, struct str aggregate_type,
                     uint64_t after, uint32_t limit, struct arena *arena,
                     struct stream_row **rows_out, size_t *count_out,
                     struct err *err) MUST_USE;

/* ---- pg_lease.c ---- */

/* Whole checkpoint rows, in the order that pg_checkpoint reads. */
#define PG_CHECKPOINT_COLUMNS                                                  \
    "c.subscription, c.generation, c.partition, c.partitions, c.position,"     \
    " c.epoch, c.owner, coalesce(c.expires_at <= clock_timestamp(), true),"    \
    " c.events_processed, c.updated_at"

/* Reads them from `column` on. */
struct checkpoint pg_checkpoint(const PGresult *rows, int row, int column,
                                struct arena *arena);
/* The four columns of a checkpoint's key. */
void pg_put_slice(struct pg_args *args, const struct slice *slice);

/* As store/store.h says of store_*. */
enum lease_end pg_lease_take(struct store *store, const struct slice *slice,
                             struct uuid owner, uint32_t ttl_ms,
                             struct checkpoint *out, struct err *err) MUST_USE;
bool pg_lease_release(struct store *store, struct uuid owner,
                      struct err *err) MUST_USE;
bool pg_list_checkpoints(struct store *store, struct arena *arena,
                         struct checkpoint **rows_out, size_t *count_out,
                         struct err *err) MUST_USE;

/* ---- pg_keeper.c ---- */

/* As store/store.h says of store_*. */
struct store_keeper *pg_keeper_open(struct store *store,
                                    struct err *err) MUST_USE;
void pg_keeper_close(struct store_keeper *keeper);
bool pg_keeper_beat(struct store_keeper *keeper, struct uuid owner,
                    uint32_t ttl_ms, struct arena *arena, struct beat *out,
                    struct err *err) MUST_USE;
bool pg_keeper_wait(struct store_keeper *keeper, int wake_fd,
                    uint32_t timeout_ms, uint64_t *head_out);

/* ---- pg_projection.c ---- */

/* As store/store.h says of store_*. */
bool pg_projection_find(struct store *store, struct str name,
                        struct arena *arena, struct projection_def *out,
                        struct err *err) MUST_USE;
bool pg_projection_install(struct store *store,
                           const struct projection_def *def, uint64_t position,
                           struct err *err) MUST_USE;
bool pg_projection_note(struct store *store, const struct projection_def *def,
                        struct err *err) MUST_USE;

/* ---- pg_flush.c ---- */

/* Queues the statements of one table's changes. */
void pg_flush(struct pg_conn *conn, const char *schema, uint32_t generation,
              const struct table_change *change);

/* ---- pg_commit.c ---- */

/* As store/store.h says of store_*. */
enum commit_end pg_commit_batch(struct store *store,
                                const struct batch_commit *batch,
                                struct err *err) MUST_USE;
enum commit_end pg_commit_settle(struct store *store,
                                 const struct batch_commit *batch,
                                 struct err *err) MUST_USE;

/* ---- pg_rows.c ---- */

/* As store/store.h says of store_*. */
bool pg_rows_get(struct store *store, const struct table_def *table,
                 uint32_t generation, const struct value *keys, size_t count,
                 struct arena *arena, struct row **rows_out,
                 struct err *err) MUST_USE;
bool pg_rows_list(struct store *store, const struct row_query *query,
                  struct arena *arena, struct row **rows_out, size_t *count_out,
                  struct err *err) MUST_USE;
