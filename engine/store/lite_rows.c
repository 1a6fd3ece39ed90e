#include "store/lite_store.h"

#include "base/clock.h"

/*
 * Values in columns, and rows out of tables.
 *
 * Column i of a table is parameter i + 1 wherever a whole row is bound, and
 * column i of every select.  Kinds that SQLite has no type for are kept as
 * their canonical text, which sorts as the value does; numeric has the
 * collation `decimal` (store/lite_conn.c) declared on its column, and the view
 * inherits it.
 */

/* ---- values ---- */

static void bind_copied(sqlite3_stmt *stmt, int at, const char *text)
{
    CHECK(sqlite3_bind_text(stmt, at, text, -1, SQLITE_TRANSIENT) == SQLITE_OK);
}

static void bind_uuid_text(sqlite3_stmt *stmt, int at, struct uuid id)
{
    char text[UUID_TEXT_SIZE];

    uuid_format(id, text);
    bind_copied(stmt, at, text);
}

static void bind_date(sqlite3_stmt *stmt, int at, int32_t days)
{
    char text[CLOCK_DATE_SIZE];

    clock_date_format(days, text);
    bind_copied(stmt, at, text);
}

static void bind_time(sqlite3_stmt *stmt, int at, int64_t wall_us)
{
    char text[CLOCK_TEXT_SIZE];

    clock_format(wall_us, text);
    bind_copied(stmt, at, text);
}

void lite_bind_value(sqlite3_stmt *stmt, int at, const struct value *value)
{
    switch (value->kind) {
    case VALUE_NULL:
        CHECK(sqlite3_bind_null(stmt, at) == SQLITE_OK);
        return;
    case VALUE_TEXT:
    case VALUE_NUMERIC:
    case VALUE_JSON:
        lite_bind_str(stmt, at, value->text);
        return;
    case VALUE_UUID:
        bind_uuid_text(stmt, at, value->uuid);
        return;
    case VALUE_BIGINT:
    case VALUE_INTEGER:
        lite_bind_i64(stmt, at, value->i64);
        return;
    case VALUE_DOUBLE:
        CHECK(sqlite3_bind_double(stmt, at, value->number) == SQLITE_OK);
        return;
    case VALUE_BOOLEAN:
        lite_bind_i64(stmt, at, value->flag);
        return;
    case VALUE_DATE:
        bind_date(stmt, at, value->days);
        return;
    case VALUE_TIMESTAMP:
        bind_time(stmt, at, value->wall_us);
        return;
    case VALUE_KIND_COUNT:
        return;
    }
}

static bool read_value(sqlite3_stmt *stmt, int at, struct arena *arena,
                       struct value *out)
{
    switch (out->kind) {
    case VALUE_TEXT:
    case VALUE_NUMERIC:
    case VALUE_JSON:
        out->text = arena_str(arena, lite_column_str(stmt, at));
        return true;
    case VALUE_UUID:
        return uuid_parse(lite_column_str(stmt, at), &out->uuid);
    case VALUE_BIGINT:
    case VALUE_INTEGER:
        out->i64 = sqlite3_column_int64(stmt, at);
        return true;
    case VALUE_DOUBLE:
        out->number = sqlite3_column_double(stmt, at);
        return true;
    case VALUE_BOOLEAN:
        out->flag = sqlite3_column_int(stmt, at) != 0;
        return true;
    case VALUE_DATE:
        return clock_date_parse(lite_column_str(stmt, at), &out->days);
    case VALUE_TIMESTAMP:
        return clock_parse(lite_column_str(stmt, at), &out->wall_us);
    case VALUE_NULL:
    case VALUE_KIND_COUNT:
        break;
    }
    return false;
}

bool lite_column_value(sqlite3_stmt *stmt, int at,
                       const struct column_def *column, struct arena *arena,
                       struct value *out, struct err *err)
{
    *out = (struct value){.kind = VALUE_NULL};
    if (sqlite3_column_type(stmt, at) == SQLITE_NULL)
        return true;
    out->kind = column->kind;
    return read_value(stmt, at, arena, out) ||
           err_set(err, ERR_DATA, "column %.*s holds something that is no %s",
                   STR_ARG(column->name), value_word(column->kind));
}

static bool read_row(sqlite3_stmt *stmt, const struct table_def *table,
                     struct arena *arena, struct row *out, struct err *err)
{
    out->values = ARENA_ARRAY(arena, struct value, table->column_count);
    for (size_t i = 0; i < table->column_count; i++)
        if (!lite_column_value(stmt, (int)i, &table->columns[i], arena,
                               &out->values[i], err))
            return err_wrap(err, "table %.*s", STR_ARG(table->name));
    return true;
}

/* ---- names in SQL: checked by value_check_name, quoted because they may be
 * words of SQL ---- */

static void add_name(struct buf *sql, struct str name)
{
    buf_printf(sql, "\"%.*s\"", STR_ARG(name));
}

void lite_add_columns(struct buf *sql, const struct table_def *table,
                      uint64_t bits)
{
    const char *comma = "";

    for (size_t i = 0; i < table->column_count; i++) {
        if ((bits >> i & 1) == 0)
            continue;
        buf_text(sql, comma);
        add_name(sql, table->columns[i].name);
        comma = ", ";
    }
}

void lite_add_table(struct buf *sql, const struct table_def *table,
                    uint32_t generation)
{
    buf_printf(sql, "\"%.*s__%u\"", STR_ARG(table->name), generation);
}

/* ---- rows by key ---- */

static sqlite3_stmt *prepare_get(struct lite_conn *conn,
                                 const struct table_def *table,
                                 uint32_t generation, struct err *err)
{
    struct buf sql = {0};
    sqlite3_stmt *stmt;

    buf_text(&sql, "select ");
    lite_add_columns(&sql, table, LITE_ALL_COLUMNS);
    buf_text(&sql, " from ");
    lite_add_table(&sql, table, generation);
    buf_text(&sql, " where ");
    add_name(&sql, table->columns[table->key].name);
    buf_text(&sql, " = ?1");
    stmt = lite_prepare(conn, sql.ptr, err);
    buf_done(&sql);
    return stmt;
}

static bool get_row(struct lite_conn *conn, sqlite3_stmt *stmt,
                    const struct table_def *table, const struct value *key,
                    struct arena *arena, struct row *out, struct err *err)
{
    enum lite_row row;
    bool good;

    lite_bind_value(stmt, 1, key);
    row = lite_step(conn, stmt, err);
    good = row == LITE_END ||
           (row == LITE_ROW && read_row(stmt, table, arena, out, err));
    sqlite3_reset(stmt);
    return good;
}

static bool get_rows(struct lite_conn *conn, const struct table_def *table,
                     uint32_t generation, const struct value *keys,
                     size_t count, struct arena *arena, struct row *rows,
                     struct err *err)
{
    AUTO_STMT stmt = prepare_get(conn, table, generation, err);
    bool good = stmt != NULL;

    for (size_t i = 0; good && i < count; i++)
        good = get_row(conn, stmt, table, &keys[i], arena, &rows[i], err);
    return good;
}

bool lite_rows_get(struct store *store, const struct table_def *table,
                   uint32_t generation, const struct value *keys, size_t count,
                   struct arena *arena, struct row **rows_out, struct err *err)
{
    struct lite_conn *conn = lite_read_begin(store, err);
    struct row *rows;
    bool good;

    if (conn == NULL)
        return false;
    rows = ARENA_ARRAY(arena, struct row, count);
    /* All keys in one snapshot. */
    good = lite_begin_read(conn, err) &&
           get_rows(conn, table, generation, keys, count, arena, rows, err);
    lite_rollback(conn);
    lite_read_end(store, conn);
    if (good)
        *rows_out = rows;
    return good;
}

/* ---- rows in pages ---- */

/* Parameters: the filters from 1 on, then the place to resume from. */
#define PLACE_ORDER (ROWS_MAX_FILTERS + 1)
#define PLACE_KEY   (ROWS_MAX_FILTERS + 2)
#define PAGE_LIMIT  (ROWS_MAX_FILTERS + 3)

static bool check_comparable(const struct row_query *query, size_t column,
                             const char *use, struct err *err)
{
    const struct column_def *def = &query->table->columns[column];

    return def->kind != VALUE_JSON ||
           err_set(err, ERR_INVALID_INPUT, "%.*s is json: no %s by it",
                   STR_ARG(def->name), use);
}

static bool check_query(const struct row_query *query, struct err *err)
{
    for (size_t i = 0; i < query->filter_count; i++)
        if (!check_comparable(query, query->filters[i].column, "filter", err))
            return false;
    return check_comparable(query, query->order, "order", err);
}

static void add_filters(struct buf *sql, const struct row_query *query)
{
    for (size_t i = 0; i < query->filter_count; i++) {
        buf_text(sql, " and ");
        add_name(sql, query->table->columns[query->filters[i].column].name);
        if (query->filters[i].value.kind == VALUE_NULL)
            buf_text(sql, " is null");
        else
            buf_printf(sql, " = ?%zu", i + 1);
    }
}

/*
 * Rows behind (order, key).  Comparing with null is never true, which leaves
 * out nulls where they stand before the place, and must be made up for where
 * they stand behind it:
 *
 *   ascending   nulls, then values     behind a null also come all values
 *   descending  values, then nulls     behind a value also come all nulls
 */
static void add_place(struct buf *sql, const struct row_query *query)
{
    const struct table_def *table = query->table;
    struct str order = table->columns[query->order].name;
    struct str key = table->columns[table->key].name;
    char way = query->descending ? '<' : '>';
    bool behind_null = query->after_order.kind == VALUE_NULL;

    if (!query->resume)
        return;
    if (query->order == table->key)
        buf_printf(sql, " and \"%.*s\" %c ?%d", STR_ARG(key), way, PLACE_KEY);
    else if (!behind_null)
        buf_printf(sql, " and ((\"%.*s\", \"%.*s\") %c (?%d, ?%d)",
                   STR_ARG(order), STR_ARG(key), way, PLACE_ORDER, PLACE_KEY);
    else
        buf_printf(sql, " and ((\"%.*s\" is null and \"%.*s\" %c ?%d)",
                   STR_ARG(order), STR_ARG(key), way, PLACE_KEY);
    if (query->order == table->key)
        return;
    if (behind_null != query->descending)
        buf_printf(sql, " or \"%.*s\" is %s", STR_ARG(order),
                   behind_null ? "not null" : "null");
    buf_char(sql, ')');
}

static void add_order(struct buf *sql, const struct row_query *query)
{
    const struct table_def *table = query->table;
    const char *way = query->descending ? " desc" : "";

    buf_text(sql, " order by ");
    add_name(sql, table->columns[query->order].name);
    buf_text(sql, way);
    if (query->order != table->key) {
        buf_text(sql, ", ");
        add_name(sql, table->columns[table->key].name);
        buf_text(sql, way);
    }
    buf_printf(sql, " limit ?%d", PAGE_LIMIT);
}

static sqlite3_stmt *prepare_list(struct lite_conn *conn,
                                  const struct row_query *query,
                                  struct err *err)
{
    struct buf sql = {0};
    sqlite3_stmt *stmt;

    buf_text(&sql, "select ");
    lite_add_columns(&sql, query->table, LITE_ALL_COLUMNS);
    buf_text(&sql, " from ");
    add_name(&sql, query->table->name);
    buf_text(&sql, " where true");
    add_filters(&sql, query);
    add_place(&sql, query);
    add_order(&sql, query);
    stmt = lite_prepare(conn, sql.ptr, err);
    buf_done(&sql);
    return stmt;
}

static void bind_list(sqlite3_stmt *stmt, const struct row_query *query)
{
    for (size_t i = 0; i < query->filter_count; i++)
        lite_bind_value(stmt, (int)i + 1, &query->filters[i].value);
    if (query->resume) {
        lite_bind_value(stmt, PLACE_ORDER, &query->after_order);
        lite_bind_value(stmt, PLACE_KEY, &query->after_key);
    }
    lite_bind_u64(stmt, PAGE_LIMIT, query->limit);
}

struct rows {
    struct row *rows;
    size_t count;
};

static bool list_rows(struct lite_conn *conn, const struct row_query *query,
                      struct arena *arena, struct rows *out, struct err *err)
{
    AUTO_STMT stmt = prepare_list(conn, query, err);
    enum lite_row row;

    if (stmt == NULL)
        return false;
    bind_list(stmt, query);
    while ((row = lite_step(conn, stmt, err)) == LITE_ROW) {
        out->rows = lite_room(arena, out->rows, out->count, sizeof(*out->rows));
        if (!read_row(stmt, query->table, arena, &out->rows[out->count++], err))
            return false;
    }
    return row != LITE_FAILED;
}

bool lite_rows_list(struct store *store, const struct row_query *query,
                    struct arena *arena, struct row **rows_out,
                    size_t *count_out, struct err *err)
{
    struct rows found = {0};
    struct lite_conn *conn;
    bool good;

    if (!check_query(query, err))
        return false;
    conn = lite_read_begin(store, err);
    if (conn == NULL)
        return false;
    good = list_rows(conn, query, arena, &found, err);
    lite_read_end(store, conn);
    if (good) {
        *rows_out = found.rows;
        *count_out = found.count;
    }
    return good;
}
