/*
 * What comes is cut into lines; of these the ones that matter are `id:`, where
 * to come back to, `data:`, an event, and the empty line that ends a block.
 * What is not ended when the connection breaks is forgotten, as if it had not
 * come: its cursor is not taken, so it comes again.
 */
#include "cli/follow.h"

#include "cli/interrupt.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

/* Three signs of life that did not come. */
#define SILENCE_SECONDS 50
#define PAUSE_SECONDS   2

struct following {
    const struct follow *follow;
    struct buf cursor; /* of the last whole block */
    struct buf line;   /* as far as it came */
    struct buf id;     /* of the block that is coming, as is its data */
    struct buf data;
    bool enough;
    bool foreign; /* what came is no event */
};

static bool take_event(struct following *f)
{
    struct str text = buf_as_str(&f->data);
    struct err ignored;

    f->foreign = !json_check(text, NULL, &ignored) ||
                 json_value(text).kind != JSON_OBJECT;
    return !f->foreign && f->follow->take(f->follow->arg, json_value(text));
}

static void end_block(struct following *f)
{
    if (f->data.len > 0)
        f->enough = !take_event(f);
    if (f->id.len > 0) {
        buf_clear(&f->cursor);
        buf_str(&f->cursor, buf_as_str(&f->id));
    }
    buf_clear(&f->data);
    buf_clear(&f->id);
}

static void end_line(struct following *f)
{
    struct str value = buf_as_str(&f->line);
    struct str field = str_cut(&value, ':');

    if (value.len > 0 && value.ptr[0] == ' ')
        value = str_n(value.ptr + 1, value.len - 1);
    if (f->line.len == 0)
        end_block(f);
    else if (str_eq(field, STR("id")))
        buf_str(&f->id, value);
    else if (str_eq(field, STR("data")))
        buf_str(&f->data, value);
    buf_clear(&f->line);
}

static bool take_bytes(void *arg, struct str bytes)
{
    struct following *f = arg;

    while (bytes.len > 0 && !f->enough) {
        struct str rest = bytes;
        struct str part = str_cut(&rest, '\n');

        buf_str(&f->line, part);
        if (!str_is_none(rest))
            end_line(f);
        bytes = rest;
    }
    fflush(stdout);
    return !f->enough;
}

static bool go_on(void *arg UNUSED)
{
    return !interrupted();
}

/* ---- connections ---- */

static void write_target(const struct following *f, struct buf *target)
{
    buf_clear(target);
    buf_text(target, "/api/events/live");
    door_param(target, "after", f->cursor.ptr);
    door_param(target, "event_type", f->follow->event_type);
    door_param(target, "aggregate_type", f->follow->aggregate_type);
}

static bool listen_once(struct following *f, struct err *err)
{
    struct http_stream stream = {take_bytes, go_on, f, SILENCE_SECONDS};
    struct buf target = {0};

    buf_clear(&f->line);
    buf_clear(&f->id);
    buf_clear(&f->data);
    write_target(f, &target);
    bool good = door_stream(f->follow->door, target.ptr, &stream, err);
    buf_done(&target);
    return good && (!f->foreign ||
                    err_set(err, ERR_CONFLICT,
                            "the answer is not an engine's: is the address "
                            "right?"));
}

/* Ends early when it is interrupted. */
static void pause_before_next(void)
{
    struct timespec pause = {.tv_sec = PAUSE_SECONDS};

    nanosleep(&pause, NULL);
}

/* The first time it must work; afterwards an engine that is away comes back. */
static bool listen_on(struct following *f, struct err *err)
{
    bool good = listen_once(f, err);

    if (!good)
        return interrupted() && !f->foreign;
    while (!f->enough && !interrupted()) {
        if (!good && !err_may_retry(err->code))
            return false;
        if (good)
            fprintf(stderr, "perigee: the connection ended; trying again\n");
        pause_before_next();
        good = listen_once(f, err);
    }
    return good || !f->foreign;
}

bool follow_run(const struct follow *follow, struct err *err)
{
    struct following f = {.follow = follow};
    bool good;

    buf_printf(&f.cursor, "%" PRIu64, follow->after);
    good = listen_on(&f, err);
    buf_done(&f.cursor);
    buf_done(&f.line);
    buf_done(&f.id);
    buf_done(&f.data);
    return good;
}
