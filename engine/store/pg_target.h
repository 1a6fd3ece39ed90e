#pragma once
/*
 * Where a PostgreSQL is, and how to talk to it: a URL read by libpq, completed
 * with the defaults that make every wait end.  What the URL says itself, or
 * the environment (PGSSLMODE and the like), is left as it is; the options'
 * own `ssl…` stand between the two:
 *
 *   sslmode            require, unless every host is a unix socket or loopback
 *   connect_timeout    5 s a host
 *   keepalives         a peer that is gone is noticed within 25 s
 *   tcp_user_timeout   the same for what was sent and never acknowledged
 *   target_session_attrs  read-write, when several hosts are given
 *
 * Immutable once made; any thread.
 */
#include "base/arena.h"
#include "base/err.h"
#include "store/store.h"

#define PG_TARGET_MAX 64 /* libpq knows about 40 keywords */

struct pg_target {
    /* For PQconnectdbParams: ended by NULL, texts in `texts`. */
    const char *keywords[PG_TARGET_MAX];
    const char *values[PG_TARGET_MAX];
    size_t count;
    struct arena texts;
    /* Through PgBouncer in transaction mode: nothing may be left behind in the
     * session, so statements are unnamed and settings are the transaction's. */
    bool pooled;
    bool is_local; /* every host is a unix socket or loopback */
    uint32_t statement_timeout_ms;
};

enum pg_way {
    PG_WAY_USUAL,  /* by `url`, and so through a pooler if there is one */
    PG_WAY_DIRECT, /* past it */
};

/* Where the store's connections go.  ERR_CONFIG for a URL that libpq does not
 * understand; the text does not show the URL, since it may hold a password. */
struct pg_target *pg_target_new(const struct store_options *options,
                                enum pg_way way, struct err *err) MUST_USE;
void pg_target_free(struct pg_target *target);
