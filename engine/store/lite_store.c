#include "store/lite_store.h"

#include "base/mem.h"
#include "store/lite_claim.h"
#include "store/lite_wal.h"

#include <errno.h>
#include <sys/stat.h>

/*
 * Life of a SQLite store: opened with its folder, its file and the connection
 * that writes; every operation borrows a connection, here, and gives it back;
 * a claim is held from `serve` to the end; closed when all was given back.
 */

/* ---- loans ---- */

struct lite_conn *lite_read_borrow(struct store *store, const char *who,
                                   struct err *err)
{
    struct lite_store *lite = lite_of(store);

    if (!lite_file_check(lite->path, &lite->file, err))
        return NULL;
    return lite_pool_acquire(&lite->readers, who, lite->wait_ms, err);
}

void lite_read_end(struct store *store, struct lite_conn *conn)
{
    lite_pool_release(&lite_of(store)->readers, conn);
}

/* What stands in the WAL belongs to the file that went away, and would be taken
 * for the other's by whoever opens that: it is put where it belongs. */
static void save_what_was_written(struct lite_store *lite, const char *who)
{
    struct err ignored = {0};
    struct lite_conn *conn;

    if (lite_pool_open(&lite->writer) == 0)
        return;
    conn = lite_pool_acquire(&lite->writer, who, lite->wait_ms, &ignored);
    if (conn == NULL)
        return;
    if (!lite_wal_empty(conn))
        log_debug("store", "the write-ahead log could not be emptied");
    lite_pool_release(&lite->writer, conn);
}

/* Takes the turn back and closes all connections, so that the next ones find a
 * WAL with a name.  Commits are in the file before that. */
static void open_anew(struct lite_store *lite, struct lite_conn *conn)
{
    if (!lite_pool_shut(&lite->readers) || !lite_wal_empty(conn)) {
        lite_pool_release(&lite->writer, conn);
        return;
    }
    lite_pool_discard(&lite->writer, conn);
    lite_pool_reopen(&lite->readers);
}

static struct lite_conn *begin_turn(struct lite_store *lite,
                                    struct lite_conn *conn, struct err *err)
{
    if (!lite_begin_write(conn, err)) {
        lite_pool_release(&lite->writer, conn);
        return NULL;
    }
    if (lite_wal_is_there(conn))
        return conn;
    err_set(err, ERR_STORE,
            "%s: the write-ahead log beside it was deleted; the database is "
            "opened anew",
            lite->path);
    lite_rollback(conn);
    open_anew(lite, conn);
    return NULL;
}

struct lite_conn *lite_write_borrow(struct store *store, const char *who,
                                    struct err *err)
{
    struct lite_store *lite = lite_of(store);
    struct lite_conn *conn;

    if (!lite_file_check(lite->path, &lite->file, err)) {
        save_what_was_written(lite, who);
        return NULL;
    }
    conn = lite_pool_acquire(&lite->writer, who, lite->wait_ms, err);
    return conn != NULL ? begin_turn(lite, conn, err) : NULL;
}

/* The WAL is looked after here, where nobody else of this process can write
 * and the caller's transaction is safe already. */
bool lite_write_end(struct store *store, struct lite_conn *conn,
                    enum lite_keep keep, struct err *err)
{
    struct lite_store *lite = lite_of(store);
    bool kept = keep == LITE_KEEP &&
                lite_file_check(lite->path, &lite->file, err) &&
                lite_commit(conn, err);

    if (kept)
        lite_wal_tend(conn);
    else
        lite_rollback(conn);
    lite_pool_release(&lite->writer, conn);
    return kept;
}

void lite_write_drop(struct store *store, struct lite_conn *conn)
{
    lite_rollback(conn);
    lite_pool_release(&lite_of(store)->writer, conn);
}

void lite_watch_loans(struct store *store)
{
    lite_pool_watch(&lite_of(store)->readers);
    lite_pool_watch(&lite_of(store)->writer);
}

#define FIRST_ROOM 16

/* What is outgrown stays in the arena, so room is made whenever the count is a
 * power of two from the first one on. */
void *lite_room(struct arena *arena, void *items, size_t count, size_t size)
{
    void *more;

    if (count > 0 && (count < FIRST_ROOM || (count & (count - 1)) != 0))
        return items;
    more = arena_alloc(arena, MAX(count * 2, FIRST_ROOM) * size);
    if (count > 0)
        memcpy(more, items, count * size);
    return more;
}

/* ---- life ---- */

/* `mkdir -p` of everything before the last slash. */
static bool make_folder(const char *path, struct err *err)
{
    char *folder = mem_strdup(path);
    bool good = true;

    for (char *at = strchr(folder + 1, '/'); good && at != NULL;
         at = strchr(at + 1, '/')) {
        *at = '\0';
        good = mkdir(folder, 0777) == 0 || errno == EEXIST;
        if (!good)
            err_set(err, ERR_STORE, "cannot make the folder %s: %s", folder,
                    strerror(errno));
        *at = '/';
    }
    mem_free(folder);
    return good;
}

char *lite_plain_path(const char *path)
{
    struct buf plain = {0};

    if (path[0] != '/' && path[0] != '.')
        buf_text(&plain, "./");
    buf_text(&plain, path);
    return buf_take(&plain);
}

/* Creates the file and turns it to WAL before the first reader comes. */
static bool open_file(struct lite_store *lite, struct err *err)
{
    struct lite_conn *conn;

    if (!make_folder(lite->path, err))
        return false;
    conn = lite_pool_acquire(&lite->writer, __func__, lite->wait_ms, err);
    if (conn == NULL)
        return false;
    lite_pool_release(&lite->writer, conn);
    return lite_file_look(lite->path, &lite->file, err);
}

static void lite_close(struct store *store)
{
    struct lite_store *lite = lite_of(store);
    struct err moved = {0};

    if (lite->file.inode != 0 &&
        !lite_file_check(lite->path, &lite->file, &moved))
        save_what_was_written(lite, __func__);
    lite_pool_done(&lite->readers);
    lite_pool_done(&lite->writer);
    lite_claim_give(lite->claim);
    mem_free(lite->path);
    mem_free(lite);
}

/* To wait for the turn to write is usual, for a reader it is not. */
static void lite_pool_status_of(struct store *store, struct pool_status *out)
{
    struct lite_store *lite = lite_of(store);

    *out = (struct pool_status){0};
    lite_pool_add_status(&lite->writer, out);
    out->waiting = 0;
    lite_pool_add_status(&lite->readers, out);
}

static bool lite_server_limits(struct store *store, struct server_limits *out,
                               struct err *err)
{
    (void)store;
    (void)err;
    *out = (struct server_limits){0};
    return true;
}

/* Whoever held leases before is dead, or it would have the claim. */
static bool lite_claim_store(struct store *store, const char *address,
                             struct err *err)
{
    struct lite_store *lite = lite_of(store);
    struct lite_claim *claim = lite_claim_take(lite->path, address, err);

    if (claim == NULL)
        return false;
    if (!lite_lease_release_all(store, err)) {
        lite_claim_give(claim);
        return false;
    }
    lite->claim = claim;
    return true;
}

/* There is no door for SQL to keep to the list. */
static bool lite_declare_types(struct store *store UNUSED,
                               const struct declared_type *types UNUSED,
                               size_t count UNUSED, struct err *err UNUSED)
{
    return true;
}

static const struct store_ops lite_ops = {
    .kind = STORE_SQLITE,
    .close = lite_close,
    .pool_status = lite_pool_status_of,
    .server_limits = lite_server_limits,
    .migrate = lite_migrate,
    .check_schema = lite_check_schema,
    .log_id = lite_log_id,
    .log_renew = lite_log_renew,
    .claim = lite_claim_store,
    .writer_open = lite_writer_open,
    .writer_close = lite_writer_close,
    .append_begin = lite_append_begin,
    .append_lookup = lite_append_lookup,
    .append_commit = lite_append_commit,
    .append_abort = lite_append_abort,
    .append_guarded = NULL, /* within a process begin costs no round trip */
    .request_find = lite_request_find,
    .request_forget = lite_request_forget,
    .snapshot_find = lite_snapshot_find,
    .snapshot_save = lite_snapshot_save,
    .snapshot_sample = lite_snapshot_sample,
    .declare_types = lite_declare_types,
    .head = lite_head,
    .read_after = lite_read_after,
    .read_stream = lite_read_stream,
    .list_streams = lite_list_streams,
    .lease_take = lite_lease_take,
    .lease_release = lite_lease_release,
    .list_checkpoints = lite_list_checkpoints,
    .keeper_open = lite_keeper_open,
    .keeper_close = lite_keeper_close,
    .keeper_beat = lite_keeper_beat,
    .keeper_wait = lite_keeper_wait,
    .projection_find = lite_projection_find,
    .projection_install = lite_projection_install,
    .projection_note = lite_projection_note,
    .commit_batch = lite_commit_batch,
    .commit_settle = lite_commit_settle,
    .rows_get = lite_rows_get,
    .rows_list = lite_rows_list,
};

struct store *lite_store_open(const struct store_options *options,
                              const char *path, struct err *err)
{
    struct lite_store *lite = NEW(struct lite_store);

    lite->base.ops = &lite_ops;
    lite->path = lite_plain_path(path);
    lite->wait_ms = options->pool_timeout_ms;
    lite->options = (struct lite_options){
        .path = lite->path,
        .busy_ms = options->statement_timeout_ms,
        .statement_ms = options->statement_timeout_ms,
        .held_ms = options->pool_timeout_ms,
    };
    lite_pool_init(&lite->writer, &lite->options, LITE_WRITES, 1);
    lite_pool_init(&lite->readers, &lite->options, LITE_READS,
                   MAX(options->pool_size, 2) - 1);
    if (open_file(lite, err))
        return &lite->base;
    lite_close(&lite->base);
    return NULL;
}
