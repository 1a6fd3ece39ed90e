#include "unit/vm/vm_support.h"

/* clang-format off */
static const char *const round_trips[] = {
    "{}", "[]", "[[]]", "[{}]", "{\"a\":[]}", "{\"a\":{}}", "null",
    "true", "false", "\"\"", "\"text\"", "\"\\\"\\\\\"", "\"\\n\\t\"",
    "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", "0", "-1", "1.5", "0.1",
    "12345678.9", "9007199254740992", "-9007199254740992", "1234567890123456",
    "1e+300", "[1,2,3]", "[null,null]", "{\"a\":1,\"b\":{\"c\":[true,false,null]}}",
    "{\"10\":1,\"9\":2}", "0.30000000000000004", "5e-324",
    "1.7976931348623157e+308",
};

static const char *const decoded[][2] = {
    {"{\"b\":1,\"a\":2}",                "{\"a\":2,\"b\":1}"},
    {" { \"a\" : [ 1 , 2 ] } ",          "{\"a\":[1,2]}"},
    {"1.0",                              "1"},
    {"1e3",                              "1000"},
    {"-0",                               "0"},
    {"123456789012345678",               "\"123456789012345678\""},
    {"9007199254740993",                 "\"9007199254740993\""},
    {"-18446744073709551616",            "\"-18446744073709551616\""},
    {"0.1000",                           "0.1"},
    {"123456789.123456789",              "123456789.12345679"},
    {"\"\\u00e9\\ud83d\\ude00\\/\"",     "\"\xc3\xa9\xf0\x9f\x98\x80/\""},
};
/* clang-format on */

/* Decodes the text in a script and encodes it again. */
static void expect_json(const char *text, const char *expected)
{
    struct buf code = {0};
    const char *level = strstr(text, "]=]") == NULL ? "=" : "==";

    buf_printf(&code, "return json.encode(json.decode([%s[%s]%s]))", level,
               text, level);
    expect_text(code.ptr, expected);
    buf_done(&code);
}

static void what_is_decoded_is_encoded_the_same(void **state UNUSED)
{
    for (size_t i = 0; i < COUNT(round_trips); i++)
        expect_json(round_trips[i], round_trips[i]);
}

static void other_spellings_become_the_one(void **state UNUSED)
{
    for (size_t i = 0; i < COUNT(decoded); i++)
        expect_json(decoded[i][0], decoded[i][1]);
}

static void large_integers_are_exact_decimals(void **state UNUSED)
{
    expect_text("return tostring(json.decode('9007199254740993') + 1)",
                "9007199254740994");
    expect_text("return type(json.decode('9007199254740991'))", "number");
    expect_text("return type(json.decode('9007199254740993'))", "userdata");
    expect_text("return #tostring(json.decode('1e400'))", "401");
}

/* Anybody may append such a number: it must not stop those who read around
 * it. */
static void numbers_beyond_decimals_are_their_text(void **state UNUSED)
{
    expect_text("return json.decode('1e1000')", "1e1000");
    expect_text("return json.encode(json.decode('{\"a\":[-1e1000],\"b\":1}'))",
                "{\"a\":[\"-1e1000\"],\"b\":1}");
    expect_text("local text = ('7'):rep(1001) "
                "return json.decode(text) == text and 'same' or 'another'",
                "same");
    expect_error("return json.decode('1e1000') + decimal(1)",
                 "a decimal may have at most 1000 digits");
}

static void arrays_stay_arrays(void **state UNUSED)
{
    expect_text("return json.encode({})", "{}");
    expect_text("return json.encode(json.array())", "[]");
    expect_text("return json.encode(json.array({}))", "[]");
    expect_text("local t = json.decode('[1,2]') t[3] = 3 "
                "return json.encode(t)",
                "[1,2,3]");
    expect_text("local t = json.decode('[1]') t[1] = nil "
                "return json.encode(t)",
                "[]");
    expect_text("return json.encode({ 'a', 'b' })", "[\"a\",\"b\"]");
}

static void null_is_a_value_of_its_own(void **state UNUSED)
{
    expect_text("return tostring(json.decode('null') == json.null)", "true");
    expect_text("return tostring(json.decode('{\"a\":null}').a)", "null");
    expect_text("return json.encode({ a = json.null })", "{\"a\":null}");
}

static void decimals_are_stored_as_strings(void **state UNUSED)
{
    expect_text("return json.encode({ price = decimal('1.50') })",
                "{\"price\":\"1.50\"}");
}

/* clang-format off */
static const char *const refused[][2] = {
    {"json.encode(0/0)",                        "NaN and infinity"},
    {"json.encode(1/0)",                        "NaN and infinity"},
    {"json.encode(-1/0)",                       "NaN and infinity"},
    {"json.encode({ 1, a = 2 })",               "neither an array nor an object"},
    {"json.encode({ [1] = 1, [3] = 3 })",       "holes"},
    {"json.encode({ [0] = 1 })",                "holes"},
    {"json.encode({ [1.5] = 1 })",              "holes"},
    {"json.encode({ [true] = 1 })",             "must all be strings"},
    {"json.encode(type)",                       "a function has no JSON"},
    {"json.encode(nil)",                        "nil has no JSON"},
    {"json.encode()",                           "bad argument"},
    {"json.encode('\\255')",                    "not UTF-8"},
    {"json.encode('a\\0b')",                    "NUL byte"},
    {"json.encode({ ['\\0'] = 1 })",            "NUL byte"},
    {"json.encode({ a = { b = { 1, type } } })", "(at 'a.b[2]')"},
    {"json.decode('')",                         "scripts/test.lua:2"},
    {"json.decode('{')",                        "scripts/test.lua:2"},
    {"json.decode('[1,]')",                     "scripts/test.lua:2"},
    {"json.decode('{\"a\":1,\"a\":2}')",        "scripts/test.lua:2"},
    {"json.decode('01')",                       "scripts/test.lua:2"},
    {"json.decode('0x10')",                     "scripts/test.lua:2"},
    {"json.decode('NaN')",                      "scripts/test.lua:2"},
    {"json.decode('Infinity')",                 "scripts/test.lua:2"},
    {"json.decode('\"\\\\u0000\"')",            "scripts/test.lua:2"},
    {"json.decode('\"\\\\ud800\"')",            "scripts/test.lua:2"},
    {"json.decode('\"\\255\"')",                "scripts/test.lua:2"},
    {"json.decode('\"\\n\"')",                  "scripts/test.lua:2"},
    {"json.decode('1 2')",                      "scripts/test.lua:2"},
    {"json.decode('// x')",                     "scripts/test.lua:2"},
    {"json.decode(('['):rep(65) .. (']'):rep(65))", "scripts/test.lua:2"},
    {"json.decode({})",                         "bad argument"},
    {"json.array(5)",                           "bad argument"},
    {"json.array(setmetatable({}, {}))",        "has a metatable"},
};
/* clang-format on */

static void what_would_not_come_back_is_refused(void **state UNUSED)
{
    for (size_t i = 0; i < COUNT(refused); i++)
        expect_error(refused[i][0], refused[i][1]);
}

static void sixty_four_levels_are_allowed(void **state UNUSED)
{
    expect_text("local s = ('['):rep(64) .. (']'):rep(64) "
                "return tostring(json.encode(json.decode(s)) == s)",
                "true");
}

static void an_error_in_the_middle_leaves_a_good_codec(void **state UNUSED)
{
    expect_text("for i = 1, 1000 do "
                "pcall(json.encode, { ('x'):rep(1000), { type } }) "
                "pcall(json.decode, '{\"a\":') end "
                "return json.encode({ a = { 1, 2 } })",
                "{\"a\":[1,2]}");
}

/* Data goes in and out under the strictest collector. */
static void the_collector_may_run_at_any_time(void **state UNUSED)
{
    struct event event =
        test_event("Run", "{\"a\":[1,{\"b\":\"text\\n\"},123456789012345678]}");
    struct buf text = {0};
    struct world w;
    int id;

    assert_true(world_load_aggregate(
        &w, "return { type = 'Thing', apply = { Run = function(s, e) s.d = "
            "e.data s.n = (s.n or 0) + 1 s.x = decimal(s.n) * '1.5' end } }"));
    lua_gc(w.vm->L, LUA_GCSETPAUSE, 0);
    lua_gc(w.vm->L, LUA_GCSETSTEPMUL, 1000000);
    id = vm_state_new(w.vm, w.script, STR("x"), TIMEOUT_MS, &w.err);
    for (int i = 0; i < 300; i++)
        assert_true(
            vm_state_apply(w.vm, w.script, id, &event, TIMEOUT_MS, &w.err));
    assert_true(vm_state_encode(w.vm, id, &text, &w.err));
    assert_string_equal(text.ptr,
                        "{\"d\":{\"a\":[1,{\"b\":\"text\\n\"},"
                        "\"123456789012345678\"]},\"n\":300,\"x\":\"450.0\"}");
    buf_done(&text);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_decoded_is_encoded_the_same),
        cmocka_unit_test(other_spellings_become_the_one),
        cmocka_unit_test(large_integers_are_exact_decimals),
        cmocka_unit_test(numbers_beyond_decimals_are_their_text),
        cmocka_unit_test(arrays_stay_arrays),
        cmocka_unit_test(null_is_a_value_of_its_own),
        cmocka_unit_test(decimals_are_stored_as_strings),
        cmocka_unit_test(what_would_not_come_back_is_refused),
        cmocka_unit_test(sixty_four_levels_are_allowed),
        cmocka_unit_test(an_error_in_the_middle_leaves_a_good_codec),
        cmocka_unit_test(the_collector_may_run_at_any_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
