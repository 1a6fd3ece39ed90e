#include "store/pg_fields.h"
#include "store/pg_store.h"

/*
 * Pages of the log.  Rows are taken one by one as they arrive, so a page holds
 * what it was asked for or PAGE_MAX_BYTES, never the answer to a careless
 * limit.  What was asked and does not fit costs the connection, the cheapest
 * way to stop a server that is sending; therefore not more rows are asked for
 * than are likely to fit, by the average of the page before.
 */

bool pg_head(struct store *store, uint64_t *out, struct err *err)
{
    struct pg_conn *conn = pg_borrow(store, "head", err);
    bool ok;

    if (conn == NULL)
        return false;
    pg_send(conn, "select max(position) from perigee.events");
    ok = pg_run(conn, err) == PG_DONE;
    if (ok)
        *out = pg_u64(pg_result(conn, 0), 0, 0);
    pg_give_back(store, conn);
    return ok;
}

/* ---- pages ---- */

struct page_reader {
    struct event_page *page;
    uint64_t head;  /* of a filtered read's snapshot */
    uint32_t limit; /* that the caller wants */
    uint32_t rows;  /* that were asked for */
};

static bool on_event(void *arg, const PGresult *row)
{
    struct page_reader *reader = arg;
    struct event event = pg_event(row, 0);

    event_page_add(reader->page, &event);
    reader->page->cut = reader->page->bytes >= PAGE_MAX_BYTES;
    return !reader->page->cut;
}

/* A row always comes, for the head's sake; without an event all else is null.
 */
static bool on_filtered(void *arg, const PGresult *row)
{
    struct page_reader *reader = arg;

    reader->head = pg_u64(row, 0, PG_EVENT_COLUMN_COUNT);
    return pg_is_null(row, 0, 0) || on_event(arg, row);
}

/* Half a page's worth: most pages then end before they are cut. */
static struct page_reader reader_for(struct store *store, uint32_t limit)
{
    uint32_t each =
        __atomic_load_n(&pg_store_of(store)->event_bytes, __ATOMIC_RELAXED);
    uint32_t fit = each == 0 ? limit : PAGE_MAX_BYTES / each / 2 + 1;

    return (struct page_reader){.limit = limit, .rows = MIN(limit, fit)};
}

/* All rows came that were asked for, and those were fewer than wanted. */
static void note_cut(struct page_reader *reader)
{
    if (reader->rows < reader->limit && reader->page->count == reader->rows)
        reader->page->cut = true;
}

static void learn_size(struct store *store, const struct event_page *page)
{
    if (page->count > 0)
        __atomic_store_n(&pg_store_of(store)->event_bytes,
                         (uint32_t)(page->bytes / page->count),
                         __ATOMIC_RELAXED);
}

/* Runs the statement that was sent, on a connection that is then given back. */
static bool read_page(struct store *store, struct pg_conn *conn,
                      bool (*on_row)(void *arg, const PGresult *row),
                      struct page_reader *reader, struct err *err)
{
    bool ok;

    reader->page = event_page_new();
    ok = pg_run_rows(conn, on_row, reader, err) == PG_DONE;
    pg_give_back(store, conn);
    if (!ok) {
        event_page_unref(reader->page);
        return false;
    }
    note_cut(reader);
    learn_size(store, reader->page);
    return true;
}

/* ---- all events ---- */

static const char after_sql[] =
    "select " PG_EVENT_COLUMNS " from perigee.events e"
    " where e.position > $1::bigint order by e.position limit $2::integer";

/* Head and rows are of one snapshot. */
static const char filtered_sql[] =
    "select " PG_EVENT_COLUMNS ", h.head"
    "  from (select max(position) as head from perigee.events) h"
    "  left join lateral (select * from perigee.events e"
    "     where e.position > $1::bigint and e.position <= $2::bigint"
    "       and ($3::text is null or e.event_type = $3::text)"
    "       and ($4::text is null or e.aggregate_type = $4::text)"
    "     order by e.position limit $5::integer) e on true"
    " order by e.position";

#define FILTER_SPAN 100000

static bool read_all(struct store *store, uint64_t after, uint32_t limit,
                     struct event_page **out, struct err *err)
{
    struct pg_conn *conn = pg_borrow(store, "read", err);
    struct page_reader reader = reader_for(store, limit);
    struct pg_args *args;

    if (conn == NULL)
        return false;
    args = pg_args(conn);
    pg_put_u64(args, after);
    pg_put_u32(args, reader.rows);
    pg_send(conn, after_sql);
    if (!read_page(store, conn, on_event, &reader, err))
        return false;
    reader.page->scanned_to = MAX(reader.page->scanned_to, after);
    *out = reader.page;
    return true;
}

/* How far a filtered page got: to its last event when it was full, else to the
 * end of the span or of the log. */
static uint64_t scanned_to(const struct page_reader *reader, uint64_t after,
                           uint64_t span_end)
{
    const struct event_page *page = reader->page;

    if (page->cut || page->count == reader->limit)
        return page->scanned_to;
    return MAX(after, MIN(span_end, reader->head));
}

static bool read_filtered(struct store *store, uint64_t after, uint32_t limit,
                          const struct event_filter *filter,
                          struct event_page **out, struct err *err)
{
    struct pg_conn *conn = pg_borrow(store, "read", err);
    uint64_t span_end = MIN(after, INT64_MAX - FILTER_SPAN) + FILTER_SPAN;
    struct page_reader reader = reader_for(store, limit);
    struct pg_args *args;

    if (conn == NULL)
        return false;
    args = pg_args(conn);
    pg_put_u64(args, after);
    pg_put_u64(args, span_end);
    pg_put_str(args, filter->event_type);
    pg_put_str(args, filter->aggregate_type);
    pg_put_u32(args, reader.rows);
    pg_send(conn, filtered_sql);
    if (!read_page(store, conn, on_filtered, &reader, err))
        return false;
    reader.page->scanned_to = scanned_to(&reader, after, span_end);
    *out = reader.page;
    return true;
}

static bool filters(const struct event_filter *filter)
{
    return filter != NULL && (!str_is_none(filter->event_type) ||
                              !str_is_none(filter->aggregate_type));
}

bool pg_read_after(struct store *store, uint64_t after, uint32_t limit,
                   const struct event_filter *filter, struct event_page **out,
                   struct err *err)
{
    if (filters(filter))
        return read_filtered(store, after, limit, filter, out, err);
    return read_all(store, after, limit, out, err);
}

/* ---- one stream ---- */

#define STREAM_SQL                                                             \
    "select " PG_EVENT_COLUMNS " from perigee.events e"                        \
    " where e.stream_id = (select s.id from perigee.streams s"                 \
    "                       where s.type = $1::text and s.key = $2::text)"

static const char *const stream_sql[] = {
    [READ_FORWARD] = STREAM_SQL " and e.aggregate_version >= $3::bigint"
                                " order by e.aggregate_version"
                                " limit $4::integer",
    [READ_BACKWARD] = STREAM_SQL " and e.aggregate_version <= $3::bigint"
                                 " order by e.aggregate_version desc"
                                 " limit $4::integer",
};

bool pg_read_stream(struct store *store, struct str aggregate_type,
                    struct str aggregate_id, uint64_t from_version,
                    uint32_t limit, enum read_direction direction,
                    struct event_page **out, struct err *err)
{
    struct pg_conn *conn = pg_borrow(store, "read stream", err);
    bool from_end = direction == READ_BACKWARD && from_version == 0;
    struct page_reader reader = reader_for(store, limit);
    struct pg_args *args;

    if (conn == NULL)
        return false;
    args = pg_args(conn);
    pg_put_str(args, aggregate_type);
    pg_put_str(args, aggregate_id);
    pg_put_u64(args, from_end ? INT64_MAX : from_version);
    pg_put_u32(args, reader.rows);
    pg_send(conn, stream_sql[direction]);
    if (!read_page(store, conn, on_event, &reader, err))
        return false;
    *out = reader.page;
    return true;
}

/* ---- streams ---- */

#define LIST_SQL(filter)                                                       \
    "select s.id, s.type, s.key, v.aggregate_version"                          \
    "  from (select * from perigee.streams s"                                  \
    "         where s.id > $1::bigint" filter                                  \
    "         order by s.id limit $2::integer) s"                              \
    "  cross join lateral"                                                     \
    "       (select e.aggregate_version from perigee.events e"                 \
    "         where e.stream_id = s.id"                                        \
    "         order by e.aggregate_version desc limit 1) v"                    \
    " order by s.id"

static const char list_all_sql[] = LIST_SQL("");
static const char list_type_sql[] = LIST_SQL(" and s.type = $3::text");

static void read_stream_rows(const PGresult *rows, struct arena *arena,
                             struct stream_row **rows_out, size_t *count_out)
{
    size_t count = (size_t)PQntuples(rows);
    struct stream_row *streams = ARENA_ARRAY(arena, struct stream_row, count);

    for (size_t i = 0; i < count; i++)
        streams[i] = (struct stream_row){
            .stream_id = pg_u64(rows, (int)i, 0),
            .aggregate_type = arena_str(arena, pg_str(rows, (int)i, 1)),
            .aggregate_id = arena_str(arena, pg_str(rows, (int)i, 2)),
            .version = pg_u64(rows, (int)i, 3),
        };
    *rows_out = streams;
    *count_out = count;
}

bool pg_list_streams(struct store *store, struct str aggregate_type,
                     uint64_t after, uint32_t limit, struct arena *arena,
                     struct stream_row **rows_out, size_t *count_out,
                     struct err *err)
{
    struct pg_conn *conn = pg_borrow(store, "list streams", err);
    bool of_type = !str_is_none(aggregate_type);
    struct pg_args *args;
    bool ok;

    if (conn == NULL)
        return false;
    args = pg_args(conn);
    pg_put_u64(args, after);
    pg_put_u32(args, limit);
    if (of_type)
        pg_put_str(args, aggregate_type);
    pg_send(conn, of_type ? list_type_sql : list_all_sql);
    ok = pg_run(conn, err) == PG_DONE;
    if (ok)
        read_stream_rows(pg_result(conn, 0), arena, rows_out, count_out);
    pg_give_back(store, conn);
    return ok;
}
