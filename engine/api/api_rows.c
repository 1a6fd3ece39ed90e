/*
 * A question's life: the table's declaration comes from the script set, which
 * outlives the request; parameters become a row_query whose values are in the
 * request's arena; rows come back into the same arena and are written at once.
 */
#include "api/handlers.h"
#include "api/reply.h"
#include "api/request.h"
#include "api/row_token.h"

/* ---- which table ---- */

static const struct table_def *find_table(const struct script_set *scripts,
                                          struct str projection,
                                          struct str table, struct err *err)
{
    const struct projection_decl *decl =
        script_set_projection(scripts, projection);

    if (decl == NULL) {
        err_set(err, ERR_NOT_FOUND, "there is no projection '%.*s'",
                STR_ARG(projection));
        return NULL;
    }
    for (size_t i = 0; i < decl->table_count; i++) {
        if (str_eq(decl->tables[i].name, table))
            return &decl->tables[i];
    }
    err_set(err, ERR_NOT_FOUND, "projection '%.*s' has no table '%.*s'",
            STR_ARG(projection), STR_ARG(table));
    return NULL;
}

/* ---- the query ---- */

static const char *list_columns(const struct table_def *table,
                                struct arena *arena)
{
    const char *list = "";

    for (size_t i = 0; i < table->column_count; i++)
        list = arena_printf(arena, "%s, %.*s", list,
                            STR_ARG(table->columns[i].name));
    return list;
}

/* A column that rows can be compared by, or -1. */
static int find_column(const struct api_request *request, struct str param,
                       struct str name, const struct table_def *table,
                       struct err *err)
{
    int column = table_column(table, name);

    if (column < 0) {
        request_bad_param(param, err,
                          "unknown; allowed here: order, limit, "
                          "after%s",
                          list_columns(table, request->arena));
    } else if (table->columns[column].kind == VALUE_JSON) {
        request_bad_param(param, err,
                          "column '%.*s' is json, by which rows cannot be "
                          "compared",
                          STR_ARG(name));
        column = -1;
    }
    return column;
}

static bool parse_order(const struct api_request *request,
                        struct row_query *query, struct err *err)
{
    struct str name;
    int column;

    if (!request_text(request, "order", &name, err))
        return false;
    query->order = query->table->key;
    if (str_is_none(name))
        return true;
    query->descending = name.ptr[0] == '-';
    if (query->descending)
        name = str_n(name.ptr + 1, name.len - 1);
    column = find_column(request, STR("order"), name, query->table, err);
    if (column < 0)
        return false;
    query->order = (size_t)column;
    return true;
}

/* `col=value`; a column without "=" asks for rows where it is null. */
static bool add_filter(const struct api_request *request,
                       const struct api_pair *pair, struct row_query *query,
                       struct err *err)
{
    int column =
        find_column(request, pair->name, pair->name, query->table, err);
    struct value value = {.kind = VALUE_NULL};
    struct err reason;

    if (column < 0)
        return false;
    if (query->filter_count == ROWS_MAX_FILTERS)
        return request_bad_param(pair->name, err, "more than %d filters",
                                 ROWS_MAX_FILTERS);
    if (!str_is_none(pair->value) &&
        !value_from_text(query->table->columns[column].kind, pair->value,
                         request->arena, &value, &reason))
        return request_bad_param(pair->name, err, "%s", reason.text);
    query->filters[query->filter_count].column = (size_t)column;
    query->filters[query->filter_count].value = value;
    query->filter_count++;
    return true;
}

static bool is_reserved(struct str name)
{
    return str_eq(name, STR("order")) || str_eq(name, STR("limit")) ||
           str_eq(name, STR("after"));
}

static bool parse_filters(const struct api_request *request,
                          struct row_query *query, struct err *err)
{
    for (size_t i = 0; i < request->query_count; i++) {
        const struct api_pair *pair = &request->query[i];

        if (!is_reserved(pair->name) && !add_filter(request, pair, query, err))
            return false;
    }
    return true;
}

static bool parse_query(const struct api_request *request,
                        struct row_query *query, uint32_t *limit_out,
                        struct err *err)
{
    struct str token;

    if (!request_limit(request, limit_out, err) ||
        !parse_order(request, query, err) ||
        !parse_filters(request, query, err) ||
        !request_text(request, "after", &token, err))
        return false;
    query->limit = *limit_out + 1; /* one more tells whether there is a next */
    return str_is_none(token) ||
           row_token_read(token, query, request->arena, err);
}

/* ---- written ---- */

static void write_row(struct json_out *out, const struct table_def *table,
                      const struct row *row)
{
    json_object(out, NULL);
    for (size_t i = 0; i < table->column_count; i++) {
        json_key(out, table->columns[i].name);
        value_write(out, NULL, &row->values[i]);
    }
    json_end(out, '}');
}

static void write_rows(struct api_reply *reply, const struct row_query *query,
                       const struct row *rows, size_t count, uint32_t limit,
                       struct arena *arena)
{
    size_t shown = MIN(count, limit);
    struct json_out out;

    reply_json(reply, 200, &out);
    json_object(&out, NULL);
    json_array(&out, "rows");
    for (size_t i = 0; i < shown; i++)
        write_row(&out, query->table, &rows[i]);
    json_end(&out, ']');
    if (count > limit)
        json_put_str(&out, "next",
                     row_token_make(query, &rows[shown - 1], arena));
    else
        json_put_null(&out, "next");
    json_end(&out, '}');
}

/* ---- rows ---- */

static bool list_rows(struct engine *engine, struct api_request *request,
                      struct api_reply *reply, struct err *err)
{
    struct row_query query = {.table = find_table(engine->scripts,
                                                  request->segments[2],
                                                  request->segments[4], err)};
    struct row *rows;
    uint32_t limit;
    size_t count;

    if (query.table == NULL || !parse_query(request, &query, &limit, err) ||
        !store_rows_list(engine->store, &query, request->arena, &rows, &count,
                         err))
        return false;
    write_rows(reply, &query, rows, count, limit, request->arena);
    return true;
}

void api_row_list(struct engine *engine, struct api_request *request,
                  struct api_reply *reply)
{
    struct err err;

    if (!list_rows(engine, request, reply, &err))
        api_problem(reply, &err);
}

/* ---- one row ---- */

/* The public view filtered by the key, so that whatever generation is live
 * answers. */
static bool parse_key(const struct api_request *request,
                      struct row_query *query, struct err *err)
{
    const struct column_def *key = &query->table->columns[query->table->key];
    struct err reason;

    query->order = query->table->key;
    query->limit = 1;
    query->filter_count = 1;
    query->filters[0].column = query->table->key;
    if (value_from_text(key->kind, request->segments[5], request->arena,
                        &query->filters[0].value, &reason))
        return true;
    return err_set(err, ERR_INVALID_ID, "key '%.*s': %s", STR_ARG(key->name),
                   reason.text);
}

static bool read_row(struct engine *engine, struct api_request *request,
                     struct api_reply *reply, struct err *err)
{
    struct row_query query = {.table = find_table(engine->scripts,
                                                  request->segments[2],
                                                  request->segments[4], err)};
    struct json_out out;
    struct row *rows;
    size_t count;

    if (query.table == NULL || !request_allow(request, NULL, 0, err) ||
        !parse_key(request, &query, err) ||
        !store_rows_list(engine->store, &query, request->arena, &rows, &count,
                         err))
        return false;
    if (count == 0)
        return err_set(err, ERR_NOT_FOUND, "'%.*s' has no row '%.*s'",
                       STR_ARG(query.table->name),
                       STR_ARG(request->segments[5]));
    reply_json(reply, 200, &out);
    write_row(&out, query.table, &rows[0]);
    return true;
}

void api_row_read(struct engine *engine, struct api_request *request,
                  struct api_reply *reply)
{
    struct err err;

    if (!read_row(engine, request, reply, &err))
        api_problem(reply, &err);
}
