#include "store/store.h"

#include "store/store_ops.h"

/* The scheme of the URL alone says which store it is. */

#define SQLITE_SCHEME STR("sqlite:")

static bool is_postgres(struct str url)
{
    return str_starts(url, STR("postgresql://")) ||
           str_starts(url, STR("postgres://"));
}

const char *store_sqlite_path(const char *url)
{
    const char *path;

    if (!str_starts(str_of(url), SQLITE_SCHEME))
        return NULL;
    path = url + SQLITE_SCHEME.len;
    if (*path == '\0' || str_starts(str_of(path), STR("//")))
        return NULL;
    return path;
}

/* Never shows the URL: a mistyped one may still hold a password. */
struct store *store_open(const struct store_options *options, struct err *err)
{
    const char *path = store_sqlite_path(options->url);

    if (path != NULL)
        return lite_store_open(options, path, err);
    if (is_postgres(str_of(options->url)))
        return pg_store_open(options, err);
    err_set(err, ERR_CONFIG,
            "the database URL must be sqlite:PATH, postgresql://… or "
            "postgres://…");
    return NULL;
}

bool store_find_server(const char *url, char *address, size_t size)
{
    const char *path = store_sqlite_path(url);

    return path != NULL && lite_find_server(path, address, size);
}

void store_close(struct store *store)
{
    if (store != NULL)
        store->ops->close(store);
}

enum store_kind store_kind(const struct store *store)
{
    return store->ops->kind;
}

const char *store_kind_name(const struct store *store)
{
    return store->ops->kind == STORE_SQLITE ? "sqlite" : "postgresql";
}

bool store_server_limits(struct store *store, struct server_limits *out,
                         struct err *err)
{
    return store->ops->server_limits(store, out, err);
}

void store_pool_status(struct store *store, struct pool_status *out)
{
    store->ops->pool_status(store, out);
}

bool store_migrate(struct store *store, uint32_t *steps_out, struct err *err)
{
    return store->ops->migrate(store, steps_out, err);
}

bool store_check_schema(struct store *store, struct err *err)
{
    return store->ops->check_schema(store, err);
}

bool store_log_id(struct store *store, struct uuid *out, struct err *err)
{
    return store->ops->log_id(store, out, err);
}

bool store_log_renew(struct store *store, struct err *err)
{
    return store->ops->log_renew(store, err);
}

bool store_claim(struct store *store, const char *address, struct err *err)
{
    return store->ops->claim(store, address, err);
}

struct store_writer *store_writer_open(struct store *store, struct err *err)
{
    return store->ops->writer_open(store, err);
}

void store_writer_close(struct store_writer *writer)
{
    if (writer != NULL)
        writer->store->ops->writer_close(writer);
}

bool store_append_begin(struct store_writer *writer, struct log_place known,
                        struct arena *arena, struct append_delta *out,
                        struct err *err)
{
    return writer->store->ops->append_begin(writer, known, arena, out, err);
}

bool store_append_lookup(struct store_writer *writer,
                         struct append_lookup *lookup, struct err *err)
{
    return writer->store->ops->append_lookup(writer, lookup, err);
}

enum append_end store_append_commit(struct store_writer *writer,
                                    const struct append_batch *batch,
                                    struct err *err)
{
    return writer->store->ops->append_commit(writer, batch, err);
}

void store_append_abort(struct store_writer *writer)
{
    writer->store->ops->append_abort(writer);
}

bool store_append_may_guess(const struct store_writer *writer)
{
    return writer->store->ops->append_guarded != NULL;
}

enum append_end store_append_guarded(struct store_writer *writer,
                                     struct log_place known,
                                     const struct append_batch *batch,
                                     int64_t *recorded_at_us, struct err *err)
{
    return writer->store->ops->append_guarded(writer, known, batch,
                                              recorded_at_us, err);
}

bool store_request_find(struct store *store, struct request_ask *ask,
                        struct arena *arena, struct err *err)
{
    return store->ops->request_find(store, ask, arena, err);
}

bool store_request_forget(struct store *store, struct err *err)
{
    return store->ops->request_forget(store, err);
}

bool store_snapshot_find(struct store *store, struct str aggregate_type,
                         struct str aggregate_id, struct str shape,
                         uint64_t at_most, struct arena *arena,
                         struct snapshot *out, bool *found_out, struct err *err)
{
    return store->ops->snapshot_find(store, aggregate_type, aggregate_id, shape,
                                     at_most, arena, out, found_out, err);
}

bool store_snapshot_save(struct store *store, const struct snapshot *snapshots,
                         size_t count, struct err *err)
{
    return store->ops->snapshot_save(store, snapshots, count, err);
}

bool store_snapshot_sample(struct store *store, struct str aggregate_type,
                           struct str shape, struct str script_hash,
                           uint32_t limit, struct arena *arena,
                           struct snapshot **out, size_t *count_out,
                           struct err *err)
{
    return store->ops->snapshot_sample(store, aggregate_type, shape,
                                       script_hash, limit, arena, out,
                                       count_out, err);
}

bool store_declare_types(struct store *store, const struct declared_type *types,
                         size_t count, struct err *err)
{
    return store->ops->declare_types(store, types, count, err);
}

bool store_head(struct store *store, uint64_t *out, struct err *err)
{
    return store->ops->head(store, out, err);
}

bool store_read_after(struct store *store, uint64_t after, uint32_t limit,
                      const struct event_filter *filter,
                      struct event_page **out, struct err *err)
{
    return store->ops->read_after(store, after, limit, filter, out, err);
}

bool store_read_stream(struct store *store, struct str aggregate_type,
                       struct str aggregate_id, uint64_t from_version,
                       uint32_t limit, enum read_direction direction,
                       struct event_page **out, struct err *err)
{
    return store->ops->read_stream(store, aggregate_type, aggregate_id,
                                   from_version, limit, direction, out, err);
}

bool store_list_streams(struct store *store, struct str aggregate_type,
                        uint64_t after, uint32_t limit, struct arena *arena,
                        struct stream_row **rows_out, size_t *count_out,
                        struct err *err)
{
    return store->ops->list_streams(store, aggregate_type, after, limit, arena,
                                    rows_out, count_out, err);
}

enum lease_end store_lease_take(struct store *store, const struct slice *slice,
                                struct uuid owner, uint32_t ttl_ms,
                                struct checkpoint *out, struct err *err)
{
    return store->ops->lease_take(store, slice, owner, ttl_ms, out, err);
}

bool store_lease_release(struct store *store, struct uuid owner,
                         struct err *err)
{
    return store->ops->lease_release(store, owner, err);
}

bool store_list_checkpoints(struct store *store, struct arena *arena,
                            struct checkpoint **rows_out, size_t *count_out,
                            struct err *err)
{
    return store->ops->list_checkpoints(store, arena, rows_out, count_out, err);
}

struct store_keeper *store_keeper_open(struct store *store, struct err *err)
{
    return store->ops->keeper_open(store, err);
}

void store_keeper_close(struct store_keeper *keeper)
{
    if (keeper != NULL)
        keeper->store->ops->keeper_close(keeper);
}

bool store_keeper_beat(struct store_keeper *keeper, struct uuid owner,
                       uint32_t ttl_ms, struct arena *arena, struct beat *out,
                       struct err *err)
{
    return keeper->store->ops->keeper_beat(keeper, owner, ttl_ms, arena, out,
                                           err);
}

bool store_keeper_wait(struct store_keeper *keeper, int wake_fd,
                       uint32_t timeout_ms, uint64_t *head_out)
{
    return keeper->store->ops->keeper_wait(keeper, wake_fd, timeout_ms,
                                           head_out);
}

bool store_projection_find(struct store *store, struct str name,
                           struct arena *arena, struct projection_def *out,
                           struct err *err)
{
    return store->ops->projection_find(store, name, arena, out, err);
}

bool store_projection_install(struct store *store,
                              const struct projection_def *def,
                              uint64_t position, struct err *err)
{
    return store->ops->projection_install(store, def, position, err);
}

bool store_projection_note(struct store *store,
                           const struct projection_def *def, struct err *err)
{
    return store->ops->projection_note(store, def, err);
}

enum commit_end store_commit_batch(struct store *store,
                                   const struct batch_commit *batch,
                                   struct err *err)
{
    return store->ops->commit_batch(store, batch, err);
}

enum commit_end store_commit_settle(struct store *store,
                                    const struct batch_commit *batch,
                                    struct err *err)
{
    return store->ops->commit_settle(store, batch, err);
}

bool store_rows_get(struct store *store, const struct table_def *table,
                    uint32_t generation, const struct value *keys, size_t count,
                    struct arena *arena, struct row **rows_out, struct err *err)
{
    return store->ops->rows_get(store, table, generation, keys, count, arena,
                                rows_out, err);
}

bool store_rows_list(struct store *store, const struct row_query *query,
                     struct arena *arena, struct row **rows_out,
                     size_t *count_out, struct err *err)
{
    return store->ops->rows_list(store, query, arena, rows_out, count_out, err);
}
