#pragma once
/*
 * `event` as a handler sees it: an empty table whose fields are made when they
 * are first read and then stay.  `data` and `metadata` are decoded as a whole
 * then, and old shapes of `data` are brought up to date by the upcasts of its
 * aggregate type.
 *
 * An event of a newer shape than the script of its aggregate knows ends the
 * call: what a handler would read there was never meant for it.
 *
 * The table is only good for the event it was made for: a field that was not
 * read before its handler ended is an error afterwards.
 */
#include "vm/vm_state.h"

/* Makes the metatable. */
void vm_event_open(lua_State *L, struct vm *vm);

/* Pushes the table for an event, which is the current one from here on. */
void vm_push_event(lua_State *L, struct vm *vm, const struct event *event,
                   const struct vm_script *script);
/* Makes all fields, when the value is the table of the current event. */
void vm_event_fill(lua_State *L, struct vm *vm, int index);
/* Makes those fields of the current event that take a script (upcasts) or
 * vm->text, so that an encoding that meets the event is not disturbed. */
void vm_event_settle(lua_State *L, struct vm *vm);

/* The version of the shape that scripts write today: upcasts lead to it. */
uint32_t vm_event_shape(lua_State *L, struct vm *vm, struct str aggregate_type,
                        struct str event_type);
