#include "unit/vm/vm_support.h"
#include "vm/vm_script.h"

#include <unistd.h>

/*
 * A `db` that writes down each call, as "put things id='a' n=1": what reaches
 * the host is what these tests are about, not what it does with it.
 */
struct recorder {
    struct world w;
    struct arena arena;
    struct buf calls;
    enum err_code answer; /* other than ERR_NONE: every call fails with it */
    struct value row[TABLE_MAX_COLUMNS];
    bool has_row;        /* `get` gives `row` */
    uint32_t timeout_ms; /* of a handler; 0: TIMEOUT_MS */
    uint32_t sleep_ms;   /* what a get takes; it is said to be the store */
    uint64_t waited_us;
};

static const struct table_def *table_of(struct recorder *r, size_t table)
{
    return &r->w.projection.tables[table];
}

static void note_value(struct recorder *r, const struct column_def *column,
                       const struct value *value)
{
    buf_printf(&r->calls, " %.*s=", STR_ARG(column->name));
    if (value->kind == VALUE_NULL)
        buf_text(&r->calls, "NULL");
    else
        value_to_text(value, &r->calls);
}

static bool note(struct recorder *r, const char *method, size_t table,
                 const struct value *row, uint64_t columns, struct err *err)
{
    const struct table_def *def = table_of(r, table);

    buf_printf(&r->calls, "%s %.*s", method, STR_ARG(def->name));
    for (size_t i = 0; i < def->column_count; i++)
        if ((columns >> i & 1) != 0)
            note_value(r, &def->columns[i], &row[i]);
    buf_char(&r->calls, '\n');
    return r->answer == ERR_NONE ? true
                                 : err_set(err, r->answer, "from the host");
}

static bool note_keyed(struct recorder *r, const char *method, size_t table,
                       const struct value *key, const struct value *row,
                       uint64_t columns, struct err *err)
{
    struct value all[TABLE_MAX_COLUMNS];

    if (row != NULL)
        memcpy(all, row, sizeof(all));
    all[0] = *key;
    return note(r, method, table, all, columns | 1, err);
}

static bool fake_get(void *context, size_t table, const struct value *key,
                     const struct value **row_out, struct err *err)
{
    struct recorder *r = context;

    usleep(r->sleep_ms * 1000);
    r->waited_us += r->sleep_ms * 1000;
    *row_out = r->has_row ? r->row : NULL;
    return note_keyed(r, "get", table, key, NULL, 0, err);
}

static bool fake_put(void *context, size_t table, const struct value *row,
                     struct err *err)
{
    return note(context, "put", table, row, UINT64_MAX, err);
}

static bool fake_insert(void *context, size_t table, const struct value *row,
                        struct err *err)
{
    return note(context, "insert", table, row, UINT64_MAX, err);
}

static bool fake_patch(void *context, size_t table, const struct value *key,
                       const struct value *values, uint64_t columns,
                       struct err *err)
{
    return note_keyed(context, "patch", table, key, values, columns, err);
}

static bool fake_add(void *context, size_t table, const struct value *key,
                     const struct value *values, uint64_t columns,
                     struct err *err)
{
    return note_keyed(context, "add", table, key, values, columns, err);
}

static bool fake_remove(void *context, size_t table, const struct value *key,
                        struct err *err)
{
    return note_keyed(context, "delete", table, key, NULL, 0, err);
}

static uint64_t fake_waited_us(void *context)
{
    const struct recorder *r = context;

    return r->waited_us;
}

static const struct vm_db fake_db = {fake_get,      fake_put, fake_insert,
                                     fake_patch,    fake_add, fake_remove,
                                     fake_waited_us};

/* `code` is the body of the only handler; `kept` is a local of the script. */
static void recorder_open(struct recorder *r, const char *code)
{
    struct buf text = {0};

    *r = (struct recorder){0};
    buf_printf(&text,
               "local kept\nreturn { name = 'p', on = { E = function(event, "
               "db)\n%s\nend }, tables = { things = { key = 'id', columns = { "
               "id = 'text', n = 'bigint?', i = 'integer?', amount = "
               "'numeric?', d = 'double?', ok = 'boolean?', day = 'date?', at "
               "= 'timestamp?', u = 'uuid?', j = 'json?' } }, strict = { key "
               "= 'id', columns = { id = 'uuid', name = 'text' } } } }",
               code);
    if (!world_load_projection(&r->w, text.ptr))
        fail_msg("%s", r->w.err.text);
    vm_bind_db(r->w.vm, r->w.script, &r->w.projection, &fake_db, r, &r->arena);
    buf_done(&text);
}

static void recorder_close(struct recorder *r)
{
    world_close(&r->w);
    arena_done(&r->arena);
    buf_done(&r->calls);
}

static bool handle(struct recorder *r)
{
    struct event event = test_event("E", "{\"total\":1.50,\"items\":[1,2]}");

    return vm_handle(r->w.vm, r->w.script, &event,
                     r->timeout_ms > 0 ? r->timeout_ms : TIMEOUT_MS, &r->w.err);
}

static void expect_calls(const char *code, const char *calls)
{
    struct recorder r;

    recorder_open(&r, code);
    if (!handle(&r))
        fail_msg("%s\n  in: %s", r.w.err.text, code);
    if (!str_eq(buf_as_str(&r.calls), str_of(calls)))
        fail_msg("'%s' expected, '%s' got\n  in: %s", calls, r.calls.ptr, code);
    recorder_close(&r);
}

static void expect_refusal(const char *code, const char *part)
{
    struct recorder r;

    recorder_open(&r, code);
    if (handle(&r))
        fail_msg("no error: %s", code);
    if (strstr(r.w.err.text, part) == NULL)
        fail_msg("'%s' expected in '%s'\n  in: %s", part, r.w.err.text, code);
    if (strncmp(r.w.err.text, "scripts/test.lua:3: ", 20) != 0)
        fail_msg("no place in '%s'", r.w.err.text);
    assert_int_equal(r.calls.len, 0);
    recorder_close(&r);
}

/* ---- what reaches the host ---- */

static void every_method_reaches_the_host(void **state UNUSED)
{
    expect_calls("db.things:put { id = 'a', n = 5, amount = '1.50' }",
                 "put things id=a amount=1.50 at=NULL d=NULL day=NULL i=NULL "
                 "j=NULL n=5 ok=NULL u=NULL\n");
    expect_calls("db.things:insert { id = 'a' } db.things:delete 'a'",
                 "insert things id=a amount=NULL at=NULL d=NULL day=NULL "
                 "i=NULL j=NULL n=NULL ok=NULL u=NULL\ndelete things id=a\n");
    expect_calls("db.things:patch('a', { n = 7, ok = true })",
                 "patch things id=a n=7 ok=true\n");
    expect_calls("db.things:patch('a', { id = 'a', n = 7 })",
                 "patch things id=a n=7\n");
    expect_calls("db.things:patch('a', {})", "");
    expect_calls("db.things:add('a', { n = 1, amount = event.data.total })",
                 "add things id=a amount=1.5 n=1\n");
    expect_calls("if db.things:get('a') then error('a row') end",
                 "get things id=a\n");
}

static void every_kind_is_converted(void **state UNUSED)
{
    expect_calls("db.things:patch('a', { n = -9007199254740992 })",
                 "patch things id=a n=-9007199254740992\n");
    expect_calls("db.things:patch('a', { n = decimal('9223372036854775807') })",
                 "patch things id=a n=9223372036854775807\n");
    expect_calls("db.things:patch('a', { amount = decimal('1.500') })",
                 "patch things id=a amount=1.500\n");
    expect_calls("db.things:patch('a', { amount = 0.1 })",
                 "patch things id=a amount=0.1\n");
    expect_calls("db.things:patch('a', { d = 0.5, ok = false })",
                 "patch things id=a d=0.5 ok=false\n");
    expect_calls("db.things:patch('a', { day = event.occurred_at:sub(1, 10), "
                 "at = event.occurred_at })",
                 "patch things id=a at=2010-12-01T08:26:00.000000Z "
                 "day=2010-12-01\n");
    expect_calls("db.things:patch('a', { u = event.event_id:upper() })",
                 "patch things id=a u=01890a5d-ac96-774b-bcce-b302099a8057\n");
    expect_calls("db.things:patch('a', { j = event.data })",
                 "patch things id=a j={\"items\":[1,2],\"total\":1.5}\n");
    expect_calls("db.things:patch('a', { j = { b = 1, a = json.array() } })",
                 "patch things id=a j={\"a\":[],\"b\":1}\n");
    expect_calls("db.things:patch('a', { n = json.null, j = json.null })",
                 "patch things id=a j=NULL n=NULL\n");
}

/* clang-format off */
static const char *const refused[][2] = {
    {"db.thing:put {}",                              "db has no table 'thing' (tables: strict, things)"},
    {"db.things:upsert {}",                          "no method 'upsert' (there are: add, delete, get, insert, patch, put)"},
    {"db.things.put({ id = 'a' })",                  "usage: db.things:put(row: table)"},
    {"db.things:put()",                              "usage: db.things:put(row: table)"},
    {"db.things:put('a')",                           "table expected"},
    {"db.things:patch('a')",                         "usage: db.things:patch(key, fields: table)"},
    {"db.things:patch(nil, {})",                     "usage: db.things:patch("},
    {"db.things:get()",                              "usage: db.things:get(key)"},
    {"db.things:get(nil)",                           "usage: db.things:get(key)"},
    {"db.things:add('a', 1)",                        "table expected"},
    {"db.things = nil",                              "db is read-only"},
    {"db.things.put = nil",                          "a table of db is read-only"},
    {"db.things:put { id = 'a', totl = 1 }",         "db.things:put: no column 'totl' (columns: id, amount, at, d, day, i, j, n, ok, u)"},
    {"db.things:put { id = 'a', 5 }",                "no column 'number'"},
    {"db.things:put { n = 1 }",                      "column 'id' must not be null"},
    {"db.strict:put { id = event.event_id }",        "db.strict:put: column 'name' must not be null"},
    {"db.strict:put { id = event.event_id, name = json.null }", "column 'name' must not be null"},
    {"db.strict:patch(event.event_id, { name = json.null })", "column 'name' must not be null"},
    {"db.strict:get('abc')",                         "column 'id' takes a value of kind uuid, not a text of 3 bytes"},
    {"db.things:get(json.null)",                     "column 'id' must not be null"},
    {"db.things:get(5)",                             "column 'id' takes a value of kind text, not '5'"},
    {"db.things:put { id = 'a', n = 1.5 }",          "column 'n' takes a value of kind bigint, not '1.5'"},
    {"db.things:put { id = 'a', n = '1' }",          "kind bigint, not a text of 1 bytes"},
    {"db.things:put { id = 'a', n = 1e300 }",        "kind bigint, not '1e+300'"},
    {"db.things:put { id = 'a', n = decimal('0.5') }", "kind bigint, not 0.5"},
    {"db.things:put { id = 'a', i = 2147483648 }",   "kind integer, not '2147483648'"},
    {"db.things:put { id = 'a', amount = 'x' }",     "kind numeric, not a text of 1 bytes"},
    {"db.things:put { id = 'a', amount = {} }",      "kind numeric, not table"},
    {"db.things:put { id = 'a', amount = 0/0 }",     "kind numeric, not"},
    {"db.things:put { id = 'a', d = 1/0 }",          "kind double, not"},
    {"db.things:put { id = 'a', ok = 1 }",           "kind boolean, not '1'"},
    {"db.things:put { id = 'a', day = 'today' }",    "kind date, not a text of 5 bytes"},
    {"db.things:put { id = 'a', at = '2010-12-01' }", "kind timestamp, not a text of 10 bytes"},
    {"db.things:put { id = 'a', u = 'x' }",          "kind uuid, not a text of 1 bytes"},
    {"db.things:put { id = 'a', j = type }",         "a function has no JSON"},
    {"db.things:put { id = '\\255' }",               "kind text"},
    {"db.things:put { id = 'a\\0b' }",               "kind text"},
    {"db.things:patch('a', { id = 'b' })",           "column 'id' is the key and cannot change"},
    {"db.things:add('a', { ok = true })",            "column 'ok' (boolean) cannot be added to"},
    {"db.things:add('a', { n = json.null })",        "column 'n' (bigint) cannot be added to"},
    {"db.things:add('a', { n = 'x' })",              "kind bigint, not a text of 1 bytes"},
    {"reject('x')",                                  "reject: only while a command runs"},
    {"return event.dta",                             "an event has no field 'dta' (it has: position, recorded_at, event_id"},
};
/* clang-format on */

static void what_a_column_does_not_take_is_an_error(void **state UNUSED)
{
    for (size_t i = 0; i < COUNT(refused); i++)
        expect_refusal(refused[i][0], refused[i][1]);
}

/* ---- rows back ---- */

static void a_row_is_read_as_lua_values(void **state UNUSED)
{
    struct err err = {0};
    struct recorder r;
    const struct table_def *table;

    recorder_open(&r, "local t = db.things:get('a') "
                      "error(json.encode(t) .. type(t.amount) .. type(t.n) .. "
                      "tostring(t.d) .. type(t.j.x))");
    table = table_of(&r, 1);
    for (size_t i = 0; i < table->column_count; i++)
        r.row[i].kind = VALUE_NULL;
    assert_true(
        value_from_text(VALUE_TEXT, STR("a"), &r.arena, &r.row[0], &err));
    for (size_t i = 0; i < table->column_count; i++) {
        static const struct {
            const char *name, *text;
        } values[] = {
            {"n", "9007199254740993"},
            {"amount", "1.50"},
            {"ok", "true"},
            {"at", "2010-12-01T08:26:00.000000Z"},
            {"day", "2010-12-01"},
            {"u", "01890a5d-ac96-774b-bcce-b302099a8057"},
            {"j", "{\"x\":[]}"},
            {"i", "-5"},
        };

        for (size_t v = 0; v < COUNT(values); v++)
            if (str_eq(table->columns[i].name, str_of(values[v].name)))
                assert_true(value_from_text(table->columns[i].kind,
                                            str_of(values[v].text), &r.arena,
                                            &r.row[i], &err));
    }
    r.has_row = true;
    assert_false(handle(&r));
    assert_string_equal(
        r.w.err.text,
        "scripts/test.lua:3: {\"amount\":\"1.50\",\"at\":"
        "\"2010-12-01T08:26:00.000000Z\",\"day\":\"2010-12-01\",\"i\":-5,"
        "\"id\":\"a\",\"j\":{\"x\":[]},\"n\":\"9007199254740993\",\"ok\":true,"
        "\"u\":\"01890a5d-ac96-774b-bcce-b302099a8057\"}"
        "userdatauserdataniltable"
        "");
    recorder_close(&r);
}

/* ---- failures of the host ---- */

/* One that does nothing but wait must not time out, however slow the store. */
static void waiting_for_the_store_is_not_the_scripts_time(void **state UNUSED)
{
    struct recorder r;

    recorder_open(&r, "db.things:get('a')\n"
                      "for i = 1, 100000 do kept = i end");
    r.sleep_ms = 400;
    r.timeout_ms = 300;
    if (!handle(&r))
        fail_msg("%s", r.w.err.text);
    recorder_close(&r);
}

static void a_lost_store_ends_the_handler_as_it_is(void **state UNUSED)
{
    struct recorder r;

    recorder_open(&r, "pcall(db.things.delete, db.things, 'a') "
                      "db.things:delete 'b'");
    r.answer = ERR_STORE;
    assert_false(handle(&r));
    assert_int_equal(r.w.err.code, ERR_STORE);
    assert_string_equal(r.w.err.text, "from the host");
    assert_string_equal(r.calls.ptr, "delete things id=a\n");
    assert_false(vm_is_broken(r.w.vm));
    r.answer = ERR_NONE;
    assert_true(handle(&r));
    recorder_close(&r);
}

static void a_refusal_of_the_host_is_an_error_of_the_line(void **state UNUSED)
{
    struct recorder r;

    recorder_open(&r, "db.things:insert { id = 'a' }");
    r.answer = ERR_CONFLICT;
    assert_false(handle(&r));
    assert_int_equal(r.w.err.code, ERR_SCRIPT);
    assert_string_equal(r.w.err.text,
                        "scripts/test.lua:3: db.things:insert: from the host");
    assert_string_equal(r.w.err.extra,
                        "\"file\":\"scripts/test.lua\",\"line\":3");
    recorder_close(&r);
    recorder_open(&r, "pcall(db.things.insert, db.things, { id = 'a' })");
    r.answer = ERR_CONFLICT;
    assert_true(handle(&r));
    recorder_close(&r);
}

static void a_handler_that_writes_without_end_is_stopped(void **state UNUSED)
{
    struct event event = test_event("E", "{}");
    struct recorder r;

    recorder_open(&r, "local t = ('x'):rep(1e6) while true do "
                      "db.things:put { id = t } end");
    r.calls.len = 0;
    assert_false(vm_handle(r.w.vm, r.w.script, &event, 20000, &r.w.err));
    assert_int_equal(r.w.err.code, ERR_SCRIPT_MEMORY);
    recorder_close(&r);
}

/* ---- the event ---- */

static void an_event_is_for_its_handler_only(void **state UNUSED)
{
    struct recorder r;

    recorder_open(&r, "if kept then return kept.metadata end kept = event");
    assert_true(handle(&r));
    assert_false(handle(&r));
    assert_non_null(strstr(r.w.err.text,
                           "event.metadata was read after its handler ended"));
    recorder_close(&r);
    recorder_open(&r, "if kept then db.things:delete(kept.data.items[2] .. '') "
                      "end kept = kept or event and event.data and event");
    assert_true(handle(&r));
    assert_true(handle(&r));
    assert_string_equal(r.calls.ptr, "delete things id=2\n");
    recorder_close(&r);
}

static void db_is_for_handlers_only(void **state UNUSED)
{
    struct recorder r;
    struct event event = test_event("E", "{}");

    recorder_open(&r, "db.things:delete 'a'");
    r.w.vm->scripts[0]->projection = NULL;
    assert_false(vm_handle(r.w.vm, r.w.script, &event, TIMEOUT_MS, &r.w.err));
    assert_non_null(strstr(
        r.w.err.text, "only usable while a handler of its projection runs"));
    recorder_close(&r);
}

static void db_is_for_its_own_projection_only(void **state UNUSED)
{
    struct source_tree *tree = source_tree_of(
        "projections/other.lua",
        STR("return { name = 'q', tables = { things = { key = 'id', columns = "
            "{ id = 'text' } } }, on = { E = function() require('_m').db"
            ".things:delete 'a' end } }"));
    char path[] = "_m.lua", name[] = "_m", code[] = "return {}";
    struct source shared = {
        .path = path, .module = name, .text = code, .text_len = strlen(code)};
    struct source_tree modules = {.sources = &shared, .count = 1};
    struct event event = test_event("E", "{}");
    struct projection_decl decl;
    struct recorder r;
    int other;

    recorder_open(&r, "require('_m').db = db");
    r.w.vm->modules = &modules;
    other = vm_load_projection(r.w.vm, &tree->sources[0], &r.w.arena, &decl,
                               &r.w.err);
    assert_true(other >= 0);
    vm_bind_db(r.w.vm, other, &decl, &fake_db, &r, &r.arena);
    assert_true(handle(&r));
    assert_false(vm_handle(r.w.vm, other, &event, TIMEOUT_MS, &r.w.err));
    assert_non_null(
        strstr(r.w.err.text, "only usable while a handler of its projection"));
    recorder_close(&r);
    source_tree_free(tree);
}

static void time_and_ids_repeat_exactly(void **state UNUSED)
{
    struct buf first = {0};
    struct recorder r;

    recorder_open(&r, "db.strict:put { id = uuid(), name = time() } "
                      "db.strict:put { id = uuid(), name = "
                      "tostring(event.position) .. event.recorded_at }");
    assert_true(handle(&r));
    buf_str(&first, buf_as_str(&r.calls));
    buf_clear(&r.calls);
    assert_true(handle(&r));
    assert_string_equal(first.ptr, r.calls.ptr);
    assert_non_null(strstr(first.ptr, "name=72010-12-01T08:26:00.000001Z"));
    buf_done(&first);
    recorder_close(&r);
}

static void any_event_goes_to_the_star(void **state UNUSED)
{
    struct event known = test_event("A", "{}"), other = test_event("B", "{}");
    struct world w;

    assert_true(world_load_projection(
        &w, "return { name = 'p', tables = { t = { key = 'id', columns = { id "
            "= 'text' } } }, on = { A = function() end, ['*'] = function(e) "
            "error('star ' .. e.event_type, 0) end } }"));
    assert_true(vm_handle(w.vm, w.script, &known, TIMEOUT_MS, &w.err));
    assert_false(vm_handle(w.vm, w.script, &other, TIMEOUT_MS, &w.err));
    assert_non_null(strstr(w.err.text, "star B"));
    world_close(&w);
}

static void upcasts_of_the_aggregate_apply_here_too(void **state UNUSED)
{
    struct source_tree *tree = source_tree_of(
        "aggregates/thing.lua",
        STR("return { type = 'Thing', apply = { E = function() end }, upcast = "
            "{ E = { [1] = function(d) d.total = d.total + 1 return d end } } "
            "}"));
    struct aggregate_decl decl;
    struct recorder r;

    recorder_open(&r, "db.things:add('a', { amount = event.data.total, n = "
                      "event.event_version })");
    assert_true(vm_load_aggregate(r.w.vm, &tree->sources[0], &r.w.arena, &decl,
                                  &r.w.err) >= 0);
    assert_true(handle(&r));
    assert_string_equal(r.calls.ptr, "add things id=a amount=2.5 n=2\n");
    recorder_close(&r);
    source_tree_free(tree);
}

static void no_memory_stays_behind(void **state UNUSED)
{
    struct event event = test_event("E", "{\"total\":1.50,\"items\":[1,2]}");
    struct recorder r;
    size_t before = 0;

    recorder_open(&r, "local x = event.data.items "
                      "db.things:patch('a', { j = event.data, amount = "
                      "decimal('1') / 3 })");
    for (int i = 0; i < 20000; i++) {
        assert_true(
            vm_handle(r.w.vm, r.w.script, &event, TIMEOUT_MS, &r.w.err));
        buf_clear(&r.calls);
        arena_reset(&r.arena);
        if (i == 10000)
            before = vm_memory_bytes(r.w.vm);
    }
    assert_true(vm_memory_bytes(r.w.vm) < before * 2);
    recorder_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_method_reaches_the_host),
        cmocka_unit_test(every_kind_is_converted),
        cmocka_unit_test(what_a_column_does_not_take_is_an_error),
        cmocka_unit_test(a_row_is_read_as_lua_values),
        cmocka_unit_test(waiting_for_the_store_is_not_the_scripts_time),
        cmocka_unit_test(a_lost_store_ends_the_handler_as_it_is),
        cmocka_unit_test(a_refusal_of_the_host_is_an_error_of_the_line),
        cmocka_unit_test(a_handler_that_writes_without_end_is_stopped),
        cmocka_unit_test(an_event_is_for_its_handler_only),
        cmocka_unit_test(db_is_for_handlers_only),
        cmocka_unit_test(db_is_for_its_own_projection_only),
        cmocka_unit_test(time_and_ids_repeat_exactly),
        cmocka_unit_test(any_event_goes_to_the_star),
        cmocka_unit_test(upcasts_of_the_aggregate_apply_here_too),
        cmocka_unit_test(no_memory_stays_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
