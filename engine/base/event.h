#pragma once
/*
 * An event as every part of the engine sees it, and a page of them.
 *
 * Slices point into the page that holds the event.  A page is immutable once
 * it is filled and counted by reference, so the feed can hand the same one to
 * ten projections and a reader can hold it while others move on.
 *
 * Bodies (`data`, `metadata`) are the JSON texts as they were accepted: every
 * token byte for byte, on one line.
 */
#include "base/arena.h"
#include "base/json.h"
#include "base/uuid.h"

#define EVENT_ID_MAX_BYTES 255 /* aggregate ids, types, tenants, actors … */

struct event {
    uint64_t position;
    struct uuid event_id;
    struct str event_type;
    uint32_t event_version;
    struct str aggregate_type;
    struct str aggregate_id;
    uint64_t aggregate_version;
    struct str data;
    struct str metadata;
    struct str tenant_id; /* STR_NONE when absent, as the next three */
    struct str actor_id;
    struct str correlation_id;
    struct str causation_id;
    int64_t occurred_at_us; /* the producer's clock */
    int64_t recorded_at_us; /* the store's */
};

struct event_page {
    int refs; /* atomic */
    struct arena arena;
    struct event *events; /* in `arena`, ascending unless read backward */
    size_t count;
    /* Everything up to here was looked at: equal to the last event's position
     * unless a filter left events out.  The position to read on after. */
    uint64_t scanned_to;
    size_t bytes; /* of bodies and texts, for budgets */
    bool cut;     /* it ended before what was asked for, and not at the end */
};

/* Copies an event with all its texts into the arena. */
void event_copy(struct event *to, const struct event *from,
                struct arena *arena);

/* An empty page with one reference. */
struct event_page *event_page_new(void);
/* Adds `event` with all its texts copied into the page. */
void event_page_add(struct event_page *page, const struct event *event);
struct event_page *event_page_ref(struct event_page *page);
void event_page_unref(struct event_page *page); /* NULL is fine */

/* Writes the event as an object with the fields of the log;
 * absent optional fields are left out. */
void event_write(struct json_out *out, const char *key,
                 const struct event *event);

/* Metadata without its last brace and without a traceparent at its end, which
 * tells of the request that stored the event and not of the event. */
struct str event_own_metadata(struct str metadata);

/* Names of aggregate types and event types: a letter, then letters, digits,
 * `_`, `.`, `-`, at most EVENT_ID_MAX_BYTES.  ERR_INVALID_ID names `what`. */
bool event_check_name(struct str name, const char *what,
                      struct err *err) MUST_USE;
/* Aggregate ids: 1-255 bytes of UTF-8 without control characters.  A UUID is
 * written to `normal` in lower case, anything else as it is; `normal` has
 * room for EVENT_ID_MAX_BYTES. */
bool event_check_id(struct str id, char *normal, struct str *out,
                    struct err *err) MUST_USE;
