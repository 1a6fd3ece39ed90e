#pragma once
/*
 * One connection to a SQLite file: how it is opened, its prepared statements,
 * its transactions, and what its failures mean to us.
 *
 * A connection is used by one thread at a time, by whoever borrowed it from
 * its pool (store/lite_pool.h).  Statements are prepared once and stay valid
 * until the connection is given back; a statement that was stepped must be
 * ended before that, because one that is not holds its snapshot and the WAL
 * could never be restarted.  AUTO_STMT ends it with the block.
 *
 * Text and blobs are bound without a copy: they must live until the statement
 * has been ended or is bound anew.
 */
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/uuid.h"

#include <sqlite3.h>

enum lite_use { LITE_READS, LITE_WRITES };

struct lite_options {
    const char *path;      /* of the file; outlives its connections */
    uint32_t busy_ms;      /* wait for another process's writing */
    uint32_t statement_ms; /* reading for longer is ended */
    uint32_t held_ms;      /* a loan that lasts longer is logged */
};

struct lite_cached {
    uint64_t hash; /* of the statement's text */
    uint64_t used; /* loan in which it was last wanted */
    sqlite3_stmt *stmt;
};

struct lite_loan {
    const char *who;
    uint64_t since_ms;
    bool is_told; /* that it takes too long */
};

struct lite_conn {
    sqlite3 *db;
    struct list in_pool;   /* link, idle or lent */
    struct lite_loan lent; /* the pool's, under its lock */
    int busy_ms;
    uint64_t deadline_ms; /* reads are interrupted behind it; 0: never */
    uint64_t loan;        /* counts up; ages the statements */
    struct lite_cached *cache;
    size_t cached;
    size_t cache_room;
    /* Length of the WAL after the last commit of this connection, and when a
     * checkpoint was last tried; see store/lite_wal.h. */
    uint32_t wal_pages;
    uint32_t wal_tended;
    uint64_t wal_inode; /* of the file it began to write to; 0: not yet */
    struct log_throttle wal_warned;
    bool saw_damage; /* its cache may outlive the repair of the file */
};

/* Opens the file; LITE_WRITES creates it and turns it to WAL. */
struct lite_conn *lite_conn_open(const struct lite_options *options,
                                 enum lite_use use, struct err *err) MUST_USE;
void lite_conn_close(struct lite_conn *conn);

/* Called by the pool around a loan. */
void lite_conn_lend(struct lite_conn *conn, uint64_t deadline_ms);
/* Forgets what was used least; false when the connection must be closed
 * instead: it is stuck in a transaction, or keeps pages of a damaged file. */
bool lite_conn_settle(struct lite_conn *conn) MUST_USE;

/* The whole path of its file. */
const char *lite_conn_path(const struct lite_conn *conn);

/* Sets `err` from the connection's last failure; always false. */
bool lite_fail(struct lite_conn *conn, struct err *err);

/* ---- transactions ---- */

/* A snapshot for several reads; ended by lite_rollback. */
bool lite_begin_read(struct lite_conn *conn, struct err *err) MUST_USE;
/* The write lock at once; waits for another process's transaction. */
bool lite_begin_write(struct lite_conn *conn, struct err *err) MUST_USE;
/* A commit that failed is rolled back: after false nothing has happened. */
bool lite_commit(struct lite_conn *conn, struct err *err) MUST_USE;
/* Outside of a transaction it does nothing. */
void lite_rollback(struct lite_conn *conn);

/* ---- statements ---- */

/* The statement of this text, ready to be bound; owned by the connection.
 * NULL when it does not compile. */
sqlite3_stmt *lite_prepare(struct lite_conn *conn, const char *sql,
                           struct err *err) MUST_USE;
/* Runs statements that give no rows. */
bool lite_exec(struct lite_conn *conn, const char *sql,
               struct err *err) MUST_USE;

enum lite_row { LITE_FAILED = -1, LITE_END, LITE_ROW };
/* The next row, the end, or a failure. */
enum lite_row lite_step(struct lite_conn *conn, sqlite3_stmt *stmt,
                        struct err *err) MUST_USE;
/* Steps a statement that gives no rows and ends it; bindings stay. */
bool lite_run(struct lite_conn *conn, sqlite3_stmt *stmt,
              struct err *err) MUST_USE;
/* Ends a statement and forgets its bindings; NULL is fine. */
void lite_end(sqlite3_stmt **stmt);
#define AUTO_STMT __attribute__((cleanup(lite_end))) sqlite3_stmt *

/* Parameters count from 1, columns from 0. */
void lite_bind_str(sqlite3_stmt *stmt, int at, struct str value);
void lite_bind_text(sqlite3_stmt *stmt, int at, const char *value);
void lite_bind_i64(sqlite3_stmt *stmt, int at, int64_t value);
/* SQLite's integers end at 2^63 - 1; more is bound as that. */
void lite_bind_u64(sqlite3_stmt *stmt, int at, uint64_t value);
void lite_bind_blob(sqlite3_stmt *stmt, int at, struct str bytes);
/* `id` stays where it is until the statement is ended. */
void lite_bind_uuid(sqlite3_stmt *stmt, int at, const struct uuid *id);

/* Slices live until the statement is stepped or ended; NULL is STR_NONE. */
struct str lite_column_str(sqlite3_stmt *stmt, int at);
uint64_t lite_column_u64(sqlite3_stmt *stmt, int at);
/* NULL is the nil UUID. */
struct uuid lite_column_uuid(sqlite3_stmt *stmt, int at);
