#include "store/pg_fields.h"
#include "store/pg_store.h"

#include "base/clock.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

/*
 * Installing a projection is one transaction: the migration lock keeps others
 * out, the registry says whether it is there, and then tables, indexes, views,
 * registry rows and checkpoints are made together.  A table lock that is not
 * free within 200 ms ends the transaction, so that no reader queues behind us,
 * and it is tried again.
 */

#define TABLE_LOCK   "200ms"
#define INSTALL_MS   15000
#define TRY_AGAIN_MS 150

/* ---- finding ---- */

static const char find_sql[] =
    "select g.generation, g.partitions, g.version, g.script_hash, g.definition"
    "  from perigee.projections p join perigee.generations g"
    "    on g.projection = p.name and g.generation = p.generation"
    " where p.name = $1::text";

/* False with `err` untouched when nothing is installed. */
static bool read_found(const PGresult *rows, struct str name,
                       struct arena *arena, struct projection_def *out)
{
    if (PQntuples(rows) == 0)
        return false;
    *out = (struct projection_def){
        .name = arena_str(arena, name),
        .generation = pg_u32(rows, 0, 0),
        .partitions = pg_u32(rows, 0, 1),
        .version = pg_u32(rows, 0, 2),
        .script_hash = arena_str(arena, pg_str(rows, 0, 3)),
        .definition = arena_str(arena, pg_str(rows, 0, 4)),
    };
    return true;
}

bool pg_projection_find(struct store *store, struct str name,
                        struct arena *arena, struct projection_def *out,
                        struct err *err)
{
    struct pg_conn *conn = pg_borrow(store, "projection find", err);
    bool found = false;

    if (conn == NULL)
        return false;
    pg_put_str(pg_args(conn), name);
    pg_send(conn, find_sql);
    if (pg_run(conn, err) == PG_DONE) {
        found = read_found(pg_result(conn, 0), name, arena, out);
        if (!found)
            err_set(err, ERR_NOT_FOUND, "projection '%.*s' is not installed",
                    STR_ARG(name));
    }
    pg_give_back(store, conn);
    return found;
}

/* ---- what is there already ---- */

struct install {
    struct pg_conn *conn;
    const char *schema;
    const struct projection_def *def;
    uint64_t position;
};

static bool lock_install(struct install *in, struct err *err)
{
    pg_begin(in->conn);
    pg_put_i64(pg_args(in->conn), PG_LOCK_MIGRATION);
    pg_send(in->conn, "select pg_advisory_xact_lock($1::bigint)");
    pg_send(in->conn,
            "select set_config('lock_timeout', '" TABLE_LOCK "', true)");
    return pg_run(in->conn, err) == PG_DONE;
}

enum found { FOUND_FAILED = -1, FOUND_NOTHING, FOUND_SAME };

/* What is installed is either what is wanted, or in the way. */
static enum found compare(const struct install *in,
                          const struct projection_def *there, struct err *err)
{
    const struct projection_def *def = in->def;
    const char *what = NULL;

    if (there->generation != def->generation)
        what = "in another generation";
    else if (there->partitions != def->partitions)
        what = "with another number of partitions";
    else if (!str_eq(there->definition, def->definition))
        what = "with another definition of its tables";
    if (what == NULL)
        return FOUND_SAME;
    err_set(err, ERR_CONFLICT, "projection '%.*s' is installed %s",
            STR_ARG(def->name), what);
    return FOUND_FAILED;
}

static enum found find_installed(struct install *in, struct err *err)
{
    struct projection_def there;
    struct arena arena = {0};
    enum found found = FOUND_NOTHING;

    pg_put_str(pg_args(in->conn), in->def->name);
    pg_send(in->conn, find_sql);
    if (pg_run(in->conn, err) != PG_DONE)
        return FOUND_FAILED;
    if (read_found(pg_result(in->conn, 0), in->def->name, &arena, &there))
        found = compare(in, &there, err);
    arena_done(&arena);
    return found;
}

/* A name belongs to the projection that took it first; what the registry does
 * not know but the catalogue has is not ours. */
static const char taken_sql[] =
    "select (select projection from perigee.read_tables"
    "         where name = $1::text),"
    "       exists (select 1 from pg_class k join pg_namespace n"
    "                  on n.oid = k.relnamespace"
    "                where n.nspname = $2::text"
    "                  and k.relname in ($1::text, $3::text))";

static bool check_table(struct install *in, const struct table_def *table,
                        struct err *err)
{
    char real[PG_NAME_SIZE];
    struct pg_args *args = pg_args(in->conn);
    const PGresult *rows;

    pg_table_name(real, table->name, in->def->generation);
    pg_put_str(args, table->name);
    pg_put_str(args, str_of(in->schema));
    pg_put_str(args, str_of(real));
    pg_send(in->conn, taken_sql);
    if (pg_run(in->conn, err) != PG_DONE)
        return false;
    rows = pg_result(in->conn, 0);
    if (!pg_is_null(rows, 0, 0))
        return err_set(err, ERR_CONFLICT,
                       "table '%.*s' belongs to projection '%.*s'",
                       STR_ARG(table->name), STR_ARG(pg_str(rows, 0, 0)));
    if (pg_bool(rows, 0, 1))
        return err_set(err, ERR_CONFLICT,
                       "schema '%s' has a relation '%.*s' or '%s' that is not "
                       "perigee's",
                       in->schema, STR_ARG(table->name), real);
    return true;
}

/* ---- making ---- */

static void add_columns(struct buf *sql, const struct table_def *table)
{
    for (size_t i = 0; i < table->column_count; i++) {
        const struct column_def *column = &table->columns[i];

        pg_quote(sql, column->name);
        buf_printf(sql, " %s%s, ", value_pg_type(column->kind),
                   column->nullable ? "" : " not null");
    }
    buf_text(sql, "primary key (");
    pg_quote(sql, table->columns[table->key].name);
    buf_text(sql, ")");
}

static void add_table(struct buf *sql, const struct install *in,
                      const struct table_def *table)
{
    buf_text(sql, "create table ");
    pg_quote_table(sql, in->schema, table->name, in->def->generation);
    buf_text(sql, " (");
    add_columns(sql, table);
    /* Room on each page keeps updates of rows on it. */
    buf_text(sql, ") with (fillfactor = 70);");
}

/* Nulls first, as rows are listed; the key behind, as they are paged. */
static void add_index(struct buf *sql, const struct install *in,
                      const struct table_def *table, size_t n)
{
    const struct index_def *index = &table->indexes[n];
    bool has_key = false;
    char real[PG_NAME_SIZE];
    struct buf name = {0};

    pg_table_name(real, table->name, in->def->generation);
    buf_printf(&name, "%s_%zu", real, n + 1);
    buf_text(sql, "create index ");
    pg_quote(sql, buf_as_str(&name));
    buf_done(&name);
    buf_text(sql, " on ");
    pg_quote_table(sql, in->schema, table->name, in->def->generation);
    for (size_t i = 0; i < index->count; i++) {
        buf_text(sql, i == 0 ? " (" : ", ");
        pg_quote(sql, table->columns[index->columns[i]].name);
        buf_text(sql, " nulls first");
        has_key |= index->columns[i] == table->key;
    }
    if (!has_key) {
        buf_text(sql, ", ");
        pg_quote(sql, table->columns[table->key].name);
    }
    buf_text(sql, ");");
}

static void add_view(struct buf *sql, const struct install *in,
                     const struct table_def *table)
{
    buf_text(sql, "create view ");
    pg_quote_table(sql, in->schema, table->name, 0);
    buf_text(sql, " as select ");
    pg_quote_columns(sql, table, NULL);
    buf_text(sql, " from ");
    pg_quote_table(sql, in->schema, table->name, in->def->generation);
    buf_text(sql, ";");
}

static bool make_tables(struct install *in, struct err *err)
{
    struct buf sql = {0};
    bool ok;

    for (size_t i = 0; i < in->def->table_count; i++) {
        const struct table_def *table = &in->def->tables[i];

        add_table(&sql, in, table);
        for (size_t n = 0; n < table->index_count; n++)
            add_index(&sql, in, table, n);
        add_view(&sql, in, table);
    }
    ok = sql.len == 0 || pg_script(in->conn, sql.ptr, err) == PG_DONE;
    buf_done(&sql);
    return ok;
}

static bool make_schema(struct install *in, struct err *err)
{
    struct buf sql = {0};
    bool ok;

    pg_put_str(pg_args(in->conn), str_of(in->schema));
    pg_send(in->conn, "select 1 from pg_namespace where nspname = $1::text");
    if (pg_run(in->conn, err) != PG_DONE)
        return false;
    if (PQntuples(pg_result(in->conn, 0)) > 0)
        return true;
    buf_text(&sql, "create schema ");
    pg_quote(&sql, str_of(in->schema));
    ok = pg_script(in->conn, sql.ptr, err) == PG_DONE;
    buf_done(&sql);
    return ok;
}

/* ---- the registry ---- */

static void send_projection(struct install *in)
{
    const struct projection_def *def = in->def;
    struct pg_args *args = pg_args(in->conn);

    pg_put_str(args, def->name);
    pg_put_u32(args, def->generation);
    pg_send(in->conn, "insert into perigee.projections (name, generation)"
                      " values ($1::text, $2::integer)");
    args = pg_args(in->conn);
    pg_put_str(args, def->name);
    pg_put_u32(args, def->generation);
    pg_put_u32(args, def->partitions);
    pg_put_u32(args, def->version);
    pg_put_str(args, def->script_hash);
    pg_put_str(args, def->definition);
    pg_send(in->conn,
            "insert into perigee.generations (projection, generation,"
            "    partitions, version, script_hash, definition)"
            " values ($1::text, $2::integer, $3::integer, $4::integer,"
            "    $5::text, $6::text)");
}

static void send_table(struct install *in, const struct table_def *table)
{
    struct pg_args *args = pg_args(in->conn);

    pg_put_str(args, table->name);
    pg_put_str(args, in->def->name);
    pg_send(in->conn, "insert into perigee.read_tables (name, projection)"
                      " values ($1::text, $2::text)");
}

static void send_checkpoints(struct install *in)
{
    const struct projection_def *def = in->def;
    struct pg_args *args = pg_args(in->conn);

    pg_put_str(args, def->name);
    pg_put_u32(args, def->generation);
    pg_put_u32(args, def->partitions);
    pg_put_u64(args, in->position);
    pg_send(in->conn,
            "insert into perigee.checkpoints (subscription, generation,"
            "    partition, partitions, position)"
            " select $1::text, $2::integer, n, $3::integer, $4::bigint"
            "   from generate_series(0, $3::integer - 1) n");
}

static bool make(struct install *in, struct err *err)
{
    for (size_t i = 0; i < in->def->table_count; i++)
        if (!check_table(in, &in->def->tables[i], err))
            return false;
    if (!make_schema(in, err) || !make_tables(in, err))
        return false;
    send_projection(in);
    for (size_t i = 0; i < in->def->table_count; i++)
        send_table(in, &in->def->tables[i]);
    send_checkpoints(in);
    return pg_run(in->conn, err) == PG_DONE;
}

static bool install_once(struct install *in, struct err *err)
{
    if (!lock_install(in, err))
        return false;
    switch (find_installed(in, err)) {
    case FOUND_FAILED:
        return false;
    case FOUND_SAME:
        break;
    case FOUND_NOTHING:
        if (!make(in, err))
            return false;
        break;
    }
    /* Whether a lost commit counts does not matter: the caller does it again,
     * and finds it done or not. */
    return pg_commit(in->conn, err) == PG_COMMITTED;
}

bool pg_projection_install(struct store *store,
                           const struct projection_def *def, uint64_t position,
                           struct err *err)
{
    uint64_t deadline_ms = clock_ms() + INSTALL_MS;
    struct install in = {.schema = pg_store_of(store)->read_schema,
                         .def = def,
                         .position = position};
    bool ok;

    in.conn = pg_borrow(store, "install", err);
    if (in.conn == NULL)
        return false;
    while (!(ok = install_once(&in, err))) {
        pg_rollback(in.conn);
        if (pg_fault(in.conn) != PG_FAULT_LOCKED || clock_ms() > deadline_ms)
            break;
        poll(NULL, 0,
             TRY_AGAIN_MS); /* somebody holds a table: out of the way */
    }
    pg_give_back(store, in.conn);
    return ok || err_wrap(err, "install projection '%.*s'", STR_ARG(def->name));
}

/* ---- noting ---- */

static const char note_sql[] =
    "update perigee.generations"
    "   set version = $3::integer, script_hash = $4::text"
    " where projection = $1::text and generation = $2::integer"
    " returning 1";

bool pg_projection_note(struct store *store, const struct projection_def *def,
                        struct err *err)
{
    struct pg_conn *conn = pg_borrow(store, "projection note", err);
    struct pg_args *args;
    bool ok;

    if (conn == NULL)
        return false;
    args = pg_args(conn);
    pg_put_str(args, def->name);
    pg_put_u32(args, def->generation);
    pg_put_u32(args, def->version);
    pg_put_str(args, def->script_hash);
    pg_send(conn, note_sql);
    ok = pg_run(conn, err) == PG_DONE;
    if (ok && PQntuples(pg_result(conn, 0)) == 0)
        ok = err_set(err, ERR_NOT_FOUND, "projection '%.*s' is not installed",
                     STR_ARG(def->name));
    pg_give_back(store, conn);
    return ok;
}
