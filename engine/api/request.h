#pragma once
/*
 * What handlers ask of a request: decoded path and query, checked names, the
 * body as JSON.  Everything is strict and says what was expected; slices point
 * into the request or its arena.
 *
 * Query parameters: `name=value`, percent-encoded, `+` is a space; a name at
 * most once; names that a call does not know are refused, naming those it
 * knows.
 */
#include "api/api.h"

#define LIMIT_DEFAULT 100
#define LIMIT_MAX     1000

/* Splits the target on "/", "?" and "&", then decodes each part.  A path that
 * is not well encoded is ERR_INVALID_ID, a query ERR_BAD_REQUEST.  More
 * segments than API_MAX_SEGMENTS: the count stays, the rest is dropped, and no
 * route matches. */
bool request_split(struct api_request *request, struct err *err) MUST_USE;

/* ---- query ---- */

/* Refuses parameters other than these. */
bool request_allow(const struct api_request *request, const char *const *names,
                   size_t count, struct err *err) MUST_USE;
/* The pair of that name, or NULL. */
const struct api_pair *request_param(const struct api_request *request,
                                     const char *name);
/* Its value, STR_NONE when it was not given.  ERR_BAD_REQUEST when the value
 * is empty. */
bool request_text(const struct api_request *request, const char *name,
                  struct str *out, struct err *err) MUST_USE;
/* The number given, else `fallback`. */
bool request_u64(const struct api_request *request, const char *name,
                 uint64_t fallback, uint64_t *out, struct err *err) MUST_USE;
/* `limit`, 1 to LIMIT_MAX. */
bool request_limit(const struct api_request *request, uint32_t *out,
                   struct err *err) MUST_USE;
/* "true" or "false"; false when it was not given. */
bool request_flag(const struct api_request *request, const char *name,
                  bool *out, struct err *err) MUST_USE;
/* Sets ERR_BAD_REQUEST for one parameter, naming it in `errors` too. */
bool request_bad_param(struct str name, struct err *err, const char *format,
                       ...) PRINTF_LIKE(3, 4);

/* ---- path ---- */

/* Segments 2 and 3 as aggregate type and normalised id. */
bool request_stream(const struct api_request *request, struct str *type_out,
                    struct str *id_out, struct err *err) MUST_USE;

/* ---- headers and body ---- */

/* 1-255 bytes of UTF-8 without control characters: tenants, actors … */
bool request_is_label(struct str text) MUST_USE;
/* That the headers which name somebody or something (Idempotency-Key,
 * X-Tenant-Id …) are such labels where they are given.  ERR_BAD_REQUEST names
 * the header. */
bool request_check_headers(const struct api_request *request,
                           struct err *err) MUST_USE;
/* True when `text` is a W3C traceparent, version 00. */
bool request_is_traceparent(struct str text) MUST_USE;
/* `If-Match: "VERSION"`; `*given_out` is false without the header. */
bool request_if_match(const struct api_request *request, bool *given_out,
                      uint64_t *version_out, struct err *err) MUST_USE;
/* True when `If-None-Match` has this version's tag, or a star. */
bool request_has_seen(const struct api_request *request,
                      uint64_t version) MUST_USE;
/* The body as a checked, compact JSON object.  ERR_MEDIA_TYPE,
 * ERR_INVALID_JSON, ERR_INVALID_INPUT when it is no object. */
bool request_object(const struct api_request *request, struct json *out,
                    struct err *err) MUST_USE;
