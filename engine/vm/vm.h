#pragma once
/*
 * The life of a sandboxed Lua state.
 *
 * A state sees a whitelist, frozen, has its own
 * capped allocator and a deadline for each call from the engine.  It is used
 * by one thread at a time (the owner says how: a slot's lock, a worker).  After
 * any failure that leaves its inside doubtful (deadline, memory, an error in
 * the host) it is `broken` and must be thrown away: a fresh state with its
 * script costs 150 us, repairing is never worth it.
 *
 * For now the JIT is off and a count hook looks at the clock
 * (the hook alone cannot stop compiled loops).  The string functions that can
 * run long inside one C call are our own, with a step budget.
 *
 * lua.h stays inside vm/: the rest of the engine sees declarations
 * (vm/script.h), aggregates (vm/vm_aggregate.h) and projections
 * (vm/vm_projection.h).
 */
#include "base/err.h"
#include "vm/source.h"

struct vm;

struct vm_options {
    size_t memory_bytes;               /* ceiling of the state */
    uint32_t load_timeout_ms;          /* to run a script's top level */
    const struct source_tree *modules; /* where require looks; borrowed, must
                                          outlive the vm; may be NULL */
    /* `apply` is not the list of an aggregate's events: others leave its state
     * as it is. */
    bool any_events;
};

/* NULL with ERR_SCRIPT_MEMORY when the ceiling is too low to start. */
struct vm *vm_new(const struct vm_options *options, struct err *err) MUST_USE;
void vm_free(struct vm *vm);

/* True when the state must be replaced. */
bool vm_is_broken(const struct vm *vm);
size_t vm_memory_bytes(const struct vm *vm);
/* A full collection when more than half of the ceiling is in use: LuaJIT runs
 * none by itself when an allocation is refused. */
void vm_rest(struct vm *vm);
/* Versions for `perigee version`: "LuaJIT 2.1.0-beta3". */
const char *vm_lua_version(void);
