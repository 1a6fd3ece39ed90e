#pragma once
/*
 * Keys of tables in the one order that scripts see: numbers ascending, then
 * strings by bytes, then false and true.  And a sort that looks at the clock:
 * heapsort, because it has no bad inputs, needs no memory and may be left by an
 * error in the middle.
 */
#include "vm/vm_state.h"

/* Appends the keys of the table to vm->keys and sorts what was appended;
 * returns where it begins.  The caller sets vm->keys.count back to that.  A key
 * that has no order (a table, a function) is an error of the script. */
size_t vm_keys_collect(lua_State *L, struct vm *vm, int table);
void vm_push_key(lua_State *L, const struct vm_key *key);
/* Frees the array when it is larger than `keep` bytes, forgets its content. */
void vm_keys_trim(struct vm *vm, size_t keep);

struct vm_sort {
    /* Both take places from 0; `less` may call into Lua and throw. */
    bool (*less)(lua_State *L, void *context, size_t a, size_t b);
    void (*swap)(lua_State *L, void *context, size_t a, size_t b);
    void *context;
};
void vm_sort(lua_State *L, const struct vm_sort *sort, size_t count);
