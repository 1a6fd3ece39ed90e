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

int peer_socket(const struct peer *peer)
{
    DIR *folder = opendir("/proc/self/fd");
    const struct dirent *entry;
    int found = -1;

    if (folder == NULL)
        return -1;
    while (found < 0 && (entry = readdir(folder)) != NULL) {
        int fd = (int)strtol(entry->d_name, NULL, 10);

        if (entry->d_name[0] != '.' && leads_to(fd, peer) &&
            begins_at(fd, peer->own_port))
            found = fd;
    }
    closedir(folder);
    return found;
}
