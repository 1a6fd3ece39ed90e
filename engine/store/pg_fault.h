#pragma once
/*
 * What an error of the server means to whoever sent the statement: the table
 * of SQLSTATEs, and their way into a struct err.  Texts are one readable line:
 * the server's own sentence without its context, which may show data.
 */
#include "base/err.h"

#include <libpq-fe.h>

enum pg_fault {
    PG_FAULT_STORE,  /* the server's state: may be tried again */
    PG_FAULT_LOCKED, /* 55P03: a lock was not free in time; likewise */
    PG_FAULT_STALE,  /* likewise, but on another connection */
    PG_FAULT_DATA,   /* classes 22, 23, 54, P0: these data are refused */
    PG_FAULT_UNIQUE, /* 23505 */
    PG_FAULT_EXISTS, /* 42P07: a table of that name exists */
    PG_FAULT_SETUP,  /* class 42 and the like: schema or rights are wrong */
    PG_FAULT_FENCED, /* raised by perigee.advance */
};

#define PG_SQLSTATE_SIZE 6

/* "" is a broken connection. */
enum pg_fault pg_fault_of(const char *sqlstate);

/* Sets ERR_STORE, ERR_DATA, ERR_CONFIG or ERR_CONFLICT.  Always false. */
bool pg_fault_set(struct err *err, enum pg_fault fault, const char *message,
                  const char *sqlstate);

/* Copies libpq's message as one line: lines are joined with "; ", its hints
 * (which begin with a tab) are left out. */
void pg_one_line(const char *message, char *line, size_t size);
