#pragma once
/*
 * What a database looks like to somebody who may not touch it: facts for
 * `perigee doctor`, gathered over one connection that is opened for it and
 * closed again.  Nothing is created, migrated or noted, so it may be asked
 * beside running engines, of a database that is not ours, and of none at all.
 * What the facts mean for a configuration is the caller's to say.
 */
#include "store/store.h"

enum look_schema {
    LOOK_NO_SCHEMA, /* an empty database, as far as Perigee goes */
    LOOK_NOT_OURS,  /* SQLite: tables of another program, and none of ours */
    LOOK_TOO_OLD,   /* this binary must not run before it is upgraded */
    LOOK_OLD,       /* it may run, and would upgrade it */
    LOOK_CURRENT,
    LOOK_NEWER, /* of a newer binary, and this one may run against it */
    LOOK_TOO_NEW,
};

struct store_look {
    enum store_kind kind;
    bool is_reached;     /* what is below was answered by it */
    uint32_t reached_ms; /* to connect and to hear the first answer */
    char version[24];    /* of the server, or of the SQLite that reads it */
    char encoding[24];   /* "UTF8", on either store */
    int64_t ahead_us;    /* of our clock; SQLite has ours */

    enum look_schema schema;
    uint32_t schema_version;
    uint32_t schema_known; /* to this binary */
    struct uuid log_id;    /* as this and `head` with a schema that is ours */
    uint64_t head;
    uint64_t log_bytes; /* with its indexes; SQLite: the file and its WAL */
    /* PostgreSQL only, since it costs nothing there. */
    uint64_t snapshot_bytes;
    uint64_t key_bytes; /* of requests that may come again */

    /* The way to it: PostgreSQL only. */
    bool is_local;     /* every host of the URL is a socket or loopback */
    char tls[16];      /* "TLSv1.3"; empty: nothing is encrypted */
    bool is_certified; /* the server's certificate is checked */
};

/* Looks at the database of `options->url`; `direct_url` only tells that there
 * is a pooler before it.  On failure `out` holds what was learned until then,
 * and ERR_STORE or ERR_CONFIG says what the database answered. */
bool store_look(const struct store_options *options, struct store_look *out,
                struct err *err) MUST_USE;
