#pragma once
/*
 * The unit of work of a batch: rows in memory over what the store holds.
 *
 *   begin     the overlay is empty; the events of the batch are known
 *   event     opens a journal; undo takes back all that this event did
 *   get put   …change the overlay; a row that must be known is fetched once,
 *             and where a handler asks for its own aggregate's row, those of
 * the batch's next aggregates come in the same query seal      coalesces each
 * row to one change and sorts: by table, by key reset     forgets everything,
 * memory is kept
 *
 * A key's entry is what is known of the row (nothing, that it is absent, its
 * values) and what must be done to it.  Changes compose without reading as
 * long as they can (patch on patch, add on add, anything after put); where the
 * answer depends on the stored row it is fetched, once.  Sums are exact.
 *
 * One thread at a time: the worker that runs the slice.
 */
#include "core/row_state.h"
#include "run/thread.h"
#include "store/store.h"
#include "vm/vm_projection.h"

struct changes;

/* An empty overlay over the tables of one generation; all is borrowed. */
struct changes *changes_new(struct store *store,
                            const struct projection_decl *decl,
                            uint32_t generation);
void changes_free(struct changes *changes);

/* Where values of this batch live: for vm_bind_db. */
struct arena *changes_arena(struct changes *changes);
/* The functions behind `db`, with the changes as their context. */
extern const struct vm_db changes_db;

/* These events are about to be run, and nothing else: the overlay must be
 * empty.  The array and the heartbeat of whoever runs them (it waits while rows
 * are fetched; may be NULL) are borrowed until changes_reset. */
void changes_begin(struct changes *changes, const struct event *const *events,
                   size_t count, enum compose_mode mode,
                   struct heartbeat *beat);

/* What is written from now on belongs to this event. */
void changes_event_begin(struct changes *changes, const struct event *event);
/* Takes back everything since changes_event_begin. */
void changes_event_undo(struct changes *changes);

/* Bytes the overlay holds (a batch is closed at 16 MiB). */
size_t changes_bytes(const struct changes *changes);
/* True when a row that was fetched showed that the store would refuse the
 * batch: it must be run again event by event, with COMPOSE_READ. */
bool changes_are_doubtful(const struct changes *changes);
/* What to commit, sorted; valid until changes_reset. */
void changes_seal(struct changes *changes, const struct table_change **out,
                  size_t *count_out);
void changes_reset(struct changes *changes);
