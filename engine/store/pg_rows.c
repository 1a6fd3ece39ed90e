#include "store/pg_fields.h"
#include "store/pg_store.h"

#include <inttypes.h>

/*
 * Rows of read models.  By key: from the generation's table, for handlers.
 * Listed: through the public view, in pages that continue behind a row.
 *
 * A list by a column that may be null is read in two parts, the nulls and the
 * others, in the order that the direction asks for: each is a range of the
 * index (nulls first, the key behind), which one condition over both is not.
 */

static void read_row(const PGresult *rows, int row, int first_column,
                     const struct table_def *table, struct arena *arena,
                     struct row *out)
{
    out->values = ARENA_ARRAY(arena, struct value, table->column_count);
    for (size_t i = 0; i < table->column_count; i++)
        out->values[i] = pg_value(rows, row, first_column + (int)i,
                                  table->columns[i].kind, arena);
}

/* ---- by key ---- */

static void build_get(struct buf *sql, const char *schema,
                      const struct table_def *table, uint32_t generation)
{
    const struct column_def *key = &table->columns[table->key];

    buf_text(sql, "select u.place, ");
    pg_quote_columns(sql, table, "t");
    buf_printf(sql,
               " from unnest($1::%s[]) with ordinality u(key, place) join ",
               pg_value_type_name(key->kind));
    pg_quote_table(sql, schema, table->name, generation);
    buf_text(sql, " t on t.");
    pg_quote(sql, key->name);
    buf_printf(sql, " = u.key%s",
               key->kind == VALUE_NUMERIC ? "::numeric" : "");
}

static void send_get(struct pg_conn *conn, const char *schema,
                     const struct table_def *table, uint32_t generation,
                     const struct value *keys, size_t count)
{
    struct pg_args *args = pg_args(conn);
    struct buf sql = {0};

    pg_array_begin(args, pg_value_type(table->columns[table->key].kind), count);
    for (size_t i = 0; i < count; i++)
        pg_put_value(args, &keys[i]);
    pg_array_end(args);
    build_get(&sql, schema, table, generation);
    pg_send(conn, sql.ptr);
    buf_done(&sql);
}

bool pg_rows_get(struct store *store, const struct table_def *table,
                 uint32_t generation, const struct value *keys, size_t count,
                 struct arena *arena, struct row **rows_out, struct err *err)
{
    struct pg_conn *conn = pg_borrow(store, "rows get", err);
    bool ok;

    if (conn == NULL)
        return false;
    send_get(conn, pg_store_of(store)->read_schema, table, generation, keys,
             count);
    ok = pg_run(conn, err) == PG_DONE;
    if (ok) {
        const PGresult *rows = pg_result(conn, 0);

        *rows_out = ARENA_ARRAY(arena, struct row, count);
        for (int row = 0; row < PQntuples(rows); row++)
            read_row(rows, row, 1, table, arena,
                     &(*rows_out)[pg_u64(rows, row, 0) - 1]);
    }
    pg_give_back(store, conn);
    return ok;
}

/* ---- lists ---- */

enum part { PART_NULLS, PART_VALUES };

struct listing {
    const struct row_query *query;
    const char *schema;
    struct pg_args *args;
    struct buf sql;
};

static void add_column(struct listing *list, size_t column)
{
    buf_text(&list->sql, "t.");
    pg_quote(&list->sql, list->query->table->columns[column].name);
}

/* A parameter of the column's type. */
static void add_arg(struct listing *list, size_t column,
                    const struct value *value)
{
    enum value_kind kind = list->query->table->columns[column].kind;

    pg_put_value(list->args, value);
    buf_printf(&list->sql, "$%d::%s%s", list->args->count,
               pg_value_type_name(kind),
               kind == VALUE_NUMERIC ? "::numeric" : "");
}

static void add_filters(struct listing *list)
{
    const struct row_query *query = list->query;

    for (size_t i = 0; i < query->filter_count; i++) {
        const struct value *value = &query->filters[i].value;

        buf_text(&list->sql, " and ");
        add_column(list, query->filters[i].column);
        if (value->kind == VALUE_NULL) {
            buf_text(&list->sql, " is null");
        } else {
            buf_text(&list->sql, " = ");
            add_arg(list, query->filters[i].column, value);
        }
    }
}

/* Behind the row that the page before ended with.  It lies in this part when
 * it is null as this part is; the part behind it starts at its beginning. */
static void add_resume(struct listing *list, enum part part)
{
    const struct row_query *query = list->query;
    const char *beyond = query->descending ? " < " : " > ";
    bool was_null = query->after_order.kind == VALUE_NULL;

    if (!query->resume || was_null != (part == PART_NULLS))
        return;
    buf_text(&list->sql, " and ");
    if (was_null || query->order == query->table->key) {
        add_column(list, query->table->key);
        buf_text(&list->sql, beyond);
        add_arg(list, query->table->key, &query->after_key);
        return;
    }
    buf_char(&list->sql, '(');
    add_column(list, query->order);
    buf_text(&list->sql, ", ");
    add_column(list, query->table->key);
    buf_printf(&list->sql, ")%s(", beyond);
    add_arg(list, query->order, &query->after_order);
    buf_text(&list->sql, ", ");
    add_arg(list, query->table->key, &query->after_key);
    buf_char(&list->sql, ')');
}

static void add_order(struct listing *list)
{
    const struct row_query *query = list->query;

    buf_text(&list->sql, " order by ");
    if (query->order != query->table->key) {
        add_column(list, query->order);
        buf_text(&list->sql, query->descending ? " desc nulls last, "
                                               : " asc nulls first, ");
    }
    add_column(list, query->table->key);
    buf_text(&list->sql, query->descending ? " desc" : " asc");
}

static void build_list(struct listing *list, enum part part, uint32_t limit)
{
    const struct row_query *query = list->query;

    buf_clear(&list->sql);
    buf_text(&list->sql, "select ");
    pg_quote_columns(&list->sql, query->table, "t");
    buf_text(&list->sql, " from ");
    pg_quote_table(&list->sql, list->schema, query->table->name, 0);
    buf_text(&list->sql, " t where ");
    add_column(list, query->order);
    buf_text(&list->sql, part == PART_NULLS ? " is null" : " is not null");
    add_filters(list);
    add_resume(list, part);
    add_order(list);
    /* A parameter, or each limit would be a statement of its own to prepare. */
    pg_put_u32(list->args, limit);
    buf_printf(&list->sql, " limit $%d::integer", list->args->count);
}

/* The parts that are still to be read, in order. */
static size_t plan_parts(const struct row_query *query, enum part parts[2])
{
    bool has_nulls = query->table->columns[query->order].nullable;
    bool was_null = query->after_order.kind == VALUE_NULL;
    enum part first = query->descending ? PART_VALUES : PART_NULLS;
    enum part last = query->descending ? PART_NULLS : PART_VALUES;

    if (!has_nulls) {
        parts[0] = PART_VALUES;
        return 1;
    }
    parts[0] = first;
    parts[1] = last;
    if (!query->resume || was_null == (first == PART_NULLS))
        return 2;
    parts[0] = last;
    return 1;
}

static bool list_part(struct pg_conn *conn, struct listing *list,
                      enum part part, struct arena *arena, struct row *rows,
                      size_t *count, struct err *err)
{
    const PGresult *got;

    list->args = pg_args(conn);
    build_list(list, part, list->query->limit - (uint32_t)*count);
    pg_send(conn, list->sql.ptr);
    if (pg_run(conn, err) != PG_DONE)
        return false;
    got = pg_result(conn, 0);
    for (int row = 0; row < PQntuples(got); row++)
        read_row(got, row, 0, list->query->table, arena, &rows[(*count)++]);
    return true;
}

static bool check_query(const struct row_query *query, struct err *err)
{
    const struct column_def *columns = query->table->columns;

    for (size_t i = 0; i < query->filter_count; i++) {
        const struct column_def *column = &columns[query->filters[i].column];

        if (column->kind == VALUE_JSON)
            return err_set(err, ERR_INVALID_INPUT,
                           "column '%.*s' is json and cannot be filtered by",
                           STR_ARG(column->name));
    }
    if (columns[query->order].kind == VALUE_JSON)
        return err_set(err, ERR_INVALID_INPUT,
                       "column '%.*s' is json and cannot be ordered by",
                       STR_ARG(columns[query->order].name));
    return true;
}

static bool list_rows(struct pg_conn *conn, struct listing *list,
                      struct arena *arena, struct row **rows_out,
                      size_t *count_out, struct err *err)
{
    struct row *rows = ARENA_ARRAY(arena, struct row, list->query->limit);
    enum part parts[2];
    size_t part_count = plan_parts(list->query, parts);
    size_t count = 0;

    for (size_t i = 0; i < part_count && count < list->query->limit; i++)
        if (!list_part(conn, list, parts[i], arena, rows, &count, err))
            return false;
    *rows_out = rows;
    *count_out = count;
    return true;
}

bool pg_rows_list(struct store *store, const struct row_query *query,
                  struct arena *arena, struct row **rows_out, size_t *count_out,
                  struct err *err)
{
    struct listing list = {.query = query,
                           .schema = pg_store_of(store)->read_schema};
    struct pg_conn *conn;
    bool ok;

    if (!check_query(query, err))
        return false;
    conn = pg_borrow(store, "rows list", err);
    if (conn == NULL)
        return false;
    ok = list_rows(conn, &list, arena, rows_out, count_out, err);
    pg_give_back(store, conn);
    buf_done(&list.sql);
    return ok;
}
