/*
 * Life of an environment: LuaJIT's libraries are opened into a table that only
 * we see; what is on the lists is copied out of it, our own functions beside
 * it; each library is closed behind a proxy; then LuaJIT's table is dropped.
 */
#include "vm/sandbox.h"

#include "vm/vm_decimal.h"
#include "vm/vm_event.h"
#include "vm/vm_json.h"
#include "vm/vm_lib.h"
#include "vm/vm_run.h"

#include <lualib.h>

/* ---- names ---- */

struct library {
    const char *name;
    const char *const *taken; /* as LuaJIT has them */
    const luaL_Reg *own;
    const luaL_Reg *wrapped; /* own, with LuaJIT's function as an upvalue */
};

/* clang-format off */
static const char *const base_taken[] = {
    "assert", "error", "getmetatable", "ipairs", "rawequal", "rawget",
    "select", "setmetatable", "type", "unpack", NULL,
};
static const char *const string_taken[] = {
    "byte", "char", "len", "lower", "reverse", "sub", "upper", NULL,
};
static const char *const table_taken[] = {
    "concat", "maxn", "remove", NULL,
};
static const char *const math_taken[] = {
    "abs", "acos", "asin", "atan", "atan2", "ceil", "cos", "cosh", "deg",
    "exp", "floor", "fmod", "frexp", "huge", "ldexp", "log", "log10", "max",
    "min", "modf", "pi", "pow", "rad", "sin", "sinh", "sqrt", "tan", "tanh",
    NULL,
};
static const char *const bit_taken[] = {
    "arshift", "band", "bnot", "bor", "bswap", "bxor", "lshift", "rol", "ror",
    "rshift", "tobit", "tohex", NULL,
};
static const char *const nothing[] = {NULL};
static const luaL_Reg none[] = {{NULL, NULL}};

static const struct library base_library =
    {NULL, base_taken, vm_base_functions, vm_base_wrapped};

static const struct library libraries[] = {
    {"string", string_taken, vm_string_functions, vm_string_wrapped},
    {"table",  table_taken,  vm_table_functions,  vm_table_wrapped},
    {"math",   math_taken,   none,                none},
    {"bit",    bit_taken,    none,                none},
    {"json",   nothing,      vm_json_functions,   none},
    {"log",    nothing,      vm_log_functions,    none},
};
/* clang-format on */

/* ---- what happens at wrong uses ---- */

static int refuse_global(lua_State *L)
{
    return vm_throw(L,
                    "assignment to the global '%s': scripts have no globals, "
                    "declare it local",
                    lua_isstring(L, 2) ? lua_tostring(L, 2)
                                       : luaL_typename(L, 2));
}

static int undefined_global(lua_State *L)
{
    return vm_throw(L, "global '%s' is not defined",
                    lua_isstring(L, 2) ? lua_tostring(L, 2)
                                       : luaL_typename(L, 2));
}

static int refuse_write(lua_State *L)
{
    return vm_throw(L, "%s is read-only", lua_tostring(L, lua_upvalueindex(1)));
}

void sandbox_freeze(lua_State *L, const char *what)
{
    lua_newtable(L); /* stack: real, proxy */
    lua_newtable(L); /* stack: real, proxy, metatable */
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushstring(L, what);
    lua_pushcclosure(L, refuse_write, 1);
    lua_setfield(L, -2, "__newindex");
    vm_close_metatable(L);
    lua_setmetatable(L, -2);
    lua_remove(L, -2);
}

/* ---- building ---- */

static void open_luajit(lua_State *L)
{
    static const luaL_Reg openers[] = {
        {"", luaopen_base},         {"table", luaopen_table},
        {"string", luaopen_string}, {"math", luaopen_math},
        {"bit", luaopen_bit},
    };

    for (size_t i = 0; i < COUNT(openers); i++) {
        lua_pushcfunction(L, openers[i].func);
        lua_pushstring(L, openers[i].name);
        lua_call(L, 1, 0);
    }
}

/* Fills the table on top of the stack from the one below it. */
static void fill_library(lua_State *L, const struct library *library)
{
    for (const char *const *name = library->taken; *name != NULL; name++) {
        lua_getfield(L, -2, *name);
        lua_setfield(L, -2, *name);
    }
    vm_set_functions(L, library->own);
    for (const luaL_Reg *f = library->wrapped; f->name != NULL; f++) {
        lua_getfield(L, -2, f->name);
        lua_pushcclosure(L, f->func, 1);
        lua_setfield(L, -2, f->name);
    }
}

/* Methods of strings come from the library as scripts see it. */
static void set_string_methods(lua_State *L)
{
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1); /* stack: library, "", metatable */
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    vm_close_metatable(L);
    lua_pop(L, 2);
}

/* Adds a frozen library to the globals on top of the stack. */
static void add_library(lua_State *L, const struct library *library)
{
    lua_getglobal(L, library->name);
    lua_newtable(L); /* stack: globals, LuaJIT's, ours */
    fill_library(L, library);
    lua_remove(L, -2);
    if (library->own == vm_string_functions)
        set_string_methods(L);
    if (library->own == vm_json_functions)
        vm_json_add_null(L);
    sandbox_freeze(L, library->name);
    lua_setfield(L, -2, library->name);
}

/* Makes the environment over the globals on top of the stack, popped. */
static int make_environment(lua_State *L)
{
    lua_newtable(L); /* metatable of the globals */
    lua_pushcfunction(L, undefined_global);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);

    lua_newtable(L); /* stack: globals, environment */
    lua_newtable(L); /* stack: globals, environment, metatable */
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, refuse_global);
    lua_setfield(L, -2, "__newindex");
    vm_close_metatable(L);
    lua_setmetatable(L, -2);
    lua_remove(L, -2);
    return vm_ref(L);
}

/* From here on LuaJIT's own tables are reachable from nowhere. */
static void drop_luajit_tables(lua_State *L)
{
    lua_newtable(L);
    lua_replace(L, LUA_GLOBALSINDEX);
    lua_pushnil(L);
    lua_setfield(L, LUA_REGISTRYINDEX, "_LOADED");
}

void sandbox_open(lua_State *L, struct vm *vm)
{
    open_luajit(L);
    vm_json_open(L, vm);
    vm_decimal_open(L, vm);
    vm_event_open(L, vm);
    vm_order_open(L, vm);
    lua_newtable(L);
    vm->modules_ref = vm_ref(L);
    vm->upcast_modules_ref = LUA_NOREF;
    lua_newtable(L);
    vm->upcasts_ref = vm_ref(L);

    lua_pushvalue(L, LUA_GLOBALSINDEX);
    lua_newtable(L); /* stack: LuaJIT's globals, ours */
    fill_library(L, &base_library);
    for (size_t i = 0; i < COUNT(libraries); i++)
        add_library(L, &libraries[i]);
    vm->env_ref = make_environment(L);
    lua_pop(L, 1);
    drop_luajit_tables(L);
}

void sandbox_open_only(lua_State *L, struct vm *vm, const luaL_Reg *functions)
{
    lua_newtable(L);
    vm_set_functions(L, functions);
    vm->env_ref = make_environment(L);

    lua_pushliteral(L, "");
    lua_pushnil(L);
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}
