#pragma once
/*
 * What goes out over a connection and comes back together, in libpq's
 * pipeline mode:
 *
 *     struct pg_args *args = pg_args(conn);   parameters of one statement
 *     pg_put_u64(args, after);
 *     pg_send(conn, "select … $1");           as many as belong together
 *     if (pg_run(conn, err) != PG_DONE)       one sync, one round trip
 *         …
 *     pg_result(conn, 0)                      lives until the next pg_send
 *
 * Outside of pg_begin … pg_commit an exchange is one transaction of its own.
 * After an error the server skips what is left of it.
 *
 * Statements are known by their text and prepared when they are first sent;
 * through a pooler they are unnamed, and the settings that a session would
 * have go with each transaction.
 *
 * A COMMIT is never cancelled: that would make visible or lose what it wrote,
 * and nobody could say which.  When its answer does not come, the socket is
 * closed and the end is PG_UNCERTAIN.
 */
#include "store/pg_args.h"
#include "store/pg_conn.h"
#include "store/pg_fault.h"

enum pg_end {
    PG_DONE,
    PG_REFUSED, /* the server answered with an error: see pg_fault */
    PG_LOST,    /* no answer, and there will be none: the socket is closed */
};

/* Begins the parameters of the next statement. */
struct pg_args *pg_args(struct pg_conn *conn);
/* Queues a statement with the parameters made since pg_args, if it was called
 * for this one.  A connection that breaks here shows at pg_run. */
void pg_send(struct pg_conn *conn, const char *sql);
/* Sends a sync and waits for the answers. */
enum pg_end pg_run(struct pg_conn *conn, struct err *err) MUST_USE;
/* The same, but the rows of the last statement are handed to `on_row` one by
 * one, always as row 0; when it returns false the rest is not read, at the
 * price of the connection. */
enum pg_end pg_run_rows(struct pg_conn *conn,
                        bool (*on_row)(void *arg, const PGresult *row),
                        void *arg, struct err *err) MUST_USE;
/* The answer to the n-th pg_send of an exchange that ended with PG_DONE. */
const PGresult *pg_result(const struct pg_conn *conn, size_t n);
/* Why the last exchange was PG_REFUSED or aborted; PG_FAULT_STORE when the
 * server did not say. */
enum pg_fault pg_fault(const struct pg_conn *conn);

/* Frees the last answers, which an idle connection need not keep. */
void pg_clear(struct pg_conn *conn);

enum pg_commit_end {
    PG_COMMITTED,
    PG_ABORTED, /* nothing happened; see pg_fault */
    PG_UNCERTAIN,
};

/* Queues `begin` (read committed, read write). */
void pg_begin(struct pg_conn *conn);
/* Queues `commit` behind what is queued, and runs it.  The transaction is over
 * in every case. */
enum pg_commit_end pg_commit(struct pg_conn *conn, struct err *err) MUST_USE;
/* Rolls back when a transaction is open; a connection that cannot is closed. */
void pg_rollback(struct pg_conn *conn);

/* Runs several statements without parameters, as written, in the transaction
 * that is open: the schema's steps.  Waits for ten minutes. */
enum pg_end pg_script(struct pg_conn *conn, const char *sql,
                      struct err *err) MUST_USE;
