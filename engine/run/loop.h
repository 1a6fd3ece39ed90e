#pragma once
/*
 * The one libuv loop: signals and timers, and a way for other threads to have
 * something done on it.  Owned by the main thread; nothing on it may block.
 */
#include "run/thread.h"

struct loop;

/* A loop that watches nothing yet. */
struct loop *loop_new(struct err *err) MUST_USE;
/* After loop_run returned; calls that were posted since are not made. */
void loop_free(struct loop *loop);

/* Calls `on_signal` on the loop for SIGTERM, SIGINT and SIGHUP.  SIGPIPE is
 * ignored process-wide from here on. */
bool loop_watch_signals(struct loop *loop,
                        void (*on_signal)(void *arg, int signal), void *arg,
                        struct err *err) MUST_USE;
/* Calls `on_tick` every `every_ms`; as often as you like before loop_run. */
bool loop_every(struct loop *loop, uint32_t every_ms,
                void (*on_tick)(void *arg), void *arg,
                struct err *err) MUST_USE;
/* Any thread: runs `call(arg)` on the loop soon. */
void loop_post(struct loop *loop, void (*call)(void *arg), void *arg);

/* Runs until loop_stop, on the calling thread. */
void loop_run(struct loop *loop);
/* On the loop (a callback): loop_run returns after it. */
void loop_stop(struct loop *loop) ON_LOOP;
/* "1.44.2" */
const char *loop_uv_version(void);
