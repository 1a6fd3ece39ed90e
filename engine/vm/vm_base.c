/*
 * The base functions that differ from LuaJIT's: pairs has an order, pcall
 * cannot swallow a stop, tostring prints no addresses, and both tostring and
 * tonumber know decimals.
 */
#include "vm/vm_decimal.h"
#include "vm/vm_event.h"
#include "vm/vm_keys.h"
#include "vm/vm_lib.h"
#include "vm/vm_run.h"

/* ---- pairs ---- */

/* The length of a table whose keys are 1 to n and nothing else, else -1. */
static lua_Integer array_length(lua_State *L, struct vm *vm, int table)
{
    lua_Integer n = 0;

    lua_pushnil(L);
    while (lua_next(L, table)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TNUMBER ||
            lua_tonumber(L, -1) != (lua_Number)(n + 1)) {
            lua_pop(L, 1);
            return -1;
        }
        n++;
        vm_charge(L, vm, 2);
    }
    return n;
}

/* Upvalue: the length when the loop began.  Scripts have this function in
 * their hands, and may call it with anything. */
static int next_item(lua_State *L)
{
    lua_Integer n = lua_tointeger(L, lua_upvalueindex(1));

    luaL_checktype(L, 1, LUA_TTABLE);
    for (lua_Integer i = lua_tointeger(L, 2) + 1; i <= n; i++) {
        lua_rawgeti(L, 1, (int)i);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            vm_charge(L, vm_of(L), 2);
            continue;
        }
        lua_pushinteger(L, i);
        lua_insert(L, -2);
        return 2;
    }
    return 0;
}

/* Upvalues: the keys in order when the loop began, how many were visited.
 * Keys that were removed since are passed over. */
static int next_key(lua_State *L)
{
    int i = (int)lua_tointeger(L, lua_upvalueindex(2));

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    for (;;) {
        vm_charge(L, vm_of(L), 1);
        lua_rawgeti(L, lua_upvalueindex(1), ++i);
        if (lua_isnil(L, -1))
            return 0;
        lua_pushvalue(L, -1);
        lua_rawget(L, 1);
        if (!lua_isnil(L, -1))
            break;
        lua_pop(L, 2);
    }
    lua_pushinteger(L, i);
    lua_replace(L, lua_upvalueindex(2));
    return 2;
}

static void push_sorted_keys(lua_State *L, struct vm *vm, int table)
{
    size_t from = vm_keys_collect(L, vm, table);
    size_t count = vm->keys.count - from;

    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        vm_push_key(L, &vm->keys.items[from + i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    vm->keys.count = from;
}

/* pairs(table): the order does not depend on hashes or on history. */
static int base_pairs(lua_State *L)
{
    struct vm *vm = vm_of(L);

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    vm_event_fill(L, vm, 1);

    lua_Integer n = array_length(L, vm, 1);

    if (n >= 0) {
        lua_pushinteger(L, n);
        lua_pushcclosure(L, next_item, 1);
    } else {
        push_sorted_keys(L, vm, 1);
        lua_pushinteger(L, 0);
        lua_pushcclosure(L, next_key, 2);
    }
    lua_pushvalue(L, 1);
    return 2; /* and nil as the first key */
}

/* ---- pcall ---- */

static bool is_applying(const struct vm *vm)
{
    return vm->run != NULL && vm->run->applying;
}

/* pcall(f, …).  A stop goes through it, and so does running out of memory:
 * a script that could go on after it would only run into it again.  So does an
 * error of the `apply` below an `emit`: the event is among those to be stored
 * already, and it is one that cannot be folded. */
static int base_pcall(lua_State *L)
{
    struct vm *vm = vm_of(L);
    unsigned depth = vm->depth;
    size_t keys = vm->keys.count;
    bool applying = is_applying(vm);
    bool decoding = vm->decoding;

    luaL_checkany(L, 1);
    vm_deeper(L, vm);

    int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);

    vm->depth = depth;
    vm->keys.count = keys;
    if (status == LUA_ERRMEM && !vm->stopped)
        vm_stop_memory(L);
    if (vm->stopped || is_applying(vm) != applying)
        return lua_error(L);
    vm->decoding = decoding;
    lua_pushboolean(L, status == 0);
    lua_insert(L, 1);
    return lua_gettop(L);
}

/* ---- texts and numbers ---- */

static bool call_tostring_method(lua_State *L, struct vm *vm, int index)
{
    if (!luaL_getmetafield(L, index, "__tostring"))
        return false;
    lua_pushvalue(L, index);
    vm_lua_call(L, vm, 1, 1);
    if (!lua_isstring(L, -1))
        vm_throw(L, "__tostring must return a string");
    return true;
}

void vm_push_tostring(lua_State *L, struct vm *vm, int index)
{
    index = vm_abs(L, index);
    if (call_tostring_method(L, vm, index))
        return;
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        lua_pushvalue(L, index);
        break;
    case LUA_TNUMBER:
        lua_pushvalue(L, index);
        lua_tostring(L, -1); /* converts in place */
        break;
    case LUA_TBOOLEAN:
        lua_pushstring(L, lua_toboolean(L, index) ? "true" : "false");
        break;
    case LUA_TLIGHTUSERDATA: /* json.null is the only one */
        lua_pushliteral(L, "null");
        break;
    default:
        lua_pushstring(L, luaL_typename(L, index));
    }
}

static int base_tostring(lua_State *L)
{
    luaL_checkany(L, 1);
    vm_push_tostring(L, vm_of(L), 1);
    return 1;
}

/* tonumber(x[, base]): upvalue is LuaJIT's. */
static int base_tonumber(lua_State *L)
{
    struct vm *vm = vm_of(L);

    if (vm_is_decimal(L, vm, 1)) {
        lua_pushnumber(L, vm_decimal_number(L, 1));
        return 1;
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    vm_lua_call(L, vm, lua_gettop(L) - 1, 1);
    return 1;
}

const luaL_Reg vm_base_functions[] = {
    {"decimal", vm_decimal_make},
    {"pairs", base_pairs},
    {"pcall", base_pcall},
    {"reject", vm_reject},
    {"require", vm_require},
    {"time", vm_time},
    {"tostring", base_tostring},
    {"uuid", vm_uuid},
    {NULL, NULL},
};

const luaL_Reg vm_base_wrapped[] = {
    {"tonumber", base_tonumber},
    {NULL, NULL},
};
