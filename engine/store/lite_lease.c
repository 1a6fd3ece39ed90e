#include "store/lite_store.h"

#include "base/clock.h"
#include "base/mem.h"

#include <poll.h>

/*
 * Checkpoints, who owns them and until when.  The store's clock is the wall
 * clock of this process: there is one engine, and a lease that it took from
 * itself (two subscriptions of one name) must still expire.
 */

#define CHECKPOINT_COLUMNS                                                     \
    "subscription, generation, partition, partitions, position, epoch, owner," \
    " expires_at, events_processed, updated_at"

void lite_bind_slice(sqlite3_stmt *stmt, int at, const struct slice *slice)
{
    lite_bind_str(stmt, at, slice->subscription);
    lite_bind_u64(stmt, at + 1, slice->generation);
    lite_bind_u64(stmt, at + 2, slice->partition);
    lite_bind_u64(stmt, at + 3, slice->partitions);
}

/* The subscription's text lives until the statement is stepped or ended. */
static struct checkpoint read_checkpoint(sqlite3_stmt *stmt, int64_t now_us)
{
    bool is_owned = sqlite3_column_type(stmt, 6) != SQLITE_NULL;

    return (struct checkpoint){
        .slice =
            {
                .subscription = lite_column_str(stmt, 0),
                .generation = (uint32_t)lite_column_u64(stmt, 1),
                .partition = (uint32_t)lite_column_u64(stmt, 2),
                .partitions = (uint32_t)lite_column_u64(stmt, 3),
            },
        .position = lite_column_u64(stmt, 4),
        .epoch = lite_column_u64(stmt, 5),
        .owner = lite_column_uuid(stmt, 6),
        .expired = is_owned && sqlite3_column_int64(stmt, 7) <= now_us,
        .events_processed = lite_column_u64(stmt, 8),
        .updated_at_us = sqlite3_column_int64(stmt, 9),
    };
}

/* ---- taking ---- */

/* Why there is no such checkpoint. */
static bool fail_missing(struct lite_conn *conn, const struct slice *slice,
                         struct err *err)
{
    AUTO_STMT stmt = lite_prepare(conn,
                                  "select partitions from perigee_checkpoints"
                                  " where subscription = ?1 and generation = ?2"
                                  " limit 1",
                                  err);
    enum lite_row row;

    if (stmt == NULL)
        return false;
    lite_bind_str(stmt, 1, slice->subscription);
    lite_bind_u64(stmt, 2, slice->generation);
    row = lite_step(conn, stmt, err);
    if (row == LITE_FAILED)
        return false;
    if (row == LITE_ROW && lite_column_u64(stmt, 0) != slice->partitions)
        return err_set(err, ERR_CONFLICT,
                       "%.*s is laid out in %u partitions, not in %u",
                       STR_ARG(slice->subscription),
                       (uint32_t)lite_column_u64(stmt, 0), slice->partitions);
    return err_set(err, ERR_NOT_FOUND, "%.*s has no checkpoint",
                   STR_ARG(slice->subscription));
}

static bool find_checkpoint(struct lite_conn *conn, const struct slice *slice,
                            int64_t now_us, struct checkpoint *out,
                            struct err *err)
{
    AUTO_STMT stmt =
        lite_prepare(conn,
                     "select " CHECKPOINT_COLUMNS "  from perigee_checkpoints"
                     " where subscription = ?1 and generation = ?2"
                     "   and partition = ?3 and partitions = ?4",
                     err);
    enum lite_row row;

    if (stmt == NULL)
        return false;
    lite_bind_slice(stmt, 1, slice);
    row = lite_step(conn, stmt, err);
    if (row == LITE_END)
        return fail_missing(conn, slice, err);
    if (row == LITE_FAILED)
        return false;
    *out = read_checkpoint(stmt, now_us);
    out->slice = *slice;
    return true;
}

static bool may_take(const struct checkpoint *found, struct uuid owner)
{
    return uuid_is_nil(found->owner) || found->expired ||
           uuid_eq(found->owner, owner);
}

static bool update_owner(struct lite_conn *conn, const struct checkpoint *taken,
                         int64_t expires_us, struct err *err)
{
    AUTO_STMT stmt =
        lite_prepare(conn,
                     "update perigee_checkpoints"
                     "   set epoch = ?5, owner = ?6, expires_at = ?7"
                     " where subscription = ?1 and generation = ?2"
                     "   and partition = ?3 and partitions = ?4",
                     err);

    if (stmt == NULL)
        return false;
    lite_bind_slice(stmt, 1, &taken->slice);
    lite_bind_u64(stmt, 5, taken->epoch);
    lite_bind_uuid(stmt, 6, &taken->owner);
    lite_bind_i64(stmt, 7, expires_us);
    return lite_run(conn, stmt, err);
}

static enum lease_end take_lease(struct lite_conn *conn,
                                 const struct slice *slice, struct uuid owner,
                                 uint32_t ttl_ms, struct checkpoint *out,
                                 struct err *err)
{
    int64_t now_us = clock_wall_us();

    if (!find_checkpoint(conn, slice, now_us, out, err))
        return LEASE_FAILED;
    if (!may_take(out, owner))
        return LEASE_REFUSED;
    out->epoch++;
    out->owner = owner;
    out->expired = false;
    return update_owner(conn, out, now_us + (int64_t)ttl_ms * 1000, err)
               ? LEASE_TAKEN
               : LEASE_FAILED;
}

enum lease_end lite_lease_take(struct store *store, const struct slice *slice,
                               struct uuid owner, uint32_t ttl_ms,
                               struct checkpoint *out, struct err *err)
{
    struct lite_conn *conn = lite_write_begin(store, err);
    struct checkpoint found;
    enum lease_end end;

    if (conn == NULL)
        return LEASE_FAILED;
    end = take_lease(conn, slice, owner, ttl_ms, &found, err);
    if (end == LEASE_TAKEN) {
        if (!lite_write_end(store, conn, LITE_KEEP, err))
            return LEASE_FAILED;
    } else {
        lite_write_drop(store, conn);
    }
    if (end != LEASE_FAILED)
        *out = found;
    return end;
}

/* ---- giving back ---- */

static bool release_of(struct lite_conn *conn, const struct uuid *owner,
                       struct err *err)
{
    AUTO_STMT stmt = lite_prepare(conn,
                                  "update perigee_checkpoints"
                                  "   set owner = null, expires_at = null"
                                  " where owner = ?1",
                                  err);

    if (stmt == NULL)
        return false;
    lite_bind_uuid(stmt, 1, owner);
    return lite_run(conn, stmt, err);
}

bool lite_lease_release(struct store *store, struct uuid owner, struct err *err)
{
    struct lite_conn *conn = lite_write_begin(store, err);

    if (conn == NULL)
        return false;
    if (release_of(conn, &owner, err))
        return lite_write_end(store, conn, LITE_KEEP, err);
    lite_write_drop(store, conn);
    return false;
}

/* A file without a schema has no leases. */
static bool release_all(struct lite_conn *conn, struct err *err)
{
    bool exists;

    if (!lite_has_object(conn, "perigee_checkpoints", &exists, err))
        return false;
    return !exists || lite_exec(conn,
                                "update perigee_checkpoints"
                                "   set owner = null, expires_at = null"
                                " where owner is not null",
                                err);
}

bool lite_lease_release_all(struct store *store, struct err *err)
{
    struct lite_conn *conn = lite_write_begin(store, err);

    if (conn == NULL)
        return false;
    if (release_all(conn, err))
        return lite_write_end(store, conn, LITE_KEEP, err);
    lite_write_drop(store, conn);
    return false;
}

/* ---- listing ---- */

struct checkpoints {
    struct checkpoint *rows;
    size_t count;
};

static bool collect(struct lite_conn *conn, sqlite3_stmt *stmt, int64_t now_us,
                    struct arena *arena, struct checkpoints *out,
                    struct err *err)
{
    enum lite_row row;

    while ((row = lite_step(conn, stmt, err)) == LITE_ROW) {
        struct checkpoint found = read_checkpoint(stmt, now_us);

        found.slice.subscription = arena_str(arena, found.slice.subscription);
        out->rows = lite_room(arena, out->rows, out->count, sizeof(*out->rows));
        out->rows[out->count++] = found;
    }
    return row != LITE_FAILED;
}

static bool select_all(struct lite_conn *conn, struct arena *arena,
                       struct checkpoints *out, struct err *err)
{
    AUTO_STMT stmt = lite_prepare(
        conn,
        "select " CHECKPOINT_COLUMNS "  from perigee_checkpoints"
        " order by subscription, generation, partitions, partition",
        err);

    return stmt != NULL &&
           collect(conn, stmt, clock_wall_us(), arena, out, err);
}

bool lite_list_checkpoints(struct store *store, struct arena *arena,
                           struct checkpoint **rows_out, size_t *count_out,
                           struct err *err)
{
    struct lite_conn *conn = lite_read_begin(store, err);
    struct checkpoints all = {0};
    bool good;

    if (conn == NULL)
        return false;
    good = select_all(conn, arena, &all, err);
    lite_read_end(store, conn);
    if (good) {
        *rows_out = all.rows;
        *count_out = all.count;
    }
    return good;
}

/* ---- the keeper ---- */

struct store_keeper *lite_keeper_open(struct store *store, struct err *err)
{
    struct store_keeper *keeper = NEW(struct store_keeper);

    (void)err;
    keeper->store = store;
    return keeper;
}

void lite_keeper_close(struct store_keeper *keeper)
{
    mem_free(keeper);
}

static bool renew(struct lite_conn *conn, const struct uuid *owner,
                  uint32_t ttl_ms, struct arena *arena, struct checkpoints *out,
                  struct err *err)
{
    AUTO_STMT stmt = lite_prepare(conn,
                                  "update perigee_checkpoints"
                                  "   set expires_at = ?2 where owner = ?1"
                                  " returning " CHECKPOINT_COLUMNS,
                                  err);
    int64_t now_us = clock_wall_us();

    if (stmt == NULL)
        return false;
    lite_bind_uuid(stmt, 1, owner);
    lite_bind_i64(stmt, 2, now_us + (int64_t)ttl_ms * 1000);
    return collect(conn, stmt, now_us, arena, out, err);
}

static bool beat(struct lite_conn *conn, const struct uuid *owner,
                 uint32_t ttl_ms, struct arena *arena, struct beat *out,
                 struct err *err)
{
    struct checkpoints held = {0};
    struct log_place head;

    if (!renew(conn, owner, ttl_ms, arena, &held, err) ||
        !lite_select_head(conn, &head, err) ||
        !lite_select_log_id(conn, &out->log_id, err))
        return false;
    out->head = head.position;
    out->held = held.rows;
    out->held_count = held.count;
    return true;
}

/* With nothing to renew nothing is written, so an idle engine does not touch
 * the disk.  Late loans are looked for first: one may hold the turn. */
bool lite_keeper_beat(struct store_keeper *keeper, struct uuid owner,
                      uint32_t ttl_ms, struct arena *arena, struct beat *out,
                      struct err *err)
{
    struct lite_conn *conn;
    struct beat told = {0};

    lite_watch_loans(keeper->store);
    conn = lite_write_begin(keeper->store, err);
    if (conn == NULL)
        return false;
    if (!beat(conn, &owner, ttl_ms, arena, &told, err)) {
        lite_write_drop(keeper->store, conn);
        return false;
    }
    if (!lite_write_end(keeper->store, conn, LITE_KEEP, err))
        return false;
    *out = told;
    return true;
}

/* There are no notices: whoever appends is this process, and wakes by itself.
 */
bool lite_keeper_wait(struct store_keeper *keeper UNUSED, int wake_fd,
                      uint32_t timeout_ms, uint64_t *head_out UNUSED)
{
    struct pollfd wake = {.fd = wake_fd, .events = POLLIN};

    poll(&wake, 1, (int)MIN(timeout_ms, INT32_MAX));
    return false;
}
