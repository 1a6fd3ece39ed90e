#pragma once
/*
 * What a script may see: lists of names, each
 * either taken from LuaJIT's library or our own.  What is not in a list is not
 * there, so a newer LuaJIT adds nothing by itself.
 *
 * All scripts and modules of a state share one environment, an empty table
 * over frozen globals: a write to a global and the read of one that does not
 * exist are errors that name it.  Libraries are empty tables over the real
 * ones, closed to writes, and their metatables are closed to scripts.
 */
#include "vm/vm_state.h"

/* Builds the environment (vm->env_ref) and takes everything else away. */
void sandbox_open(lua_State *L, struct vm *vm);

/* An environment for settings files: the functions given and nothing else,
 * not even methods of strings.  Replaces vm->env_ref. */
void sandbox_open_only(lua_State *L, struct vm *vm, const luaL_Reg *functions);

/* Pushes an empty table that reads from the one on top of the stack (which is
 * popped), refuses writes as "`what` is read-only", and hides its
 * metatable. */
void sandbox_freeze(lua_State *L, const char *what);
