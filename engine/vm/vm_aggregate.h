#pragma once
/*
 * Aggregates inside a state: history to state, command to events.
 *
 * A folded state is a Lua table kept in the registry and named by a number.
 * What is applied is what is stored: `emit` encodes its data
 * to JSON, decodes it again and applies the decoded copy, so a value that does
 * not survive storage is seen at once.  A refusal or an error after an `emit`
 * leaves the state changed: the caller drops it then.
 *
 * Inside `apply` uuid() and time() are those of the event; inside `run` they
 * are fresh.
 */
#include "base/event.h"
#include "vm/script.h"

/* A fresh state of aggregate `script` for `id`; -1 on failure. */
int vm_state_new(struct vm *vm, int script, struct str id, uint32_t timeout_ms,
                 struct err *err) MUST_USE;
void vm_state_drop(struct vm *vm, int state);

/* Applies one stored event (upcast first).  An event type without an `apply`
 * handler is ERR_SCRIPT, or leaves the state as it is (vm_options.any_events).
 */
bool vm_state_apply(struct vm *vm, int script, int state,
                    const struct event *event, uint32_t timeout_ms,
                    struct err *err) MUST_USE;

/* Appends the state as JSON, keys in byte order. */
bool vm_state_encode(struct vm *vm, int state, struct buf *out,
                     struct err *err) MUST_USE;

/* Appends the state as a text that vm_state_restore makes the same state of;
 * fails when it has something that no text brings back (see vm/vm_tagged.h). */
bool vm_state_save(struct vm *vm, int state, struct buf *out,
                   struct err *err) MUST_USE;
/* A state from such a text, wherever it comes from; -1 when it is none. */
int vm_state_restore(struct vm *vm, struct str text, uint32_t timeout_ms,
                     struct err *err) MUST_USE;

struct vm_command {
    struct str name;
    struct str input; /* a checked JSON object */
    struct str aggregate_id;
    uint64_t version; /* of the state before the command */
    /* Copied into each emitted event. */
    struct str tenant_id, actor_id, correlation_id, causation_id, metadata;
};

/* Runs a command.  Emitted events are complete but for position and
 * recorded_at (ids are made here) and stay in the arena.
 * ERR_NOT_FOUND: no such command (the text lists those there are);
 * ERR_INVALID_INPUT with a list of fields; ERR_REJECTED with the script's own
 * sentence; ERR_SCRIPT, ERR_SCRIPT_TIMEOUT, ERR_SCRIPT_MEMORY with `file` and
 * `line` among the extra members where they are known.
 * On failure too `*count_out` says how many events were applied to the state:
 * unless that is 0 the state is of no use any more. */
bool vm_command_run(struct vm *vm, int script, int state,
                    const struct vm_command *command, uint32_t timeout_ms,
                    struct arena *arena, struct event **events_out,
                    size_t *count_out, struct err *err) MUST_USE;
