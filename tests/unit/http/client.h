#pragma once
/*
 * A client that can be as rude as it likes: bytes on a socket, and the answers
 * taken apart.
 */
#include "base/buf.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

struct client {
    int fd;
    struct buf got; /* received and not yet taken as an answer */
};

struct answer {
    int status; /* 0: the connection ended instead */
    char head[2048];
    struct buf body;
};

static inline struct client client_open(const char *address)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    struct client client = {.fd = socket(AF_INET, SOCK_STREAM, 0)};

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)strtoul(strrchr(address, ':') + 1, NULL, 10));
    CHECK(connect(client.fd, (struct sockaddr *)&to, sizeof(to)) == 0);
    return client;
}

static inline void client_close(struct client *client)
{
    close(client->fd);
    buf_done(&client->got);
}

/* False when the other side has closed meanwhile. */
static inline bool client_send(struct client *client, const void *bytes,
                               size_t len)
{
    const char *at = bytes;

    while (len > 0) {
        ssize_t n = send(client->fd, at, len, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

static inline bool client_say(struct client *client, const char *text)
{
    return client_send(client, text, strlen(text));
}

/* Waits at most `wait_ms` for more; false at the end or when none came. */
static inline bool client_receive(struct client *client, int wait_ms)
{
    struct pollfd ready = {.fd = client->fd, .events = POLLIN};
    char bytes[65536];
    ssize_t n;

    if (poll(&ready, 1, wait_ms) != 1)
        return false;
    n = recv(client->fd, bytes, sizeof(bytes), 0);
    if (n > 0)
        buf_add(&client->got, bytes, (size_t)n);
    return n > 0;
}

/* The value of a header, or NULL; valid until the next call. */
static inline const char *answer_header(const struct answer *answer,
                                        const char *name)
{
    static char value[256];
    size_t len = strlen(name);
    const char *line = strstr(answer->head, "\r\n");

    while (line != NULL) {
        line += 2;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
            snprintf(value, sizeof(value), "%.*s",
                     (int)strcspn(line + len + 2, "\r"), line + len + 2);
            return value;
        }
        line = strstr(line, "\r\n");
    }
    return NULL;
}

static inline void take_front(struct buf *buf, size_t len)
{
    buf->len -= len;
    memmove(buf->ptr, buf->ptr + len, buf->len + 1);
}

static inline bool take_head(struct client *client, struct answer *answer)
{
    const char *end;
    size_t len;

    while (client->got.ptr == NULL ||
           (end = strstr(client->got.ptr, "\r\n\r\n")) == NULL) {
        if (!client_receive(client, 5000))
            return false;
    }
    len = (size_t)(end - client->got.ptr) + 4;
    snprintf(answer->head, sizeof(answer->head), "%.*s", (int)len,
             client->got.ptr);
    answer->status = (int)strtol(answer->head + sizeof("HTTP/1.1"), NULL, 10);
    take_front(&client->got, len);
    return true;
}

/* Takes one answer; `has_body` is false after HEAD and for `100 Continue`. */
static inline void client_answer(struct client *client, struct answer *answer,
                                 bool has_body)
{
    const char *length;
    size_t len;

    answer->status = 0;
    answer->head[0] = '\0';
    buf_clear(&answer->body);
    if (!take_head(client, answer) || !has_body)
        return;
    length = answer_header(answer, "Content-Length");
    len = length != NULL ? strtoul(length, NULL, 10) : 0;
    while (client->got.len < len) {
        if (!client_receive(client, 5000))
            return;
    }
    buf_add(&answer->body, client->got.ptr, len);
    take_front(&client->got, len);
}

/* True when the server closes within a moment, having said nothing more. */
static inline bool client_is_closed(struct client *client)
{
    return !client_receive(client, 3000) && client->got.len == 0 &&
           recv(client->fd, (char[1]){0}, 1, MSG_DONTWAIT) == 0;
}
