#include "store/lite_conn.h"

#include "base/clock.h"
#include "base/decimal.h"
#include "base/mem.h"
#include "store/lite_wal.h"

/*
 * Life of a connection: opened with its settings, the collation `decimal` and
 * the function decimal_sum; lent and settled many times by the pool; closed
 * with its statements.
 *
 * The cache of statements is a list that is searched from end to end: a
 * connection knows some dozens.  During a loan it only grows, so a statement
 * that was handed out cannot vanish; lite_conn_settle cuts it back.
 */

#define MAX_CACHED 96

/* ---- failures ---- */

static const struct meaning {
    int code; /* primary */
    enum err_code means;
    const char *text;
} meanings[] = {
    {SQLITE_BUSY, ERR_STORE, "another process keeps the database locked"},
    {SQLITE_LOCKED, ERR_STORE, "the database is locked"},
    {SQLITE_FULL, ERR_STORE, "the disk is full"},
    {SQLITE_IOERR, ERR_STORE, "the disk failed to read or to write"},
    {SQLITE_READONLY, ERR_STORE,
     "the database file or its folder may not be written to"},
    {SQLITE_PERM, ERR_STORE, "the database file may not be opened"},
    {SQLITE_AUTH, ERR_STORE, "the database file may not be opened"},
    {SQLITE_CANTOPEN, ERR_STORE, "the database file cannot be opened"},
    {SQLITE_CORRUPT, ERR_STORE, "the database file is damaged"},
    {SQLITE_NOTADB, ERR_STORE, "the file is damaged or no SQLite database"},
    {SQLITE_NOMEM, ERR_STORE, "SQLite is out of memory"},
    {SQLITE_INTERRUPT, ERR_STORE, "the statement took too long"},
    {SQLITE_CONSTRAINT, ERR_DATA, "the database refused the data"},
    {SQLITE_MISMATCH, ERR_DATA, "the database refused the data"},
    {SQLITE_TOOBIG, ERR_DATA, "the data is too large for the database"},
    {SQLITE_ERROR, ERR_CONFIG, "the database is not as it should be"},
};

static const struct meaning *meaning_of(int code)
{
    static const struct meaning other = {0, ERR_STORE, "SQLite failed"};

    for (size_t i = 0; i < COUNT(meanings); i++)
        if (meanings[i].code == (code & 0xff))
            return &meanings[i];
    return &other;
}

/* SQLite's own words name tables and columns, never what is in them.  The path
 * is said where somebody has to look at the file. */
static bool fail_with(int code, const char *path, const char *detail,
                      struct err *err)
{
    const struct meaning *meaning = meaning_of(code);

    if (meaning->means == ERR_DATA)
        return err_set(err, ERR_DATA, "%s: %s (SQLite %d)", meaning->text,
                       detail, code);
    return err_set(err, meaning->means, "%s: %s: %s (SQLite %d)", path,
                   meaning->text, detail, code);
}

const char *lite_conn_path(const struct lite_conn *conn)
{
    return sqlite3_db_filename(conn->db, NULL);
}

bool lite_fail(struct lite_conn *conn, struct err *err)
{
    int code = sqlite3_extended_errcode(conn->db);
    int primary = code & 0xff;

    if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB)
        conn->saw_damage = true;
    return fail_with(code, lite_conn_path(conn), sqlite3_errmsg(conn->db), err);
}

/* ---- what SQL may use besides ---- */

static int collate_decimal(void *context UNUSED, int a_len, const void *a,
                           int b_len, const void *b)
{
    return decimal_text_cmp(str_n(a, (size_t)a_len), str_n(b, (size_t)b_len));
}

struct sum {
    struct decimal total;
    bool begun;
};

static void sum_step(sqlite3_context *context, int count UNUSED,
                     sqlite3_value **values)
{
    struct sum *sum = sqlite3_aggregate_context(context, sizeof(*sum));
    const char *text = (const char *)sqlite3_value_text(values[0]);
    struct decimal term;
    struct err err = {0};

    if (sum == NULL || text == NULL)
        return;
    if (!sum->begun)
        decimal_init(&sum->total);
    sum->begun = true;
    decimal_init(&term);
    if (!decimal_parse(&term, str_of(text), &err) ||
        !decimal_add(&sum->total, &sum->total, &term, &err))
        sqlite3_result_error(context, err.text, -1);
    decimal_done(&term);
}

static void sum_final(sqlite3_context *context)
{
    struct sum *sum = sqlite3_aggregate_context(context, 0);
    struct buf text = {0};

    if (sum == NULL || !sum->begun)
        return; /* NULL, as sum() of nothing is */
    decimal_format(&sum->total, &text);
    sqlite3_result_text(context, text.ptr, (int)text.len, SQLITE_TRANSIENT);
    buf_done(&text);
    decimal_done(&sum->total);
}

static int add_words(sqlite3 *db)
{
    int failed = sqlite3_create_collation(db, "decimal", SQLITE_UTF8, NULL,
                                          collate_decimal);

    if (failed == SQLITE_OK)
        failed = sqlite3_create_function(db, "decimal_sum", 1,
                                         SQLITE_UTF8 | SQLITE_DETERMINISTIC,
                                         NULL, NULL, sum_step, sum_final);
    return failed;
}

/* ---- opening ---- */

static int is_overdue(void *arg)
{
    const struct lite_conn *conn = arg;

    return conn->deadline_ms != 0 && clock_ms() > conn->deadline_ms;
}

/* Every so many steps of SQLite's machine, about a millisecond's work. */
#define STEPS_BETWEEN_LOOKS 50000

/* Two processes that turn a new file to WAL at once are told "busy" without a
 * wait, because each holds what the other needs; one of them has done it when
 * the other tries again. */
static bool turn_to_wal(struct lite_conn *conn, uint32_t wait_ms,
                        struct err *err)
{
    uint64_t deadline_ms = clock_ms() + wait_ms;

    while (!lite_exec(conn, "pragma journal_mode = wal", err)) {
        if ((sqlite3_errcode(conn->db) & 0xff) != SQLITE_BUSY ||
            clock_ms() > deadline_ms)
            return false;
        sqlite3_sleep(2);
    }
    return true;
}

/* A file that may only be read is opened all the same, and would stay so after
 * that was mended. */
static bool prepare_to_write(struct lite_conn *conn,
                             const struct lite_options *options,
                             struct err *err)
{
    if (sqlite3_db_readonly(conn->db, "main") != 0)
        return fail_with(SQLITE_READONLY, options->path, "opened to be read",
                         err);
    if (!turn_to_wal(conn, options->busy_ms, err))
        return false;
    lite_wal_watch(conn);
    return lite_exec(conn,
                     "pragma synchronous = full;"
                     "pragma foreign_keys = on;"
                     "pragma cache_size = -16000",
                     err);
}

static bool prepare_to_read(struct lite_conn *conn, struct err *err)
{
    sqlite3_progress_handler(conn->db, STEPS_BETWEEN_LOOKS, is_overdue, conn);
    return lite_exec(conn, "pragma query_only = on", err);
}

static bool open_db(struct lite_conn *conn, const struct lite_options *options,
                    enum lite_use use, struct err *err)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
                SQLITE_OPEN_EXRESCODE |
                (use == LITE_WRITES ? SQLITE_OPEN_CREATE : 0);
    int failed = sqlite3_open_v2(options->path, &conn->db, flags, NULL);

    if (failed == SQLITE_OK) /* else an unknown "column" is taken for a text */
        failed = sqlite3_db_config(conn->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    if (failed == SQLITE_OK)
        failed = add_words(conn->db);
    if (failed != SQLITE_OK)
        return fail_with(failed, options->path, sqlite3_errstr(failed), err);
    conn->busy_ms = (int)MIN(options->busy_ms, INT32_MAX);
    sqlite3_busy_timeout(conn->db, conn->busy_ms);
    return use == LITE_WRITES ? prepare_to_write(conn, options, err)
                              : prepare_to_read(conn, err);
}

struct lite_conn *lite_conn_open(const struct lite_options *options,
                                 enum lite_use use, struct err *err)
{
    struct lite_conn *conn = NEW(struct lite_conn);

    if (open_db(conn, options, use, err))
        return conn;
    lite_conn_close(conn);
    return NULL;
}

void lite_conn_close(struct lite_conn *conn)
{
    if (conn == NULL)
        return;
    for (size_t i = 0; i < conn->cached; i++)
        sqlite3_finalize(conn->cache[i].stmt);
    mem_free(conn->cache);
    CHECK(sqlite3_close(conn->db) == SQLITE_OK);
    mem_free(conn);
}

/* ---- loans ---- */

void lite_conn_lend(struct lite_conn *conn, uint64_t deadline_ms)
{
    conn->deadline_ms = deadline_ms;
    conn->loan++;
}

static void drop_oldest_statement(struct lite_conn *conn)
{
    struct lite_cached *oldest = conn->cache;

    for (size_t i = 1; i < conn->cached; i++)
        if (conn->cache[i].used < oldest->used)
            oldest = &conn->cache[i];
    sqlite3_finalize(oldest->stmt);
    *oldest = conn->cache[--conn->cached];
}

bool lite_conn_settle(struct lite_conn *conn)
{
    while (conn->cached > MAX_CACHED)
        drop_oldest_statement(conn);
    return sqlite3_get_autocommit(conn->db) != 0 && !conn->saw_damage;
}

/* ---- transactions ---- */

static bool run_text(struct lite_conn *conn, const char *sql, struct err *err)
{
    sqlite3_stmt *stmt = lite_prepare(conn, sql, err);

    return stmt != NULL && lite_run(conn, stmt, err);
}

bool lite_begin_read(struct lite_conn *conn, struct err *err)
{
    return run_text(conn, "begin", err);
}

/* The write lock is taken at once: a reader that became a writer could be
 * refused in the middle, because others have written since. */
bool lite_begin_write(struct lite_conn *conn, struct err *err)
{
    return run_text(conn, "begin immediate", err);
}

bool lite_commit(struct lite_conn *conn, struct err *err)
{
    if (run_text(conn, "commit", err))
        return true;
    lite_rollback(conn);
    return false;
}

/* Some failures have rolled back already (a full disk, an interrupt). */
void lite_rollback(struct lite_conn *conn)
{
    struct err ignored = {0};

    if (sqlite3_get_autocommit(conn->db) != 0)
        return;
    if (!run_text(conn, "rollback", &ignored)) {
        /* lite_conn_settle finds it stuck and the pool closes it, which
         * rolls back too. */
    }
}

/* ---- statements ---- */

static sqlite3_stmt *find_cached(struct lite_conn *conn, struct str sql,
                                 uint64_t hash)
{
    for (size_t i = 0; i < conn->cached; i++) {
        struct lite_cached *entry = &conn->cache[i];

        if (entry->hash != hash ||
            !str_eq(str_of(sqlite3_sql(entry->stmt)), sql))
            continue;
        entry->used = conn->loan;
        return entry->stmt;
    }
    return NULL;
}

static sqlite3_stmt *compile(struct lite_conn *conn, struct str sql,
                             uint64_t hash, struct err *err)
{
    sqlite3_stmt *stmt = NULL;

    if (sqlite3_prepare_v3(conn->db, sql.ptr, (int)sql.len + 1,
                           SQLITE_PREPARE_PERSISTENT, &stmt,
                           NULL) != SQLITE_OK) {
        lite_fail(conn, err);
        return NULL;
    }
    GROW(conn->cache, conn->cache_room, conn->cached + 1);
    conn->cache[conn->cached++] =
        (struct lite_cached){.hash = hash, .used = conn->loan, .stmt = stmt};
    return stmt;
}

sqlite3_stmt *lite_prepare(struct lite_conn *conn, const char *sql,
                           struct err *err)
{
    struct str text = str_of(sql);
    uint64_t hash = str_hash(text);
    sqlite3_stmt *stmt = find_cached(conn, text, hash);

    return stmt != NULL ? stmt : compile(conn, text, hash, err);
}

bool lite_exec(struct lite_conn *conn, const char *sql, struct err *err)
{
    return sqlite3_exec(conn->db, sql, NULL, NULL, NULL) == SQLITE_OK ||
           lite_fail(conn, err);
}

enum lite_row lite_step(struct lite_conn *conn, sqlite3_stmt *stmt,
                        struct err *err)
{
    int code = sqlite3_step(stmt);

    if (code == SQLITE_ROW)
        return LITE_ROW;
    if (code == SQLITE_DONE)
        return LITE_END;
    lite_fail(conn, err);
    return LITE_FAILED;
}

bool lite_run(struct lite_conn *conn, sqlite3_stmt *stmt, struct err *err)
{
    enum lite_row row = lite_step(conn, stmt, err);

    sqlite3_reset(stmt); /* repeats the failure that lite_step has told */
    return row != LITE_FAILED;
}

void lite_end(sqlite3_stmt **stmt)
{
    if (*stmt == NULL)
        return;
    sqlite3_reset(*stmt);
    sqlite3_clear_bindings(*stmt);
}

/* Lengths are bounded far below SQLite's limit (a gigabyte) and parameters are
 * counted by us, so binding can only fail by a mistake of ours. */
#define BIND(call) CHECK((call) == SQLITE_OK)

void lite_bind_str(sqlite3_stmt *stmt, int at, struct str value)
{
    BIND(sqlite3_bind_text64(stmt, at, value.ptr, value.len, SQLITE_STATIC,
                             SQLITE_UTF8));
}

void lite_bind_text(sqlite3_stmt *stmt, int at, const char *value)
{
    lite_bind_str(stmt, at, str_of(value));
}

void lite_bind_i64(sqlite3_stmt *stmt, int at, int64_t value)
{
    BIND(sqlite3_bind_int64(stmt, at, value));
}

void lite_bind_u64(sqlite3_stmt *stmt, int at, uint64_t value)
{
    lite_bind_i64(stmt, at, (int64_t)MIN(value, (uint64_t)INT64_MAX));
}

void lite_bind_blob(sqlite3_stmt *stmt, int at, struct str bytes)
{
    BIND(sqlite3_bind_blob64(stmt, at, bytes.ptr, bytes.len, SQLITE_STATIC));
}

void lite_bind_uuid(sqlite3_stmt *stmt, int at, const struct uuid *id)
{
    lite_bind_blob(stmt, at, str_n((const char *)id->bytes, sizeof(id->bytes)));
}

struct str lite_column_str(sqlite3_stmt *stmt, int at)
{
    const char *text = (const char *)sqlite3_column_text(stmt, at);

    return str_n(text,
                 text != NULL ? (size_t)sqlite3_column_bytes(stmt, at) : 0);
}

uint64_t lite_column_u64(sqlite3_stmt *stmt, int at)
{
    return (uint64_t)sqlite3_column_int64(stmt, at);
}

struct uuid lite_column_uuid(sqlite3_stmt *stmt, int at)
{
    const void *bytes = sqlite3_column_blob(stmt, at);
    struct uuid id = {{0}};

    if (bytes != NULL && sqlite3_column_bytes(stmt, at) == sizeof(id.bytes))
        memcpy(id.bytes, bytes, sizeof(id.bytes));
    return id;
}
