#include "store/pg_exchange.h"

#include "base/clock.h"
#include "base/mem.h"
#include "store/pg_conn_in.h"

#include <inttypes.h>
#include <stdio.h>

/*
 * An exchange
 *
 *   queue     pg_send hands each statement to libpq, which buffers it; `sent`
 *             remembers what was queued, hidden companions too
 *   sync      pg_run ends the queue: what came before is one transaction,
 *             unless pg_begin opened one
 *   collect   answers come in the order of `sent`; those of statements are
 *             kept in `results`.  The first error is remembered, and what
 *             follows it is skipped by the server
 *   over      results live until the next pg_send, which begins another
 *
 * The place of an error in `sent` says what can still have happened: behind an
 * error that came before the commit's own answer nothing was committed.
 */

#define SCRIPT_MS (10 * 60 * 1000)
#define LOCK_MS   5000

static void clear_results(struct pg_conn *conn)
{
    for (size_t i = 0; i < conn->result_count; i++)
        PQclear(conn->results[i]);
    conn->result_count = 0;
}

void pg_exchange_reset(struct pg_conn *conn)
{
    clear_results(conn);
    conn->sent_count = 0;
    conn->answered = 0;
    conn->is_over = false;
    conn->is_synced = false;
    conn->is_refused = false;
    conn->is_doubtful = false;
    conn->is_fatal = false;
    conn->sqlstate[0] = '\0';
}

/* ---- the queue ---- */

static void note_sent(struct pg_conn *conn, enum pg_sent_kind kind,
                      size_t prepared)
{
    GROW(conn->sent, conn->sent_capacity, conn->sent_count + 1);
    conn->sent[conn->sent_count++] = (struct pg_sent){kind, prepared};
}

#define NAME_SIZE 32

static void name_of(size_t place, char name[NAME_SIZE])
{
    snprintf(name, NAME_SIZE, "perigee_%zu", place);
}

static bool find_prepared(const struct pg_conn *conn, uint64_t hash,
                          const char *sql, size_t *place_out)
{
    for (size_t i = 0; i < conn->prepared_count; i++) {
        const struct pg_prepared *known = &conn->prepared[i];

        if (known->hash == hash && known->sql != NULL &&
            strcmp(known->sql, sql) == 0) {
            *place_out = i;
            return true;
        }
    }
    return false;
}

/* One whose preparation failed left its place. */
static bool free_place(struct pg_conn *conn, size_t *place_out)
{
    for (size_t i = 0; i < conn->prepared_count; i++) {
        if (conn->prepared[i].sql == NULL) {
            *place_out = i;
            return true;
        }
    }
    if (conn->prepared_count == PG_PREPARED_MAX)
        return false;
    *place_out = conn->prepared_count++;
    return true;
}

static void forget_prepared(struct pg_conn *conn, size_t place)
{
    mem_free(conn->prepared[place].sql);
    conn->prepared[place].sql = NULL;
}

/* Puts the statement's name into `name`, and queues its preparation when it is
 * new; false when it has to go unnamed. */
static bool prepare(struct pg_conn *conn, const char *sql, char name[NAME_SIZE])
{
    uint64_t hash = str_hash(str_of(sql));
    size_t place;

    if (conn->pooled)
        return false;
    if (find_prepared(conn, hash, sql, &place)) {
        name_of(place, name);
        return true;
    }
    if (!free_place(conn, &place))
        return false;
    conn->prepared[place] = (struct pg_prepared){hash, mem_strdup(sql)};
    name_of(place, name);
    if (PQsendPrepare(conn->pg, name, sql, 0, NULL) == 0)
        pg_lose(conn, NULL);
    note_sent(conn, PG_SENT_PREPARE, place);
    return true;
}

static int send_values(struct pg_conn *conn, const char *sql, const char *name)
{
    const struct pg_args *args = &conn->args;
    const char *values[PG_MAX_ARGS];
    int formats[PG_MAX_ARGS];

    for (int i = 0; i < args->count; i++) {
        bool is_null = args->lengths[i] < 0;

        values[i] = is_null ? NULL : args->bytes.ptr + args->at[i];
        formats[i] = 1;
    }
    if (name != NULL)
        return PQsendQueryPrepared(conn->pg, name, args->count, values,
                                   args->lengths, formats, 1);
    return PQsendQueryParams(conn->pg, sql, args->count, NULL, values,
                             args->lengths, formats, 1);
}

static void send_statement(struct pg_conn *conn, const char *sql,
                           enum pg_sent_kind kind)
{
    char name[NAME_SIZE];
    bool is_named;

    if (conn->pg == NULL)
        return;
    is_named = prepare(conn, sql, name);
    if (conn->pg == NULL)
        return;
    if (send_values(conn, sql, is_named ? name : NULL) == 0) {
        pg_lose(conn, NULL);
        return;
    }
    note_sent(conn, kind, 0);
    pg_args_clear(&conn->args);
}

/*
 * Plans are pinned: one that was made while a table was empty must not scan it
 * for good (measured: a tenth of the speed), so nothing but index scans and
 * nested loops is left to choose.  idle_in_transaction_session_timeout frees
 * the log's lock when an engine is stopped between lock and commit.
 */
static const char settings_sql[] =
    "select set_config('statement_timeout', '%" PRIu32 "', %s),"
    " set_config('lock_timeout', '%" PRIu32 "', %s),"
    " set_config('idle_in_transaction_session_timeout', '2s', %s),"
    " set_config('enable_seqscan', 'off', %s),"
    " set_config('enable_bitmapscan', 'off', %s),"
    " set_config('enable_hashjoin', 'off', %s),"
    " set_config('enable_mergejoin', 'off', %s),"
    " set_config('jit', 'off', %s),"
    " set_config('plan_cache_mode', 'force_generic_plan', %s)";

void pg_send_settings(struct pg_conn *conn, enum pg_scope scope)
{
    const char *local = scope == PG_SCOPE_TRANSACTION ? "true" : "false";
    uint32_t statement_ms = conn->statement_timeout_ms;
    /* Shorter than the statement's, to tell a lock from slowness. */
    uint32_t lock_ms = MIN(LOCK_MS, statement_ms / 2);
    char sql[sizeof(settings_sql) + 64];

    if (conn->pg == NULL)
        return;
    snprintf(sql, sizeof(sql), settings_sql, statement_ms, local, lock_ms,
             local, local, local, local, local, local, local, local);
    if (PQsendQueryParams(conn->pg, sql, 0, NULL, NULL, NULL, NULL, 1) == 0) {
        pg_lose(conn, NULL);
        return;
    }
    note_sent(conn, PG_SENT_FRAME, 0);
}

struct pg_args *pg_args(struct pg_conn *conn)
{
    pg_args_clear(&conn->args);
    return &conn->args;
}

static void start_exchange(struct pg_conn *conn)
{
    if (conn->is_over)
        pg_exchange_reset(conn);
}

void pg_send(struct pg_conn *conn, const char *sql)
{
    start_exchange(conn);
    if (conn->pooled && conn->pg != NULL && conn->sent_count == 0 &&
        PQtransactionStatus(conn->pg) == PQTRANS_IDLE)
        pg_send_settings(conn, PG_SCOPE_TRANSACTION);
    send_statement(conn, sql, PG_SENT_STATEMENT);
}

/* ---- the answers ---- */

struct row_sink {
    bool (*on_row)(void *arg, const PGresult *row);
    void *arg;
    bool is_full;
};

/* A broken connection is an error without an SQLSTATE, which is not an answer
 * of the server. */
static void take_error(struct pg_conn *conn, const PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *severity =
        PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    if (sqlstate == NULL || conn->is_refused)
        return;
    conn->is_refused = true;
    conn->is_fatal = severity == NULL || strcmp(severity, "ERROR") != 0;
    conn->fault = pg_fault_of(sqlstate);
    snprintf(conn->sqlstate, sizeof(conn->sqlstate), "%s", sqlstate);
    pg_one_line(message != NULL ? message : "unknown error", conn->trouble,
                sizeof(conn->trouble));
}

static void keep_result(struct pg_conn *conn, PGresult *result)
{
    GROW(conn->results, conn->result_capacity, conn->result_count + 1);
    conn->results[conn->result_count++] = result;
}

/* Takes over `result`; true when it was the answer that was hoped for. */
static bool take(struct pg_conn *conn, const struct pg_sent *item,
                 PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    bool is_good = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;

    if (is_good && item->kind == PG_SENT_STATEMENT) {
        keep_result(conn, result);
        return true;
    }
    if (status == PGRES_FATAL_ERROR)
        take_error(conn, result);
    PQclear(result);
    return is_good;
}

static bool hand_out(struct row_sink *sink, PGresult *row)
{
    bool more = sink->on_row(sink->arg, row);

    PQclear(row);
    return more;
}

/* All answers to one item; false when there will be no more for any. */
static bool collect(struct pg_conn *conn, const struct pg_sent *item,
                    struct row_sink *sink)
{
    bool is_good = false;
    PGresult *result;

    if (sink != NULL && conn->pg != NULL)
        PQsetSingleRowMode(conn->pg);
    while ((result = pg_receive(conn)) != NULL) {
        if (sink == NULL || PQresultStatus(result) != PGRES_SINGLE_TUPLE) {
            is_good = take(conn, item, result) || is_good;
        } else if (!hand_out(sink, result)) {
            sink->is_full = true;
            return false;
        }
    }
    if (is_good)
        conn->answered++;
    else if (item->kind == PG_SENT_PREPARE)
        forget_prepared(conn, item->prepared);
    return conn->pg != NULL && PQstatus(conn->pg) == CONNECTION_OK;
}

static bool take_sync(struct pg_conn *conn)
{
    PGresult *result = pg_receive(conn);
    bool is_error = PQresultStatus(result) == PGRES_FATAL_ERROR;

    conn->is_synced =
        result != NULL && PQresultStatus(result) == PGRES_PIPELINE_SYNC;
    if (result != NULL && is_error)
        take_error(conn, result);
    PQclear(result);
    return conn->is_synced;
}

/* Outside of a transaction block it is the sync that commits, which can fail
 * as a commit can: the error comes first then, its NULL, and the sync. */
static void collect_sync(struct pg_conn *conn)
{
    if (take_sync(conn) || !conn->is_refused)
        return;
    if (!take_sync(conn))
        (void)take_sync(conn);
}

static enum pg_end conclude(struct pg_conn *conn, struct err *err)
{
    if (conn->fault == PG_FAULT_STALE)
        conn->is_stale = true;
    if (conn->is_refused) {
        pg_fault_set(err, conn->fault, conn->trouble, conn->sqlstate);
        return PG_REFUSED;
    }
    if (conn->is_synced)
        return PG_DONE;
    err_set(err, ERR_STORE, "the connection to PostgreSQL was lost: %s",
            conn->trouble);
    return PG_LOST;
}

static enum pg_end run(struct pg_conn *conn, struct row_sink *sink,
                       struct err *err)
{
    bool goes_on = conn->pg != NULL;

    start_exchange(conn);
    conn->fault = PG_FAULT_STORE;
    conn->deadline_ms = clock_ms() + conn->wait_ms;
    if (goes_on && PQpipelineSync(conn->pg) == 0)
        pg_lose(conn, NULL);
    for (size_t i = 0; goes_on && i < conn->sent_count; i++) {
        bool is_last = i + 1 == conn->sent_count;

        goes_on = collect(conn, &conn->sent[i], is_last ? sink : NULL);
    }
    conn->is_over = true;
    if (goes_on)
        collect_sync(conn);
    if (!conn->is_synced)
        pg_lose(conn, NULL);
    if (sink != NULL && sink->is_full)
        return PG_DONE;
    return conclude(conn, err);
}

enum pg_end pg_run(struct pg_conn *conn, struct err *err)
{
    return run(conn, NULL, err);
}

enum pg_end pg_run_rows(struct pg_conn *conn,
                        bool (*on_row)(void *arg, const PGresult *row),
                        void *arg, struct err *err)
{
    struct row_sink sink = {on_row, arg, false};

    return run(conn, &sink, err);
}

const PGresult *pg_result(const struct pg_conn *conn, size_t n)
{
    CHECK(conn->is_over && n < conn->result_count);
    return conn->results[n];
}

enum pg_fault pg_fault(const struct pg_conn *conn)
{
    return conn->fault;
}

void pg_clear(struct pg_conn *conn)
{
    clear_results(conn);
    pg_args_clear(&conn->args);
}

/* ---- transactions ---- */

void pg_begin(struct pg_conn *conn)
{
    start_exchange(conn);
    CHECK(conn->sent_count == 0);
    pg_args_clear(&conn->args);
    send_statement(conn, "begin isolation level read committed read write",
                   PG_SENT_FRAME);
    if (conn->pooled)
        pg_send_settings(conn, PG_SCOPE_TRANSACTION);
}

/* Lost before the commit was queued: the server never saw it.  Refused before
 * the commit's turn: it was skipped.  Refused at its turn: an ERROR undid the
 * transaction, but a backend that was terminated there may have committed
 * before it looked up. */
enum pg_commit_end pg_commit(struct pg_conn *conn, struct err *err)
{
    bool was_open = conn->pg != NULL;
    bool may_stand;
    size_t place;

    start_exchange(conn);
    CHECK(!was_open || PQtransactionStatus(conn->pg) != PQTRANS_INERROR);
    pg_args_clear(&conn->args);
    send_statement(conn, "commit", PG_SENT_FRAME);
    place = conn->sent_count - (conn->sent_count > 0);
    switch (pg_run(conn, err)) {
    case PG_DONE:
        if (!conn->is_doubtful)
            return PG_COMMITTED;
        err_set(err, ERR_STORE, "the commit did not wait for its standby");
        return PG_UNCERTAIN;
    case PG_REFUSED:
        may_stand = conn->answered == place && conn->is_fatal;
        pg_rollback(conn);
        return may_stand ? PG_UNCERTAIN : PG_ABORTED;
    case PG_LOST:
        break;
    }
    if (!was_open)
        return PG_ABORTED;
    return conn->answered > place ? PG_COMMITTED : PG_UNCERTAIN;
}

/* Why the transaction failed is still known afterwards. */
void pg_rollback(struct pg_conn *conn)
{
    enum pg_fault fault = conn->fault;
    struct err ignored;

    if (conn->pg == NULL || PQtransactionStatus(conn->pg) == PQTRANS_IDLE)
        return;
    start_exchange(conn);
    pg_args_clear(&conn->args);
    send_statement(conn, "rollback", PG_SENT_FRAME);
    if (pg_run(conn, &ignored) != PG_DONE)
        pg_lose(conn, NULL);
    conn->fault = fault;
}

/* ---- scripts ---- */

enum pg_end pg_script(struct pg_conn *conn, const char *sql, struct err *err)
{
    uint32_t wait_ms = conn->wait_ms;
    PGresult *result;

    pg_exchange_reset(conn);
    conn->fault = PG_FAULT_STORE;
    conn->wait_ms = SCRIPT_MS;
    conn->deadline_ms = clock_ms() + SCRIPT_MS;
    if (conn->pg != NULL &&
        (PQexitPipelineMode(conn->pg) == 0 || PQsendQuery(conn->pg, sql) == 0))
        pg_lose(conn, NULL);
    note_sent(conn, PG_SENT_FRAME, 0);
    while ((result = pg_receive(conn)) != NULL)
        if (take(conn, &conn->sent[0], result))
            conn->answered = 1;
    conn->is_synced = conn->answered == 1;
    if (conn->pg != NULL && PQenterPipelineMode(conn->pg) == 0)
        pg_lose(conn, NULL);
    conn->wait_ms = wait_ms;
    conn->is_over = true;
    return conclude(conn, err);
}
