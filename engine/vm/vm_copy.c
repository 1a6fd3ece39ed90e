#include "vm/vm_copy.h"

#include "base/json.h"

struct copier {
    lua_State *L;
    struct vm *vm;
    const char *what;
    int depth;
};

/* Replaces the table on top of the stack by a copy. */
static void copy_table(struct copier *c)
{
    lua_State *L = c->L;
    int from = lua_gettop(L);

    if (c->depth++ == JSON_MAX_DEPTH)
        vm_throw(L, "%s is nested deeper than %d levels, or contains itself",
                 c->what, JSON_MAX_DEPTH);
    luaL_checkstack(L, 6, c->what);
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, from)) {
        vm_charge(L, c->vm, 10);
        if (lua_istable(L, -1))
            copy_table(c);
        lua_pushvalue(L, -2);
        lua_insert(L, -2); /* stack: copy, key, key, value */
        lua_rawset(L, from + 1);
    }
    if (lua_getmetatable(L, from))
        lua_setmetatable(L, -2);
    lua_replace(L, from);
    c->depth--;
}

void vm_push_copy(lua_State *L, struct vm *vm, int index, const char *what)
{
    struct copier c = {L, vm, what, 0};

    lua_pushvalue(L, index);
    copy_table(&c);
}
