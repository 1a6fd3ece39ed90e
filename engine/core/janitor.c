#include "core/janitor.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "run/thread.h"

struct janitor {
    /* --- set before start, then read only --- */
    struct store *store; /* borrowed */
    uint32_t every_ms;
    struct thread *thread;
    /* --- any thread, under lock --- */
    struct lock lock;
    struct signal changed;
    bool stopping;
};

/* Whatever becomes of it, it is tried again in a while. */
static void forget_requests(const struct janitor *janitor)
{
    struct err err;

    if (!store_request_forget(janitor->store, &err))
        log_warning("janitor", "old request keys are still there",
                    LOG_ERR(&err));
}

/* False at the end. */
static bool rest(struct janitor *janitor)
{
    uint64_t until_us = clock_us() + (uint64_t)janitor->every_ms * 1000;
    bool stopping;

    lock_take(&janitor->lock);
    while (!janitor->stopping &&
           signal_wait_until(&janitor->changed, &janitor->lock, until_us))
        continue;
    stopping = janitor->stopping;
    lock_give(&janitor->lock);
    return !stopping;
}

static void run(void *arg)
{
    struct janitor *janitor = arg;

    do
        forget_requests(janitor);
    while (rest(janitor));
}

static void janitor_free(struct janitor *janitor)
{
    signal_done(&janitor->changed);
    lock_done(&janitor->lock);
    mem_free(janitor);
}

struct janitor *janitor_start(struct store *store, uint32_t every_ms,
                              struct err *err)
{
    struct janitor *janitor = NEW(struct janitor);

    janitor->store = store;
    janitor->every_ms = every_ms;
    lock_init(&janitor->lock);
    signal_init(&janitor->changed);
    janitor->thread = thread_start("janitor", run, janitor, err);
    if (janitor->thread != NULL)
        return janitor;
    janitor_free(janitor);
    return NULL;
}

void janitor_stop(struct janitor *janitor)
{
    if (janitor == NULL)
        return;
    lock_take(&janitor->lock);
    janitor->stopping = true;
    signal_all(&janitor->changed);
    lock_give(&janitor->lock);
    thread_join(janitor->thread);
    janitor_free(janitor);
}
