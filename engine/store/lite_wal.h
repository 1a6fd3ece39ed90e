#pragma once
/*
 * The write-ahead log beside a SQLite file: kept short although readers never
 * pause, and missed when somebody deletes it.  For the connection that writes.
 */
#include "store/lite_conn.h"

/* From now on commits of this connection note how long it is; stands in for
 * SQLite's automatic checkpoint. */
void lite_wal_watch(struct lite_conn *conn);

/* Keeps the WAL short.  Copies it into the file whenever it has grown by a
 * piece, which costs readers nothing, and when it is long all the same (some
 * reader always stands in it) waits briefly for a moment without readers in
 * its old part.  Call it while nobody else can write, outside transactions. */
void lite_wal_tend(struct lite_conn *conn);
/* Copies the whole WAL into the file and empties it, likewise; false when a
 * reader or a full disk stands in the way. */
bool lite_wal_empty(struct lite_conn *conn) MUST_USE;
/* Within a transaction that writes: whether the WAL that is written to is still
 * the one beside the file.  A deleted one takes commits that nobody else sees,
 * and that are lost with this process. */
bool lite_wal_is_there(struct lite_conn *conn);
