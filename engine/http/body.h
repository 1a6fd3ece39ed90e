#pragma once
/*
 * Reading a request's body: never more than was allowed, never longer than a
 * client may keep a thread waiting.
 */
#include "base/arena.h"
#include "http/head.h"

struct mg_connection;

/* The whole of a body must be here within this. */
#define BODY_TIME_MAX_MS 10000

/* Reads the body, which has at most `max` bytes, into the arena; sends `100
 * Continue` first where the client waits for it.  ERR_TOO_LARGE before
 * anything is allocated or read when the length is given; ERR_BAD_REQUEST when
 * it breaks off, is malformed or takes too long.  After a failure the
 * connection cannot serve another request. */
bool body_read(struct mg_connection *conn, const struct http_head *head,
               size_t max, struct arena *arena, struct str *out,
               struct err *err) MUST_USE;
/* Reads and forgets at most `max` bytes of a body that nobody wants; true when
 * that was all of it. */
bool body_skip(struct mg_connection *conn, uint64_t max);
