/*
 * A ring of flights: runs that were sent and are not settled yet, the oldest
 * first.  A flight is filled by the caller, checked and posted here, answered
 * on the writer's thread, and settled (counted, or repaired) here again, in
 * order.  Over HTTP there is never more than one.
 *
 * `answered`, `failed`, `result` and `err` of a flight change hands with the
 * answer, under the lock; everything else is the importing thread's.
 */
#include "cli/import.h"

#include "api/append_body.h"
#include "base/mem.h"
#include "core/append_queue.h"

#include <inttypes.h>
#include <stdio.h>

/* Far enough ahead to fill group commits, bounded in memory. */
#define FLIGHTS_MAX 1024
#define AHEAD_BYTES (2u * 1024u * 1024u)

#define APPEND_TIMEOUT_MS 60000
/* No stream gets here: an append that expects it is stored never, and
 * answered when it is a repetition. */
#define IMPOSSIBLE_VERSION ((uint64_t)INT64_MAX)

struct flight {
    struct run run;
    struct append_request request; /* in process only */
    struct import *import;
    bool answered;
    bool failed;
    struct append_result result;
    struct err err;
};

struct import {
    struct door *door;     /* borrowed from the command */
    const char *name;      /* borrowed likewise */
    struct engine *engine; /* the door's, or NULL */
    struct import_totals totals;
    struct buf body, target, answer; /* of one request over HTTP */
    struct flight *ring;
    size_t first; /* the oldest flight */
    size_t count;
    size_t bytes; /* of all flights' events */
    int chain;    /* see append_request */
    struct lock lock;
    struct signal answered;
};

/* A part of a flight: the events from `from` on, `count` of them. */
struct part {
    struct flight *flight;
    size_t from;
    size_t count;
};

static struct part whole(struct flight *flight)
{
    return (struct part){flight, 0, flight->run.count};
}

static bool fail_at(struct import *import, const struct flight *flight,
                    size_t index, struct err *err)
{
    return err_wrap(err, "%s:%" PRIu64, import->name,
                    flight->run.lines[index].number);
}

/* ---- one append, waited for ---- */

static void write_body(struct buf *body, const struct part *part,
                       bool repetition)
{
    const struct run *run = &part->flight->run;
    const struct run_line *first = &run->lines[part->from];
    const struct run_line *last = &run->lines[part->from + part->count - 1];
    struct str events = str_n(run->events.ptr + first->offset,
                              last->offset + last->len - first->offset);

    buf_clear(body);
    if (repetition)
        buf_printf(body, "{\"expected_version\":%" PRIu64 ",\"events\":[",
                   IMPOSSIBLE_VERSION);
    else
        buf_text(body, "{\"events\":[");
    buf_str(body, events);
    buf_text(body, "]}");
}

static void read_answer(struct json answer, struct append_result *out)
{
    *out = (struct append_result){
        .idempotent = json_get(answer, STR("idempotent")).kind == JSON_TRUE,
    };
    if (!json_u64(json_get(answer, STR("version")), &out->version))
        out->version = 0;
}

static bool send_over_http(struct import *import, const struct part *part,
                           bool repetition, struct append_result *out,
                           struct err *err)
{
    const struct run *run = &part->flight->run;

    buf_clear(&import->target);
    buf_text(&import->target, "/api/streams/");
    door_encode(&import->target, run->aggregate_type.ptr);
    buf_char(&import->target, '/');
    door_encode(&import->target, run->aggregate_id.ptr);
    write_body(&import->body, part, repetition);
    if (!door_call(import->door, "POST", import->target.ptr,
                   buf_as_str(&import->body), &import->answer, err))
        return false;
    read_answer(json_value(buf_as_str(&import->answer)), out);
    return true;
}

static bool send_in_process(struct import *import, const struct part *part,
                            bool repetition, struct append_result *out,
                            struct err *err)
{
    struct append_request request = part->flight->request;

    request.events += part->from;
    request.count = part->count;
    request.chain = NULL;
    if (repetition) {
        request.expect = EXPECT_VERSION;
        request.expected_version = IMPOSSIBLE_VERSION;
    }
    return append_submit(import->engine->queue, &request, APPEND_TIMEOUT_MS,
                         out, err);
}

/* With `repetition` nothing is stored that is not there already. */
static bool send_part(struct import *import, struct part part, bool repetition,
                      struct append_result *out, struct err *err)
{
    if (import->engine != NULL)
        return send_in_process(import, &part, repetition, out, err);
    return send_over_http(import, &part, repetition, out, err);
}

static void count_stored(struct import *import, size_t events,
                         const struct append_result *result)
{
    if (result->idempotent) {
        import->totals.already_stored += events;
        return;
    }
    import->totals.appended += events;
    import->totals.new_streams += result->version == events;
}

/* ---- runs that did not go in at once ---- */

/* How many of the run's first events are stored, by halving: when a beginning
 * is stored, all shorter ones are. */
static bool find_stored(struct import *import, struct flight *flight,
                        size_t *stored_out, struct err *err)
{
    size_t stored = 0;
    size_t missing = flight->run.count;

    while (missing - stored > 1) {
        size_t middle = stored + (missing - stored) / 2;
        struct part beginning = {flight, 0, middle};
        struct append_result result;

        if (send_part(import, beginning, true, &result, err))
            stored = middle;
        else if (err->code == ERR_DUPLICATE_EVENT ||
                 err->code == ERR_VERSION_CONFLICT)
            missing = middle;
        else
            return false;
    }
    *stored_out = stored;
    return true;
}

/* The run's beginning may be stored: sends what is behind it. */
static bool send_rest(struct import *import, struct flight *flight,
                      struct err *err)
{
    struct err duplicate = *err;
    struct append_result result = {.idempotent = true};
    size_t stored = 0;

    if (!find_stored(import, flight, &stored, err))
        return fail_at(import, flight, 0, err);
    if (stored == 0) {
        *err = duplicate;
        return fail_at(import, flight, 0, err);
    }
    count_stored(import, stored, &result);
    struct part rest = {flight, stored, flight->run.count - stored};
    if (!send_part(import, rest, false, &result, err))
        return fail_at(import, flight, stored, err);
    count_stored(import, rest.count, &result);
    return true;
}

/* One of the run's events is refused: stores those before it, names it. */
static bool send_singly(struct import *import, struct flight *flight,
                        struct err *err)
{
    for (size_t i = 0; i < flight->run.count; i++) {
        struct part one = {flight, i, 1};
        struct append_result result;

        if (!send_part(import, one, false, &result, err)) {
            door_drop_place(err);
            return fail_at(import, flight, i, err);
        }
        count_stored(import, 1, &result);
    }
    return true;
}

/* Sends a run and waits; repairs what can be repaired. */
static bool send_run(struct import *import, struct flight *flight,
                     struct err *err)
{
    struct append_result result;

    if (send_part(import, whole(flight), false, &result, err)) {
        count_stored(import, flight->run.count, &result);
        return true;
    }
    if (flight->run.count == 1) {
        door_drop_place(err);
        return fail_at(import, flight, 0, err);
    }
    if (err->code == ERR_DUPLICATE_EVENT)
        return send_rest(import, flight, err);
    if (err->code == ERR_INVALID_INPUT)
        return send_singly(import, flight, err);
    return fail_at(import, flight, 0, err);
}

/* ---- the ring ---- */

static struct flight *flight_at(const struct import *import, size_t index)
{
    return &import->ring[(import->first + index) % FLIGHTS_MAX];
}

static void note_answer(void *arg, const struct append_result *result,
                        const struct err *err)
{
    struct flight *flight = arg;
    struct import *import = flight->import;

    lock_take(&import->lock);
    flight->failed = err != NULL;
    if (err != NULL)
        flight->err = *err;
    else
        flight->result = *result;
    flight->answered = true;
    signal_one(&import->answered);
    lock_give(&import->lock);
}

static bool post(struct import *import, struct flight *flight, struct err *err)
{
    flight->answered = false;
    if (append_post(import->engine->queue, &flight->request, note_answer,
                    flight, err))
        return true;
    flight->answered = true; /* nobody will */
    return false;
}

static void await_answer(struct import *import, struct flight *flight)
{
    lock_take(&import->lock);
    while (!flight->answered)
        signal_wait(&import->answered, &import->lock);
    lock_give(&import->lock);
}

static void drop_oldest(struct import *import)
{
    struct flight *flight = flight_at(import, 0);

    import->bytes -= flight->run.events.len;
    run_done(&flight->run); /* a thousand kept blocks would add up */
    import->first = (import->first + 1) % FLIGHTS_MAX;
    import->count--;
}

/* The oldest flight failed, and with it the chain: nothing behind it was
 * stored.  Settles it, then posts the others again. */
static bool repair(struct import *import, struct err *err)
{
    for (size_t i = 0; i < import->count; i++)
        await_answer(import, flight_at(import, i));
    __atomic_store_n(&import->chain, 0, __ATOMIC_RELEASE);

    bool ok = send_run(import, flight_at(import, 0), err);
    drop_oldest(import);
    for (size_t i = 0; ok && i < import->count; i++)
        ok = post(import, flight_at(import, i), err);
    return ok;
}

static bool settle_oldest(struct import *import, struct err *err)
{
    struct flight *flight = flight_at(import, 0);

    await_answer(import, flight);
    if (flight->failed)
        return repair(import, err);
    count_stored(import, flight->run.count, &flight->result);
    drop_oldest(import);
    return true;
}

/* ---- checking before anything is sent ---- */

/* Reads the events of a part into the flight's request; in process the scripts
 * tell which event types there are, elsewhere the engine there does. */
static bool read_part(struct import *import, struct part part, struct err *err)
{
    struct flight *flight = part.flight;
    const struct script_set *scripts =
        import->engine != NULL ? import->engine->scripts : NULL;

    write_body(&import->body, &part, false);
    struct str body = arena_str(&flight->run.arena, buf_as_str(&import->body));
    flight->request = (struct append_request){
        .aggregate_type = flight->run.aggregate_type,
        .aggregate_id = flight->run.aggregate_id,
        .chain = &import->chain,
    };
    return append_body_read(json_value(body), scripts, &flight->run.arena,
                            &flight->request, err);
}

/* How many of the first events are right, each for itself and together: an id
 * may stand in two lines.  `err` is the next one's fault. */
static size_t count_right(struct import *import, struct flight *flight,
                          struct err *err)
{
    size_t right = 0;
    size_t wrong = flight->run.count;

    while (wrong - right > 1) {
        size_t middle = right + (wrong - right) / 2;

        if (read_part(import, (struct part){flight, 0, middle}, err))
            right = middle;
        else
            wrong = middle;
    }
    if (!read_part(import, (struct part){flight, wrong - 1, 1}, err))
        door_drop_place(err);
    else
        err_set(err, ERR_DUPLICATE_EVENT,
                "its event_id is that of an earlier line");
    return wrong - 1;
}

/* The run is refused as a whole: stores what is before the line at fault. */
static bool refuse_run(struct import *import, struct flight *flight,
                       struct err *err)
{
    struct err fault = {0};
    size_t right = count_right(import, flight, &fault);

    fail_at(import, flight, right, &fault);
    flight->run.count = right;
    if (right > 0 && (!read_part(import, whole(flight), err) ||
                      !send_run(import, flight, err)))
        return false;
    *err = fault;
    return false;
}

/* ---- public ---- */

struct import *import_new(struct door *door, const char *name)
{
    struct import *import = NEW(struct import);

    import->door = door;
    import->name = name;
    import->engine = door_engine(door);
    import->ring = NEW_ARRAY(struct flight, FLIGHTS_MAX);
    for (size_t i = 0; i < FLIGHTS_MAX; i++)
        import->ring[i].import = import;
    lock_init(&import->lock);
    signal_init(&import->answered);
    return import;
}

void import_free(struct import *import)
{
    if (import == NULL)
        return;
    for (size_t i = 0; i < import->count; i++)
        await_answer(import, flight_at(import, i));
    for (size_t i = 0; i < FLIGHTS_MAX; i++)
        run_done(&import->ring[i].run);
    mem_free(import->ring);
    buf_done(&import->body);
    buf_done(&import->target);
    buf_done(&import->answer);
    signal_done(&import->answered);
    lock_done(&import->lock);
    mem_free(import);
}

struct run *import_next(struct import *import, struct err *err)
{
    while (import->count == FLIGHTS_MAX || import->bytes > AHEAD_BYTES) {
        if (!settle_oldest(import, err))
            return NULL;
    }
    return &flight_at(import, import->count)->run;
}

bool import_send(struct import *import, struct err *err)
{
    struct flight *flight = flight_at(import, import->count);

    if (!read_part(import, whole(flight), err)) {
        struct err fault = *err;
        if (!import_finish(import, err))
            return false;
        *err = fault;
        return refuse_run(import, flight, err);
    }
    if (import->engine == NULL)
        return send_run(import, flight, err);
    if (!post(import, flight, err))
        return fail_at(import, flight, 0, err);
    import->count++;
    import->bytes += flight->run.events.len;
    return true;
}

bool import_finish(struct import *import, struct err *err)
{
    while (import->count > 0) {
        if (!settle_oldest(import, err))
            return false;
    }
    return true;
}

const struct import_totals *import_totals(const struct import *import)
{
    return &import->totals;
}
