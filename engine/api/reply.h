#pragma once
/*
 * Beginning an answer.  Errors are api_problem's (api/api.h) alone.
 */
#include "api/api.h"

/* Forgets what the reply said before; the body's memory is kept. */
void reply_clear(struct api_reply *reply);
/* An answer in JSON that the handler now writes. */
void reply_json(struct api_reply *reply, int status, struct json_out *out);
/* The first `count` events of a page, and where to go on (0: null). */
void reply_events(struct api_reply *reply, const struct event_page *page,
                  size_t count, uint64_t next);
