#pragma once
/*
 * HTTP requests to a running engine, for the command line (libcurl).  One
 * client, one connection kept open; one thread at a time.
 */
#include "base/buf.h"
#include "base/err.h"

struct http_client;

/* `base_url`: http://host:port, without a path but a slash. */
struct http_client *http_client_new(const char *base_url,
                                    struct err *err) MUST_USE;
/* Sends this header from now on; copied.  Once each, before the first call. */
void http_client_set_header(struct http_client *client, const char *name,
                            const char *value);
/* Shows this bearer token from now on, likewise. */
void http_client_set_token(struct http_client *client, const char *token);
void http_client_free(struct http_client *client);

/* Sends and waits.  `body` may be STR_NONE.  False with ERR_STORE when there
 * was no answer; any HTTP status is an answer. */
bool http_client_call(struct http_client *client, const char *method,
                      const char *path_and_query, struct str body,
                      int *status_out, struct buf *answer_out,
                      struct err *err) MUST_USE;

/* An answer that goes on. */
struct http_stream {
    bool (*take)(void *arg, struct str bytes); /* false: that is enough */
    bool (*go_on)(void *arg); /* asked once a second; false: that is enough */
    void *arg;
    uint32_t silence_seconds; /* the connection is given up after that */
};
/* Sends a GET and hands out its answer as it comes, until it ends or was
 * enough; an answer with another status than 200 is kept in `answer_out`
 * instead.  False with ERR_STORE when there was none, or silence. */
bool http_client_stream(struct http_client *client, const char *path_and_query,
                        const struct http_stream *stream, int *status_out,
                        struct buf *answer_out, struct err *err) MUST_USE;
