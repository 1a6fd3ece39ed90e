#pragma once
/*
 * What a store can do: the contract that PostgreSQL and SQLite both keep, and
 * the language of the one conformance suite that both pass.  Behaviour lives
 * above this interface whenever it can; what is below is tables and commits.
 *
 * Who uses it
 *   struct store         any thread; each call borrows a connection from the
 *                        pool (SQLite: a reader, or the one writer's turn)
 *   struct store_writer  the writer thread: appends (core/append_queue)
 *   struct store_keeper  the keeper thread: leases, head, notices
 *                        (core/keeper)
 *
 * Errors.  ERR_STORE and ERR_POOL_TIMEOUT: not reachable or not in time, the
 * same call may be made again.  ERR_CONFLICT, ERR_NOT_FOUND, ERR_CONFIG as
 * said at the functions.  Texts carry no secrets and no raw driver dumps.
 *
 * Ends of commits are values, because each wants another treatment:
 * DONE; ROLLED_BACK, nothing happened and it may be tried again; UNCERTAIN,
 * the answer was lost, and the old transaction must be waited out before
 * anybody looks (reading at once lies, a frozen backend has
 * committed after we had looked).
 */
#include "base/event.h"
#include "base/hash.h"
#include "base/value.h"

struct store;
struct store_writer;
struct store_keeper;

/* ---- life ---- */

enum store_kind { STORE_SQLITE, STORE_POSTGRES };

/* How to talk to a server; each is NULL or empty when the URL, or else the
 * rules of store/pg_target.h, are to say it. */
struct store_tls {
    const char *sslmode;
    const char *sslrootcert;
    const char *sslcert;
    const char *sslkey;
};

struct store_options {
    const char *url;         /* sqlite:PATH, postgresql://…, postgres://… */
    const char *direct_url;  /* for LISTEN and migrations; NULL: `url` */
    const char *read_schema; /* where read models live (PostgreSQL) */
    /* Connections that stay, writer and keeper included; SQLite: all that
     * there may be, the one that writes included. */
    uint32_t pool_size;
    uint32_t pool_timeout_ms; /* wait for one, then ERR_POOL_TIMEOUT */
    uint32_t statement_timeout_ms;
    /* PostgreSQL only. */
    uint32_t max_overflow;    /* connections more, under load */
    uint32_t pool_recycle_ms; /* older ones are replaced; 0: never */
    bool pool_pre_ping;       /* one that sat idle is asked before use */
    struct store_tls tls;
};

struct pool_status {
    uint32_t most; /* that may be open at once */
    uint32_t idle, lent, connecting;
    uint32_t waiting;       /* borrowers for whom there is none */
    uint64_t timeouts;      /* waits given up so far */
    uint64_t timeout_at_ms; /* by clock_ms: when the last one was; 0: never */
};

/* Parses the URL and prepares; connects lazily (PostgreSQL) or opens the file,
 * creating it and its folder (SQLite).  The options' texts are copied.
 * ERR_CONFIG for a URL that no store understands. */
struct store *store_open(const struct store_options *options,
                         struct err *err) MUST_USE;
void store_close(struct store *store);

/* Which of the two it is. */
enum store_kind store_kind(const struct store *store);
/* "sqlite" or "postgresql". */
const char *store_kind_name(const struct store *store);
/* The version of the library behind that kind: "15.14", "3.40.1". */
const char *store_library_version(enum store_kind kind);
struct server_limits {
    uint32_t max_connections; /* 0: there is no server */
    uint32_t reserved;        /* of them, kept for superusers and the like */
    bool pooled; /* a pooler is between, which has limits of its own */
};

/* Asks the server. */
bool store_server_limits(struct store *store, struct server_limits *out,
                         struct err *err) MUST_USE;

/* How lending goes.  Connections that somebody has for good are lent; to wait
 * for SQLite's turn to write is usual, and does not count as waiting. */
void store_pool_status(struct store *store, struct pool_status *out);

/* Creates or upgrades the schema under a lock; safe to run twice and from
 * several processes at once.  `*steps_out` counts the steps that this call
 * made. */
bool store_migrate(struct store *store, uint32_t *steps_out,
                   struct err *err) MUST_USE;
/* True when this binary may run against the schema as it is.  ERR_CONFIG says
 * what is wrong (no schema, too old, too new for this binary, not UTF8). */
bool store_check_schema(struct store *store, struct err *err) MUST_USE;
/* The log's incarnation: made with the log, and another one when store_migrate
 * or store_check_schema finds the log in another place than it was (restored
 * from a dump or a copy). */
bool store_log_id(struct store *store, struct uuid *out,
                  struct err *err) MUST_USE;
/* Gives it another one, where a restore cannot be seen from inside. */
bool store_log_renew(struct store *store, struct err *err) MUST_USE;

/* SQLite serves one engine.  Claims the database for this process until it is
 * closed, and leaves `address` beside the file for commands to find;
 * ERR_CONFLICT says who serves it.  On PostgreSQL nothing is to be claimed. */
bool store_claim(struct store *store, const char *address,
                 struct err *err) MUST_USE;
/* Where a running engine serves this URL's database, as it was left by
 * store_claim and is still locked; false when nobody does (always, for
 * PostgreSQL). */
bool store_find_server(const char *url, char *address, size_t size) MUST_USE;
/* The path behind `sqlite:`, in `url`; NULL when it is not such a URL.
 * `sqlite://` and more slashes are refused, because nobody can say what they
 * mean. */
const char *store_sqlite_path(const char *url);

/* ---- appending: the writer thread ---- */

/*
 *   begin    transaction, log lock, and what others appended since `known`
 *   lookup   heads of streams the cache does not know, events with these ids
 *   commit   one statement inserts events, new streams and event ids; commit
 *   abort    nothing happened; after a failed begin or lookup, or instead of
 *            commit, which ends the transaction itself in every case
 *
 * The client is never waited for while locked, but for the time of deciding in
 * memory.  After an UNCERTAIN commit call begin again with the same place: it
 * waits the old transaction out under the lock (valid because the lock was
 * taken before the rows were sent), and the delta, or when it is cut a lookup
 * of the batch's ids, then shows whether the events are there.
 */
struct store_writer *store_writer_open(struct store *store,
                                       struct err *err) MUST_USE;
void store_writer_close(struct store_writer *writer);

/* Another writer's event. */
struct append_moved {
    uint64_t position;
    uint64_t stream_id;
    struct str aggregate_type;
    struct str aggregate_id;
    uint64_t aggregate_version;
    struct uuid event_id;
};

/* A position and what stood there.  After a failover that lost the log's tail
 * the number alone looks right while another event stands there. */
struct log_place {
    uint64_t position;    /* 0: before the first event */
    struct uuid event_id; /* nil at 0 */
};

#define APPEND_DELTA_MAX 2000

struct append_delta {
    struct log_place head; /* the last committed event */
    int64_t now_us;        /* the store's clock: recorded_at of this batch */
    bool cut;  /* more than APPEND_DELTA_MAX events, or `lost`: none are given,
                  and whoever keeps heads must forget them all */
    bool lost; /* another event (or none) stands at `known`: the log lost its
                  tail, and what was folded from it is wrong too */
    struct append_moved *moved; /* in the caller's arena, ascending */
    size_t count;
};

/* Opens the transaction, takes the log's lock and tells what moved behind
 * `known`; blocks while another writer has the lock. */
bool store_append_begin(struct store_writer *writer, struct log_place known,
                        struct arena *arena, struct append_delta *out,
                        struct err *err) MUST_USE;

struct append_stream { /* asked by name, answered with id and version */
    struct str aggregate_type;
    struct str aggregate_id;
    uint64_t stream_id;  /* out: 0 when the stream does not exist */
    uint64_t version;    /* out: 0 when it does not exist */
    struct uuid last_id; /* out: of the event at that version; nil likewise */
};

/* A request that its client may send again: its `Idempotency-Key` and whose
 * it is.  Empty texts, not STR_NONE, where there is no token or tenant. */
struct request_key {
    struct str token; /* its name */
    struct str tenant;
    struct str key;
};

/* What is kept of a stored request for 24 hours by the store's clock, in the
 * transaction of its events, so that its answer can be made again. */
struct request_mark {
    struct request_key key;
    uint8_t hash[SHA256_SIZE]; /* of the request: another one must not be
                                  answered with this one's result */
    uint64_t first_position;   /* its events stand there, in one row; 0: none */
    uint64_t first_version;    /* of the stream; without events the one that
                                  would have been next */
    uint32_t count;
};

/* A key that is asked for. */
struct request_ask {
    struct request_key key;
    bool found;               /* out */
    struct request_mark mark; /* out, but for `key`, when it was found */
};

struct append_lookup {
    struct append_stream *streams; /* filled in place */
    size_t stream_count;
    struct request_ask *keys; /* filled in place */
    size_t key_count;
    const struct uuid *ids; /* given by producers */
    size_t id_count;
    struct event_page *found; /* out: the stored events among `ids`, by
                                 position; NULL when there is none; the caller
                                 unrefs it */
};

/* One round trip.  Between begin and commit its answers hold; outside of a
 * transaction they hold if a guarded commit behind it succeeds. */
bool store_append_lookup(struct store_writer *writer,
                         struct append_lookup *lookup,
                         struct err *err) MUST_USE;

struct append_row {
    const struct event *event; /* complete: position, version, recorded_at */
    uint64_t stream_id;        /* position of the stream's first event */
};

struct append_batch { /* what must commit together */
    const struct append_row *rows;
    size_t count;
    const struct request_mark *marks;
    size_t mark_count;
};

enum append_end {
    APPEND_COMMITTED,
    APPEND_STALE,   /* a unique key: forget heads, look ids up, decide again */
    APPEND_REFUSED, /* by the data (SQLSTATE 22, other 23): ERR_DATA; try
                       each request alone */
    APPEND_ROLLED_BACK, /* nothing happened; may be tried again */
    APPEND_MOVED,       /* guarded commits only: the head is not where it was
                           known, nothing happened; begin */
    APPEND_UNCERTAIN,
};

/* Inserts rows with contiguous positions from head + 1 and commits.  A row
 * whose stream_id is its own position creates the stream.  An empty batch
 * makes sure that what the transaction has read is as durable as the database
 * promises.  The transaction is over in every case. */
enum append_end store_append_commit(struct store_writer *writer,
                                    const struct append_batch *batch,
                                    struct err *err) MUST_USE;
void store_append_abort(struct store_writer *writer);

/* True where a guarded commit saves a round trip: PostgreSQL. */
bool store_append_may_guess(const struct store_writer *writer);
/* Lock, insert and commit in one flush, instead of begin and commit, when
 * nobody else is expected to have appended behind `known`: the rows are
 * inserted only if that still is the head, event and all.  The store sets the
 * rows' recorded_at; `*recorded_at_us` tells it.  Never called with no rows. */
enum append_end store_append_guarded(struct store_writer *writer,
                                     struct log_place known,
                                     const struct append_batch *batch,
                                     int64_t *recorded_at_us,
                                     struct err *err) MUST_USE;

/* ---- requests that may come again: any thread ---- */

/* Fills `ask`, as committed now.  A twin on its way is found by the writer. */
bool store_request_find(struct store *store, struct request_ask *ask,
                        struct arena *arena, struct err *err) MUST_USE;
/* Drops keys that are older than 24 hours, cheaply and without making anybody
 * wait; the janitor's (core/janitor). */
bool store_request_forget(struct store *store, struct err *err) MUST_USE;

/* ---- snapshots: any thread ---- */

/* A folded state, kept to save reading its events: a cache, deleting it
 * changes no answer. */
struct snapshot {
    struct str aggregate_type;
    struct str aggregate_id;
    uint64_t version;       /* of the last event folded */
    struct uuid last_id;    /* of that event; for saving, else nil */
    struct str shape;       /* what it is valid for: at most 80 bytes */
    struct str script_hash; /* of the script that made it */
    struct str state;
};

/* The stream's snapshot when it has that shape and a version of at most
 * `at_most`.  `*found_out` false is no error.  Texts are in the arena. */
bool store_snapshot_find(struct store *store, struct str aggregate_type,
                         struct str aggregate_id, struct str shape,
                         uint64_t at_most, struct arena *arena,
                         struct snapshot *out, bool *found_out,
                         struct err *err) MUST_USE;
/* Saves them in one transaction, one a stream: a stored one of the same shape
 * and a higher version stays, any other is replaced.  What the log
 * does not have (any more) gets none: the stream's event at that version must
 * be the last one folded. */
bool store_snapshot_save(struct store *store, const struct snapshot *snapshots,
                         size_t count, struct err *err) MUST_USE;
/* At most `limit` snapshots of that shape which another script made. */
bool store_snapshot_sample(struct store *store, struct str aggregate_type,
                           struct str shape, struct str script_hash,
                           uint32_t limit, struct arena *arena,
                           struct snapshot **out, size_t *count_out,
                           struct err *err) MUST_USE;

/* ---- event types, for programs that append in SQL ---- */

struct declared_type {
    struct str aggregate_type;
    struct str event_type; /* STR_NONE: the aggregate takes any */
    uint32_t newest;       /* event_version it knows of; 0: not said */
};
/* Replaces the list of what the scripts declare; nothing on SQLite, which has
 * no door for SQL. */
bool store_declare_types(struct store *store, const struct declared_type *types,
                         size_t count, struct err *err) MUST_USE;

/* ---- reading the log: any thread ---- */

struct event_filter { /* STR_NONE: any */
    struct str event_type;
    struct str aggregate_type;
};

/* The position of the last committed event; 0 while the log is empty. */
bool store_head(struct store *store, uint64_t *out, struct err *err) MUST_USE;

#define PAGE_MAX_BYTES (8u << 20)

/* Events with position > `after`, ascending, at most `limit`, read in one
 * snapshot.  A page also ends behind PAGE_MAX_BYTES (at least one event): fewer
 * than `limit` is not the end of the log; a page that did not move is.  With a
 * filter at most 100,000 positions are looked at in one call; page->scanned_to
 * says how far it got (never beyond the snapshot's head; `after` when nothing
 * was there). */
bool store_read_after(struct store *store, uint64_t after, uint32_t limit,
                      const struct event_filter *filter,
                      struct event_page **out, struct err *err) MUST_USE;

enum read_direction { READ_FORWARD, READ_BACKWARD };

/* A stream from `from_version` on (inclusive; backward: 0 means the end).  An
 * absent stream is an empty page.  Ends behind PAGE_MAX_BYTES too. */
bool store_read_stream(struct store *store, struct str aggregate_type,
                       struct str aggregate_id, uint64_t from_version,
                       uint32_t limit, enum read_direction direction,
                       struct event_page **out, struct err *err) MUST_USE;

struct stream_row {
    uint64_t stream_id; /* what to pass as `after` */
    struct str aggregate_type;
    struct str aggregate_id;
    uint64_t version;
};

/* Streams in the order of their first events.  Rows are in the arena. */
bool store_list_streams(struct store *store, struct str aggregate_type,
                        uint64_t after, uint32_t limit, struct arena *arena,
                        struct stream_row **rows_out, size_t *count_out,
                        struct err *err) MUST_USE;

/* ---- checkpoints and leases ---- */

/* The key of a checkpoint.  All checkpoints of one
 * (subscription, generation) have the same `partitions`: leases of two layouts
 * would exclude nobody. */
struct slice {
    struct str subscription;
    uint32_t generation;
    uint32_t partition;
    uint32_t partitions;
};

struct checkpoint {
    struct slice slice;
    uint64_t position;
    uint64_t epoch;
    struct uuid owner; /* nil: nobody */
    bool expired;      /* the lease is over by the store's clock */
    uint64_t events_processed;
    int64_t updated_at_us;
};

enum lease_end { LEASE_FAILED = -1, LEASE_REFUSED, LEASE_TAKEN };

/* Takes the slice for `owner` when nobody holds it, its lease has expired, or
 * `owner` holds it already; raises the epoch in every case that takes it.
 * REFUSED: another owner runs it; `*out` tells who and where it stands.  A row
 * locked by a running commit is REFUSED too, never waited for.
 * FAILED with ERR_NOT_FOUND: no such checkpoint (install the projection
 * first); with ERR_CONFLICT: the generation is laid out in another number of
 * partitions.  Texts of `*out` are those of `slice`. */
enum lease_end store_lease_take(struct store *store, const struct slice *slice,
                                struct uuid owner, uint32_t ttl_ms,
                                struct checkpoint *out,
                                struct err *err) MUST_USE;
/* Gives back all leases of `owner`; epochs stay. */
bool store_lease_release(struct store *store, struct uuid owner,
                         struct err *err) MUST_USE;
/* All checkpoints, by subscription; rows and texts are in the arena. */
bool store_list_checkpoints(struct store *store, struct arena *arena,
                            struct checkpoint **rows_out, size_t *count_out,
                            struct err *err) MUST_USE;

/* The keeper's connection also listens for notices of other writers. */
struct store_keeper *store_keeper_open(struct store *store,
                                       struct err *err) MUST_USE;
void store_keeper_close(struct store_keeper *keeper);

struct beat {
    uint64_t head;
    struct uuid log_id;      /* differs from the one at start: another log */
    struct checkpoint *held; /* slices of the owner, renewed; in the arena */
    size_t held_count;
};

/* One statement: renews every lease of `owner`, tells which it still has, and
 * the head.  Rows locked by a running commit are skipped and
 * reported as they were last committed: that commit renews them itself.  An
 * epoch may be higher than the caller's: somebody reset or paused the slice,
 * and its batch must be dropped. */
bool store_keeper_beat(struct store_keeper *keeper, struct uuid owner,
                       uint32_t ttl_ms, struct arena *arena, struct beat *out,
                       struct err *err) MUST_USE;
/* Sleeps until a notice comes, `wake_fd` becomes readable (it is not read), or
 * the time is over; true when it was a notice, and `*head_out` is the head it
 * named.  A broken connection ends the sleep early at most once. */
bool store_keeper_wait(struct store_keeper *keeper, int wake_fd,
                       uint32_t timeout_ms, uint64_t *head_out);

/* ---- projections: their tables ---- */

struct projection_def {
    struct str name;
    uint32_t generation;
    uint32_t partitions;
    uint32_t version;       /* of the script */
    struct str script_hash; /* of script, modules and upcasts */
    struct str definition;  /* canonical JSON of the tables: columns as an array
                               in their places, which are part of what is
                               stored */
    const struct table_def *tables;
    size_t table_count;
};

/* The live generation installed under that name; false with ERR_NOT_FOUND when
 * nothing is. `tables` stays NULL.  Texts are in the arena. */
bool store_projection_find(struct store *store, struct str name,
                           struct arena *arena, struct projection_def *out,
                           struct err *err) MUST_USE;
/* In one transaction: the generation's tables (`orders__1`) with their
 * indexes, the public views, the registry rows and a checkpoint at `position`
 * for each of its partitions.  Doing it again for the same definition changes
 * nothing.  Serialised with other installs and migrations by the migration
 * lock; DDL waits 200 ms for table locks and tries again, never queueing
 * readers behind it.  ERR_CONFLICT: a table's name belongs to another
 * projection, or to something that is not ours, or the projection is installed
 * with another definition or another number of partitions; it is named.
 * Indexes are named `<table>__<generation>_<n>` (63 bytes at most). */
bool store_projection_install(struct store *store,
                              const struct projection_def *def,
                              uint64_t position, struct err *err) MUST_USE;
/* Notes that the installed projection now runs this script (same tables);
 * only while holding its lease. */
bool store_projection_note(struct store *store,
                           const struct projection_def *def,
                           struct err *err) MUST_USE;

/* ---- projections: committing a batch ---- */

enum row_op {
    ROW_PUT,    /* insert or replace the whole row */
    ROW_INSERT, /* a second row with that key is ERR_DATA */
    ROW_PATCH,  /* set `columns` where the row exists */
    ROW_ADD,    /* add `columns`, from zero where the row does not exist */
    ROW_DELETE,
};

/* One change a key; where mixtures have no single op the overlay reads the row
 * and gives PUT.  An ADD that creates the row takes value_zero for the columns
 * that are not given. */
struct row_change {
    enum row_op op;
    uint64_t columns;           /* bits of the columns that `values` gives */
    const struct value *values; /* one a column of the table, key always set */
};

struct table_change {
    const struct table_def *table;
    const struct row_change *rows; /* one a key, sorted by key */
    size_t count;
};

struct batch_commit {
    struct slice slice;
    uint64_t epoch;
    uint64_t from;             /* the checkpoint that the batch was run from */
    uint64_t to;               /* the last event looked at; > from, always */
    struct uuid to_event_id;   /* what stood there when it was read */
    uint64_t events_processed; /* to add to the checkpoint's count */
    uint32_t ttl_ms;           /* the commit renews the lease */
    const struct table_change *tables; /* sorted by name */
    size_t table_count;
};

enum commit_end {
    COMMIT_DONE,
    COMMIT_FENCED,      /* somebody else moved on, or the log is not the one
                           that was read: drop batch, overlay and caches */
    COMMIT_REFUSED,     /* by the data (SQLSTATE 22, 23, P0001 of a user's
                           trigger): ERR_DATA says why */
    COMMIT_BROKEN,      /* class 42 and the like (a table dropped, a right
                           missing): ERR_CONFIG; stop the projection */
    COMMIT_ROLLED_BACK, /* may be tried again */
    COMMIT_UNCERTAIN,   /* settle before anything else */
};

/* Rows and checkpoint in one transaction, fenced: epoch and
 * `from` must be the checkpoint's, and the event at `to` must still have
 * `to_event_id`.  The fence comes first, so the checkpoint's row is locked
 * before any row of the tables is touched. */
enum commit_end store_commit_batch(struct store *store,
                                   const struct batch_commit *batch,
                                   struct err *err) MUST_USE;
/* After UNCERTAIN: locks the checkpoint's row, which waits the old transaction
 * out, then reads it.  Same epoch and position == to: DONE; same epoch and
 * position == from: ROLLED_BACK; anything else, or another event at `to`:
 * FENCED; UNCERTAIN while the store cannot be asked.  ROLLED_BACK is no
 * promise: a backend that froze before it took the row may still commit; the
 * retry is then FENCED and the batch dropped, which is right. */
enum commit_end store_commit_settle(struct store *store,
                                    const struct batch_commit *batch,
                                    struct err *err) MUST_USE;

/* ---- projections: reading rows ---- */

struct row {
    struct value *values; /* one a column, in the table's order */
};

/* The rows of a generation's table by key, for handlers: rows_out[i] belongs
 * to keys[i], values NULL when there is none.  In the arena. */
bool store_rows_get(struct store *store, const struct table_def *table,
                    uint32_t generation, const struct value *keys, size_t count,
                    struct arena *arena, struct row **rows_out,
                    struct err *err) MUST_USE;

#define ROWS_MAX_FILTERS 8

/* Nulls come first ascending and last descending on both stores, and indexes
 * are made so.  Filters and order on json columns are ERR_INVALID_INPUT. */
struct row_query {
    const struct table_def *table;
    size_t filter_count;
    struct {
        size_t column;
        struct value value; /* VALUE_NULL: is null */
    } filters[ROWS_MAX_FILTERS];
    size_t order; /* column; the key breaks ties */
    bool descending;
    uint32_t limit;
    bool resume; /* go on behind the row with these */
    struct value after_order;
    struct value after_key;
};

/* Rows through the public view, keyset paged.  In the arena. */
bool store_rows_list(struct store *store, const struct row_query *query,
                     struct arena *arena, struct row **rows_out,
                     size_t *count_out, struct err *err) MUST_USE;
