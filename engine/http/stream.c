#define _GNU_SOURCE /* POLLRDHUP */

#include "http/stream.h"

#include "base/clock.h"
#include "base/log.h"
#include "http/exchange.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

/* How long a wait for the client may take before it is looked whether the
 * server stops. */
#define LOOK_EVERY_MS 100

static bool is_stopping(const struct http_server *server)
{
    return __atomic_load_n(&server->refusing, __ATOMIC_SEQ_CST) != 0;
}

/* A client that has sent its end wants no answer any more. */
static bool is_gone(int fd)
{
    struct pollfd client = {.fd = fd, .events = POLLRDHUP};

    return poll(&client, 1, 0) != 0;
}

static bool wait_writable(int fd)
{
    struct pollfd client = {.fd = fd, .events = POLLOUT | POLLRDHUP};

    (void)poll(&client, 1, LOOK_EVERY_MS);
    return (client.revents & (POLLRDHUP | POLLERR | POLLHUP | POLLNVAL)) == 0;
}

/* How much went out, 0 when the client takes nothing now, -1 when it never
 * will again. */
static ssize_t send_some(int fd, struct str bytes)
{
    ssize_t sent = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return 0;
    return sent;
}

/* False when the client is gone or too slow, or the server stops. */
static bool send_all(const struct http_server *server, int fd, struct str bytes)
{
    uint64_t moved_ms = clock_ms();

    while (bytes.len > 0) {
        ssize_t sent = send_some(fd, bytes);

        if (sent < 0 || (sent == 0 && !wait_writable(fd)))
            return false;
        if (sent > 0)
            moved_ms = clock_ms();
        bytes = str_n(bytes.ptr + sent, bytes.len - (size_t)sent);
        if (is_stopping(server) || clock_ms() - moved_ms > STREAM_SLOW_MS)
            return bytes.len == 0;
    }
    return true;
}

static bool send_out(const struct http_server *server, int fd, struct buf *out)
{
    bool good = send_all(server, fd, buf_as_str(out));

    buf_clear(out);
    return good;
}

/* One turn: writes what there is, or waits for more. */
static bool turn(const struct http_server *server, int fd, struct live *live,
                 struct buf *out, struct err *err)
{
    if (!live_read(live, clock_ms(), out, err))
        return false;
    if (out->len > 0)
        return send_out(server, fd, out);
    live_wait(live);
    return !is_gone(fd);
}

void stream_run(const struct http_server *server, int fd, struct live *live,
                struct buf *out)
{
    struct err err = {0};
    bool good;

    buf_clear(out);
    live_begin(live, clock_ms(), out);
    good = send_out(server, fd, out);
    while (good && !is_stopping(server))
        good = turn(server, fd, live, out, &err);

    if (err.code != ERR_NONE)
        log_warning("http", "a live stream cannot go on", LOG_ERR(&err));
    live_end(live,
             is_stopping(server) ? "the engine stops" : err_name(err.code),
             out);
    if (good || err.code != ERR_NONE)
        (void)send_some(fd, buf_as_str(out));
    buf_clear(out);
}
