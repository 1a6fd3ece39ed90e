#pragma once
/*
 * What a request's headers and its caller's token say of the events that it
 * writes: tenant, actor, correlation, causation, and the trace they are of.
 *
 * A token's tenant and actor are on everything it writes.  Headers speak for
 * the request, so events that say something themselves keep it: a header is
 * what the others get.  Headers are checked already (request_check_headers,
 * access_check).
 */
#include "api/api.h"
#include "core/aggregate.h"

/* Fills the fields of the command that its events will carry. */
void stamp_command(const struct api_request *request,
                   struct command_request *command);
/* The same for the events of an append; those that change are copied into the
 * request's arena.  ERR_FORBIDDEN names an event that says another tenant or
 * actor than its caller's token. */
bool stamp_append(const struct api_request *request,
                  struct append_request *append, struct err *err) MUST_USE;
