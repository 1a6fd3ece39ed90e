#include "store/pg_conn.h"

#include "base/clock.h"
#include "base/mem.h"
#include "store/pg_conn_in.h"
#include "store/pg_exchange.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

/*
 * Life: pg_conn_open connects, turns pipeline mode on and, unless a pooler is
 * between, sets the session up; exchanges follow; pg_lose closes the socket as
 * soon as an answer fails to come, and leaves a shell that knows why, so that
 * whoever holds the connection may go on asking it; pg_conn_close frees it.
 */

/* Beside the server's own timeout, so that its answer wins the race. */
#define GRACE_MS 2000
#define PING_MS  2000

void pg_lose(struct pg_conn *conn, const char *why)
{
    if (conn->pg == NULL)
        return;
    if (why == NULL && !conn->is_refused)
        why = PQerrorMessage(conn->pg);
    if (why != NULL)
        pg_one_line(why, conn->trouble, sizeof(conn->trouble));
    PQfinish(conn->pg);
    conn->pg = NULL;
}

enum wait_end { WAIT_INPUT, WAIT_GONE, WAIT_LATE };

/* Waits until something was read.  Input is taken while there is still output
 * to send: the server would stop reading ours when nobody reads its answers. */
static enum wait_end wait_input(struct pg_conn *conn)
{
    uint64_t now = clock_ms();
    int unsent = PQflush(conn->pg);
    struct pollfd fd = {.fd = PQsocket(conn->pg), .events = POLLIN};
    int ready;

    if (unsent < 0 || fd.fd < 0)
        return WAIT_GONE;
    if (now >= conn->deadline_ms)
        return WAIT_LATE;
    if (unsent > 0)
        fd.events |= POLLOUT;
    ready = poll(&fd, 1, (int)MIN(conn->deadline_ms - now, INT32_MAX));
    if (ready < 0)
        return errno == EINTR ? WAIT_INPUT : WAIT_GONE;
    if ((fd.revents & ~POLLOUT) != 0 && PQconsumeInput(conn->pg) == 0)
        return WAIT_GONE;
    return WAIT_INPUT;
}

/* When the server is gone, libpq still gives what it had said before, and then
 * an error of its own; neither waits. */
PGresult *pg_receive(struct pg_conn *conn)
{
    char text[80];

    if (conn->pg == NULL)
        return NULL;
    while (PQisBusy(conn->pg)) {
        enum wait_end end = wait_input(conn);

        if (end == WAIT_GONE)
            break;
        if (end == WAIT_LATE) {
            snprintf(text, sizeof(text),
                     "no answer from the database within %" PRIu32 " ms",
                     conn->wait_ms);
            pg_lose(conn, text);
            return NULL;
        }
    }
    conn->deadline_ms = clock_ms() + conn->wait_ms;
    return PQgetResult(conn->pg);
}

/* What a session is set to, here and (through a pooler) in pg_exchange.c. */
static bool set_up(struct pg_conn *conn, struct err *err)
{
    PQsetnonblocking(conn->pg, 1);
    if (PQenterPipelineMode(conn->pg) == 0)
        return err_set(err, ERR_STORE, "no pipeline mode: %s",
                       PQerrorMessage(conn->pg));
    if (conn->pooled)
        return true;
    pg_send_settings(conn, PG_SCOPE_SESSION);
    return pg_run(conn, err) == PG_DONE;
}

/* Notices are for people at a terminal, but for the last words of a server
 * that ends an idle connection, and for those of a commit that was told to wait
 * for its standby no longer: a warning, and success behind it.  Who says it has
 * the same name in every language. */
static void on_notice(void *arg, const PGresult *notice)
{
    struct pg_conn *conn = arg;
    const char *severity =
        PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *source = PQresultErrorField(notice, PG_DIAG_SOURCE_FUNCTION);

    if (severity != NULL && strcmp(severity, "FATAL") == 0)
        conn->is_stale = true;
    if (source != NULL && strcmp(source, "SyncRepWaitForLSN") == 0)
        conn->is_doubtful = true;
}

struct pg_conn *pg_conn_open(const struct pg_target *target, struct err *err)
{
    struct pg_conn *conn = NEW(struct pg_conn);
    char text[256];

    conn->pooled = target->pooled;
    conn->opened_ms = clock_ms();
    conn->statement_timeout_ms = target->statement_timeout_ms;
    conn->wait_ms = target->statement_timeout_ms + GRACE_MS;
    conn->pg = PQconnectdbParams(target->keywords, target->values, 0);
    if (conn->pg == NULL || PQstatus(conn->pg) != CONNECTION_OK) {
        pg_one_line(PQerrorMessage(conn->pg), text, sizeof(text));
        err_set(err, ERR_STORE, "%s", text);
        goto fail;
    }
    PQsetNoticeReceiver(conn->pg, on_notice, conn);
    if (set_up(conn, err))
        return conn;
fail:
    pg_conn_close(conn);
    return NULL;
}

void pg_conn_close(struct pg_conn *conn)
{
    if (conn == NULL)
        return;
    pg_exchange_reset(conn);
    pg_lose(conn, "closed");
    pg_args_done(&conn->args);
    for (size_t i = 0; i < conn->prepared_count; i++)
        mem_free(conn->prepared[i].sql);
    mem_free(conn->sent);
    mem_free(conn->results);
    mem_free(conn);
}

uint64_t pg_conn_age_ms(const struct pg_conn *conn)
{
    return clock_ms() - conn->opened_ms;
}

bool pg_conn_is_open(const struct pg_conn *conn)
{
    return conn->pg != NULL && !conn->is_stale;
}

bool pg_conn_is_alive(struct pg_conn *conn)
{
    if (!pg_conn_is_open(conn))
        return false;
    if (PQconsumeInput(conn->pg) == 0)
        return false;
    (void)PQisBusy(conn->pg); /* reads what has come */
    return !conn->is_stale && PQstatus(conn->pg) == CONNECTION_OK;
}

bool pg_conn_ping(struct pg_conn *conn)
{
    uint32_t wait_ms = conn->wait_ms;
    struct err ignored;
    bool answered;

    conn->wait_ms = PING_MS;
    pg_send(conn, "select 1");
    answered = pg_run(conn, &ignored) == PG_DONE;
    conn->wait_ms = wait_ms;
    return answered;
}

int pg_conn_socket(const struct pg_conn *conn)
{
    return conn->pg != NULL ? PQsocket(conn->pg) : -1;
}

bool pg_conn_notices(struct pg_conn *conn, uint64_t *number_out)
{
    bool any = false;
    uint64_t largest = 0;
    PGnotify *notice;

    if (conn->pg == NULL)
        return false;
    if (PQconsumeInput(conn->pg) == 0) {
        pg_lose(conn, NULL);
        return false;
    }
    while ((notice = PQnotifies(conn->pg)) != NULL) {
        uint64_t number = 0;

        if (str_to_u64(str_of(notice->extra), &number))
            largest = MAX(largest, number);
        any = true;
        PQfreemem(notice);
    }
    *number_out = any ? largest : *number_out;
    return any;
}
