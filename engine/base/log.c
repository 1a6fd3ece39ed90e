#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

/* --- set before any thread starts, then read only --- */
static struct {
    enum log_level level;
    enum log_format format;
    int fd;
    bool colour;
} setup = {.level = LOG_INFO, .format = LOG_FORMAT_TEXT, .fd = STDOUT_FILENO};

/* Held for the write alone: a pipe that is full takes a line in pieces, and no
 * other may come between them. */
static pthread_mutex_t write_lock = PTHREAD_MUTEX_INITIALIZER;

/* clang-format off */
static const struct {
    const char *name;
    const char *colour;
} levels[] = {
    [LOG_DEBUG]    = {"DEBUG",    "\x1b[2m"},
    [LOG_INFO]     = {"INFO",     "\x1b[32m"},
    [LOG_WARNING]  = {"WARNING",  "\x1b[33m"},
    [LOG_ERROR]    = {"ERROR",    "\x1b[31m"},
    [LOG_CRITICAL] = {"CRITICAL", "\x1b[1;31m"},
};
/* clang-format on */

void log_setup(enum log_level level, enum log_format format, int fd)
{
    setup.level = level;
    setup.format = format;
    setup.fd = fd;
    setup.colour = format == LOG_FORMAT_TEXT && isatty(fd) == 1;
}

bool log_is_on(enum log_level level)
{
    return level >= setup.level;
}

static bool is_left_out(const struct log_field *field)
{
    return (field->kind == LOG_KIND_STR || field->kind == LOG_KIND_JSON) &&
           str_is_none(field->str);
}

static void put_field(struct json_out *out, const char *key,
                      const struct log_field *field)
{
    switch (field->kind) {
    case LOG_KIND_STR:
        json_put_str(out, key, field->str);
        break;
    case LOG_KIND_U64:
        json_put_u64(out, key, field->u64);
        break;
    case LOG_KIND_I64:
        json_put_i64(out, key, field->i64);
        break;
    case LOG_KIND_DOUBLE:
        json_put_double(out, key, field->number);
        break;
    case LOG_KIND_BOOL:
        json_put_bool(out, key, field->flag);
        break;
    case LOG_KIND_JSON:
        json_put_raw(out, key, field->str);
        break;
    case LOG_KIND_END:
        break;
    }
}

static void write_json(struct buf *line, enum log_level level,
                       const char *logger, const char *message,
                       const struct log_field *fields)
{
    struct json_out out;

    json_begin(&out, line);
    json_object(&out, NULL);
    json_put_time(&out, "timestamp", clock_wall_us());
    json_put_text(&out, "level", levels[level].name);
    json_put_text(&out, "logger", logger);
    json_put_text(&out, "message", message);
    for (; fields->kind != LOG_KIND_END; fields++) {
        if (!is_left_out(fields))
            put_field(&out, fields->key, fields);
    }
    json_end(&out, '}');
}

/* Words stand as they are; what has spaces, quotes, control characters or the
 * like is quoted, so that no value can pass for another field, for a line of
 * its own, or for a command to the terminal. */
static bool is_word(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] <= ' ' || s.ptr[i] > '~' ||
            strchr("\"=\\", s.ptr[i]) != NULL)
            return false;
    }
    return s.len > 0;
}

static void write_text_field(struct buf *line, const struct log_field *field)
{
    struct json_out out;

    buf_char(line, ' ');
    buf_text(line, field->key);
    buf_char(line, '=');
    if (field->kind == LOG_KIND_STR && is_word(field->str)) {
        buf_str(line, field->str);
        return;
    }
    json_begin(&out, line);
    put_field(&out, NULL, field);
}

static void write_text(struct buf *line, enum log_level level,
                       const char *logger, const char *message,
                       const struct log_field *fields)
{
    char now[CLOCK_TEXT_SIZE];

    clock_format(clock_wall_us(), now);
    buf_printf(line, "%s %s%-8s%s %s: %s", now,
               setup.colour ? levels[level].colour : "", levels[level].name,
               setup.colour ? "\x1b[0m" : "", logger, message);
    for (; fields->kind != LOG_KIND_END; fields++) {
        if (!is_left_out(fields))
            write_text_field(line, fields);
    }
}

/* A log that cannot be written stops nothing: the record is lost. */
static void write_whole(struct str line)
{
    pthread_mutex_lock(&write_lock);
    while (line.len > 0) {
        ssize_t done = write(setup.fd, line.ptr, line.len);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            break;
        line = str_n(line.ptr + done, line.len - (size_t)done);
    }
    pthread_mutex_unlock(&write_lock);
}

void log_write(enum log_level level, const char *logger, const char *message,
               const struct log_field *fields)
{
    int caller_errno = errno;
    struct buf line = {0};

    if (!log_is_on(level))
        return;
    if (setup.format == LOG_FORMAT_JSON)
        write_json(&line, level, logger, message, fields);
    else
        write_text(&line, level, logger, message, fields);
    buf_char(&line, '\n');
    write_whole(buf_as_str(&line));
    buf_done(&line);
    errno = caller_errno;
}

bool log_may(struct log_throttle *throttle, uint64_t every_ms,
             uint64_t *held_out)
{
    uint64_t now = clock_ms();
    uint64_t next = __atomic_load_n(&throttle->next_ms, __ATOMIC_RELAXED);

    /* Of several threads that find the time has come one moves it on. */
    if (now < next || !__atomic_compare_exchange_n(
                          &throttle->next_ms, &next, now + every_ms, false,
                          __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        __atomic_fetch_add(&throttle->held, 1, __ATOMIC_RELAXED);
        return false;
    }
    *held_out = __atomic_exchange_n(&throttle->held, 0, __ATOMIC_RELAXED);
    return true;
}
