/*
 * From the table of a projection script to its declaration: one function a
 * table, in the order of the file; each leaves the stack as it found it and
 * notes faults without stopping, so that one load tells of all of them.
 */
#include "vm/script_read.h"

#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define BATCH_SIZE_MAX  10000
#define TIMEOUT_MAX     3600.0
#define VERSION_MAX     1000000000
#define MAX_TABLES      64
#define MAX_EXACT_PLACE 9007199254740992.0 /* 2^53 */

static const char *const projection_keys[] = {
    "name", "version", "subscription", "tables", "on", "filter", NULL,
};
static const char *const subscription_keys[] = {
    "batch_size", "checkpoint_strategy", "processing_timeout",
    "required",   "start_from",          NULL,
};
static const char *const filter_keys[] = {
    "event_types",
    "aggregate_types",
    "tenant_id",
    NULL,
};
static const char *const table_keys[] = {"key", "columns", "indexes", NULL};

/* ---- subscription ---- */

static void read_timeout(struct reader *r, int table,
                         struct subscription_decl *out)
{
    if (reader_field(r, table, "processing_timeout", LUA_TNUMBER, OPTIONAL)) {
        double seconds = lua_tonumber(r->L, -1);

        if (seconds >= 0.001 && seconds <= TIMEOUT_MAX)
            out->processing_timeout_ms = (uint32_t)(seconds * 1000);
        else
            reader_fault(r, STR("processing_timeout"),
                         "'processing_timeout' is %g, allowed are 0.001 to "
                         "%.0f (seconds)",
                         seconds, TIMEOUT_MAX);
    }
    lua_pop(r->L, 1);
}

/* Effects and checkpoint are committed with every batch; the word may be
 * said. */
static void read_strategy(struct reader *r, int table)
{
    if (reader_field(r, table, "checkpoint_strategy", LUA_TSTRING, OPTIONAL) &&
        !str_eq(vm_str(r->L, -1), STR("every_batch")))
        reader_fault(r, STR("checkpoint_strategy"),
                     "'checkpoint_strategy' is '%s', allowed is 'every_batch'",
                     lua_tostring(r->L, -1));
    lua_pop(r->L, 1);
}

static bool start_word(struct str word, struct subscription_decl *out)
{
    /* clang-format off */
    static const char *const words[] = {
        [START_CHECKPOINT] = "checkpoint",
        [START_BEGINNING] = "beginning",
        [START_END] = "end",
    };
    /* clang-format on */

    for (unsigned i = 0; i < COUNT(words); i++) {
        if (!str_eq(word, str_of(words[i])))
            continue;
        out->start_from = i;
        return true;
    }
    return false;
}

static bool start_position(double place, struct subscription_decl *out)
{
    if (!(place >= 0 && place <= MAX_EXACT_PLACE) || place != trunc(place))
        return false;
    out->start_from = START_POSITION;
    out->start_position = (uint64_t)place;
    return true;
}

static void read_start(struct reader *r, int table,
                       struct subscription_decl *out)
{
    int type = vm_push_field(r->L, table, STR("start_from"));

    if (type == LUA_TSTRING)
        out->start_from_given = start_word(vm_str(r->L, -1), out);
    else if (type == LUA_TNUMBER)
        out->start_from_given = start_position(lua_tonumber(r->L, -1), out);
    if (type != LUA_TNIL && !out->start_from_given)
        reader_fault(r, STR("start_from"),
                     "'start_from' must be 'checkpoint', 'beginning', 'end' "
                     "or a position");
    lua_pop(r->L, 1);
}

static void read_subscription(struct reader *r, int projection,
                              struct subscription_decl *out)
{
    int table = lua_gettop(r->L) + 1;
    double batch_size;

    if (reader_field(r, projection, "subscription", LUA_TTABLE, OPTIONAL)) {
        reader_enter(r, STR("subscription"));
        reader_allow(r, table, subscription_keys);
        if (reader_integer(r, table, "batch_size", 1, BATCH_SIZE_MAX,
                           &batch_size))
            out->batch_size = (uint32_t)batch_size;
        read_timeout(r, table, out);
        read_strategy(r, table);
        read_start(r, table, out);
        out->required_given =
            reader_field(r, table, "required", LUA_TBOOLEAN, OPTIONAL);
        out->required = lua_toboolean(r->L, -1);
        lua_pop(r->L, 1);
        reader_leave(r);
    }
    lua_pop(r->L, 1);
}

/* ---- filter ---- */

static int compare_str(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static struct str *read_sorted(struct reader *r, int table, const char *name,
                               size_t *count_out)
{
    struct str *list = reader_list(r, table, name, count_out);

    if (*count_out > 0)
        qsort(list, *count_out, sizeof(*list), compare_str);
    return list;
}

static void read_filter(struct reader *r, int projection,
                        struct filter_decl *out)
{
    int table = lua_gettop(r->L) + 1;

    if (reader_field(r, projection, "filter", LUA_TTABLE, OPTIONAL)) {
        reader_enter(r, STR("filter"));
        reader_allow(r, table, filter_keys);
        out->event_types =
            read_sorted(r, table, "event_types", &out->event_type_count);
        out->aggregate_types = read_sorted(r, table, "aggregate_types",
                                           &out->aggregate_type_count);
        if (reader_field(r, table, "tenant_id", LUA_TSTRING, OPTIONAL))
            out->tenant_id = reader_text(r, -1);
        lua_pop(r->L, 1);
        reader_leave(r);
    }
    lua_pop(r->L, 1);
}

/* ---- tables ---- */

static void check_name(struct reader *r, struct str name, const char *what)
{
    struct err err = {0};
    char named[96];

    snprintf(named, sizeof(named), "%s '%.*s'", what, (int)MIN(name.len, 60),
             name.ptr);
    if (!value_check_name(name, named, &err))
        reader_fault_err(r, name, &err);
}

static void read_column(struct reader *r, int columns, struct str name,
                        struct column_def *out)
{
    struct err err = {0};

    out->name = name;
    check_name(r, name, "column");
    if (vm_push_field(r->L, columns, name) != LUA_TSTRING)
        err_set(&err, ERR_SCRIPT, "column '%.*s' must be a word like 'text'",
                STR_ARG(name));
    else if (!value_parse_word(vm_str(r->L, -1), &out->kind, &out->nullable,
                               &err))
        err_wrap(&err, "column '%.*s'", STR_ARG(name));
    if (err.code != ERR_NONE)
        reader_fault_err(r, name, &err);
    lua_pop(r->L, 1);
}

/* The key first, then by name. */
static void key_to_front(struct str *names, size_t count, struct str key)
{
    for (size_t i = 0; i < count; i++) {
        if (!str_eq(names[i], key))
            continue;
        memmove(names + 1, names, i * sizeof(*names));
        names[0] = key;
        return;
    }
}

static void read_columns(struct reader *r, int table, struct str key,
                         struct table_def *out)
{
    int columns = lua_gettop(r->L) + 1;
    struct str *names = NULL;
    size_t count = 0;

    if (reader_field(r, table, "columns", LUA_TTABLE, REQUIRED))
        names = reader_keys(r, columns, &count);
    if (count > TABLE_MAX_COLUMNS) {
        reader_fault(r, STR("columns"), "%zu columns, allowed are %d", count,
                     TABLE_MAX_COLUMNS);
        count = 0;
    }
    if (count > 0)
        key_to_front(names, count, key);
    reader_enter(r, STR("columns"));
    for (size_t i = 0; i < count; i++)
        read_column(r, columns, names[i], &out->columns[i]);
    reader_leave(r);
    out->column_count = count;
    lua_pop(r->L, 1);
}

/* STR_NONE when it is faulty. */
static struct str read_key(struct reader *r, int table)
{
    struct str key = STR_NONE;

    switch (vm_push_field(r->L, table, STR("key"))) {
    case LUA_TSTRING:
        key = reader_text(r, -1);
        break;
    case LUA_TTABLE:
        reader_fault(r, STR("key"),
                     "composite keys do not exist yet: 'key' must be the name "
                     "of one column");
        break;
    default:
        reader_fault(r, STR("key"), "'key' must be the name of a column");
    }
    lua_pop(r->L, 1);
    return key;
}

static void check_key(struct reader *r, struct str key,
                      const struct table_def *table)
{
    if (str_is_none(key) || table->column_count == 0)
        return;
    if (!str_eq(table->columns[0].name, key))
        reader_fault(r, STR("key"), "the key '%.*s' is not among the columns",
                     STR_ARG(key));
    else if (table->columns[0].nullable)
        reader_fault(r, key, "the key '%.*s' must not be null", STR_ARG(key));
    else if (table->columns[0].kind == VALUE_JSON ||
             table->columns[0].kind == VALUE_DOUBLE)
        reader_fault(r, key, "a column of kind %s cannot be the key",
                     value_word(table->columns[0].kind));
}

/* The list on top of the stack. */
static void read_index(struct reader *r, const struct table_def *table,
                       struct index_def *out)
{
    size_t count = lua_istable(r->L, -1) ? lua_objlen(r->L, -1) : 0;

    if (count == 0 || count > COUNT(out->columns)) {
        reader_fault(r, STR("indexes"),
                     "an index is a list of 1 to %zu columns",
                     COUNT(out->columns));
        return;
    }
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(r->L, -1, (int)i + 1);

        bool text = lua_type(r->L, -1) == LUA_TSTRING;
        int place = text ? table_column(table, vm_str(r->L, -1)) : -1;

        if (place < 0)
            reader_fault(r, STR("indexes"), "index on '%s', which is no column",
                         text ? lua_tostring(r->L, -1)
                              : luaL_typename(r->L, -1));
        else
            out->columns[out->count++] = (size_t)place;
        lua_pop(r->L, 1);
    }
}

static void read_indexes(struct reader *r, int table, struct table_def *out)
{
    size_t count = 0;

    if (reader_field(r, table, "indexes", LUA_TTABLE, OPTIONAL))
        count = lua_objlen(r->L, -1);
    if (count > TABLE_MAX_INDEXES) {
        reader_fault(r, STR("indexes"), "%zu indexes, allowed are %d", count,
                     TABLE_MAX_INDEXES);
        count = 0;
    }
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(r->L, -1, (int)i + 1);
        read_index(r, out, &out->indexes[i]);
        lua_pop(r->L, 1);
    }
    out->index_count = count;
    lua_pop(r->L, 1);
}

static void read_table(struct reader *r, int tables, struct str name,
                       struct table_def *out)
{
    int table = lua_gettop(r->L) + 1;
    struct str key;

    out->name = name;
    check_name(r, name, "table");
    if (vm_push_field(r->L, tables, name) != LUA_TTABLE) {
        reader_fault(r, name, "table '%.*s' must be a table with key, columns",
                     STR_ARG(name));
        lua_pop(r->L, 1);
        return;
    }
    reader_enter(r, name);
    reader_allow(r, table, table_keys);
    key = read_key(r, table);
    read_columns(r, table, key, out);
    check_key(r, key, out);
    read_indexes(r, table, out);
    reader_leave(r);
    lua_settop(r->L, table - 1);
}

static void read_tables(struct reader *r, int projection,
                        struct projection_decl *out)
{
    int tables = lua_gettop(r->L) + 1;
    struct str *names = NULL;
    size_t count = 0;

    if (reader_field(r, projection, "tables", LUA_TTABLE, REQUIRED)) {
        names = reader_keys(r, tables, &count);
        if (count == 0 || count > MAX_TABLES)
            reader_fault(r, STR("tables"), "%zu tables, allowed are 1 to %d",
                         count, MAX_TABLES);
    }
    count = MIN(count, MAX_TABLES);
    out->tables = ARENA_ARRAY(r->arena, struct table_def, count + 1);
    out->table_count = count;
    reader_enter(r, STR("tables"));
    for (size_t i = 0; i < count; i++)
        read_table(r, tables, names[i], &out->tables[i]);
    reader_leave(r);
    lua_pop(r->L, 1);
}

/* ---- the canonical text of the tables ---- */

static void write_columns(struct json_out *out, const struct table_def *table)
{
    char word[32];

    json_object(out, "columns");
    for (size_t i = 0; i < table->column_count; i++) {
        const struct column_def *column = &table->columns[i];

        snprintf(word, sizeof(word), "%s%s", value_word(column->kind),
                 column->nullable ? "?" : "");
        json_key(out, column->name);
        json_put_text(out, NULL, word);
    }
    json_end(out, '}');
}

static void write_indexes(struct json_out *out, const struct table_def *table)
{
    json_array(out, "indexes");
    for (size_t i = 0; i < table->index_count; i++) {
        const struct index_def *index = &table->indexes[i];

        json_array(out, NULL);
        for (size_t c = 0; c < index->count; c++)
            json_put_str(out, NULL, table->columns[index->columns[c]].name);
        json_end(out, ']');
    }
    json_end(out, ']');
}

static struct str definition(struct arena *arena,
                             const struct projection_decl *decl)
{
    struct buf text = {0};
    struct json_out out;
    struct str copy;

    json_begin(&out, &text);
    json_array(&out, NULL);
    for (size_t i = 0; i < decl->table_count; i++) {
        const struct table_def *table = &decl->tables[i];

        json_object(&out, NULL);
        json_put_str(&out, "name", table->name);
        json_put_str(&out, "key", table->columns[table->key].name);
        write_columns(&out, table);
        write_indexes(&out, table);
        json_end(&out, '}');
    }
    json_end(&out, ']');
    copy = arena_str(arena, buf_as_str(&text));
    buf_done(&text);
    return copy;
}

/* ---- handlers ---- */

static void read_handlers(struct reader *r, int projection,
                          struct projection_decl *out)
{
    int on = lua_gettop(r->L) + 1;
    struct str *names = NULL;
    size_t count = 0;

    if (reader_field(r, projection, "on", LUA_TTABLE, REQUIRED)) {
        names = reader_keys(r, on, &count);
        if (count == 0)
            reader_fault(r, STR("on"), "'on' has no handler");
    }
    out->handlers = ARENA_ARRAY(r->arena, struct str, count + 1);
    reader_enter(r, STR("on"));
    for (size_t i = 0; i < count; i++) {
        if (vm_push_field(r->L, on, names[i]) != LUA_TFUNCTION)
            reader_fault(r, names[i], "'on[\"%.*s\"]' must be a function",
                         STR_ARG(names[i]));
        lua_pop(r->L, 1);
        if (str_eq(names[i], STR("*")))
            out->handles_any = true;
        else
            out->handlers[out->handler_count++] = names[i];
    }
    reader_leave(r);
    lua_pop(r->L, 1);
}

static void read_name(struct reader *r, int table, struct projection_decl *out)
{
    if (reader_field(r, table, "name", LUA_TSTRING, REQUIRED)) {
        out->name = reader_text(r, -1);
        check_name(r, out->name, "projection");
    }
    lua_pop(r->L, 1);
}

void read_projection(struct reader *r, int table, struct projection_decl *out)
{
    double version = 1;

    reader_allow(r, table, projection_keys);
    read_name(r, table, out);
    reader_integer(r, table, "version", 1, VERSION_MAX, &version);
    out->version = (uint32_t)version;
    read_subscription(r, table, &out->subscription);
    read_tables(r, table, out);
    read_filter(r, table, &out->filter);
    read_handlers(r, table, out);
    if (r->faults == 0)
        out->definition = definition(r->arena, out);
}
