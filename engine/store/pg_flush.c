#include "store/pg_store.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>

/*
 * The changes of one table become one statement for each kind of change,
 * whatever their number: rows are sorted by operation and by the columns they
 * give, each run of equals is a group, and a group's values travel as one
 * array a column, of which `unnest` makes rows again.
 *
 * Within a group rows stay sorted by key, so that two writers lock them in the
 * same order.
 */

struct group {
    enum row_op op;
    uint64_t columns; /* whose values travel, the key among them */
    const struct row_change *const *rows;
    size_t count;
};

struct flush {
    struct pg_conn *conn;
    const char *schema;
    uint32_t generation;
    const struct table_def *table;
    struct buf sql; /* of the group at hand */
};

static uint64_t bit(size_t column)
{
    return UINT64_C(1) << column;
}

/* ---- groups ---- */

static uint64_t travelling(const struct table_def *table,
                           const struct row_change *row)
{
    switch (row->op) {
    case ROW_PUT:
    case ROW_INSERT:
        return table->column_count == 64 ? UINT64_MAX
                                         : bit(table->column_count) - 1;
    case ROW_PATCH:
    case ROW_ADD:
        return row->columns | bit(table->key);
    case ROW_DELETE:
        break;
    }
    return bit(table->key);
}

/* Sorts by kind and then by place, which keeps the order of keys: pointers
 * into one array compare as its places do. */
struct sorting {
    const struct row_change *row;
    uint64_t columns;
};

static int compare(const void *left, const void *right)
{
    const struct sorting *a = left;
    const struct sorting *b = right;

    if (a->row->op != b->row->op)
        return a->row->op < b->row->op ? -1 : 1;
    if (a->columns != b->columns)
        return a->columns < b->columns ? -1 : 1;
    return (a->row > b->row) - (a->row < b->row);
}

/* ---- statements ---- */

static void add_table(struct flush *f)
{
    pg_quote_table(&f->sql, f->schema, f->table->name, f->generation);
}

static void add_name(struct flush *f, const char *alias, size_t column)
{
    if (alias != NULL)
        buf_printf(&f->sql, "%s.", alias);
    pg_quote(&f->sql, f->table->columns[column].name);
}

/* A travelled value, of the column's type again. */
static void add_value(struct flush *f, size_t column)
{
    add_name(f, "u", column);
    if (f->table->columns[column].kind == VALUE_NUMERIC)
        buf_text(&f->sql, "::numeric");
}

/* unnest($1::bigint[], $2::text[]) as u("id", "name") */
static void add_unnest(struct flush *f, const struct group *group)
{
    const char *gap = "";
    int n = 0;

    buf_text(&f->sql, "unnest(");
    for (size_t i = 0; i < f->table->column_count; i++) {
        if ((group->columns & bit(i)) == 0)
            continue;
        buf_printf(&f->sql, "%s$%d::%s[]", gap, ++n,
                   pg_value_type_name(f->table->columns[i].kind));
        gap = ", ";
    }
    gap = ") as u(";
    for (size_t i = 0; i < f->table->column_count; i++) {
        if ((group->columns & bit(i)) == 0)
            continue;
        buf_text(&f->sql, gap);
        add_name(f, NULL, i);
        gap = ", ";
    }
    buf_char(&f->sql, ')');
}

/* Calls `add` for each travelling column but the key, with commas between. */
static void add_each(struct flush *f, const struct group *group,
                     void (*add)(struct flush *f, size_t column))
{
    const char *gap = "";

    for (size_t i = 0; i < f->table->column_count; i++) {
        if (i == f->table->key || (group->columns & bit(i)) == 0)
            continue;
        buf_text(&f->sql, gap);
        add(f, i);
        gap = ", ";
    }
}

static bool has_more_than_key(const struct flush *f, const struct group *group)
{
    return (group->columns & ~bit(f->table->key)) != 0;
}

static void add_on_conflict(struct flush *f, const struct group *group,
                            void (*add)(struct flush *f, size_t column))
{
    buf_text(&f->sql, " on conflict (");
    add_name(f, NULL, f->table->key);
    if (!has_more_than_key(f, group)) {
        buf_text(&f->sql, ") do nothing");
        return;
    }
    buf_text(&f->sql, ") do update set ");
    add_each(f, group, add);
}

static void set_excluded(struct flush *f, size_t column)
{
    add_name(f, NULL, column);
    buf_text(&f->sql, " = ");
    add_name(f, "excluded", column);
}

static void set_travelled(struct flush *f, size_t column)
{
    add_name(f, NULL, column);
    buf_text(&f->sql, " = ");
    add_value(f, column);
}

/* Null counts as zero. */
static void set_sum(struct flush *f, size_t column)
{
    add_name(f, NULL, column);
    buf_text(&f->sql, " = coalesce(");
    add_name(f, "t", column);
    buf_text(&f->sql, ", 0) + ");
    add_name(f, "excluded", column);
}

static void add_insert(struct flush *f)
{
    buf_text(&f->sql, "insert into ");
    add_table(f);
    buf_text(&f->sql, " as t (");
    pg_quote_columns(&f->sql, f->table, NULL);
    buf_text(&f->sql, ") select ");
}

static void build_insert(struct flush *f, const struct group *group)
{
    add_insert(f);
    for (size_t i = 0; i < f->table->column_count; i++) {
        buf_text(&f->sql, i > 0 ? ", " : "");
        add_value(f, i);
    }
    buf_text(&f->sql, " from ");
    add_unnest(f, group);
    if (group->op == ROW_PUT)
        add_on_conflict(f, group, set_excluded);
}

/* What a new row has in a column: the amount, from zero; the key; or, for what
 * is not given, a parameter behind the arrays. */
static void add_initial(struct flush *f, const struct group *group,
                        size_t column, int *last_arg)
{
    const struct column_def *def = &f->table->columns[column];

    if (column == f->table->key) {
        add_value(f, column);
    } else if ((group->columns & bit(column)) != 0) {
        buf_text(&f->sql, "coalesce(");
        add_value(f, column);
        buf_text(&f->sql, ", 0)");
    } else {
        buf_printf(&f->sql, "$%d::%s%s", ++*last_arg,
                   pg_value_type_name(def->kind),
                   def->kind == VALUE_NUMERIC ? "::numeric" : "");
    }
}

static void build_add(struct flush *f, const struct group *group)
{
    int last_arg = __builtin_popcountll(group->columns);

    add_insert(f);
    for (size_t i = 0; i < f->table->column_count; i++) {
        buf_text(&f->sql, i > 0 ? ", " : "");
        add_initial(f, group, i, &last_arg);
    }
    buf_text(&f->sql, " from ");
    add_unnest(f, group);
    add_on_conflict(f, group, set_sum);
}

static void add_where_key(struct flush *f)
{
    buf_text(&f->sql, " where ");
    add_name(f, "t", f->table->key);
    buf_text(&f->sql, " = ");
    add_value(f, f->table->key);
}

static void build_patch(struct flush *f, const struct group *group)
{
    buf_text(&f->sql, "update ");
    add_table(f);
    buf_text(&f->sql, " as t set ");
    add_each(f, group, set_travelled);
    buf_text(&f->sql, " from ");
    add_unnest(f, group);
    add_where_key(f);
}

static void build_delete(struct flush *f, const struct group *group)
{
    buf_text(&f->sql, "delete from ");
    add_table(f);
    buf_text(&f->sql, " as t using ");
    add_unnest(f, group);
    add_where_key(f);
}

/* ---- values ---- */

static void put_column(struct pg_args *args, const struct table_def *table,
                       const struct group *group, size_t column)
{
    enum value_kind kind = table->columns[column].kind;

    pg_array_begin(args, pg_value_type(kind), group->count);
    for (size_t i = 0; i < group->count; i++) {
        const struct row_change *row = group->rows[i];
        bool is_given =
            column == table->key || (row->columns & bit(column)) != 0;

        if (is_given)
            pg_put_value(args, &row->values[column]);
        else
            pg_put_null(args);
    }
    pg_array_end(args);
}

static void put_zeros(struct pg_args *args, const struct table_def *table,
                      const struct group *group)
{
    for (size_t i = 0; i < table->column_count; i++) {
        if ((group->columns & bit(i)) == 0) {
            struct value zero = value_zero(&table->columns[i]);

            pg_put_value(args, &zero);
        }
    }
}

static void build(struct flush *f, const struct group *group)
{
    switch (group->op) {
    case ROW_PUT:
    case ROW_INSERT:
        build_insert(f, group);
        break;
    case ROW_PATCH:
        build_patch(f, group);
        break;
    case ROW_ADD:
        build_add(f, group);
        break;
    case ROW_DELETE:
        build_delete(f, group);
        break;
    }
}

static void send_group(struct flush *f, const struct group *group)
{
    struct pg_args *args = pg_args(f->conn);

    if (group->op == ROW_PATCH && !has_more_than_key(f, group))
        return;
    for (size_t i = 0; i < f->table->column_count; i++)
        if ((group->columns & bit(i)) != 0)
            put_column(args, f->table, group, i);
    if (group->op == ROW_ADD)
        put_zeros(args, f->table, group);
    buf_clear(&f->sql);
    build(f, group);
    pg_send(f->conn, f->sql.ptr);
}

/* ---- the table ---- */

static void sort_rows(const struct table_change *change, struct sorting *sorted)
{
    for (size_t i = 0; i < change->count; i++) {
        sorted[i].row = &change->rows[i];
        sorted[i].columns = travelling(change->table, &change->rows[i]);
    }
    qsort(sorted, change->count, sizeof(*sorted), compare);
}

static size_t run_of_equals(const struct sorting *sorted, size_t count)
{
    size_t n = 1;

    while (n < count && sorted[n].row->op == sorted[0].row->op &&
           sorted[n].columns == sorted[0].columns)
        n++;
    return n;
}

void pg_flush(struct pg_conn *conn, const char *schema, uint32_t generation,
              const struct table_change *change)
{
    struct sorting *sorted = NEW_ARRAY(struct sorting, change->count);
    const struct row_change **rows =
        NEW_ARRAY(const struct row_change *, change->count);
    struct flush f = {.conn = conn,
                      .schema = schema,
                      .generation = generation,
                      .table = change->table};

    sort_rows(change, sorted);
    for (size_t i = 0; i < change->count; i++)
        rows[i] = sorted[i].row;
    for (size_t i = 0; i < change->count;) {
        size_t count = run_of_equals(&sorted[i], change->count - i);

        send_group(&f, &(struct group){sorted[i].row->op, sorted[i].columns,
                                       &rows[i], count});
        i += count;
    }
    buf_done(&f.sql);
    mem_free(rows);
    mem_free(sorted);
}
