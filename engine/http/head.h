#pragma once
/*
 * What the headers of a request say, checked for what civetweb lets through:
 * two lengths, a length beside chunks, more headers than it keeps.  A proxy in
 * front may read such a request otherwise than we do, so it is refused and
 * its connection closed.
 */
#include "base/err.h"

struct mg_request_info;

/* civetweb reads twice as much, so that what is over the limit can be told
 * from what is malformed. */
#define HEAD_MAX_BYTES 16384

struct http_head {
    struct str content_type; /* STR_NONE when absent, as the next ten */
    struct str if_match;
    struct str if_none_match;
    struct str idempotency_key;
    struct str correlation_id;
    struct str causation_id;
    struct str actor_id;
    struct str tenant_id;
    struct str traceparent;
    struct str last_event_id;
    struct str authorization;
    bool chunked;
    uint64_t length; /* of the body, unless it is chunked */
    bool expects_continue;
    bool keep_alive; /* the client's wish */
    bool is_http_1_0;
};

/* Slices point into `info`.  ERR_BAD_REQUEST, ERR_HEADERS. */
bool head_read(const struct mg_request_info *info, struct http_head *out,
               struct err *err) MUST_USE;
