#include "store/pg_store.h"
#include "store/pg_fields.h"

#include "base/clock.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>

/*
 * Life: pg_store_open reads the URLs and connects to nothing; each call of
 * store.h borrows a connection for its own time, but for the writer and the
 * keeper, who sit on theirs; the store is closed when all are back.
 */

/* Fewer connections than these, and those that stay, are not given away for
 * good: two seats, and something for everybody else. */
#define SEATS_FROM         4
#define SEATS_FROM_STAYING 3

/* An answer so fresh is as good as another. */
#define ASK_AFTER_MS 10000
/* Opening one costs as much as a thousand reads: under load they stay. */
#define OVERFLOW_MS 10000

static void close_store(struct store *base)
{
    struct pg_store *store = pg_store_of(base);

    pg_pool_free(store->pool);
    pg_target_free(store->target);
    pg_target_free(store->direct);
    mem_free(store->read_schema);
    mem_free(store);
}

static void pool_status(struct store *base, struct pool_status *out)
{
    struct pg_store *store = pg_store_of(base);

    pg_pool_status(store->pool, out);
    out->lent += __atomic_load_n(&store->seats_open, __ATOMIC_RELAXED);
}

/* The second kind of reserve came with PostgreSQL 16. */
static const char limits_sql[] =
    "select current_setting('max_connections')::bigint,"
    " current_setting('superuser_reserved_connections')::bigint"
    " + coalesce(current_setting('reserved_connections', true)::bigint, 0)";

static bool server_limits(struct store *base, struct server_limits *out,
                          struct err *err)
{
    struct pg_conn *conn = pg_borrow(base, "server_limits", err);
    bool ok;

    if (conn == NULL)
        return false;
    pg_send(conn, limits_sql);
    ok = pg_run(conn, err) == PG_DONE;
    if (ok)
        *out = (struct server_limits){
            .max_connections = (uint32_t)pg_u64(pg_result(conn, 0), 0, 0),
            .reserved = (uint32_t)pg_u64(pg_result(conn, 0), 0, 1),
            .pooled = pg_store_of(base)->target->pooled,
        };
    pg_give_back(base, conn);
    return ok;
}

/* Any number of engines share one PostgreSQL: the lock of the log and the
 * leases keep them apart. */
static bool claim(struct store *base, const char *address, struct err *err)
{
    (void)base;
    (void)address;
    (void)err;
    return true;
}

static const struct store_ops pg_ops = {
    .kind = STORE_POSTGRES,
    .close = close_store,
    .pool_status = pool_status,
    .server_limits = server_limits,
    .migrate = pg_migrate,
    .check_schema = pg_check_schema,
    .log_id = pg_log_id,
    .log_renew = pg_log_renew,
    .claim = claim,
    .writer_open = pg_writer_open,
    .writer_close = pg_writer_close,
    .append_begin = pg_append_begin,
    .append_lookup = pg_append_lookup,
    .append_commit = pg_append_commit,
    .append_abort = pg_append_abort,
    .append_guarded = pg_append_guarded,
    .request_find = pg_request_find,
    .request_forget = pg_request_forget,
    .snapshot_find = pg_snapshot_find,
    .snapshot_save = pg_snapshot_save,
    .snapshot_sample = pg_snapshot_sample,
    .declare_types = pg_declare_types,
    .head = pg_head,
    .read_after = pg_read_after,
    .read_stream = pg_read_stream,
    .list_streams = pg_list_streams,
    .lease_take = pg_lease_take,
    .lease_release = pg_lease_release,
    .list_checkpoints = pg_list_checkpoints,
    .keeper_open = pg_keeper_open,
    .keeper_close = pg_keeper_close,
    .keeper_beat = pg_keeper_beat,
    .keeper_wait = pg_keeper_wait,
    .projection_find = pg_projection_find,
    .projection_install = pg_projection_install,
    .projection_note = pg_projection_note,
    .commit_batch = pg_commit_batch,
    .commit_settle = pg_commit_settle,
    .rows_get = pg_rows_get,
    .rows_list = pg_rows_list,
};

static bool is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static bool read_targets(struct pg_store *store,
                         const struct store_options *options, struct err *err)
{
    store->target = pg_target_new(options, PG_WAY_USUAL, err);
    if (store->target == NULL)
        return false;
    store->direct = pg_target_new(options, PG_WAY_DIRECT, err);
    return store->direct != NULL;
}

struct store *pg_store_open(const struct store_options *options,
                            struct err *err)
{
    struct pg_store *store = NEW(struct pg_store);
    struct pg_pool_options pool = {
        .size = options->pool_size,
        .overflow = options->max_overflow,
        .overflow_ms = OVERFLOW_MS,
        .timeout_ms = options->pool_timeout_ms,
        .recycle_ms = options->pool_recycle_ms,
        .ask_after_ms =
            options->pool_pre_ping ? ASK_AFTER_MS : PG_POOL_NEVER_ASK,
    };

    store->base.ops = &pg_ops;
    store->read_schema = mem_strdup(
        is_given(options->read_schema) ? options->read_schema : "public");
    store->has_seats = options->pool_size >= SEATS_FROM_STAYING &&
                       options->pool_size + options->max_overflow >= SEATS_FROM;
    if (!read_targets(store, options, err)) {
        close_store(&store->base);
        return NULL;
    }
    pool.target = store->target;
    store->pool = pg_pool_new(&pool);
    return &store->base;
}

/* ---- loans and seats ---- */

struct pg_conn *pg_borrow(struct store *store, const char *who, struct err *err)
{
    return pg_pool_acquire(pg_store_of(store)->pool, who, err);
}

void pg_give_back(struct store *store, struct pg_conn *conn)
{
    pg_pool_release(pg_store_of(store)->pool, conn);
}

void pg_seat_init(struct pg_seat *seat, struct pg_store *store,
                  const struct pg_target *target, const char *who)
{
    *seat = (struct pg_seat){.store = store, .target = target, .who = who};
    if (store->has_seats)
        pg_pool_reserve(store->pool);
}

static void leave(struct pg_seat *seat)
{
    if (seat->conn == NULL)
        return;
    pg_conn_close(seat->conn);
    seat->conn = NULL;
    __atomic_sub_fetch(&seat->store->seats_open, 1, __ATOMIC_RELAXED);
}

void pg_seat_done(struct pg_seat *seat)
{
    pg_seat_rest(seat);
    if (!seat->store->has_seats)
        return;
    leave(seat);
    pg_pool_unreserve(seat->store->pool);
}

static bool take_own(struct pg_seat *seat, struct err *err)
{
    if (seat->conn != NULL && pg_pool_may_reuse(seat->store->pool, seat->conn,
                                                clock_ms() - seat->rested_ms))
        return true;
    leave(seat);
    seat->conn = pg_conn_open(seat->target, err);
    if (seat->conn == NULL)
        return false;
    seat->opened++;
    __atomic_add_fetch(&seat->store->seats_open, 1, __ATOMIC_RELAXED);
    return true;
}

bool pg_seat_take(struct pg_seat *seat, struct err *err)
{
    if (seat->store->has_seats)
        return take_own(seat, err);
    if (seat->conn == NULL)
        seat->conn = pg_pool_acquire(seat->store->pool, seat->who, err);
    return seat->conn != NULL;
}

void pg_seat_rest(struct pg_seat *seat)
{
    if (seat->conn == NULL)
        return;
    if (seat->store->has_seats) {
        pg_rollback(seat->conn);
        pg_clear(seat->conn);
        seat->rested_ms = clock_ms();
        return;
    }
    pg_pool_release(seat->store->pool, seat->conn);
    seat->conn = NULL;
}

/* ---- identifiers ---- */

void pg_quote(struct buf *out, struct str name)
{
    buf_char(out, '"');
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '"')
            buf_char(out, '"');
        buf_char(out, name.ptr[i]);
    }
    buf_char(out, '"');
}

void pg_table_name(char name[PG_NAME_SIZE], struct str table,
                   uint32_t generation)
{
    int len = snprintf(name, PG_NAME_SIZE, "%.*s__%" PRIu32, STR_ARG(table),
                       generation);

    CHECK(len > 0 && len < PG_NAME_SIZE);
}

void pg_quote_table(struct buf *out, const char *schema, struct str table,
                    uint32_t generation)
{
    char name[PG_NAME_SIZE];

    if (generation > 0) {
        pg_table_name(name, table, generation);
        table = str_of(name);
    }
    pg_quote(out, str_of(schema));
    buf_char(out, '.');
    pg_quote(out, table);
}

void pg_quote_columns(struct buf *out, const struct table_def *table,
                      const char *alias)
{
    for (size_t i = 0; i < table->column_count; i++) {
        const struct column_def *column = &table->columns[i];

        if (i > 0)
            buf_text(out, ", ");
        if (alias != NULL)
            buf_printf(out, "%s.", alias);
        pg_quote(out, column->name);
        if (alias != NULL && column->kind == VALUE_NUMERIC)
            buf_text(out, "::text");
    }
}
