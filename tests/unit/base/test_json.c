#include "base/json.h"
#include "base/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define assert_str(s, text) assert_true(str_eq((s), STR(text)))

/* The check on a copy that ends where the text ends, so that ASan sees a read
 * behind it. */
static bool accepts(struct str text, struct buf *compact, struct err *err)
{
    char *exact = mem_alloc(MAX(text.len, 1));
    bool good;

    if (text.len > 0)
        memcpy(exact, text.ptr, text.len);
    good = json_check(str_n(exact, text.len), compact, err);
    mem_free(exact);
    return good;
}

static bool refuses(struct str text, const char *message)
{
    struct err err = {ERR_NONE, "", ""};
    bool refused = !accepts(text, NULL, &err);

    if (!refused)
        print_error("accepted: %.*s\n", STR_ARG(text));
    else if (message != NULL && strcmp(err.text, message) != 0)
        print_error("'%s' instead of '%s'\n", err.text, message);
    return refused && err.code == ERR_INVALID_JSON &&
           (message == NULL || strcmp(err.text, message) == 0);
}

/* ---- the door: cases of the JSONTestSuite and our own ---- */

static void what_the_rfc_allows_is_accepted(void **state UNUSED)
{
    static const char *good[] = {
        "null",
        "true",
        "false",
        "0",
        "-0",
        "\"\"",
        "[]",
        "{}",
        " [ ] ",
        "\t\r\n{ }\n",
        "[1,2 , 3]",
        "[[],{},[[]]]",
        "{\"a\":{\"a\":{\"a\":[]}}}",
        "1.5",
        "-1.5e10",
        "0e1",
        "0E+1",
        "0.0",
        "1e-2",
        "1E22",
        "123e65",
        "-0.000000000000000000000000000000000000000000000000000000000000001",
        "1e9999999999999999",
        "0.4e00669999999999999999999999999999999999",
        "100000000000000000000000000000000000000000",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\\u0060\\u012a\\u12AB\"",
        "\"\\ud83d\\ude39\"",
        "\"\\uD801\\udc37\"",
        "\"\\uDBFF\\uDFFF\"",
        "\"\\u0001\"",
        "\"\\uFFFF\"",
        "\"\\u2028\"",
        "\"\x7f\"",
        "\"\\\\u0000\"",
        "\"\\\\a\"",
        "\"a/*b*/c/*d//e\"",
        "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\xb9\xef\xbf\xbf\xf4\x8f\xbf\xbf\"",
        "{\"\":0}",
        "{\"a\":1,\"A\":1}",
        "{\"a\":{\"a\":1},\"b\":{\"a\":1}}",
    };
    struct err err;

    for (size_t i = 0; i < COUNT(good); i++)
        if (!accepts(str_of(good[i]), NULL, &err))
            fail_msg("%s: %s", good[i], err.text);
}

static void what_is_no_number_of_json_is_refused(void **state UNUSED)
{
    static const char *bad[] = {
        "01",    "-01",  "00",           "-012",      "1.",    "-1.",   "1.e5",
        ".1",    "-.1",  ".5e3",         "+1",        "++1",   "-",     "--1",
        "- 1",   "1e",   "1e+",          "1E-",       "1.5e",  "1e1.5", "1eE2",
        "1+2",   "0x42", "0x",           "1_000",     "1 000", "1,5",   "NaN",
        "nan",   "-NaN", "Infinity",     "-Infinity", "inf",   "1a",    "-a",
        "2.e+3", "0e",   "\xef\xbc\x91",
    };

    for (size_t i = 0; i < COUNT(bad); i++)
        assert_true(refuses(str_of(bad[i]), NULL));
}

static void broken_structure_is_refused(void **state UNUSED)
{
    static const char *bad[] = {
        "",
        " ",
        "[",
        "]",
        "{",
        "}",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[,]",
        "[1,,2]",
        "[1 2]",
        "[1:2]",
        "[\"a\"",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{,}",
        "{\"a\"}",
        "{\"a\" 1}",
        "{a:1}",
        "{'a':1}",
        "{1:1}",
        "{null:1}",
        "{\"a\"::1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1,,\"b\":2}",
        "[}",
        "{]",
        "[1}",
        "{\"a\":1]",
        "nul",
        "nulll",
        "tru",
        "True",
        "fals",
        "'a'",
        "a",
        "<null>",
        "[][]",
        "[]]",
        "{}}",
        "1 2",
        "null null",
        "[] x",
        "{}/**/",
        "/**/1",
        "//\n1",
        "[1]#",
        "\"a\"b",
        "\xef\xbb\xbf{}",
        "\xef\xbb\xbf",
        "\xff\xfe[\0]\0",
        "\f[]",
        "[\v1]",
        "\xc2\xa0[]",
        "\xe2\x81\xa0[]",
        "*",
        "\\u0022a\\u0022",
    };

    for (size_t i = 0; i < COUNT(bad); i++)
        assert_true(refuses(str_of(bad[i]), NULL));
}

static void broken_strings_are_refused(void **state UNUSED)
{
    static const char *bad[] = {
        "\"",
        "\"a",
        "\"\\",
        "\"\\\"",
        "\"\\x00\"",
        "\"\\a\"",
        "\"\\U0041\"",
        "\"\\'\"",
        "\"\\ \"",
        "\"\\u\"",
        "\"\\u1\"",
        "\"\\u12\"",
        "\"\\u123",
        "\"\\u123\"",
        "\"\\u00G0\"",
        "\"\\u-123\"",
        "\"\t\"",
        "\"a\nb\"",
        "\"\x1f\"",
        "\"\x01\"",
        /* lone surrogates */
        "\"\\uD800\"",
        "\"\\uDBFF\"",
        "\"\\uDC00\"",
        "\"\\uDFFF\"",
        "\"\\uD800\\uD800\"",
        "\"\\uDC00\\uD800\"",
        "\"\\uD800\\n\"",
        "\"\\uD800\\u\"",
        "\"\\uD800\\u1\"",
        "\"\\uD800abc\"",
        "\"\\uD800\\",
        "\"\\ud83d\\\\ude39\"",
        "\"\\uD800\\u0041\"",
        /* not UTF-8 */
        "\"\x80\"",
        "\"\xc3\"",
        "\"\xc3(\"",
        "\"\xc0\xaf\"",
        "\"\xc1\xbf\"",
        "\"\xe2\x82\"",
        "\"\xe0\x80\x80\"",
        "\"\xed\xa0\x80\"",
        "\"\xed\xbf\xbf\"",
        "\"\xf0\x80\x80\x80\"",
        "\"\xf4\x90\x80\x80\"",
        "\"\xf5\x80\x80\x80\"",
        "\"\xff\"",
        "\"\xfc\x80\x80\x80\x80\x80\"",
        "\"\xe9\"",
        "\"\xf0\x9f\x98",
    };

    for (size_t i = 0; i < COUNT(bad); i++)
        assert_true(refuses(str_of(bad[i]), NULL));
}

static void nul_and_nothing_are_refused(void **state UNUSED)
{
    struct err err;

    assert_true(refuses(STR("\"a\0b\""), "byte 2: a control character in a "
                                         "string"));
    assert_true(refuses(STR("\"\\u0000\""), "byte 1: \\u0000 is not allowed"));
    assert_true(refuses(STR("{\"\\u0000\":1}"), NULL));
    assert_true(refuses(STR("[1]\0"), "byte 3: something behind the value"));
    assert_true(refuses(STR("\0"), NULL));
    assert_true(refuses(STR(""), "byte 0: the text ends too early"));
    assert_false(json_check(STR_NONE, NULL, &err));
    assert_int_equal(json_value(STR_NONE).kind, JSON_END);
}

static void errors_name_the_byte_and_the_fault(void **state UNUSED)
{
    static const struct {
        const char *text;
        const char *message;
    } faults[] = {
        {"[1,2", "byte 4: the text ends too early"},
        {"[1 2]", "byte 3: expected ',' or ']'"},
        {"{\"a\":1;}", "byte 6: expected ',' or '}'"},
        {"{\"a\" 1}", "byte 5: expected ':'"},
        {"{a:1}", "byte 1: expected a key"},
        {"[01]", "byte 1: a number with a leading zero"},
        {"[1.]", "byte 3: a digit must follow the decimal point"},
        {"[1e]", "byte 3: a digit must follow the exponent"},
        {"[-]", "byte 2: a digit must follow the minus"},
        {"[.1]", "byte 1: expected a value"},
        {"[+1]", "byte 1: expected a value"},
        {"[truth]", "byte 1: expected a value"},
        {"[\"ab", "byte 1: a string that does not end"},
        {"[\"\\q\"]", "byte 2: no such escape"},
        {"[\"\\ud800\"]", "byte 2: a high surrogate without its low one"},
        {"[\"\\udc00\"]", "byte 2: a low surrogate without its high one"},
        {"[\"\\u12\"]", "byte 2: \\u needs four hexadecimal digits"},
        {"[\"\xc3(\"]", "byte 2: not UTF-8"},
        {"{} {}", "byte 3: something behind the value"},
        {"{\"a\":1,\"b\":2,\"a\":3}", "byte 13: duplicate key \"a\""},
    };

    for (size_t i = 0; i < COUNT(faults); i++)
        assert_true(refuses(str_of(faults[i].text), faults[i].message));
}

/* `[` or `{"k":` n times, and all of it closed again. */
static void nest(struct buf *out, bool objects, size_t depth)
{
    buf_clear(out);
    for (size_t i = 0; i < depth; i++)
        buf_text(out, objects && i % 2 == 0 ? "{\"k\":" : "[");
    buf_char(out, '1');
    for (size_t i = depth; i > 0; i--)
        buf_char(out, objects && (i - 1) % 2 == 0 ? '}' : ']');
}

static void nesting_is_bounded_at_64(void **state UNUSED)
{
    struct buf text = {0};
    struct err err;

    nest(&text, false, 64);
    assert_true(accepts(buf_as_str(&text), NULL, &err));
    nest(&text, true, 64);
    assert_true(accepts(buf_as_str(&text), NULL, &err));
    nest(&text, false, 65);
    assert_true(refuses(buf_as_str(&text), "byte 64: nested deeper than 64"));
    nest(&text, true, 65);
    assert_true(refuses(buf_as_str(&text), NULL));
    nest(&text, false, 100000);
    assert_true(refuses(buf_as_str(&text), NULL));
    buf_done(&text);
}

static void depth_counts_what_is_open_not_what_was(void **state UNUSED)
{
    struct buf text = {0};
    struct err err;

    buf_char(&text, '[');
    for (int i = 0; i < 200; i++)
        buf_text(&text, "[{\"a\":[]}],");
    buf_text(&text, "0]");
    assert_true(accepts(buf_as_str(&text), NULL, &err));
    buf_done(&text);
}

static void equal_keys_are_found_behind_their_escapes(void **state UNUSED)
{
    assert_true(refuses(STR("{\"a\":1,\"\\u0061\":2}"), NULL));
    assert_true(refuses(STR("{\"\\u0061\":1,\"a\":2}"), NULL));
    assert_true(refuses(STR("{\"\\/\":1,\"/\":2}"), NULL));
    assert_true(
        refuses(STR("{\"\\ud83d\\ude39\":1,\"\xf0\x9f\x98\xb9\":2}"), NULL));
    assert_true(refuses(STR("{\"\":1,\"\":2}"), NULL));
    assert_true(refuses(STR("{\"x\":{\"a\":1,\"b\":{},\"a\":2}}"), NULL));
    assert_true(refuses(STR("{\"a\":{\"b\":1},\"a\":2}"), NULL));
    assert_true(refuses(STR("[{\"k\":1},{\"k\":1,\"k\":1}]"), NULL));
}

/* An object of `count` members k0, k1, …; `again` is appended as one more. */
static void many_keys(struct buf *out, int count, const char *again)
{
    buf_clear(out);
    buf_char(out, '{');
    for (int i = 0; i < count; i++)
        buf_printf(out, "%s\"some longer key %d\":{\"k\":[%d]}",
                   i > 0 ? "," : "", i, i);
    if (again != NULL)
        buf_printf(out, ",\"%s\":0", again);
    buf_char(out, '}');
}

static void equal_keys_are_found_in_objects_of_any_size(void **state UNUSED)
{
    static const int sizes[] = {1,  2,  15, 16, 17,  18,
                                31, 32, 33, 64, 100, 20000};
    struct buf text = {0};
    struct err err;

    for (size_t i = 0; i < COUNT(sizes); i++) {
        char last[32];

        many_keys(&text, sizes[i], NULL);
        assert_true(accepts(buf_as_str(&text), NULL, &err));
        many_keys(&text, sizes[i], "some longer key 0");
        assert_true(refuses(buf_as_str(&text), NULL));
        snprintf(last, sizeof(last), "some longer key %d", sizes[i] - 1);
        many_keys(&text, sizes[i], last);
        assert_true(refuses(buf_as_str(&text), NULL));
        many_keys(&text, sizes[i], "\\u0073ome longer key 0");
        assert_true(refuses(buf_as_str(&text), NULL));
        many_keys(&text, sizes[i], "another key");
        assert_true(accepts(buf_as_str(&text), NULL, &err));
    }
    buf_done(&text);
}

static void a_large_object_names_the_first_key_that_repeats(void **state UNUSED)
{
    struct buf text = {0};
    struct str whole;
    char message[64];

    many_keys(&text, 40, "some longer key 7");
    text.len--;
    buf_text(&text, ",\"some longer key 3\":0}");
    whole = buf_as_str(&text);
    snprintf(message, sizeof(message),
             "byte %zu: duplicate key \"some longer key 7\"",
             whole.len - strlen("\"some longer key 7\":0,"
                                "\"some longer key 3\":0}"));
    assert_true(refuses(whole, message));
    buf_done(&text);
}

static void a_long_key_is_cut_between_characters(void **state UNUSED)
{
    struct buf text = {0};
    struct err err;

    buf_text(&text, "{\"");
    for (int i = 0; i < 2; i++) {
        buf_char(&text, 'x');
        for (int j = 0; j < 100; j++)
            buf_text(&text, "\xc3\xa9");
        buf_text(&text, i == 0 ? "\":1,\"" : "\":2}");
    }
    assert_false(accepts(buf_as_str(&text), NULL, &err));
    assert_true(str_is_utf8(str_of(err.text)));
    buf_done(&text);
}

/* ---- the compact copy ---- */

static void white_space_between_tokens_is_dropped(void **state UNUSED)
{
    struct buf out = {0};
    struct err err;

    assert_true(accepts(STR(" { \"a b\" :\t1.50 ,\n\"c\":[ 1 ,\r\n 2,{ } , "
                            "[ ]  ] , \"\\u0061 \" : \"x  y\" } \n"),
                        &out, &err));
    assert_str(buf_as_str(&out),
               "{\"a b\":1.50,\"c\":[1,2,{},[]],\"\\u0061 \":\"x  y\"}");
    buf_done(&out);
}

static void every_token_is_kept_byte_for_byte(void **state UNUSED)
{
    static const char *const texts[] = {
        "18446744073709551616",
        "-0",
        "1.0E+002",
        "0.10",
        "\"\\/\\u00e9\xc3\xa9\"",
        "{\"b\":1,\"a\":9007199254740993}",
        "1e1000000000",
    };

    for (size_t i = 0; i < COUNT(texts); i++) {
        struct buf out = {0};
        struct err err;

        assert_true(accepts(str_of(texts[i]), &out, &err));
        assert_string_equal(out.ptr, texts[i]);
        buf_done(&out);
    }
}

static void the_copy_is_appended_and_undone_on_failure(void **state UNUSED)
{
    struct buf out = {0};
    struct err err;

    buf_text(&out, "x=");
    assert_true(accepts(STR(" [ 1 ] "), &out, &err));
    assert_str(buf_as_str(&out), "x=[1]");
    assert_false(accepts(STR("[ 1, 2 "), &out, &err));
    assert_str(buf_as_str(&out), "x=[1]");
    buf_done(&out);
}

/* ---- the walk ---- */

static void an_object_is_walked_in_order(void **state UNUSED)
{
    struct json_in in = json_open(json_value(
        STR(" { \"a\" : 1.50 , \"b\" : \"x\\\"}\" ,\"c\":[1,{\"d\":\"]\"}], "
            "\"d\":{ } ,\"e\":true,\"f\":false, \"g\" : null } ")));
    static const struct {
        const char *key;
        enum json_kind kind;
        const char *raw;
    } want[] = {
        {"a", JSON_NUMBER, "1.50"},
        {"b", JSON_STRING, "\"x\\\"}\""},
        {"c", JSON_ARRAY, "[1,{\"d\":\"]\"}]"},
        {"d", JSON_OBJECT, "{ }"},
        {"e", JSON_TRUE, "true"},
        {"f", JSON_FALSE, "false"},
        {"g", JSON_NULL, "null"},
    };
    struct json item;
    struct str key;

    for (size_t i = 0; i < COUNT(want); i++) {
        assert_true(json_next(&in, &key, &item));
        assert_true(str_eq(key, str_of(want[i].key)));
        assert_int_equal(item.kind, want[i].kind);
        assert_true(str_eq(item.raw, str_of(want[i].raw)));
    }
    assert_false(json_next(&in, &key, &item));
    assert_int_equal(item.kind, JSON_END);
    assert_false(json_next(&in, &key, &item));
}

static void an_array_is_walked_and_leaves_the_key_alone(void **state UNUSED)
{
    struct json_in in = json_open(json_value(STR("[ 1 ,\"two\", [ 3 ] ]")));
    struct str key = STR("mine");
    struct json item;

    assert_true(json_next(&in, &key, &item));
    assert_str(item.raw, "1");
    assert_true(json_next(&in, &key, &item));
    assert_str(item.raw, "\"two\"");
    assert_true(json_next(&in, &key, &item));
    assert_str(item.raw, "[ 3 ]");
    assert_false(json_next(&in, &key, &item));
    assert_str(key, "mine");
}

static void empty_containers_and_scalars_have_no_items(void **state UNUSED)
{
    static const char *none[] = {"[]", "{}", "[ ]", "1", "\"a\"", "null"};
    struct json item;
    struct str key;

    for (size_t i = 0; i < COUNT(none); i++) {
        struct json_in in = json_open(json_value(str_of(none[i])));

        assert_false(json_next(&in, &key, &item));
    }
}

static void members_are_found_by_name_escaped_or_not(void **state UNUSED)
{
    struct json object =
        json_value(STR("{\"total\":1,\"tot\\u0061l2\":2,\"\\ud83d\\ude39\":3,"
                       "\"a\\/b\\n\":4,\"total\\\\\":5}"));

    assert_str(json_get(object, STR("total")).raw, "1");
    assert_str(json_get(object, STR("total2")).raw, "2");
    assert_str(json_get(object, STR("\xf0\x9f\x98\xb9")).raw, "3");
    assert_str(json_get(object, STR("a/b\n")).raw, "4");
    assert_str(json_get(object, STR("total\\")).raw, "5");
    assert_int_equal(json_get(object, STR("tot")).kind, JSON_END);
    assert_int_equal(json_get(object, STR("total23")).kind, JSON_END);
    assert_int_equal(json_get(object, STR("")).kind, JSON_END);
    assert_int_equal(json_get(json_value(STR("[1]")), STR("a")).kind, JSON_END);
}

static void strings_are_decoded_to_utf8(void **state UNUSED)
{
    struct buf out = {0};

    json_unescape(
        json_value(STR("\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20AC"
                       "\\ud83d\\ude39\\uffffz\"")),
        &out);
    assert_str(buf_as_str(&out), "a\"\\/\b\f\n\r\tA\xc3\xa9\xe2\x82\xac"
                                 "\xf0\x9f\x98\xb9\xef\xbf\xbfz");
    buf_clear(&out);
    json_unescape(json_value(STR("\"\"")), &out);
    assert_int_equal(out.len, 0);
    buf_done(&out);
}

/* What was never checked may be anything; the walk must end and stay inside.
 * Run under ASan. */
static void walking_an_unchecked_text_ends_inside_it(void **state UNUSED)
{
    static const char letters[] = "{}[]\",:\\ua1 \xc3";
    uint32_t seed = 1;

    for (int round = 0; round < 20000; round++) {
        size_t len = 1 + (size_t)round % 12;
        char *text = mem_alloc(len);
        struct json_in in;
        struct json item;
        struct str key;
        struct buf out = {0};
        int steps = 0;

        for (size_t i = 0; i < len; i++) {
            seed = seed * 1664525 + 1013904223;
            text[i] = letters[(seed >> 16) % (sizeof(letters) - 1)];
        }
        in = json_open(json_value(str_n(text, len)));
        key = STR("");
        while (json_next(&in, &key, &item)) {
            assert_true(++steps <= 12);
            json_key_is(key, STR("a"));
            if (item.kind == JSON_STRING)
                json_unescape(item, &out);
        }
        buf_done(&out);
        mem_free(text);
    }
}

/* ---- numbers ---- */

static void whole_numbers_are_read_whatever_their_spelling(void **state UNUSED)
{
    uint64_t u = 0;
    int64_t i = 0;

    assert_true(json_u64(json_value(STR("18446744073709551615")), &u));
    assert_true(u == UINT64_MAX);
    assert_true(json_u64(json_value(STR("3.0")), &u) && u == 3);
    assert_true(json_u64(json_value(STR("3e2")), &u) && u == 300);
    assert_true(json_u64(json_value(STR("0.03E+2")), &u) && u == 3);
    assert_true(json_u64(json_value(STR("-0")), &u) && u == 0);
    assert_true(json_i64(json_value(STR("-9223372036854775808")), &i));
    assert_true(i == INT64_MIN);
    assert_true(json_i64(json_value(STR("-3.00")), &i) && i == -3);
    assert_true(json_i64(json_value(STR("1e18")), &i));
    assert_true(i == INT64_C(1000000000000000000));
}

static void what_is_no_whole_number_or_too_large_is_none(void **state UNUSED)
{
    static const char *bad[] = {
        "3.5",   "1e-1",         "18446744073709551616",
        "1e20",  "1e1000000000", "-18446744073709551616",
        "\"3\"", "true",         "null",
        "[3]",
    };
    uint64_t u = 77;
    int64_t i = 77;

    for (size_t n = 0; n < COUNT(bad); n++) {
        assert_false(json_u64(json_value(str_of(bad[n])), &u));
        assert_false(json_i64(json_value(str_of(bad[n])), &i));
    }
    assert_false(json_u64(json_value(STR("-1")), &u));
    assert_false(json_i64(json_value(STR("9223372036854775808")), &i));
    assert_true(u == 77 && i == 77);
}

static void doubles_are_read_up_to_their_range(void **state UNUSED)
{
    struct buf digits = {0};
    double d = 0;

    assert_true(json_double(json_value(STR("1.5e3")), &d) && d == 1500);
    assert_true(json_double(json_value(STR("-0")), &d) && signbit(d));
    assert_true(json_double(json_value(STR("1e-400")), &d) && d == 0);
    assert_false(json_double(json_value(STR("1e400")), &d));
    assert_false(json_double(json_value(STR("\"1\"")), &d));
    /* The slice ends before the next digits do. */
    assert_true(json_double((struct json){JSON_NUMBER, str_n("1234", 2)}, &d));
    assert_true(d == 12);
    buf_text(&digits, "0.1");
    for (int i = 0; i < 500; i++)
        buf_char(&digits, '0');
    assert_true(json_double(json_value(buf_as_str(&digits)), &d) && d == 0.1);
    buf_done(&digits);
}

/* ---- writing ---- */

static void a_document_reads_like_its_outline(void **state UNUSED)
{
    struct buf text = {0};
    struct json_out out;
    struct err err;

    json_begin(&out, &text);
    json_object(&out, NULL);
    json_put_text(&out, "name", "orders");
    json_put_u64(&out, "position", UINT64_MAX);
    json_put_i64(&out, "least", INT64_MIN);
    json_array(&out, "rows");
    json_object(&out, NULL);
    json_end(&out, '}');
    json_put_bool(&out, NULL, true);
    json_array(&out, NULL);
    json_end(&out, ']');
    json_put_null(&out, NULL);
    json_end(&out, ']');
    json_put_members(&out, STR(""));
    json_put_members(&out, STR("\"a\":1,\"b\":2"));
    json_put_opt(&out, "tenant", STR_NONE);
    json_put_opt(&out, "actor", STR(""));
    json_key(&out, STR("a\"b"));
    json_put_raw(&out, NULL, STR("[1]"));
    json_put_double(&out, "rate", 0.1);
    json_put_double(&out, "nan", NAN);
    json_put_double(&out, "huge", INFINITY);
    json_put_time(&out, "at", INT64_C(1291191960000000));
    json_end(&out, '}');
    assert_str(buf_as_str(&text),
               "{\"name\":\"orders\",\"position\":18446744073709551615,"
               "\"least\":-9223372036854775808,\"rows\":[{},true,[],null],"
               "\"a\":1,\"b\":2,\"tenant\":null,\"actor\":\"\","
               "\"a\\\"b\":[1],\"rate\":0.1,\"nan\":null,\"huge\":null,"
               "\"at\":\"2010-12-01T08:26:00.000000Z\"}");
    assert_true(json_check(buf_as_str(&text), NULL, &err));
    assert_int_equal(out.depth, 0);
    buf_done(&text);
}

static void members_first_in_an_object_get_no_comma(void **state UNUSED)
{
    struct buf text = {0};
    struct json_out out;

    json_begin(&out, &text);
    json_object(&out, NULL);
    json_put_members(&out, STR("\"a\":1"));
    json_put_u64(&out, "b", 2);
    json_end(&out, '}');
    assert_str(buf_as_str(&text), "{\"a\":1,\"b\":2}");
    buf_done(&text);
}

static void quoting_always_gives_json(void **state UNUSED)
{
    struct buf text = {0};

    json_quote(&text, STR("\"\\/\b\f\n\r\t\x01\x1f\x7f\xc3\xa9\xf0\x9f\x98\xb9"
                          "\0"));
    assert_str(buf_as_str(&text),
               "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\xc3\xa9"
               "\xf0\x9f\x98\xb9\\u0000\"");
    buf_clear(&text);
    json_quote(&text, STR("a\xff"
                          "b\xc3"));
    assert_str(buf_as_str(&text), "\"a\xef\xbf\xbd"
                                  "b\xef\xbf\xbd\"");
    buf_clear(&text);
    json_quote(&text, STR_NONE);
    assert_str(buf_as_str(&text), "\"\"");
    buf_done(&text);
}

static void what_is_quoted_is_read_back(void **state UNUSED)
{
    struct err err;

    for (int byte = 1; byte < 0x80; byte++) {
        char text[3] = {'x', (char)byte, 'y'};
        struct buf quoted = {0};
        struct buf back = {0};

        json_quote(&quoted, str_n(text, 3));
        assert_true(json_check(buf_as_str(&quoted), NULL, &err));
        json_unescape(json_value(buf_as_str(&quoted)), &back);
        assert_true(str_eq(buf_as_str(&back), str_n(text, 3)));
        buf_done(&back);
        buf_done(&quoted);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_rfc_allows_is_accepted),
        cmocka_unit_test(what_is_no_number_of_json_is_refused),
        cmocka_unit_test(broken_structure_is_refused),
        cmocka_unit_test(broken_strings_are_refused),
        cmocka_unit_test(nul_and_nothing_are_refused),
        cmocka_unit_test(errors_name_the_byte_and_the_fault),
        cmocka_unit_test(nesting_is_bounded_at_64),
        cmocka_unit_test(depth_counts_what_is_open_not_what_was),
        cmocka_unit_test(equal_keys_are_found_behind_their_escapes),
        cmocka_unit_test(equal_keys_are_found_in_objects_of_any_size),
        cmocka_unit_test(a_large_object_names_the_first_key_that_repeats),
        cmocka_unit_test(a_long_key_is_cut_between_characters),
        cmocka_unit_test(white_space_between_tokens_is_dropped),
        cmocka_unit_test(every_token_is_kept_byte_for_byte),
        cmocka_unit_test(the_copy_is_appended_and_undone_on_failure),
        cmocka_unit_test(an_object_is_walked_in_order),
        cmocka_unit_test(an_array_is_walked_and_leaves_the_key_alone),
        cmocka_unit_test(empty_containers_and_scalars_have_no_items),
        cmocka_unit_test(members_are_found_by_name_escaped_or_not),
        cmocka_unit_test(strings_are_decoded_to_utf8),
        cmocka_unit_test(walking_an_unchecked_text_ends_inside_it),
        cmocka_unit_test(whole_numbers_are_read_whatever_their_spelling),
        cmocka_unit_test(what_is_no_whole_number_or_too_large_is_none),
        cmocka_unit_test(doubles_are_read_up_to_their_range),
        cmocka_unit_test(a_document_reads_like_its_outline),
        cmocka_unit_test(members_first_in_an_object_get_no_comma),
        cmocka_unit_test(quoting_always_gives_json),
        cmocka_unit_test(what_is_quoted_is_read_back),
    };

    return cmocka_run_group_tests_name("base/json", tests, NULL, NULL);
}
