#include "store/lite_store.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>

/*
 * Life of an append: begin takes the writer's turn and SQLite's write lock and
 * keeps both until commit or abort, so what the delta told stays true; lookup
 * and commit use the same connection.  Rows are bound straight from the
 * caller's events, nothing is copied.
 *
 * The delta matters even though one engine serves a file: a command that finds
 * no engine writes by itself, and the file can be replaced by a copy.
 */

struct lite_writer {
    struct store_writer base;
    struct lite_conn *conn; /* borrowed from the pool between begin and end */
    uint64_t head;          /* of that transaction */
};

static struct lite_writer *writer_of(struct store_writer *writer)
{
    return CONTAINER_OF(writer, struct lite_writer, base);
}

struct store_writer *lite_writer_open(struct store *store, struct err *err)
{
    struct lite_writer *writer = NEW(struct lite_writer);

    (void)err;
    writer->base.store = store;
    return &writer->base;
}

void lite_writer_close(struct store_writer *writer)
{
    lite_append_abort(writer);
    mem_free(writer_of(writer));
}

/* ---- begin: the delta ---- */

static bool read_place(struct lite_conn *conn, sqlite3_stmt *stmt,
                       struct log_place *out, struct err *err)
{
    enum lite_row row = lite_step(conn, stmt, err);

    *out = (struct log_place){0};
    if (row == LITE_ROW) {
        out->position = lite_column_u64(stmt, 0);
        out->event_id = lite_column_uuid(stmt, 1);
    }
    return row != LITE_FAILED;
}

bool lite_select_head(struct lite_conn *conn, struct log_place *out,
                      struct err *err)
{
    AUTO_STMT stmt = lite_prepare(conn,
                                  "select position, event_id"
                                  "  from perigee_events"
                                  " order by position desc limit 1",
                                  err);

    return stmt != NULL && read_place(conn, stmt, out, err);
}

static bool select_place(struct lite_conn *conn, uint64_t position,
                         struct log_place *out, struct err *err)
{
    AUTO_STMT stmt = lite_prepare(conn,
                                  "select position, event_id"
                                  "  from perigee_events where position = ?1",
                                  err);

    if (stmt == NULL)
        return false;
    lite_bind_u64(stmt, 1, position);
    return read_place(conn, stmt, out, err);
}

static bool is_same_place(struct log_place a, struct log_place b)
{
    return a.position == b.position && uuid_eq(a.event_id, b.event_id);
}

static void read_moved(sqlite3_stmt *stmt, struct arena *arena,
                       struct append_moved *out)
{
    *out = (struct append_moved){
        .position = lite_column_u64(stmt, 0),
        .stream_id = lite_column_u64(stmt, 1),
        .aggregate_type = arena_str(arena, lite_column_str(stmt, 2)),
        .aggregate_id = arena_str(arena, lite_column_str(stmt, 3)),
        .aggregate_version = lite_column_u64(stmt, 4),
        .event_id = lite_column_uuid(stmt, 5),
    };
}

static bool select_moved(struct lite_conn *conn, uint64_t known,
                         struct arena *arena, struct append_delta *delta,
                         struct err *err)
{
    AUTO_STMT stmt =
        lite_prepare(conn,
                     "select position, stream_id, aggregate_type,"
                     "       aggregate_id, aggregate_version, event_id"
                     "  from perigee_events where position > ?1"
                     " order by position",
                     err);
    enum lite_row row;

    if (stmt == NULL)
        return false;
    delta->moved = ARENA_ARRAY(arena, struct append_moved, APPEND_DELTA_MAX);
    lite_bind_u64(stmt, 1, known);
    while ((row = lite_step(conn, stmt, err)) == LITE_ROW) {
        CHECK(delta->count < APPEND_DELTA_MAX);
        read_moved(stmt, arena, &delta->moved[delta->count++]);
    }
    return row != LITE_FAILED;
}

/* Whether what was known is the log's past, or its end. */
static bool is_past(struct lite_conn *conn, struct log_place known, bool *out,
                    struct err *err)
{
    struct log_place there = {0};

    if (known.position > 0 && !select_place(conn, known.position, &there, err))
        return false;
    *out = is_same_place(there, known);
    return true;
}

static bool read_moves(struct lite_conn *conn, struct log_place known,
                       struct arena *arena, struct append_delta *delta,
                       struct err *err)
{
    bool past;

    if (!is_past(conn, known, &past, err))
        return false;
    delta->lost = !past;
    delta->cut =
        !past || delta->head.position - known.position > APPEND_DELTA_MAX;
    return delta->cut || select_moved(conn, known.position, arena, delta, err);
}

static bool read_delta(struct lite_conn *conn, struct log_place known,
                       struct arena *arena, struct append_delta *out,
                       struct err *err)
{
    struct append_delta delta = {.now_us = clock_wall_us()};

    if (!lite_select_head(conn, &delta.head, err) ||
        (!is_same_place(delta.head, known) &&
         !read_moves(conn, known, arena, &delta, err)))
        return false;
    *out = delta;
    return true;
}

bool lite_append_begin(struct store_writer *base, struct log_place known,
                       struct arena *arena, struct append_delta *out,
                       struct err *err)
{
    struct lite_writer *writer = writer_of(base);

    CHECK(writer->conn == NULL);
    writer->conn = lite_write_begin(base->store, err);
    if (writer->conn == NULL)
        return false;
    if (read_delta(writer->conn, known, arena, out, err)) {
        writer->head = out->head.position;
        return true;
    }
    lite_append_abort(base);
    return false;
}

void lite_append_abort(struct store_writer *base)
{
    struct lite_writer *writer = writer_of(base);

    if (writer->conn == NULL)
        return;
    lite_write_drop(base->store, writer->conn);
    writer->conn = NULL;
}

/* ---- lookup ---- */

static bool lookup_stream(struct lite_conn *conn, sqlite3_stmt *stmt,
                          struct append_stream *stream, struct err *err)
{
    enum lite_row row;

    lite_bind_str(stmt, 1, stream->aggregate_type);
    lite_bind_str(stmt, 2, stream->aggregate_id);
    row = lite_step(conn, stmt, err);
    stream->stream_id = row == LITE_ROW ? lite_column_u64(stmt, 0) : 0;
    stream->version = row == LITE_ROW ? lite_column_u64(stmt, 1) : 0;
    stream->last_id =
        row == LITE_ROW ? lite_column_uuid(stmt, 2) : (struct uuid){{0}};
    sqlite3_reset(stmt);
    return row != LITE_FAILED;
}

static bool lookup_streams(struct lite_conn *conn, struct append_lookup *lookup,
                           struct err *err)
{
    AUTO_STMT stmt = lite_prepare(
        conn,
        "select s.id, e.aggregate_version, e.event_id"
        "  from perigee_streams s join perigee_events e"
        "    on e.stream_id = s.id and e.aggregate_version ="
        "       (select max(l.aggregate_version) from perigee_events l"
        "         where l.stream_id = s.id)"
        " where s.type = ?1 and s.key = ?2",
        err);
    bool good = stmt != NULL;

    for (size_t i = 0; good && i < lookup->stream_count; i++)
        good = lookup_stream(conn, stmt, &lookup->streams[i], err);
    return good;
}

struct positions {
    uint64_t *at;
    size_t count;
};

static bool find_position(struct lite_conn *conn, sqlite3_stmt *stmt,
                          const struct uuid *id, struct positions *found,
                          struct err *err)
{
    enum lite_row row;

    lite_bind_uuid(stmt, 1, id);
    row = lite_step(conn, stmt, err);
    if (row == LITE_ROW)
        found->at[found->count++] = lite_column_u64(stmt, 0);
    sqlite3_reset(stmt);
    return row != LITE_FAILED;
}

static bool find_positions(struct lite_conn *conn,
                           const struct append_lookup *lookup,
                           struct positions *found, struct err *err)
{
    AUTO_STMT stmt = lite_prepare(
        conn, "select position from perigee_event_ids where event_id = ?1",
        err);
    bool good = stmt != NULL;

    for (size_t i = 0; good && i < lookup->id_count; i++)
        good = find_position(conn, stmt, &lookup->ids[i], found, err);
    return good;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static bool add_event_at(struct lite_conn *conn, sqlite3_stmt *stmt,
                         uint64_t position, struct event_page *page,
                         struct err *err)
{
    struct event event;
    enum lite_row row;

    lite_bind_u64(stmt, 1, position);
    row = lite_step(conn, stmt, err);
    if (row == LITE_ROW) {
        lite_read_event(stmt, &event);
        event_page_add(page, &event);
    }
    sqlite3_reset(stmt);
    return row != LITE_FAILED;
}

/* By position, each once, however often its id was asked for. */
static bool read_events_at(struct lite_conn *conn,
                           const struct positions *found,
                           struct event_page *page, struct err *err)
{
    AUTO_STMT stmt =
        lite_prepare(conn,
                     "select " LITE_EVENT_COLUMNS "  from perigee_events e"
                     " where e.position = ?1",
                     err);
    bool good = stmt != NULL;

    qsort(found->at, found->count, sizeof(*found->at), by_number);
    for (size_t i = 0; good && i < found->count; i++)
        if (i == 0 || found->at[i] != found->at[i - 1])
            good = add_event_at(conn, stmt, found->at[i], page, err);
    return good;
}

static bool lookup_ids(struct lite_conn *conn, struct append_lookup *lookup,
                       struct err *err)
{
    struct positions found = {.at = NEW_ARRAY(uint64_t, lookup->id_count)};
    struct event_page *page = NULL;
    bool good = find_positions(conn, lookup, &found, err);

    if (good && found.count > 0) {
        page = event_page_new();
        good = read_events_at(conn, &found, page, err);
    }
    mem_free(found.at);
    if (good)
        lookup->found = page;
    else
        event_page_unref(page);
    return good;
}

static bool look_up(struct lite_conn *conn, struct append_lookup *lookup,
                    struct err *err)
{
    return lookup_streams(conn, lookup, err) &&
           lite_ask_requests(conn, lookup->keys, lookup->key_count, err) &&
           lookup_ids(conn, lookup, err);
}

/* Outside of a transaction: in one snapshot all the same. */
static bool look_up_alone(struct store *store, struct append_lookup *lookup,
                          struct err *err)
{
    struct lite_conn *conn = lite_read_begin(store, err);
    bool good;

    if (conn == NULL)
        return false;
    good = lite_begin_read(conn, err) && look_up(conn, lookup, err);
    lite_rollback(conn);
    lite_read_end(store, conn);
    return good;
}

bool lite_append_lookup(struct store_writer *base, struct append_lookup *lookup,
                        struct err *err)
{
    struct lite_conn *conn = writer_of(base)->conn;

    lookup->found = NULL;
    return conn != NULL ? look_up(conn, lookup, err)
                        : look_up_alone(base->store, lookup, err);
}

/* ---- commit ---- */

struct inserts {
    sqlite3_stmt *event;
    sqlite3_stmt *stream;
    sqlite3_stmt *id;
};

static bool prepare_inserts(struct lite_conn *conn, struct inserts *out,
                            struct err *err)
{
    out->event = lite_prepare(
        conn,
        "insert into perigee_events (position, stream_id, aggregate_version,"
        "  event_id, event_type, event_version, aggregate_type, aggregate_id,"
        "  tenant_id, actor_id, correlation_id, causation_id, occurred_at,"
        "  recorded_at, data, metadata) values (?1, ?2, ?3, ?4, ?5, ?6, ?7,"
        "  ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        err);
    out->stream = lite_prepare(
        conn, "insert into perigee_streams (id, type, key) values (?1, ?2, ?3)",
        err);
    out->id = lite_prepare(conn,
                           "insert into perigee_event_ids (event_id, position)"
                           " values (?1, ?2)",
                           err);
    return out->event != NULL && out->stream != NULL && out->id != NULL;
}

static bool insert_event(struct lite_conn *conn, sqlite3_stmt *stmt,
                         const struct append_row *row, struct err *err)
{
    const struct event *event = row->event;

    lite_bind_u64(stmt, 1, event->position);
    lite_bind_u64(stmt, 2, row->stream_id);
    lite_bind_u64(stmt, 3, event->aggregate_version);
    lite_bind_uuid(stmt, 4, &event->event_id);
    lite_bind_str(stmt, 5, event->event_type);
    lite_bind_u64(stmt, 6, event->event_version);
    lite_bind_str(stmt, 7, event->aggregate_type);
    lite_bind_str(stmt, 8, event->aggregate_id);
    lite_bind_str(stmt, 9, event->tenant_id);
    lite_bind_str(stmt, 10, event->actor_id);
    lite_bind_str(stmt, 11, event->correlation_id);
    lite_bind_str(stmt, 12, event->causation_id);
    lite_bind_i64(stmt, 13, event->occurred_at_us);
    lite_bind_i64(stmt, 14, event->recorded_at_us);
    lite_bind_str(stmt, 15, event->data);
    lite_bind_str(stmt, 16, event->metadata);
    return lite_run(conn, stmt, err);
}

static bool insert_stream(struct lite_conn *conn, sqlite3_stmt *stmt,
                          const struct append_row *row, struct err *err)
{
    lite_bind_u64(stmt, 1, row->stream_id);
    lite_bind_str(stmt, 2, row->event->aggregate_type);
    lite_bind_str(stmt, 3, row->event->aggregate_id);
    return lite_run(conn, stmt, err);
}

static bool insert_id(struct lite_conn *conn, sqlite3_stmt *stmt,
                      const struct append_row *row, struct err *err)
{
    lite_bind_uuid(stmt, 1, &row->event->event_id);
    lite_bind_u64(stmt, 2, row->event->position);
    return lite_run(conn, stmt, err);
}

static bool insert_row(struct lite_conn *conn, const struct inserts *inserts,
                       const struct append_row *row, struct err *err)
{
    bool is_first = row->stream_id == row->event->position;

    return insert_event(conn, inserts->event, row, err) &&
           (!is_first || insert_stream(conn, inserts->stream, row, err)) &&
           insert_id(conn, inserts->id, row, err);
}

static bool insert_rows(struct lite_writer *writer,
                        const struct append_batch *batch, struct err *err)
{
    struct inserts inserts;

    if (!prepare_inserts(writer->conn, &inserts, err))
        return false;
    for (size_t i = 0; i < batch->count; i++) {
        CHECK(batch->rows[i].event->position == writer->head + 1 + i);
        if (!insert_row(writer->conn, &inserts, &batch->rows[i], err))
            return false;
    }
    return true;
}

/* Asked before the rollback, which forgets the connection's last failure. */
static enum append_end end_of_failure(struct lite_conn *conn,
                                      const struct err *err)
{
    int code = sqlite3_extended_errcode(conn->db);

    if (code == SQLITE_CONSTRAINT_UNIQUE ||
        code == SQLITE_CONSTRAINT_PRIMARYKEY || code == SQLITE_CONSTRAINT_ROWID)
        return APPEND_STALE;
    return err->code == ERR_DATA ? APPEND_REFUSED : APPEND_ROLLED_BACK;
}

enum append_end lite_append_commit(struct store_writer *base,
                                   const struct append_batch *batch,
                                   struct err *err)
{
    struct lite_writer *writer = writer_of(base);
    struct lite_conn *conn = writer->conn;
    enum append_end end;

    CHECK(conn != NULL);
    if (!insert_rows(writer, batch, err) ||
        !lite_store_requests(conn, batch->marks, batch->mark_count, err)) {
        end = end_of_failure(conn, err);
        lite_append_abort(base);
        return end;
    }
    writer->conn = NULL;
    return lite_write_end(base->store, conn, LITE_KEEP, err)
               ? APPEND_COMMITTED
               : APPEND_ROLLED_BACK;
}
