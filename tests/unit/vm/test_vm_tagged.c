#include "unit/vm/vm_support.h"

/*
 * What a snapshot keeps: a state is made by `initial`, saved, restored, and
 * looked at by `apply`, which fails the test by an error.
 */

struct saved {
    struct world w;
    int state;
    struct buf text;
};

/* `make` is the body of `initial`, `look` that of `apply.Look`. */
static void saved_open(struct saved *s, const char *make, const char *look)
{
    struct buf script = {0};

    *s = (struct saved){0};
    buf_printf(&script,
               "return { type = 'T', initial = function(id) %s end, apply = {"
               " Look = function(s, event) %s end } }",
               make, look);
    if (!world_load_aggregate(&s->w, script.ptr))
        fail_msg("%s", s->w.err.text);
    s->state =
        vm_state_new(s->w.vm, s->w.script, STR("x"), TIMEOUT_MS, &s->w.err);
    if (s->state < 0)
        fail_msg("%s", s->w.err.text);
    buf_done(&script);
}

static void saved_close(struct saved *s)
{
    buf_done(&s->text);
    world_close(&s->w);
}

static void look_at(struct saved *s, int state)
{
    struct event event = test_event("Look", "{}");

    event.aggregate_type = STR("T");
    if (!vm_state_apply(s->w.vm, s->w.script, state, &event, TIMEOUT_MS,
                        &s->w.err))
        fail_msg("%s: %s", s->text.ptr, s->w.err.text);
}

static int restored(struct saved *s)
{
    int state;

    buf_clear(&s->text);
    if (!vm_state_save(s->w.vm, s->state, &s->text, &s->w.err))
        fail_msg("%s", s->w.err.text);
    state =
        vm_state_restore(s->w.vm, buf_as_str(&s->text), TIMEOUT_MS, &s->w.err);
    if (state < 0)
        fail_msg("%s: %s", s->text.ptr, s->w.err.text);
    return state;
}

/* The original is looked at too, so that the look is known to be true. */
static void comes_back(const char *make, const char *look)
{
    struct saved s;

    saved_open(&s, make, look);

    int again = restored(&s);

    look_at(&s, s.state);
    look_at(&s, again);
    saved_close(&s);
}

static void a_decimal_comes_back_as_a_decimal(void **state UNUSED)
{
    comes_back("return { d = decimal('1.50'), n = decimal('-0.00'), "
               "big = decimal('12345678901234567890.1') }",
               "assert(tostring(s.d) == '1.50') "
               "assert(tostring(s.d + 1) == '2.50') "
               "assert(tostring(s.n) == tostring(decimal('-0.00'))) "
               "assert(tostring(s.big) == '12345678901234567890.1')");
}

static void lists_keep_or_lack_the_mark_of_arrays(void **state UNUSED)
{
    comes_back(
        "return { a = json.array(), b = {}, c = json.array { 1, 2 }, "
        "d = { 1, { 'x', decimal('2') }, 3 }, e = { {} } }",
        "assert(json.encode(s.a) == '[]') assert(json.encode(s.b) == '{}') "
        "assert(json.encode(s.c) == '[1,2]') assert(#s.d == 3) "
        "assert(s.d[2][1] == 'x' and tostring(s.d[2][2]) == '2') "
        "assert(json.encode(s.e) == '[{}]') "
        /* An array without the mark that is emptied is an object. */
        "for i = #s.d, 1, -1 do s.d[i] = nil end "
        "assert(json.encode(s.d) == '{}') "
        "s.c[2] = nil s.c[1] = nil assert(json.encode(s.c) == '[]')");
}

static void a_state_may_be_a_list(void **state UNUSED)
{
    comes_back("return { 'a', 'b' }", "assert(#s == 2 and s[2] == 'b')");
    comes_back("return json.array()", "assert(json.encode(s) == '[]')");
}

static void null_and_booleans_come_back(void **state UNUSED)
{
    comes_back("return { n = json.null, t = true, f = false, "
               "l = { json.null, false } }",
               "assert(s.n == json.null and s.t == true and s.f == false) "
               "assert(#s.l == 2 and s.l[1] == json.null)");
}

static void numbers_are_exact(void **state UNUSED)
{
    comes_back(
        "return { a = 9007199254740992, b = -9007199254740992, c = 2^53 + 2, "
        "d = 1e300, e = 0.1 + 0.2, f = 1/3, g = 5e-324, h = -0.0, i = 2^63, "
        "j = 1.7976931348623157e308, k = 123456789012345678 }",
        "assert(s.a == 2^53 and s.b == -2^53 and s.c == 2^53 + 2) "
        "assert(type(s.c) == 'number' and type(s.i) == 'number') "
        "assert(s.d == 1e300 and s.e == 0.1 + 0.2 and s.f == 1/3) "
        "assert(s.g == 5e-324 and 1 / s.h < 0 and s.i == 2^63) "
        "assert(s.j == 1.7976931348623157e308 and s.k == 123456789012345678)");
}

static void strings_may_look_like_tags(void **state UNUSED)
{
    comes_back("return { a = '~', b = '~d1', c = '~~', d = { '~l', 1 }, "
               "e = json.array { '~l' }, f = '~n0x1p+0', ['~k'] = 'ü\\n\"' }",
               "assert(s.a == '~' and s.b == '~d1' and s.c == '~~') "
               "assert(s.d[1] == '~l' and s.d[2] == 1 and #s.e == 1) "
               "assert(s.e[1] == '~l' and s.f == '~n0x1p+0') "
               "assert(s['~k'] == 'ü\\n\"')");
}

static void what_cannot_come_back_is_refused(void **state UNUSED)
{
    static const char *const states[][2] = {
        {"local t = { 1 } return { a = t, b = t }", "in two of its places"},
        {"local t = {} t.t = t return t", "in two of its places"},
        {"return setmetatable({}, { __index = {} })", "metatable"},
        {"return { a = setmetatable({}, {}) }", "metatable"},
        {"return { f = type }", "function"},
        {"return { [5] = 1 }", "holes"},
        {"return { a = 0 / 0 }", "NaN"},
        {"return { 1, a = 2 }", "neither an array nor an object"},
    };
    struct buf script = {0};

    for (size_t i = 0; i < COUNT(states); i++) {
        struct saved s = {0};

        buf_clear(&script);
        buf_printf(&script,
                   "return { type = 'T', initial = function() return { v = 1 } "
                   "end, apply = { Look = function(state) "
                   "state.made = (function() %s end)() end } }",
                   states[i][0]);
        if (!world_load_aggregate(&s.w, script.ptr))
            fail_msg("%s", s.w.err.text);
        s.state =
            vm_state_new(s.w.vm, s.w.script, STR("x"), TIMEOUT_MS, &s.w.err);
        look_at(&s, s.state);
        assert_false(vm_state_save(s.w.vm, s.state, &s.text, &s.w.err));
        if (strstr(s.w.err.text, states[i][1]) == NULL)
            fail_msg("'%s' expected in '%s'", states[i][1], s.w.err.text);
        assert_int_equal(s.text.len, 0);
        assert_false(vm_is_broken(s.w.vm));
        saved_close(&s);
    }
    buf_done(&script);
}

static void what_is_no_state_is_refused_and_harms_nothing(void **state UNUSED)
{
    static const char *const texts[] = {
        "",
        "{",
        "5",
        "\"~\"",
        "{\"a\":\"~\"}",
        "{\"a\":\"~x\"}",
        "[",
        "null",
        "true",
        "{\"a\":\"~n\"}",
        "{\"a\":\"~nx\"}",
        "{\"a\":\"~dx\"}",
        "{\"a\":1,\"a\":2}",
    };
    struct saved s;

    saved_open(&s, "return { a = 1 }", "assert(s.a == 1)");
    for (size_t i = 0; i < COUNT(texts); i++)
        assert_int_equal(
            vm_state_restore(s.w.vm, str_of(texts[i]), TIMEOUT_MS, &s.w.err),
            -1);
    assert_false(vm_is_broken(s.w.vm));
    look_at(&s, restored(&s));
    saved_close(&s);
}

static void a_snapshot_does_not_change_the_state(void **state UNUSED)
{
    struct saved s;

    saved_open(&s,
               "return { l = { 1, { 2 } }, a = json.array { 3 }, t = '~t', "
               "d = decimal('1.0') }",
               "assert(#s.l == 2 and s.l[1] == 1 and s.t == '~t') "
               "assert(tostring(s.d) == '1.0') s.l[#s.l + 1] = 4 "
               "assert(#s.l == 3) s.l[3] = nil");
    for (int i = 0; i < 3; i++) {
        (void)restored(&s);
        look_at(&s, s.state);
    }
    saved_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_decimal_comes_back_as_a_decimal),
        cmocka_unit_test(lists_keep_or_lack_the_mark_of_arrays),
        cmocka_unit_test(a_state_may_be_a_list),
        cmocka_unit_test(null_and_booleans_come_back),
        cmocka_unit_test(numbers_are_exact),
        cmocka_unit_test(strings_may_look_like_tags),
        cmocka_unit_test(what_cannot_come_back_is_refused),
        cmocka_unit_test(what_is_no_state_is_refused_and_harms_nothing),
        cmocka_unit_test(a_snapshot_does_not_change_the_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
