/*
 * The overlay against a naive model: a table in memory on which every change
 * is made at once.  Whatever random handlers do, and whichever of them fail,
 * either the sealed batch makes the stored rows equal to the model's, or it is
 * refused and running it again with COMPOSE_READ does.
 */
#include "base/mem.h"
#include "core/changes.h"
#include "store/store_ops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- one table in memory, and a store that can read it ---- */

enum { KEY, AMOUNT, COUNT_32, NOTE, RATIO, TOTAL, COLUMNS };

static struct table_def table_def(enum value_kind key)
{
    return (struct table_def){
        .name = STR("orders"),
        .column_count = COLUMNS,
        .columns =
            {
                [KEY] = {STR("id"), key, false},
                [AMOUNT] = {STR("amount"), VALUE_NUMERIC, false},
                [COUNT_32] = {STR("count"), VALUE_INTEGER, false},
                [NOTE] = {STR("note"), VALUE_TEXT, true},
                [RATIO] = {STR("ratio"), VALUE_DOUBLE, false},
                [TOTAL] = {STR("total"), VALUE_BIGINT, true},
            },
    };
}

#define ROWS 12

struct model_row {
    bool exists;
    struct value values[COLUMNS];
};

struct model {
    struct model_row rows[ROWS];
};

struct fake {
    struct store store;
    struct model stored;
    struct value keys[ROWS];
    int queries;
    size_t keys_asked;
    size_t row_bytes; /* that each row of an answer takes beside itself */
    bool broken;
};

static int row_of(const struct fake *fake, const struct value *key)
{
    for (int i = 0; i < ROWS; i++)
        if (value_eq(&fake->keys[i], key))
            return i;
    return -1;
}

static bool fake_rows_get(struct store *store, const struct table_def *table,
                          uint32_t generation, const struct value *keys,
                          size_t count, struct arena *arena,
                          struct row **rows_out, struct err *err)
{
    struct fake *fake = CONTAINER_OF(store, struct fake, store);

    (void)table;
    assert_int_equal(generation, 1);
    fake->queries++;
    fake->keys_asked += count;
    arena_alloc(arena, fake->row_bytes * count);
    if (fake->broken)
        return err_set(err, ERR_STORE, "the store is away");
    *rows_out = ARENA_ARRAY(arena, struct row, count);
    for (size_t i = 0; i < count; i++) {
        int row = row_of(fake, &keys[i]);

        if (row < 0 || !fake->stored.rows[row].exists)
            continue;
        (*rows_out)[i].values = ARENA_ARRAY(arena, struct value, COLUMNS);
        memcpy((*rows_out)[i].values, fake->stored.rows[row].values,
               sizeof(fake->stored.rows[row].values));
    }
    return true;
}

static const struct store_ops fake_ops = {.rows_get = fake_rows_get};

static struct value text_value(struct arena *arena, const char *text)
{
    return (struct value){.kind = VALUE_TEXT,
                          .text = arena_str(arena, str_of(text))};
}

static void fake_init(struct fake *fake, struct arena *arena)
{
    *fake = (struct fake){.store = {.ops = &fake_ops}};
    for (int i = 0; i < ROWS; i++)
        fake->keys[i] = text_value(arena, arena_printf(arena, "key-%d", i));
}

/* ---- what the store does with one change ---- */

static void zero_row(const struct table_def *table, const struct value *key,
                     struct value *values)
{
    for (size_t i = 0; i < COLUMNS; i++)
        values[i] = value_zero(&table->columns[i]);
    values[KEY] = *key;
}

static bool add_values(struct arena *arena, const struct table_def *table,
                       struct value *values, const struct value *amounts,
                       uint64_t columns)
{
    struct value sums[COLUMNS];
    struct err err;

    memcpy(sums, values, sizeof(sums));
    for (size_t i = 0; i < COLUMNS; i++)
        if (columns >> i & 1 && !value_add(arena, table->columns[i].kind,
                                           &sums[i], &amounts[i], &err))
            return false;
    memcpy(values, sums, sizeof(sums));
    return true;
}

static bool put_values(struct model_row *row, const struct value *values)
{
    row->exists = true;
    memcpy(row->values, values, sizeof(row->values));
    return true;
}

/* False when the change fails; the row is untouched then. */
static bool apply(struct arena *arena, const struct table_def *table,
                  struct model_row *row, const struct value *key,
                  enum row_op op, const struct value *values, uint64_t columns)
{
    struct value zero[COLUMNS];

    switch (op) {
    case ROW_INSERT:
        return !row->exists && put_values(row, values);
    case ROW_PUT:
        return put_values(row, values);
    case ROW_DELETE:
        row->exists = false;
        return true;
    case ROW_PATCH:
        for (size_t i = 0; row->exists && i < COLUMNS; i++)
            if (columns >> i & 1)
                row->values[i] = values[i];
        return true;
    case ROW_ADD:
        if (row->exists)
            return add_values(arena, table, row->values, values, columns);
        zero_row(table, key, zero);
        if (!add_values(arena, table, zero, values, columns))
            return false;
        return put_values(row, zero);
    }
    return false;
}

static void assert_sorted(const struct table_change *change)
{
    for (size_t i = 1; i < change->count; i++)
        assert_true(value_cmp(&change->rows[i - 1].values[KEY],
                              &change->rows[i].values[KEY]) < 0);
}

/* All or nothing, as a commit is. */
static bool commit(struct fake *fake, struct arena *arena,
                   const struct table_def *table, struct changes *changes)
{
    struct model after = fake->stored;
    const struct table_change *tables;
    size_t count;

    if (changes_are_doubtful(changes))
        return false;
    changes_seal(changes, &tables, &count);
    for (size_t t = 0; t < count; t++) {
        assert_sorted(&tables[t]);
        for (size_t i = 0; i < tables[t].count; i++) {
            const struct row_change *change = &tables[t].rows[i];
            int row = row_of(fake, &change->values[KEY]);

            if (!apply(arena, table, &after.rows[row], &fake->keys[row],
                       change->op, change->values, change->columns))
                return false;
        }
    }
    for (int i = 0; i < ROWS; i++)
        for (size_t c = 0; after.rows[i].exists && c < COLUMNS; c++)
            after.rows[i].values[c] =
                value_copy(arena, &after.rows[i].values[c]);
    fake->stored = after;
    return true;
}

/* ---- random events ---- */

#define MAX_OPS 5

struct op {
    enum row_op op;
    bool get_first;
    int row;
    struct value values[COLUMNS];
    uint64_t columns;
};

struct random_event {
    struct op ops[MAX_OPS];
    size_t count;
    bool fails_at_end;
};

static unsigned seed;

static unsigned dice(unsigned sides)
{
    seed = seed * 1103515245u + 12345u;
    return (seed >> 16) % sides;
}

static void random_values(struct arena *arena, struct value *values, bool big)
{
    values[AMOUNT] = (struct value){
        .kind = VALUE_NUMERIC,
        .text = str_of(arena_printf(arena, "%d.%0*d", (int)dice(20) - 10,
                                    1 + (int)dice(3), (int)dice(10))),
    };
    if (str_starts(values[AMOUNT].text, STR("-0")))
        values[AMOUNT].text = STR("0.5");
    values[COUNT_32] = (struct value){
        .kind = VALUE_INTEGER,
        .i64 = big && dice(3) == 0 ? (dice(2) ? INT32_MAX : INT32_MIN)
                                   : (int)dice(100) - 50};
    values[NOTE] = dice(3) == 0
                       ? (struct value){.kind = VALUE_NULL}
                       : text_value(arena, arena_printf(arena, "n%u", dice(9)));
    values[RATIO] =
        (struct value){.kind = VALUE_DOUBLE, .number = (double)dice(1000) / 7};
    values[TOTAL] = (struct value){.kind = VALUE_BIGINT, .i64 = dice(1000)};
}

static void random_op(struct arena *arena, const struct fake *fake, bool big,
                      struct op *op)
{
    static const uint64_t numeric =
        1u << AMOUNT | 1u << COUNT_32 | 1u << RATIO | 1u << TOTAL;

    op->op = (enum row_op)dice(ROW_DELETE + 1);
    op->get_first = dice(4) == 0;
    op->row = (int)dice(ROWS);
    random_values(arena, op->values, big);
    op->values[KEY] = fake->keys[op->row];
    op->columns = dice(1u << COLUMNS) & ~(1u << KEY);
    if (op->op == ROW_ADD)
        op->columns &= numeric;
    if (op->op == ROW_ADD && dice(3) > 0)
        op->columns &= ~(1u << RATIO);
    if (op->op == ROW_PUT && dice(4) == 0)
        op->values[TOTAL] = (struct value){.kind = VALUE_NULL};
}

static void random_events(struct arena *arena, const struct fake *fake,
                          bool big, struct random_event *events, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        events[i].count = 1 + dice(MAX_OPS);
        events[i].fails_at_end = dice(6) == 0;
        for (size_t k = 0; k < events[i].count; k++)
            random_op(arena, fake, big, &events[i].ops[k]);
    }
}

/* ---- both sides run the same events ---- */

static bool model_event(struct arena *arena, const struct fake *fake,
                        const struct table_def *table, struct model *model,
                        const struct random_event *event)
{
    struct model before = *model;

    for (size_t k = 0; k < event->count; k++) {
        const struct op *op = &event->ops[k];

        if (!apply(arena, table, &model->rows[op->row], &fake->keys[op->row],
                   op->op, op->values, op->columns)) {
            *model = before;
            return false;
        }
    }
    if (event->fails_at_end)
        *model = before;
    return !event->fails_at_end;
}

static bool overlay_op(struct changes *changes, const struct op *op,
                       struct err *err)
{
    const struct value *key = &op->values[KEY];
    const struct value *row;

    if (op->get_first && !changes_db.get(changes, 0, key, &row, err))
        return false;
    switch (op->op) {
    case ROW_PUT:
        return changes_db.put(changes, 0, op->values, err);
    case ROW_INSERT:
        return changes_db.insert(changes, 0, op->values, err);
    case ROW_PATCH:
        return changes_db.patch(changes, 0, key, op->values, op->columns, err);
    case ROW_ADD:
        return changes_db.add(changes, 0, key, op->values, op->columns, err);
    case ROW_DELETE:
        break;
    }
    return changes_db.remove(changes, 0, key, err);
}

static bool overlay_event(struct changes *changes,
                          const struct random_event *event)
{
    struct event no_event = {.aggregate_id = STR("somebody")};
    bool good = true;
    struct err err;

    changes_event_begin(changes, &no_event);
    for (size_t k = 0; good && k < event->count; k++)
        good = overlay_op(changes, &event->ops[k], &err);
    if (good && !event->fails_at_end)
        return true;
    changes_event_undo(changes);
    return false;
}

static void assert_same_row(const struct model_row *model,
                            const struct value *seen)
{
    assert_int_equal(model->exists, seen != NULL);
    for (size_t c = 0; seen != NULL && c < COLUMNS; c++) {
        assert_int_equal(model->values[c].kind, seen[c].kind);
        assert_true(value_eq(&model->values[c], &seen[c]));
        if (seen[c].kind == VALUE_NUMERIC) /* the scale too */
            assert_true(str_eq(model->values[c].text, seen[c].text));
    }
}

static void assert_same(const struct model *model, const struct model *stored)
{
    for (int i = 0; i < ROWS; i++)
        assert_same_row(&model->rows[i],
                        stored->rows[i].exists ? stored->rows[i].values : NULL);
}

static void assert_seen(struct changes *changes, const struct fake *fake,
                        const struct model *model)
{
    struct event no_event = {.aggregate_id = STR("somebody")};
    const struct value *row;
    struct err err;

    changes_event_begin(changes, &no_event);
    for (int i = 0; i < ROWS; i++) {
        assert_true(changes_db.get(changes, 0, &fake->keys[i], &row, &err));
        assert_same_row(&model->rows[i], row);
    }
}

#define MAX_EVENTS 30

struct round {
    struct arena arena;
    struct fake fake;
    struct table_def table;
    struct projection_decl decl;
    struct changes *changes;
    struct random_event events[MAX_EVENTS];
    size_t count;
    struct model model;
};

/* True when it committed. */
static bool run_overlay(struct round *round, enum compose_mode mode)
{
    bool good;

    changes_begin(round->changes, NULL, 0, mode, NULL);
    round->model = round->fake.stored;
    for (size_t i = 0; i < round->count; i++) {
        bool expected = model_event(&round->arena, &round->fake, &round->table,
                                    &round->model, &round->events[i]);
        bool happened = overlay_event(round->changes, &round->events[i]);

        if (mode == COMPOSE_READ)
            assert_int_equal(happened, expected);
    }
    if (mode == COMPOSE_READ && dice(2) == 0)
        assert_seen(round->changes, &round->fake, &round->model);
    good = commit(&round->fake, &round->arena, &round->table, round->changes);
    changes_reset(round->changes);
    return good;
}

static void run_batch(struct round *round, bool big)
{
    round->count = 1 + dice(MAX_EVENTS);
    random_events(&round->arena, &round->fake, big, round->events,
                  round->count);
    if (big || !run_overlay(round, COMPOSE_UNREAD))
        assert_true(run_overlay(round, COMPOSE_READ));
    assert_same(&round->model, &round->fake.stored);
}

static void
random_handlers_make_the_same_rows_as_a_naive_model(void **state UNUSED)
{
    for (unsigned n = 0; n < 600; n++) {
        struct round *round = NEW(struct round);

        seed = n * 7919 + 1;
        round->table = table_def(VALUE_TEXT);
        round->decl.tables = &round->table;
        round->decl.table_count = 1;
        fake_init(&round->fake, &round->arena);
        round->changes = changes_new(&round->fake.store, &round->decl, 1);
        for (int batch = 0; batch < 6; batch++)
            run_batch(round, n % 4 == 0);
        changes_free(round->changes);
        arena_done(&round->arena);
        mem_free(round);
    }
}

/* ---- single facts ---- */

struct setting {
    struct arena arena;
    struct fake fake;
    struct table_def table;
    struct projection_decl decl;
    struct changes *changes;
    struct err err;
};

static const struct event somebody = {.aggregate_id = STR("somebody")};

static struct setting *set_up(enum value_kind key, enum compose_mode mode)
{
    struct setting *s = NEW(struct setting);

    s->table = table_def(key);
    s->decl.tables = &s->table;
    s->decl.table_count = 1;
    fake_init(&s->fake, &s->arena);
    s->changes = changes_new(&s->fake.store, &s->decl, 1);
    changes_begin(s->changes, NULL, 0, mode, NULL);
    changes_event_begin(s->changes, &somebody);
    return s;
}

static void tear_down(struct setting *s)
{
    changes_free(s->changes);
    arena_done(&s->arena);
    mem_free(s);
}

static void store_row(struct setting *s, int row)
{
    s->fake.stored.rows[row].exists = true;
    seed = (unsigned)row;
    random_values(&s->arena, s->fake.stored.rows[row].values, false);
    s->fake.stored.rows[row].values[KEY] = s->fake.keys[row];
}

static struct op an_op(struct setting *s, enum row_op kind, int row)
{
    struct op op = {.op = kind, .row = row, .columns = 1u << COUNT_32};

    random_values(&s->arena, op.values, false);
    op.values[KEY] = s->fake.keys[row];
    return op;
}

static bool run_op(struct setting *s, enum row_op kind, int row)
{
    struct op op = an_op(s, kind, row);

    return overlay_op(s->changes, &op, &s->err);
}

static void changes_that_need_no_row_do_not_ask_for_it(void **state UNUSED)
{
    struct setting *s = set_up(VALUE_TEXT, COMPOSE_UNREAD);
    static const enum row_op ops[] = {ROW_PATCH, ROW_PATCH,  ROW_PUT,
                                      ROW_ADD,   ROW_PATCH,  ROW_DELETE,
                                      ROW_ADD,   ROW_DELETE, ROW_INSERT};

    for (size_t i = 0; i < COUNT(ops); i++)
        assert_true(run_op(s, ops[i], 0));
    assert_true(run_op(s, ROW_ADD, 1));
    assert_true(run_op(s, ROW_ADD, 1));
    assert_true(run_op(s, ROW_INSERT, 2));
    assert_int_equal(s->fake.queries, 0);
    tear_down(s);
}

static void inserting_a_known_row_names_table_and_key(void **state UNUSED)
{
    struct setting *s = set_up(VALUE_TEXT, COMPOSE_READ);

    store_row(s, 3);
    assert_false(run_op(s, ROW_INSERT, 3));
    assert_int_equal(s->err.code, ERR_DATA);
    assert_string_equal(s->err.text,
                        "orders: a row with id = key-3 exists already");
    assert_true(run_op(s, ROW_DELETE, 3));
    assert_true(run_op(s, ROW_INSERT, 3));
    tear_down(s);
}

static void
an_insert_on_trust_that_is_deleted_again_is_looked_up(void **state UNUSED)
{
    struct setting *s = set_up(VALUE_TEXT, COMPOSE_UNREAD);
    const struct table_change *tables;
    size_t count;

    assert_true(run_op(s, ROW_INSERT, 1));
    assert_true(run_op(s, ROW_DELETE, 1));
    assert_false(changes_are_doubtful(s->changes));
    changes_seal(s->changes, &tables, &count);
    assert_int_equal(count, 0); /* it came and went */

    store_row(s, 2);
    assert_true(run_op(s, ROW_INSERT, 2));
    assert_true(run_op(s, ROW_DELETE, 2));
    assert_true(changes_are_doubtful(s->changes));
    changes_reset(s->changes);
    assert_false(changes_are_doubtful(s->changes));
    tear_down(s);
}

static void
asking_for_the_own_aggregate_brings_those_of_the_batch(void **state UNUSED)
{
    struct setting *s = set_up(VALUE_TEXT, COMPOSE_UNREAD);
    struct event events[4] = {{.aggregate_id = STR("key-0")},
                              {.aggregate_id = STR("key-1")},
                              {.aggregate_id = STR("key-0")},
                              {.aggregate_id = STR("key-7")}};
    const struct event *batch[4];
    const struct value *row;

    store_row(s, 0);
    store_row(s, 7);
    for (size_t i = 0; i < COUNT(batch); i++)
        batch[i] = &events[i];
    changes_begin(s->changes, batch, COUNT(batch), COMPOSE_UNREAD, NULL);
    for (size_t i = 0; i < COUNT(batch); i++) {
        int at = (int[]){0, 1, 0, 7}[i];

        changes_event_begin(s->changes, batch[i]);
        assert_true(
            changes_db.get(s->changes, 0, &s->fake.keys[at], &row, &s->err));
        assert_int_equal(row != NULL, at != 1);
    }
    assert_int_equal(s->fake.queries, 1);
    assert_int_equal(s->fake.keys_asked, 3);
    tear_down(s);
}

/* Each of `count` events asks for its own row, as long as the batch goes on;
 * how many did. */
static size_t ask_for_own(struct setting *s, struct event *events, size_t count)
{
    const struct event **batch =
        ARENA_ARRAY(&s->arena, const struct event *, count);
    const struct value *row;
    struct value key = {.kind = VALUE_TEXT};
    size_t done = 0;

    for (size_t i = 0; i < count; i++) {
        events[i].aggregate_id =
            str_of(arena_printf(&s->arena, "other-%zu", i));
        batch[i] = &events[i];
    }
    changes_begin(s->changes, batch, count, COMPOSE_UNREAD, NULL);
    while (done < count && changes_bytes(s->changes) < (size_t)16 << 20) {
        changes_event_begin(s->changes, batch[done]);
        key.text = events[done++].aggregate_id;
        assert_true(changes_db.get(s->changes, 0, &key, &row, &s->err));
    }
    return done;
}

static void rows_come_in_few_queries_unless_they_are_large(void **state UNUSED)
{
    struct setting *s = set_up(VALUE_TEXT, COMPOSE_UNREAD);
    struct event events[1000] = {{0}};

    assert_int_equal(ask_for_own(s, events, COUNT(events)), COUNT(events));
    assert_int_equal(s->fake.keys_asked, COUNT(events));
    assert_true(s->fake.queries <= 5);
    changes_reset(s->changes);

    s->fake.row_bytes = 100000;
    for (int i = 0; i < 3; i++) {
        assert_true(ask_for_own(s, events, COUNT(events)) > (i > 0 ? 100 : 0));
        /* No script is blamed for what was brought ahead of it. */
        assert_true(changes_arena(s->changes)->used < (size_t)1 << 20);
        assert_true(i == 0 || changes_bytes(s->changes) < (size_t)21 << 20);
        changes_reset(s->changes);
    }
    tear_down(s);
}

static void ids_that_are_no_key_are_left_out(void **state UNUSED)
{
    struct setting *s = set_up(VALUE_UUID, COMPOSE_UNREAD);
    struct event events[2] = {
        {.aggregate_id = STR("01920000-0000-7000-8000-00000000000a")},
        {.aggregate_id = STR("no uuid")}};
    const struct event *batch[2] = {&events[0], &events[1]};
    struct value key = {.kind = VALUE_UUID};
    const struct value *row;

    assert_true(uuid_parse(events[0].aggregate_id, &key.uuid));
    for (int i = 0; i < ROWS; i++)
        s->fake.keys[i] = key;
    changes_begin(s->changes, batch, COUNT(batch), COMPOSE_UNREAD, NULL);
    changes_event_begin(s->changes, batch[0]);
    assert_true(changes_db.get(s->changes, 0, &key, &row, &s->err));
    assert_null(row);
    assert_int_equal(s->fake.keys_asked, 1);
    tear_down(s);
}

static void undo_takes_back_the_event_and_nothing_before_it(void **state UNUSED)
{
    struct setting *s = set_up(VALUE_TEXT, COMPOSE_UNREAD);
    const struct table_change *tables;
    size_t count;

    assert_true(run_op(s, ROW_PUT, 1));
    changes_event_begin(s->changes, &somebody);
    assert_true(run_op(s, ROW_DELETE, 1));
    assert_true(run_op(s, ROW_PUT, 2));
    assert_true(run_op(s, ROW_ADD, 1));
    changes_event_undo(s->changes);

    changes_seal(s->changes, &tables, &count);
    assert_int_equal(count, 1);
    assert_int_equal(tables[0].count, 1);
    assert_int_equal(tables[0].rows[0].op, ROW_PUT);
    assert_true(value_eq(&tables[0].rows[0].values[KEY], &s->fake.keys[1]));
    tear_down(s);
}

static void a_store_that_is_away_is_told_as_such(void **state UNUSED)
{
    struct setting *s = set_up(VALUE_TEXT, COMPOSE_UNREAD);
    const struct value *row;

    s->fake.broken = true;
    assert_false(
        changes_db.get(s->changes, 0, &s->fake.keys[0], &row, &s->err));
    assert_int_equal(s->err.code, ERR_STORE);
    s->fake.broken = false;
    assert_true(changes_db.get(s->changes, 0, &s->fake.keys[0], &row, &s->err));
    assert_null(row);
    tear_down(s);
}

static void sums_that_do_not_fit_name_the_column(void **state UNUSED)
{
    struct setting *s = set_up(VALUE_TEXT, COMPOSE_READ);
    struct op op = an_op(s, ROW_ADD, 0);

    store_row(s, 0);
    s->fake.stored.rows[0].values[COUNT_32].i64 = INT32_MAX;
    op.values[COUNT_32].i64 = 1;
    assert_false(overlay_op(s->changes, &op, &s->err));
    assert_int_equal(s->err.code, ERR_INVALID_INPUT);
    assert_non_null(strstr(s->err.text, "orders.count: "));
    tear_down(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_handlers_make_the_same_rows_as_a_naive_model),
        cmocka_unit_test(changes_that_need_no_row_do_not_ask_for_it),
        cmocka_unit_test(inserting_a_known_row_names_table_and_key),
        cmocka_unit_test(an_insert_on_trust_that_is_deleted_again_is_looked_up),
        cmocka_unit_test(
            asking_for_the_own_aggregate_brings_those_of_the_batch),
        cmocka_unit_test(rows_come_in_few_queries_unless_they_are_large),
        cmocka_unit_test(ids_that_are_no_key_are_left_out),
        cmocka_unit_test(undo_takes_back_the_event_and_nothing_before_it),
        cmocka_unit_test(a_store_that_is_away_is_told_as_such),
        cmocka_unit_test(sums_that_do_not_fit_name_the_column),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
