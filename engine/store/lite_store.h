#pragma once
/*
 * Inside of the SQLite store.  Its functions have the contract of
 * store/store.h; store/lite_store.c puts them into the table of operations.
 *
 *   lite_conn     one connection: statements, transactions, failures
 *   lite_wal      the write-ahead log, kept short
 *   lite_pool     readers to lend, and the one writer's turn
 *   lite_claim    one engine serves a file
 *   lite_file     which file it is
 *   lite_schema   the tables; lite_migrate makes them
 *   lite_append   the writer thread's transaction
 *   lite_request  requests that come again
 *   lite_snapshot folded states
 *   lite_log      reading events and streams
 *   lite_lease    checkpoints, leases, the keeper
 *   lite_install  a projection's tables and its registry
 *   lite_commit   a batch of row changes behind the fence
 *   lite_rows     values in columns; rows by key and in pages
 *
 * All writing of this process goes through one connection, in turns, so no two
 * of our transactions ever wait for each other inside SQLite; another
 * process's (a command's, a migration's) is waited for by the busy timeout.
 * Readers read snapshots that no writer disturbs.
 */
#include "store/lite_conn.h"
#include "store/lite_file.h"
#include "store/lite_pool.h"
#include "store/store_ops.h"

struct lite_claim;

struct lite_store {
    struct store base; /* first: see store/store_ops.h */
    /* --- set before start, then read only --- */
    struct lite_options options;
    char *path;
    struct lite_file file;
    uint32_t wait_ms; /* for a connection or a turn */
    /* --- any thread, each with its own lock --- */
    struct lite_pool readers;
    struct lite_pool writer;
    /* --- the thread that claims and closes --- */
    struct lite_claim *claim;
};

static inline struct lite_store *lite_of(struct store *store)
{
    return CONTAINER_OF(store, struct lite_store, base);
}

/* A reader, to be given back by lite_read_end. */
struct lite_conn *lite_read_borrow(struct store *store, const char *who,
                                   struct err *err) MUST_USE;
void lite_read_end(struct store *store, struct lite_conn *conn);

/* The turn, with an open transaction. */
struct lite_conn *lite_write_borrow(struct store *store, const char *who,
                                    struct err *err) MUST_USE;
/* Who borrows is told by the name of the function that does. */
#define lite_read_begin(store, err)  lite_read_borrow((store), __func__, (err))
#define lite_write_begin(store, err) lite_write_borrow((store), __func__, (err))
enum lite_keep { LITE_KEEP, LITE_DROP };
/* Commits or rolls back and gives the turn back; true when it was committed.
 * `err` is untouched by LITE_DROP, so that it still says why. */
bool lite_write_end(struct store *store, struct lite_conn *conn,
                    enum lite_keep keep, struct err *err) MUST_USE;
/* The turn back, nothing kept. */
void lite_write_drop(struct store *store, struct lite_conn *conn);

/* Logs who has had a reader or the turn for too long, each loan once. */
void lite_watch_loans(struct store *store);

/* SQLite takes "file:…" for a URI and ":memory:" for no file at all; behind a
 * folder they are names like any other.  The caller frees it. */
char *lite_plain_path(const char *path);

/* `items`, or a copy twice as long where `count` items fill it: an array that
 * grows inside the arena. */
void *lite_room(struct arena *arena, void *items, size_t count,
                size_t size) MUST_USE;

/* The last event's place, or position 0 and the nil id. */
bool lite_select_head(struct lite_conn *conn, struct log_place *out,
                      struct err *err) MUST_USE;

/* ---- lite_migrate ---- */
/* See store_migrate. */
bool lite_migrate(struct store *store, uint32_t *steps_out,
                  struct err *err) MUST_USE;
/* See store_check_schema. */
bool lite_check_schema(struct store *store, struct err *err) MUST_USE;
/* See store_log_id. */
bool lite_log_id(struct store *store, struct uuid *out,
                 struct err *err) MUST_USE;
/* See store_log_renew; ERR_CONFLICT while another engine serves the file. */
bool lite_log_renew(struct store *store, struct err *err) MUST_USE;
/* The log id, on a connection that is at hand. */
bool lite_select_log_id(struct lite_conn *conn, struct uuid *out,
                        struct err *err) MUST_USE;
/* Whether the file has that table or view. */
bool lite_has_object(struct lite_conn *conn, const char *name, bool *out,
                     struct err *err) MUST_USE;

/* ---- lite_append ---- */
/* See store_writer_open. */
struct store_writer *lite_writer_open(struct store *store,
                                      struct err *err) MUST_USE;
/* See store_writer_close. */
void lite_writer_close(struct store_writer *writer);
/* See store_append_begin. */
bool lite_append_begin(struct store_writer *base, struct log_place known,
                       struct arena *arena, struct append_delta *out,
                       struct err *err) MUST_USE;
/* See store_append_lookup. */
bool lite_append_lookup(struct store_writer *base, struct append_lookup *lookup,
                        struct err *err) MUST_USE;
/* See store_append_commit. */
enum append_end lite_append_commit(struct store_writer *base,
                                   const struct append_batch *batch,
                                   struct err *err) MUST_USE;
/* See store_append_abort. */
void lite_append_abort(struct store_writer *base);

/* ---- lite_request ---- */
/* Fills the asks, on a connection that is at hand. */
bool lite_ask_requests(struct lite_conn *conn, struct request_ask *asks,
                       size_t count, struct err *err) MUST_USE;
/* Stores the marks, in the connection's transaction.  A key that is there and
 * not too old is a broken uniqueness. */
bool lite_store_requests(struct lite_conn *conn,
                         const struct request_mark *marks, size_t count,
                         struct err *err) MUST_USE;
/* See store_request_find. */
bool lite_request_find(struct store *store, struct request_ask *ask,
                       struct arena *arena, struct err *err) MUST_USE;
/* See store_request_forget. */
bool lite_request_forget(struct store *store, struct err *err) MUST_USE;

/* ---- lite_snapshot ---- */
/* See store_snapshot_find. */
bool lite_snapshot_find(struct store *store, struct str aggregate_type,
                        struct str aggregate_id, struct str shape,
                        uint64_t at_most, struct arena *arena,
                        struct snapshot *out, bool *found_out,
                        struct err *err) MUST_USE;
/* See store_snapshot_save. */
bool lite_snapshot_save(struct store *store, const struct snapshot *snapshots,
                        size_t count, struct err *err) MUST_USE;
/* See store_snapshot_sample. */
bool lite_snapshot_sample(struct store *store, struct str aggregate_type,
                          struct str shape, struct str script_hash,
                          uint32_t limit, struct arena *arena,
                          struct snapshot **out, size_t *count_out,
                          struct err *err) MUST_USE;

/* ---- lite_log ---- */

/* The columns that lite_read_event takes, from 0. */
#define LITE_EVENT_COLUMNS                                                     \
    "e.position, e.event_id, e.event_type, e.event_version,"                   \
    " e.aggregate_type, e.aggregate_id, e.aggregate_version, e.data,"          \
    " e.metadata, e.tenant_id, e.actor_id, e.correlation_id,"                  \
    " e.causation_id, e.occurred_at, e.recorded_at"
/* Slices live until the statement is stepped or ended. */
void lite_read_event(sqlite3_stmt *stmt, struct event *out);

/* See store_head. */
bool lite_head(struct store *store, uint64_t *out, struct err *err) MUST_USE;
/* See store_read_after. */
bool lite_read_after(struct store *store, uint64_t after, uint32_t limit,
                     const struct event_filter *filter, struct event_page **out,
                     struct err *err) MUST_USE;
/* See store_read_stream. */
bool lite_read_stream(struct store *store, struct str aggregate_type,
                      struct str aggregate_id, uint64_t from_version,
                      uint32_t limit, enum read_direction direction,
                      struct event_page **out, struct err *err) MUST_USE;
/* See store_list_streams. */
bool lite_list_streams(struct store *store, struct str aggregate_type,
                       uint64_t after, uint32_t limit, struct arena *arena,
                       struct stream_row **rows_out, size_t *count_out,
                       struct err *err) MUST_USE;

/* ---- lite_lease ---- */
/* See store_lease_take. */
enum lease_end lite_lease_take(struct store *store, const struct slice *slice,
                               struct uuid owner, uint32_t ttl_ms,
                               struct checkpoint *out,
                               struct err *err) MUST_USE;
/* See store_lease_release. */
bool lite_lease_release(struct store *store, struct uuid owner,
                        struct err *err) MUST_USE;
/* Gives back everybody's: called while nobody else can serve the file. */
bool lite_lease_release_all(struct store *store, struct err *err) MUST_USE;
/* See store_list_checkpoints. */
bool lite_list_checkpoints(struct store *store, struct arena *arena,
                           struct checkpoint **rows_out, size_t *count_out,
                           struct err *err) MUST_USE;
/* See store_keeper_open. */
struct store_keeper *lite_keeper_open(struct store *store,
                                      struct err *err) MUST_USE;
/* See store_keeper_close. */
void lite_keeper_close(struct store_keeper *keeper);
/* See store_keeper_beat. */
bool lite_keeper_beat(struct store_keeper *keeper, struct uuid owner,
                      uint32_t ttl_ms, struct arena *arena, struct beat *out,
                      struct err *err) MUST_USE;
/* See store_keeper_wait. */
bool lite_keeper_wait(struct store_keeper *keeper, int wake_fd,
                      uint32_t timeout_ms, uint64_t *head_out) MUST_USE;
/* Binds subscription, generation, partition, partitions from `at` on. */
void lite_bind_slice(sqlite3_stmt *stmt, int at, const struct slice *slice);

/* ---- lite_install ---- */
/* See store_projection_find. */
bool lite_projection_find(struct store *store, struct str name,
                          struct arena *arena, struct projection_def *out,
                          struct err *err) MUST_USE;
/* See store_projection_install. */
bool lite_projection_install(struct store *store,
                             const struct projection_def *def,
                             uint64_t position, struct err *err) MUST_USE;
/* See store_projection_note. */
bool lite_projection_note(struct store *store, const struct projection_def *def,
                          struct err *err) MUST_USE;

/* ---- lite_commit ---- */
/* See store_commit_batch. */
enum commit_end lite_commit_batch(struct store *store,
                                  const struct batch_commit *batch,
                                  struct err *err) MUST_USE;
/* See store_commit_settle. */
enum commit_end lite_commit_settle(struct store *store,
                                   const struct batch_commit *batch,
                                   struct err *err) MUST_USE;

/* ---- lite_rows ---- */

/* The value lives, unchanged, until the statement is ended or bound anew. */
void lite_bind_value(sqlite3_stmt *stmt, int at, const struct value *value);
/* Reads a column that was written by lite_bind_value; ERR_DATA when somebody
 * else put something there that is none of its kind. */
bool lite_column_value(sqlite3_stmt *stmt, int at,
                       const struct column_def *column, struct arena *arena,
                       struct value *out, struct err *err) MUST_USE;
/* Appends "a", "b", … ; `bits` says which columns. */
void lite_add_columns(struct buf *sql, const struct table_def *table,
                      uint64_t bits);
/* Appends the quoted name of a generation's table: "orders__1". */
void lite_add_table(struct buf *sql, const struct table_def *table,
                    uint32_t generation);
#define LITE_ALL_COLUMNS UINT64_MAX

/* See store_rows_get. */
bool lite_rows_get(struct store *store, const struct table_def *table,
                   uint32_t generation, const struct value *keys, size_t count,
                   struct arena *arena, struct row **rows_out,
                   struct err *err) MUST_USE;
/* See store_rows_list. */
bool lite_rows_list(struct store *store, const struct row_query *query,
                    struct arena *arena, struct row **rows_out,
                    size_t *count_out, struct err *err) MUST_USE;
