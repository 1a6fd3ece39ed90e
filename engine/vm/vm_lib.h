#pragma once
/*
 * Functions of our own that scripts see, by library, for the lists of
 * sandbox.c: those of LuaJIT that could run long in one call, print addresses
 * or depend on the order of a hash table are replaced, and Perigee's are added.
 */
#include "vm/vm_state.h"

extern const luaL_Reg vm_base_functions[];
extern const luaL_Reg vm_base_wrapped[];
extern const luaL_Reg vm_string_functions[];
extern const luaL_Reg vm_string_wrapped[];
extern const luaL_Reg vm_table_functions[];
extern const luaL_Reg vm_table_wrapped[];
extern const luaL_Reg vm_log_functions[];

/* string.find, match, gmatch, gsub (vm_match.c). */
int vm_string_find(lua_State *L);
int vm_string_match(lua_State *L);
int vm_string_gmatch(lua_State *L);
int vm_string_gsub(lua_State *L);

/* require, and reject, time, uuid (vm_require.c, vm_host.c). */
int vm_require(lua_State *L);
int vm_reject(lua_State *L);
int vm_time(lua_State *L);
int vm_uuid(lua_State *L);

/* Pushes the script as a function of the sandbox, not run yet; a text that
 * does not compile is thrown. */
void vm_push_chunk(lua_State *L, struct vm *vm, const struct source *source);

/* Pushes what tostring gives: no addresses. */
void vm_push_tostring(lua_State *L, struct vm *vm, int index);
