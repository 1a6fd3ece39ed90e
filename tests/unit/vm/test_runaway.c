#include "unit/vm/vm_support.h"

#include "base/clock.h"
#include "base/metrics.h"

#include <stdlib.h>

/* A call may take so much longer than its deadline. */
#define LATE_MS     700
#define DEADLINE_MS 300

struct runaway {
    const char *name;
    const char *code;
    enum err_code code_expected; /* ERR_NONE: either of both */
};

/* A table of 30 items whose length is 2^29: with room for new keys nothing is
 * sorted into an array. */
#define FAR_LENGTH                                                             \
    "local t = {} for i = 1, 250 do t['k' .. i] = 1 end for k in pairs(t) do " \
    "t[k] = nil "                                                              \
    "end for i = 0, 29 do t[2 ^ i] = 1 end "

/* clang-format off */
static const struct runaway runaways[] = {
    {"an empty loop",            "while true do end", ERR_SCRIPT_TIMEOUT},
    {"a counting loop",          "for i = 1, 1e15 do end", ERR_SCRIPT_TIMEOUT},
    {"a tail call",              "local function f() return f() end f()", ERR_SCRIPT_TIMEOUT},
    {"a loop in pcall",          "pcall(function() while true do end end)", ERR_SCRIPT_TIMEOUT},
    {"a loop of pcalls",         "while true do pcall(function() while true do end end) end", ERR_SCRIPT_TIMEOUT},
    {"a loop of errors",         "while true do pcall(error, 'x') end", ERR_SCRIPT_TIMEOUT},
    {"pcall in pcall",           "local function f() while true do pcall(f) end end f()", ERR_SCRIPT_TIMEOUT},
    {"pcall of pcall",           "local function f() return pcall(f) end while true do f() end", ERR_SCRIPT_TIMEOUT},
    {"a metamethod loop",        "local t = setmetatable({}, { __index = function(t, k) return t[k] end }) while true do pcall(function() return t.x end) end", ERR_NONE},
    {"a metamethod that loops",  "local t = setmetatable({}, { __add = function() while true do end end }) return t + t", ERR_SCRIPT_TIMEOUT},
    {"recursion, caught",        "local function f() return 1 + f() end while true do pcall(f) end", ERR_NONE},
    {"tostring in tostring",     "local t t = setmetatable({}, { __tostring = function() return tostring(t) end }) while true do pcall(tostring, t) end", ERR_SCRIPT_TIMEOUT},
    {"gsub in gsub",             "local function f() return ('x'):gsub('x', f) end while true do pcall(f) end", ERR_SCRIPT_TIMEOUT},
    {"sort in sort",             "local function f() table.sort({ 1, 2, 3 }, f) end while true do pcall(f) end", ERR_SCRIPT_TIMEOUT},
    {"a pattern",                "local r = ('a'):rep(500):find(('.-'):rep(8) .. 'b')", ERR_SCRIPT_TIMEOUT},
    {"a pattern in match",       "local r = ('a'):rep(30000):match('(.-)(.-)(.-)b')", ERR_SCRIPT_TIMEOUT},
    {"a pattern in gmatch",      "for _ in ('a'):rep(1e5):gmatch('.-.-.-b') do end", ERR_SCRIPT_TIMEOUT},
    {"a pattern in gsub",        "local r = ('a'):rep(1e5):gsub('.-.-.-b', '')", ERR_SCRIPT_TIMEOUT},
    {"a pattern with %b",        "while true do (('('):rep(1e5)):find('%b()') end", ERR_SCRIPT_TIMEOUT},
    {"a plain find",             "local s, n = ('a'):rep(4e6), ('a'):rep(1e6) .. 'b' while true do s:find(n, 1, true) end", ERR_SCRIPT_TIMEOUT},
    {"a comparator that loops",  "table.sort({ 3, 2, 1 }, function() while true do end end)", ERR_SCRIPT_TIMEOUT},
    {"a long sort",              "local t = {} for i = 1, 3e5 do t[i] = (i * 7919) % 100003 end while true do table.sort(t, function(a, b) return a > b end) end", ERR_SCRIPT_TIMEOUT},
    {"a plain long sort",        "local t = {} for i = 1, 5e5 do t[i] = (i * 7919) % 1000003 end while true do table.sort(t) for i = 1, 1e3 do t[i] = -i end end", ERR_SCRIPT_TIMEOUT},
    {"inserts at the front",     "local t = {} while true do table.insert(t, 1, 1) end", ERR_NONE},
    {"an insert far away",       FAR_LENGTH "table.insert(t, 1, 1)", ERR_SCRIPT_TIMEOUT},
    {"a sort far away",          FAR_LENGTH "table.sort(t, getmetatable)", ERR_SCRIPT_TIMEOUT},
    {"an iterator of the past",  "local t = {} for i = 1, 5e5 do t[i] = 1 end local f = pairs(t) t = {} while true do f(t, 0) end", ERR_SCRIPT_TIMEOUT},
    {"moves",                    "table.move({ 1 }, 1, 1e9, 2)", ERR_NONE},
    {"comparing long strings",   "local a, b = ('x'):rep(3e6) .. 'a', ('x'):rep(3e6) .. 'b' while a < b do end", ERR_SCRIPT_TIMEOUT},
    {"case of long strings",     "local s = ('x'):rep(2e6) while true do s:upper() end", ERR_SCRIPT_TIMEOUT},
    {"joining long strings",     "local s = ('x'):rep(2e6) while true do local t = s .. 'x' end", ERR_NONE},
    {"pairs over a large table", "local t = {} for i = 1, 1e5 do t['k' .. i] = i end while true do pairs(t) end", ERR_SCRIPT_TIMEOUT},
    {"JSON over and over",       "local t = {} for i = 1, 1e4 do t[i] = { i } end while true do json.decode(json.encode(t)) end", ERR_SCRIPT_TIMEOUT},
    {"decimals over and over",   "local d = decimal(('9'):rep(400)) while true do local x = d * d end", ERR_SCRIPT_TIMEOUT},
    {"doubling a string",        "local s = 'x' while true do s = s .. s end", ERR_SCRIPT_MEMORY},
    {"doubling, caught",         "local s = 'x' while true do pcall(function() s = s .. s end) end", ERR_SCRIPT_MEMORY},
    {"a table that grows",       "local t = {} while true do t[#t + 1] = {} end", ERR_SCRIPT_MEMORY},
    {"a hash that grows",        "local t, i = {}, 0 while true do i = i + 1 t['k' .. i] = i end", ERR_SCRIPT_MEMORY},
    {"closures that grow",       "local f while true do local g = f f = function() return g end end", ERR_SCRIPT_MEMORY},
    {"a long rep",               "local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end", ERR_SCRIPT_MEMORY},
    {"a long concat",            "local t = {} for i = 1, 2e5 do t[i] = ('x'):rep(100) end local r = table.concat(t)", ERR_SCRIPT_MEMORY},
    {"a long gsub",              "local r = ('x'):rep(1e5):gsub('x', ('y'):rep(1e4))", ERR_SCRIPT_MEMORY},
    {"a long format",            "local s = ('x'):rep(4e6) local r = string.format('%s%s%s%s%s', s, s, s, s, s)", ERR_SCRIPT_MEMORY},
    {"a JSON bomb, out",         "local t = ('x'):rep(1e6) local a = {} for i = 1, 30 do a[i] = t end local r = json.encode(a)", ERR_SCRIPT_MEMORY},
    {"a JSON bomb, in",          "local s = '[' .. ('[],'):rep(1e6) .. '1]' local r = json.decode(s)", ERR_SCRIPT_MEMORY},
};
/* clang-format on */

static uint64_t took_ms(uint64_t since_us)
{
    return (clock_us() - since_us) / 1000;
}

/* A state that is broken stays so; another one works at once. */
static void check_replaced(struct world *w)
{
    struct event event = test_event("Run", "{}");
    struct err err = {0};

    assert_true(vm_is_broken(w->vm));
    assert_false(vm_state_apply(w->vm, w->script, 1, &event, TIMEOUT_MS, &err));
    assert_int_equal(err.code, ERR_INTERNAL);
    expect_text("return 'fine'", "fine");
}

static void run_away(const struct runaway *runaway)
{
    struct world w;
    char out[64];
    uint64_t start = clock_us();
    uint64_t ms;

    /* A ceiling is met before a deadline also on a busy machine. */
    world_timeout_ms =
        runaway->code_expected == ERR_SCRIPT_MEMORY ? TIMEOUT_MS : DEADLINE_MS;
    if (world_eval(&w, runaway->code, out, sizeof(out)))
        fail_msg("%s came to an end", runaway->name);
    ms = took_ms(start);
    if (w.err.code != ERR_SCRIPT_TIMEOUT && w.err.code != ERR_SCRIPT_MEMORY)
        fail_msg("%s: %s", runaway->name, w.err.text);
    if (runaway->code_expected != ERR_NONE &&
        w.err.code != runaway->code_expected)
        fail_msg("%s: %s", runaway->name, w.err.text);
    if (ms > world_timeout_ms + LATE_MS)
        fail_msg("%s took %d ms", runaway->name, (int)ms);
    if (strncmp(w.err.text, "scripts/test.lua:2: ", 20) != 0)
        fail_msg("%s: no place in '%s'", runaway->name, w.err.text);
    assert_string_equal(w.err.extra,
                        "\"file\":\"scripts/test.lua\",\"line\":2");
    assert_true(vm_memory_bytes(w.vm) <= LIMIT_BYTES + 65536);
    check_replaced(&w);
    world_close(&w);
    print_message("  %-26s %4d ms  %s\n", runaway->name, (int)ms,
                  err_name(w.err.code));
}

static void every_runaway_is_stopped_near_its_limit(void **state UNUSED)
{
    for (size_t i = 0; i < COUNT(runaways); i++)
        run_away(&runaways[i]);
}

static void a_runaway_top_level_is_stopped(void **state UNUSED)
{
    struct world w;
    uint64_t start = clock_us();

    world_timeout_ms = DEADLINE_MS;
    assert_false(world_load_projection(&w, "\nwhile true do end"));
    assert_int_equal(w.err.code, ERR_SCRIPT_TIMEOUT);
    assert_non_null(strstr(w.err.text, "scripts/test.lua:2: stopped"));
    assert_true(took_ms(start) < DEADLINE_MS + LATE_MS);
    world_close(&w);
}

static void a_runaway_command_is_stopped(void **state UNUSED)
{
    struct vm_command command = {
        .name = STR("go"), .input = STR("{}"), .aggregate_id = STR("x")};
    struct event *events;
    struct world w;
    size_t count;
    int id;

    assert_true(world_load_aggregate(
        &w, "return { type = 'T', apply = { E = function() end }, commands = "
            "{ go = { run = function(o) while true do pcall(o.emit, o, 'E', "
            "{}) end end } } }"));
    id = vm_state_new(w.vm, w.script, STR("x"), TIMEOUT_MS, &w.err);
    assert_false(vm_command_run(w.vm, w.script, id, &command, 50, &w.arena,
                                &events, &count, &w.err));
    assert_int_equal(w.err.code, ERR_SCRIPT_TIMEOUT);
    assert_true(vm_is_broken(w.vm));
    world_close(&w);
}

static void a_command_that_emits_without_end_meets_a_limit(void **state UNUSED)
{
    struct vm_command command = {
        .name = STR("go"), .input = STR("{}"), .aggregate_id = STR("x")};
    struct event *events;
    struct world w;
    size_t count;
    int id;

    assert_true(world_load_aggregate(
        &w, "return { type = 'T', apply = { E = function() end }, commands = "
            "{ go = { run = function(o) while true do o:emit('E', {}) end end "
            "} } }"));
    id = vm_state_new(w.vm, w.script, STR("x"), TIMEOUT_MS, &w.err);
    assert_false(vm_command_run(w.vm, w.script, id, &command, 5000, &w.arena,
                                &events, &count, &w.err));
    assert_non_null(strstr(w.err.text, "a command may emit 1000 events"));
    assert_false(vm_is_broken(w.vm));
    world_close(&w);
}

static void deep_json_and_deep_tables_are_errors(void **state UNUSED)
{
    expect_error("local r = json.decode(('['):rep(1e5) .. (']'):rep(1e5))", "");
    expect_error("local t = {} for i = 1, 100 do t = { t } end "
                 "local r = json.encode(t)",
                 "nested deeper than 64 levels");
    expect_error("local t = {} t.t = t local r = json.encode(t)",
                 "nested deeper than 64 levels");
    expect_error("local function f() return 1 + f() end return f()",
                 "stack overflow");
    expect_error("local function f() return pcall(f) end local ok, e = f() "
                 "error('came back')",
                 "came back");
}

static void kills_are_counted(void **state UNUSED)
{
    static const char name[] = "\nperigee_sandbox_kills_total ";
    struct buf text = {0};
    const char *line;

    metrics_write(&text);
    line = strstr(text.ptr, name);
    assert_non_null(line);
    assert_true(strtol(line + sizeof(name) - 1, NULL, 10) > 40);
    buf_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_runaway_is_stopped_near_its_limit),
        cmocka_unit_test(a_runaway_top_level_is_stopped),
        cmocka_unit_test(a_runaway_command_is_stopped),
        cmocka_unit_test(a_command_that_emits_without_end_meets_a_limit),
        cmocka_unit_test(deep_json_and_deep_tables_are_errors),
        cmocka_unit_test(kills_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
