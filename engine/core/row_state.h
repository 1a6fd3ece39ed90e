#pragma once
/*
 * One row of a batch: what is known of it and what must be done to it, and how
 * one change composes with the next.  Pure: no store, no table of rows; that is
 * core/changes, the only user.
 *
 *   known of the row     now        pending
 *   nothing              NOTHING    none, PATCH, ADD
 *   it is not there      ABSENT     none, DELETE
 *   its values           ROW        none, PATCH, PUT, INSERT
 *
 * Changes compose without reading as long as the answer cannot depend on the
 * stored row: patch on patch, add on add, anything after put, insert or delete.
 * Where it can, COMPOSE_NEEDS_ROW asks the caller to fetch the row, tell it
 * with row_learn, and try again.
 *
 * `insert` trusts the script when nothing is known: the store refuses the
 * batch if the row was there, and the batch is run again with COMPOSE_READ,
 * event by event, so that the guilty one fails at its line.  Adding to `double`
 * columns needs the row, because a sum of fractions depends on the order, and
 * the order of batches must not show.
 *
 * Arrays of values are never written again once they are in a state, so that a
 * journal may keep a copy of the state alone.  All are in the batch's arena.
 */
#include "store/store.h"

enum row_known { KNOWN_NOTHING, KNOWN_ABSENT, KNOWN_ROW };

struct row_state {       /* zeroed: nothing known, nothing to do */
    enum row_known base; /* the store's row, as far as it was looked at */
    enum row_known now;  /* the row as handlers see it */
    bool changed;        /* `op` is pending */
    enum row_op op;
    uint64_t columns;           /* that a pending PATCH or ADD gives */
    const struct value *values; /* ROW: the row; else what `op` gives */
};

enum compose_mode {
    COMPOSE_UNREAD, /* read only where the answer depends on it */
    COMPOSE_READ,   /* insert and add read first, so that they fail at once */
};

struct row_request {
    const struct table_def *table;
    const struct value *key;
    enum row_op op;
    const struct value *values; /* one a column; NULL for DELETE */
    uint64_t columns;           /* for PATCH and ADD */
    enum compose_mode mode;
};

enum compose { COMPOSE_FAILED = -1, COMPOSE_NEEDS_ROW, COMPOSE_DONE };

/* Applies one change.  FAILED with ERR_DATA or ERR_INVALID_INPUT names table,
 * key and column; the state is untouched then, as when it needs the row. */
enum compose row_compose(struct arena *arena, struct row_state *state,
                         const struct row_request *request,
                         struct err *err) MUST_USE;

/* Tells what the store holds; `row` NULL: no such row.  False when that shows
 * that the store would refuse what is pending (it was inserted although it is
 * there, a sum does not fit): the batch must be run again, event by event. */
bool row_learn(struct arena *arena, struct row_state *state,
               const struct table_def *table, const struct value *row) MUST_USE;

/* What is pending (`changed` holds), for the store. */
struct row_change row_seal(struct arena *arena, const struct row_state *state,
                           const struct table_def *table,
                           const struct value *key);
