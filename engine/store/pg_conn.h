#pragma once
/*
 * One connection to PostgreSQL: its life, and the notices it listens for.
 * What is sent over it is an exchange (store/pg_exchange.h).
 *
 * Every wait ends: when nothing came for the statement timeout and a grace,
 * the socket is closed.  One thread at a time.
 */
#include "store/pg_target.h"

struct pg_conn;

/* Blocks until it is connected, and its session is set up, or refused. */
struct pg_conn *pg_conn_open(const struct pg_target *target,
                             struct err *err) MUST_USE;
/* Never waits.  NULL is fine. */
void pg_conn_close(struct pg_conn *conn);

/* Since it was opened. */
uint64_t pg_conn_age_ms(const struct pg_conn *conn);
/* False when the connection was lost, or must not be used again. */
bool pg_conn_is_open(const struct pg_conn *conn);
/* Looks, without asking the server, whether it closed the connection. */
bool pg_conn_is_alive(struct pg_conn *conn);
/* Asks the server, and waits for the answer 2 seconds at most. */
bool pg_conn_ping(struct pg_conn *conn);

/* To poll for notices; -1 when the connection is lost. */
int pg_conn_socket(const struct pg_conn *conn);
/* Reads what has come; true when there was a notice, and `*number_out` is the
 * largest number that one of them carried. */
bool pg_conn_notices(struct pg_conn *conn, uint64_t *number_out);
