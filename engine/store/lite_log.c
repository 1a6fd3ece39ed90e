#include "store/lite_store.h"

/*
 * Reading the log.  A page is filled straight from SQLite's rows: one copy,
 * into the page's arena.  A reader is held for one page, so that no snapshot
 * stands in the way of the WAL for long.
 */

void lite_read_event(sqlite3_stmt *stmt, struct event *out)
{
    *out = (struct event){
        .position = lite_column_u64(stmt, 0),
        .event_id = lite_column_uuid(stmt, 1),
        .event_type = lite_column_str(stmt, 2),
        .event_version = (uint32_t)lite_column_u64(stmt, 3),
        .aggregate_type = lite_column_str(stmt, 4),
        .aggregate_id = lite_column_str(stmt, 5),
        .aggregate_version = lite_column_u64(stmt, 6),
        .data = lite_column_str(stmt, 7),
        .metadata = lite_column_str(stmt, 8),
        .tenant_id = lite_column_str(stmt, 9),
        .actor_id = lite_column_str(stmt, 10),
        .correlation_id = lite_column_str(stmt, 11),
        .causation_id = lite_column_str(stmt, 12),
        .occurred_at_us = sqlite3_column_int64(stmt, 13),
        .recorded_at_us = sqlite3_column_int64(stmt, 14),
    };
}

/* Adds the rows of a bound statement until it ends or the page is full. */
static bool fill_page(struct lite_conn *conn, sqlite3_stmt *stmt,
                      struct event_page *page, struct err *err)
{
    enum lite_row row = LITE_END;

    while (page->bytes < PAGE_MAX_BYTES &&
           (row = lite_step(conn, stmt, err)) == LITE_ROW) {
        struct event event;

        lite_read_event(stmt, &event);
        event_page_add(page, &event);
    }
    page->cut = page->bytes >= PAGE_MAX_BYTES;
    return row != LITE_FAILED;
}

bool lite_head(struct store *store, uint64_t *out, struct err *err)
{
    struct lite_conn *conn = lite_read_begin(store, err);
    struct log_place head;
    bool good;

    if (conn == NULL)
        return false;
    good = lite_select_head(conn, &head, err);
    lite_read_end(store, conn);
    if (good)
        *out = head.position;
    return good;
}

/* ---- all events ---- */

#define SCAN_MAX 100000 /* positions that a filter looks at in one call */

static bool has_filter(const struct event_filter *filter)
{
    return filter != NULL && (!str_is_none(filter->event_type) ||
                              !str_is_none(filter->aggregate_type));
}

static bool read_all(struct lite_conn *conn, uint64_t after, uint32_t limit,
                     struct event_page *page, struct err *err)
{
    AUTO_STMT stmt =
        lite_prepare(conn,
                     "select " LITE_EVENT_COLUMNS "  from perigee_events e"
                     " where e.position > ?1"
                     " order by e.position limit ?2",
                     err);

    if (stmt == NULL)
        return false;
    lite_bind_u64(stmt, 1, after);
    lite_bind_u64(stmt, 2, limit);
    return fill_page(conn, stmt, page, err);
}

static bool read_matching(struct lite_conn *conn, uint64_t after, uint64_t last,
                          uint32_t limit, const struct event_filter *filter,
                          struct event_page *page, struct err *err)
{
    AUTO_STMT stmt =
        lite_prepare(conn,
                     "select " LITE_EVENT_COLUMNS "  from perigee_events e"
                     " where e.position > ?1 and e.position <= ?2"
                     "   and (?3 is null or e.event_type = ?3)"
                     "   and (?4 is null or e.aggregate_type = ?4)"
                     " order by e.position limit ?5",
                     err);

    if (stmt == NULL)
        return false;
    lite_bind_u64(stmt, 1, after);
    lite_bind_u64(stmt, 2, last);
    lite_bind_str(stmt, 3, filter->event_type);
    lite_bind_str(stmt, 4, filter->aggregate_type);
    lite_bind_u64(stmt, 5, limit);
    return fill_page(conn, stmt, page, err);
}

/* Everything up to `last` was looked at, unless the page was full before. */
static bool scan(struct lite_conn *conn, uint64_t after, uint32_t limit,
                 const struct event_filter *filter, struct event_page *page,
                 struct err *err)
{
    struct log_place head;
    uint64_t last;

    if (!lite_select_head(conn, &head, err))
        return false;
    if (head.position <= after || limit == 0)
        return true;
    last = MIN(head.position, after + SCAN_MAX);
    if (!read_matching(conn, after, last, limit, filter, page, err))
        return false;
    if (page->count < limit && !page->cut)
        page->scanned_to = last;
    return true;
}

/* The head and the events belong to one snapshot: positions between them would
 * otherwise be called looked at that nobody has seen. */
static bool scan_in_snapshot(struct lite_conn *conn, uint64_t after,
                             uint32_t limit, const struct event_filter *filter,
                             struct event_page *page, struct err *err)
{
    bool good = lite_begin_read(conn, err) &&
                scan(conn, after, limit, filter, page, err);

    lite_rollback(conn);
    return good;
}

static bool hand_out(bool good, struct event_page *page,
                     struct event_page **out)
{
    if (good)
        *out = page;
    else
        event_page_unref(page);
    return good;
}

bool lite_read_after(struct store *store, uint64_t after, uint32_t limit,
                     const struct event_filter *filter, struct event_page **out,
                     struct err *err)
{
    struct lite_conn *conn = lite_read_begin(store, err);
    struct event_page *page;
    bool good;

    if (conn == NULL)
        return false;
    page = event_page_new();
    page->scanned_to = after;
    good = has_filter(filter)
               ? scan_in_snapshot(conn, after, limit, filter, page, err)
               : read_all(conn, after, limit, page, err);
    lite_read_end(store, conn);
    return hand_out(good, page, out);
}

/* ---- streams ---- */

static const char forward_sql[] =
    "select " LITE_EVENT_COLUMNS "  from perigee_events e"
    " where e.stream_id = (select id from perigee_streams"
    "                       where type = ?1 and key = ?2)"
    "   and e.aggregate_version >= ?3"
    " order by e.aggregate_version limit ?4";
static const char backward_sql[] =
    "select " LITE_EVENT_COLUMNS "  from perigee_events e"
    " where e.stream_id = (select id from perigee_streams"
    "                       where type = ?1 and key = ?2)"
    "   and e.aggregate_version <= ?3"
    " order by e.aggregate_version desc limit ?4";

struct stream_range {
    struct str type;
    struct str id;
    uint64_t from;
    uint32_t limit;
    enum read_direction direction;
};

static bool read_range(struct lite_conn *conn, const struct stream_range *range,
                       struct event_page *page, struct err *err)
{
    bool forward = range->direction == READ_FORWARD;
    AUTO_STMT stmt =
        lite_prepare(conn, forward ? forward_sql : backward_sql, err);

    if (stmt == NULL)
        return false;
    lite_bind_str(stmt, 1, range->type);
    lite_bind_str(stmt, 2, range->id);
    lite_bind_u64(stmt, 3,
                  forward || range->from > 0 ? range->from : UINT64_MAX);
    lite_bind_u64(stmt, 4, range->limit);
    return fill_page(conn, stmt, page, err);
}

bool lite_read_stream(struct store *store, struct str aggregate_type,
                      struct str aggregate_id, uint64_t from_version,
                      uint32_t limit, enum read_direction direction,
                      struct event_page **out, struct err *err)
{
    struct stream_range range = {aggregate_type, aggregate_id, from_version,
                                 limit, direction};
    struct lite_conn *conn = lite_read_begin(store, err);
    struct event_page *page;
    bool good;

    if (conn == NULL)
        return false;
    page = event_page_new();
    good = read_range(conn, &range, page, err);
    lite_read_end(store, conn);
    return hand_out(good, page, out);
}

struct streams {
    struct stream_row *rows;
    size_t count;
};

static void add_stream(struct streams *streams, sqlite3_stmt *stmt,
                       struct arena *arena)
{
    streams->rows =
        lite_room(arena, streams->rows, streams->count, sizeof(*streams->rows));
    streams->rows[streams->count++] = (struct stream_row){
        .stream_id = lite_column_u64(stmt, 0),
        .aggregate_type = arena_str(arena, lite_column_str(stmt, 1)),
        .aggregate_id = arena_str(arena, lite_column_str(stmt, 2)),
        .version = lite_column_u64(stmt, 3),
    };
}

#define STREAM_COLUMNS                                                         \
    "s.id, s.type, s.key, (select max(e.aggregate_version)"                    \
    " from perigee_events e where e.stream_id = s.id)"

static bool select_streams(struct lite_conn *conn, struct str type,
                           uint64_t after, uint32_t limit, struct arena *arena,
                           struct streams *streams, struct err *err)
{
    AUTO_STMT stmt = lite_prepare(
        conn,
        str_is_none(type)
            ? "select " STREAM_COLUMNS " from perigee_streams s"
              " where s.id > ?1 order by s.id limit ?2"
            : "select " STREAM_COLUMNS " from perigee_streams s"
              " where s.id > ?1 and s.type = ?3 order by s.id limit ?2",
        err);
    enum lite_row row;

    if (stmt == NULL)
        return false;
    lite_bind_u64(stmt, 1, after);
    lite_bind_u64(stmt, 2, limit);
    if (!str_is_none(type))
        lite_bind_str(stmt, 3, type);
    while ((row = lite_step(conn, stmt, err)) == LITE_ROW)
        add_stream(streams, stmt, arena);
    return row != LITE_FAILED;
}

bool lite_list_streams(struct store *store, struct str aggregate_type,
                       uint64_t after, uint32_t limit, struct arena *arena,
                       struct stream_row **rows_out, size_t *count_out,
                       struct err *err)
{
    struct lite_conn *conn = lite_read_begin(store, err);
    struct streams streams = {0};
    bool good;

    if (conn == NULL)
        return false;
    good = select_streams(conn, aggregate_type, after, limit, arena, &streams,
                          err);
    lite_read_end(store, conn);
    if (good) {
        *rows_out = streams.rows;
        *count_out = streams.count;
    }
    return good;
}
