#include "base/decimal.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- help ---- */

static struct decimal of(const char *text)
{
    struct decimal d;
    struct err err;

    decimal_init(&d);
    if (!decimal_parse(&d, str_of(text), &err))
        fail_msg("'%s': %s", text, err.text);
    return d;
}

static void assert_is(struct decimal *d, const char *want)
{
    struct buf text = {0};

    decimal_format(d, &text);
    assert_string_equal(text.ptr, want);
    buf_done(&text);
}

typedef bool operation(struct decimal *out, const struct decimal *a,
                       const struct decimal *b, struct err *err);

static void assert_gives(operation *op, const char *a, const char *b,
                         const char *want)
{
    struct decimal x = of(a);
    struct decimal y = of(b);
    struct decimal z = of("77");
    struct err err;

    if (!op(&z, &x, &y, &err))
        fail_msg("%s, %s: %s", a, b, err.text);
    assert_is(&z, want);
    assert_is(&x, a);
    assert_is(&y, b);
    decimal_done(&x);
    decimal_done(&y);
    decimal_done(&z);
}

static void assert_fails(operation *op, const char *a, const char *b)
{
    struct decimal x = of(a);
    struct decimal y = of(b);
    struct err err = {ERR_NONE, "", ""};

    assert_false(op(&x, &x, &y, &err));
    assert_int_equal(err.code, ERR_INVALID_INPUT);
    assert_is(&x, a);
    decimal_done(&x);
    decimal_done(&y);
}

static bool refuses(const char *text)
{
    struct decimal d = of("77");
    struct err err = {ERR_NONE, "", ""};
    bool refused = !decimal_parse(&d, str_of(text), &err);

    assert_is(&d, "77"); /* untouched */
    decimal_done(&d);
    return refused && err.code == ERR_INVALID_INPUT;
}

static uint32_t seed = 20260101;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % below;
}

/* A number of up to 40 digits with its point anywhere. */
static struct decimal any(void)
{
    char text[64];
    size_t len = 0;
    uint32_t whole = 1 + draw(25);
    uint32_t fraction = draw(16);

    if (draw(2) == 1)
        text[len++] = '-';
    text[len++] = (char)('1' + draw(9));
    for (uint32_t i = 1; i < whole; i++)
        text[len++] = (char)('0' + draw(10));
    if (fraction > 0)
        text[len++] = '.';
    for (uint32_t i = 0; i < fraction; i++)
        text[len++] = (char)('0' + draw(10));
    text[len] = '\0';
    return of(text);
}

/* `count` times `digit`, between `before` and `after`. */
static char *repeat(const char *before, char digit, size_t count,
                    const char *after)
{
    struct buf text = {0};

    buf_text(&text, before);
    for (size_t i = 0; i < count; i++)
        buf_char(&text, digit);
    buf_text(&text, after);
    return buf_take(&text);
}

/* ---- texts ---- */

static void texts_are_kept_as_they_are_written(void **state UNUSED)
{
    static const char *texts[] = {
        "0",
        "1",
        "-1",
        "1.50",
        "0.0",
        "0.001",
        "-0.05",
        "100",
        "12345.6789",
        "999999999999999999",
        "-999999999999999999",
        "9999999999999999999",
        "0.999999999999999999",
        "123456789012345678901234567890.12345678901",
    };

    for (size_t i = 0; i < COUNT(texts); i++) {
        struct decimal d = of(texts[i]);

        assert_is(&d, texts[i]);
        decimal_done(&d);
    }
}

static void exponents_become_plain(void **state UNUSED)
{
    static const char *pairs[][2] = {
        {"1e3", "1000"},
        {"1.5E-2", "0.015"},
        {"1.50e1", "15.0"},
        {"1.5e+2", "150"},
        {"-12.5e1", "-125"},
        {"0e5", "0"},
        {"0.00e1", "0.0"},
        {"0e1000000000", "0"},
        {"0.0e99999999999999", "0"},
        {"12e-5", "0.00012"},
        {"1e0", "1"},
        {"1.0e-0", "1.0"},
        {"1e00000000000000000000000000000000003", "1000"},
    };

    for (size_t i = 0; i < COUNT(pairs); i++) {
        struct decimal d = of(pairs[i][0]);

        assert_is(&d, pairs[i][1]);
        decimal_done(&d);
    }
}

static void minus_zero_is_zero(void **state UNUSED)
{
    struct decimal a = of("-0");
    struct decimal b = of("-0.00");
    struct decimal c = of("-0e-2");

    assert_is(&a, "0");
    assert_is(&b, "0.00");
    assert_is(&c, "0.00");
    decimal_neg(&b, &b);
    assert_is(&b, "0.00");
    decimal_done(&a);
    decimal_done(&b);
    decimal_done(&c);
}

static void other_texts_are_refused(void **state UNUSED)
{
    static const char *bad[] = {
        "",    "-",     "+1",  ".5",   "5.",       "-.5",      "01",
        "-01", "00",    "1e",  "1e+",  "e5",       "1e5.0",    "1.2.3",
        "1,5", "1 ",    " 1",  "0x10", "NaN",      "Infinity", "--1",
        "1-",  "1e--1", "abc", "1a",   "\xd9\xa1",
    };

    for (size_t i = 0; i < COUNT(bad); i++)
        assert_true(refuses(bad[i]));
}

/* The sizes that were refused would take gigabytes: this test would not end
 * if they were allocated first. */
static void too_many_digits_are_refused_before_they_exist(void **state UNUSED)
{
    static const char *bad[] = {
        "1e1000",
        "1e1000000000",
        "1e99999999999999999999",
        "1e-1001",
        "-1e1000000000",
        "0e-1001",
        "1e-1000000000",
        "0e-99999999999999999999",
        "12e999",
        "0.1e1001",
    };
    char *longest = repeat("", '9', 1000, "");
    char *longer = repeat("1", '9', 1000, "");
    char *finest = repeat("0.", '1', 1000, "");
    char *finer = repeat("0.", '1', 1001, "");
    char *both = repeat("1.", '1', 1000, "");
    struct decimal d;

    for (size_t i = 0; i < COUNT(bad); i++)
        assert_true(refuses(bad[i]));
    assert_true(refuses(longer));
    assert_true(refuses(finer));
    assert_true(refuses(both));
    d = of(longest);
    assert_is(&d, longest);
    decimal_done(&d);
    d = of(finest);
    assert_is(&d, finest);
    decimal_done(&d);
    d = of("1e999");
    decimal_done(&d);
    free(longest);
    free(longer);
    free(finest);
    free(finer);
    free(both);
}

/* ---- arithmetic ---- */

static void sums_and_differences_keep_the_larger_scale(void **state UNUSED)
{
    assert_gives(decimal_add, "0.1", "0.2", "0.3");
    assert_gives(decimal_add, "1.50", "1.5", "3.00");
    assert_gives(decimal_add, "99.99", "0.01", "100.00");
    assert_gives(decimal_add, "-1", "1.000", "0.000");
    assert_gives(decimal_add, "10000000000000000000", "0.01",
                 "10000000000000000000.01");
    assert_gives(decimal_sub, "1", "0.99", "0.01");
    assert_gives(decimal_sub, "0", "1.10", "-1.10");
    assert_gives(decimal_sub, "-0.5", "-0.50", "0.00");
}

static void products_have_the_sum_of_the_scales(void **state UNUSED)
{
    assert_gives(decimal_mul, "1.50", "2.0", "3.000");
    assert_gives(decimal_mul, "-0.1", "0.1", "-0.01");
    assert_gives(decimal_mul, "0", "-1.5", "0.0");
    assert_gives(decimal_mul, "99999999999999999999", "99999999999999999999",
                 "9999999999999999999800000000000000000001");
}

static void quotients_have_up_to_28_digits(void **state UNUSED)
{
    assert_gives(decimal_div, "1", "3", "0.3333333333333333333333333333");
    assert_gives(decimal_div, "2", "3", "0.6666666666666666666666666667");
    assert_gives(decimal_div, "-2", "3", "-0.6666666666666666666666666667");
    assert_gives(decimal_div, "10", "3", "3.333333333333333333333333333");
    assert_gives(decimal_div, "1", "7", "0.1428571428571428571428571429");
    assert_gives(decimal_div, "1", "300", "0.003333333333333333333333333333");
    assert_gives(decimal_div, "22", "7", "3.142857142857142857142857143");
    /* 28 digits before the point, and more. */
    assert_gives(decimal_div, "20000000000000000000000000000", "3",
                 "6666666666666666666666666667");
    assert_gives(decimal_div, "200000000000000000000000000000", "3",
                 "66666666666666666666666666670");
}

static void exact_quotients_drop_their_zeros(void **state UNUSED)
{
    assert_gives(decimal_div, "6", "2", "3");
    assert_gives(decimal_div, "1", "4", "0.25");
    assert_gives(decimal_div, "1.00", "2", "0.50");
    assert_gives(decimal_div, "1.5000", "0.5", "3.0000");
    assert_gives(decimal_div, "100", "10", "10");
    assert_gives(decimal_div, "1", "-8", "-0.125");
    assert_gives(decimal_div, "0", "-3", "0");
    assert_gives(decimal_div, "0.00", "3", "0.00");
    assert_gives(decimal_div, "10000000000000000000000000000000", "10",
                 "1000000000000000000000000000000");
}

/* The 29th digit is a 5 and nothing follows: to the even neighbour. */
static void quotients_round_half_to_even(void **state UNUSED)
{
    assert_gives(decimal_div, "10000000000000000000000000001", "10",
                 "1000000000000000000000000000");
    assert_gives(decimal_div, "10000000000000000000000000005", "10",
                 "1000000000000000000000000000");
    assert_gives(decimal_div, "10000000000000000000000000015", "10",
                 "1000000000000000000000000002");
    assert_gives(decimal_div, "-10000000000000000000000000015", "10",
                 "-1000000000000000000000000002");
    assert_gives(decimal_div, "100000000000000000000000000051", "100",
                 "1000000000000000000000000001");
    assert_gives(decimal_div, "99999999999999999999999999999", "10",
                 "10000000000000000000000000000");
}

static void what_does_not_fit_fails_and_changes_nothing(void **state UNUSED)
{
    char *nines = repeat("", '9', 1000, "");
    char *small = repeat("0.", '0', 999, "1");

    assert_fails(decimal_add, nines, "1");
    assert_fails(decimal_add, nines, "0.1");
    assert_fails(decimal_mul, nines, "10");
    assert_fails(decimal_mul, small, "0.1");
    assert_fails(decimal_div, nines, small);
    assert_fails(decimal_div, small, nines);
    assert_fails(decimal_div, "1", "0");
    assert_fails(decimal_div, "0", "0.00");
    assert_gives(decimal_sub, nines, "0", nines);
    assert_gives(decimal_div, small, "1", small);
    free(small);
    free(nines);
}

static void results_may_be_operands(void **state UNUSED)
{
    struct decimal a = of("1.5");
    struct err err;

    assert_true(decimal_add(&a, &a, &a, &err));
    assert_is(&a, "3.0");
    assert_true(decimal_mul(&a, &a, &a, &err));
    assert_is(&a, "9.00");
    assert_true(decimal_div(&a, &a, &a, &err));
    assert_is(&a, "1.00");
    assert_true(decimal_sub(&a, &a, &a, &err));
    assert_is(&a, "0.00");
    decimal_copy(&a, &a);
    assert_is(&a, "0.00");
    decimal_done(&a);
}

static void rounding_is_half_to_even(void **state UNUSED)
{
    static const struct {
        const char *from;
        uint32_t places;
        const char *to;
    } rows[] = {
        {"0.5", 0, "0"},         {"1.5", 0, "2"},
        {"2.5", 0, "2"},         {"-0.5", 0, "0"},
        {"-1.5", 0, "-2"},       {"-2.5", 0, "-2"},
        {"2.51", 0, "3"},        {"2.49", 0, "2"},
        {"-2.51", 0, "-3"},      {"1.005", 2, "1.00"},
        {"1.015", 2, "1.02"},    {"1.0050001", 2, "1.01"},
        {"2.675", 2, "2.68"},    {"1", 2, "1.00"},
        {"1.50", 1, "1.5"},      {"9.995", 2, "10.00"},
        {"-9.995", 2, "-10.00"}, {"0.04", 1, "0.0"},
        {"-0.04", 1, "0.0"},     {"0.05", 1, "0.0"},
        {"0.15", 1, "0.2"},      {"123.456", 3, "123.456"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct decimal d = of(rows[i].from);
        struct err err;

        assert_true(decimal_round(&d, &d, rows[i].places, &err));
        assert_is(&d, rows[i].to);
        decimal_done(&d);
    }
}

static void rounding_cannot_pad_beyond_the_limit(void **state UNUSED)
{
    struct decimal d = of("12.5");
    struct err err;

    assert_true(decimal_round(&d, &d, 998, &err));
    assert_false(decimal_round(&d, &d, 999, &err));
    assert_int_equal(d.scale, 998);
    decimal_done(&d);
}

/* (a + b) + c = a + (b + c), a + b = b + a, (a + b) - b = a. */
static void addition_obeys_its_laws(void **state UNUSED)
{
    struct decimal left;
    struct decimal right;
    struct err err;

    decimal_init(&left);
    decimal_init(&right);
    for (int i = 0; i < 2000; i++) {
        struct decimal a = any();
        struct decimal b = any();
        struct decimal c = any();

        assert_true(decimal_add(&left, &a, &b, &err));
        assert_true(decimal_add(&right, &b, &a, &err));
        assert_int_equal(decimal_cmp(&left, &right), 0);
        assert_true(decimal_add(&left, &left, &c, &err));
        assert_true(decimal_add(&right, &b, &c, &err));
        assert_true(decimal_add(&right, &a, &right, &err));
        assert_int_equal(decimal_cmp(&left, &right), 0);
        assert_true(decimal_add(&left, &a, &b, &err));
        assert_true(decimal_sub(&left, &left, &b, &err));
        assert_int_equal(decimal_cmp(&left, &a), 0);
        decimal_done(&a);
        decimal_done(&b);
        decimal_done(&c);
    }
    decimal_done(&left);
    decimal_done(&right);
}

/* a * (b + c) = a * b + a * c, (a * b) * c = a * (b * c). */
static void multiplication_obeys_its_laws(void **state UNUSED)
{
    struct decimal left;
    struct decimal right;
    struct decimal part;
    struct err err;

    decimal_init(&left);
    decimal_init(&right);
    decimal_init(&part);
    for (int i = 0; i < 2000; i++) {
        struct decimal a = any();
        struct decimal b = any();
        struct decimal c = any();

        assert_true(decimal_add(&left, &b, &c, &err));
        assert_true(decimal_mul(&left, &a, &left, &err));
        assert_true(decimal_mul(&right, &a, &b, &err));
        assert_true(decimal_mul(&part, &a, &c, &err));
        assert_true(decimal_add(&right, &right, &part, &err));
        assert_int_equal(decimal_cmp(&left, &right), 0);
        assert_true(decimal_mul(&left, &a, &b, &err));
        assert_true(decimal_mul(&left, &left, &c, &err));
        assert_true(decimal_mul(&right, &b, &c, &err));
        assert_true(decimal_mul(&right, &a, &right, &err));
        assert_int_equal(decimal_cmp(&left, &right), 0);
        decimal_done(&a);
        decimal_done(&b);
        decimal_done(&c);
    }
    decimal_done(&left);
    decimal_done(&right);
    decimal_done(&part);
}

static uint32_t digits_of(const struct decimal *d)
{
    char text[DECIMAL_MAX_DIGITS + 4];

    mpz_get_str(text, 10, d->digits);
    return (uint32_t)strlen(text) - (*text == '-');
}

/* |a - q * b| <= |b| * half a unit of q's 28th digit, also when zeros at its
 * end were dropped. */
static void quotients_are_the_nearest(void **state UNUSED)
{
    struct decimal q;
    struct decimal rest;
    struct decimal bound;
    struct err err;

    decimal_init(&q);
    decimal_init(&rest);
    decimal_init(&bound);
    for (int i = 0; i < 2000; i++) {
        struct decimal a = any();
        struct decimal b = any();
        struct decimal half = of("5");

        assert_true(decimal_div(&q, &a, &b, &err));
        assert_in_range(digits_of(&q), 1, 28);
        half.scale = q.scale + 1 + 28 - digits_of(&q);
        assert_true(decimal_mul(&rest, &q, &b, &err));
        assert_true(decimal_sub(&rest, &a, &rest, &err));
        assert_true(decimal_mul(&bound, &b, &half, &err));
        mpz_abs(rest.digits, rest.digits);
        mpz_abs(bound.digits, bound.digits);
        assert_true(decimal_cmp(&rest, &bound) <= 0);
        decimal_done(&half);
        decimal_done(&a);
        decimal_done(&b);
    }
    decimal_done(&q);
    decimal_done(&rest);
    decimal_done(&bound);
}

/* ---- other numbers ---- */

static void whole_numbers_come_back_when_they_fit(void **state UNUSED)
{
    struct decimal d = of("1.00");
    int64_t out = 0;

    assert_true(decimal_to_i64(&d, &out) && out == 1);
    decimal_from_i64(&d, INT64_MIN);
    assert_is(&d, "-9223372036854775808");
    assert_true(decimal_to_i64(&d, &out) && out == INT64_MIN);
    decimal_done(&d);
    d = of("9223372036854775808");
    assert_false(decimal_to_i64(&d, &out));
    decimal_done(&d);
    d = of("1.01");
    assert_false(decimal_to_i64(&d, &out));
    assert_true(out == INT64_MIN);
    decimal_done(&d);
}

static void doubles_come_at_their_shortest_spelling(void **state UNUSED)
{
    static const struct {
        double value;
        const char *text;
    } rows[] = {
        {0.1, "0.1"},
        {0.1 + 0.2, "0.30000000000000004"},
        {19.99, "19.99"},
        {1e21, "1000000000000000000000"},
        {-0.0, "0"},
        {5e-324, NULL},
        {1.7976931348623157e308, NULL},
    };
    struct err err = {ERR_NONE, "", ""};

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct decimal d = of("0");

        assert_true(decimal_from_double(&d, rows[i].value, &err));
        if (rows[i].text != NULL)
            assert_is(&d, rows[i].text);
        assert_true(decimal_to_double(&d) == rows[i].value);
        decimal_done(&d);
    }
}

static void nan_and_infinity_are_no_decimals(void **state UNUSED)
{
    struct decimal d = of("77");
    struct err err = {ERR_NONE, "", ""};

    assert_false(decimal_from_double(&d, NAN, &err));
    assert_int_equal(err.code, ERR_INVALID_INPUT);
    assert_false(decimal_from_double(&d, INFINITY, &err));
    assert_false(decimal_from_double(&d, -INFINITY, &err));
    assert_is(&d, "77");
    decimal_done(&d);
}

static void doubles_are_spelled_as_people_would(void **state UNUSED)
{
    static const struct {
        double value;
        const char *text;
    } rows[] = {
        {0, "0"},
        {-0.0, "-0"},
        {1, "1"},
        {-17, "-17"},
        {0.1, "0.1"},
        {-0.5, "-0.5"},
        {123.456, "123.456"},
        {1e15, "1000000000000000"},
        {999999999999999, "999999999999999"},
        {9007199254740993.0, "9007199254740992"},
        {1e20, "100000000000000000000"},
        {123456789012345680000.0, "123456789012345680000"},
        {1e21, "1e+21"},
        {-1.5e300, "-1.5e+300"},
        {0.000001, "0.000001"},
        {0.00000123, "0.00000123"},
        {1e-7, "1e-7"},
        {1.25e-9, "1.25e-9"},
        {5e-324, "5e-324"},
        {2.2250738585072014e-308, "2.2250738585072014e-308"},
        {DBL_MAX, "1.7976931348623157e+308"},
        {-DBL_MAX, "-1.7976931348623157e+308"},
        {1.0 / 3, "0.3333333333333333"},
        {5e-7 / 3, "1.6666666666666665e-7"},
        {-1.2345678901234567e-6, "-0.0000012345678901234567"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[32];
        size_t len = decimal_double_text(rows[i].value, text);

        assert_string_equal(text, rows[i].text);
        assert_int_equal(len, strlen(text));
    }
}

static void every_double_reads_back_the_same(void **state UNUSED)
{
    for (int i = 0; i < 50000; i++) {
        uint64_t bits = (uint64_t)draw(1 << 22) << 42 ^
                        (uint64_t)draw(1 << 22) << 21 ^ draw(1 << 22);
        double value;
        double back;
        char text[32];
        struct decimal d = of("0");
        struct err err;

        memcpy(&value, &bits, sizeof(value));
        if (isfinite(value)) {
            decimal_double_text(value, text);
            back = strtod(text, NULL);
            assert_memory_equal(&back, &value, sizeof(value));
            assert_true(decimal_parse(&d, str_of(text), &err));
            assert_true(decimal_to_double(&d) == value);
        }
        decimal_done(&d);
    }
}

/* The shortest text, the long way: the fewest digits that read back. */
static void spell_the_long_way(double value, char text[40])
{
    char digits[32];
    char *power;
    int precision = 1;
    int exponent;

    do
        snprintf(digits, sizeof(digits), "%.*e", precision - 1, value);
    while (precision++ < 17 && strtod(digits, NULL) != value);
    power = strchr(digits, 'e');
    exponent = (int)strtol(power + 1, NULL, 10);
    *power = '\0';
    if (exponent < -6 || exponent > 20)
        snprintf(text, 40, "%se%+d", digits, exponent);
    else
        snprintf(text, 40, "%.*f", MAX(precision - 2 - exponent, 0), value);
}

static double any_double(void)
{
    uint64_t bits = (uint64_t)draw(1 << 22) << 42 ^
                    (uint64_t)draw(1 << 22) << 21 ^ draw(1 << 22);
    double value;

    if (draw(4) == 0)
        bits >>= 12; /* below DBL_MIN */
    memcpy(&value, &bits, sizeof(value));
    return isfinite(value) && fabs(value) < 1e15 ? value : 0;
}

/* Numbers with few places, those that end in 5, and their neighbours. */
static double ordinary_double(void)
{
    static const double units[] = {1, 10, 100, 1e3, 1e4, 1e5, 1e6};
    double whole = (double)(draw(1 << 22) >> draw(22)) * (draw(1 << 22) + 1);
    double value = (whole + draw(1000)) / units[draw(COUNT(units))];

    if (draw(4) == 0)
        value += 5 / units[draw(COUNT(units))];
    if (draw(4) == 0)
        value = nextafter(value, draw(2) == 0 ? 0 : INFINITY);
    return value;
}

static void every_double_has_its_shortest_text(void **state UNUSED)
{
    for (int i = 0; i < 1000000; i++) {
        double value = i % 4 == 0 ? any_double() : ordinary_double();
        char text[32], expected[40];
        size_t len;

        value = i % 8 < 4 ? value : -value;
        len = decimal_double_text(value, text);
        spell_the_long_way(value, expected);
        if (strcmp(text, expected) != 0)
            fail_msg("%s expected, %s got", expected, text);
        assert_int_equal(len, strlen(text));
    }
}

/* ---- comparing ---- */

static void decimals_compare_by_value(void **state UNUSED)
{
    /* Ascending; what stands in one row is equal. */
    static const char *rows[][3] = {
        {"-1e999", "-1e999", "-1e+999"},
        {"-100", "-1e2", "-100.000"},
        {"-99.99", "-99.990", "-9999e-2"},
        {"-1.5", "-1.50", "-15e-1"},
        {"-0.001", "-1e-3", "-0.00100"},
        {"0", "-0.00", "0e5"},
        {"0.001", "1e-3", "0.00100"},
        {"0.09", "0.0900", "9E-2"},
        {"0.1", "0.10", "1e-1"},
        {"1.5", "1.50", "0.15e1"},
        {"1.51", "1.510", "1.51"},
        {"9", "9.0", "9.00"},
        {"10", "10.0", "1e1"},
        {"10.000000000000000000000000000000000001",
         "10.0000000000000000000000000000000000010",
         "10000000000000000000000000000000000001e-36"},
        {"1000", "1e3", "1000.0"},
        {"1e999", "1e999", "1e+999"},
    };

    for (size_t i = 0; i < COUNT(rows) * 3; i++) {
        for (size_t j = 0; j < COUNT(rows) * 3; j++) {
            const char *x = rows[i / 3][i % 3];
            const char *y = rows[j / 3][j % 3];
            struct decimal a = of(x);
            struct decimal b = of(y);
            int want = (i / 3 > j / 3) - (i / 3 < j / 3);
            int by_value = decimal_cmp(&a, &b);

            assert_int_equal((by_value > 0) - (by_value < 0), want);
            assert_int_equal(decimal_text_cmp(str_of(x), str_of(y)), want);
            decimal_done(&a);
            decimal_done(&b);
        }
    }
}

static void both_comparisons_agree_on_any_numbers(void **state UNUSED)
{
    for (int i = 0; i < 5000; i++) {
        struct decimal a = any();
        struct decimal b = any();
        struct buf x = {0};
        struct buf y = {0};
        int by_value;
        int by_text;

        if (draw(4) == 0) { /* the same number, or nearly, at another scale */
            struct err err;

            assert_true(decimal_round(&b, &a, draw(20), &err));
        }
        decimal_format(&a, &x);
        decimal_format(&b, &y);
        by_value = decimal_cmp(&a, &b);
        by_text = decimal_text_cmp(buf_as_str(&x), buf_as_str(&y));
        assert_int_equal((by_value > 0) - (by_value < 0), by_text);
        by_text = decimal_text_cmp(buf_as_str(&y), buf_as_str(&x));
        assert_int_equal((by_value < 0) - (by_value > 0), by_text);
        buf_done(&x);
        buf_done(&y);
        decimal_done(&a);
        decimal_done(&b);
    }
}

static void texts_that_are_no_numbers_sort_last(void **state UNUSED)
{
    static const char *ascending[] = {"-1e999999999",  "-5",  "0",  "5",
                                      "1e99999999999", "",    "+1", "1.",
                                      "NaN",           "abc", "abd"};

    for (size_t i = 0; i < COUNT(ascending); i++) {
        for (size_t j = 0; j < COUNT(ascending); j++) {
            int order =
                decimal_text_cmp(str_of(ascending[i]), str_of(ascending[j]));

            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_kept_as_they_are_written),
        cmocka_unit_test(exponents_become_plain),
        cmocka_unit_test(minus_zero_is_zero),
        cmocka_unit_test(other_texts_are_refused),
        cmocka_unit_test(too_many_digits_are_refused_before_they_exist),
        cmocka_unit_test(sums_and_differences_keep_the_larger_scale),
        cmocka_unit_test(products_have_the_sum_of_the_scales),
        cmocka_unit_test(quotients_have_up_to_28_digits),
        cmocka_unit_test(exact_quotients_drop_their_zeros),
        cmocka_unit_test(quotients_round_half_to_even),
        cmocka_unit_test(what_does_not_fit_fails_and_changes_nothing),
        cmocka_unit_test(results_may_be_operands),
        cmocka_unit_test(rounding_is_half_to_even),
        cmocka_unit_test(rounding_cannot_pad_beyond_the_limit),
        cmocka_unit_test(addition_obeys_its_laws),
        cmocka_unit_test(multiplication_obeys_its_laws),
        cmocka_unit_test(quotients_are_the_nearest),
        cmocka_unit_test(whole_numbers_come_back_when_they_fit),
        cmocka_unit_test(doubles_come_at_their_shortest_spelling),
        cmocka_unit_test(nan_and_infinity_are_no_decimals),
        cmocka_unit_test(doubles_are_spelled_as_people_would),
        cmocka_unit_test(every_double_reads_back_the_same),
        cmocka_unit_test(every_double_has_its_shortest_text),
        cmocka_unit_test(decimals_compare_by_value),
        cmocka_unit_test(both_comparisons_agree_on_any_numbers),
        cmocka_unit_test(texts_that_are_no_numbers_sort_last),
    };

    return cmocka_run_group_tests_name("base/decimal", tests, NULL, NULL);
}
