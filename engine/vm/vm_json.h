#pragma once
/*
 * JSON for scripts: directly between a text and Lua values.  Not lua-cjson: its
 * encoder keeps 14 digits, writes [] as {}, and ends the process when memory is
 * short.
 *
 *   null      json.null, a value that is equal to itself and prints "null"
 *   number    a number; an integer beyond 2^53 or a number beyond a double is
 *             a decimal, and one of more digits than those have is its text
 *   array     a table that carries a mark, so that [] stays []; json.array
 *             puts the mark on a table
 *   object    a table with string keys
 *
 * Encoding sorts keys by bytes, writes decimals as strings, and refuses what
 * would not come back: functions, NaN, infinities, holes, mixed keys, text that
 * is not UTF-8 or has a NUL, more than JSON_MAX_DEPTH levels.
 */
#include "base/json.h"
#include "vm/vm_state.h"

extern const luaL_Reg vm_json_functions[];
/* Makes the mark of arrays. */
void vm_json_open(lua_State *L, struct vm *vm);
/* Adds `null` to the library on top of the stack. */
void vm_json_add_null(lua_State *L);

/* True when every number of a checked text is one for scripts too: the largest
 * have DECIMAL_MAX_DIGITS digits. */
bool vm_json_fits(lua_State *L, struct vm *vm, struct str checked);
/* Pushes the value of a checked text.  Uses vm->text. */
void vm_push_json(lua_State *L, struct vm *vm, struct str checked);
/* The value at `index` as JSON, in vm->text: until that is used again. */
struct str vm_json_text(lua_State *L, struct vm *vm, int index);

/* True for json.null, which no script can make another of. */
bool vm_is_null(lua_State *L, int index);
/* True for a table with the mark of arrays. */
bool vm_is_array(lua_State *L, struct vm *vm, int index);
