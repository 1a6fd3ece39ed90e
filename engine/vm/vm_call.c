/*
 * Life of a call: vm_enter sets the deadline, runs the body below a protected
 * call, and turns whatever comes out of it into a struct err.
 *
 * There are two kinds of failure.  An error is raised as a text, may be caught
 * by the script's pcall, and leaves the state usable.  A stop (deadline,
 * memory, a refusal, a lost store) is noted in vm->stop first; from there on
 * every pcall passes it on, so that nothing of the script runs any more.
 */
#include "base/clock.h"
#include "base/metrics.h"
#include "vm/vm_json.h"
#include "vm/vm_keys.h"
#include "vm/vm_state.h"

#include <inttypes.h>
#include <stdio.h>

/* Buffers above this are given back after a call. */
#define KEEP_BYTES ((size_t)256 * 1024)

/* ---- raising ---- */

void vm_stop_err(lua_State *L, const struct err *err)
{
    struct vm *vm = vm_of(L);

    if (!vm->stopped) {
        vm->stopped = true;
        vm->stop = *err;
        if (vm->where.file[0] == '\0') /* a refused allocation was first */
            vm_find_where(vm, &vm->where);
    }
    lua_pushnil(L); /* the value that needs no memory */
    lua_error(L);
    __builtin_unreachable();
}

void vm_stop(lua_State *L, enum err_code code, const char *format, ...)
{
    struct err err = {0};
    va_list args;

    va_start(args, format);
    err_vset(&err, code, format, args);
    va_end(args);
    vm_stop_err(L, &err);
}

void vm_stop_memory(lua_State *L)
{
    vm_stop(L, ERR_SCRIPT_MEMORY, "out of memory: the ceiling is %zu MiB",
            vm_of(L)->limit >> 20);
}

int vm_throw_err(lua_State *L, const struct err *err)
{
    luaL_where(L, 1);
    lua_pushstring(L, err->text);
    lua_concat(L, 2);
    lua_error(L);
    __builtin_unreachable();
}

int vm_throw(lua_State *L, const char *format, ...)
{
    struct err err = {0};
    va_list args;

    va_start(args, format);
    err_vset(&err, ERR_SCRIPT, format, args);
    va_end(args);
    vm_throw_err(L, &err);
}

void vm_deeper(lua_State *L, struct vm *vm)
{
    if (vm->depth >= VM_MAX_DEPTH)
        vm_throw(L, "calls nested too deep");
    vm->depth++;
}

/* For errors that come without a line: a function that ends in `return f()` is
 * not on the stack while f runs, and a full stack tells nothing at all. */
static void note_outermost(lua_State *L, struct vm *vm, int function)
{
    lua_Debug ar;

    lua_pushvalue(L, function);
    lua_getinfo(L, ">S", &ar);
    vm->outermost_file = ar.source[0] == '@' ? ar.source + 1 : NULL;
    vm->outermost_line = ar.linedefined;
}

void vm_lua_call(lua_State *L, struct vm *vm, int nargs, int nresults)
{
    vm_deeper(L, vm);
    if (vm->depth == 1)
        note_outermost(L, vm, -1 - nargs);
    lua_call(L, nargs, nresults);
    vm->depth--;
}

/* ---- from an error to a struct err ---- */

/* "orders.lua:12: text", cut into its parts; LuaJIT shortens long names to
 * "...end/of/path.lua:12:". */
static bool cut_position(struct str *message, struct str *file, int *line)
{
    struct str rest = *message;
    uint64_t number;

    *file = str_cut(&rest, ':');
    if (str_is_none(rest) || !str_to_u64(str_cut(&rest, ':'), &number) ||
        str_is_none(rest) || number > INT32_MAX)
        return false;
    *line = (int)number;
    if (str_starts(rest, STR(" ")))
        rest = str_n(rest.ptr + 1, rest.len - 1);
    *message = rest;
    return true;
}

/* A text that names its line keeps it: `error(text, 2)` blames the caller. */
static void place_message(struct vm *vm, struct str *message)
{
    struct str file;
    int line;

    if (!cut_position(message, &file, &line))
        return;
    vm->where.line = line;
    if (str_starts(file, STR("...")))
        file = str_n(file.ptr + 3, file.len - 3);
    if (!str_ends(str_of(vm->where.file), file))
        snprintf(vm->where.file, sizeof(vm->where.file), "%.*s", STR_ARG(file));
}

static void place_unknown(struct vm *vm)
{
    if (vm->where.file[0] != '\0' || vm->outermost_file == NULL)
        return;
    snprintf(vm->where.file, sizeof(vm->where.file), "%s", vm->outermost_file);
    vm->where.line = vm->outermost_line;
}

static void set_placed(struct vm *vm, enum err_code code, struct str message,
                       struct err *err)
{
    struct buf file = {0};

    place_unknown(vm);
    if (vm->where.file[0] == '\0') {
        err_set(err, code, "%.*s", STR_ARG(message));
        return;
    }
    err_set(err, code, "%s:%d: %.*s", vm->where.file, vm->where.line,
            STR_ARG(message));
    json_quote(&file, str_of(vm->where.file));
    err_extra(err, "\"file\":%s,\"line\":%d", file.ptr, vm->where.line);
    buf_done(&file);
}

static void take_stop(struct vm *vm, struct err *err)
{
    switch ((int)vm->stop.code) {
    case ERR_SCRIPT_TIMEOUT:
    case ERR_SCRIPT_MEMORY:
        vm->broken = true;
        metric_add(metric(METRIC_SANDBOX_KILLS), 1);
        set_placed(vm, vm->stop.code, str_of(vm->stop.text), err);
        break;
    case ERR_SCRIPT:
        set_placed(vm, ERR_SCRIPT, str_of(vm->stop.text), err);
        break;
    default: /* a refusal, or the store's own error: as it is */
        *err = vm->stop;
    }
}

static void take_message(struct vm *vm, struct str message, struct err *err)
{
    place_message(vm, &message);
    set_placed(vm, ERR_SCRIPT, message, err);
}

/* Leaves the text of an error value at the top of the stack. */
static int describe_body(lua_State *L)
{
    if (lua_istable(L, 1)) {
        struct vm *vm = vm_of(L);

        vm_push_str(L, vm_json_text(L, vm, 1));
    } else if (lua_isnil(L, 1)) {
        lua_pushliteral(L, "error without a message");
    } else {
        lua_pushfstring(L, "error with a %s for a message",
                        luaL_typename(L, 1));
    }
    return 1;
}

/* The value on top of the stack is replaced by a text of it. */
static struct str error_text(struct vm *vm)
{
    lua_State *L = vm->L;

    if (lua_type(L, -1) == LUA_TSTRING || lua_type(L, -1) == LUA_TNUMBER)
        return vm_str(L, -1);
    vm_push_ref(L, vm->describe_ref);
    lua_insert(L, -2);
    if (lua_pcall(L, 1, 1, 0) != 0)
        return STR("error with a value that has no text");
    return vm_str(L, -1);
}

static bool fail(struct vm *vm, int status, struct err *err)
{
    if (status == LUA_ERRMEM && !vm->stopped) {
        vm->stopped = true;
        err_set(&vm->stop, ERR_SCRIPT_MEMORY,
                "out of memory: the ceiling is %zu MiB", vm->limit >> 20);
    }
    if (status == LUA_ERRERR)
        vm->broken = true;
    if (vm->stopped)
        take_stop(vm, err);
    else
        take_message(vm, error_text(vm), err);
    return false;
}

/* ---- the door ---- */

static int enter(lua_State *L)
{
    struct vm *vm = vm_of(L);

    return vm->body(L, vm, vm->context);
}

/* Runs where the error was raised, before the stack is unwound. */
static int note_error(lua_State *L)
{
    struct vm *vm = vm_of(L);

    if (!vm->stopped)
        vm_find_where(vm, &vm->where);
    return 1;
}

void vm_call_open(lua_State *L, struct vm *vm)
{
    lua_pushcfunction(L, enter);
    vm->enter_ref = vm_ref(L);
    lua_pushcfunction(L, note_error);
    vm->handler_ref = vm_ref(L);
    lua_pushcfunction(L, describe_body);
    vm->describe_ref = vm_ref(L);
}

static void begin(struct vm *vm, vm_body *body, void *context,
                  uint32_t timeout_ms)
{
    vm->body = body;
    vm->context = context;
    vm->timeout_ms = timeout_ms;
    vm->deadline_us = clock_us() + (uint64_t)timeout_ms * 1000;
    vm->work = 0;
    vm->depth = 0;
    vm->stopped = false;
    vm->where.file[0] = '\0';
    vm->outermost_file = NULL;
}

static void end(struct vm *vm)
{
    lua_settop(vm->L, 0);
    vm->moment.kind = MOMENT_NONE;
    vm->event = NULL;
    vm->run = NULL;
    if (vm->text.capacity > KEEP_BYTES)
        buf_done(&vm->text);
    vm_keys_trim(vm, KEEP_BYTES);
}

bool vm_enter(struct vm *vm, vm_body *body, void *context, uint32_t timeout_ms,
              struct err *err)
{
    lua_State *L = vm->L;

    if (vm->broken)
        return err_set(err, ERR_INTERNAL, "the script's state is broken");
    begin(vm, body, context, timeout_ms);
    vm_push_ref(L, vm->handler_ref);
    vm_push_ref(L, vm->enter_ref);

    int status = lua_pcall(L, 0, 0, 1);
    bool ok = status == 0 || fail(vm, status, err);

    end(vm);
    return ok;
}

/* ---- helpers over the stack ---- */

int vm_ref(lua_State *L)
{
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

struct str vm_str(lua_State *L, int index)
{
    struct str s;

    s.ptr = lua_tolstring(L, index, &s.len);
    return s;
}

void vm_push_str(lua_State *L, struct str s)
{
    lua_pushlstring(L, s.ptr, s.len);
}

int vm_push_field(lua_State *L, int table, struct str name)
{
    table = vm_abs(L, table);
    vm_push_str(L, name);
    lua_rawget(L, table);
    return lua_type(L, -1);
}

int vm_abs(lua_State *L, int index)
{
    return index < 0 && index > LUA_REGISTRYINDEX ? lua_gettop(L) + index + 1
                                                  : index;
}

void vm_set_functions(lua_State *L, const luaL_Reg *functions)
{
    for (; functions->name != NULL; functions++) {
        lua_pushstring(L, functions->name);
        lua_pushcfunction(L, functions->func);
        lua_rawset(L, -3);
    }
}

void vm_close_metatable(lua_State *L)
{
    lua_pushliteral(L, "__metatable");
    lua_pushboolean(L, false);
    lua_rawset(L, -3);
}
