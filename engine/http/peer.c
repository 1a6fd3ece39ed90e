#include "http/peer.h"

#include <dirent.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static uint16_t port_of(const struct sockaddr_storage *address)
{
    const struct sockaddr_in6 *v6 = (const void *)address;
    const struct sockaddr_in *v4 = (const void *)address;

    return ntohs(address->ss_family == AF_INET6 ? v6->sin6_port : v4->sin_port);
}

static bool leads_to(int fd, const struct peer *peer)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    char host[NI_MAXHOST];

    if (getpeername(fd, (struct sockaddr *)&address, &len) != 0 ||
        port_of(&address) != peer->port ||
        getnameinfo((struct sockaddr *)&address, len, host, sizeof(host), NULL,
                    0, NI_NUMERICHOST) != 0)
        return false;
    return strcmp(host, peer->host) == 0;
}

static bool begins_at(int fd, uint16_t own_port)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);

    return getsockname(fd, (struct sockaddr *)&address, &len) == 0 &&
           port_of(&address) == own_port;
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
