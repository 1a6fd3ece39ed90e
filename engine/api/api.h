#pragma once
/*
 * The API as functions: a request in, a reply out, no socket.  http/ brings
 * requests from the network, cli/ makes the same ones in process, so a command
 * and a call behave alike because they are the same code.
 *
 * api/route.c is the one table of routes: method, path, handler, whether it
 * blocks, the role it needs, summary.  docs/http.md is checked against it.
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

/* What a caller may do; each includes those before it. */
enum api_role {
    API_ANYONE, /* needs no token */
    API_READER,
    API_WRITER,
    API_ADMIN,
};

/* Who is asking, as the token says.  Without tokens, and in process, it is
 * everybody's admin and the texts are empty. */
struct api_caller {
    struct str token; /* its name, never the token itself */
    enum api_role role;
    struct str tenant; /* what it writes carries these; empty: its own choice */
    struct str actor;
};

struct access;
struct api_route;
struct live;

struct api_request {
    struct str method;
    struct str target; /* path and query as sent, percent-encoded */
    struct str body;
    struct str content_type; /* STR_NONE without a body */
    struct str if_match;     /* STR_NONE when absent, as the rest */
    struct str if_none_match;
    struct str idempotency_key;
    struct str correlation_id;
    struct str causation_id;
    struct str actor_id;
    struct str tenant_id;
    struct str traceparent;
    struct str last_event_id;
    struct str authorization;
    const struct access *access; /* NULL: everybody may do everything */
    bool public_only; /* routes that need a role do not exist for it */
    /* filled by api_admit; keys, ids and actors above are checked then */
    const struct api_route *route;
    struct api_caller caller;
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
    struct live *live;      /* the answer goes on, see api/live.h: whoever has
                               the connection runs it; else NULL */
};

/* Finds the route and who is asking, before the body is read.  False: the
 * reply says why not (no such route, no right to it, a header that is wrong).
 * What the reply said before is forgotten, its memory is used again. */
bool api_admit(struct api_request *request, struct api_reply *reply);
/* Answers; never fails, errors are replies.  A request that was not admitted
 * yet is now.  Any thread.  Until engine_is_open() all but probes, metrics and
 * shutdown are ERR_STORE. */
void api_handle(struct engine *engine, struct api_request *request,
                struct api_reply *reply);
/* Makes the reply a problem document of `err`, and logs what is a fault of
 * ours. */
void api_problem(struct api_reply *reply, const struct err *err);
void api_reply_done(struct api_reply *reply);

struct api_route {
    const char *method;
    const char *path; /* "/api/streams/{type}/{id}" */
    void (*handle)(struct engine *, struct api_request *, struct api_reply *);
    bool blocks;        /* on the store: http/ bounds how many do at once */
    enum api_role role; /* that the caller needs at least */
    const char *summary;
};
/* "reader", "writer", "admin"; "anyone" is no role of a token. */
const char *api_role_name(enum api_role role);
/* The whole table, for documents and tests. */
const struct api_route *api_routes(size_t *count_out);
