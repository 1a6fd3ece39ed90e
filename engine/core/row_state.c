#include "core/row_state.h"

#define BIT(column) ((uint64_t)1 << (column))

/* ---- arrays of values ---- */

static struct value *copy_values(struct arena *arena,
                                 const struct table_def *table,
                                 const struct value *from)
{
    struct value *copy = ARENA_ARRAY(arena, struct value, table->column_count);

    memcpy(copy, from, table->column_count * sizeof(*copy));
    return copy;
}

static struct value *only_key(struct arena *arena,
                              const struct table_def *table,
                              const struct value *key)
{
    struct value *values =
        ARENA_ARRAY(arena, struct value, table->column_count);

    values[table->key] = *key;
    return values;
}

/* The row that `add` starts from when there is none. */
static struct value *zero_row(struct arena *arena,
                              const struct table_def *table,
                              const struct value *key)
{
    struct value *values = only_key(arena, table, key);

    for (size_t i = 0; i < table->column_count; i++)
        if (i != table->key)
            values[i] = value_zero(&table->columns[i]);
    return values;
}

static void set_columns(struct value *values, const struct value *from,
                        uint64_t columns)
{
    for (; columns != 0; columns &= columns - 1) {
        int i = __builtin_ctzll(columns);

        values[i] = from[i];
    }
}

static bool name_column(struct err *err, const struct table_def *table,
                        size_t column)
{
    return err_wrap(err, "%.*s.%.*s", STR_ARG(table->name),
                    STR_ARG(table->columns[column].name));
}

/* Values outside of `columns` stay what they are. */
static bool add_columns(struct arena *arena, const struct table_def *table,
                        struct value *values, const struct value *amounts,
                        uint64_t columns, struct err *err)
{
    for (; columns != 0; columns &= columns - 1) {
        size_t i = (size_t)__builtin_ctzll(columns);

        if (!value_add(arena, table->columns[i].kind, &values[i], &amounts[i],
                       err))
            return name_column(err, table, i);
    }
    return true;
}

static bool has_double(const struct table_def *table, uint64_t columns)
{
    for (; columns != 0; columns &= columns - 1)
        if (table->columns[__builtin_ctzll(columns)].kind == VALUE_DOUBLE)
            return true;
    return false;
}

/* ---- the five changes ---- */

static bool is_pending(const struct row_state *state, enum row_op op)
{
    return state->changed && state->op == op;
}

static void become(struct row_state *state, enum row_op op,
                   const struct value *row)
{
    state->changed = true;
    state->op = op;
    state->now = KNOWN_ROW;
    state->columns = 0;
    state->values = row;
}

/* A pending insert stays one, so that it still fails on a row that exists. */
static enum compose compose_put(struct arena *arena, struct row_state *state,
                                const struct row_request *request)
{
    become(state, is_pending(state, ROW_INSERT) ? ROW_INSERT : ROW_PUT,
           copy_values(arena, request->table, request->values));
    return COMPOSE_DONE;
}

static enum compose fail_exists(const struct row_request *request,
                                struct err *err)
{
    const struct table_def *table = request->table;
    struct str column = table->columns[table->key].name;
    struct buf key = {0};

    value_to_text(request->key, &key);
    err_set(err, ERR_DATA, "%.*s: a row with %.*s = %.*s exists already",
            STR_ARG(table->name), STR_ARG(column), STR_ARG(buf_as_str(&key)));
    buf_done(&key);
    return COMPOSE_FAILED;
}

static enum compose compose_insert(struct arena *arena, struct row_state *state,
                                   const struct row_request *request,
                                   struct err *err)
{
    bool reads = request->mode == COMPOSE_READ;

    /* After an add the row exists, whatever the store holds. */
    if (state->now == KNOWN_ROW || is_pending(state, ROW_ADD))
        return fail_exists(request, err);
    if (state->now == KNOWN_NOTHING && (state->changed || reads))
        return COMPOSE_NEEDS_ROW;
    become(state, is_pending(state, ROW_DELETE) ? ROW_PUT : ROW_INSERT,
           copy_values(arena, request->table, request->values));
    return COMPOSE_DONE;
}

static enum compose compose_delete(struct row_state *state)
{
    /* What was inserted on trust must turn out to have been absent. */
    if (is_pending(state, ROW_INSERT) && state->base == KNOWN_NOTHING)
        return COMPOSE_NEEDS_ROW;
    state->changed = state->base != KNOWN_ABSENT;
    state->op = ROW_DELETE;
    state->now = KNOWN_ABSENT;
    state->columns = 0;
    state->values = NULL;
    return COMPOSE_DONE;
}

/* The row is known and `values` is what it becomes. */
static void change_row(struct row_state *state, const struct value *values,
                       uint64_t columns)
{
    state->values = values;
    if (!state->changed) {
        state->changed = true;
        state->op = ROW_PATCH;
        state->columns = 0;
    }
    if (state->op == ROW_PATCH)
        state->columns |= columns;
}

/* Nothing is known, and nothing else than `op` itself may be pending. */
static void change_unread(struct row_state *state, enum row_op op,
                          const struct value *values, uint64_t columns)
{
    state->columns = state->changed ? state->columns | columns : columns;
    state->changed = true;
    state->op = op;
    state->values = values;
}

static enum compose compose_patch(struct arena *arena, struct row_state *state,
                                  const struct row_request *request)
{
    const struct table_def *table = request->table;
    struct value *values;

    if (state->now == KNOWN_ABSENT || request->columns == 0)
        return COMPOSE_DONE;
    if (is_pending(state, ROW_ADD))
        return COMPOSE_NEEDS_ROW;
    values = state->values != NULL ? copy_values(arena, table, state->values)
                                   : only_key(arena, table, request->key);
    set_columns(values, request->values, request->columns);
    if (state->now == KNOWN_ROW)
        change_row(state, values, request->columns);
    else
        change_unread(state, ROW_PATCH, values, request->columns);
    return COMPOSE_DONE;
}

static enum compose add_to_row(struct arena *arena, struct row_state *state,
                               const struct row_request *request,
                               struct err *err)
{
    struct value *values;

    if (request->columns == 0)
        return COMPOSE_DONE;
    values = copy_values(arena, request->table, state->values);
    if (!add_columns(arena, request->table, values, request->values,
                     request->columns, err))
        return COMPOSE_FAILED;
    change_row(state, values, request->columns);
    return COMPOSE_DONE;
}

static enum compose add_to_nothing(struct arena *arena, struct row_state *state,
                                   const struct row_request *request,
                                   struct err *err)
{
    struct value *values = zero_row(arena, request->table, request->key);

    if (!add_columns(arena, request->table, values, request->values,
                     request->columns, err))
        return COMPOSE_FAILED;
    become(state, ROW_PUT, values);
    return COMPOSE_DONE;
}

/* True when the sum cannot be kept beside the row: over a patch, which does
 * nothing where there is no row; in doubles, whose order matters; of nothing,
 * which still creates the row. */
static bool add_needs_row(const struct row_state *state,
                          const struct row_request *request)
{
    return request->mode == COMPOSE_READ || request->columns == 0 ||
           is_pending(state, ROW_PATCH) ||
           has_double(request->table, request->columns);
}

/* A sum that does not fit without the stored part may fit with it. */
static enum compose add_unread(struct arena *arena, struct row_state *state,
                               const struct row_request *request)
{
    const struct table_def *table = request->table;
    struct value *values;
    struct err ignored;

    if (add_needs_row(state, request))
        return COMPOSE_NEEDS_ROW;
    values = state->values != NULL ? copy_values(arena, table, state->values)
                                   : zero_row(arena, table, request->key);
    if (!add_columns(arena, table, values, request->values, request->columns,
                     &ignored))
        return COMPOSE_NEEDS_ROW;
    change_unread(state, ROW_ADD, values, request->columns);
    return COMPOSE_DONE;
}

static enum compose compose_add(struct arena *arena, struct row_state *state,
                                const struct row_request *request,
                                struct err *err)
{
    switch (state->now) {
    case KNOWN_ROW:
        return add_to_row(arena, state, request, err);
    case KNOWN_ABSENT:
        return add_to_nothing(arena, state, request, err);
    case KNOWN_NOTHING:
        break;
    }
    return add_unread(arena, state, request);
}

enum compose row_compose(struct arena *arena, struct row_state *state,
                         const struct row_request *request, struct err *err)
{
    switch (request->op) {
    case ROW_PUT:
        return compose_put(arena, state, request);
    case ROW_INSERT:
        return compose_insert(arena, state, request, err);
    case ROW_PATCH:
        return compose_patch(arena, state, request);
    case ROW_ADD:
        return compose_add(arena, state, request, err);
    case ROW_DELETE:
        break;
    }
    return compose_delete(state);
}

/* ---- learning ---- */

static void learn_absent(struct row_state *state)
{
    state->now = KNOWN_ABSENT;
    state->changed = false; /* a patch of nothing */
    state->columns = 0;
    state->values = NULL;
}

static void learn_patched(struct arena *arena, struct row_state *state,
                          const struct table_def *table,
                          const struct value *row)
{
    struct value *values = copy_values(arena, table, row);

    set_columns(values, state->values, state->columns);
    state->now = KNOWN_ROW;
    state->values = values;
}

/* What was added so far, on top of the stored row: from here on the absolute
 * values are known, so the sum becomes a patch. */
static bool learn_added(struct arena *arena, struct row_state *state,
                        const struct table_def *table, const struct value *row)
{
    struct value *values = copy_values(arena, table, row);
    struct err ignored;
    bool fits = add_columns(arena, table, values, state->values, state->columns,
                            &ignored);

    state->now = KNOWN_ROW;
    state->op = ROW_PATCH;
    state->values = values;
    return fits;
}

bool row_learn(struct arena *arena, struct row_state *state,
               const struct table_def *table, const struct value *row)
{
    state->base = row != NULL ? KNOWN_ROW : KNOWN_ABSENT;
    if (state->now != KNOWN_NOTHING)
        return row == NULL || !is_pending(state, ROW_INSERT);

    if (is_pending(state, ROW_ADD)) {
        if (row != NULL)
            return learn_added(arena, state, table, row);
        become(state, ROW_PUT, state->values); /* it starts from zero */
        return true;
    }
    if (row == NULL) {
        learn_absent(state);
        return true;
    }
    if (is_pending(state, ROW_PATCH)) {
        learn_patched(arena, state, table, row);
        return true;
    }
    state->now = KNOWN_ROW;
    state->values = row;
    return true;
}

static uint64_t all_columns(const struct table_def *table)
{
    return UINT64_MAX >> (TABLE_MAX_COLUMNS - table->column_count);
}

struct row_change row_seal(struct arena *arena, const struct row_state *state,
                           const struct table_def *table,
                           const struct value *key)
{
    bool whole = state->op == ROW_PUT || state->op == ROW_INSERT;

    CHECK(state->changed);
    return (struct row_change){
        .op = state->op,
        .columns = whole ? all_columns(table) : state->columns,
        .values =
            state->values != NULL ? state->values : only_key(arena, table, key),
    };
}
