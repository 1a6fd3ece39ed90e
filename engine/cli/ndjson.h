#pragma once
/*
 * A file of events, one JSON object a line, cut into appends by rule: a run of
 * lines of one stream, at most RUN_MAX_EVENTS of them and RUN_MAX_BYTES long.
 * The rule looks at nothing but the lines, so the same file is always cut the
 * same way, and a longer file differs from its beginning in the last run only.
 *
 * A line without `event_id` gets one: version 5 of the running hash of every
 * byte of the file up to the end of that line.  So a file
 * may be imported again, also when it has grown, and no event is stored twice.
 *
 * Memory is that of one line and one run, whatever the file's size.
 */
#include "base/arena.h"
#include "base/json.h"

#define LINE_MAX_BYTES (1000u * 1000u) /* below the API's limit of a body */
#define RUN_MAX_EVENTS 1000
#define RUN_MAX_BYTES  (512u * 1024u)

struct run_line {
    uint64_t number; /* in the file, from 1 */
    size_t offset;   /* of the event's object in `events` */
    size_t len;
};

/* Zeroed memory is an empty run. */
struct run {
    struct arena arena; /* for whoever reads the events; reset with the run */
    struct str aggregate_type; /* in `arena` */
    struct str aggregate_id;   /* normalised, in `arena` */
    struct buf events; /* objects as the API takes them, commas between */
    struct run_line *lines;
    size_t count;
    size_t capacity;
};
void run_reset(struct run *run);
void run_done(struct run *run);

struct ndjson;

/* `path` "-" reads standard input. */
struct ndjson *ndjson_open(const char *path, struct err *err) MUST_USE;
void ndjson_close(struct ndjson *ndjson);

enum ndjson_end { NDJSON_FAILED = -1, NDJSON_END, NDJSON_RUN };

/* Fills `run` (reset before) with the next run.  A line that is wrong ends the
 * run before it; the call after that fails and names it, "file:line: what". */
enum ndjson_end ndjson_next(struct ndjson *ndjson, struct run *run,
                            struct err *err) MUST_USE;

/* For messages: "file", or "standard input". */
const char *ndjson_name(const struct ndjson *ndjson);
/* Bytes read, and of the file in all (0: not known). */
uint64_t ndjson_bytes(const struct ndjson *ndjson, uint64_t *total_out);
