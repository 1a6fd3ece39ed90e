#pragma once
/*
 * The way from a command to an engine: the API's requests, answered over HTTP
 * by a running engine, or by one that is opened in this process.
 *
 *   --url URL                     that engine
 *   SQLite, served by an engine   that engine: the file has one owner
 *   otherwise                     an engine in process, on the store itself
 *
 * One thread at a time.
 */
#include "cli/setup.h"
#include "run/http_client.h"

struct door;

/* Reads the configuration unless --url is given; prints faults itself and
 * then fails with ERR_NONE, so that they are not said twice. */
struct door *door_open(const struct cli_args *args, struct err *err) MUST_USE;
void door_close(struct door *door);

/* Gives what is asked from now on this `Idempotency-Key` (borrowed); NULL is
 * none.  ERR_USAGE for one that no header can carry.  Before the first call. */
bool door_set_key(struct door *door, const char *key, struct err *err) MUST_USE;
/* Makes a request; `body` may be STR_NONE, `answer` is emptied first.  A
 * problem document is a failure: its code, its detail and each bad field are
 * in `err`. */
bool door_call(struct door *door, const char *method, const char *target,
               struct str body, struct buf *answer, struct err *err) MUST_USE;

/* Takes an answer that goes on, from a running engine; failures are told as
 * by door_call. */
bool door_stream(struct door *door, const char *target,
                 const struct http_stream *stream, struct err *err) MUST_USE;

/* The engine in this process, or NULL when it is elsewhere. */
struct engine *door_engine(struct door *door);

/* Fails as setup_fail does; says nothing when everything was said. */
int door_fail(const struct err *err);

/* Appends percent-encoded text, for one segment of a path or one value. */
void door_encode(struct buf *target, const char *text);
/* Appends `name=value&`-style parameters: `?` before the first, `&` before the
 * others; nothing when `value` is NULL. */
void door_param(struct buf *target, const char *name, const char *value);

/* `address` as a base URL: an engine that listens on every address is asked on
 * loopback. */
void door_url_of(const char *address, struct buf *out);
/* Turns a problem document into an error (also what is none, by its status). */
bool door_problem(int status, struct str answer, struct err *err);
/* Takes "events[0]." from the front of the text: whoever appends one event did
 * not ask for a place in a list. */
void door_drop_place(struct err *err);
