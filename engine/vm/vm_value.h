#pragma once
/*
 * Values of columns to Lua and back.
 *
 *   text uuid date timestamp   strings (a uuid in any case, RFC 3339)
 *   bigint integer             numbers, or decimals that are whole
 *   numeric                    read as decimals; decimals, strings, numbers
 *   double boolean             numbers, booleans
 *   json                       any value that has a JSON
 *   null                       json.null in, nil out
 */
#include "base/value.h"
#include "vm/vm_state.h"

/* Reads the value at `index` for a column; texts go to the arena.  False with
 * ERR_INVALID_INPUT that names the column, what it takes and what was given.
 * May also throw (a table without a JSON). */
bool vm_to_value(lua_State *L, struct vm *vm, int index,
                 const struct column_def *column, struct arena *arena,
                 struct value *out, struct err *err) MUST_USE;

/* Pushes what scripts read: see above. */
void vm_push_value(lua_State *L, struct vm *vm, const struct value *value);
