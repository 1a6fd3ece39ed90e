#include "http/listen.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- parse ---- */

static bool parse_port(struct str text, const char *whole, uint16_t *out,
                       struct err *err)
{
    uint64_t port;

    if (text.len > 1 && text.ptr[text.len - 1] == 's')
        return err_set(err, ERR_CONFIG,
                       "'%s': TLS is not served here; put a proxy in front "
                       "that speaks it",
                       whole);
    if (!str_to_u64(text, &port) || port > UINT16_MAX)
        return err_set(err, ERR_CONFIG,
                       "'%s': expected host:port with a port from 0 to 65535",
                       whole);
    *out = (uint16_t)port;
    return true;
}

static bool resolve_v6(const char *host, struct listen_place *out,
                       struct err *err)
{
    struct in6_addr address;
    char numeric[INET6_ADDRSTRLEN];

    if (inet_pton(AF_INET6, host, &address) != 1)
        return err_set(err, ERR_CONFIG, "'[%s]' is no IPv6 address", host);
    if (mg_check_feature(8) == 0)
        return err_set(err, ERR_CONFIG,
                       "'[%s]': the HTTP library on this machine was built "
                       "without IPv6; use an IPv4 address such as 127.0.0.1",
                       host);
    inet_ntop(AF_INET6, &address, numeric, sizeof(numeric));
    snprintf(out->host, sizeof(out->host), "[%s]", numeric);
    return true;
}

static bool resolve_v4(const char *host, struct listen_place *out,
                       struct err *err)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    struct sockaddr_in address;
    int fault = getaddrinfo(host, NULL, &hints, &found);

    if (fault != 0)
        return err_set(err, ERR_CONFIG, "'%s' is no IPv4 address: %s", host,
                       gai_strerror(fault));
    memcpy(&address, found->ai_addr, sizeof(address));
    freeaddrinfo(found);
    inet_ntop(AF_INET, &address.sin_addr, out->host, sizeof(out->host));
    return true;
}

bool listen_parse(const char *text, struct listen_place *out, struct err *err)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon != NULL ? (size_t)(colon - text) : 0;
    char host[256];

    if (len == 0 || len >= sizeof(host))
        return err_set(err, ERR_CONFIG,
                       "'%s': expected host:port, as in 127.0.0.1:8000", text);
    if (!parse_port(str_of(colon + 1), text, &out->port, err))
        return false;
    snprintf(host, sizeof(host), "%.*s", (int)len, text);
    if (host[0] != '[')
        return resolve_v4(host, out, err);
    if (host[len - 1] != ']')
        return err_set(err, ERR_CONFIG, "'%s': the bracket is not closed",
                       text);
    host[len - 1] = '\0';
    return resolve_v6(host + 1, out, err);
}

/* ---- check ---- */

static bool explain(const struct listen_place *place, int fault,
                    struct err *err)
{
    if (fault == EADDRINUSE)
        return err_set(err, ERR_CONFLICT,
                       "port %u of %s is in use by another program",
                       place->port, place->host);
    if (fault == EACCES)
        return err_set(err, ERR_CONFIG,
                       "no permission to listen on port %u of %s", place->port,
                       place->host);
    if (fault == EADDRNOTAVAIL)
        return err_set(err, ERR_CONFIG, "this machine has no address %s",
                       place->host);
    return err_set(err, ERR_CONFIG, "cannot listen on port %u of %s: %s",
                   place->port, place->host, strerror(fault));
}

/* IPv6 is left to civetweb, which is rarely built with it. */
bool listen_check(const struct listen_place *place, struct err *err)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(place->port)};
    int on = 1;
    int fault = 0;
    int fd;

    if (place->host[0] == '[')
        return true;
    inet_pton(AF_INET, place->host, &address.sin_addr);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return explain(place, errno, err);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(fd, 1) != 0)
        fault = errno;
    close(fd);
    return fault == 0 || explain(place, fault, err);
}

/* ---- knock ---- */

void listen_knock(const struct listen_place *place)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(place->port)};
    int fd;

    if (inet_pton(AF_INET, place->host, &address.sin_addr) != 1)
        return;
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    (void)connect(fd, (struct sockaddr *)&address, sizeof(address));
    close(fd);
}
