#pragma once
/*
 * Projections inside a state: one call a handler, `db` bound to whoever keeps
 * the rows (core/changes) through a table of functions, because vm/ may not
 * know core/.
 *
 * Values are checked against the column's kind here, at the call,
 * so a script learns at the line that did it what a column takes.
 * SQL NULL reads as nil, and json.null writes it.
 */
#include "base/event.h"
#include "vm/script.h"

/* All functions: `table` is the place in projection_decl.tables; values and
 * rows have one value a column and point into the arena of vm_bind_db or, for
 * `row_out`, stay valid until the handler ends.  False is an error of
 * the script's line (ERR_SCRIPT) with this text; but what may be tried again
 * (ERR_STORE, ERR_POOL_TIMEOUT …) fails the event as it is, and ends the
 * handler even when the script tries to catch it. */
struct vm_db {
    bool (*get)(void *context, size_t table, const struct value *key,
                const struct value **row_out, struct err *err);
    bool (*put)(void *context, size_t table, const struct value *row,
                struct err *err);
    bool (*insert)(void *context, size_t table, const struct value *row,
                   struct err *err);
    bool (*patch)(void *context, size_t table, const struct value *key,
                  const struct value *values, uint64_t columns,
                  struct err *err);
    bool (*add)(void *context, size_t table, const struct value *key,
                const struct value *values, uint64_t columns, struct err *err);
    bool (*remove)(void *context, size_t table, const struct value *key,
                   struct err *err);
    /* Microseconds that these functions have waited for the store so far: a
     * slow store is not the script's fault, so its deadline moves by them. */
    uint64_t (*waited_us)(void *context);
};

/* Once after loading.  `decl` and `arena` are borrowed and must outlive the
 * state; the arena may be reset by its owner between two calls of
 * vm_handle. */
void vm_bind_db(struct vm *vm, int script, const struct projection_decl *decl,
                const struct vm_db *db, void *context, struct arena *arena);

/* Runs the handler for one event (upcast first).  Inside, uuid() and time()
 * are those of the event; `event` becomes unreadable when the handler ends. */
bool vm_handle(struct vm *vm, int script, const struct event *event,
               uint32_t timeout_ms, struct err *err) MUST_USE;
