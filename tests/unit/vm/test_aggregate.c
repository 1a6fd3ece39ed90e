#include "unit/vm/vm_support.h"

static const char order_script[] =
    "return {\n"
    "  type = 'Order',\n"
    "  initial = function(id) return { id = id, status = 'draft' } end,\n"
    "  commands = {\n"
    "    create = {\n"
    "      input = { customer = 'string', total = 'decimal', note = "
    "'string?' },\n"
    "      run = function(order, input)\n"
    "        order:reject_if(order.version > 0, 'Order already exists')\n"
    "        order:emit('OrderCreated', { customer = input.customer, total = "
    "input.total, note = input.note })\n"
    "      end,\n"
    "    },\n"
    "    ship = { run = function(order, input)\n"
    "      if order.state.status ~= 'created' then reject('Cannot ship') end\n"
    "      order:emit('OrderShipped', input, { source = 'ship' })\n"
    "    end },\n"
    "    twice = { run = function(order)\n"
    "      order:emit('OrderShipped', { n = order.version })\n"
    "      order:emit('OrderShipped', { n = order.version, s = "
    "order.state.status, id = order.id })\n"
    "    end },\n"
    "    lua = { run = function(order, input) return code(order, input) end "
    "},\n"
    "  },\n"
    "  apply = {\n"
    "    OrderCreated = function(state, event)\n"
    "      state.customer, state.total = event.data.customer, "
    "event.data.total\n"
    "      state.kind = type(event.data.total)\n"
    "      state.status, state.at = 'created', time()\n"
    "      state.uuid = uuid()\n"
    "      state.deep = { lines = { { n = 1 }, { n = 2 } }, marked = "
    "json.array(),\n"
    "        none = json.null, price = decimal('1.50') }\n"
    "      setmetatable(state, { __index = { kind_of = function() return "
    "'Order' end } })\n"
    "    end,\n"
    "    OrderShipped = function(state, event) state.status = 'shipped' end,\n"
    "  },\n"
    "  upcast = { OrderCreated = {\n"
    "    [1] = function(data) data.customer = data.cust or data.customer "
    "data.cust = nil return data end,\n"
    "    [2] = function(data) data.total = data.total or '0' return data end,\n"
    "  } },\n"
    "}\n";

struct order {
    struct world w;
    int state;
    uint64_t version;
    struct event *events;
    size_t count;
};

/* `lua` is the body of the command `lua`, or NULL. */
static void order_open(struct order *o, const char *lua)
{
    struct buf text = {0};

    *o = (struct order){0};
    buf_printf(&text, "local function code(order, input) %s end ",
               lua != NULL ? lua : "");
    buf_text(&text, order_script);
    if (!world_load_aggregate(&o->w, text.ptr))
        fail_msg("%s", o->w.err.text);
    buf_done(&text);
    o->state = vm_state_new(o->w.vm, o->w.script, STR("order-1"), TIMEOUT_MS,
                            &o->w.err);
    assert_true(o->state >= 0);
}

static void order_close(struct order *o)
{
    vm_state_drop(o->w.vm, o->state);
    world_close(&o->w);
}

static bool send(struct order *o, const char *name, const char *input)
{
    struct vm_command command = {
        .name = str_of(name),
        .input = str_of(input),
        .aggregate_id = STR("order-1"),
        .version = o->version,
        .actor_id = STR("me"),
        .metadata = STR("{\"trace\":\"t\"}"),
    };

    return vm_command_run(o->w.vm, o->w.script, o->state, &command, TIMEOUT_MS,
                          &o->w.arena, &o->events, &o->count, &o->w.err);
}

static void expect_send(struct order *o, const char *name, const char *input)
{
    if (!send(o, name, input))
        fail_msg("%s: %s", name, o->w.err.text);
    o->version += o->count;
}

static void expect_state(struct order *o, const char *part)
{
    struct buf text = {0};

    assert_true(vm_state_encode(o->w.vm, o->state, &text, &o->w.err));
    if (strstr(text.ptr, part) == NULL)
        fail_msg("'%s' expected in '%s'", part, text.ptr);
    buf_done(&text);
}

static void expect_data(const struct event *event, const char *expected)
{
    if (!str_eq(event->data, str_of(expected)))
        fail_msg("'%s' expected, '%.*s' got", expected, STR_ARG(event->data));
}

static void a_command_emits_and_applies(void **state UNUSED)
{
    struct order o;

    order_open(&o, NULL);
    expect_state(&o, "{\"id\":\"order-1\",\"status\":\"draft\"}");
    expect_send(&o, "create", "{\"customer\":\"c1\",\"total\":499.99}");
    assert_int_equal(o.count, 1);
    expect_data(&o.events[0], "{\"customer\":\"c1\",\"total\":\"499.99\"}");
    assert_true(str_eq(o.events[0].event_type, STR("OrderCreated")));
    assert_int_equal(o.events[0].event_version, 3);
    assert_int_equal(o.events[0].aggregate_version, 1);
    assert_true(str_eq(o.events[0].aggregate_type, STR("Order")));
    assert_true(str_eq(o.events[0].aggregate_id, STR("order-1")));
    assert_true(str_eq(o.events[0].actor_id, STR("me")));
    assert_true(str_is_none(o.events[0].tenant_id));
    assert_true(str_eq(o.events[0].metadata, STR("{\"trace\":\"t\"}")));
    assert_true(o.events[0].occurred_at_us > 0);
    assert_false(uuid_is_nil(o.events[0].event_id));
    /* What is applied is what is stored: the decimal is a string there. */
    expect_state(&o, "\"kind\":\"string\"");
    expect_send(&o, "ship", "{\"number\":1}");
    assert_true(str_eq(o.events[0].metadata,
                       STR("{\"source\":\"ship\",\"trace\":\"t\"}")));
    expect_state(&o, "\"status\":\"shipped\"");
    order_close(&o);
}

static void a_fold_of_what_was_emitted_gives_the_same(void **state UNUSED)
{
    struct buf first = {0}, second = {0};
    struct order o;
    int again;

    order_open(&o, NULL);
    expect_send(&o, "create", "{\"customer\":\"c1\",\"total\":\"1.50\"}");
    again =
        vm_state_new(o.w.vm, o.w.script, STR("order-1"), TIMEOUT_MS, &o.w.err);
    assert_true(vm_state_apply(o.w.vm, o.w.script, again, &o.events[0],
                               TIMEOUT_MS, &o.w.err));
    assert_true(vm_state_encode(o.w.vm, o.state, &first, &o.w.err));
    assert_true(vm_state_encode(o.w.vm, again, &second, &o.w.err));
    assert_string_equal(first.ptr, second.ptr);
    vm_state_drop(o.w.vm, again);
    buf_done(&first);
    buf_done(&second);
    order_close(&o);
}

static void the_version_counts_what_was_emitted(void **state UNUSED)
{
    struct order o;

    order_open(&o, NULL);
    o.version = 5;
    expect_send(&o, "twice", "{}");
    assert_int_equal(o.count, 2);
    expect_data(&o.events[0], "{\"n\":5}");
    expect_data(&o.events[1], "{\"id\":\"order-1\",\"n\":6,\"s\":\"shipped\"}");
    assert_int_equal(o.events[1].aggregate_version, 7);
    order_close(&o);
}

/* ---- the state as a command sees it ---- */

static void expect_untouched(const char *code)
{
    struct buf before = {0}, after = {0};
    struct order o;

    order_open(&o, code);
    expect_send(&o, "create", "{\"customer\":\"c1\",\"total\":\"1.50\"}");
    assert_true(vm_state_encode(o.w.vm, o.state, &before, &o.w.err));
    expect_send(&o, "lua", "{}");
    assert_int_equal(o.count, 0);
    assert_true(vm_state_encode(o.w.vm, o.state, &after, &o.w.err));
    assert_string_equal(after.ptr, before.ptr);
    buf_done(&before);
    buf_done(&after);
    order_close(&o);
}

static void a_command_cannot_change_the_state_itself(void **state UNUSED)
{
    expect_untouched("order.state.status = 'mine'");
    expect_untouched("order.state.deep.lines[1].n = 99");
    expect_untouched("table.sort(order.state.deep.lines, function(a, b) "
                     "return a.n > b.n end)");
    expect_untouched("table.insert(order.state.deep.lines, 1)");
    expect_untouched("order.state.deep.marked[1] = 1");
    expect_untouched("setmetatable(order.state, { __index = { a = 1 } })");
    expect_untouched("local s = order.state s.status = nil "
                     "if order.state.status then reject('another copy') end");
}

static void the_copy_of_the_state_is_like_the_state(void **state UNUSED)
{
    expect_untouched("local d = order.state.deep "
                     "if json.encode(order.state.deep) ~= '{\"lines\":"
                     "[{\"n\":1},{\"n\":2}],\"marked\":[],\"none\":null,"
                     "\"price\":\"1.50\"}' then reject(json.encode(d)) end");
    expect_untouched("local d = order.state.deep if d.none ~= json.null or "
                     "d.price ~= decimal('1.5') or order.state:kind_of() ~= "
                     "'Order' then reject('another') end");
}

static void the_copy_is_made_anew_after_an_event(void **state UNUSED)
{
    struct order o;

    order_open(&o, "local before = order.state before.status = 'mine' "
                   "order:emit('OrderShipped', {}) "
                   "reject(before.status .. ' ' .. order.state.status)");
    expect_send(&o, "create", "{\"customer\":\"c1\",\"total\":1}");
    assert_false(send(&o, "lua", "{}"));
    assert_string_equal(o.w.err.text, "mine shipped");
    order_close(&o);
}

static void the_next_command_gets_a_copy_of_its_own(void **state UNUSED)
{
    struct order o;

    order_open(&o, "local s = order.state if s.status ~= 'created' then "
                   "reject(s.status) end s.status = 'mine'");
    expect_send(&o, "create", "{\"customer\":\"c1\",\"total\":1}");
    expect_send(&o, "lua", "{}");
    expect_send(&o, "lua", "{}");
    order_close(&o);
}

static void a_state_that_contains_itself_is_an_error(void **state UNUSED)
{
    struct world w;
    int id;

    assert_true(world_load_aggregate(
        &w, "return { type = 'T', initial = function() local s = {} s.s = s "
            "return s end, apply = { E = function() end } }"));
    id = vm_state_new(w.vm, w.script, STR("x"), TIMEOUT_MS, &w.err);
    assert_int_equal(id, -1);
    assert_int_equal(w.err.code, ERR_SCRIPT);
    assert_non_null(strstr(w.err.text, "the state is nested deeper than 64 "
                                       "levels, or contains itself"));
    world_close(&w);
}

static void two_aggregates_share_no_state(void **state UNUSED)
{
    struct event event = test_event("E", "{}");
    struct buf text = {0};
    struct world w;
    int one, other;

    assert_true(world_load_aggregate(
        &w, "local kept = { n = 0 } return { type = 'T', initial = function() "
            "return kept end, apply = { E = function(state) state.n = state.n "
            "+ 1 end } }"));
    one = vm_state_new(w.vm, w.script, STR("x"), TIMEOUT_MS, &w.err);
    other = vm_state_new(w.vm, w.script, STR("y"), TIMEOUT_MS, &w.err);
    assert_true(
        vm_state_apply(w.vm, w.script, one, &event, TIMEOUT_MS, &w.err));
    assert_true(vm_state_encode(w.vm, other, &text, &w.err));
    assert_string_equal(text.ptr, "{\"n\":0}");
    buf_done(&text);
    world_close(&w);
}

static void a_refusal_is_the_scripts_own_sentence(void **state UNUSED)
{
    struct order o;

    order_open(&o, NULL);
    assert_false(send(&o, "ship", "{}"));
    assert_int_equal(o.w.err.code, ERR_REJECTED);
    assert_string_equal(o.w.err.text, "Cannot ship");
    assert_string_equal(o.w.err.extra, "");
    assert_false(vm_is_broken(o.w.vm));
    expect_send(&o, "create", "{\"customer\":\"c1\",\"total\":1}");
    assert_false(send(&o, "create", "{\"customer\":\"c1\",\"total\":1}"));
    assert_string_equal(o.w.err.text, "Order already exists");
    order_close(&o);
}

static void a_refusal_cannot_be_caught(void **state UNUSED)
{
    struct order o;

    order_open(&o, "pcall(function() order:reject('final') end) "
                   "order:emit('OrderShipped', {})");
    assert_false(send(&o, "lua", "{}"));
    assert_int_equal(o.w.err.code, ERR_REJECTED);
    assert_string_equal(o.w.err.text, "final");
    order_close(&o);
}

static void an_unknown_command_is_not_found(void **state UNUSED)
{
    struct order o;

    order_open(&o, NULL);
    assert_false(send(&o, "delete", "{}"));
    assert_int_equal(o.w.err.code, ERR_NOT_FOUND);
    assert_string_equal(o.w.err.text,
                        "Order has no command 'delete' (there are: create, "
                        "lua, ship, twice)");
    order_close(&o);
}

static void every_faulty_field_is_named(void **state UNUSED)
{
    struct order o;

    order_open(&o, NULL);
    assert_false(
        send(&o, "create", "{\"total\":\"x\",\"note\":5,\"extra\":1}"));
    assert_int_equal(o.w.err.code, ERR_INVALID_INPUT);
    assert_string_equal(
        o.w.err.extra,
        "\"errors\":[{\"field\":\"customer\",\"message\":\"missing: string "
        "expected\"},{\"field\":\"note\",\"message\":\"string expected, a "
        "number given\"},{\"field\":\"total\",\"message\":\"decimal expected, "
        "\\\"x\\\" given\"},{\"field\":\"extra\",\"message\":\"no "
        "such field\"}]");
    assert_non_null(strstr(o.w.err.text, "customer: missing"));
    assert_false(vm_is_broken(o.w.vm));
    assert_false(send(&o, "create", "{\"customer\":null,\"total\":1}"));
    assert_non_null(strstr(o.w.err.text, "customer: null: string expected"));
    expect_send(&o, "create", "{\"customer\":\"c\",\"total\":1,\"note\":null}");
    order_close(&o);
}

/* ---- words of inputs ---- */

/* clang-format off */
static const struct {
    const char *word, *json, *expected; /* NULL: refused */
} inputs[] = {
    {"string", "\"a\"", "a"}, {"string", "1", NULL}, {"string", "[]", NULL},
    {"number", "1.5", "1.5"}, {"number", "12345678901234567890", "12345678901234567890"},
    {"number", "\"1\"", NULL}, {"number", "true", NULL},
    {"integer", "3", "3"}, {"integer", "3.0", "3"}, {"integer", "3e2", "300"},
    {"integer", "3.5", NULL}, {"integer", "12345678901234567890", "12345678901234567890"},
    {"number", "1e308", "1e+308"}, {"number", "1e309", NULL}, {"number", "-1e999", NULL},
    {"integer", "15e-1", NULL}, {"integer", "-0", "0"}, {"integer", "1e17", "100000000000000000"},
    {"integer", "9007199254740992", "9.007199254741e+15"}, {"integer", "9007199254740993", "9007199254740993"},
    {"integer", "12345678901234567890123", "12345678901234567890123"},
    {"integer", "12345678901234567890123.0", "12345678901234567890123"}, {"integer", "12345678901234567890123.5", NULL},
    {"integer", "1e30", "1000000000000000000000000000000"}, {"integer", "1e999", NULL}, {"integer", "1e-999", NULL},
    {"integer", "1e99999999999999999999", NULL}, {"integer", "\"3\"", NULL},
    {"decimal", "1e1000", NULL}, {"table", "{\"a\":[1e1000]}", NULL}, {"list", "[-1e1000]", NULL},
    {"table", "{\"1e1000\":\"-1e1000\"}", "{\"1e1000\":\"-1e1000\"}"},
    {"boolean", "true", "true"}, {"boolean", "false", "false"}, {"boolean", "0", NULL},
    {"decimal", "1.50", "1.50"}, {"decimal", "\"1.50\"", "1.50"}, {"decimal", "\"\"", NULL},
    {"decimal", "\"x\"", NULL}, {"decimal", "[]", NULL},
    {"uuid", "\"01890A5D-AC96-774B-BCCE-B302099A8057\"", "01890a5d-ac96-774b-bcce-b302099a8057"},
    {"uuid", "\"01890a5d\"", NULL}, {"uuid", "1", NULL},
    {"date", "\"2010-12-01\"", "2010-12-01"}, {"date", "\"2010-02-30\"", NULL}, {"date", "\"today\"", NULL},
    {"timestamp", "\"2010-12-01T10:26:00+02:00\"", "2010-12-01T08:26:00.000000Z"},
    {"timestamp", "\"2010-12-01\"", NULL}, {"timestamp", "5", NULL},
    {"table", "{\"a\":1}", "{\"a\":1}"}, {"table", "[1]", NULL},
    {"list", "[1,2]", "[1,2]"}, {"list", "[]", "[]"}, {"list", "{}", NULL},
    {"string?", "null", "nil"}, {"date?", "null", "nil"}, {"string", "null", NULL},
};
/* clang-format on */

static void check_input(size_t i)
{
    char script[512], input[128];
    struct vm_command command = {.name = STR("go"), .aggregate_id = STR("x")};
    struct event *events;
    struct world w;
    size_t count;
    bool ok;
    int id;

    snprintf(script, sizeof(script),
             "return { type = 'T', apply = { E = function() end }, commands = "
             "{ go = { input = { v = '%s' }, run = function(o, input) "
             "reject(type(input.v) == 'table' and json.encode(input.v) or "
             "tostring(input.v)) end } } }",
             inputs[i].word);
    snprintf(input, sizeof(input), "{\"v\":%s}", inputs[i].json);
    assert_true(world_load_aggregate(&w, script));
    id = vm_state_new(w.vm, w.script, STR("x"), TIMEOUT_MS, &w.err);
    command.input = str_of(input);
    ok = vm_command_run(w.vm, w.script, id, &command, TIMEOUT_MS, &w.arena,
                        &events, &count, &w.err);
    assert_false(ok);
    if (inputs[i].expected == NULL) {
        if (w.err.code != ERR_INVALID_INPUT)
            fail_msg("%s %s: %s", inputs[i].word, inputs[i].json, w.err.text);
    } else if (w.err.code != ERR_REJECTED ||
               strcmp(w.err.text, inputs[i].expected) != 0) {
        fail_msg("%s %s: %s", inputs[i].word, inputs[i].json, w.err.text);
    }
    world_close(&w);
}

static void inputs_are_checked_by_their_word(void **state UNUSED)
{
    for (size_t i = 0; i < COUNT(inputs); i++)
        check_input(i);
}

static void
numbers_that_no_script_has_are_the_clients_fault(void **state UNUSED)
{
    struct order o;

    order_open(&o, NULL);
    assert_false(send(&o, "lua", "{\"n\":1e1000}"));
    assert_int_equal(o.w.err.code, ERR_INVALID_INPUT);
    assert_string_equal(o.w.err.text,
                        "the input has a number of more than 1,000 digits");
    assert_false(send(&o, "create", "{\"customer\":\"c\",\"total\":1e1000}"));
    assert_int_equal(o.w.err.code, ERR_INVALID_INPUT);
    assert_string_equal(o.w.err.extra,
                        "\"errors\":[{\"field\":\"total\",\"message\":"
                        "\"decimal expected, 1e1000 given\"}]");
    order_close(&o);
}

/* ---- wrong uses ---- */

/* clang-format off */
static const char *const wrong_uses[][2] = {
    {"order:emit()",                             "usage: order:emit(type: string, data: table[, metadata: table])"},
    {"order.emit('OrderShipped', {})",           "usage: order:emit("},
    {"order:emit('OrderShipped')",               "usage: order:emit("},
    {"order:emit('OrderShipped', 5)",            "usage: order:emit("},
    {"order:emit('Nope', {})",                   "'Nope' is not in `apply` of Order"},
    {"order:emit('OrderShipped', { 1, 2 })",     "data must have names for keys"},
    {"order:emit('OrderShipped', { f = type })", "a function has no JSON (at 'f')"},
    {"order:emit('OrderShipped', {}, 5)",        "bad argument"},
    {"order:reject()",                           "usage: order:reject(message: string)"},
    {"order:reject_if(true)",                    "usage: order:reject_if("},
    {"order.reject_if(true, 'x')",               "usage: order:reject_if("},
    {"return order.stat",                        "no field 'stat' (there are: id, state, version, emit, reject, reject_if)"},
    {"order.state = {}",                         "a command changes nothing itself"},
    {"order.x = {}",                             "a command changes nothing itself"},
    {"reject()",                                 "bad argument"},
    {"retry('x')",                               "global 'retry' is not defined"},
};
/* clang-format on */

static void wrong_uses_are_told_the_right_one(void **state UNUSED)
{
    for (size_t i = 0; i < COUNT(wrong_uses); i++) {
        struct order o;

        order_open(&o, wrong_uses[i][0]);
        assert_false(send(&o, "lua", "{}"));
        assert_int_equal(o.w.err.code, ERR_SCRIPT);
        if (strstr(o.w.err.text, wrong_uses[i][1]) == NULL)
            fail_msg("'%s' expected in '%s'", wrong_uses[i][1], o.w.err.text);
        assert_int_equal(strncmp(o.w.err.text, "scripts/test.lua:1: ", 20), 0);
        order_close(&o);
    }
}

/* ---- apply ---- */

static void expect_apply_error(const char *apply, const char *part)
{
    struct event event = test_event("E", "{\"a\":1}");
    char script[600];
    struct world w;
    int id;

    snprintf(script, sizeof(script),
             "local kept\nreturn { type = 'T', apply = { E = function(state, "
             "event)\n%s\nend } }",
             apply);
    if (!world_load_aggregate(&w, script))
        fail_msg("%s", w.err.text);
    id = vm_state_new(w.vm, w.script, STR("x"), TIMEOUT_MS, &w.err);
    if (vm_state_apply(w.vm, w.script, id, &event, TIMEOUT_MS, &w.err) &&
        vm_state_apply(w.vm, w.script, id, &event, TIMEOUT_MS, &w.err))
        fail_msg("no error: %s", apply);
    if (strstr(w.err.text, part) == NULL)
        fail_msg("'%s' expected in '%s'", part, w.err.text);
    world_close(&w);
}

static void apply_cannot_refuse_or_know_the_future(void **state UNUSED)
{
    expect_apply_error("reject('no')", "reject: only while a command runs");
    expect_apply_error("return event.position",
                       "event.position is not known inside `apply`");
    expect_apply_error("return event.recorded_at",
                       "event.recorded_at is not known inside `apply`");
    expect_apply_error("return {}", "apply.E returned a table");
    expect_apply_error("state.x = kept and kept.data kept = event",
                       "event.data was read after its handler ended");
    expect_apply_error("event.x = 1", "an event is read-only");
}

static void an_event_type_without_apply_is_an_error(void **state UNUSED)
{
    struct event event = test_event("Nope", "{}");
    struct order o;

    order_open(&o, NULL);
    assert_false(vm_state_apply(o.w.vm, o.w.script, o.state, &event, TIMEOUT_MS,
                                &o.w.err));
    assert_int_equal(o.w.err.code, ERR_SCRIPT);
    assert_string_equal(o.w.err.text,
                        "scripts/test.lua: `apply` has no event type 'Nope'");
    order_close(&o);
}

static void apply_is_part_of_emit(void **state UNUSED)
{
    struct world w;
    struct vm_command command = {
        .name = STR("go"), .input = STR("{}"), .aggregate_id = STR("x")};
    struct event *events;
    size_t count;
    int id;

    assert_true(world_load_aggregate(
        &w, "local held\nreturn { type = 'T', apply = { E = function(s, e) "
            "held:emit('E', {}) end }, commands = { go = { run = function(o) "
            "held = o o:emit('E', {}) end } } }"));
    id = vm_state_new(w.vm, w.script, STR("x"), TIMEOUT_MS, &w.err);
    assert_false(vm_command_run(w.vm, w.script, id, &command, TIMEOUT_MS,
                                &w.arena, &events, &count, &w.err));
    assert_non_null(strstr(w.err.text, "order: not inside `apply`"));
    world_close(&w);
}

static void an_event_that_cannot_be_applied_is_not_emitted(void **state UNUSED)
{
    static const char *const ways[] = {
        "pcall(o.emit, o, 'E', {})",
        "pcall(pcall, pcall, o.emit, o, 'E', {})",
        "pcall(function() o:emit('E', {}) end) reject('went on')",
        "pcall(table.sort, { 1, 2 }, function() o:emit('E', {}) end)",
    };
    struct vm_command command = {
        .name = STR("go"), .input = STR("{}"), .aggregate_id = STR("x")};
    struct event *events;
    size_t count;

    for (size_t i = 0; i < COUNT(ways); i++) {
        char script[400];
        struct world w;
        int id;

        snprintf(script, sizeof(script),
                 "return { type = 'T', apply = { E = function(s, e) "
                 "pcall(error, 'fine') error('broken fold') end }, commands = "
                 "{ go = { run = function(o) %s end } } }",
                 ways[i]);
        assert_true(world_load_aggregate(&w, script));
        id = vm_state_new(w.vm, w.script, STR("x"), TIMEOUT_MS, &w.err);
        assert_false(vm_command_run(w.vm, w.script, id, &command, TIMEOUT_MS,
                                    &w.arena, &events, &count, &w.err));
        assert_int_equal(w.err.code, ERR_SCRIPT);
        assert_string_equal(w.err.text, "scripts/test.lua:1: broken fold");
        world_close(&w);
    }
}

static void old_shapes_are_brought_up_to_date(void **state UNUSED)
{
    struct event event = test_event("OrderCreated", "{\"cust\":\"old\"}");
    struct order o;

    event.aggregate_type = STR("Order");
    order_open(&o, NULL);
    assert_true(vm_state_apply(o.w.vm, o.w.script, o.state, &event, TIMEOUT_MS,
                               &o.w.err));
    expect_state(&o, "\"customer\":\"old\"");
    expect_state(&o, "\"total\":\"0\"");
    event.event_version = 3;
    assert_true(vm_state_apply(o.w.vm, o.w.script, o.state, &event, TIMEOUT_MS,
                               &o.w.err));
    order_close(&o);
}

static void a_state_must_have_a_json(void **state UNUSED)
{
    struct buf text = {0};
    struct world w;
    int id;

    assert_true(world_load_aggregate(
        &w, "return { type = 'T', initial = function() return { f = type } "
            "end, apply = { E = function() end } }"));
    id = vm_state_new(w.vm, w.script, STR("x"), TIMEOUT_MS, &w.err);
    assert_false(vm_state_encode(w.vm, id, &text, &w.err));
    assert_string_equal(w.err.text, "json: a function has no JSON (at 'f')");
    assert_int_equal(text.len, 0);
    world_close(&w);
    assert_true(world_load_aggregate(
        &w, "return { type = 'T', initial = function() return 5 end, apply = "
            "{ E = function() end } }"));
    assert_int_equal(vm_state_new(w.vm, w.script, STR("x"), TIMEOUT_MS, &w.err),
                     -1);
    assert_non_null(strstr(w.err.text, "`initial` must return a table"));
    world_close(&w);
}

static void an_event_can_be_walked_and_encoded(void **state UNUSED)
{
    expect_text("local o = {} for k in pairs(event) do o[#o + 1] = k end "
                "return table.concat(o, ' ')",
                "aggregate_id aggregate_type aggregate_version data event_id "
                "event_type event_version metadata occurred_at tenant_id");
    expect_text("return json.encode(event)",
                "{\"aggregate_id\":\"thing-1\",\"aggregate_type\":\"Thing\","
                "\"aggregate_version\":3,\"data\":{\"a\":1},\"event_id\":"
                "\"01890a5d-ac96-774b-bcce-b302099a8057\",\"event_type\":"
                "\"Run\",\"event_version\":1,\"metadata\":{\"source\":"
                "\"test\"},\"occurred_at\":\"2010-12-01T08:26:00.000000Z\","
                "\"tenant_id\":\"acme\"}");
}

/* The data of an event is decoded, and brought up to date by the script, when
 * the encoding reaches it. */
static void an_event_inside_of_something_is_encoded_whole(void **state UNUSED)
{
    struct event event = test_event("E", "{\"text\":\"a\\nb\"}");
    struct buf text = {0};
    struct world w;
    int id;

    event.metadata = STR("{\"note\":\"c\\td\"}");
    assert_true(world_load_aggregate(
        &w,
        "local kept return { type = 'Thing', apply = { E = function(s, e) kept "
        "= e s.t = json.encode({ a = 'first', e = e, z = 'last' }) s.t = "
        "json.decode(s.t) end }, upcast = { E = { [1] = function(d) d.json = "
        "json.encode({ d.text }) .. tostring(decimal('1.50')) d.own = "
        "pcall(json.encode, kept) return d end } } }"));
    id = vm_state_new(w.vm, w.script, STR("x"), TIMEOUT_MS, &w.err);
    if (!vm_state_apply(w.vm, w.script, id, &event, TIMEOUT_MS, &w.err))
        fail_msg("%s", w.err.text);
    assert_true(vm_state_encode(w.vm, id, &text, &w.err));
    assert_non_null(strstr(text.ptr, "{\"a\":\"first\",\"e\":{"));
    assert_non_null(strstr(text.ptr,
                           "\"data\":{\"json\":\"[\\\"a\\\\nb\\\"]1.50\","
                           "\"own\":false,\"text\":\"a\\nb\"}"));
    assert_non_null(strstr(text.ptr, "\"note\":\"c\\td\""));
    assert_non_null(strstr(text.ptr, "\"z\":\"last\""));
    buf_done(&text);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_emits_and_applies),
        cmocka_unit_test(a_fold_of_what_was_emitted_gives_the_same),
        cmocka_unit_test(the_version_counts_what_was_emitted),
        cmocka_unit_test(a_command_cannot_change_the_state_itself),
        cmocka_unit_test(the_copy_of_the_state_is_like_the_state),
        cmocka_unit_test(the_copy_is_made_anew_after_an_event),
        cmocka_unit_test(the_next_command_gets_a_copy_of_its_own),
        cmocka_unit_test(a_state_that_contains_itself_is_an_error),
        cmocka_unit_test(two_aggregates_share_no_state),
        cmocka_unit_test(a_refusal_is_the_scripts_own_sentence),
        cmocka_unit_test(a_refusal_cannot_be_caught),
        cmocka_unit_test(an_unknown_command_is_not_found),
        cmocka_unit_test(every_faulty_field_is_named),
        cmocka_unit_test(inputs_are_checked_by_their_word),
        cmocka_unit_test(numbers_that_no_script_has_are_the_clients_fault),
        cmocka_unit_test(wrong_uses_are_told_the_right_one),
        cmocka_unit_test(apply_cannot_refuse_or_know_the_future),
        cmocka_unit_test(an_event_type_without_apply_is_an_error),
        cmocka_unit_test(apply_is_part_of_emit),
        cmocka_unit_test(an_event_that_cannot_be_applied_is_not_emitted),
        cmocka_unit_test(old_shapes_are_brought_up_to_date),
        cmocka_unit_test(a_state_must_have_a_json),
        cmocka_unit_test(an_event_can_be_walked_and_encoded),
        cmocka_unit_test(an_event_inside_of_something_is_encoded_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
