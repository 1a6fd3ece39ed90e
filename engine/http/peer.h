#pragma once
/*
 * The socket under a connection of civetweb, which does not tell it: it is
 * found among those of the process by its two ends.  As long as a connection's
 * own thread is busy with it nobody closes it, so what is found is what was
 * meant.
 */
#include "base/base.h"

struct peer {
    const char *host; /* numeric; borrowed */
    uint16_t port;
    uint16_t own_port;
};

/* -1 when there is none (any more). */
int peer_socket(const struct peer *peer);
/* Whoever waits for a client's next word at this port hears that there will be
 * none; what is being sent is sent.  For the end only: nothing keeps a socket
 * from being closed, and its number from being another's, in the instant
 * before it is shut. */
void peer_shut_all(uint16_t own_port);
