#pragma once
/*
 * Folded states as texts that come back as they were, for snapshots.
 *
 * Plain JSON forgets what a script can see: that a value was a decimal, that a
 * list was made by the script and not by json.array, which zero is negative.
 * So such values are strings that begin with `~`, and strings that begin so
 * have another one in front:
 *
 *   ~d1.50        a decimal
 *   ~n-0x0p+0     a number that its JSON would make another of
 *   ["~l",1,2]    a list without the mark of json.array
 *   ~~text        the string ~text
 *
 * What no text can bring back is refused, and the state has no snapshot: a
 * table that is reached in two ways (changing it by one changes it by the
 * other), a metatable of the script's own, and what has no JSON.
 */
#include "vm/vm_state.h"

/* The table at `index` as such a text, in vm->text: until that is used again.
 */
struct str vm_tagged_text(lua_State *L, struct vm *vm, int index);
/* Pushes the table of a checked text; throws for one that it did not make. */
void vm_push_tagged(lua_State *L, struct vm *vm, struct str checked);
