#include "store/lite_store.h"

#include "base/clock.h"

/*
 * A projection's tables, and the registry of what is installed.
 *
 *   perigee_projections   name, live generation
 *   perigee_generations   layout, script and definition of each generation
 *   perigee_read_tables   which projection a public name belongs to
 *   orders__1             a generation's rows
 *   orders                the public view over the live generation
 *
 * All of it is made in one write transaction, which is the migration lock
 * too.  Readers are not stopped by DDL: they go on in their snapshots.
 */

/* ---- what is installed ---- */

static void read_def(sqlite3_stmt *stmt, struct arena *arena,
                     struct projection_def *out)
{
    *out = (struct projection_def){
        .name = arena_str(arena, lite_column_str(stmt, 0)),
        .generation = (uint32_t)lite_column_u64(stmt, 1),
        .partitions = (uint32_t)lite_column_u64(stmt, 2),
        .version = (uint32_t)lite_column_u64(stmt, 3),
        .script_hash = arena_str(arena, lite_column_str(stmt, 4)),
        .definition = arena_str(arena, lite_column_str(stmt, 5)),
    };
}

/* The name stays STR_NONE when nothing is installed under it. */
static bool select_def(struct lite_conn *conn, struct str name,
                       struct arena *arena, struct projection_def *out,
                       struct err *err)
{
    AUTO_STMT stmt =
        lite_prepare(conn,
                     "select p.name, p.generation, g.partitions, g.version,"
                     "       g.script_hash, g.definition"
                     "  from perigee_projections p"
                     "  join perigee_generations g"
                     "    on g.projection = p.name"
                     "   and g.generation = p.generation"
                     " where p.name = ?1",
                     err);
    enum lite_row row;

    *out = (struct projection_def){0};
    if (stmt == NULL)
        return false;
    lite_bind_str(stmt, 1, name);
    row = lite_step(conn, stmt, err);
    if (row == LITE_ROW)
        read_def(stmt, arena, out);
    return row != LITE_FAILED;
}

bool lite_projection_find(struct store *store, struct str name,
                          struct arena *arena, struct projection_def *out,
                          struct err *err)
{
    struct lite_conn *conn = lite_read_begin(store, err);
    struct projection_def found;
    bool good;

    if (conn == NULL)
        return false;
    good = select_def(conn, name, arena, &found, err);
    lite_read_end(store, conn);
    if (!good)
        return false;
    if (str_is_none(found.name))
        return err_set(err, ERR_NOT_FOUND, "no projection %.*s is installed",
                       STR_ARG(name));
    *out = found;
    return true;
}

/* ---- names that are taken ---- */

static bool check_owner(struct lite_conn *conn, struct str table,
                        struct err *err)
{
    AUTO_STMT stmt = lite_prepare(
        conn, "select projection from perigee_read_tables where name = ?1",
        err);
    enum lite_row row;

    if (stmt == NULL)
        return false;
    lite_bind_str(stmt, 1, table);
    row = lite_step(conn, stmt, err);
    if (row == LITE_ROW) {
        struct str owner = lite_column_str(stmt, 0);

        return err_set(err, ERR_CONFLICT,
                       "table %.*s belongs to the projection %.*s",
                       STR_ARG(table), STR_ARG(owner));
    }
    return row != LITE_FAILED;
}

static bool check_free(struct lite_conn *conn, const char *name,
                       struct err *err)
{
    bool is_taken;

    if (!lite_has_object(conn, name, &is_taken, err))
        return false;
    return !is_taken ||
           err_set(err, ERR_CONFLICT,
                   "the database has a %s already, which is none of "
                   "perigee's",
                   name);
}

static bool check_names(struct lite_conn *conn, const struct table_def *table,
                        uint32_t generation, struct err *err)
{
    struct buf name = {0};
    bool good = check_owner(conn, table->name, err);

    buf_str(&name, table->name);
    good = good && check_free(conn, name.ptr, err);
    buf_printf(&name, "__%u", generation);
    good = good && check_free(conn, name.ptr, err);
    buf_done(&name);
    return good;
}

/* ---- tables ---- */

static void add_column(struct buf *sql, const struct column_def *column)
{
    const char *name = column->name.ptr;
    int len = (int)column->name.len;

    buf_printf(sql, "\"%.*s\" %s%s", len, name, value_lite_type(column->kind),
               column->nullable ? "" : " not null");
    /* SQLite's integers have 64 bits and no booleans. */
    if (column->kind == VALUE_INTEGER)
        buf_printf(sql, " check (\"%.*s\" between -2147483648 and 2147483647)",
                   len, name);
    if (column->kind == VALUE_BOOLEAN)
        buf_printf(sql, " check (\"%.*s\" in (0, 1))", len, name);
}

/* With an integer key the key is the rowid; with any other it is the tree that
 * holds the rows, so that both find a row in one descent. */
static void add_table(struct buf *sql, const struct table_def *table,
                      uint32_t generation)
{
    bool has_integer_key =
        strcmp(value_lite_type(table->columns[table->key].kind), "integer") ==
        0;

    buf_text(sql, "create table ");
    lite_add_table(sql, table, generation);
    buf_text(sql, " (");
    for (size_t i = 0; i < table->column_count; i++) {
        add_column(sql, &table->columns[i]);
        buf_text(sql, ", ");
    }
    buf_text(sql, "primary key (");
    lite_add_columns(sql, table, (uint64_t)1 << table->key);
    buf_text(sql, has_integer_key ? ")) strict;" : ")) strict, without rowid;");
}

static void add_index(struct buf *sql, const struct table_def *table,
                      uint32_t generation, size_t n)
{
    const struct index_def *index = &table->indexes[n];

    buf_printf(sql, "create index \"%.*s__%u_%zu\" on ", STR_ARG(table->name),
               generation, n + 1);
    lite_add_table(sql, table, generation);
    for (size_t i = 0; i < index->count; i++) {
        struct str name = table->columns[index->columns[i]].name;

        buf_printf(sql, "%s\"%.*s\"", i == 0 ? " (" : ", ", STR_ARG(name));
    }
    buf_text(sql, ");");
}

static void add_view(struct buf *sql, const struct table_def *table,
                     uint32_t generation)
{
    buf_printf(sql, "create view \"%.*s\" as select ", STR_ARG(table->name));
    lite_add_columns(sql, table, LITE_ALL_COLUMNS);
    buf_text(sql, " from ");
    lite_add_table(sql, table, generation);
    buf_char(sql, ';');
}

static bool create_table(struct lite_conn *conn, const struct table_def *table,
                         uint32_t generation, struct err *err)
{
    struct buf sql = {0};
    bool good;

    add_table(&sql, table, generation);
    for (size_t n = 0; n < table->index_count; n++)
        add_index(&sql, table, generation, n);
    add_view(&sql, table, generation);
    good = lite_exec(conn, sql.ptr, err);
    buf_done(&sql);
    return good || err_wrap(err, "table %.*s", STR_ARG(table->name));
}

/* ---- the registry ---- */

static bool insert_projection(struct lite_conn *conn,
                              const struct projection_def *def, struct err *err)
{
    AUTO_STMT stmt = lite_prepare(conn,
                                  "insert into perigee_projections"
                                  "  (name, generation, installed_at)"
                                  " values (?1, ?2, ?3)",
                                  err);

    if (stmt == NULL)
        return false;
    lite_bind_str(stmt, 1, def->name);
    lite_bind_u64(stmt, 2, def->generation);
    lite_bind_i64(stmt, 3, clock_wall_us());
    return lite_run(conn, stmt, err);
}

static bool insert_generation(struct lite_conn *conn,
                              const struct projection_def *def, struct err *err)
{
    AUTO_STMT stmt = lite_prepare(
        conn,
        "insert into perigee_generations (projection, generation, partitions,"
        "  version, script_hash, definition, installed_at)"
        " values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        err);

    if (stmt == NULL)
        return false;
    lite_bind_str(stmt, 1, def->name);
    lite_bind_u64(stmt, 2, def->generation);
    lite_bind_u64(stmt, 3, def->partitions);
    lite_bind_u64(stmt, 4, def->version);
    lite_bind_str(stmt, 5, def->script_hash);
    lite_bind_str(stmt, 6, def->definition);
    lite_bind_i64(stmt, 7, clock_wall_us());
    return lite_run(conn, stmt, err);
}

static bool insert_read_table(struct lite_conn *conn,
                              const struct projection_def *def,
                              const struct table_def *table, struct err *err)
{
    AUTO_STMT stmt = lite_prepare(
        conn,
        "insert into perigee_read_tables (name, projection) values (?1, ?2)",
        err);

    if (stmt == NULL)
        return false;
    lite_bind_str(stmt, 1, table->name);
    lite_bind_str(stmt, 2, def->name);
    return lite_run(conn, stmt, err);
}

static bool insert_checkpoint(struct lite_conn *conn,
                              const struct projection_def *def,
                              uint32_t partition, uint64_t position,
                              struct err *err)
{
    struct slice slice = {def->name, def->generation, partition,
                          def->partitions};
    AUTO_STMT stmt =
        lite_prepare(conn,
                     "insert into perigee_checkpoints (subscription,"
                     "  generation, partition, partitions, position,"
                     "  updated_at) values (?1, ?2, ?3, ?4, ?5, ?6)",
                     err);

    if (stmt == NULL)
        return false;
    lite_bind_slice(stmt, 1, &slice);
    lite_bind_u64(stmt, 5, position);
    lite_bind_i64(stmt, 6, clock_wall_us());
    return lite_run(conn, stmt, err);
}

/* ---- installing ---- */

static bool install_table(struct lite_conn *conn,
                          const struct projection_def *def,
                          const struct table_def *table, struct err *err)
{
    return check_names(conn, table, def->generation, err) &&
           create_table(conn, table, def->generation, err) &&
           insert_read_table(conn, def, table, err);
}

static bool install_new(struct lite_conn *conn,
                        const struct projection_def *def, uint64_t position,
                        struct err *err)
{
    if (!insert_projection(conn, def, err) ||
        !insert_generation(conn, def, err))
        return false;
    for (size_t i = 0; i < def->table_count; i++)
        if (!install_table(conn, def, &def->tables[i], err))
            return false;
    for (uint32_t i = 0; i < def->partitions; i++)
        if (!insert_checkpoint(conn, def, i, position, err))
            return false;
    return true;
}

static bool check_same(const struct projection_def *found,
                       const struct projection_def *wanted, struct err *err)
{
    if (found->partitions != wanted->partitions)
        return err_set(err, ERR_CONFLICT,
                       "projection %.*s is installed in %u partitions, not in "
                       "%u",
                       STR_ARG(wanted->name), found->partitions,
                       wanted->partitions);
    if (found->generation != wanted->generation ||
        !str_eq(found->definition, wanted->definition))
        return err_set(err, ERR_CONFLICT,
                       "projection %.*s is installed with another definition",
                       STR_ARG(wanted->name));
    return true;
}

static bool install(struct lite_conn *conn, const struct projection_def *def,
                    uint64_t position, struct err *err)
{
    struct arena arena = {0};
    struct projection_def found;
    bool good = select_def(conn, def->name, &arena, &found, err);

    if (good && str_is_none(found.name))
        good = install_new(conn, def, position, err);
    else if (good)
        good = check_same(&found, def, err);
    arena_done(&arena);
    return good;
}

bool lite_projection_install(struct store *store,
                             const struct projection_def *def,
                             uint64_t position, struct err *err)
{
    struct lite_conn *conn = lite_write_begin(store, err);

    if (conn == NULL)
        return false;
    if (install(conn, def, position, err))
        return lite_write_end(store, conn, LITE_KEEP, err);
    lite_write_drop(store, conn);
    return err_wrap(err, "install projection %.*s", STR_ARG(def->name));
}

/* ---- noting ---- */

static bool update_script(struct lite_conn *conn,
                          const struct projection_def *def, struct err *err)
{
    AUTO_STMT stmt = lite_prepare(conn,
                                  "update perigee_generations"
                                  "   set version = ?3, script_hash = ?4"
                                  " where projection = ?1 and generation = ?2",
                                  err);

    if (stmt == NULL)
        return false;
    lite_bind_str(stmt, 1, def->name);
    lite_bind_u64(stmt, 2, def->generation);
    lite_bind_u64(stmt, 3, def->version);
    lite_bind_str(stmt, 4, def->script_hash);
    if (!lite_run(conn, stmt, err))
        return false;
    return sqlite3_changes(conn->db) == 1 ||
           err_set(err, ERR_NOT_FOUND, "no projection %.*s is installed",
                   STR_ARG(def->name));
}

bool lite_projection_note(struct store *store, const struct projection_def *def,
                          struct err *err)
{
    struct lite_conn *conn = lite_write_begin(store, err);

    if (conn == NULL)
        return false;
    if (update_script(conn, def, err))
        return lite_write_end(store, conn, LITE_KEEP, err);
    lite_write_drop(store, conn);
    return false;
}
