/*
 * rep and format; the pattern functions are in vm_match.c.
 */
#include "vm/vm_lib.h"

#include <string.h>

/* string.rep(s, n[, sep]): upvalue is LuaJIT's, whose size wraps around. */
static int string_rep(lua_State *L)
{
    struct vm *vm = vm_of(L);
    size_t len, sep_len;
    double size;

    luaL_checklstring(L, 1, &len);
    lua_Number n = luaL_checknumber(L, 2);

    luaL_optlstring(L, 3, "", &sep_len);
    size = n > 0 ? n * ((double)len + (double)sep_len) : 0;
    if (size > (double)vm->limit)
        vm_throw(L, "string.rep: the result would have %.0f bytes", size);
    lua_settop(L, 3);
    if (size <= 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    vm_charge(L, vm, (size_t)size / 64);
    vm_lua_call(L, vm, 3, 1);
    return 1;
}

/* The conversion letter of the directive at `*format`, which moves behind
 * it. */
static char next_conversion(const char **format, const char *end)
{
    const char *at = *format + 1;

    while (at < end && strchr("-+ #0123456789.", *at) != NULL && *at != '\0')
        at++;
    *format = at < end ? at + 1 : end;
    return at < end ? *at : '\0';
}

/* Makes each argument of a "%s" a text of ours. */
static void convert_arguments(lua_State *L, struct vm *vm, struct str format)
{
    const char *end = format.ptr + format.len;
    int argument = 1;

    for (const char *at = format.ptr; at < end;) {
        if (*at != '%') {
            at++;
            continue;
        }
        char letter = next_conversion(&at, end);

        if (letter == '%')
            continue;
        argument++;
        if (letter == 'p')
            vm_throw(L, "string.format: '%%p' is not available");
        if (letter == 's' && argument <= lua_gettop(L)) {
            vm_push_tostring(L, vm, argument);
            lua_replace(L, argument);
        }
    }
}

/* string.format(format, …): upvalue is LuaJIT's, which prints addresses. */
static int string_format(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct str format;

    format.ptr = luaL_checklstring(L, 1, &format.len);
    convert_arguments(L, vm, format);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    vm_lua_call(L, vm, lua_gettop(L) - 1, 1);
    return 1;
}

const luaL_Reg vm_string_functions[] = {
    {"find", vm_string_find},
    {"gmatch", vm_string_gmatch},
    {"gsub", vm_string_gsub},
    {"match", vm_string_match},
    {NULL, NULL},
};

const luaL_Reg vm_string_wrapped[] = {
    {"format", string_format},
    {"rep", string_rep},
    {NULL, NULL},
};
