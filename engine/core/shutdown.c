/*
 * Two threads and one struct.
 *
 *   stages    walks the table below, then calls `done`; writes the progress
 *             (what is drained so far) under the lock as it goes
 *   watch     sleeps until the stages have ended or time is over; in the second
 *             case it reports from that progress and never looks at the engine,
 *             which may be half closed
 *
 * Exactly one of `done` and `forced` is called: `over` is decided under the
 * lock, by whoever comes first.
 */
#include "core/shutdown.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

/* How often a stage that waits looks again, and so how old the numbers of a
 * forced end may be. */
#define LOOK_US 50000

struct shutdown {
    /* --- set before the threads start, read only then --- */
    struct shutdown_options options;
    uint64_t began_us;
    struct thread *stages;
    struct thread *watch;
    /* --- stages thread --- */
    struct engine *engine;
    /* --- any thread, under lock --- */
    struct lock lock;
    struct signal changed;
    struct stop_result progress;
    bool force_asked;
    bool over; /* `done` or `forced` is being called */
};

static uint64_t drain_deadline(const struct shutdown *shutdown)
{
    return shutdown->began_us +
           (uint64_t)shutdown->options.drain_timeout_ms * 1000;
}

/* ---- the stages ---- */

static void sleep_until(struct shutdown *shutdown, uint64_t deadline_us)
{
    lock_take(&shutdown->lock);
    while (signal_wait_until(&shutdown->changed, &shutdown->lock, deadline_us))
        continue;
    lock_give(&shutdown->lock);
}

static struct subscriptions *subscriptions_of(struct shutdown *shutdown)
{
    return engine_is_open(shutdown->engine) ? shutdown->engine->subs : NULL;
}

/* Waits for the batches in flight until the deadline; true when none is left.
 * Notes how it went, for whoever has to report from the outside.  The engine
 * may open in the middle of all this, so draining is asked for each time. */
static bool look_at_batches(struct shutdown *shutdown, uint64_t deadline_us)
{
    struct subscriptions *subs = subscriptions_of(shutdown);
    struct stop_result result = {0};

    if (subs == NULL)
        return true;
    subscriptions_drain(subs);
    bool drained = subscriptions_drained(subs, deadline_us, &result);
    lock_take(&shutdown->lock);
    shutdown->progress = result;
    lock_give(&shutdown->lock);
    return drained;
}

/* Batches are not begun from here on either: what requests under way still
 * append is projected after the next start. */
static void stop_taking_work(struct shutdown *shutdown)
{
    const struct shutdown_options *options = &shutdown->options;
    uint64_t deadline_us = drain_deadline(shutdown);

    options->refuse(options->arg);
    look_at_batches(shutdown, 0);
    while (!options->finished(options->arg) && clock_us() < deadline_us) {
        look_at_batches(shutdown, 0);
        sleep_until(shutdown, clock_us() + LOOK_US);
    }
}

static void finish_batches(struct shutdown *shutdown)
{
    uint64_t deadline_us = drain_deadline(shutdown);

    while (!look_at_batches(shutdown, MIN(clock_us() + LOOK_US, deadline_us)) &&
           clock_us() < deadline_us)
        continue;
    if (!look_at_batches(shutdown, 0))
        subscriptions_cut(shutdown->engine->subs);
}

/* A handler cannot be broken off, so closing waits for the one that is running
 * or the commit that is on its way.  The watch bounds this. */
static void close_everything(struct shutdown *shutdown)
{
    while (!look_at_batches(shutdown, clock_us() + LOOK_US))
        continue;
    shutdown->options.close(shutdown->options.arg);
    shutdown->engine = NULL;
}

/* clang-format off */
static const struct stage {
    enum engine_phase phase;
    void (*run)(struct shutdown *shutdown);
} stages[] = {
    {PHASE_STOPPING,      stop_taking_work},
    {PHASE_DRAINING,      finish_batches},
    {PHASE_CHECKPOINTING, close_everything},
};
/* clang-format on */

/* True for the one caller that may announce the end. */
static bool claim_end(struct shutdown *shutdown)
{
    lock_take(&shutdown->lock);
    bool mine = !shutdown->over;
    shutdown->over = true;
    signal_all(&shutdown->changed);
    lock_give(&shutdown->lock);
    return mine;
}

static void run_stages(void *arg)
{
    struct shutdown *shutdown = arg;

    for (size_t i = 0; i < COUNT(stages); i++) {
        engine_move(shutdown->engine, stages[i].phase);
        stages[i].run(shutdown);
    }
    if (claim_end(shutdown))
        shutdown->options.done(shutdown->options.arg);
}

/* ---- the clock ---- */

/* A batch that was given up is no graceful end, however quick the rest was. */
static void report(const struct shutdown *shutdown, struct shutdown_report *out)
{
    bool cut = shutdown->progress.events_not_drained > 0;

    *out = (struct shutdown_report){
        .phase = cut ? PHASE_FORCED : PHASE_STOPPED,
        .reason = cut ? "timeout" : shutdown->options.reason,
        .forced = cut,
        .duration_seconds = (double)(clock_us() - shutdown->began_us) / 1e6,
        .stop = shutdown->progress,
        .events_in_flight = shutdown->progress.events_not_drained,
    };
}

/* Waits for the end; true when it must be forced. */
static bool is_overdue(struct shutdown *shutdown,
                       struct shutdown_report *forced_out)
{
    uint64_t deadline_us =
        shutdown->began_us + (uint64_t)shutdown->options.timeout_ms * 1000;

    lock_take(&shutdown->lock);
    while (!shutdown->over && !shutdown->force_asked &&
           signal_wait_until(&shutdown->changed, &shutdown->lock, deadline_us))
        continue;
    bool forced = !shutdown->over;
    shutdown->over = true;
    report(shutdown, forced_out);
    forced_out->phase = PHASE_FORCED;
    forced_out->forced = true;
    forced_out->reason = shutdown->force_asked ? "double_signal" : "timeout";
    lock_give(&shutdown->lock);
    return forced;
}

static void watch_clock(void *arg)
{
    struct shutdown *shutdown = arg;
    struct shutdown_report forced;

    if (is_overdue(shutdown, &forced))
        shutdown->options.forced(shutdown->options.arg, &forced);
}

/* ---- public ---- */

static void shutdown_free(struct shutdown *shutdown)
{
    claim_end(shutdown);
    thread_join(shutdown->stages);
    thread_join(shutdown->watch);
    signal_done(&shutdown->changed);
    lock_done(&shutdown->lock);
    mem_free(shutdown);
}

struct shutdown *shutdown_begin(struct engine *engine,
                                const struct shutdown_options *options,
                                struct err *err)
{
    struct shutdown *shutdown = NEW(struct shutdown);

    shutdown->options = *options;
    shutdown->engine = engine;
    shutdown->began_us = clock_us();
    lock_init(&shutdown->lock);
    signal_init(&shutdown->changed);
    shutdown->watch =
        thread_start("shutdown-watch", watch_clock, shutdown, err);
    if (shutdown->watch == NULL)
        goto fail;
    shutdown->stages = thread_start("shutdown", run_stages, shutdown, err);
    if (shutdown->stages == NULL)
        goto fail;
    return shutdown;

fail:
    shutdown_free(shutdown);
    return NULL;
}

void shutdown_force(struct shutdown *shutdown)
{
    lock_take(&shutdown->lock);
    shutdown->force_asked = true;
    signal_all(&shutdown->changed);
    lock_give(&shutdown->lock);
}

void shutdown_end(struct shutdown *shutdown, struct shutdown_report *out)
{
    thread_join(shutdown->stages);
    shutdown->stages = NULL;
    report(shutdown, out);
    shutdown_free(shutdown);
}

void shutdown_log(const struct shutdown_report *report_of)
{
    const struct stop_result *stop = &report_of->stop;

    log_write(report_of->forced ? LOG_CRITICAL : LOG_INFO, "shutdown",
              report_of->forced ? "stopped by force" : "stopped",
              LOG_FIELDS(
                  LOG_TEXT("phase", engine_phase_name(report_of->phase)),
                  LOG_DOUBLE("duration_seconds", report_of->duration_seconds),
                  LOG_TEXT("reason", report_of->reason),
                  LOG_BOOL("forced", report_of->forced),
                  LOG_U64("subscriptions_stopped", stop->subscriptions_stopped),
                  LOG_U64("events_in_flight", report_of->events_in_flight),
                  LOG_U64("in_flight_at_start", stop->in_flight_at_start),
                  LOG_U64("events_drained", stop->events_drained),
                  LOG_U64("events_not_drained", stop->events_not_drained),
                  LOG_U64("checkpoints_saved", stop->checkpoints_saved)));
}
