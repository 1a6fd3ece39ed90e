#pragma once
/*
 * A live answer on its connection, on the civetweb thread that serves it.
 *
 * It ends when the client goes (looked at once a second when nothing is
 * written), when a client takes nothing for STREAM_SLOW_MS, and at once when
 * the server stops: it is no work that anybody waits for, so it does not count
 * among the requests under way, and a client that does not read cannot hold up
 * the end.  Then, and when the stream cannot go on, its last lines say so.
 *
 * The socket is written to directly: civetweb waits for a client as long as it
 * takes a byte now and then.
 */
#include "api/live.h"

#define STREAM_SLOW_MS 10000

struct http_server;

/* Runs `live` on the socket until it ends; `out` is used and emptied. */
void stream_run(const struct http_server *server, int fd, struct live *live,
                struct buf *out);
