#pragma once
/*
 * Deep copies of tables, for what a script may look at but not change.
 *
 * Tables are copied, keys and metatables shared; all other values are
 * immutable (decimals, json.null, strings) or have no JSON anyway (functions)
 * and are the same in the copy.  A table that is there twice is two tables in
 * the copy, as it would be after storing and loading.
 */
#include "vm/vm_state.h"

/* Pushes a copy of the table at `index`, without metamethods.  More than
 * JSON_MAX_DEPTH levels, so every cycle too, are an error of the script that
 * names `what`. */
void vm_push_copy(lua_State *L, struct vm *vm, int index, const char *what);
