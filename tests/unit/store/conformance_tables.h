#pragma once
/* The suite's chapter about read models: their tables, changes and rows. */
#include "unit/store/conformance.h"

/* One column of each kind behind a text key, all of which may be null. */
enum {
    ID,
    TEXT,
    UUID,
    BIGINT,
    INTEGER,
    NUMERIC,
    DOUBLE,
    BOOLEAN,
    DATE,
    TIME,
    JSON,
    THING_COLUMNS
};

static struct table_def things(void)
{
    return (struct table_def){
        .name = STR("things"),
        .column_count = THING_COLUMNS,
        .columns = {column("id", VALUE_TEXT), maybe("text", VALUE_TEXT),
                    maybe("uuid", VALUE_UUID), maybe("bigint", VALUE_BIGINT),
                    maybe("integer", VALUE_INTEGER),
                    maybe("numeric", VALUE_NUMERIC),
                    maybe("double", VALUE_DOUBLE),
                    maybe("boolean", VALUE_BOOLEAN), maybe("date", VALUE_DATE),
                    maybe("order", VALUE_TIMESTAMP), maybe("json", VALUE_JSON)},
        .index_count = 2,
        .indexes = {{1, {NUMERIC}}, {2, {TEXT, DATE}}},
    };
}

#define ALL         ((UINT64_C(1) << THING_COLUMNS) - 1)
#define BIT(column) (UINT64_C(1) << (column))

static void read_thing(struct fixture *fx, const char *const texts[],
                       struct value values[THING_COLUMNS])
{
    struct table_def table = things();

    for (size_t i = 0; i < THING_COLUMNS; i++)
        values[i] = value_of(fx, table.columns[i].kind, texts[i]);
}

static void assert_thing(struct runner *runner, const char *const texts[])
{
    struct value key = value_of(runner->fx, VALUE_TEXT, texts[ID]);
    struct row row = get_row(runner, key);

    assert_non_null(row.values);
    for (size_t i = 0; i < THING_COLUMNS; i++)
        assert_value(&row.values[i], texts[i]);
}

static void assert_no_thing(struct runner *runner, const char *id)
{
    assert_null(get_row(runner, value_of(runner->fx, VALUE_TEXT, id)).values);
}

static void change_thing(struct runner *runner, enum row_op op,
                         uint64_t columns, const char *const texts[])
{
    struct value values[THING_COLUMNS];
    struct row_change change = {op, columns, values};

    read_thing(runner->fx, texts, values);
    commit_rows(runner, &change, 1);
}

static enum commit_end try_thing(struct runner *runner, enum row_op op,
                                 uint64_t columns, const char *const texts[])
{
    struct value values[THING_COLUMNS];
    struct row_change change = {op, columns, values};

    read_thing(runner->fx, texts, values);
    return try_rows(runner, &change, 1);
}

/* ---- installing ---- */

static void an_installed_projection_is_found_with_its_checkpoint(void **state)
{
    struct fixture *fx = *state;
    struct table_def table = things();
    struct projection_def def = projection_of("thing-list", &table, 1);
    struct projection_def found;
    struct checkpoint *rows;
    size_t count;

    def.partitions = 3;
    def.version = 4;
    assert_false(store_projection_find(fx->store, def.name, &fx->arena, &found,
                                       &fx->err));
    assert_code(&fx->err, ERR_NOT_FOUND);
    write_ticks(fx, "a", 5);
    assert_ok(store_projection_install(fx->store, &def, 5, &fx->err), &fx->err);
    assert_ok(store_projection_find(fx->store, def.name, &fx->arena, &found,
                                    &fx->err),
              &fx->err);
    assert_str(found.name, "thing-list");
    assert_int_equal(found.generation, 1);
    assert_int_equal(found.partitions, 3);
    assert_int_equal(found.version, 4);
    assert_str(found.script_hash, "hash-1");
    assert_str(found.definition, "{\"tables\":\"as they are\"}");

    assert_ok(
        store_list_checkpoints(fx->store, &fx->arena, &rows, &count, &fx->err),
        &fx->err);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(rows[i].slice.partition, i);
        assert_int_equal(rows[i].position, 5);
        assert_int_equal(rows[i].events_processed, 0);
    }
}

static void installing_again_changes_nothing(void **state)
{
    struct fixture *fx = *state;
    struct table_def table = things();
    struct runner runner = start_runner(fx, &table);
    static const char *const thing[THING_COLUMNS] = {"kept"};
    struct projection_def def = projection_of("things", &table, 1);

    change_thing(&runner, ROW_PUT, ALL, thing);
    assert_ok(store_projection_install(fx->store, &def, 0, &fx->err), &fx->err);
    assert_thing(&runner, thing);
    def.version = 2;
    def.script_hash = STR("hash-2");
    assert_ok(store_projection_install(fx->store, &def, 99, &fx->err),
              &fx->err);
    assert_thing(&runner, thing);
    change_thing(&runner, ROW_DELETE, 0, thing);
}

static void another_layout_under_the_same_name_is_a_conflict(void **state)
{
    struct fixture *fx = *state;
    struct table_def table = things();
    struct projection_def def = projection_of("things", &table, 1);

    assert_ok(store_projection_install(fx->store, &def, 0, &fx->err), &fx->err);
    def.definition = STR("{\"tables\":\"others\"}");
    assert_false(store_projection_install(fx->store, &def, 0, &fx->err));
    assert_code(&fx->err, ERR_CONFLICT);
    assert_non_null(strstr(fx->err.text, "things"));
    def.definition = STR("{\"tables\":\"as they are\"}");
    def.partitions = 2;
    assert_false(store_projection_install(fx->store, &def, 0, &fx->err));
    assert_code(&fx->err, ERR_CONFLICT);
}

static void a_table_of_another_projection_is_a_conflict(void **state)
{
    struct fixture *fx = *state;
    struct table_def table = things();
    struct projection_def first = projection_of("first", &table, 1);
    struct projection_def second = projection_of("second", &table, 1);
    struct projection_def found;

    assert_ok(store_projection_install(fx->store, &first, 0, &fx->err),
              &fx->err);
    assert_false(store_projection_install(fx->store, &second, 0, &fx->err));
    assert_code(&fx->err, ERR_CONFLICT);
    assert_non_null(strstr(fx->err.text, "things"));
    assert_non_null(strstr(fx->err.text, "first"));
    assert_false(store_projection_find(fx->store, second.name, &fx->arena,
                                       &found, &fx->err));
    assert_code(&fx->err, ERR_NOT_FOUND);
}

static void a_table_that_is_not_ours_is_a_conflict(void **state)
{
    struct fixture *fx = *state;
    struct table_def table = things();
    struct projection_def def = projection_of("things", &table, 1);

    target->sql("create table things (mine integer)");
    assert_false(store_projection_install(fx->store, &def, 0, &fx->err));
    assert_code(&fx->err, ERR_CONFLICT);
    assert_non_null(strstr(fx->err.text, "things"));
    target->sql("drop table things; create table things__1 (mine integer)");
    assert_false(store_projection_install(fx->store, &def, 0, &fx->err));
    assert_code(&fx->err, ERR_CONFLICT);
    target->sql("drop table things__1");
    assert_ok(store_projection_install(fx->store, &def, 0, &fx->err), &fx->err);
}

#define INSTALLERS 4

struct installer {
    struct thread *thread;
    struct store *store;
    const struct projection_def *def;
    bool good;
    struct err err;
};

static void install_once(void *arg)
{
    struct installer *me = arg;

    me->good = store_projection_install(me->store, me->def, 0, &me->err);
}

static void installs_at_once_make_one_projection(void **state)
{
    struct fixture *fx = *state;
    struct table_def table = things();
    struct projection_def def = projection_of("things", &table, 1);
    struct installer all[INSTALLERS] = {0};
    struct checkpoint *rows;
    size_t count;

    for (size_t i = 0; i < INSTALLERS; i++) {
        all[i].store = fx->store;
        all[i].def = &def;
        all[i].thread =
            thread_start("installer", install_once, &all[i], &fx->err);
        assert_non_null(all[i].thread);
    }
    for (size_t i = 0; i < INSTALLERS; i++)
        thread_join(all[i].thread);
    for (size_t i = 0; i < INSTALLERS; i++)
        assert_ok(all[i].good, &all[i].err);
    assert_ok(
        store_list_checkpoints(fx->store, &fx->arena, &rows, &count, &fx->err),
        &fx->err);
    assert_int_equal(count, 1);
}

static void a_note_says_which_script_runs_now(void **state)
{
    struct fixture *fx = *state;
    struct table_def table = things();
    struct projection_def def = projection_of("things", &table, 1);
    struct projection_def found;

    assert_ok(store_projection_install(fx->store, &def, 0, &fx->err), &fx->err);
    def.version = 8;
    def.script_hash = STR("hash-8");
    assert_ok(store_projection_note(fx->store, &def, &fx->err), &fx->err);
    assert_ok(store_projection_find(fx->store, def.name, &fx->arena, &found,
                                    &fx->err),
              &fx->err);
    assert_int_equal(found.version, 8);
    assert_str(found.script_hash, "hash-8");
}

/* ---- changes ---- */

/* clang-format off */
static const char *const low[THING_COLUMNS] = {
    "low", "", "00000000-0000-0000-0000-000000000001", "-9223372036854775808",
    "-2147483648", "-123456789012345678901234567890.12345", "-1.5e-300",
    "false", "0001-01-01", "1969-12-31T23:59:59.999999Z", "[]",
};
static const char *const high[THING_COLUMNS] = {
    "high", "\xf0\x9f\x98\x80 it's \"quoted\" \\ \n \xc3\xa9",
    "ffffffff-ffff-4fff-bfff-ffffffffffff", "9223372036854775807",
    "2147483647", "0.000", "0.1", "true", "9999-12-31",
    "9999-12-31T23:59:59.999999Z",
    "{\"z\":123456789012345678901234567890,\"a\":[1.10,null,\"\\u00e9\"]}",
};
static const char *const none[THING_COLUMNS] = {"none"};
/* clang-format on */

static void every_kind_of_value_and_null_come_back(void **state)
{
    struct fixture *fx = *state;
    struct table_def table = things();
    struct runner runner = start_runner(fx, &table);

    change_thing(&runner, ROW_PUT, ALL, low);
    change_thing(&runner, ROW_INSERT, ALL, high);
    change_thing(&runner, ROW_PUT, ALL, none);
    assert_thing(&runner, low);
    assert_thing(&runner, high);
    assert_thing(&runner, none);
    assert_no_thing(&runner, "absent");
}

static void put_replaces_the_whole_row(void **state)
{
    struct fixture *fx = *state;
    struct table_def table = things();
    struct runner runner = start_runner(fx, &table);
    const char *other[THING_COLUMNS];

    memcpy(other, high, sizeof(other));
    other[ID] = "low";
    change_thing(&runner, ROW_PUT, ALL, low);
    change_thing(&runner, ROW_PUT, ALL, other);
    assert_thing(&runner, other);
    memcpy(other, none, sizeof(other));
    other[ID] = "low";
    change_thing(&runner, ROW_PUT, ALL, other);
    assert_thing(&runner, other);
}

static void patch_sets_some_columns_of_a_row_that_is_there(void **state)
{
    struct fixture *fx = *state;
    struct table_def table = things();
    struct runner runner = start_runner(fx, &table);
    const char *patch[THING_COLUMNS] = {"low", "changed"};
    const char *wanted[THING_COLUMNS];

    change_thing(&runner, ROW_PUT, ALL, low);
    change_thing(&runner, ROW_PATCH, BIT(TEXT) | BIT(NUMERIC), patch);
    memcpy(wanted, low, sizeof(wanted));
    wanted[TEXT] = "changed";
    wanted[NUMERIC] = NULL;
    assert_thing(&runner, wanted);

    patch[ID] = "absent";
    change_thing(&runner, ROW_PATCH, BIT(TEXT), patch);
    assert_no_thing(&runner, "absent");
}

static void delete_removes_a_row_and_minds_no_absence(void **state)
{
    struct fixture *fx = *state;
    struct table_def table = things();
    struct runner runner = start_runner(fx, &table);

    change_thing(&runner, ROW_PUT, ALL, low);
    change_thing(&runner, ROW_DELETE, 0, low);
    assert_no_thing(&runner, "low");
    change_thing(&runner, ROW_DELETE, 0, low);
}

#define SUMS (BIT(BIGINT) | BIT(INTEGER) | BIT(NUMERIC) | BIT(DOUBLE))

static void add_sums_from_zero_or_from_what_is_there(void **state)
{
    struct fixture *fx = *state;
    struct table_def table = things();
    struct runner runner = start_runner(fx, &table);
    const char *amount[THING_COLUMNS] = {[ID] = "x",
                                         [BIGINT] = "5",
                                         [INTEGER] = "-3",
                                         [NUMERIC] = "12.50",
                                         [DOUBLE] = "0.25"};
    const char *wanted[THING_COLUMNS];

    change_thing(&runner, ROW_ADD, SUMS, amount);
    assert_thing(&runner, amount);
    change_thing(&runner, ROW_ADD, BIT(BIGINT) | BIT(NUMERIC), amount);
    memcpy(wanted, amount, sizeof(wanted));
    wanted[BIGINT] = "10";
    wanted[NUMERIC] = "25.00";
    assert_thing(&runner, wanted);

    /* Null counts as zero. */
    change_thing(&runner, ROW_PUT, ALL, none);
    amount[ID] = "none";
    change_thing(&runner, ROW_ADD, SUMS, amount);
    assert_thing(&runner, amount);
}

static void an_add_that_makes_the_row_fills_it_with_zeros(void **state)
{
    struct fixture *fx = *state;
    struct table_def table = {
        .name = STR("filled"),
        .column_count = 9,
        .columns = {column("id", VALUE_BIGINT), column("text", VALUE_TEXT),
                    column("uuid", VALUE_UUID), column("n", VALUE_NUMERIC),
                    column("flag", VALUE_BOOLEAN), column("date", VALUE_DATE),
                    column("json", VALUE_JSON), maybe("name", VALUE_TEXT),
                    maybe("sum", VALUE_NUMERIC)},
    };
    static const char *const wanted[] = {
        "-7",   "",      "00000000-0000-0000-0000-000000000000",
        "1.25", "false", "1970-01-01",
        "{}",   NULL,    "0"};
    struct runner runner = start_runner(fx, &table);
    struct value values[9] = {value_of(fx, VALUE_BIGINT, "-7")};
    struct row_change change = {ROW_ADD, BIT(3), values};
    struct row row;

    values[3] = value_of(fx, VALUE_NUMERIC, "1.25");
    commit_rows(&runner, &change, 1);
    row = get_row(&runner, values[0]);
    assert_non_null(row.values);
    for (size_t i = 0; i < COUNT(wanted); i++)
        assert_value(&row.values[i], wanted[i]);
}

static void many_small_sums_are_exact(void **state)
{
    struct fixture *fx = *state;
    struct table_def table = things();
    struct runner runner = start_runner(fx, &table);
    const char *amount[THING_COLUMNS] = {[ID] = "x", [NUMERIC] = "0.1"};
    const char *sum[THING_COLUMNS] = {
        [ID] = "x", [BIGINT] = "0", [INTEGER] = "0", [DOUBLE] = "0"};

    for (int i = 0; i < 1000; i++)
        change_thing(&runner, ROW_ADD, BIT(NUMERIC), amount);
    sum[NUMERIC] = "100.0";
    assert_thing(&runner, sum);
    amount[NUMERIC] = "123456789012345678901234567890.000000000000000000000001";
    change_thing(&runner, ROW_ADD, BIT(NUMERIC), amount);
    sum[NUMERIC] = "123456789012345678901234567990.000000000000000000000001";
    assert_thing(&runner, sum);
    amount[NUMERIC] =
        "-123456789012345678901234567990.000000000000000000000001";
    change_thing(&runner, ROW_ADD, BIT(NUMERIC), amount);
    sum[NUMERIC] = "0.000000000000000000000000";
    assert_thing(&runner, sum);
}

/* ---- what is refused ---- */

static void a_second_insert_is_refused_with_all_of_its_batch(void **state)
{
    struct fixture *fx = *state;
    struct table_def table = things();
    struct runner runner = start_runner(fx, &table);
    struct value values[2][THING_COLUMNS];
    struct row_change changes[] = {{ROW_PUT, ALL, values[0]},
                                   {ROW_INSERT, ALL, values[1]}};
    uint64_t before;

    change_thing(&runner, ROW_INSERT, ALL, low);
    before = runner.position;
    read_thing(fx, high, values[0]);
    read_thing(fx, low, values[1]);
    assert_int_equal(try_rows(&runner, changes, 2), COMMIT_REFUSED);
    assert_code(&fx->err, ERR_DATA);
    assert_no_thing(&runner, "high");
    assert_thing(&runner, low);
    /* The checkpoint has not moved: the same batch without it goes through. */
    assert_int_equal(runner.position, before);
    commit_rows(&runner, changes, 1);
    assert_thing(&runner, high);
}

static void a_sum_that_does_not_fit_is_refused(void **state)
{
    static const struct {
        size_t column;
        const char *there;
        const char *more;
    } sums[] = {
        {INTEGER, "2147483647", "1"},
        {INTEGER, "-2147483648", "-1"},
        {BIGINT, "9223372036854775807", "1"},
        {BIGINT, "-9223372036854775808", "-1"},
        {DOUBLE, "1.7e+308", "1.7e+308"},
    };
    struct fixture *fx = *state;
    struct table_def table = things();
    struct runner runner = start_runner(fx, &table);

    for (size_t i = 0; i < COUNT(sums); i++) {
        const char *thing[THING_COLUMNS] = {"x"};

        thing[sums[i].column] = sums[i].there;
        change_thing(&runner, ROW_PUT, ALL, thing);
        thing[sums[i].column] = sums[i].more;
        assert_int_equal(
            try_thing(&runner, ROW_ADD, BIT(sums[i].column), thing),
            COMMIT_REFUSED);
        assert_code(&fx->err, ERR_DATA);
        thing[sums[i].column] = sums[i].there;
        assert_thing(&runner, thing);
    }
}

static void null_in_a_column_that_has_none_is_refused(void **state)
{
    struct fixture *fx = *state;
    struct table_def table = {
        .name = STR("strict"),
        .column_count = 2,
        .columns = {column("id", VALUE_TEXT), column("n", VALUE_BIGINT)},
    };
    struct runner runner = start_runner(fx, &table);
    struct value values[2] = {value_of(fx, VALUE_TEXT, "x")};
    struct row_change change = {ROW_PUT, 3, values};

    assert_int_equal(try_rows(&runner, &change, 1), COMMIT_REFUSED);
    assert_code(&fx->err, ERR_DATA);
    values[1] = value_of(fx, VALUE_BIGINT, "1");
    commit_rows(&runner, &change, 1);
    values[1] = (struct value){.kind = VALUE_NULL};
    change.op = ROW_PATCH;
    assert_int_equal(try_rows(&runner, &change, 1), COMMIT_REFUSED);
}

static void a_table_that_was_dropped_breaks_the_projection(void **state)
{
    struct fixture *fx = *state;
    struct table_def table = things();
    struct runner runner = start_runner(fx, &table);

    target->sql("drop view things; drop table things__1");
    assert_int_equal(try_thing(&runner, ROW_PUT, ALL, low), COMMIT_BROKEN);
    assert_code(&fx->err, ERR_CONFIG);
}

/* ---- keys ---- */

static struct table_def keyed_by(enum value_kind kind)
{
    return (struct table_def){
        .name = STR("keyed"),
        .column_count = 2,
        .columns = {column("key", kind), maybe("n", VALUE_BIGINT)},
    };
}

/* clang-format off */
#define SAMPLES 5
/* Ascending, as every store must sort them. */
static const struct {
    enum value_kind kind;
    const char *texts[SAMPLES];
} samples[] = {
    {VALUE_TEXT,      {"", "A", "a", "ab", "\xc3\xa9"}},
    {VALUE_UUID,      {"00000000-0000-0000-0000-000000000000", "00000000-0000-7000-8000-000000000001",
                       "0b000000-0000-0000-0000-000000000000", "a0000000-0000-0000-0000-000000000000",
                       "ffffffff-ffff-ffff-ffff-ffffffffffff"}},
    {VALUE_BIGINT,    {"-9223372036854775808", "-1", "0", "7", "9223372036854775807"}},
    {VALUE_INTEGER,   {"-2147483648", "-1", "0", "10", "2147483647"}},
    {VALUE_NUMERIC,   {"-12345678901234567890.5", "-0.30", "0", "9.5", "10"}},
    {VALUE_DOUBLE,    {"-1e+300", "-1.5", "0", "1e-300", "2.5"}},
    {VALUE_DATE,      {"0001-01-01", "1969-12-31", "1970-01-01", "2010-12-01", "9999-12-31"}},
    {VALUE_TIMESTAMP, {"0001-01-01T00:00:00.000000Z", "1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00.000000Z",
                       "2010-12-01T08:26:00.000001Z", "9999-12-31T23:59:59.999999Z"}},
};
/* clang-format on */

/* One store a kind would be slow; one table a kind has another name each. */
static void rename_table(struct table_def *table, const char *word)
{
    static char name[48];

    snprintf(name, sizeof(name), "by_%s", word);
    table->name = str_of(name);
}

static void rows_are_found_by_keys_of_every_kind(void **state)
{
    struct fixture *fx = *state;

    for (size_t i = 0; i < COUNT(samples); i++) {
        struct table_def table = keyed_by(samples[i].kind);
        struct value values[SAMPLES][2];
        struct row_change changes[SAMPLES];
        struct runner runner;

        rename_table(&table, value_word(samples[i].kind));
        runner = start_runner(fx, &table);
        for (size_t j = 0; j < SAMPLES; j++) {
            values[j][0] = value_of(fx, samples[i].kind, samples[i].texts[j]);
            values[j][1] =
                (struct value){.kind = VALUE_BIGINT, .i64 = (int64_t)j};
            changes[j] = (struct row_change){ROW_PUT, 3, values[j]};
        }
        commit_rows(&runner, changes, SAMPLES);
        for (size_t j = 0; j < SAMPLES; j++) {
            struct row row = get_row(&runner, values[j][0]);

            assert_non_null(row.values);
            assert_value(&row.values[0], samples[i].texts[j]);
            assert_int_equal(row.values[1].i64, j);
        }
        for (size_t j = 0; j < SAMPLES; j++)
            changes[j].op = ROW_DELETE;
        commit_rows(&runner, changes, SAMPLES);
        assert_null(get_row(&runner, values[0][0]).values);
    }
}

static void rows_belong_to_the_keys_that_were_asked(void **state)
{
    struct fixture *fx = *state;
    struct table_def table = things();
    struct runner runner = start_runner(fx, &table);
    struct value keys[] = {
        value_of(fx, VALUE_TEXT, "none"), value_of(fx, VALUE_TEXT, "absent"),
        value_of(fx, VALUE_TEXT, "high"), value_of(fx, VALUE_TEXT, "")};
    struct row *rows = NULL;

    change_thing(&runner, ROW_PUT, ALL, high);
    change_thing(&runner, ROW_PUT, ALL, none);
    assert_ok(store_rows_get(fx->store, &table, 1, keys, COUNT(keys),
                             &fx->arena, &rows, &fx->err),
              &fx->err);
    assert_value(&rows[0].values[ID], "none");
    assert_null(rows[1].values);
    assert_value(&rows[2].values[ID], "high");
    assert_null(rows[3].values);
    assert_ok(store_rows_get(fx->store, &table, 1, keys, 0, &fx->arena, &rows,
                             &fx->err),
              &fx->err);
}

/* ---- lists ---- */

#define TIES 3 /* rows with each sample, and with null */

static struct table_def sorted_by(enum value_kind kind)
{
    return (struct table_def){
        .name = STR("sorted"),
        .column_count = 2,
        .columns = {column("key", VALUE_INTEGER), maybe("value", kind)},
        .index_count = 1,
        .indexes = {{1, {1}}},
    };
}

/* Keys in an order that has nothing to do with the values'; null is sample
 * SAMPLES. */
static int64_t key_of(size_t sample, size_t tie)
{
    return (int64_t)(tie * 100 + (sample * 7) % (SAMPLES + 1));
}

static void fill_sorted(struct runner *runner, size_t kind)
{
    struct fixture *fx = runner->fx;
    struct value values[(SAMPLES + 1) * TIES][2];
    struct row_change changes[(SAMPLES + 1) * TIES];
    size_t n = 0;

    for (size_t sample = 0; sample <= SAMPLES; sample++) {
        for (size_t tie = 0; tie < TIES; tie++, n++) {
            const char *text =
                sample < SAMPLES ? samples[kind].texts[sample] : NULL;

            values[n][0] = (struct value){.kind = VALUE_INTEGER,
                                          .i64 = key_of(sample, tie)};
            values[n][1] = value_of(fx, samples[kind].kind, text);
            changes[n] = (struct row_change){ROW_PUT, 3, values[n]};
        }
    }
    commit_rows(runner, changes, n);
}

/* Pages of two through everything, so that a page ends at every place. */
static size_t page_through(struct fixture *fx, struct row_query *query,
                           struct row *out, size_t room)
{
    struct row *rows;
    size_t count;
    size_t total = 0;

    query->limit = 2;
    query->resume = false;
    do {
        assert_ok(store_rows_list(fx->store, query, &fx->arena, &rows, &count,
                                  &fx->err),
                  &fx->err);
        assert_true(count <= query->limit);
        assert_true(total + count <= room);
        for (size_t i = 0; i < count; i++)
            out[total++] = rows[i];
        if (count > 0) {
            query->resume = true;
            query->after_order = rows[count - 1].values[query->order];
            query->after_key = rows[count - 1].values[query->table->key];
        }
    } while (count == query->limit);
    return total;
}

static int by_value_and_key(const void *a, const void *b)
{
    const struct row *x = a;
    const struct row *y = b;
    int order = value_cmp(&x->values[1], &y->values[1]);

    return order != 0 ? order : value_cmp(&x->values[0], &y->values[0]);
}

static void lists_are_sorted_by_every_kind_with_nulls_first(void **state)
{
    struct fixture *fx = *state;

    for (size_t i = 0; i < COUNT(samples); i++) {
        struct table_def table = sorted_by(samples[i].kind);
        struct row_query query = {.table = &table, .order = 1};
        struct row rows[(SAMPLES + 1) * TIES];
        struct row back[(SAMPLES + 1) * TIES];
        struct runner runner;

        rename_table(&table, value_word(samples[i].kind));
        runner = start_runner(fx, &table);
        fill_sorted(&runner, i);
        assert_int_equal(page_through(fx, &query, rows, COUNT(rows)),
                         COUNT(rows));
        for (size_t j = 0; j < TIES; j++)
            assert_value(&rows[j].values[1], NULL);
        for (size_t j = TIES; j < COUNT(rows); j++)
            assert_value(&rows[j].values[1], samples[i].texts[j / TIES - 1]);
        for (size_t j = 1; j < COUNT(rows); j++)
            assert_true(by_value_and_key(&rows[j - 1], &rows[j]) < 0);

        query.descending = true;
        assert_int_equal(page_through(fx, &query, back, COUNT(back)),
                         COUNT(back));
        for (size_t j = 0; j < COUNT(rows); j++)
            assert_int_equal(back[j].values[0].i64,
                             rows[COUNT(rows) - 1 - j].values[0].i64);
    }
}

static void lists_are_filtered_by_values_of_every_kind(void **state)
{
    struct fixture *fx = *state;

    for (size_t i = 0; i < COUNT(samples); i++) {
        struct table_def table = sorted_by(samples[i].kind);
        struct runner runner;

        rename_table(&table, value_word(samples[i].kind));
        runner = start_runner(fx, &table);
        fill_sorted(&runner, i);
        for (size_t sample = 0; sample <= SAMPLES; sample++) {
            const char *text =
                sample < SAMPLES ? samples[i].texts[sample] : NULL;
            struct row_query query = {.table = &table, .filter_count = 1};
            struct row rows[TIES];

            query.filters[0].column = 1;
            query.filters[0].value = value_of(fx, samples[i].kind, text);
            assert_int_equal(page_through(fx, &query, rows, TIES), TIES);
            for (size_t j = 0; j < TIES; j++) {
                assert_value(&rows[j].values[1], text);
                assert_int_equal(rows[j].values[0].i64, key_of(sample, j));
            }
        }
    }
}

static void filters_are_joined_and_compare_by_value(void **state)
{
    struct fixture *fx = *state;
    struct table_def table = things();
    struct runner runner = start_runner(fx, &table);
    const char *thing[THING_COLUMNS] = {
        [ID] = "x", [TEXT] = "red", [NUMERIC] = "1.50", [BOOLEAN] = "true"};
    struct row_query query = {.table = &table, .filter_count = 3};
    struct row rows[4];

    change_thing(&runner, ROW_PUT, ALL, thing);
    thing[ID] = "y";
    thing[BOOLEAN] = "false";
    change_thing(&runner, ROW_PUT, ALL, thing);
    query.filters[0].column = NUMERIC;
    query.filters[0].value = value_of(fx, VALUE_NUMERIC, "1.5");
    query.filters[1].column = TEXT;
    query.filters[1].value = value_of(fx, VALUE_TEXT, "red");
    query.filters[2].column = BOOLEAN;
    query.filters[2].value = value_of(fx, VALUE_BOOLEAN, "false");
    assert_int_equal(page_through(fx, &query, rows, 4), 1);
    assert_value(&rows[0].values[ID], "y");
    query.filters[2].value = value_of(fx, VALUE_BOOLEAN, NULL);
    assert_int_equal(page_through(fx, &query, rows, 4), 0);
    query.filter_count = 2;
    assert_int_equal(page_through(fx, &query, rows, 4), 2);
    query.descending = true;
    assert_int_equal(page_through(fx, &query, rows, 4), 2);
    assert_value(&rows[0].values[ID], "y");
}

static void json_columns_are_no_filter_and_no_order(void **state)
{
    struct fixture *fx = *state;
    struct table_def table = things();
    struct runner runner = start_runner(fx, &table);
    struct row_query query = {.table = runner.table, .order = JSON, .limit = 1};
    struct row *rows;
    size_t count;

    assert_false(store_rows_list(fx->store, &query, &fx->arena, &rows, &count,
                                 &fx->err));
    assert_code(&fx->err, ERR_INVALID_INPUT);
    query.order = ID;
    query.filter_count = 1;
    query.filters[0].column = JSON;
    assert_false(store_rows_list(fx->store, &query, &fx->arena, &rows, &count,
                                 &fx->err));
    assert_code(&fx->err, ERR_INVALID_INPUT);
}

#define TABLE_TESTS(migrated)                                                  \
    migrated(an_installed_projection_is_found_with_its_checkpoint),            \
        migrated(installing_again_changes_nothing),                            \
        migrated(another_layout_under_the_same_name_is_a_conflict),            \
        migrated(a_table_of_another_projection_is_a_conflict),                 \
        migrated(a_table_that_is_not_ours_is_a_conflict),                      \
        migrated(installs_at_once_make_one_projection),                        \
        migrated(a_note_says_which_script_runs_now),                           \
        migrated(every_kind_of_value_and_null_come_back),                      \
        migrated(put_replaces_the_whole_row),                                  \
        migrated(patch_sets_some_columns_of_a_row_that_is_there),              \
        migrated(delete_removes_a_row_and_minds_no_absence),                   \
        migrated(add_sums_from_zero_or_from_what_is_there),                    \
        migrated(an_add_that_makes_the_row_fills_it_with_zeros),               \
        migrated(many_small_sums_are_exact),                                   \
        migrated(a_second_insert_is_refused_with_all_of_its_batch),            \
        migrated(a_sum_that_does_not_fit_is_refused),                          \
        migrated(null_in_a_column_that_has_none_is_refused),                   \
        migrated(a_table_that_was_dropped_breaks_the_projection),              \
        migrated(rows_are_found_by_keys_of_every_kind),                        \
        migrated(rows_belong_to_the_keys_that_were_asked),                     \
        migrated(lists_are_sorted_by_every_kind_with_nulls_first),             \
        migrated(lists_are_filtered_by_values_of_every_kind),                  \
        migrated(filters_are_joined_and_compare_by_value),                     \
        migrated(json_columns_are_no_filter_and_no_order)
