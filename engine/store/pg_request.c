#include "store/pg_fields.h"
#include "store/pg_store.h"

/*
 * Keys of requests that may come again: asking for them, and forgetting them.
 * They are written with the events they stand for (pg_insert.c), into the part
 * of their hour, one of 26; a key is asked for in all of them.
 */

/* ---- asking ---- */

static const char find_sql[] =
    "select r.hash, r.first_position, r.first_version, r.count"
    "  from unnest($1::text[], $2::text[], $3::text[]) with ordinality"
    "       u(token, tenant, key, place)"
    "  left join lateral"
    "       (select * from perigee.requests r"
    "         where r.key = u.key and r.token = u.token"
    "           and r.tenant = u.tenant"
    "           and r.stored_at > clock_timestamp() - interval '24 hours'"
    "         limit 1) r on true"
    " order by u.place";

void pg_send_asks(struct pg_conn *conn, const struct request_ask *asks,
                  size_t count)
{
    struct pg_args *args = pg_args(conn);

    pg_array_begin(args, PG_TEXT, count);
    for (size_t i = 0; i < count; i++)
        pg_put_str(args, asks[i].key.token);
    pg_array_end(args);
    pg_array_begin(args, PG_TEXT, count);
    for (size_t i = 0; i < count; i++)
        pg_put_str(args, asks[i].key.tenant);
    pg_array_end(args);
    pg_array_begin(args, PG_TEXT, count);
    for (size_t i = 0; i < count; i++)
        pg_put_str(args, asks[i].key.key);
    pg_array_end(args);
    pg_send(conn, find_sql);
}

static void read_mark(const PGresult *rows, int row, struct request_mark *out)
{
    struct str hash = pg_str(rows, row, 0);

    CHECK(hash.len == SHA256_SIZE);
    memcpy(out->hash, hash.ptr, SHA256_SIZE);
    out->first_position = pg_u64(rows, row, 1);
    out->first_version = pg_u64(rows, row, 2);
    out->count = pg_u32(rows, row, 3);
}

void pg_read_asks(const PGresult *rows, struct request_ask *asks, size_t count)
{
    CHECK((size_t)PQntuples(rows) == count);
    for (size_t i = 0; i < count; i++) {
        asks[i].found = !pg_is_null(rows, (int)i, 0);
        if (asks[i].found)
            read_mark(rows, (int)i, &asks[i].mark);
    }
}

/* What is found is told to the client, so it must stay. */
static bool find(struct pg_conn *conn, struct request_ask *ask, struct err *err)
{
    pg_send_asks(conn, ask, 1);
    if (pg_run(conn, err) != PG_DONE)
        return false;
    pg_read_asks(pg_result(conn, 0), ask, 1);
    if (!ask->found)
        return true;
    pg_begin(conn);
    pg_send_proof(conn);
    return pg_commit(conn, err) == PG_COMMITTED;
}

bool pg_request_find(struct store *store, struct request_ask *ask,
                     struct arena *arena, struct err *err)
{
    struct pg_conn *conn = pg_borrow(store, "request", err);
    bool ok;

    (void)arena; /* what is found has no texts */
    if (conn == NULL)
        return false;
    ok = find(conn, ask, err);
    pg_give_back(store, conn);
    return ok;
}

/* ---- forgetting ---- */

/*
 * Empties one part that has rows and none of a day or less.  A part that is
 * in use has a young row among its first.  A lock that is not free at once is
 * not waited for, since others would queue behind us; the rows are looked at
 * again under it.  One part a call: the lock is held until the end.
 */
static const char forget_sql[] =
    "do $$"
    " declare"
    "   part regclass;"
    "   is_old boolean;"
    "   probe constant text := 'select exists (select from %1$s)"
    " and not exists (select from %1$s where stored_at > clock_timestamp()"
    " - interval ''24 hours'')';"
    " begin"
    "   for part in select inhrelid::regclass from pg_inherits"
    "     where inhparent = 'perigee.requests'::regclass loop"
    "     execute format(probe, part) into is_old;"
    "     continue when not is_old;"
    "     begin"
    "       execute format('lock table %s in access exclusive mode nowait',"
    "         part);"
    "       execute format(probe, part) into is_old;"
    "       if is_old then execute format('truncate %s', part); end if;"
    "       return;"
    "     exception when lock_not_available then null;"
    "     end;"
    "   end loop;"
    " end $$";

bool pg_request_forget(struct store *store, struct err *err)
{
    struct pg_conn *conn = pg_borrow(store, "forget requests", err);
    bool ok;

    if (conn == NULL)
        return false;
    pg_send(conn, forget_sql);
    ok = pg_run(conn, err) == PG_DONE;
    pg_give_back(store, conn);
    return ok;
}
