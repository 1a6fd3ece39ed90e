/*
 * A server's life: each address is resolved and tried, then civetweb starts its
 * threads on it; each worker makes its struct http_thread and calls
 * exchange_serve for every request, until http_stop ends the threads, which
 * free what is theirs.  The struct outlives all of them.
 */
#include "http/server.h"

#include "base/log.h"
#include "base/mem.h"
#include "http/cutter.h"
#include "http/exchange.h"
#include "http/listen.h"
#include "http/peer.h"
#include "run/thread.h"

#include <civetweb.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* Of the port for probes. */
#define PROBE_THREADS 8

#define KNOCK_EVERY_US 20000

/* ---- what civetweb calls, on its own threads ---- */

static struct http_port *port_of(const struct mg_connection *conn)
{
    return mg_get_user_data(mg_get_context(conn));
}

/* Comes before any of civetweb's own ideas (files, CORS, websockets): this is
 * the whole server. */
static int on_request(struct mg_connection *conn)
{
    return exchange_serve(port_of(conn), mg_get_thread_pointer(conn), conn);
}

static int on_error(struct mg_connection *conn, int status, const char *reason)
{
    (void)status;
    exchange_fail(port_of(conn), mg_get_thread_pointer(conn), conn, reason);
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

/* What differs between ports. */
struct port_options {
    uint32_t threads;
    const char *keep_alive;
    const char *head_ms; /* for the whole head of a request */
};

/* There is no document root, so civetweb has no files, no CGI and no redirects
 * to give. */
static struct mg_context *start_civetweb(struct http_port *port,
                                         const char *where,
                                         const struct port_options *given,
                                         struct err *err)
{
    char thread_count[16];
    char text[256] = "";
    unsigned code = 0;
    /* clang-format off */
    const char *options[] = {
        "listening_ports",             where,
        "num_threads",                 thread_count,
        "max_request_size",            "32768", /* twice HEAD_MAX_BYTES */
        "decode_url",                  "no",
        "enable_keep_alive",           given->keep_alive,
        "keep_alive_timeout_ms",       "5000",
        "request_timeout_ms",          given->head_ms,
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
    struct mg_init_data init = {&callbacks, port, options};
    struct mg_context *context;

    snprintf(thread_count, sizeof(thread_count), "%" PRIu32, given->threads);
    context = mg_start2(&init, &fault);
    if (context == NULL)
        err_set(err, ERR_CONFIG, "cannot serve HTTP at %s: %s", where, text);
    return context;
}

/* civetweb's threads inherit the mask: signals are the loop's alone. */
static struct mg_context *start_unsignalled(struct http_port *port,
                                            const char *where,
                                            const struct port_options *given,
                                            struct err *err)
{
    struct mg_context *context;
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    context = start_civetweb(port, where, given, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return context;
}

static void note_address(struct http_port *port,
                         const struct listen_place *place)
{
    struct mg_server_port got = {.port = place->port};

    mg_get_server_ports(port->context, 1, &got);
    snprintf(port->address, sizeof(port->address), "%s:%d", place->host,
             got.port);
    port->place = *place;
    port->place.port = (uint16_t)got.port;
}

static bool start_port(struct http_port *port, const char *listen,
                       const struct port_options *given, struct err *err)
{
    struct listen_place place;
    char where[80];

    if (!listen_parse(listen, &place, err) || !listen_check(&place, err))
        return false;
    snprintf(where, sizeof(where), "%s:%u", place.host, place.port);
    port->context = start_unsignalled(port, where, given, err);
    if (port->context == NULL)
        return false;
    note_address(port, &place);
    return true;
}

static bool start_main(struct http_server *server,
                       const struct http_options *options, struct err *err)
{
    struct port_options given = {
        .threads = options->threads, .keep_alive = "yes", .head_ms = "10000"};

    server->main.server = server;
    return start_port(&server->main, options->listen, &given, err) ||
           err_wrap(err, "http.listen");
}

/* Nobody may hold its threads: a connection serves one request, and says soon
 * what it is. */
static bool start_probes(struct http_server *server,
                         const struct http_options *options, struct err *err)
{
    struct port_options given = {
        .threads = PROBE_THREADS, .keep_alive = "no", .head_ms = "2000"};
    const char *listen = options->probe_listen;

    server->probes.server = server;
    server->probes.probes_only = true;
    if (listen == NULL || *listen == '\0')
        return true;
    return start_port(&server->probes, listen, &given, err) ||
           err_wrap(err, "http.probe_listen");
}

struct http_server *http_start(struct engine *engine,
                               const struct http_options *options,
                               struct err *err)
{
    struct http_server *server = NEW(struct http_server);

    server->engine = engine;
    server->access = options->access;
    server->max_body_bytes = options->max_body_bytes;
    server->max_live = options->max_live;
    server->max_blocking = options->threads > HTTP_SPARE_THREADS
                               ? options->threads - HTTP_SPARE_THREADS
                               : 1;
    mg_init_library(0);
    server->cutter = cutter_new(err);
    if (server->cutter != NULL && start_main(server, options, err) &&
        start_probes(server, options, err))
        return server;
    http_stop(server);
    return NULL;
}

/* ---- ask and stop ---- */

const char *http_address(const struct http_server *server)
{
    return server->main.address;
}

const char *http_probe_address(const struct http_server *server)
{
    return server->probes.context != NULL ? server->probes.address : NULL;
}

void http_refuse(struct http_server *server)
{
    __atomic_store_n(&server->refusing, 1, __ATOMIC_SEQ_CST);
    if (engine_is_open(server->engine))
        head_release(server->engine->head);
}

uint32_t http_under_way(const struct http_server *server)
{
    return __atomic_load_n(&server->under_way, __ATOMIC_SEQ_CST);
}

/* civetweb looks at its stop flag when a connection comes or ends, else every
 * two seconds: so one comes, and those that idle end, again and again until it
 * has stopped. */
static void knock(void *arg)
{
    const struct http_port *port = arg;

    while (__atomic_load_n(&port->stopped, __ATOMIC_ACQUIRE) == 0) {
        listen_knock(&port->place);
        peer_shut_all(port->place.port);
        usleep(KNOCK_EVERY_US);
    }
}

static void stop_port(struct http_port *port)
{
    struct err ignored;
    struct thread *thread;

    if (port->context == NULL)
        return;
    thread = thread_start("http-stop", knock, port, &ignored);
    mg_stop(port->context);
    __atomic_store_n(&port->stopped, 1, __ATOMIC_RELEASE);
    thread_join(thread);
}

void http_stop(struct http_server *server)
{
    stop_port(&server->main);
    stop_port(&server->probes);
    cutter_free(server->cutter);
    mg_exit_library();
    mem_free(server);
}

const char *http_civetweb_version(void)
{
    return mg_version();
}
