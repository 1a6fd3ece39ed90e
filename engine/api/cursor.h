#pragma once
/*
 * Places in the log as clients keep them: `LOG_ID:POSITION`.
 *
 * The id is the log's incarnation (store_log_id), so a cursor that was given
 * out by another log, or by this one before it was restored, is refused and
 * does not silently point to another event.  A bare position is taken too: it
 * claims nothing about the log.  What neither tells is whether the same log
 * lost its tail and grew again; only the event's id would.
 */
#include "base/buf.h"
#include "base/err.h"
#include "base/uuid.h"

/* Appends the cursor. */
void cursor_write(struct uuid log_id, uint64_t position, struct buf *out);
/* ERR_BAD_REQUEST for what is neither a position nor a cursor,
 * ERR_FOREIGN_CURSOR for that of another log than `log_id`. */
bool cursor_read(struct str text, struct uuid log_id, uint64_t *position_out,
                 struct err *err) MUST_USE;
/* ERR_FOREIGN_CURSOR for a position that the log never had. */
bool cursor_check(uint64_t position, uint64_t head, struct err *err) MUST_USE;
