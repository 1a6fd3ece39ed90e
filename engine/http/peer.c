#include "http/peer.h"

#include <dirent.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

union end {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static uint16_t port_of(const union end *end)
{
    return ntohs(end->any.sa_family == AF_INET6 ? end->v6.sin6_port
                                                : end->v4.sin_port);
}

static bool leads_to(int fd, const struct peer *peer)
{
    union end end = {0};
    socklen_t len = sizeof(end);
    char host[NI_MAXHOST];

    if (getpeername(fd, &end.any, &len) != 0 || port_of(&end) != peer->port ||
        getnameinfo(&end.any, len, host, sizeof(host), NULL, 0,
                    NI_NUMERICHOST) != 0)
        return false;
    return strcmp(host, peer->host) == 0;
}

static bool begins_at(int fd, uint16_t own_port)
{
    union end end = {0};
    socklen_t len = sizeof(end);

    return getsockname(fd, &end.any, &len) == 0 && port_of(&end) == own_port;
}

/* The next descriptor of this process, or -1 at the end. */
static int next_descriptor(DIR *folder)
{
    const struct dirent *entry;

    while ((entry = readdir(folder)) != NULL)
        if (entry->d_name[0] != '.')
            return (int)strtol(entry->d_name, NULL, 10);
    return -1;
}

int peer_socket(const struct peer *peer)
{
    DIR *folder = opendir("/proc/self/fd");
    int fd;

    if (folder == NULL)
        return -1;
    do
        fd = next_descriptor(folder);
    while (fd >= 0 && !(leads_to(fd, peer) && begins_at(fd, peer->own_port)));
    closedir(folder);
    return fd;
}

static bool is_connected(int fd)
{
    union end end = {0};
    socklen_t len = sizeof(end);

    return getpeername(fd, &end.any, &len) == 0;
}

void peer_shut_all(uint16_t own_port)
{
    DIR *folder = opendir("/proc/self/fd");
    int fd;

    if (folder == NULL)
        return;
    while ((fd = next_descriptor(folder)) >= 0)
        if (begins_at(fd, own_port) && is_connected(fd))
            shutdown(fd, SHUT_RD);
    closedir(folder);
}
