#pragma once
/*
 * Errors as values.
 *
 * A function that can fail takes `struct err *err` last and returns bool (or a
 * pointer, NULL for failure).  The struct lives on the caller's stack; nothing
 * in it is allocated.  err_set is called where the fault is found, with the
 * values; err_wrap adds on the way up what was being done, once a meaningful
 * level.  Either log an error or return it: only the place where it ends logs.
 *
 * The table below is the only place of these facts: name in the API (`code`
 * of a problem document), HTTP status, title, and whether the same request may
 * be sent again unchanged.  docs/errors.md and /openapi.json are checked
 * against it.
 */
#include "base/str.h"

#include <stdarg.h>

/* clang-format off */
#define ERR_TABLE(X)                                                            \
    /*  constant             name                    status title                            again */ \
    X(ERR_NONE,             "none",                   200, "No error",                       false) \
    X(ERR_INVALID_JSON,     "invalid_json",           400, "Not valid JSON",                 false) \
    X(ERR_INVALID_INPUT,    "invalid_input",          422, "Invalid input",                  false) \
    X(ERR_INVALID_ID,       "invalid_id",             400, "Invalid identifier",             false) \
    X(ERR_BAD_REQUEST,      "bad_request",            400, "Bad request",                    false) \
    X(ERR_REJECTED,         "rejected",               409, "Command rejected",               false) \
    X(ERR_VERSION_CONFLICT, "version_conflict",       409, "Version conflict",               false) \
    X(ERR_DUPLICATE_EVENT,  "duplicate_event",        409, "Duplicate event",                false) \
    X(ERR_IDEMPOTENCY,      "idempotency_mismatch",   422, "Idempotency key used before",    false) \
    X(ERR_FOREIGN_CURSOR,   "foreign_cursor",         409, "Cursor of another log",          false) \
    X(ERR_UNAUTHORIZED,     "unauthorized",           401, "Unauthorized",                   false) \
    X(ERR_FORBIDDEN,        "forbidden",              403, "Forbidden",                      false) \
    X(ERR_NOT_FOUND,        "not_found",              404, "Not found",                      false) \
    X(ERR_METHOD,           "method_not_allowed",     405, "Method not allowed",             false) \
    X(ERR_TOO_LARGE,        "payload_too_large",      413, "Payload too large",              false) \
    X(ERR_HEADERS,          "headers_too_large",      431, "Headers too large",              false) \
    X(ERR_MEDIA_TYPE,       "unsupported_media_type", 415, "Unsupported media type",         false) \
    X(ERR_CONFLICT,         "conflict",               409, "Conflict",                       false) \
    X(ERR_POOL_TIMEOUT,     "pool_timeout",           503, "No database connection free",    true)  \
    X(ERR_STORE,            "store_unavailable",      503, "Store unavailable",              true)  \
    X(ERR_OVERLOADED,       "overloaded",             503, "Overloaded",                     true)  \
    X(ERR_SHUTTING_DOWN,    "shutting_down",          503, "Shutting down",                  true)  \
    X(ERR_SCRIPT,           "script_error",           500, "Script error",                   false) \
    X(ERR_SCRIPT_TIMEOUT,   "script_timeout",         504, "Script timeout",                 false) \
    X(ERR_SCRIPT_MEMORY,    "script_memory",          500, "Script out of memory",           false) \
    X(ERR_CONFIG,           "invalid_configuration",  500, "Invalid configuration",          false) \
    X(ERR_USAGE,            "usage",                  400, "Wrong usage",                    false) \
    X(ERR_DATA,             "refused_by_store",       500, "The database refused the data",  false) \
    X(ERR_INTERNAL,         "internal",               500, "Internal error",                 false)
/* clang-format on */

enum err_code {
#define X(constant, name, status, title, again) constant,
    ERR_TABLE(X)
#undef X
        ERR_CODES
};

struct err {
    enum err_code code;
    char text[512];  /* one readable line, no secrets */
    char extra[768]; /* further members of the problem document, as the inside
                        of a JSON object (`"a":1,"b":[…]`), or empty */
};

/* What the table knows of a code. */
const char *err_name(enum err_code code);
int err_status(enum err_code code);
const char *err_title(enum err_code code);
bool err_may_retry(enum err_code code);
/* The code of a name of the API (a problem document read back by a client),
 * or ERR_INTERNAL when there is none. */
enum err_code err_code_of(struct str name);

/* Sets code and text (cut at the end when too long), clears `extra`.  Always
 * false, so that `return err_set(…)` reads well. */
bool err_set(struct err *err, enum err_code code, const char *format, ...)
    PRINTF_LIKE(3, 4);
bool err_vset(struct err *err, enum err_code code, const char *format,
              va_list args) PRINTF_LIKE(3, 0);

/* Puts "context: " before the text.  Always false. */
bool err_wrap(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* Appends members to `extra` (a comma is put between); left out whole when it
 * does not fit, so that `extra` is always well formed. */
void err_extra(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* Appends one {field, message} to the list `errors`, as problem documents of
 * `invalid_input` carry it.  The first one starts the list; entries that do
 * not fit are left out whole.  Must not be mixed with err_extra after it. */
void err_field(struct err *err, struct str field, const char *format, ...)
    PRINTF_LIKE(3, 4);
