#pragma once
/*
 * The suite's long chapter: batches of random changes, and a model in memory
 * that says what the table must hold after each.
 *
 * The model knows the words of store/store.h only: it is written from the
 * comments of enum row_op, with base/value for the sums.
 */
#include "unit/store/conformance_tables.h"

#define ROUNDS      1000
#define MODEL_KEYS  40
#define BATCH_ROWS  12
#define LOOK_EVERY  50
#define RANDOM_SEED 20101201

struct model_row {
    bool exists;
    struct value values[THING_COLUMNS];
};

struct model {
    struct fixture *fx;
    struct table_def table;
    struct model_row rows[MODEL_KEYS]; /* in the order of their keys */
    uint64_t random;
};

/* xorshift64: the same on every machine, so that a failure can be repeated. */
static uint64_t draw(struct model *model, uint64_t below)
{
    model->random ^= model->random << 13;
    model->random ^= model->random >> 7;
    model->random ^= model->random << 17;
    return model->random % below;
}

static struct value key_value(struct fixture *fx, size_t key)
{
    return (struct value){
        .kind = VALUE_TEXT,
        .text = str_of(arena_printf(&fx->arena, "key-%03zu", key))};
}

/* Small integers, so that no sum overflows in so many rounds; fractions whose
 * sums are exact in binary. */
static const char *random_text(struct model *model, enum value_kind kind)
{
    struct arena *arena = &model->fx->arena;
    int n = (int)draw(model, 2000) - 1000;

    switch (kind) {
    case VALUE_TEXT:
        return arena_printf(arena, "text \xc3\xa9 '%d", n);
    case VALUE_UUID:
        return arena_printf(arena, "0b0c0d0e-0000-7000-8000-%012d", abs(n));
    case VALUE_BIGINT:
        return arena_printf(arena, "%d000000000", n);
    case VALUE_INTEGER:
        return arena_printf(arena, "%d", n);
    case VALUE_NUMERIC:
        return arena_printf(arena, "%d.%0*d", n, 1 + abs(n) % 9, abs(n));
    case VALUE_DOUBLE:
        return arena_printf(arena, "%.3f", n * 0.125);
    case VALUE_BOOLEAN:
        return n % 2 != 0 ? "true" : "false";
    case VALUE_DATE:
        return arena_printf(arena, "2010-%02d-%02d", 1 + abs(n) % 12,
                            1 + abs(n) % 28);
    case VALUE_TIMESTAMP:
        return arena_printf(arena, "2010-12-01T08:26:00.%06dZ", abs(n));
    case VALUE_JSON:
        return arena_printf(arena, "{\"n\":%d,\"a\":[\"%d\"]}", n, n);
    case VALUE_NULL:
    case VALUE_KIND_COUNT:
        break;
    }
    return NULL;
}

static struct value random_value(struct model *model, size_t column)
{
    enum value_kind kind = model->table.columns[column].kind;

    if (draw(model, 6) == 0)
        return (struct value){.kind = VALUE_NULL};
    return value_of(model->fx, kind, random_text(model, kind));
}

static uint64_t random_columns(struct model *model, enum row_op op)
{
    uint64_t bits = draw(model, ALL + 1);

    if (op == ROW_PUT || op == ROW_INSERT)
        return ALL;
    return op == ROW_ADD ? bits & SUMS : bits;
}

static enum row_op random_op(struct model *model, size_t key)
{
    enum row_op op = (enum row_op)draw(model, ROW_DELETE + 1);

    return op == ROW_INSERT && model->rows[key].exists ? ROW_PUT : op;
}

static void draw_change(struct model *model, size_t key, struct value *values,
                        struct row_change *out)
{
    enum row_op op = random_op(model, key);

    *out = (struct row_change){op, random_columns(model, op), values};
    values[ID] = key_value(model->fx, key);
    for (size_t i = 1; i < THING_COLUMNS; i++) {
        values[i] = random_value(model, i);
        if (op == ROW_ADD && (BIT(i) & SUMS) != 0 &&
            values[i].kind == VALUE_NULL)
            values[i] = value_of(model->fx, model->table.columns[i].kind, "1");
    }
}

/* ---- the model ---- */

static void make_zero(struct model *model, struct model_row *row,
                      struct value key)
{
    if (row->exists)
        return;
    for (size_t i = 0; i < THING_COLUMNS; i++)
        row->values[i] = value_zero(&model->table.columns[i]);
    row->values[ID] = key;
    row->exists = true;
}

static void model_add(struct model *model, struct model_row *row,
                      const struct row_change *change)
{
    struct fixture *fx = model->fx;

    make_zero(model, row, change->values[ID]);
    for (size_t i = 1; i < THING_COLUMNS; i++)
        if (change->columns & BIT(i))
            assert_ok(value_add(&fx->arena, model->table.columns[i].kind,
                                &row->values[i], &change->values[i], &fx->err),
                      &fx->err);
}

static void model_change(struct model *model, size_t key,
                         const struct row_change *change)
{
    struct model_row *row = &model->rows[key];

    switch (change->op) {
    case ROW_PUT:
    case ROW_INSERT:
        memcpy(row->values, change->values, sizeof(row->values));
        row->exists = true;
        return;
    case ROW_PATCH:
        for (size_t i = 1; row->exists && i < THING_COLUMNS; i++)
            if (change->columns & BIT(i))
                row->values[i] = change->values[i];
        return;
    case ROW_ADD:
        model_add(model, row, change);
        return;
    case ROW_DELETE:
        row->exists = false;
        return;
    }
}

static void assert_as_model(const struct model_row *wanted,
                            const struct row *got)
{
    for (size_t i = 0; i < THING_COLUMNS; i++) {
        struct buf text = {0};

        if (wanted->values[i].kind != VALUE_NULL)
            value_to_text(&wanted->values[i], &text);
        assert_value(&got->values[i],
                     wanted->values[i].kind != VALUE_NULL ? text.ptr : NULL);
        buf_done(&text);
    }
}

/* By key and through the view. */
static void compare_all(struct model *model)
{
    struct fixture *fx = model->fx;
    struct row_query query = {.table = &model->table, .limit = 2 * MODEL_KEYS};
    struct value keys[MODEL_KEYS];
    struct row *by_key;
    struct row *listed;
    size_t count;
    size_t at = 0;

    for (size_t i = 0; i < MODEL_KEYS; i++)
        keys[i] = key_value(fx, i);
    assert_ok(store_rows_get(fx->store, &model->table, 1, keys, MODEL_KEYS,
                             &fx->arena, &by_key, &fx->err),
              &fx->err);
    assert_ok(store_rows_list(fx->store, &query, &fx->arena, &listed, &count,
                              &fx->err),
              &fx->err);
    for (size_t i = 0; i < MODEL_KEYS; i++) {
        assert_int_equal(by_key[i].values != NULL, model->rows[i].exists);
        if (!model->rows[i].exists)
            continue;
        assert_true(at < count);
        assert_as_model(&model->rows[i], &by_key[i]);
        assert_as_model(&model->rows[i], &listed[at++]);
    }
    assert_int_equal(at, count);
}

/* ---- the rounds ---- */

static void run_round(struct model *model, struct runner *runner)
{
    struct row_change changes[BATCH_ROWS];
    struct value values[BATCH_ROWS][THING_COLUMNS];
    size_t keys[BATCH_ROWS];
    size_t count = 0;

    /* Each key at most once, and sorted. */
    for (size_t key = draw(model, 8); key < MODEL_KEYS && count < BATCH_ROWS;
         key += 1 + draw(model, 8)) {
        draw_change(model, key, values[count], &changes[count]);
        keys[count++] = key;
    }
    commit_rows(runner, changes, count);
    for (size_t i = 0; i < count; i++)
        model_change(model, keys[i], &changes[i]);
}

/* What the model keeps is moved over, the rest of the memory goes. */
static void forget_the_past(struct model *model)
{
    struct arena kept = {0};

    for (size_t i = 0; i < MODEL_KEYS; i++)
        for (size_t j = 0; model->rows[i].exists && j < THING_COLUMNS; j++)
            model->rows[i].values[j] =
                value_copy(&kept, &model->rows[i].values[j]);
    arena_done(&model->fx->arena);
    model->fx->arena = kept;
}

static void random_batches_leave_what_the_model_says(void **state)
{
    struct fixture *fx = *state;
    struct model *model = NEW(struct model);
    struct runner runner;

    model->fx = fx;
    model->table = things();
    model->random = RANDOM_SEED;
    runner = start_runner(fx, &model->table);
    for (int round = 1; round <= ROUNDS; round++) {
        run_round(model, &runner);
        if (round % LOOK_EVERY == 0) {
            compare_all(model);
            forget_the_past(model);
        }
    }
    mem_free(model);
}

#define RANDOM_TESTS(migrated)                                                 \
    migrated(random_batches_leave_what_the_model_says)
