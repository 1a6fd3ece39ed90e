/*
 * A question's life: the table's declaration comes from the script set, which
 * outlives the request; parameters become a row_query whose values are in the
 * request's arena; rows come back into the same arena, piece by piece, and are
 * written at once, until there are enough or the page is large.
 */
#include "api/handlers.h"
#include "api/reply.h"
#include "api/request.h"
#include "api/row_token.h"
#include "core/readmodel.h"

/* ---- which table ---- */

static const struct projection_decl *
find_projection(const struct script_set *scripts, struct str name,
                struct err *err)
{
    const struct projection_decl *decl = script_set_projection(scripts, name);

    if (decl == NULL)
        err_set(err, ERR_NOT_FOUND, "there is no projection '%.*s'",
                STR_ARG(name));
    return decl;
}

static const struct table_def *find_table(const struct projection_decl *decl,
                                          struct str name, struct err *err)
{
    for (size_t i = 0; i < decl->table_count; i++) {
        if (str_eq(decl->tables[i].name, name))
            return &decl->tables[i];
    }
    err_set(err, ERR_NOT_FOUND, "projection '%.*s' has no table '%.*s'",
            STR_ARG(decl->name), STR_ARG(name));
    return NULL;
}

/* A table as its script declares it, when that is how it is installed. */
static const struct table_def *open_table(struct engine *engine,
                                          const struct api_request *request,
                                          struct err *err)
{
    const struct projection_decl *decl =
        find_projection(engine->scripts, request->segments[2], err);
    const struct table_def *table =
        decl != NULL ? find_table(decl, request->segments[4], err) : NULL;

    if (table != NULL &&
        readmodel_is_readable(engine->store, decl, request->arena, err))
        return table;
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

/* What was shown, in pieces: rows may be small or large, and a page that was
 * asked for as a whole might not fit into memory. */
struct listing {
    struct row_query *query;
    struct arena *arena;
    struct api_reply *reply;
    struct json_out out;
    uint32_t limit;
    uint32_t shown;
    const struct row *last; /* that was shown */
    bool more;              /* there is a row behind it, or may be */
};

#define PIECE_FIRST 100

static bool is_page_full(const struct listing *list)
{
    return list->shown == list->limit ||
           list->reply->body.len >= PAGE_MAX_BYTES;
}

/* One row more than is shown tells whether there is a next. */
static uint32_t piece_size(const struct listing *list)
{
    uint32_t left = list->limit - list->shown + 1;
    size_t room = PAGE_MAX_BYTES - list->reply->body.len;
    size_t fit = PIECE_FIRST;

    if (list->shown > 0)
        fit = room / (list->reply->body.len / list->shown) + 1;
    return fit + 1 < left ? (uint32_t)fit : left;
}

static void show_row(struct listing *list, const struct row *row)
{
    struct row_query *query = list->query;

    write_row(&list->out, query->table, row);
    list->shown++;
    list->last = row;
    query->resume = true;
    query->after_order = row->values[query->order];
    query->after_key = row->values[query->table->key];
}

static bool show_piece(struct store *store, struct listing *list,
                       struct err *err)
{
    struct row *rows;
    size_t count;
    size_t i;

    list->query->limit = piece_size(list);
    if (!store_rows_list(store, list->query, list->arena, &rows, &count, err))
        return false;
    for (i = 0; i < count && !is_page_full(list); i++)
        show_row(list, &rows[i]);
    list->more = i < count || count == list->query->limit;
    return true;
}

static bool write_rows(struct store *store, struct listing *list,
                       struct err *err)
{
    reply_json(list->reply, 200, &list->out);
    json_object(&list->out, NULL);
    json_array(&list->out, "rows");
    do {
        if (!show_piece(store, list, err))
            return false;
    } while (list->more && !is_page_full(list));
    json_end(&list->out, ']');
    if (list->more)
        json_put_str(&list->out, "next",
                     row_token_make(list->query, list->last, list->arena));
    else
        json_put_null(&list->out, "next");
    json_end(&list->out, '}');
    return true;
}

/* ---- rows ---- */

static bool list_rows(struct engine *engine, struct api_request *request,
                      struct api_reply *reply, struct err *err)
{
    struct row_query query = {.table = open_table(engine, request, err)};
    struct listing list = {
        .query = &query, .arena = request->arena, .reply = reply};

    return query.table != NULL &&
           parse_query(request, &query, &list.limit, err) &&
           write_rows(engine->store, &list, err);
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
    struct row_query query = {.table = open_table(engine, request, err)};
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
