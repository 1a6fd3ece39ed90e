#pragma once
/*
 * The log: one line a record on stdout, JSON or text.
 *
 * A record is a constant phrase and typed fields, so that it can be searched
 * in either format:
 *
 *     log_info("subscription", "moved", LOG_TEXT("subscription", name),
 *              LOG_U64("position", position), LOG_TEXT("to", "live"));
 *
 * `logger` is the module.  Levels: ERROR means that somebody must act, WARNING
 * that something was survived (the text says what was done instead), INFO a
 * change of state, DEBUG the single operation.  CRITICAL precedes an exit.
 * Never payloads, never secrets.  Any thread; a record is one write(2), so
 * lines of several threads never mix.
 */
#include "base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR, LOG_CRITICAL };
enum log_format { LOG_FORMAT_JSON, LOG_FORMAT_TEXT };

enum log_kind {
    LOG_KIND_END,
    LOG_KIND_STR,
    LOG_KIND_U64,
    LOG_KIND_I64,
    LOG_KIND_DOUBLE,
    LOG_KIND_BOOL,
    LOG_KIND_JSON,
};

struct log_field {
    const char *key;
    enum log_kind kind;
    union {
        struct str str; /* STR_NONE leaves the field out */
        uint64_t u64;
        int64_t i64;
        double number;
        bool flag;
    };
};

/* clang-format off */
#define LOG_STR(k, v)    ((struct log_field){.key = (k), .kind = LOG_KIND_STR, .str = (v)})
#define LOG_TEXT(k, v)   LOG_STR(k, str_of(v))
#define LOG_U64(k, v)    ((struct log_field){.key = (k), .kind = LOG_KIND_U64, .u64 = (v)})
#define LOG_I64(k, v)    ((struct log_field){.key = (k), .kind = LOG_KIND_I64, .i64 = (v)})
#define LOG_DOUBLE(k, v) ((struct log_field){.key = (k), .kind = LOG_KIND_DOUBLE, .number = (v)})
#define LOG_BOOL(k, v)   ((struct log_field){.key = (k), .kind = LOG_KIND_BOOL, .flag = (v)})
#define LOG_JSON(k, v)   ((struct log_field){.key = (k), .kind = LOG_KIND_JSON, .str = (v)})
/* code and text of an error, as fields `code` and `exception` */
#define LOG_ERR(e) LOG_TEXT("code", err_name((e)->code)), LOG_TEXT("exception", (e)->text)
/* A field before the first, so that there may be none (static analysers do not
 * know __VA_OPT__). */
#define LOG_NO_FIELD     ((struct log_field){.kind = LOG_KIND_END})
#define LOG_FIELDS(...)                                                        \
    ((const struct log_field[]){LOG_NO_FIELD, ##__VA_ARGS__, LOG_NO_FIELD} + 1)

#define log_debug(logger, message, ...)    log_write(LOG_DEBUG, logger, message, LOG_FIELDS(__VA_ARGS__))
#define log_info(logger, message, ...)     log_write(LOG_INFO, logger, message, LOG_FIELDS(__VA_ARGS__))
#define log_warning(logger, message, ...)  log_write(LOG_WARNING, logger, message, LOG_FIELDS(__VA_ARGS__))
#define log_error(logger, message, ...)    log_write(LOG_ERROR, logger, message, LOG_FIELDS(__VA_ARGS__))
#define log_critical(logger, message, ...) log_write(LOG_CRITICAL, logger, message, LOG_FIELDS(__VA_ARGS__))
/* clang-format on */

/* Before any thread starts; the default is INFO, text, on stdout.  `fd` is
 * where lines go (the CLI's one-shot commands log to stderr). */
void log_setup(enum log_level level, enum log_format format, int fd);
/* Whether records of this level are written: spares the work of making
 * fields that nobody will see. */
bool log_is_on(enum log_level level);
/* Writes one record; `fields` ends with LOG_KIND_END.  A record that cannot be
 * written is lost and nothing else.  Keeps errno. */
void log_write(enum log_level level, const char *logger, const char *message,
               const struct log_field *fields);

/* Lets a repeating failure through once in `every_ms` for each throttle (zeroed
 * memory is a fresh one) and says how many were held back since.  Any thread.
 */
struct log_throttle {
    uint64_t next_ms;
    uint64_t held;
};
bool log_may(struct log_throttle *throttle, uint64_t every_ms,
             uint64_t *held_out);
