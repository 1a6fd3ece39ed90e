#pragma once
/*
 * The API as functions: a request in, a reply out, no socket.  http/ brings
 * requests from the network, cli/ makes the same ones in process, so a command
 * and a call behave alike because they are the same code.
 *
 * api/route.c is the one table of routes: method, path, handler, what it
 * blocks on, summary.  docs/http.md and /openapi.json are checked against it.
 *
 * A reply is always JSON (or the media type it says); errors are RFC 9457
 * problem documents made by api_problem and nowhere else.
 */
#include "core/engine.h"

#define API_MAX_SEGMENTS 8
#define API_MAX_QUERY    24

struct api_pair {
    struct str name;
    struct str value;
};

struct api_request {
    struct str method;
    struct str target; /* path and query as sent, percent-encoded */
    struct str body;
    struct str content_type; /* STR_NONE without a body */
    struct str if_match;     /* STR_NONE when absent, as the rest */
    struct str correlation_id;
    struct str actor_id;
    struct str tenant_id;
    struct str traceparent;
    /* filled by api_handle */
    struct str segments[API_MAX_SEGMENTS]; /* decoded, strictly, after
                                              splitting on "/" */
    size_t segment_count;
    struct api_pair query[API_MAX_QUERY]; /* decoded */
    size_t query_count;
    struct arena *arena; /* the request's; reset by the caller afterwards */
};

struct api_reply {
    int status;
    const char *content_type;
    struct buf body;
    uint64_t etag;          /* a version; 0: none */
    uint32_t retry_after_s; /* 0: none */
    const char *allow;      /* for 405, in the request's arena; else NULL */
};

/* Routes and answers; never fails, errors are replies.  Any thread.  Until
 * engine_is_open() all but probes, metrics and shutdown are ERR_STORE.  What
 * the reply said before is forgotten, its memory is used again. */
void api_handle(struct engine *engine, struct api_request *request,
                struct api_reply *reply);
/* Makes the reply a problem document of `err`, and logs what is a fault of
 * ours. */
void api_problem(struct api_reply *reply, const struct err *err);
void api_reply_done(struct api_reply *reply);

/* True when handling this request may block on the store: http/ bounds how
 * many of these run at once, so that probes are never held up. */
bool api_blocks(struct str method, struct str target);

struct api_route {
    const char *method;
    const char *path; /* "/api/streams/{type}/{id}" */
    void (*handle)(struct engine *, struct api_request *, struct api_reply *);
    bool blocks;
    const char *summary;
};
/* The whole table, for documents and tests. */
const struct api_route *api_routes(size_t *count_out);
