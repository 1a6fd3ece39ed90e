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
