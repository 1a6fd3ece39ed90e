#include "store/lite_wal.h"

#include "store/lite_file.h"

static int note_wal_length(void *arg, sqlite3 *db UNUSED,
                           const char *name UNUSED, int pages)
{
    struct lite_conn *conn = arg;

    conn->wal_pages = (uint32_t)pages;
    return SQLITE_OK;
}

void lite_wal_watch(struct lite_conn *conn)
{
    sqlite3_wal_hook(conn->db, note_wal_length, conn);
}

#define WAL_PIECE   2000  /* pages: 8 MiB */
#define WAL_LONG    16000 /* pages: 64 MiB */
#define WAL_WAIT_MS 250

static bool checkpoint(struct lite_conn *conn, int mode)
{
    int pages;
    int copied;
    bool good = sqlite3_wal_checkpoint_v2(conn->db, NULL, mode, &pages,
                                          &copied) == SQLITE_OK;

    if (good && pages >= 0)
        conn->wal_pages = (uint32_t)pages;
    return good;
}

static bool checkpoint_waiting(struct lite_conn *conn)
{
    bool good;

    sqlite3_busy_timeout(conn->db, WAL_WAIT_MS);
    good = checkpoint(conn, SQLITE_CHECKPOINT_TRUNCATE);
    sqlite3_busy_timeout(conn->db, conn->busy_ms);
    return good;
}

/* Of readers only one that is none of ours can stand in the way for so long:
 * ours are ended by their time. */
static void warn_of_length(struct lite_conn *conn)
{
    uint64_t held;

    if (conn->wal_pages >= 2 * WAL_LONG &&
        log_may(&conn->wal_warned, 60000, &held))
        log_warning("store",
                    "the write-ahead log cannot be shortened: a reader keeps "
                    "a snapshot open, or the disk is full; it is tried again",
                    LOG_U64("pages", conn->wal_pages), LOG_U64("held", held));
}

/* Finding the WAL in use is no failure: the next piece tries again. */
void lite_wal_tend(struct lite_conn *conn)
{
    if (conn->wal_pages < conn->wal_tended)
        conn->wal_tended = 0; /* it began anew */
    if (conn->wal_pages - conn->wal_tended < WAL_PIECE)
        return;
    if (conn->wal_pages < WAL_LONG)
        checkpoint(conn, SQLITE_CHECKPOINT_PASSIVE);
    else
        checkpoint_waiting(conn);
    warn_of_length(conn);
    conn->wal_tended = conn->wal_pages;
}

bool lite_wal_empty(struct lite_conn *conn)
{
    return checkpoint_waiting(conn);
}

bool lite_wal_is_there(struct lite_conn *conn)
{
    uint64_t inode = lite_file_wal(lite_conn_path(conn));

    if (conn->wal_inode == 0)
        conn->wal_inode = inode;
    return inode != 0 && inode == conn->wal_inode;
}
