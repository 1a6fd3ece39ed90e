/*
 * Whose thread is it.  Everything in struct app belongs to the main thread
 * while it builds and while the loop runs, but for what the rulers say.  The
 * end comes from two sides: from the loop (a signal, POST /api/shutdown, a
 * start that cannot succeed) by way of begin_shutdown, and from core/shutdown's
 * threads, which close the parts and then post `ended` to the loop.
 */
#include "app.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/door.h"
#include "core/shutdown.h"
#include "http/server.h"
#include "run/loop.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BODY_MAX_BYTES (1024u * 1024u)
#define LOOP_TICK_MS   500

#define START_AGAIN_FIRST_MS 500
#define START_AGAIN_MAX_MS   5000

struct app {
    /* --- main thread, set before the others start --- */
    const struct config *config;       /* borrowed from the command */
    const struct cli_program *program; /* borrowed likewise */
    struct loop *loop;
    struct engine *engine;
    struct http_server *http;
    struct thread *starter;
    struct heartbeat loop_beat; /* atomic inside */
    /* --- main thread --- */
    struct shutdown *shutdown;
    /* --- the starter's, then the main thread's once it has ended --- */
    int status; /* exit status */
    /* --- starter and shutdown threads, under lock --- */
    struct lock lock;
    struct signal stopped;
    bool stop_starting;
};

/* ---- saying where we are ---- */

static void log_beginning(const struct app *app)
{
    const struct config *config = app->config;
    struct buf url = {0};

    config_mask_url(str_of(config->database_url), &url);
    log_info("app", "starting", LOG_TEXT("version", app->program->version),
             LOG_TEXT("commit", app->program->commit),
             LOG_TEXT("config", config->file),
             LOG_STR("database", buf_as_str(&url)));
    buf_done(&url);
}

/* The example's table keeps the order's id as a uuid. */
#define EXAMPLE_ID "550e8400-e29b-41d4-a716-446655440000"

/* For people: what to try.  Not on a pipe, where the log is read by machines,
 * unless it is asked for. */
static void greet(const struct app *app)
{
    struct buf url = {0};

    if (getenv("PERIGEE_HELLO") == NULL && isatty(STDOUT_FILENO) == 0)
        return;
    door_url_of(http_address(app->http), &url);
    printf("\nPerigee %s is at %s.  Try, in another terminal:\n\n"
           "  curl -X POST %s/api/aggregates/Order/" EXAMPLE_ID "/create \\\n"
           "       -H 'Content-Type: application/json' \\\n"
           "       -d '{\"customer_id\": \"cust-1\", \"total\": 499.99}'\n"
           "  curl %s/api/projections/orders/tables/orders\n\n"
           "or `perigee help`.  Ctrl-C stops it.\n\n",
           app->program->version, url.ptr, url.ptr, url.ptr);
    fflush(stdout);
    buf_done(&url);
}

/* ---- the end ---- */

static void refuse_work(void *arg)
{
    struct app *app = arg;

    http_refuse(app->http);
}

static bool work_is_finished(void *arg)
{
    struct app *app = arg;

    return http_under_way(app->http) == 0;
}

static void stop_starter(struct app *app)
{
    lock_take(&app->lock);
    app->stop_starting = true;
    signal_all(&app->stopped);
    lock_give(&app->lock);
    thread_join(app->starter);
    app->starter = NULL;
}

/* HTTP first: its probes read the engine. */
static void close_parts(void *arg)
{
    struct app *app = arg;

    stop_starter(app);
    http_stop(app->http);
    app->http = NULL;
    engine_close(app->engine);
    app->engine = NULL;
}

static void ended(void *arg)
{
    struct app *app = arg;

    on_loop_thread();
    loop_stop(app->loop);
}

static void post_ended(void *arg)
{
    struct app *app = arg;

    loop_post(app->loop, ended, app);
}

/* Some thread hangs, or somebody is in a hurry: nothing is waited for.  What
 * was not committed did not happen. */
static void forced(void *arg UNUSED, const struct shutdown_report *report)
{
    shutdown_log(report);
    _exit(CLI_FORCED);
}

static void begin_shutdown(struct app *app, const char *reason)
{
    struct shutdown_options options = {
        .timeout_ms = app->config->shutdown_timeout,
        .drain_timeout_ms = app->config->shutdown_drain_timeout,
        .reason = reason,
        .arg = app,
        .refuse = refuse_work,
        .finished = work_is_finished,
        .close = close_parts,
        .done = post_ended,
        .forced = forced,
    };
    struct err err = {0};

    log_info("app", "shutting down", LOG_TEXT("reason", reason));
    app->shutdown = shutdown_begin(app->engine, &options, &err);
    if (app->shutdown != NULL)
        return;
    log_critical("app", "cannot shut down gracefully", LOG_ERR(&err));
    _exit(CLI_FORCED);
}

/* ---- on the loop ---- */

static void signal_came(void *arg, int number)
{
    struct app *app = arg;

    on_loop_thread();
    if (number == SIGHUP)
        return; /* a terminal that closes does not stop a server */
    if (app->shutdown != NULL)
        shutdown_force(app->shutdown);
    else
        begin_shutdown(app,
                       number == SIGINT ? "signal_sigint" : "signal_sigterm");
}

static void shutdown_was_asked(void *arg)
{
    struct app *app = arg;

    on_loop_thread();
    if (app->shutdown == NULL)
        begin_shutdown(app, "programmatic");
}

/* On a thread of HTTP. */
static void ask_shutdown(void *arg)
{
    struct app *app = arg;

    loop_post(app->loop, shutdown_was_asked, app);
}

static void beat(void *arg)
{
    struct app *app = arg;

    heartbeat_moved(&app->loop_beat);
}

/* ---- the starter ---- */

/* True when it is to be tried again. */
static bool wait_to_try(struct app *app, uint32_t *wait_ms)
{
    uint64_t until_us = clock_us() + (uint64_t)*wait_ms * 1000;
    bool again;

    lock_take(&app->lock);
    while (!app->stop_starting &&
           signal_wait_until(&app->stopped, &app->lock, until_us))
        continue;
    again = !app->stop_starting;
    lock_give(&app->lock);
    *wait_ms = MIN(*wait_ms * 2, START_AGAIN_MAX_MS);
    return again;
}

static void log_open(const struct app *app)
{
    log_info("app", "ready",
             LOG_TEXT("store", store_kind_name(app->engine->store)),
             LOG_TEXT("address", http_address(app->http)),
             LOG_U64("aggregates", app->engine->scripts->aggregate_count),
             LOG_U64("projections", app->engine->scripts->projection_count));
}

static void open_engine(void *arg)
{
    struct app *app = arg;
    uint32_t wait_ms = START_AGAIN_FIRST_MS;
    struct err err;

    do {
        err = (struct err){0};
        if (engine_start(app->engine, ENGINE_SERVE, http_address(app->http),
                         &err)) {
            log_open(app);
            return;
        }
        if (!err_may_retry(err.code)) {
            log_critical("app", "cannot start", LOG_ERR(&err));
            app->status = setup_fail(&err); /* before the loop hears of it */
            loop_post(app->loop, shutdown_was_asked, app);
            return;
        }
        log_warning("app", "the store is away; trying again", LOG_ERR(&err),
                    LOG_U64("wait_ms", wait_ms));
    } while (wait_to_try(app, &wait_ms));
}

/* ---- building ---- */

static bool make_loop(struct app *app, struct err *err)
{
    app->loop = loop_new(err);
    heartbeat_moved(&app->loop_beat);
    return app->loop != NULL &&
           loop_watch_signals(app->loop, signal_came, app, err) &&
           loop_every(app->loop, LOOP_TICK_MS, beat, app, err);
}

static void make_engine(struct app *app)
{
    struct engine_options options;

    setup_engine_options(app->config, &options);
    app->engine = engine_new(&options);
    app->engine->loop_beat = &app->loop_beat;
    app->engine->on_shutdown_asked = ask_shutdown;
    app->engine->on_shutdown_arg = app;
}

static bool start_http(struct app *app, struct err *err)
{
    struct http_options options = {
        .listen = app->config->http_listen,
        .probe_listen = app->config->http_probe_listen,
        .access = app->config->http_tokens,
        .threads = app->config->http_threads,
        .max_live = app->config->http_max_live,
        .max_body_bytes = BODY_MAX_BYTES,
    };

    app->http = http_start(app->engine, &options, err);
    return app->http != NULL;
}

static bool start_starter(struct app *app, struct err *err)
{
    app->starter = thread_start("starter", open_engine, app, err);
    return app->starter != NULL;
}

static bool app_start(struct app *app, struct err *err)
{
    if (!make_loop(app, err))
        return false;
    make_engine(app);
    if (!start_http(app, err))
        return false;
    greet(app);
    return start_starter(app, err);
}

static void app_done(struct app *app)
{
    if (app->http != NULL)
        http_stop(app->http);
    engine_close(app->engine);
    loop_free(app->loop);
    signal_done(&app->stopped);
    lock_done(&app->lock);
}

/* ---- public ---- */

int app_serve(const struct config *config, const struct cli_program *program)
{
    struct app app = {.config = config, .program = program};
    struct shutdown_report report;
    struct err err = {0};

    setup_server_log(config);
    log_beginning(&app);
    lock_init(&app.lock);
    signal_init(&app.stopped);
    if (app_start(&app, &err)) {
        loop_run(app.loop);
        shutdown_end(app.shutdown, &report);
        app_done(&app);
        shutdown_log(&report);
        return report.forced ? CLI_FORCED : app.status;
    }
    app_done(&app);
    log_critical("app", "cannot start", LOG_ERR(&err));
    return setup_fail(&err);
}
