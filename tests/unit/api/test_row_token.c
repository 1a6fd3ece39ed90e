#include "api/row_token.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct table_def orders = {
    .name = {"orders", 6},
    .column_count = 4,
    .columns = {{{"order_id", 8}, VALUE_UUID, false},
                {{"note", 4}, VALUE_TEXT, true},
                {{"total", 5}, VALUE_NUMERIC, false},
                {{"updated_at", 10}, VALUE_TIMESTAMP, false}},
};

struct fixture {
    struct arena arena;
    struct value values[4];
    struct row row;
    struct err err;
};

static int setup(void **state)
{
    static struct fixture f;

    f = (struct fixture){0};
    f.values[0].kind = VALUE_UUID;
    assert_true(uuid_parse(STR("018f4e6a-0000-7000-8000-00000000000a"),
                           &f.values[0].uuid));
    f.values[1] = (struct value){.kind = VALUE_TEXT, .text = STR("\"é, \n")};
    f.values[2] = (struct value){.kind = VALUE_NUMERIC,
                                 .text = STR("-12345678901234567890.50")};
    f.values[3] =
        (struct value){.kind = VALUE_TIMESTAMP, .wall_us = 1291191960000001};
    f.row.values = f.values;
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    arena_done(&((struct fixture *)*state)->arena);
    return 0;
}

static struct row_query query_by(size_t order)
{
    return (struct row_query){.table = &orders, .order = order};
}

static struct str token_of(struct fixture *f, size_t order)
{
    struct row_query query = query_by(order);

    return row_token_make(&query, &f->row, &f->arena);
}

static void a_token_brings_back_order_value_and_key(void **state)
{
    struct fixture *f = *state;

    for (size_t order = 0; order < orders.column_count; order++) {
        struct row_query query = query_by(order);

        assert_true(
            row_token_read(token_of(f, order), &query, &f->arena, &f->err));
        assert_true(query.resume);
        assert_true(value_eq(&query.after_order, &f->values[order]));
        assert_true(value_eq(&query.after_key, &f->values[0]));
    }
}

static void null_is_an_order_value_too(void **state)
{
    struct fixture *f = *state;
    struct row_query query = query_by(1);

    f->values[1] = (struct value){.kind = VALUE_NULL};
    assert_true(row_token_read(token_of(f, 1), &query, &f->arena, &f->err));
    assert_int_equal(query.after_order.kind, VALUE_NULL);
}

static void a_token_is_safe_in_a_url(void **state)
{
    struct str token = token_of(*state, 1);

    for (size_t i = 0; i < token.len; i++)
        assert_non_null(strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrst"
                               "uvwxyz0123456789-_",
                               token.ptr[i]));
}

static void any_changed_character_is_refused(void **state)
{
    struct fixture *f = *state;
    struct str token = token_of(f, 2);

    for (size_t i = 0; i < token.len; i++) {
        static const char others[] = "AQgwz9-_~%";

        for (size_t j = 0; j < sizeof(others) - 1; j++) {
            struct row_query query = query_by(2);
            struct str copy = arena_str(&f->arena, token);
            char *bytes = arena_alloc(&f->arena, copy.len);

            if (copy.ptr[i] == others[j])
                continue;
            memcpy(bytes, copy.ptr, copy.len);
            bytes[i] = others[j];
            assert_false(row_token_read(str_n(bytes, copy.len), &query,
                                        &f->arena, &f->err));
            assert_int_equal(f->err.code, ERR_BAD_REQUEST);
        }
    }
}

/* Where bits are left over in the last character, many characters would mean
 * the same bytes: only one of them is taken. */
static void the_last_character_has_one_spelling(void **state)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq"
                                  "rstuvwxyz0123456789-_";
    struct fixture *f = *state;

    for (size_t order = 0; order < orders.column_count; order++) {
        struct str token = token_of(f, order);
        char *bytes = arena_alloc(&f->arena, token.len);
        int taken = 0;

        memcpy(bytes, token.ptr, token.len);
        for (size_t i = 0; i < 64; i++) {
            struct row_query query = query_by(order);

            bytes[token.len - 1] = letters[i];
            taken += row_token_read(str_n(bytes, token.len), &query, &f->arena,
                                    &f->err);
        }
        assert_int_equal(taken, 1);
    }
}

static void any_cut_token_is_refused(void **state)
{
    struct fixture *f = *state;
    struct str token = token_of(f, 2);

    for (size_t len = 0; len < token.len; len++) {
        struct row_query query = query_by(2);

        assert_false(
            row_token_read(str_n(token.ptr, len), &query, &f->arena, &f->err));
    }
}

static void a_token_of_another_order_or_table_is_refused(void **state)
{
    struct fixture *f = *state;
    struct table_def other = orders;
    struct row_query query = query_by(3);
    struct str token = token_of(f, 2);

    assert_false(row_token_read(token, &query, &f->arena, &f->err));
    query = query_by(2);
    query.descending = true;
    assert_false(row_token_read(token, &query, &f->arena, &f->err));
    other.name = STR("order_s");
    query = (struct row_query){.table = &other, .order = 2};
    assert_false(row_token_read(token, &query, &f->arena, &f->err));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_token_brings_back_order_value_and_key),
        TEST(null_is_an_order_value_too),
        TEST(a_token_is_safe_in_a_url),
        TEST(any_changed_character_is_refused),
        TEST(the_last_character_has_one_spelling),
        TEST(any_cut_token_is_refused),
        TEST(a_token_of_another_order_or_table_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
