/*
 * A server's life: the address is resolved and tried, then civetweb starts its
 * threads on it; each worker makes its struct http_thread and calls
 * exchange_serve for every request, until http_stop ends the threads, which
 * free what is theirs.  The struct outlives all of them.
 */
#include "http/server.h"

#include "base/log.h"
#include "base/mem.h"
#include "http/exchange.h"
#include "http/listen.h"
#include "run/thread.h"

#include <civetweb.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* Threads that are kept free of requests that block on the store. */
#define SPARE_THREADS 16

#define KNOCK_EVERY_US 20000

/* ---- what civetweb calls, on its own threads ---- */

static struct http_server *server_of(const struct mg_connection *conn)
{
    return mg_get_user_data(mg_get_context(conn));
}

/* Comes before any of civetweb's own ideas (files, CORS, websockets): this is
 * the whole server. */
static int on_request(struct mg_connection *conn)
{
    return exchange_serve(server_of(conn), mg_get_thread_pointer(conn), conn);
}

static int on_error(struct mg_connection *conn, int status, const char *reason)
{
    (void)status;
    exchange_fail(server_of(conn), mg_get_thread_pointer(conn), conn, reason);
    return 0;
}

static int on_message(const struct mg_connection *conn, const char *message)
{
    (void)conn;
    log_debug("http", "civetweb", LOG_TEXT("text", message));
    return 1;
}

/* Only workers (type 1) serve connections. */
static void *on_thread_start(const struct mg_context *context, int type)
{
    (void)context;
    return type == 1 ? NEW(struct http_thread) : NULL;
}

static void on_thread_end(const struct mg_context *context, int type,
                          void *pointer)
{
    struct http_thread *thread = pointer;

    (void)context;
    (void)type;
    if (thread == NULL)
        return;
    arena_done(&thread->arena);
    api_reply_done(&thread->reply);
    buf_done(&thread->out);
    mem_free(thread);
}

static const struct mg_callbacks callbacks = {
    .begin_request = on_request,
    .http_error = on_error,
    .log_message = on_message,
    .init_thread = on_thread_start,
    .exit_thread = on_thread_end,
};

/* ---- start ---- */

/* Evidence Q6 says why each of these is what it is; there is no document root,
 * so civetweb has no files, no CGI and no redirects to give. */
static struct mg_context *start_civetweb(struct http_server *server,
                                         const char *ports, uint32_t threads,
                                         struct err *err)
{
    char thread_count[16];
    char text[256] = "";
    unsigned code = 0;
    /* clang-format off */
    const char *options[] = {
        "listening_ports",             ports,
        "num_threads",                 thread_count,
        "max_request_size",            "32768", /* twice HEAD_MAX_BYTES */
        "decode_url",                  "no",
        "enable_keep_alive",           "yes",
        "keep_alive_timeout_ms",       "5000",
        "request_timeout_ms",          "10000",
        "tcp_nodelay",                 "1",
        "linger_timeout_ms",           "1000",
        "connection_queue",            "128",
        "listen_backlog",              "512",
        "enable_auth_domain_check",    "no",
        "access_control_allow_origin", "",
        "enable_directory_listing",    "no",
        NULL,
    };
    /* clang-format on */
    struct mg_error_data fault = {&code, text, sizeof(text)};
    struct mg_init_data init = {&callbacks, server, options};
    struct mg_context *context;

    snprintf(thread_count, sizeof(thread_count), "%" PRIu32, threads);
    context = mg_start2(&init, &fault);
    if (context == NULL)
        err_set(err, ERR_CONFIG, "cannot serve HTTP at %s: %s", ports, text);
    return context;
}

/* civetweb's threads inherit the mask: signals are the loop's alone. */
static struct mg_context *start_unsignalled(struct http_server *server,
                                            const char *ports, uint32_t threads,
                                            struct err *err)
{
    struct mg_context *context;
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    context = start_civetweb(server, ports, threads, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return context;
}

static void note_address(struct http_server *server,
                         const struct listen_place *place)
{
    struct mg_server_port port = {.port = place->port};

    mg_get_server_ports(server->context, 1, &port);
    snprintf(server->address, sizeof(server->address), "%s:%d", place->host,
             port.port);
    server->place = *place;
    server->place.port = (uint16_t)port.port;
}

static bool start(struct http_server *server,
                  const struct http_options *options, struct err *err)
{
    struct listen_place place;
    char ports[80];

    if (!listen_parse(options->listen, &place, err) ||
        !listen_check(&place, err))
        return false;
    snprintf(ports, sizeof(ports), "%s:%u", place.host, place.port);
    server->context = start_unsignalled(server, ports, options->threads, err);
    if (server->context == NULL)
        return false;
    note_address(server, &place);
    return true;
}

struct http_server *http_start(struct engine *engine,
                               const struct http_options *options,
                               struct err *err)
{
    struct http_server *server = NEW(struct http_server);

    server->engine = engine;
    server->max_body_bytes = options->max_body_bytes;
    server->max_blocking =
        options->threads > SPARE_THREADS ? options->threads - SPARE_THREADS : 1;
    mg_init_library(0);
    if (start(server, options, err))
        return server;
    http_stop(server);
    err_wrap(err, "http.listen");
    return NULL;
}

/* ---- ask and stop ---- */

const char *http_address(const struct http_server *server)
{
    return server->address;
}

void http_refuse(struct http_server *server)
{
    __atomic_store_n(&server->refusing, 1, __ATOMIC_SEQ_CST);
}

uint32_t http_under_way(const struct http_server *server)
{
    return __atomic_load_n(&server->under_way, __ATOMIC_SEQ_CST);
}

/* civetweb looks at its stop flag when a connection comes, else every two
 * seconds: so one comes, again and again until it has stopped. */
static void knock(void *arg)
{
    const struct http_server *server = arg;

    while (__atomic_load_n(&server->stopped, __ATOMIC_ACQUIRE) == 0) {
        listen_knock(&server->place);
        usleep(KNOCK_EVERY_US);
    }
}

static void stop_civetweb(struct http_server *server)
{
    struct err ignored;
    struct thread *thread = thread_start("http-stop", knock, server, &ignored);

    mg_stop(server->context);
    __atomic_store_n(&server->stopped, 1, __ATOMIC_RELEASE);
    thread_join(thread);
}

void http_stop(struct http_server *server)
{
    if (server->context != NULL)
        stop_civetweb(server);
    mg_exit_library();
    mem_free(server);
}

const char *http_civetweb_version(void)
{
    return mg_version();
}
