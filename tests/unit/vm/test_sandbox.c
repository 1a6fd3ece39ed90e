#include "unit/vm/vm_support.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- the whitelist ---- */

/* Everything a script sees, sorted; types.lua is compared with it too. */
static const char *const whitelist[] = {
    "assert",        "bit.arshift",   "bit.band",     "bit.bnot",
    "bit.bor",       "bit.bswap",     "bit.bxor",     "bit.lshift",
    "bit.rol",       "bit.ror",       "bit.rshift",   "bit.tobit",
    "bit.tohex",     "decimal",       "error",        "getmetatable",
    "ipairs",        "json.array",    "json.decode",  "json.encode",
    "json.null",     "log.debug",     "log.error",    "log.info",
    "log.warning",   "math.abs",      "math.acos",    "math.asin",
    "math.atan",     "math.atan2",    "math.ceil",    "math.cos",
    "math.cosh",     "math.deg",      "math.exp",     "math.floor",
    "math.fmod",     "math.frexp",    "math.huge",    "math.ldexp",
    "math.log",      "math.log10",    "math.max",     "math.min",
    "math.modf",     "math.pi",       "math.pow",     "math.rad",
    "math.sin",      "math.sinh",     "math.sqrt",    "math.tan",
    "math.tanh",     "pairs",         "pcall",        "rawequal",
    "rawget",        "reject",        "require",      "select",
    "setmetatable",  "string.byte",   "string.char",  "string.find",
    "string.format", "string.gmatch", "string.gsub",  "string.len",
    "string.lower",  "string.match",  "string.rep",   "string.reverse",
    "string.sub",    "string.upper",  "table.concat", "table.insert",
    "table.maxn",    "table.move",    "table.remove", "table.sort",
    "time",          "tonumber",      "tostring",     "type",
    "unpack",        "uuid",
};

struct names {
    char items[256][64];
    size_t count;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void add_name(struct names *names, const char *prefix, const char *name)
{
    assert_true(names->count < COUNT(names->items));
    snprintf(names->items[names->count++], sizeof(names->items[0]), "%s%s%s",
             prefix, prefix[0] != '\0' ? "." : "", name);
}

/* The table on top of the stack, or, for a proxy, what it reads from. */
static void push_behind(lua_State *L)
{
    if (!luaL_getmetafield(L, -1, "__index"))
        lua_pushvalue(L, -1);
    lua_remove(L, -2);
}

static void list_names(lua_State *L, struct names *names, const char *prefix)
{
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        const char *name = lua_tostring(L, -2);

        if (lua_istable(L, -1)) {
            push_behind(L);
            list_names(L, names, name);
        } else {
            add_name(names, prefix, name);
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
}

static void read_names(struct names *names)
{
    struct world w;

    *names = (struct names){0};
    world_open(&w, "return {}");
    vm_push_ref(w.vm->L, w.vm->env_ref);
    push_behind(w.vm->L);
    list_names(w.vm->L, names, "");
    qsort(names->items, names->count, sizeof(names->items[0]), compare_names);
    world_close(&w);
}

static void a_script_sees_exactly_the_whitelist(void **state UNUSED)
{
    struct names names;

    read_names(&names);
    for (size_t i = 0; i < MIN(names.count, COUNT(whitelist)); i++)
        assert_string_equal(names.items[i], whitelist[i]);
    assert_int_equal(names.count, COUNT(whitelist));
}

/* ---- the annotations tell the truth ---- */

static bool is_declared(const char *text, const char *name)
{
    char function[96], value[96];

    snprintf(function, sizeof(function), "\nfunction %s(", name);
    snprintf(value, sizeof(value), "\n%s = ", name);
    return strstr(text, function) != NULL || strstr(text, value) != NULL;
}

static bool is_whitelisted(const char *name)
{
    for (size_t i = 0; i < COUNT(whitelist); i++)
        if (strcmp(whitelist[i], name) == 0)
            return true;
    return false;
}

static char *read_types(void)
{
    FILE *file = fopen("lua/perigee/types.lua", "r");
    struct buf text = {0};
    int c;

    assert_non_null(file);
    while ((c = fgetc(file)) != EOF)
        buf_char(&text, (char)c);
    fclose(file);
    return buf_take(&text);
}

static void types_lua_declares_what_c_registers(void **state UNUSED)
{
    char *text = read_types();

    for (size_t i = 0; i < COUNT(whitelist); i++)
        if (!is_declared(text, whitelist[i]))
            fail_msg("types.lua does not declare %s", whitelist[i]);
    mem_free(text);
}

static void types_lua_declares_nothing_else(void **state UNUSED)
{
    char *text = read_types();
    struct str rest = str_of(text);
    size_t found = 0;
    char name[64];

    while (!str_is_none(rest)) {
        struct str line = str_cut(&rest, '\n');

        /* Methods of classes (`function Class:name`) are no globals. */
        if (sscanf(line.ptr, "function %63[a-z0-9_.](", name) != 1)
            continue;
        found++;
        if (!is_whitelisted(name))
            fail_msg("types.lua declares %s, which no script sees", name);
    }
    assert_true(found > 60);
    mem_free(text);
}

/* ---- attempts to get out, each an error or nil ---- */

/* clang-format off */
static const char *const refused[][2] = {
    /* what is not there, by name */
    {"io.open('/etc/passwd')",              "global 'io' is not defined"},
    {"os.execute('true')",                  "global 'os' is not defined"},
    {"debug.getregistry()",                 "global 'debug' is not defined"},
    {"return ffi",                          "global 'ffi' is not defined"},
    {"return package",                      "global 'package' is not defined"},
    {"return jit",                          "global 'jit' is not defined"},
    {"load('return 1')",                    "global 'load' is not defined"},
    {"loadstring('return 1')",              "global 'loadstring' is not defined"},
    {"loadfile('x')",                       "global 'loadfile' is not defined"},
    {"dofile('x')",                         "global 'dofile' is not defined"},
    {"coroutine.create(function() end)",    "global 'coroutine' is not defined"},
    {"xpcall(error, error)",                "global 'xpcall' is not defined"},
    {"rawset({}, 1, 2)",                    "global 'rawset' is not defined"},
    {"setfenv(1, {})",                      "global 'setfenv' is not defined"},
    {"getfenv(1)",                          "global 'getfenv' is not defined"},
    {"newproxy(true)",                      "global 'newproxy' is not defined"},
    {"collectgarbage()",                    "global 'collectgarbage' is not defined"},
    {"module('x')",                         "global 'module' is not defined"},
    {"return _G",                           "global '_G' is not defined"},
    {"next({})",                            "global 'next' is not defined"},
    {"print(1)",                            "global 'print' is not defined"},
    {"return string.dump(type)",            "field 'dump'"},
    {"return ('').dump(type)",              "field 'dump'"},
    {"return math.random()",                "field 'random'"},
    {"return math.randomseed(1)",           "field 'randomseed'"},
    /* writes */
    {"x = 1",                               "assignment to the global 'x'"},
    {"pairs = nil",                         "assignment to the global 'pairs'"},
    {"string.format = nil",                 "string is read-only"},
    {"string.evil = 1",                     "string is read-only"},
    {"math.pi = 3",                         "math is read-only"},
    {"json.null = 1",                       "json is read-only"},
    {"log.info = 1",                        "log is read-only"},
    {"event.data = {}",                     "an event is read-only"},
    {"table.insert(string, 1)",             "this table is read-only"},
    {"table.insert(event, 1, 1)",           "this table is read-only"},
    {"table.sort(event)",                   "this table is read-only"},
    {"table.move({ 1 }, 1, 1, 1, json)",    "this table is read-only"},
    {"table.move(string, 1, 1, 1)",         "this table is read-only"},
    {"log.info('x', { ['a=b'] = 1 })",      "names of fields must be words"},
    {"log.info('x', { ['a\\nb'] = 1 })",    "names of fields must be words"},
    {"log.info('x', { 1 })",                "names of fields must be words"},
    /* metatables */
    {"setmetatable(string, {})",            "protected metatable"},
    {"setmetatable(json.array(), {})",      "protected metatable"},
    {"setmetatable(event, {})",             "protected metatable"},
    {"setmetatable('', {})",                "bad argument"},
    {"setmetatable(decimal(1), {})",        "bad argument"},
    {"getmetatable('').__index = 1",        "attempt to index a boolean value"},
    {"getmetatable(string).__index.x = 1",  "attempt to index a boolean value"},
    {"getmetatable(decimal(1)).__add = 1",  "attempt to index a boolean value"},
    {"getmetatable(event).__index = 1",     "attempt to index a boolean value"},
    /* bytecode, modules */
    {"require 'os'",                        "no module 'os' (there are: none"},
    {"require '/etc/passwd'",               "no module '/etc/passwd'"},
    {"require '../secret'",                 "no module '../secret'"},
    {"require 'jit.opt'",                   "no module 'jit.opt'"},
    /* addresses */
    {"return string.format('%p', {})",      "'%p' is not available"},
    /* host functions with strange arguments */
    {"string.rep('x', 2^40)",               "the result would have"},
    {"string.rep('x', 1e308)",              "the result would have"},
    {"table.insert({}, -2e9, 1)",           "is not in 1 to 1"},
    {"table.insert({}, 0/0, 1)",            "is not in 1 to 1"},
    {"pairs()",                             "bad argument"},
    {"pairs(nil)",                          "bad argument"},
    {"pcall()",                             "bad argument"},
    {"tostring()",                          "bad argument"},
    {"pairs({ 1 })(5, 0)",                  "table expected, got number"},
    {"pairs({ 1 })()",                      "table expected, got no value"},
    {"pairs({ 1 })('x', 0)",                "table expected, got string"},
    {"pairs({ a = 1 })(5)",                 "table expected, got number"},
    {"pairs({ a = 1 })()",                  "table expected, got no value"},
    {"ipairs({ 1 })(5, 0)",                 "table expected, got number"},
    {"table.move()",                        "bad argument"},
    {"return ('x'):find(('('):rep(40))",    "too many captures"},
    {"return ('x'):find('[')",              "missing ']'"},
    {"return ('x'):find('%')",              "ends with '%'"},
    {"return ('x'):gsub('x', '%9')",        "invalid capture index"},
    {"return ('x'):find('%1')",             "invalid capture index"},
    {"local t = {} t[{}] = 1 pairs(t)",     "has no order"},
    {"reject('no')",                        "reject: only while a command runs"},
    {"return event.dta",                    "an event has no field 'dta'"},
    {"return undefined_name",               "global 'undefined_name' is not defined"},
};
/* clang-format on */

static void every_attempt_to_get_out_is_refused(void **state UNUSED)
{
    for (size_t i = 0; i < COUNT(refused); i++)
        expect_error(refused[i][0], refused[i][1]);
}

static void hidden_things_read_as_nothing(void **state UNUSED)
{
    expect_text("return tostring(getmetatable(''))", "false");
    expect_text("return tostring(getmetatable(string))", "false");
    expect_text("return tostring(getmetatable(event))", "false");
    expect_text("return tostring(rawget(string, 'format'))", "nil");
    expect_text("local n = 0 for k in pairs(string) do n = n + 1 end "
                "return tostring(n)",
                "0");
}

static void bytecode_is_refused(void **state UNUSED)
{
    struct world w;

    assert_false(world_load_aggregate(&w, "\033LJ\002"));
    assert_non_null(strstr(w.err.text, "attempt to load"));
    world_close(&w);
}

static void no_address_is_printed(void **state UNUSED)
{
    expect_text("return tostring({})", "table");
    expect_text("return tostring(type)", "function");
    expect_text("return string.format('%s %s', {}, type)", "table function");
    expect_text("return tostring(event)", "table");
}

static void errors_of_any_kind_are_readable(void **state UNUSED)
{
    expect_error("error('plain')", "scripts/test.lua:2: plain");
    expect_error("error('no place', 0)", "scripts/test.lua:2: no place");
    expect_error("error({ code = 42, why = 'x' })",
                 "scripts/test.lua:2: {\"code\":42,\"why\":\"x\"}");
    expect_error("error({ f = type })", "error with a value that has no text");
    expect_error("error()", "scripts/test.lua:2: error without a message");
    expect_error("error(true)", "error with a boolean for a message");
    expect_error("error(12)", "12");
    expect_error("local t = nil\nreturn t.x", "scripts/test.lua:3: attempt");
}

static void an_error_carries_file_and_line(void **state UNUSED)
{
    struct world w;
    char out[64];

    assert_false(world_eval(&w, "\n\nerror('x')", out, sizeof(out)));
    assert_int_equal(w.err.code, ERR_SCRIPT);
    assert_string_equal(w.err.extra,
                        "\"file\":\"scripts/test.lua\",\"line\":4");
    assert_false(vm_is_broken(w.vm));
    world_close(&w);
}

/* ---- what differs from LuaJIT ---- */

static void pairs_goes_in_order(void **state UNUSED)
{
    expect_text("local t = { zeta = 1, alpha = 2, [true] = 3, [10] = 4, "
                "[-1] = 5, [2.5] = 6, [false] = 7, ['Z'] = 8 } local o = {} "
                "for k in pairs(t) do o[#o + 1] = tostring(k) end "
                "return table.concat(o, ' ')",
                "-1 2.5 10 Z alpha zeta false true");
    expect_text("local o = {} for i, v in pairs({ 'a', 'b', 'c' }) do "
                "o[#o + 1] = i .. v end return table.concat(o, ' ')",
                "1a 2b 3c");
    expect_text("for k in pairs({}) do return 'something' end return 'nothing'",
                "nothing");
    expect_text("local t = {} for i = 1, 100 do t['k' .. i] = i end "
                "local last, ok = '', 'sorted' for k in pairs(t) do "
                "if k <= last then ok = 'unsorted' end last = k end return ok",
                "sorted");
}

static void pairs_passes_over_what_was_removed(void **state UNUSED)
{
    expect_text("local t = { a = 1, b = 2, c = 3 } local o = {} "
                "for k in pairs(t) do t.b = nil o[#o + 1] = k end "
                "return table.concat(o, ' ')",
                "a c");
    expect_text("local t = { 1, 2, 3 } local n = 0 for i in pairs(t) do "
                "t[2] = nil n = n + 1 end return tostring(n)",
                "2");
    expect_text("local t = { 1 } for i in pairs(t) do t[i + 1] = 1 end "
                "return tostring(#t)",
                "2");
}

static void pcall_catches_errors_and_gives_results(void **state UNUSED)
{
    expect_text("local ok, text = pcall(error, 'x', 0) "
                "return tostring(ok) .. text",
                "falsex");
    expect_text("local ok, a, b = pcall(function(...) return ... end, 1, 2) "
                "return tostring(ok) .. a .. b",
                "true12");
    expect_text("local ok, e = pcall(error, { code = 7 }) "
                "return tostring(e.code)",
                "7");
}

static void tostring_knows_every_type(void **state UNUSED)
{
    expect_text("return tostring(nil) .. tostring(true) .. tostring(1.5) .. "
                "tostring('s') .. tostring(type) .. tostring({}) .. "
                "tostring(json.null) .. tostring(decimal('1.50'))",
                "niltrue1.5sfunctiontablenull1.50");
    expect_text("return tostring(setmetatable({}, { __tostring = function() "
                "return 'mine' end }))",
                "mine");
    expect_text("return string.format('%s %d %5.2f %q %%', {}, 3, 1.5, 'a')",
                "table 3  1.50 \"a\" %");
    expect_text("return tostring(tonumber('0x10')) .. tonumber('z', 36) .. "
                "tonumber(decimal('2.5'))",
                "16352.5");
}

static void sort_and_insert_do_what_lua_does(void **state UNUSED)
{
    expect_text("local t = { 5, 2, 8, 1, 9, 3 } table.sort(t) "
                "return table.concat(t, ' ')",
                "1 2 3 5 8 9");
    expect_text("local t = { 'b', 'c', 'a' } "
                "table.sort(t, function(x, y) return x > y end) "
                "return table.concat(t, ' ')",
                "c b a");
    expect_text("local t = {} for i = 1, 500 do t[i] = (i * 7919) % 1009 end "
                "table.sort(t) for i = 2, 500 do if t[i] < t[i - 1] then "
                "return 'unsorted' end end return 'sorted'",
                "sorted");
    expect_text("local t = { 'b' } table.insert(t, 1, 'a') "
                "table.insert(t, 'd') table.insert(t, 3, 'c') "
                "return table.concat(t, ' ')",
                "a b c d");
    expect_error("table.sort({ 1, 'x' })", "attempt to compare");
}

/* ---- patterns ---- */

/* clang-format off */
static const char *const patterns[][2] = {
    {"return ('hello world'):match('o w')",                     "o w"},
    {"return ('key = value'):match('^(%w+)%s*=%s*(%w+)$')",     "key"},
    {"return select(2, ('key = value'):match('^(%w+)%s*=%s*(%w+)$'))", "value"},
    {"return table.concat({ ('hello'):find('l') }, ' ')",       "3 3"},
    {"return table.concat({ ('hello'):find('l+') }, ' ')",      "3 4"},
    {"return table.concat({ ('a.b'):find('.', 1, true) }, ' ')", "2 2"},
    {"return table.concat({ ('hello'):find('', 10) }, ' ')",    "6 5"},
    {"return table.concat({ ('hello'):find('o', -2) }, ' ')",   "5 5"},
    {"return tostring(('hello'):find('x'))",                    "nil"},
    {"return ('f(a(b)c)d'):match('%b()')",                      "(a(b)c)"},
    {"return ('THE (quick) fox'):find('%((%a+)%)') .. ''",      "5"},
    {"return (('abc abc'):gsub('%w+', '<%0>'))",                "<abc> <abc>"},
    {"return (('hello world'):gsub('(%w+) (%w+)', '%2 %1'))",   "world hello"},
    {"return (('abc'):gsub('', '-'))",                          "-a-b-c-"},
    {"return (('abc'):gsub('%w', { a = '1', b = true }))",      "error"},
    {"return (('abc'):gsub('%w', { a = '1' }))",                "1bc"},
    {"return (('abc'):gsub('%w', function(c) return c:upper() end))", "ABC"},
    {"return (('abc'):gsub('b', '%%'))",                        "a%c"},
    {"return tostring(select(2, ('aaa'):gsub('a', 'b', 2)))",   "2"},
    {"return (('  trim  '):gsub('^%s+', ''))",                  "trim  "},
    {"return ('THE (quick) fox'):match('%f[%a]%a+%f[%A]')",     "THE"},
    {"return ('x=1,y=2'):match('()y')  .. ''",                  "5"},
    {"local o = {} for k, v in ('a=1, b=2'):gmatch('(%w+)=(%w+)') do o[#o+1] = k .. v end return table.concat(o, ' ')", "a1 b2"},
    {"local o = {} for w in ('one two'):gmatch('%a+') do o[#o+1] = w end return table.concat(o, '|')", "one|two"},
    {"local n = 0 for _ in ('abc'):gmatch('') do n = n + 1 end return tostring(n)", "4"},
    {"return ('a]b'):match('[]]')",                             "]"},
    {"return ('a-b'):match('[a%-]+')",                          "a-"},
    {"return ('2010-12-01'):match('(%d+)-(%d+)-(%d+)')",        "2010"},
    {"return ('aXb'):match('%u') .. ('aXb'):match('%U')",       "Xa"},
    {"return ('abcabc'):match('(abc)%1') ",                     "abc"},
    {"return ('<<a>>'):match('<(.-)>')",                        "<a"},
    {"return tostring(('abc'):match('^b'))",                    "nil"},
    {"return ('a\\0b'):match('%z') == '\\0' and 'nul' or 'no'", "nul"},
    {"return tostring(('x'):rep(3, ','))",                      "x,x,x"},
    {"return ('x'):rep(0) .. ('x'):rep(-1) .. ('ab'):rep(2)",   "abab"},
};
/* clang-format on */

static void patterns_match_as_in_lua(void **state UNUSED)
{
    for (size_t i = 0; i < COUNT(patterns); i++) {
        if (strcmp(patterns[i][1], "error") == 0)
            expect_error(patterns[i][0], "invalid replacement value");
        else
            expect_text(patterns[i][0], patterns[i][1]);
    }
}

/* ---- time, ids, the log ---- */

static void time_and_ids_are_the_events(void **state UNUSED)
{
    expect_text("return time()", "2010-12-01T08:26:00.000000Z");
    expect_text("return tostring(uuid() == uuid())", "false");
    expect_text("return uuid():sub(15, 15)", "5");
}

static void a_flood_of_log_lines_is_cut(void **state UNUSED)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    assert_true(null >= 0);
    log_setup(LOG_INFO, LOG_FORMAT_TEXT, null);
    expect_text("for i = 1, 1e4 do log.info('line', { i = i, t = { 1 } }) end "
                "return 'done'",
                "done");
    log_setup(LOG_INFO, LOG_FORMAT_TEXT, 1);
    close(null);
    expect_error("log.info()", "bad argument");
}

/* Turns the log into a text. */
static void read_log(const char *code, char *text, size_t size)
{
    int pipes[2];
    ssize_t got;

    assert_int_equal(pipe(pipes), 0);
    log_setup(LOG_INFO, LOG_FORMAT_TEXT, pipes[1]);
    expect_text(code, "done");
    log_setup(LOG_INFO, LOG_FORMAT_TEXT, 1);
    close(pipes[1]);
    got = read(pipes[0], text, size - 1);
    assert_true(got > 0);
    text[got] = '\0';
    close(pipes[0]);
}

static void a_log_line_is_one_line(void **state UNUSED)
{
    char text[2048];

    read_log("log.info('a\\n2020-01-01 forged\\27[0m') return 'done'", text,
             sizeof(text));
    assert_non_null(strstr(text, "a 2020-01-01 forged [0m"));
}

/* Reading the event's data runs the script: here it frees the other names. */
static void an_upcast_may_empty_the_table_that_is_logged(void **state UNUSED)
{
    struct event event = test_event("Run", "{}");
    char text[4096];
    struct world w;
    int pipes[2];
    ssize_t got;
    int id;

    assert_int_equal(pipe(pipes), 0);
    assert_true(world_load_aggregate(
        &w, "local t = {} local function name(i) return ('k'):rep(100) .. i "
            "end return { type = 'Thing', upcast = { Run = { function(d) for i "
            "= 1, 9 do t[name(i)] = nil end for i = 1, 1e5 do local junk = "
            "('j'):rep(95) .. i end return d end } }, apply = { Run = "
            "function(s, event) for i = 1, 9 do t[name(i)] = i end t.a = event "
            "log.info('x', t) end } }"));
    id = vm_state_new(w.vm, w.script, STR("x"), TIMEOUT_MS, &w.err);
    log_setup(LOG_INFO, LOG_FORMAT_TEXT, pipes[1]);
    assert_true(vm_state_apply(w.vm, w.script, id, &event, TIMEOUT_MS, &w.err));
    log_setup(LOG_INFO, LOG_FORMAT_TEXT, 1);
    close(pipes[1]);
    got = read(pipes[0], text, sizeof(text) - 1);
    assert_true(got > 0);
    text[got] = '\0';
    close(pipes[0]);
    assert_non_null(strstr(text, "kkkkk1=nil"));
    assert_non_null(strstr(text, "kkkkk9=nil"));
    world_close(&w);
}

static void a_module_has_no_time_of_an_event(void **state UNUSED)
{
    char path[] = "_m.lua", name[] = "_m", code[] = "return { at = time() }";
    struct source module = {
        .path = path, .module = name, .text = code, .text_len = strlen(code)};
    struct source_tree tree = {.sources = &module, .count = 1};
    struct event event = test_event("Run", "{}");
    struct vm_options options = {.memory_bytes = LIMIT_BYTES,
                                 .load_timeout_ms = TIMEOUT_MS,
                                 .modules = &tree};
    struct world w;
    int id;

    world_open(&w, "return { type = 'Thing', apply = { Run = function(s) "
                   "s.at = require('_m').at end } }");
    vm_free(w.vm);
    w.vm = vm_new(&options, &w.err);
    w.script = vm_load_aggregate(w.vm, &w.tree->sources[0], &w.arena,
                                 &w.aggregate, &w.err);
    id = vm_state_new(w.vm, w.script, STR("x"), TIMEOUT_MS, &w.err);
    assert_false(
        vm_state_apply(w.vm, w.script, id, &event, TIMEOUT_MS, &w.err));
    assert_non_null(
        strstr(w.err.text, "time() is not available while a script loads"));
    world_close(&w);
}

static void a_low_ceiling_is_refused(void **state UNUSED)
{
    struct vm_options options = {.memory_bytes = 10000, .load_timeout_ms = 100};
    struct err err = {0};

    assert_null(vm_new(&options, &err));
    assert_int_equal(err.code, ERR_SCRIPT_MEMORY);
}

static void a_state_with_much_garbage_rests(void **state UNUSED)
{
    struct world w;
    char out[64];
    size_t before;

    assert_true(world_eval(&w,
                           "local t = {} for i = 1, 1.3e5 do t[i] = { i } end "
                           "return 'x'",
                           out, sizeof(out)));
    before = vm_memory_bytes(w.vm);
    assert_true(before > LIMIT_BYTES / 2);
    vm_rest(w.vm);
    assert_true(vm_memory_bytes(w.vm) < before / 4);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_script_sees_exactly_the_whitelist),
        cmocka_unit_test(types_lua_declares_what_c_registers),
        cmocka_unit_test(types_lua_declares_nothing_else),
        cmocka_unit_test(every_attempt_to_get_out_is_refused),
        cmocka_unit_test(hidden_things_read_as_nothing),
        cmocka_unit_test(bytecode_is_refused),
        cmocka_unit_test(no_address_is_printed),
        cmocka_unit_test(errors_of_any_kind_are_readable),
        cmocka_unit_test(an_error_carries_file_and_line),
        cmocka_unit_test(pairs_goes_in_order),
        cmocka_unit_test(pairs_passes_over_what_was_removed),
        cmocka_unit_test(pcall_catches_errors_and_gives_results),
        cmocka_unit_test(tostring_knows_every_type),
        cmocka_unit_test(sort_and_insert_do_what_lua_does),
        cmocka_unit_test(patterns_match_as_in_lua),
        cmocka_unit_test(time_and_ids_are_the_events),
        cmocka_unit_test(a_flood_of_log_lines_is_cut),
        cmocka_unit_test(a_log_line_is_one_line),
        cmocka_unit_test(an_upcast_may_empty_the_table_that_is_logged),
        cmocka_unit_test(a_module_has_no_time_of_an_event),
        cmocka_unit_test(a_low_ceiling_is_refused),
        cmocka_unit_test(a_state_with_much_garbage_rests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
