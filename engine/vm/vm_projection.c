/*
 * `db` in a handler.  It is built once, when the script is loaded: a frozen
 * table of frozen tables, whose methods are closures that know their script and
 * the place of their table.  Whose rows they change is known only after
 * vm_bind_db.
 *
 * Life of a write: the fields of the Lua table are checked and converted, one
 * by one, into a row of values whose texts are in the batch's arena; then the
 * host's function takes the row.  Up to there an error may unwind the stack,
 * and nothing was changed.
 */
#include "vm/vm_projection.h"

#include "vm/sandbox.h"
#include "vm/vm_event.h"
#include "vm/vm_keys.h"
#include "vm/vm_lib.h"
#include "vm/vm_run.h"
#include "vm/vm_value.h"

#include <stdio.h>

/* ---- whose rows ---- */

enum { UP_SCRIPT = 1, UP_TABLE, UP_SELF }; /* upvalues of the methods */

struct target {
    lua_State *L;
    struct vm *vm;
    struct vm_script *script;
    size_t place;
    const struct table_def *table;
    const char *method;
};

/* Usage is shown as `usage: db.orders:put(row: table)`. */
static struct target check_target(lua_State *L, const char *method,
                                  const char *arguments, int count)
{
    struct target t = {.L = L, .vm = vm_of(L), .method = method};

    t.script = lua_touserdata(L, lua_upvalueindex(UP_SCRIPT));
    t.place = (size_t)lua_tointeger(L, lua_upvalueindex(UP_TABLE));
    if (t.script->projection == NULL || t.vm->event == NULL ||
        t.vm->event_script != t.script)
        vm_throw(L, "db is only usable while a handler of its projection runs");
    t.table = &t.script->projection->tables[t.place];
    if (!lua_rawequal(L, 1, lua_upvalueindex(UP_SELF)) ||
        lua_gettop(L) != count || lua_isnil(L, 2))
        vm_throw(L, "usage: db.%.*s:%s(%s)", STR_ARG(t.table->name), method,
                 arguments);
    if (count == 3)
        luaL_checktype(L, 3, LUA_TTABLE);
    return t;
}

/* A store that cannot be reached ends the handler; anything else is an error
 * of the script's line. */
static void fail(const struct target *t, struct err *err) NORETURN;

static void fail(const struct target *t, struct err *err)
{
    if (err_may_retry(err->code))
        vm_stop_err(t->L, err);
    err_wrap(err, "db.%.*s:%s", STR_ARG(t->table->name), t->method);
    vm_throw_err(t->L, err);
}

/* Called before the host takes a row: a handler that writes for ever is
 * stopped at the ceiling of its state. */
static void check_memory(const struct target *t)
{
    vm_charge(t->L, t->vm, 20);
    vm_check_arena(t->L, t->vm, t->script->arena, t->script->arena_used);
}

/* ---- reading rows ---- */

static void refuse_column(const struct target *t, struct str name)
{
    struct err err = {0};
    size_t len;

    err_set(&err, ERR_INVALID_INPUT,
            "no column '%.*s' (columns:", STR_ARG(name));
    for (size_t i = 0; i < t->table->column_count; i++) {
        len = strlen(err.text);
        snprintf(err.text + len, sizeof(err.text) - len, "%s %.*s%s",
                 i > 0 ? "," : "", STR_ARG(t->table->columns[i].name),
                 i + 1 == t->table->column_count ? ")" : "");
    }
    fail(t, &err);
}

static size_t check_column(const struct target *t, int index)
{
    struct str name;
    int place;

    if (lua_type(t->L, index) != LUA_TSTRING)
        refuse_column(t, str_of(luaL_typename(t->L, index)));
    name = vm_str(t->L, index);
    place = table_column(t->table, name);
    if (place < 0)
        refuse_column(t, name);
    return (size_t)place;
}

static void read_value(const struct target *t, int index, size_t column,
                       struct value *out)
{
    struct err err = {0};

    if (!vm_to_value(t->L, t->vm, index, &t->table->columns[column],
                     t->script->arena, out, &err))
        fail(t, &err);
}

/* The fields of the table at `index`: a bit for each column that is there. */
static uint64_t read_fields(const struct target *t, int index,
                            struct value row[TABLE_MAX_COLUMNS])
{
    uint64_t columns = 0;

    for (size_t i = 0; i < t->table->column_count; i++)
        row[i].kind = VALUE_NULL;
    lua_pushnil(t->L);
    while (lua_next(t->L, index)) {
        size_t column = check_column(t, -2);

        read_value(t, -1, column, &row[column]);
        columns |= UINT64_C(1) << column;
        lua_pop(t->L, 1);
    }
    return columns;
}

static void check_complete(const struct target *t, const struct value *row)
{
    struct err err = {0};

    for (size_t i = 0; i < t->table->column_count; i++) {
        if (row[i].kind != VALUE_NULL || t->table->columns[i].nullable)
            continue;
        err_set(&err, ERR_INVALID_INPUT, "column '%.*s' must not be null",
                STR_ARG(t->table->columns[i].name));
        fail(t, &err);
    }
}

/* The key may stand among the fields, as itself; it is no change. */
static uint64_t without_key(const struct target *t, uint64_t columns,
                            const struct value *key, const struct value *row)
{
    struct err err = {0};
    uint64_t bit = UINT64_C(1) << t->table->key;

    if ((columns & bit) != 0 && !value_eq(key, &row[t->table->key])) {
        err_set(&err, ERR_INVALID_INPUT,
                "column '%.*s' is the key and cannot change",
                STR_ARG(t->table->columns[t->table->key].name));
        fail(t, &err);
    }
    return columns & ~bit;
}

/* ---- the methods ---- */

/* After a call of the host: what it waited for the store does not count
 * against the script. */
static void settle(const struct target *t, bool good, struct err *err)
{
    struct vm_script *script = t->script;
    uint64_t waited_us = script->db->waited_us(script->db_context);

    t->vm->deadline_us += waited_us - script->db_waited_us;
    script->db_waited_us = waited_us;
    if (!good)
        fail(t, err);
}

static void push_row(const struct target *t, const struct value *row)
{
    lua_State *L = t->L;

    lua_createtable(L, 0, (int)t->table->column_count);
    for (size_t i = 0; i < t->table->column_count; i++) {
        if (row[i].kind == VALUE_NULL)
            continue;
        vm_push_str(L, t->table->columns[i].name);
        vm_push_value(L, t->vm, &row[i]);
        lua_rawset(L, -3);
    }
}

/* db.T:get(key) */
static int db_get(lua_State *L)
{
    struct target t = check_target(L, "get", "key", 2);
    const struct value *row = NULL;
    struct value key;
    struct err err = {0};

    read_value(&t, 2, t.table->key, &key);
    check_memory(&t);
    settle(&t,
           t.script->db->get(t.script->db_context, t.place, &key, &row, &err),
           &err);
    if (row == NULL)
        lua_pushnil(L);
    else
        push_row(&t, row);
    return 1;
}

typedef bool write_row(void *context, size_t table, const struct value *row,
                       struct err *err);

static int write_whole(struct target *t, write_row *write)
{
    struct value row[TABLE_MAX_COLUMNS];
    struct err err = {0};

    luaL_checktype(t->L, 2, LUA_TTABLE);
    read_fields(t, 2, row);
    check_complete(t, row);
    check_memory(t);
    settle(t, write(t->script->db_context, t->place, row, &err), &err);
    return 0;
}

/* db.T:put(row) */
static int db_put(lua_State *L)
{
    struct target t = check_target(L, "put", "row: table", 2);

    return write_whole(&t, t.script->db->put);
}

/* db.T:insert(row) */
static int db_insert(lua_State *L)
{
    struct target t = check_target(L, "insert", "row: table", 2);

    return write_whole(&t, t.script->db->insert);
}

/* db.T:patch(key, fields) */
static int db_patch(lua_State *L)
{
    struct target t = check_target(L, "patch", "key, fields: table", 3);
    struct value key, row[TABLE_MAX_COLUMNS];
    struct err err = {0};
    uint64_t columns;

    read_value(&t, 2, t.table->key, &key);
    columns = without_key(&t, read_fields(&t, 3, row), &key, row);
    check_memory(&t);
    if (columns != 0)
        settle(&t,
               t.script->db->patch(t.script->db_context, t.place, &key, row,
                                   columns, &err),
               &err);
    return 0;
}

static void check_amounts(const struct target *t, uint64_t columns,
                          const struct value *row)
{
    struct err err = {0};

    for (size_t i = 0; i < t->table->column_count; i++) {
        const struct column_def *column = &t->table->columns[i];

        if ((columns >> i & 1) == 0 ||
            (value_is_numeric(column->kind) && row[i].kind != VALUE_NULL))
            continue;
        err_set(&err, ERR_INVALID_INPUT,
                "column '%.*s' (%s) cannot be added to: amounts are numbers "
                "for numeric columns",
                STR_ARG(column->name), value_word(column->kind));
        fail(t, &err);
    }
}

/* db.T:add(key, amounts) */
static int db_add(lua_State *L)
{
    struct target t = check_target(L, "add", "key, amounts: table", 3);
    struct value key, row[TABLE_MAX_COLUMNS];
    struct err err = {0};
    uint64_t columns;

    read_value(&t, 2, t.table->key, &key);
    columns = without_key(&t, read_fields(&t, 3, row), &key, row);
    check_amounts(&t, columns, row);
    check_memory(&t);
    settle(&t,
           t.script->db->add(t.script->db_context, t.place, &key, row, columns,
                             &err),
           &err);
    return 0;
}

/* db.T:delete(key) */
static int db_delete(lua_State *L)
{
    struct target t = check_target(L, "delete", "key", 2);
    struct value key;
    struct err err = {0};

    read_value(&t, 2, t.table->key, &key);
    check_memory(&t);
    settle(&t, t.script->db->remove(t.script->db_context, t.place, &key, &err),
           &err);
    return 0;
}

static const luaL_Reg methods[] = {
    {"add", db_add},       {"delete", db_delete}, {"get", db_get},
    {"insert", db_insert}, {"patch", db_patch},   {"put", db_put},
};

/* ---- building db ---- */

static int unknown_method(lua_State *L)
{
    return vm_throw(L,
                    "no method '%s' (there are: add, delete, get, insert, "
                    "patch, put)",
                    lua_isstring(L, 2) ? lua_tostring(L, 2)
                                       : luaL_typename(L, 2));
}

static int unknown_table(lua_State *L)
{
    return vm_throw(L, "db has no table '%s' (tables: %s)",
                    lua_isstring(L, 2) ? lua_tostring(L, 2)
                                       : luaL_typename(L, 2),
                    lua_tostring(L, lua_upvalueindex(1)));
}

/* The table on top of the stack answers for names it does not have by the
 * function above it, which is popped. */
static void set_fallback(lua_State *L)
{
    lua_newtable(L);
    lua_insert(L, -2);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

/* Pushes db.T for the table at `place`. */
static void push_table(lua_State *L, struct vm_script *script, size_t place)
{
    lua_newtable(L); /* stack: methods */
    lua_pushcfunction(L, unknown_method);
    set_fallback(L);
    lua_pushvalue(L, -1);
    sandbox_freeze(L, "a table of db"); /* stack: methods, T */
    for (size_t i = 0; i < COUNT(methods); i++) {
        lua_pushlightuserdata(L, script);
        lua_pushinteger(L, (lua_Integer)place);
        lua_pushvalue(L, -3);
        lua_pushcclosure(L, methods[i].func, 3);
        lua_setfield(L, -3, methods[i].name);
    }
    lua_remove(L, -2);
}

static void push_names(lua_State *L, const struct projection_decl *decl)
{
    lua_pushliteral(L, "");
    for (size_t i = 0; i < decl->table_count; i++) {
        if (i > 0)
            lua_pushliteral(L, ", ");
        vm_push_str(L, decl->tables[i].name);
        lua_concat(L, i > 0 ? 3 : 2);
    }
}

void vm_push_db(lua_State *L, struct vm_script *script,
                const struct projection_decl *decl)
{
    lua_newtable(L);
    for (size_t i = 0; i < decl->table_count; i++) {
        vm_push_str(L, decl->tables[i].name);
        push_table(L, script, i);
        lua_rawset(L, -3);
    }
    push_names(L, decl);
    lua_pushcclosure(L, unknown_table, 1);
    set_fallback(L);
    sandbox_freeze(L, "db");
}

/* ---- handlers ---- */

static struct vm_script *script_of(const struct vm *vm, int script)
{
    CHECK(script >= 0 && (size_t)script < vm->script_count);
    CHECK(vm->scripts[script]->kind == SCRIPT_PROJECTION);
    return vm->scripts[script];
}

void vm_bind_db(struct vm *vm, int script, const struct projection_decl *decl,
                const struct vm_db *db, void *context, struct arena *arena)
{
    struct vm_script *of = script_of(vm, script);

    of->projection = decl;
    of->db = db;
    of->db_context = context;
    of->db_waited_us = db->waited_us(context);
    of->arena = arena;
}

struct handle {
    struct vm_script *script;
    const struct event *event;
};

/* Pushes the handler for an event type, else the one for any. */
static bool push_handler(lua_State *L, const struct vm_script *script,
                         struct str event_type)
{
    vm_push_ref(L, script->on_ref);
    if (vm_push_field(L, 1, event_type) == LUA_TFUNCTION)
        return true;
    lua_pop(L, 1);
    return vm_push_field(L, 1, STR("*")) == LUA_TFUNCTION;
}

static int handle_body(lua_State *L, struct vm *vm, void *context)
{
    struct handle *handle = context;

    lua_settop(L, 0);
    if (!push_handler(L, handle->script, handle->event->event_type))
        return 0;
    vm_push_event(L, vm, handle->event, handle->script);
    vm_push_ref(L, handle->script->db_ref);
    vm->moment = (struct vm_moment){MOMENT_EVENT, handle->event, 0};
    vm_lua_call(L, vm, 2, 0);
    return 0;
}

bool vm_handle(struct vm *vm, int script, const struct event *event,
               uint32_t timeout_ms, struct err *err)
{
    struct handle handle = {script_of(vm, script), event};

    if (handle.script->arena != NULL)
        handle.script->arena_used = handle.script->arena->used;
    return vm_enter(vm, handle_body, &handle, timeout_ms, err);
}
