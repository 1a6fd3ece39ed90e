#include "store/lite_store.h"

#include "base/clock.h"

/*
 * A batch: fence, rows, commit, in the one writer's turn.
 *
 *   fence   moves the checkpoint, or finds that it is not ours to move
 *   rows    one prepared statement an operation and set of columns; column i
 *           of the table is parameter i + 1 in all of them
 *   commit  or, at the first failure, nothing
 *
 * An add is read, summed exactly by base/value and written back: between the
 * two nobody else can write.
 */

/* ---- the fence ---- */

static bool move_checkpoint(struct lite_conn *conn,
                            const struct batch_commit *batch, struct err *err)
{
    AUTO_STMT stmt = lite_prepare(
        conn,
        "update perigee_checkpoints"
        "   set position = ?7, events_processed = events_processed + ?9,"
        "       expires_at = ?10, updated_at = ?11"
        " where subscription = ?1 and generation = ?2 and partition = ?3"
        "   and partitions = ?4 and epoch = ?5 and position = ?6"
        "   and exists (select 1 from perigee_events e"
        "                where e.position = ?7 and e.event_id = ?8)",
        err);
    int64_t now_us = clock_wall_us();

    if (stmt == NULL)
        return false;
    lite_bind_slice(stmt, 1, &batch->slice);
    lite_bind_u64(stmt, 5, batch->epoch);
    lite_bind_u64(stmt, 6, batch->from);
    lite_bind_u64(stmt, 7, batch->to);
    lite_bind_uuid(stmt, 8, &batch->to_event_id);
    lite_bind_u64(stmt, 9, batch->events_processed);
    lite_bind_i64(stmt, 10, now_us + (int64_t)batch->ttl_ms * 1000);
    lite_bind_i64(stmt, 11, now_us);
    return lite_run(conn, stmt, err);
}

/* ---- statements of one table ---- */

struct flush {
    struct lite_conn *conn;
    const struct table_def *table;
    uint32_t generation;
    struct arena arena; /* sums of one add */
    /* The last statement of each operation: mostly the next row's too. */
    struct {
        sqlite3_stmt *stmt;
        uint64_t columns;
    } ready[ROW_DELETE + 1];
};

static uint64_t key_bit(const struct table_def *table)
{
    return (uint64_t)1 << table->key;
}

static void add_key_match(struct buf *sql, const struct table_def *table)
{
    buf_text(sql, " where ");
    lite_add_columns(sql, table, key_bit(table));
    buf_printf(sql, " = ?%zu", table->key + 1);
}

/* "a" = ?2, "b" = ?3 or, with `excluded`, "a" = excluded."a", … */
static void add_assignments(struct buf *sql, const struct table_def *table,
                            uint64_t columns, bool excluded)
{
    const char *comma = "";

    for (size_t i = 0; i < table->column_count; i++) {
        struct str name = table->columns[i].name;

        if ((columns >> i & 1) == 0)
            continue;
        buf_printf(sql, "%s\"%.*s\" = ", comma, STR_ARG(name));
        if (excluded)
            buf_printf(sql, "excluded.\"%.*s\"", STR_ARG(name));
        else
            buf_printf(sql, "?%zu", i + 1);
        comma = ", ";
    }
}

static void add_insert(struct buf *sql, const struct flush *flush)
{
    buf_text(sql, "insert into ");
    lite_add_table(sql, flush->table, flush->generation);
    buf_text(sql, " (");
    lite_add_columns(sql, flush->table, LITE_ALL_COLUMNS);
    for (size_t i = 0; i < flush->table->column_count; i++)
        buf_printf(sql, "%s?%zu", i == 0 ? ") values (" : ", ", i + 1);
    buf_char(sql, ')');
}

static void add_put(struct buf *sql, const struct flush *flush)
{
    const struct table_def *table = flush->table;

    add_insert(sql, flush);
    buf_text(sql, " on conflict (");
    lite_add_columns(sql, table, key_bit(table));
    if (table->column_count == 1) {
        buf_text(sql, ") do nothing");
        return;
    }
    buf_text(sql, ") do update set ");
    add_assignments(sql, table, LITE_ALL_COLUMNS & ~key_bit(table), true);
}

static void add_patch(struct buf *sql, const struct flush *flush,
                      uint64_t columns)
{
    buf_text(sql, "update ");
    lite_add_table(sql, flush->table, flush->generation);
    buf_text(sql, " set ");
    add_assignments(sql, flush->table, columns, false);
    add_key_match(sql, flush->table);
}

/* What stands in the columns that are added to. */
static void add_select(struct buf *sql, const struct flush *flush,
                       uint64_t columns)
{
    buf_text(sql, "select ");
    lite_add_columns(sql, flush->table, columns | key_bit(flush->table));
    buf_text(sql, " from ");
    lite_add_table(sql, flush->table, flush->generation);
    add_key_match(sql, flush->table);
}

static void add_delete(struct buf *sql, const struct flush *flush)
{
    buf_text(sql, "delete from ");
    lite_add_table(sql, flush->table, flush->generation);
    add_key_match(sql, flush->table);
}

static void add_statement(struct buf *sql, const struct flush *flush,
                          enum row_op op, uint64_t columns)
{
    switch (op) {
    case ROW_PUT:
        add_put(sql, flush);
        return;
    case ROW_INSERT:
        add_insert(sql, flush);
        return;
    case ROW_PATCH:
        add_patch(sql, flush, columns);
        return;
    case ROW_ADD:
        add_select(sql, flush, columns);
        return;
    case ROW_DELETE:
        add_delete(sql, flush);
        return;
    }
}

static sqlite3_stmt *statement(struct flush *flush, enum row_op op,
                               uint64_t columns, struct err *err)
{
    struct buf sql = {0};

    if (flush->ready[op].stmt != NULL && flush->ready[op].columns == columns)
        return flush->ready[op].stmt;
    add_statement(&sql, flush, op, columns);
    flush->ready[op].stmt = lite_prepare(flush->conn, sql.ptr, err);
    flush->ready[op].columns = columns;
    buf_done(&sql);
    return flush->ready[op].stmt;
}

/* ---- rows ---- */

static bool run_with(struct flush *flush, enum row_op op, uint64_t columns,
                     const struct value *values, struct err *err)
{
    const struct table_def *table = flush->table;
    uint64_t bound = columns | key_bit(table);
    sqlite3_stmt *stmt = statement(flush, op, columns, err);

    if (stmt == NULL)
        return false;
    for (size_t i = 0; i < table->column_count; i++)
        if (bound >> i & 1)
            lite_bind_value(stmt, (int)i + 1, &values[i]);
    return lite_run(flush->conn, stmt, err);
}

/* Null where a whole row is written and the column is not given. */
static bool write_row(struct flush *flush, enum row_op op,
                      const struct row_change *change, struct err *err)
{
    uint64_t given = change->columns | key_bit(flush->table);
    struct value values[TABLE_MAX_COLUMNS];

    for (size_t i = 0; i < flush->table->column_count; i++)
        values[i] = given >> i & 1 ? change->values[i]
                                   : (struct value){.kind = VALUE_NULL};
    return run_with(flush, op, LITE_ALL_COLUMNS, values, err);
}

static bool patch_row(struct flush *flush, uint64_t columns,
                      const struct value *values, struct err *err)
{
    columns &= ~key_bit(flush->table);
    return columns == 0 || run_with(flush, ROW_PATCH, columns, values, err);
}

/* Reads what stands there into the given columns of `sums`. */
static enum lite_row read_sums(struct flush *flush,
                               const struct row_change *change,
                               struct value *sums, struct err *err)
{
    const struct table_def *table = flush->table;
    uint64_t columns = change->columns | key_bit(table);
    AUTO_STMT stmt = statement(flush, ROW_ADD, columns, err);
    enum lite_row row;
    int at = 0;

    if (stmt == NULL)
        return LITE_FAILED;
    lite_bind_value(stmt, (int)table->key + 1, &change->values[table->key]);
    row = lite_step(flush->conn, stmt, err);
    for (size_t i = 0; row == LITE_ROW && i < table->column_count; i++)
        if (columns >> i & 1 &&
            !lite_column_value(stmt, at++, &table->columns[i], &flush->arena,
                               &sums[i], err))
            row = LITE_FAILED;
    return row;
}

static bool add_amounts(struct flush *flush, const struct row_change *change,
                        struct value *sums, struct err *err)
{
    uint64_t columns = change->columns & ~key_bit(flush->table);

    for (size_t i = 0; i < flush->table->column_count; i++) {
        enum value_kind kind = flush->table->columns[i].kind;

        if ((columns >> i & 1) == 0)
            continue;
        if (!value_add(&flush->arena, kind, &sums[i], &change->values[i],
                       err)) {
            err->code = ERR_DATA;
            return false;
        }
    }
    return true;
}

static bool add_row(struct flush *flush, const struct row_change *change,
                    struct err *err)
{
    const struct table_def *table = flush->table;
    struct value sums[TABLE_MAX_COLUMNS];
    enum lite_row found;

    for (size_t i = 0; i < table->column_count; i++)
        sums[i] = value_zero(&table->columns[i]);
    sums[table->key] = change->values[table->key];
    arena_reset(&flush->arena);
    found = read_sums(flush, change, sums, err);
    if (found == LITE_FAILED || !add_amounts(flush, change, sums, err))
        return false;
    return found == LITE_ROW
               ? patch_row(flush, change->columns, sums, err)
               : run_with(flush, ROW_INSERT, LITE_ALL_COLUMNS, sums, err);
}

static bool apply_row(struct flush *flush, const struct row_change *change,
                      struct err *err)
{
    switch (change->op) {
    case ROW_PUT:
    case ROW_INSERT:
        return write_row(flush, change->op, change, err);
    case ROW_PATCH:
        return patch_row(flush, change->columns, change->values, err);
    case ROW_ADD:
        return add_row(flush, change, err);
    case ROW_DELETE:
        return run_with(flush, ROW_DELETE, 0, change->values, err);
    }
    return false;
}

static bool apply_table(struct lite_conn *conn, uint32_t generation,
                        const struct table_change *change, struct err *err)
{
    struct flush flush = {
        .conn = conn, .table = change->table, .generation = generation};
    bool good = true;

    for (size_t i = 0; good && i < change->count; i++)
        good = apply_row(&flush, &change->rows[i], err);
    arena_done(&flush.arena);
    return good || err_wrap(err, "table %.*s", STR_ARG(change->table->name));
}

/* ---- the commit ---- */

/* The kinds of failures, as base/err and lite_fail sort them. */
static enum commit_end end_of_failure(const struct err *err)
{
    if (err->code == ERR_DATA)
        return COMMIT_REFUSED;
    return err->code == ERR_CONFIG ? COMMIT_BROKEN : COMMIT_ROLLED_BACK;
}

static enum commit_end apply(struct lite_conn *conn,
                             const struct batch_commit *batch, struct err *err)
{
    if (!move_checkpoint(conn, batch, err))
        return end_of_failure(err);
    if (sqlite3_changes(conn->db) == 0) {
        err_set(err, ERR_CONFLICT, "the batch of %.*s was fenced off",
                STR_ARG(batch->slice.subscription));
        return COMMIT_FENCED;
    }
    for (size_t i = 0; i < batch->table_count; i++)
        if (!apply_table(conn, batch->slice.generation, &batch->tables[i], err))
            return end_of_failure(err);
    return COMMIT_DONE;
}

enum commit_end lite_commit_batch(struct store *store,
                                  const struct batch_commit *batch,
                                  struct err *err)
{
    struct lite_conn *conn = lite_write_begin(store, err);
    enum commit_end end;

    if (conn == NULL)
        return COMMIT_ROLLED_BACK;
    end = apply(conn, batch, err);
    if (end != COMMIT_DONE) {
        lite_write_drop(store, conn);
        return end;
    }
    return lite_write_end(store, conn, LITE_KEEP, err) ? COMMIT_DONE
                                                       : COMMIT_ROLLED_BACK;
}

/* ---- settling ---- */

static enum commit_end judge(sqlite3_stmt *stmt,
                             const struct batch_commit *batch)
{
    uint64_t epoch = lite_column_u64(stmt, 0);
    uint64_t position = lite_column_u64(stmt, 1);
    bool same_event = uuid_eq(lite_column_uuid(stmt, 2), batch->to_event_id);

    if (epoch != batch->epoch || !same_event)
        return COMMIT_FENCED;
    if (position == batch->to)
        return COMMIT_DONE;
    return position == batch->from ? COMMIT_ROLLED_BACK : COMMIT_FENCED;
}

static enum commit_end read_end(struct lite_conn *conn, sqlite3_stmt *stmt,
                                const struct batch_commit *batch,
                                struct err *err)
{
    enum lite_row row = lite_step(conn, stmt, err);
    enum commit_end end = row == LITE_ROW ? judge(stmt, batch) : COMMIT_FENCED;

    if (row == LITE_FAILED)
        return COMMIT_UNCERTAIN;
    if (end != COMMIT_DONE)
        err_set(err, ERR_STORE, "the commit whose answer was lost %s",
                end == COMMIT_FENCED ? "was fenced off" : "did not happen");
    return end;
}

static enum commit_end settle(struct lite_conn *conn,
                              const struct batch_commit *batch, struct err *err)
{
    AUTO_STMT stmt =
        lite_prepare(conn,
                     "select epoch, position,"
                     "       (select event_id from perigee_events e"
                     "         where e.position = ?5)"
                     "  from perigee_checkpoints"
                     " where subscription = ?1 and generation = ?2"
                     "   and partition = ?3 and partitions = ?4",
                     err);

    if (stmt == NULL)
        return COMMIT_UNCERTAIN;
    lite_bind_slice(stmt, 1, &batch->slice);
    lite_bind_u64(stmt, 5, batch->to);
    return read_end(conn, stmt, batch, err);
}

/* In the writer's turn, behind whatever was under way. */
enum commit_end lite_commit_settle(struct store *store,
                                   const struct batch_commit *batch,
                                   struct err *err)
{
    struct lite_conn *conn = lite_write_begin(store, err);
    enum commit_end end;

    if (conn == NULL)
        return COMMIT_UNCERTAIN;
    end = settle(conn, batch, err);
    lite_write_drop(store, conn);
    return end;
}
