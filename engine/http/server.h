#pragma once
/*
 * civetweb in front of api/: threads, limits, strict decoding, headers.
 *
 * civetweb 1.15 as Debian ships it needs care: never a
 * document root, `decode_url=no` and our own strict decoding, no TLS, chunked
 * together with content-length refused here.  One thread serves one open
 * connection, so at most threads - HTTP_SPARE_THREADS requests block on the
 * store at once; more get 503 `overloaded`.  Idle and half-open connections
 * hold threads, too: where probes must answer whatever clients do, they have a
 * port of their own, whose few threads serve nothing else and keep no
 * connection.
 */
#include "core/engine.h"

/* Threads that are kept free of requests that block on the store. */
#define HTTP_SPARE_THREADS 16

struct http_server;

struct http_options {
    const char *listen;       /* host:port; port 0 takes a free one */
    const char *probe_listen; /* the same; NULL or "": no port of their own */
    const struct access *access; /* borrowed; NULL: all is allowed */
    uint32_t threads;
    uint32_t max_live; /* live streams at once */
    uint32_t max_body_bytes;
};

/* Listens and serves at once; the engine need not be open yet and outlives the
 * server.  `options` is copied. */
struct http_server *http_start(struct engine *engine,
                               const struct http_options *options,
                               struct err *err) MUST_USE;
/* host:port as it is really served. */
const char *http_address(const struct http_server *server);
/* The same of the port for probes; NULL when they have none. */
const char *http_probe_address(const struct http_server *server);
/* From now on everything but probes and metrics is refused with
 * ERR_SHUTTING_DOWN; requests under way finish, live streams end. */
void http_refuse(struct http_server *server);
/* Requests under way. */
uint32_t http_under_way(const struct http_server *server);
/* Ends all connections and threads, those of the port for probes last. */
void http_stop(struct http_server *server);
const char *http_civetweb_version(void);
