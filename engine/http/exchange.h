#pragma once
/*
 * One request and its answer, on the civetweb thread that serves its
 * connection.
 *
 *   head      headers are read; contradictory ones end the connection
 *   admit     the route, the caller's right to it; while the engine stops,
 *             and when too many block already: 503
 *   body      read up to its limit
 *   handle    api/ answers
 *   send      one write, headers and body together
 *
 * A body that nobody read is read and forgotten where it is small, so that the
 * connection can go on; else the connection is closed, after a pause in which
 * the client can take its answer.
 */
#include "api/api.h"
#include "http/listen.h"

struct mg_connection;

/* What all exchanges share. */
struct http_server {
    /* --- set before start, then read only --- */
    struct engine *engine;
    const struct access *access; /* borrowed; NULL: all is allowed */
    struct mg_context *context;
    uint32_t max_body_bytes;
    uint32_t max_blocking; /* requests that wait for the store at once */
    char address[80];
    struct listen_place place; /* the same, to knock at */
    /* --- any thread, atomic --- */
    int refusing;
    uint32_t under_way; /* probes are not counted */
    uint32_t blocking;
    int stopped; /* civetweb's threads have ended */
};

/* What one civetweb thread keeps from request to request. */
struct http_thread {
    struct arena arena;
    struct api_reply reply;
    struct buf out;
    int64_t date_s; /* of `date`, the Date header's text */
    char date[32];
};

/* Serves the request that civetweb has parsed; the status that was sent. */
int exchange_serve(struct http_server *server, struct http_thread *thread,
                   struct mg_connection *conn);
/* Answers what civetweb could not parse. */
void exchange_fail(struct http_server *server, struct http_thread *thread,
                   struct mg_connection *conn, const char *reason);
