#pragma once
/*
 * One request and its answer, on the civetweb thread that serves its
 * connection.
 *
 *   head      headers are read; contradictory ones end the connection
 *   admit     the route, the caller's right to it; while the engine stops: 503
 *   body      read up to its limit; when too many block already: 503
 *   handle    api/ answers
 *   send      one write, headers and body together; a live answer goes on
 *             from there (http/stream.h)
 *
 * A body that nobody read is read and forgotten where it is small, so that the
 * connection can go on; else the connection is closed, after a pause in which
 * the client can take its answer.
 */
#include "api/api.h"
#include "http/listen.h"

struct cutter;
struct mg_connection;
struct mg_context;

/* One address that is listened on, with threads of its own. */
struct http_port {
    struct http_server *server; /* the one it is of */
    struct mg_context *context; /* NULL: there is no such port */
    bool probes_only;           /* other routes do not exist here */
    char address[80];
    struct listen_place place; /* the same, to knock at */
    int stopped;               /* atomic: civetweb's threads have ended */
};

/* What all exchanges share. */
struct http_server {
    /* --- set before start, then read only --- */
    struct engine *engine;
    const struct access *access; /* borrowed; NULL: all is allowed */
    struct cutter *cutter;
    uint32_t max_body_bytes;
    uint32_t max_blocking; /* requests that wait for the store at once, live
                              streams among them */
    uint32_t max_live;
    struct http_port main;
    struct http_port probes;
    /* --- any thread, atomic --- */
    int refusing;
    uint32_t under_way; /* probes are not counted */
    uint32_t blocking;
    uint32_t live;
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
int exchange_serve(struct http_port *port, struct http_thread *thread,
                   struct mg_connection *conn);
/* Answers what civetweb could not parse. */
void exchange_fail(struct http_port *port, struct http_thread *thread,
                   struct mg_connection *conn, const char *reason);
