#pragma once
/*
 * Inside of a connection, for pg_conn.c, pg_exchange.c and pg_look.c only.
 */
#include "store/pg_args.h"
#include "store/pg_conn.h"
#include "store/pg_fault.h"

/* Statements a connection keeps prepared; later ones go unnamed. */
#define PG_PREPARED_MAX 256

struct pg_prepared {
    uint64_t hash;
    char *sql; /* NULL: the place is free */
};

enum pg_sent_kind {
    PG_SENT_PREPARE,   /* hidden from the caller, as the next one */
    PG_SENT_FRAME,     /* begin, commit, settings */
    PG_SENT_STATEMENT, /* has a result */
};

struct pg_sent {
    enum pg_sent_kind kind;
    size_t prepared; /* PG_SENT_PREPARE: its place */
};

struct pg_conn {
    PGconn *pg; /* NULL once lost */
    bool pooled;
    bool is_stale; /* not to be used again, although open */
    uint32_t statement_timeout_ms;
    uint32_t wait_ms; /* without anything coming */
    uint64_t opened_ms;
    uint64_t deadline_ms;

    struct pg_args args; /* of the next statement */

    /* The exchange: what was sent, the answers to its statements, and, when it
     * went wrong, where and why. */
    bool is_over; /* answered: the next pg_send begins another */
    struct pg_sent *sent;
    size_t sent_count, sent_capacity;
    PGresult **results;
    size_t result_count, result_capacity;
    size_t answered; /* of `sent` */
    bool is_synced;  /* and so was the sync */
    bool is_refused, is_fatal;
    bool is_doubtful; /* a commit was told not to wait for its standby */
    enum pg_fault fault;
    char sqlstate[PG_SQLSTATE_SIZE];
    char trouble[256];

    struct pg_prepared prepared[PG_PREPARED_MAX];
    size_t prepared_count;
};

/* The next answer, or the NULL that libpq puts behind each; waits for it until
 * `deadline_ms`.  NULL and `pg` NULL: it never came. */
PGresult *pg_receive(struct pg_conn *conn);
/* Closes the socket, for the reason given; NULL: what the server said last, or
 * else libpq. */
void pg_lose(struct pg_conn *conn, const char *why);
/* Queues what a session is set to, for the session or this transaction. */
enum pg_scope { PG_SCOPE_SESSION, PG_SCOPE_TRANSACTION };
void pg_send_settings(struct pg_conn *conn, enum pg_scope scope);
/* Begins another exchange with an empty queue. */
void pg_exchange_reset(struct pg_conn *conn);
