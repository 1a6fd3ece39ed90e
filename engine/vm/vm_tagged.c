/*
 * Both ways go through vm_json: a tagged copy of the value is made and encoded,
 * or a text decoded and its tags taken off in place.
 */
#include "vm/vm_tagged.h"

#include "base/mem.h"
#include "vm/vm_decimal.h"
#include "vm/vm_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define EXACT_INTEGER 9007199254740992.0 /* 2^53 */

/* ---- tagging ---- */

struct tagger {
    lua_State *L;
    struct vm *vm;
    int seen; /* a table whose keys are the tables that were met */
    int depth;
};

static void tag_table(struct tagger *t);

/* Replaces the string on top of the stack by one with `tag` before it. */
static void put_before(lua_State *L, const char *tag)
{
    lua_pushstring(L, tag);
    lua_insert(L, -2);
    lua_concat(L, 2);
}

static bool is_plain_number(double value)
{
    if (value != trunc(value))
        return true;
    return fabs(value) <= EXACT_INTEGER && !(value == 0 && signbit(value));
}

static void tag_number(lua_State *L)
{
    double value = lua_tonumber(L, -1);
    char text[40];

    if (!isfinite(value) || is_plain_number(value))
        return; /* the encoder refuses what is not finite */
    snprintf(text, sizeof(text), "~n%a", value);
    lua_pop(L, 1);
    lua_pushstring(L, text);
}

static void tag_decimal(struct tagger *t)
{
    if (!vm_is_decimal(t->L, t->vm, -1))
        return; /* the encoder refuses it */
    buf_clear(&t->vm->text);
    buf_text(&t->vm->text, "~d");
    vm_decimal_text(t->L, -1, &t->vm->text);
    lua_pop(t->L, 1);
    vm_push_str(t->L, buf_as_str(&t->vm->text));
}

/* Replaces the value on top of the stack. */
static void tag_value(struct tagger *t)
{
    lua_State *L = t->L;

    vm_charge(L, t->vm, 5);
    switch (lua_type(L, -1)) {
    case LUA_TSTRING:
        if (str_starts(vm_str(L, -1), STR("~")))
            put_before(L, "~");
        break;
    case LUA_TNUMBER:
        tag_number(L);
        break;
    case LUA_TUSERDATA:
        tag_decimal(t);
        break;
    case LUA_TTABLE:
        tag_table(t);
        break;
    default:
        break;
    }
}

static void check_once(struct tagger *t, int table)
{
    lua_State *L = t->L;

    lua_pushvalue(L, table);
    lua_rawget(L, t->seen);
    if (!lua_isnil(L, -1))
        vm_throw(L, "a table of the state is in two of its places");
    lua_pop(L, 1);
    lua_pushvalue(L, table);
    lua_pushboolean(L, true);
    lua_rawset(L, t->seen);
}

/* Copies members, those of a list one place further when `tagged`. */
static void tag_members(struct tagger *t, int from, int to, bool tagged)
{
    lua_State *L = t->L;

    lua_pushnil(L);
    while (lua_next(L, from)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2); /* stack: key, key, value */
        tag_value(t);
        if (tagged && lua_type(L, -2) == LUA_TNUMBER) {
            lua_pushnumber(L, lua_tonumber(L, -2) + 1);
            lua_replace(L, -3);
        }
        lua_rawset(L, to);
    }
}

/* Replaces the table on top of the stack by a tagged copy. */
static void tag_table(struct tagger *t)
{
    lua_State *L = t->L;
    int from = lua_gettop(L);
    bool is_array = vm_is_array(L, t->vm, from);
    bool is_list = !is_array && lua_objlen(L, from) > 0;

    if (t->depth++ == JSON_MAX_DEPTH)
        vm_throw(L, "the state is nested deeper than %d levels",
                 JSON_MAX_DEPTH);
    luaL_checkstack(L, 8, "the state");
    if (!is_array && lua_getmetatable(L, from))
        vm_throw(L, "a table of the state has a metatable");
    check_once(t, from);
    lua_newtable(L);
    if (is_list) {
        lua_pushliteral(L, "~l");
        lua_rawseti(L, from + 1, 1);
    }
    if (is_array || is_list) {
        vm_push_ref(L, t->vm->array_ref);
        lua_setmetatable(L, from + 1);
    }
    tag_members(t, from, from + 1, is_list);
    lua_replace(L, from);
    t->depth--;
}

struct str vm_tagged_text(lua_State *L, struct vm *vm, int index)
{
    struct tagger t = {.L = L, .vm = vm};

    index = vm_abs(L, index);
    lua_newtable(L);
    t.seen = lua_gettop(L);
    lua_pushvalue(L, index);
    tag_value(&t);
    return vm_json_text(L, vm, -1);
}

/* ---- and back ---- */

static void untag_table(lua_State *L, struct vm *vm);

static void untag_number(lua_State *L, const char *text)
{
    char *end;
    double value = strtod(text, &end);

    if (*end != '\0' || end == text)
        vm_throw(L, "'%s' is no number", text);
    lua_pop(L, 1);
    lua_pushnumber(L, value);
}

/* Replaces the string on top of the stack by what it stands for. */
static void untag_string(lua_State *L, struct vm *vm)
{
    struct str text = vm_str(L, -1);

    if (!str_starts(text, STR("~")))
        return;
    if (str_starts(text, STR("~~"))) {
        vm_push_str(L, str_n(text.ptr + 1, text.len - 1));
        lua_remove(L, -2);
    } else if (str_starts(text, STR("~d"))) {
        vm_push_decimal_text(L, vm, str_n(text.ptr + 2, text.len - 2));
        lua_remove(L, -2);
    } else if (str_starts(text, STR("~n"))) {
        untag_number(L, text.ptr + 2);
    } else {
        vm_throw(L, "unknown tag '%.*s'", STR_ARG(text));
    }
}

/* The list whose tag is known loses tag and mark, and moves one place up. */
static void untag_list(lua_State *L, int list)
{
    int count = (int)lua_objlen(L, list);

    for (int i = 1; i < count; i++) {
        lua_rawgeti(L, list, i + 1);
        lua_rawseti(L, list, i);
    }
    lua_pushnil(L);
    lua_rawseti(L, list, count);
    lua_pushnil(L);
    lua_setmetatable(L, list);
}

static bool has_list_tag(lua_State *L, int table)
{
    bool tagged;

    lua_rawgeti(L, table, 1);
    tagged = lua_type(L, -1) == LUA_TSTRING && str_eq(vm_str(L, -1), STR("~l"));
    lua_pop(L, 1);
    return tagged;
}

/* Only keys that are there are set, which a walk allows. */
static void untag_table(lua_State *L, struct vm *vm)
{
    int table = lua_gettop(L);

    luaL_checkstack(L, 8, "the state");
    if (vm_is_array(L, vm, table) && has_list_tag(L, table))
        untag_list(L, table);
    lua_pushnil(L);
    while (lua_next(L, table)) {
        vm_charge(L, vm, 5);
        if (lua_istable(L, -1)) {
            untag_table(L, vm);
            lua_pop(L, 1);
        } else if (lua_type(L, -1) == LUA_TSTRING) {
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            untag_string(L, vm);
            lua_rawset(L, table);
        } else {
            lua_pop(L, 1);
        }
    }
}

void vm_push_tagged(lua_State *L, struct vm *vm, struct str checked)
{
    vm_push_json(L, vm, checked);
    if (!lua_istable(L, -1))
        vm_throw(L, "a state is a table");
    untag_table(L, vm);
}
