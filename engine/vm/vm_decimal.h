#pragma once
/*
 * decimal(x) in scripts.  A userdata holds scale, sign and the digits' limbs
 * itself, so it is counted by the state's allocator, needs no finaliser, and
 * is never changed after it was made; for an operation a struct decimal that
 * only looks at those limbs is made of it.
 */
#include "vm/vm_state.h"

/* Makes the metatable. */
void vm_decimal_open(lua_State *L, struct vm *vm);

/* True for values that decimal() made. */
bool vm_is_decimal(lua_State *L, struct vm *vm, int index);
/* A view of a decimal; it must not be freed or written to, and lives as long
 * as the value does. */
struct decimal vm_decimal_view(lua_State *L, int index);
/* The nearest double. */
double vm_decimal_number(lua_State *L, int index);
/* Appends the plain text of a decimal. */
void vm_decimal_text(lua_State *L, int index, struct buf *out);

/* Pushes a copy. */
void vm_push_decimal(lua_State *L, struct vm *vm, const struct decimal *value);
/* Pushes the number that `text` spells; too many digits are thrown. */
void vm_push_decimal_text(lua_State *L, struct vm *vm, struct str text);
/* Reads a decimal, a number or a string that spells one into `out`; false with
 * ERR_INVALID_INPUT. */
bool vm_to_decimal(lua_State *L, struct vm *vm, int index, struct decimal *out,
                   struct err *err) MUST_USE;

/* decimal(x) */
int vm_decimal_make(lua_State *L);
