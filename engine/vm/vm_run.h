#pragma once
/*
 * A command while it runs: `order` as its script sees it, and the events it
 * has emitted so far.
 */
#include "vm/vm_aggregate.h"
#include "vm/vm_script.h"

/* As many as an append takes. */
#define RUN_MAX_EVENTS 1000

struct vm_run {
    const struct vm_script *script;
    const struct vm_command *command;
    int state; /* reference */
    uint64_t version;
    uint64_t seen_version; /* that the copy of the state is of, if there is
                              one (vm->seen_ref) */
    bool applying;         /* inside an `apply`: nothing may be decided there */

    struct arena *arena;
    size_t arena_used; /* when the command began */
    struct event *events;
    size_t count;
    size_t capacity;

    /* What all events of the command share, copied into the arena. */
    struct event pattern;
};

/* Throws unless a command runs: `what` names the function. */
struct vm_run *vm_run_check(lua_State *L, const char *what);

/* Makes `order` (vm->order_ref). */
void vm_order_open(lua_State *L, struct vm *vm);

/* Lets go of the copy of the state that the last command saw; cannot fail. */
void vm_order_forget(struct vm *vm);

/* Runs the `apply` of an event on a state (vm_aggregate.c). */
void vm_apply(lua_State *L, struct vm *vm, const struct vm_script *script,
              int state, const struct event *event);

/* Ends the call with the memory error when what was allocated from the arena
 * since `used` is over the state's ceiling: arenas are not counted in it. */
void vm_check_arena(lua_State *L, struct vm *vm, const struct arena *arena,
                    size_t used);

/* Pushes the command's input as the declared types, or ends the call with
 * ERR_INVALID_INPUT and every faulty field (vm_input.c). */
void vm_push_input(lua_State *L, struct vm *vm, const struct command_decl *decl,
                   struct str input);
