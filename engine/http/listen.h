#pragma once
/*
 * Where to listen: `host:port` to what civetweb takes, and what stands in the
 * way, as one clear line instead of civetweb's.
 */
#include "base/err.h"

struct listen_place {
    char host[64]; /* numeric; IPv6 with its brackets */
    uint16_t port; /* 0: any free one */
};

/* Parses and resolves.  ERR_CONFIG for what is no address, for a host that
 * does not resolve, for IPv6 when civetweb was built without it, and for an
 * `s` behind the port (TLS is a proxy's job). */
bool listen_parse(const char *text, struct listen_place *out,
                  struct err *err) MUST_USE;
/* Tries to bind for a moment.  ERR_CONFLICT: the port is in use; ERR_CONFIG:
 * no such address here, or no right to it. */
bool listen_check(const struct listen_place *place, struct err *err) MUST_USE;
/* Connects to what listens there and hangs up at once. */
void listen_knock(const struct listen_place *place);
