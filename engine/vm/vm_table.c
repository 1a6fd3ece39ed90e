/*
 * table.insert and table.sort: LuaJIT's can run for minutes in one call (an
 * insert far below 1, a sort of millions), where no hook comes.  And they, as
 * its table.move, write to any table, also to those that scripts may not
 * change.
 */
#include "vm/vm_keys.h"
#include "vm/vm_lib.h"

/* What follows writes without metamethods, so it must itself refuse what is
 * closed: libraries, `event`, `order`, `db`. */
static void check_open(lua_State *L, int index)
{
    int top = lua_gettop(L);

    luaL_checktype(L, index, LUA_TTABLE);
    if (luaL_getmetafield(L, index, "__newindex") &&
        luaL_getmetafield(L, index, "__metatable") && !lua_toboolean(L, -1))
        vm_throw(L, "this table is read-only");
    lua_settop(L, top);
}

/* ---- insert ---- */

static void insert_at(lua_State *L, struct vm *vm, int length)
{
    lua_Number place = luaL_checknumber(L, 2);

    if (!(place >= 1 && place <= length + 1))
        vm_throw(L, "table.insert: position %g is not in 1 to %d", place,
                 length + 1);
    for (int i = length; i >= (int)place; i--) {
        vm_charge(L, vm, 2); /* a length may be far more than there are items */
        lua_rawgeti(L, 1, i);
        lua_rawseti(L, 1, i + 1);
    }
    lua_rawseti(L, 1, (int)place);
}

/* table.insert(t, [position,] value) */
static int table_insert(lua_State *L)
{
    check_open(L, 1);

    int length = (int)lua_objlen(L, 1);

    switch (lua_gettop(L)) {
    case 2:
        lua_rawseti(L, 1, length + 1);
        return 0;
    case 3:
        insert_at(L, vm_of(L), length);
        return 0;
    default:
        return vm_throw(L, "usage: table.insert(t, [position,] value)");
    }
}

/* ---- sort ---- */

/* Stack below: 1 the table, 2 the comparator or nil. */
static bool less(lua_State *L, void *context, size_t a, size_t b)
{
    bool result;

    if (lua_isnil(L, 2)) {
        lua_rawgeti(L, 1, (int)a + 1);
        lua_rawgeti(L, 1, (int)b + 1);
        result = lua_lessthan(L, -2, -1);
        lua_pop(L, 2);
        return result;
    }
    lua_pushvalue(L, 2);
    lua_rawgeti(L, 1, (int)a + 1);
    lua_rawgeti(L, 1, (int)b + 1);
    vm_lua_call(L, context, 2, 1);
    result = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return result;
}

static void swap(lua_State *L, void *context, size_t a, size_t b)
{
    (void)context;
    lua_rawgeti(L, 1, (int)a + 1);
    lua_rawgeti(L, 1, (int)b + 1);
    lua_rawseti(L, 1, (int)a + 1);
    lua_rawseti(L, 1, (int)b + 1);
}

/* table.sort(t[, less]) */
static int table_sort(lua_State *L)
{
    struct vm *vm = vm_of(L);

    check_open(L, 1);
    if (!lua_isnoneornil(L, 2))
        luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    vm_deeper(L, vm); /* `<` may be a metamethod of the script */
    vm_sort(L, &(struct vm_sort){less, swap, vm}, lua_objlen(L, 1));
    vm->depth--;
    return 0;
}

/* table.move(from, first, last, at[, to]): upvalue is LuaJIT's. */
static int table_move(lua_State *L)
{
    check_open(L, lua_isnoneornil(L, 5) ? 1 : 5);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    vm_lua_call(L, vm_of(L), lua_gettop(L) - 1, 1);
    return 1;
}

const luaL_Reg vm_table_functions[] = {
    {"insert", table_insert},
    {"sort", table_sort},
    {NULL, NULL},
};

const luaL_Reg vm_table_wrapped[] = {
    {"move", table_move},
    {NULL, NULL},
};
