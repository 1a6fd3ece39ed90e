/*
 * Life of a beat: the thread renews what the engine holds and asks for the
 * head in one statement, tells both, and sleeps on the store's notices until
 * the next beat is due; each notice moves the head meanwhile.
 *
 * Nothing here is shared but the time and the error of the last beat, which
 * the health picture reads.
 */
#include "core/keeper.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define TROUBLE_LOG_MS 10000

struct keeper {
    /* --- set before start, then read only --- */
    struct keeper_options options;
    int wake_fd; /* readable from keeper_stop on */
    struct thread *thread;
    /* --- keeper thread --- */
    struct store_keeper *connection; /* NULL before the store was reached */
    struct arena arena;              /* of one beat */
    struct uuid log_id;              /* of the first beat; nil before it */
    bool lease_time_over;            /* and the subscriptions know */
    struct log_throttle trouble;
    /* --- any thread, under lock --- */
    struct lock lock;
    uint64_t answered_ms;
    char text[600]; /* why the last beat failed; empty when it did not */
    bool stopping;
};

/* ---- what the last beat said ---- */

static void note_answer(struct keeper *keeper)
{
    lock_take(&keeper->lock);
    keeper->answered_ms = clock_ms();
    keeper->text[0] = '\0';
    lock_give(&keeper->lock);
}

static void note_silence(struct keeper *keeper, const struct err *err)
{
    uint64_t held;

    lock_take(&keeper->lock);
    snprintf(keeper->text, sizeof(keeper->text), "%s", err->text);
    lock_give(&keeper->lock);
    if (log_may(&keeper->trouble, TROUBLE_LOG_MS, &held))
        log_warning("keeper", "the store does not answer: trying on",
                    LOG_U64("held_back", held), LOG_ERR(err));
}

static bool is_stopping(struct keeper *keeper)
{
    bool stopping;

    lock_take(&keeper->lock);
    stopping = keeper->stopping;
    lock_give(&keeper->lock);
    return stopping;
}

/* ---- a beat ---- */

/* Positions of another log mean nothing here, whatever stands at them. */
static bool check_log(struct keeper *keeper, struct uuid log_id,
                      struct err *err)
{
    if (uuid_is_nil(keeper->log_id))
        keeper->log_id = log_id;
    if (uuid_eq(keeper->log_id, log_id))
        return true;
    return err_set(err, ERR_CONFLICT,
                   "the database holds another log than at start: restart the "
                   "engine");
}

static bool ask(struct keeper *keeper, struct beat *out, struct err *err)
{
    const struct keeper_options *options = &keeper->options;

    if (keeper->connection == NULL)
        keeper->connection = store_keeper_open(options->store, err);
    return keeper->connection != NULL &&
           store_keeper_beat(keeper->connection, options->owner,
                             options->lease_ms, &keeper->arena, out, err) &&
           check_log(keeper, out->log_id, err);
}

static void tell(struct keeper *keeper, const struct beat *beat) ON_KEEPER
{
    struct subscriptions *subs = keeper->options.subs;

    keeper->lease_time_over = false;
    head_move(keeper->options.head, beat->head);
    if (subs != NULL)
        subscriptions_leases(subs, beat->held, beat->held_count);
}

/* Said once: another engine may have taken over, and a batch that is offered
 * nevertheless is fenced off. */
static void tell_lease_time_over(struct keeper *keeper) ON_KEEPER
{
    struct subscriptions *subs = keeper->options.subs;

    if (keeper->lease_time_over || subs == NULL ||
        keeper_silence_ms(keeper, NULL, 0) <= keeper->options.lease_ms)
        return;
    keeper->lease_time_over = true;
    subscriptions_leases(subs, NULL, 0);
}

static void beat(struct keeper *keeper) ON_KEEPER
{
    struct beat beat = {0};
    struct err err;

    if (ask(keeper, &beat, &err)) {
        note_answer(keeper);
        tell(keeper, &beat);
    } else {
        note_silence(keeper, &err);
        tell_lease_time_over(keeper);
    }
    arena_reset(&keeper->arena);
}

/* ---- between beats ---- */

static void sleep_without_store(struct keeper *keeper, uint32_t timeout_ms)
{
    struct pollfd wake = {.fd = keeper->wake_fd, .events = POLLIN};

    (void)poll(&wake, 1, (int)timeout_ms);
}

static void sleep_on_notices(struct keeper *keeper, uint32_t timeout_ms)
{
    uint64_t head;

    if (keeper->connection == NULL)
        sleep_without_store(keeper, timeout_ms);
    else if (store_keeper_wait(keeper->connection, keeper->wake_fd, timeout_ms,
                               &head))
        head_move(keeper->options.head, head);
}

static void sleep_until(struct keeper *keeper, uint64_t due_ms)
{
    uint64_t now_ms;

    while (!is_stopping(keeper) && (now_ms = clock_ms()) < due_ms)
        sleep_on_notices(keeper, (uint32_t)(due_ms - now_ms));
}

static void keep(void *arg)
{
    struct keeper *keeper = arg;

    on_keeper_thread();
    while (!is_stopping(keeper)) {
        uint64_t due_ms = clock_ms() + keeper->options.beat_ms;

        beat(keeper);
        sleep_until(keeper, due_ms);
    }
}

/* ---- */

static void keeper_free(struct keeper *keeper)
{
    if (keeper->connection != NULL)
        store_keeper_close(keeper->connection);
    if (keeper->wake_fd >= 0)
        close(keeper->wake_fd);
    arena_done(&keeper->arena);
    lock_done(&keeper->lock);
    mem_free(keeper);
}

struct keeper *keeper_start(const struct keeper_options *options,
                            struct err *err)
{
    struct keeper *keeper = NEW(struct keeper);

    keeper->options = *options;
    keeper->answered_ms = clock_ms();
    lock_init(&keeper->lock);
    keeper->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (keeper->wake_fd < 0)
        err_set(err, ERR_INTERNAL, "cannot make an event descriptor");
    else
        keeper->thread = thread_start("keeper", keep, keeper, err);
    if (keeper->thread != NULL)
        return keeper;
    keeper_free(keeper);
    return NULL;
}

void keeper_stop(struct keeper *keeper)
{
    uint64_t one = 1;

    if (keeper == NULL)
        return;
    lock_take(&keeper->lock);
    keeper->stopping = true;
    lock_give(&keeper->lock);
    CHECK(write(keeper->wake_fd, &one, sizeof(one)) == sizeof(one));
    thread_join(keeper->thread);
    keeper_free(keeper);
}

uint64_t keeper_silence_ms(struct keeper *keeper, char *text, size_t size)
{
    uint64_t silence_ms;

    lock_take(&keeper->lock);
    silence_ms = clock_ms() - keeper->answered_ms;
    if (size > 0)
        snprintf(text, size, "%s", keeper->text);
    lock_give(&keeper->lock);
    return silence_ms;
}
