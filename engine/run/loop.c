/*
 * libuv, reduced to what the engine needs.
 *
 * Handles live in the loop's lists from the call that made them until
 * loop_free, which closes them and runs the loop once more so that libuv lets
 * go of them.  The list of posted calls is the only thing that other threads
 * touch; it is taken whole under the lock and run without it.
 */
#include "run/loop.h"

#include "base/list.h"
#include "base/mem.h"

#include <signal.h>
#include <uv.h>

struct ticker {
    struct list link;
    uv_timer_t timer;
    void (*on_tick)(void *arg);
    void *arg;
};

struct posted {
    struct list link;
    void (*call)(void *arg);
    void *arg;
};

static const int watched_signals[] = {SIGTERM, SIGINT, SIGHUP};

struct loop {
    /* --- loop thread --- */
    uv_loop_t uv;
    uv_signal_t signals[COUNT(watched_signals)];
    bool watches_signals;
    void (*on_signal)(void *arg, int signal);
    void *on_signal_arg;
    struct list tickers;
    /* --- any thread --- */
    uv_async_t wake; /* uv_async_send is safe from everywhere */
    /* --- any thread, under lock --- */
    struct lock lock;
    struct list posted;
};

static bool uv_err(struct err *err, const char *what, int code)
{
    return err_set(err, ERR_INTERNAL, "%s: %s", what, uv_strerror(code));
}

/* Moves everything that was posted to `taken`. */
static void take_posted(struct loop *loop, struct list *taken)
{
    list_init(taken);
    lock_take(&loop->lock);
    list_each_safe (&loop->posted, item, after) {
        list_remove(item);
        list_append(taken, item);
    }
    lock_give(&loop->lock);
}

static void run_posted(uv_async_t *wake)
{
    struct loop *loop = wake->data;
    struct list taken;

    take_posted(loop, &taken);
    list_each_safe (&taken, item, after) {
        struct posted *posted = LIST_ITEM(item, struct posted, link);
        posted->call(posted->arg);
        mem_free(posted);
    }
}

struct loop *loop_new(struct err *err)
{
    struct loop *loop = NEW(struct loop);
    int failed = uv_loop_init(&loop->uv);

    if (failed != 0) {
        uv_err(err, "event loop", failed);
        mem_free(loop);
        return NULL;
    }
    failed = uv_async_init(&loop->uv, &loop->wake, run_posted);
    CHECK(failed == 0);
    loop->wake.data = loop;
    list_init(&loop->tickers);
    list_init(&loop->posted);
    lock_init(&loop->lock);
    return loop;
}

static void close_handle(uv_handle_t *handle, void *arg UNUSED)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void free_lists(struct loop *loop)
{
    struct list taken;

    list_each_safe (&loop->tickers, item, after)
        mem_free(LIST_ITEM(item, struct ticker, link));
    take_posted(loop, &taken);
    list_each_safe (&taken, item, after)
        mem_free(LIST_ITEM(item, struct posted, link));
}

void loop_free(struct loop *loop)
{
    if (loop == NULL)
        return;
    uv_walk(&loop->uv, close_handle, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop->uv) == 0);
    free_lists(loop);
    lock_done(&loop->lock);
    mem_free(loop);
}

static void signal_came(uv_signal_t *handle, int number)
{
    struct loop *loop = handle->data;

    loop->on_signal(loop->on_signal_arg, number);
}

bool loop_watch_signals(struct loop *loop,
                        void (*on_signal)(void *arg, int signal), void *arg,
                        struct err *err)
{
    CHECK(!loop->watches_signals);
    loop->watches_signals = true;
    loop->on_signal = on_signal;
    loop->on_signal_arg = arg;
    CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);

    for (size_t i = 0; i < COUNT(watched_signals); i++) {
        uv_signal_t *handle = &loop->signals[i];
        int failed = uv_signal_init(&loop->uv, handle);

        CHECK(failed == 0);
        handle->data = loop;
        failed = uv_signal_start(handle, signal_came, watched_signals[i]);
        if (failed != 0)
            return uv_err(err, "watch signals", failed);
    }
    return true;
}

static void tick(uv_timer_t *timer)
{
    struct ticker *ticker = timer->data;

    ticker->on_tick(ticker->arg);
}

bool loop_every(struct loop *loop, uint32_t every_ms,
                void (*on_tick)(void *arg), void *arg, struct err *err)
{
    struct ticker *ticker = NEW(struct ticker);

    ticker->on_tick = on_tick;
    ticker->arg = arg;
    ticker->timer.data = ticker;
    list_append(&loop->tickers, &ticker->link);
    CHECK(uv_timer_init(&loop->uv, &ticker->timer) == 0);
    int failed = uv_timer_start(&ticker->timer, tick, every_ms, every_ms);
    return failed == 0 || uv_err(err, "start a timer", failed);
}

void loop_post(struct loop *loop, void (*call)(void *arg), void *arg)
{
    struct posted *posted = NEW(struct posted);

    posted->call = call;
    posted->arg = arg;
    lock_take(&loop->lock);
    list_append(&loop->posted, &posted->link);
    lock_give(&loop->lock);
    CHECK(uv_async_send(&loop->wake) == 0);
}

void loop_run(struct loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

const char *loop_uv_version(void)
{
    return uv_version_string();
}
