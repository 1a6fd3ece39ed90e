/*
 * Life of a request.  civetweb has parsed its head into a buffer of the
 * connection, and what is read of it here are slices of that buffer.  Body,
 * decoded path and everything that handlers make are in the thread's arena; the
 * answer grows in the thread's reply and is sent from the thread's `out`. After
 * sending the arena is reset and the buffers are kept, unless an answer was
 * huge.  Everything is the thread's own but the counters in struct http_server.
 */
#include "http/exchange.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "http/body.h"
#include "http/cutter.h"
#include "http/peer.h"
#include "http/stream.h"

#include <civetweb.h>
#include <inttypes.h>
#include <time.h>

/* An unread body up to here is skipped and the connection goes on. */
#define SKIP_MAX_BYTES 8192
/* How much of a longer one is taken before the connection is closed: closing
 * on unread bytes resets it, and the client might never see its answer. */
#define LINGER_MAX_BYTES   ((uint64_t)8 << 20)
#define LINGER_TIME_MAX_MS 5000

/* An answer must be taken within this, by a client that wants it. */
#define SEND_TIME_MAX_MS 60000

struct exchange {
    struct http_server *server;
    struct http_port *port;
    struct http_thread *thread;
    struct mg_connection *conn;
    struct http_head head;
    struct api_request request;
    bool counted;    /* among those under way */
    bool holds_slot; /* among those that block */
    bool is_live;    /* among the live streams */
    bool unread;     /* a body is on its way, and nobody has read it */
    bool close;
    struct cut cut; /* of what is being read or sent */
};

/* ---- head ---- */

/* civetweb has put a NUL where the query began. */
static struct str target_of(const struct mg_request_info *info,
                            struct arena *arena)
{
    if (info->query_string == NULL)
        return str_of(info->local_uri_raw);
    return str_of(
        arena_printf(arena, "%s?%s", info->local_uri_raw, info->query_string));
}

static void take_headers(struct exchange *x)
{
    const struct http_head *head = &x->head;

    x->request.content_type = head->content_type;
    x->request.if_match = head->if_match;
    x->request.if_none_match = head->if_none_match;
    x->request.idempotency_key = head->idempotency_key;
    x->request.correlation_id = head->correlation_id;
    x->request.causation_id = head->causation_id;
    x->request.actor_id = head->actor_id;
    x->request.tenant_id = head->tenant_id;
    x->request.traceparent = head->traceparent;
    x->request.last_event_id = head->last_event_id;
    x->request.authorization = head->authorization;
}

static bool read_head(struct exchange *x, struct err *err)
{
    const struct mg_request_info *info = mg_get_request_info(x->conn);

    x->request.method = str_of(info->request_method);
    x->request.target = target_of(info, &x->thread->arena);
    x->request.arena = &x->thread->arena;
    x->request.access = x->server->access;
    x->request.public_only = x->port->probes_only;
    x->close = true; /* whatever comes behind what cannot be read */
    if (!head_read(info, &x->head, err))
        return false;
    x->unread = x->head.chunked || x->head.length > 0;
    x->close = !x->head.keep_alive || x->port->probes_only;
    take_headers(x);
    return true;
}

/* ---- admit ---- */

/* Not before the body is here: clients that send slowly wait for nobody but
 * themselves. */
static bool take_slot(struct exchange *x, struct err *err)
{
    struct http_server *server = x->server;
    uint32_t blocking;

    if (!x->request.route->blocks)
        return true;
    blocking = __atomic_add_fetch(&server->blocking, 1, __ATOMIC_ACQ_REL);
    x->holds_slot = true;
    if (blocking <= server->max_blocking)
        return true;
    return err_set(err, ERR_OVERLOADED,
                   "%" PRIu32 " requests wait for the store already",
                   server->max_blocking);
}

/* Whoever stops the server refuses first and then looks at the count; whoever
 * comes counts first and then looks whether it is refused: none slips by. */
static bool admit(struct exchange *x, struct err *err)
{
    if (x->request.route->role == API_ANYONE)
        return true;
    x->counted = true;
    __atomic_add_fetch(&x->server->under_way, 1, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&x->server->refusing, __ATOMIC_SEQ_CST))
        return true;
    x->close = true;
    return err_set(err, ERR_SHUTTING_DOWN, "the engine is shutting down");
}

/* A live stream keeps its thread, so it keeps its slot as well. */
static bool take_live(struct exchange *x, struct err *err)
{
    struct http_server *server = x->server;
    uint32_t live = __atomic_add_fetch(&server->live, 1, __ATOMIC_ACQ_REL);

    x->is_live = true;
    if (live <= server->max_live)
        return true;
    return err_set(err, ERR_OVERLOADED,
                   "as many live streams as http.max_live = %" PRIu32
                   " allows are open",
                   server->max_live);
}

static void give_live(struct exchange *x)
{
    if (x->is_live)
        __atomic_sub_fetch(&x->server->live, 1, __ATOMIC_ACQ_REL);
    x->is_live = false;
}

/* Before the answer is sent: who has it may come again at once. */
static void give_slot(struct exchange *x)
{
    if (x->holds_slot)
        __atomic_sub_fetch(&x->server->blocking, 1, __ATOMIC_ACQ_REL);
    x->holds_slot = false;
}

static void leave(struct exchange *x)
{
    if (x->counted)
        __atomic_sub_fetch(&x->server->under_way, 1, __ATOMIC_SEQ_CST);
    x->counted = false;
}

/* ---- body ---- */

static struct peer peer_of(const struct mg_request_info *info)
{
    return (struct peer){.host = info->remote_addr,
                         .port = (uint16_t)info->remote_port,
                         .own_port = (uint16_t)info->server_port};
}

/* From now on the connection has so much time for what it does. */
static void cut_after(struct exchange *x, enum cut_what what, uint32_t ms)
{
    const struct mg_request_info *info = mg_get_request_info(x->conn);

    list_init(&x->cut.in_watch);
    if (info == NULL)
        return;
    x->cut.what = what;
    x->cut.at_ms = clock_ms() + ms;
    x->cut.peer = peer_of(info);
    cutter_watch(x->server->cutter, &x->cut);
}

/* What failed in reading has left the connection somewhere within a body. */
static bool read_body(struct exchange *x, struct err *err)
{
    bool good;

    if (!x->unread)
        return true;
    cut_after(x, CUT_READING, BODY_TIME_MAX_MS);
    good = body_read(x->conn, &x->head, x->server->max_body_bytes,
                     &x->thread->arena, &x->request.body, err);
    cutter_forget(x->server->cutter, &x->cut);
    x->unread = !good;
    x->close = x->close || !good;
    return good;
}

/* A client that waits for `100 Continue` may or may not send its body after
 * another answer, so nothing is known of what comes next. */
static void skip_body(struct exchange *x)
{
    bool is_small = !x->head.chunked && x->head.length <= SKIP_MAX_BYTES;

    if (x->head.expects_continue) {
        x->unread = false;
        x->close = true;
    }
    if (!x->close && is_small) {
        cut_after(x, CUT_READING, BODY_TIME_MAX_MS);
        x->unread = !body_skip(x->conn, x->head.length + 1);
        cutter_forget(x->server->cutter, &x->cut);
    }
    x->close = x->close || x->unread;
}

/* ---- send ---- */

static const char *date_of(struct http_thread *thread)
{
    int64_t now_s = clock_wall_us() / 1000000;
    time_t seconds = (time_t)now_s;
    struct tm parts;

    if (now_s != thread->date_s) {
        gmtime_r(&seconds, &parts);
        strftime(thread->date, sizeof(thread->date),
                 "%a, %d %b %Y %H:%M:%S GMT", &parts);
        thread->date_s = now_s;
    }
    return thread->date;
}

static void write_headers(struct exchange *x)
{
    const struct api_reply *reply = &x->thread->reply;
    struct buf *out = &x->thread->out;

    buf_printf(out,
               "HTTP/1.1 %d %s\r\n"
               "Date: %s\r\n"
               "Content-Type: %s\r\n"
               "Cache-Control: no-store\r\n",
               reply->status, mg_get_response_code_text(x->conn, reply->status),
               date_of(x->thread), reply->content_type);
    if (reply->live == NULL && reply->status != 304)
        buf_printf(out, "Content-Length: %zu\r\n", reply->body.len);
    if (reply->live != NULL)
        buf_text(out, "X-Accel-Buffering: no\r\n");
    if (reply->etag != 0)
        buf_printf(out, "ETag: \"%" PRIu64 "\"\r\n", reply->etag);
    if (reply->retry_after_s != 0)
        buf_printf(out, "Retry-After: %" PRIu32 "\r\n", reply->retry_after_s);
    if (reply->status == 401)
        buf_text(out, "WWW-Authenticate: Bearer realm=\"perigee\"\r\n");
    if (reply->allow != NULL)
        buf_printf(out, "Allow: %s\r\n", reply->allow);
    if (x->close)
        buf_text(out, "Connection: close\r\n");
    else if (x->head.is_http_1_0)
        buf_text(out, "Connection: keep-alive\r\n");
    buf_text(out, "\r\n");
}

static void linger(struct exchange *x)
{
    cut_after(x, CUT_READING, LINGER_TIME_MAX_MS);
    body_skip(x->conn, LINGER_MAX_BYTES);
    cutter_forget(x->server->cutter, &x->cut);
}

static void send_reply(struct exchange *x)
{
    struct buf *out = &x->thread->out;
    bool sent;

    buf_clear(out);
    write_headers(x);
    if (!str_eq(x->request.method, STR("HEAD")))
        buf_str(out, buf_as_str(&x->thread->reply.body));
    if (x->close)
        mg_disable_connection_keep_alive(x->conn);
    cut_after(x, CUT_BOTH, SEND_TIME_MAX_MS);
    sent = mg_write(x->conn, out->ptr, out->len) > 0;
    cutter_forget(x->server->cutter, &x->cut);
    if (!sent)
        mg_disable_connection_keep_alive(x->conn);
    else if (x->close && x->unread)
        linger(x);
}

/* ---- an answer that goes on ---- */

static int socket_of(const struct exchange *x)
{
    const struct mg_request_info *info = mg_get_request_info(x->conn);

    struct peer peer = peer_of(info);

    return peer_socket(&peer);
}

/* Its end is the connection's.  Whoever stops the server need not wait for
 * it. */
static void send_live(struct exchange *x)
{
    int fd = socket_of(x);

    x->close = true;
    send_reply(x);
    leave(x);
    if (fd >= 0)
        stream_run(x->server, fd, x->thread->reply.live, &x->thread->out);
}

/* ---- all of it ---- */

/* Everything before the handler; false with a reply that says why. */
static bool prepare(struct exchange *x)
{
    struct api_reply *reply = &x->thread->reply;
    struct err err;

    if (read_head(x, &err)) {
        if (!api_admit(&x->request, reply))
            return false;
        if (admit(x, &err) && read_body(x, &err) && take_slot(x, &err))
            return true;
    }
    api_problem(reply, &err);
    return false;
}

static void answer(struct exchange *x)
{
    struct api_reply *reply = &x->thread->reply;
    struct err err;

    if (prepare(x))
        api_handle(x->server->engine, &x->request, reply);
    else if (x->unread)
        skip_body(x);
    if (reply->live != NULL && !take_live(x, &err))
        api_problem(reply, &err);
}

static bool goes_on(const struct exchange *x)
{
    return x->thread->reply.live != NULL &&
           !str_eq(x->request.method, STR("HEAD"));
}

static void note(const struct exchange *x, uint64_t began_us)
{
    double seconds = (double)(clock_us() - began_us) / 1e6;
    struct str path = x->request.target;

    if (x->thread->reply.live == NULL)
        metric_observe(metric(METRIC_HTTP_DURATION), seconds);
    path = str_cut(&path, '?');
    if (log_is_on(LOG_DEBUG))
        log_debug("http", "request", LOG_STR("method", x->request.method),
                  LOG_STR("path", path),
                  LOG_I64("status", x->thread->reply.status),
                  LOG_DOUBLE("duration_ms", seconds * 1000));
}

/* One huge answer must not hold its memory for ever. */
#define KEPT_BYTES ((size_t)1 << 20)

static void forget(struct http_thread *thread)
{
    arena_reset(&thread->arena);
    if (thread->out.capacity > KEPT_BYTES)
        buf_done(&thread->out);
    if (thread->reply.body.capacity > KEPT_BYTES)
        buf_done(&thread->reply.body);
}

int exchange_serve(struct http_port *port, struct http_thread *thread,
                   struct mg_connection *conn)
{
    struct exchange x = {
        .server = port->server, .port = port, .thread = thread, .conn = conn};
    uint64_t began_us = clock_us();

    answer(&x);
    if (goes_on(&x)) {
        send_live(&x);
        give_live(&x);
        give_slot(&x);
    } else {
        give_live(&x);
        give_slot(&x);
        send_reply(&x);
    }
    leave(&x);
    note(&x, began_us);
    forget(thread);
    return thread->reply.status;
}

/* ---- what civetweb could not parse ---- */

static bool is_token(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];

        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-'))
            return false;
    }
    return text.len > 0 && text.len <= 32;
}

/* Words that civetweb takes for methods; with any other it stops before it
 * reads the headers. */
static bool is_known_method(struct str method)
{
    static const char *const known[] = {"GET",    "HEAD",    "POST", "PUT",
                                        "DELETE", "OPTIONS", "PATCH"};

    for (size_t i = 0; i < COUNT(known); i++) {
        if (str_eq(method, str_of(known[i])))
            return true;
    }
    return false;
}

static void refuse_method(struct exchange *x,
                          const struct mg_request_info *info)
{
    x->request.method = str_of(info->request_method);
    x->request.target = str_of(info->request_uri);
    x->request.public_only = x->port->probes_only;
    x->request.arena = &x->thread->arena;
    api_handle(x->server->engine, &x->request, &x->thread->reply);
}

void exchange_fail(struct http_port *port, struct http_thread *thread,
                   struct mg_connection *conn, const char *reason)
{
    struct exchange x = {.server = port->server,
                         .port = port,
                         .thread = thread,
                         .conn = conn,
                         .close = true};
    const struct mg_request_info *info = mg_get_request_info(conn);
    struct str method = str_of(info != NULL ? info->request_method : NULL);
    struct err err;

    x.request.method = method; /* HEAD gets no body even then */
    if (is_token(method) && !is_known_method(method) &&
        info->request_uri != NULL && info->request_uri[0] == '/') {
        refuse_method(&x, info);
    } else {
        err_set(&err, ERR_BAD_REQUEST, "not a request: %s", reason);
        api_problem(&thread->reply, &err);
    }
    send_reply(&x);
    forget(thread);
}
