#pragma once
/*
 * A log as a file: a header, then an event a line, in the order of the log and
 * with every field that it has there.
 *
 *     {"perigee_log":1,"log_id":"…","after":0,"head":2,"last":2}
 *     {"position":1,"event_id":"…",…}
 *     {"position":2,"event_id":"…",…}
 *
 * `perigee_log` is the version of the format, `log_id` and `head` are those of
 * the log when it was read; the events are those behind `after` up to `last`,
 * so that a file that was cut off is known for it.
 *
 * Whoever reads one trusts nothing: lines are checked as strictly as requests.
 */
#include "base/event.h"

#define LOG_FILE_FORMAT 1
/* Longer than any event that the API takes. */
#define LOG_FILE_LINE_MAX ((size_t)16 << 20)

struct log_header {
    struct uuid log_id;
    uint64_t after;
    uint64_t head;
    uint64_t last;
};

/* Appends the first line, with its end. */
void log_header_write(const struct log_header *header, struct buf *out);
bool log_header_read(struct str line, struct log_header *out,
                     struct err *err) MUST_USE;
/* An event as it stands in a log; texts are in the arena.  ERR_INVALID_JSON,
 * or ERR_INVALID_INPUT with every field that is wrong. */
bool log_event_read(struct str line, struct arena *arena, struct event *out,
                    struct err *err) MUST_USE;
