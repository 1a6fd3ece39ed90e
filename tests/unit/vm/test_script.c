#include "unit/vm/vm_support.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the examples of the guide ---- */

static const char order_script[] =
    "return {\n"
    "  type = \"Order\",\n"
    "  snapshot_every = 100,\n"
    "  initial = function(id)\n"
    "    return { order_id = id, status = \"draft\", total = 0 }\n"
    "  end,\n"
    "  commands = {\n"
    "    create = {\n"
    "      input = { customer_id = \"string\", total = \"number\" },\n"
    "      run = function(order, input)\n"
    "        order:reject_if(order.version > 0, \"Order already exists\")\n"
    "      end,\n"
    "    },\n"
    "    ship = { input = { tracking_number = \"string?\" },\n"
    "             run = function() end },\n"
    "    touch = { run = function() end },\n"
    "  },\n"
    "  apply = {\n"
    "    OrderCreated = function(state, event) end,\n"
    "    OrderShipped = function(state, event) end,\n"
    "  },\n"
    "  upcast = {\n"
    "    OrderCreated = { [1] = function(data) return data end },\n"
    "  },\n"
    "}\n";

static const char orders_script[] =
    "return {\n"
    "  name = \"orders\",\n"
    "  version = 1,\n"
    "  subscription = { batch_size = 500, checkpoint_strategy = "
    "\"every_batch\" },\n"
    "  tables = {\n"
    "    orders = {\n"
    "      key = \"order_id\",\n"
    "      columns = {\n"
    "        order_id = \"uuid\", customer_id = \"text\", total = "
    "\"numeric\",\n"
    "        status = \"text\", tracking_number = \"text?\",\n"
    "        updated_at = \"timestamp\",\n"
    "      },\n"
    "      indexes = { { \"customer_id\" }, { \"status\" } },\n"
    "    },\n"
    "    daily_sales = { key = \"day\", columns = { day = \"date\",\n"
    "      orders = \"bigint\", revenue = \"numeric\" } },\n"
    "  },\n"
    "  on = {\n"
    "    OrderCreated = function(event, db) end,\n"
    "    OrderShipped = function(event, db) end,\n"
    "  },\n"
    "}\n";

static void expect_str(struct str got, const char *expected)
{
    if (!str_eq(got, str_of(expected)))
        fail_msg("'%s' expected, '%.*s' got", expected, STR_ARG(got));
}

static void an_aggregate_declares_commands_and_events(void **state UNUSED)
{
    const struct command_decl *create;
    struct world w;

    if (!world_load_aggregate(&w, order_script))
        fail_msg("%s", w.err.text);
    expect_str(w.aggregate.type, "Order");
    expect_str(w.aggregate.path, "scripts/test.lua");
    assert_int_equal(strlen(w.aggregate.hash), 64);
    assert_int_equal(w.aggregate.command_count, 3);
    create = &w.aggregate.commands[0];
    expect_str(create->name, "create");
    assert_int_equal(create->input_count, 2);
    expect_str(create->inputs[0].name, "customer_id");
    assert_int_equal(create->inputs[0].kind, INPUT_STRING);
    assert_int_equal(create->inputs[1].kind, INPUT_NUMBER);
    assert_true(w.aggregate.commands[1].inputs[0].optional);
    assert_true(w.aggregate.commands[2].any_input);
    assert_int_equal(w.aggregate.event_type_count, 2);
    expect_str(w.aggregate.event_types[1], "OrderShipped");
    world_close(&w);
}

static void a_projection_declares_tables_and_handlers(void **state UNUSED)
{
    const struct table_def *orders;
    struct world w;

    if (!world_load_projection(&w, orders_script))
        fail_msg("%s", w.err.text);
    expect_str(w.projection.name, "orders");
    assert_int_equal(w.projection.version, 1);
    assert_int_equal(w.projection.subscription.batch_size, 500);
    assert_int_equal(w.projection.table_count, 2);
    orders = &w.projection.tables[1];
    expect_str(orders->name, "orders");
    assert_int_equal(orders->column_count, 6);
    expect_str(orders->columns[0].name, "order_id");
    assert_int_equal(orders->columns[0].kind, VALUE_UUID);
    expect_str(orders->columns[1].name, "customer_id");
    expect_str(orders->columns[4].name, "tracking_number");
    assert_true(orders->columns[4].nullable);
    assert_int_equal(orders->index_count, 2);
    assert_int_equal(orders->indexes[1].columns[0], 2);
    assert_int_equal(w.projection.handler_count, 2);
    assert_false(w.projection.handles_any);
    expect_str(w.projection.definition,
               "[{\"name\":\"daily_sales\",\"key\":\"day\",\"columns\":"
               "{\"day\":\"date\",\"orders\":\"bigint\",\"revenue\":"
               "\"numeric\"},\"indexes\":[]},{\"name\":\"orders\",\"key\":"
               "\"order_id\",\"columns\":{\"order_id\":\"uuid\","
               "\"customer_id\":\"text\",\"status\":\"text\",\"total\":"
               "\"numeric\",\"tracking_number\":\"text?\",\"updated_at\":"
               "\"timestamp\"},\"indexes\":[[\"customer_id\"],"
               "[\"status\"]]}]");
    world_close(&w);
}

static void a_subscription_overrides_the_configuration(void **state UNUSED)
{
    struct world w;

    if (!world_load_projection(
            &w, "return { name = 'p', tables = { t = { key = 'id', columns = "
                "{ id = 'text' } } }, on = { ['*'] = function() end, A = "
                "function() end }, subscription = { processing_timeout = 2.5, "
                "required = false, start_from = 42 }, filter = { event_types "
                "= { 'B', 'A' }, aggregate_types = { 'T' }, tenant_id = 'x' } "
                "}"))
        fail_msg("%s", w.err.text);
    assert_int_equal(w.projection.version, 1);
    assert_int_equal(w.projection.subscription.processing_timeout_ms, 2500);
    assert_true(w.projection.subscription.required_given);
    assert_false(w.projection.subscription.required);
    assert_true(w.projection.subscription.start_from_given);
    assert_int_equal(w.projection.subscription.start_from, START_POSITION);
    assert_int_equal(w.projection.subscription.start_position, 42);
    assert_true(w.projection.handles_any);
    assert_int_equal(w.projection.handler_count, 1);
    expect_str(w.projection.filter.event_types[0], "A");
    expect_str(w.projection.filter.tenant_id, "x");
    world_close(&w);
}

static void a_projection_wants_what_it_handles_and_lets_in(void **state UNUSED)
{
    struct str handlers[] = {STR("A"), STR("B")};
    struct str types[] = {STR("Thing")};
    struct projection_decl decl = {.handlers = handlers, .handler_count = 2};
    struct event event = test_event("A", "{}");

    assert_true(script_wants(&decl, &event));
    event.event_type = STR("C");
    assert_false(script_wants(&decl, &event));
    decl.handles_any = true;
    assert_true(script_wants(&decl, &event));
    decl.filter.event_types = handlers;
    decl.filter.event_type_count = 2;
    assert_false(script_wants(&decl, &event));
    event.event_type = STR("B");
    assert_true(script_wants(&decl, &event));
    decl.filter.aggregate_types = types;
    decl.filter.aggregate_type_count = 1;
    assert_true(script_wants(&decl, &event));
    event.aggregate_type = STR("Other");
    assert_false(script_wants(&decl, &event));
    decl.filter = (struct filter_decl){.tenant_id = STR("acme")};
    assert_true(script_wants(&decl, &event));
    event.tenant_id = STR_NONE;
    assert_false(script_wants(&decl, &event));
}

/* ---- faults ---- */

/* clang-format off */
static const char *const faulty_aggregates[][2] = {
    {"return",                          "a script returns one table, not a nil"},
    {"return 5",                        "a script returns one table, not a number"},
    {"x x",                             "test.lua:1: '=' expected near 'x'"},
    {"\nlocal a = = 1",                 "test.lua:2: unexpected symbol"},
    {"\n\nerror('at the top')",         "test.lua:3: at the top"},
    {"local t = time()",                "time() is not available while a script loads"},
    {"local t = uuid()",                "uuid() is not available while a script loads"},
    {"return {}",                       "'type' is missing (a string)"},
    {"return { apply = { E = type } }", "'type' is missing"},
    {"return { type = 5, apply = { E = type } }", "'type' must be a string, not a number"},
    {"return { type = 'no spaces', apply = { E = type } }", "aggregate type"},
    {"return { type = 'T' }",           "'apply' is missing (a table)"},
    {"return { type = 'T', apply = {} }", "'apply' has no event type"},
    {"return { type = 'T', apply = { E = 1 } }", "'apply.E' must be a function"},
    {"return { type = 'T', apply = { type } }", "keys must be names"},
    {"return { type = 'T',\n apply = { E = type },\n aply = {} }", "test.lua:3: unknown key 'aply' (allowed: type, snapshot_every,"},
    {"return { type = 'T', apply = { E = type },\n initial = {} }", "test.lua:2: 'initial' must be a function, not a table"},
    {"return { type = 'T', apply = { E = type }, snapshot_every = 0 }", "'snapshot_every' is 0, allowed are whole numbers from 1 to 1000000"},
    {"return { type = 'T', apply = { E = type }, snapshot_every = 1.5 }", "'snapshot_every' is 1.5"},
    {"return { type = 'T', apply = { E = type }, commands = { go = type } }", "command 'go' must be a table with `run`"},
    {"return { type = 'T', apply = { E = type }, commands = { go = {} } }", "'run' is missing (a function)"},
    {"return { type = 'T', apply = { E = type }, commands = { go = { run = type, inputs = {} } } }", "unknown key 'inputs' (allowed: input, run)"},
    {"return { type = 'T', apply = { E = type },\n commands = { go = { run = type,\n input = { a = 'text' } } } }", "test.lua:3: input 'a' must be one of: string, number, integer, boolean, decimal, uuid, date, timestamp, table, list"},
    {"return { type = 'T', apply = { E = type }, upcast = { E = type } }", "'upcast.E' must be a table of functions"},
    {"return { type = 'T', apply = { E = type }, upcast = { E = { [2] = type } } }", "'upcast.E' has no function [1]"},
    {"return { type = 'T', apply = { E = type }, upcast = { E = { type, [3] = type, [4] = type } } }", "'upcast.E' has no function [2]: each version from 1 on needs one"},
    {"return { type = 'T', apply = { E = type }, upcast = { E = { a = type } } }", "'upcast.E' must be a table of functions"},
    {"return { type = 'T', apply = { E = type }, upcast = { E = {} } }", "'upcast.E' must be a table of functions"},
    {"return { type = 'T', apply = { E = type },\n upcast = { F = { type } } }", "test.lua:2: 'upcast.F' is for an event that `apply` does not have"},
    {"require '_x'",                    "no module '_x' (there are: none"},
};

#define REST "on = { A = type } }"
#define TABLES "tables = { t = { key = 'id', columns = { id = 'text' } } }, "
static const char *const faulty_projections[][2] = {
    {"return {}",                           "'name' is missing"},
    {"return { " TABLES REST,               "'name' is missing"},
    {"return { name = 'Upper', " TABLES REST, "projection"},
    {"return { name = 'p', " REST,          "'tables' is missing (a table)"},
    {"return { name = 'p', tables = {}, " REST, "0 tables, allowed are 1 to 64"},
    {"return { name = 'p', " TABLES " }",   "'on' is missing (a table)"},
    {"return { name = 'p', " TABLES " on = {} }", "'on' has no handler"},
    {"return { name = 'p', " TABLES " on = { A = 1 } }", "'on[\"A\"]' must be a function"},
    {"return { name = 'p', version = 0, " TABLES REST, "'version' is 0"},
    {"return { name = 'p', state = {}, " TABLES REST, "unknown key 'state' (allowed: name, version, subscription, tables, on, filter)"},
    {"return { name = 'p', " TABLES REST ",", "unexpected symbol"},
    {"return { name = 'p', subscription = { batch_size = 0 }, " TABLES REST, "'batch_size' is 0, allowed are whole numbers from 1 to 10000"},
    {"return { name = 'p', subscription = { batchsize = 5 }, " TABLES REST, "unknown key 'batchsize' (allowed: batch_size, checkpoint_strategy, processing_timeout, required, start_from)"},
    {"return { name = 'p', subscription = { processing_timeout = 0 }, " TABLES REST, "allowed are 0.001 to 3600 (seconds)"},
    {"return { name = 'p', subscription = { start_from = 'now' }, " TABLES REST, "'start_from' must be"},
    {"return { name = 'p', subscription = { required = 1 }, " TABLES REST, "'required' must be a boolean, not a number"},
    {"return { name = 'p', subscription = { checkpoint_strategy = 'periodic' }, " TABLES REST, "allowed is 'every_batch'"},
    {"return { name = 'p', filter = { types = {} }, " TABLES REST, "unknown key 'types' (allowed: event_types, aggregate_types, tenant_id)"},
    {"return { name = 'p', filter = { event_types = {} }, " TABLES REST, "'event_types' must list one name or more"},
    {"return { name = 'p', filter = { event_types = { 1 } }, " TABLES REST, "'event_types' must be a list of strings"},
    {"return { name = 'p', tables = { t = 1 }, " REST, "table 't' must be a table with key, columns"},
    {"return { name = 'p', tables = { t = { columns = { id = 'text' } } }, " REST, "'key' must be the name of a column"},
    {"return { name = 'p', tables = { t = { key = 'no', columns = { id = 'text' } } }, " REST, "the key 'no' is not among the columns"},
    {"return { name = 'p', tables = { t = { key = { 'a', 'b' }, columns = { a = 'text', b = 'text' } } }, " REST, "composite keys do not exist yet"},
    {"return { name = 'p', tables = { t = { key = 'id', columns = { id = 'text?' } } }, " REST, "the key 'id' must not be null"},
    {"return { name = 'p', tables = { t = { key = 'id', columns = { id = 'json' } } }, " REST, "a column of kind json cannot be the key"},
    {"return { name = 'p', tables = { t = { key = 'id' } }, " REST, "'columns' is missing"},
    {"return { name = 'p', tables = { t = { key = 'id', columns = { id = 'varchar' } } }, " REST, "column 'id'"},
    {"return { name = 'p', tables = { t = { key = 'id', columns = { id = 'text', Bad = 'text' } } }, " REST, "Bad"},
    {"return { name = 'p', tables = { t = { key = 'id', columns = { id = 'text' }, indexes = { { 'x' } } } }, " REST, "index on 'x', which is no column"},
    {"return { name = 'p', tables = { t = { key = 'id', columns = { id = 'text' }, indexes = { 'id' } } }, " REST, "an index is a list of 1 to 8 columns"},
    {"return { name = 'p', tables = { t = { key = 'id', columns = { id = 'text' }, index = {} } }, " REST, "unknown key 'index' (allowed: key, columns, indexes)"},
};
/* clang-format on */

static void expect_fault(const struct world *w, bool loaded, const char *text,
                         const char *part)
{
    if (loaded)
        fail_msg("loaded: %s", text);
    assert_int_equal(w->err.code, ERR_SCRIPT);
    if (strstr(w->err.text, part) == NULL)
        fail_msg("'%s' expected in '%s'\n  of: %s", part, w->err.text, text);
    if (strncmp(w->err.text, "scripts/test.lua:", 17) != 0)
        fail_msg("no place in '%s'", w->err.text);
    assert_non_null(strstr(w->err.extra, "\"file\":\"scripts/test.lua\""));
    assert_true(vm_is_broken(w->vm));
}

static void a_faulty_aggregate_says_what_is_allowed(void **state UNUSED)
{
    for (size_t i = 0; i < COUNT(faulty_aggregates); i++) {
        const char *text = faulty_aggregates[i][0];
        struct world w;
        bool loaded = world_load_aggregate(&w, text);

        expect_fault(&w, loaded, text, faulty_aggregates[i][1]);
        world_close(&w);
    }
}

static void a_faulty_projection_says_what_is_allowed(void **state UNUSED)
{
    for (size_t i = 0; i < COUNT(faulty_projections); i++) {
        const char *text = faulty_projections[i][0];
        struct world w;
        bool loaded = world_load_projection(&w, text);

        expect_fault(&w, loaded, text, faulty_projections[i][1]);
        world_close(&w);
    }
}

static void all_faults_are_in_one_text(void **state UNUSED)
{
    struct world w;

    assert_false(world_load_projection(&w, "return {\n"
                                           "  name = 'p',\n"
                                           "  version = 0,\n"
                                           "  tables = { t = {\n"
                                           "    key = 'id',\n"
                                           "    columns = { id = 'txt' },\n"
                                           "  } },\n"
                                           "  on = {},\n"
                                           "  onn = {},\n"
                                           "}\n"));
    assert_int_equal(strncmp(w.err.text, "scripts/test.lua:9: unknown key", 31),
                     0);
    assert_non_null(strstr(w.err.text, "; line 3: 'version' is 0"));
    assert_non_null(strstr(w.err.text, "; line 6: column 'id'"));
    assert_non_null(strstr(w.err.text, "; line 8: 'on' has no handler"));
    world_close(&w);
}

/* ---- trees and modules ---- */

struct folder {
    char path[64];
};

static void write_file(const struct folder *f, const char *name,
                       const char *text)
{
    char path[200];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", f->path, name);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void make_folder(const struct folder *f, const char *name)
{
    char path[200];

    snprintf(path, sizeof(path), "%s/%s", f->path, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void folder_open(struct folder *f)
{
    snprintf(f->path, sizeof(f->path), "/tmp/perigee-test-XXXXXX");
    assert_non_null(mkdtemp(f->path));
}

static void folder_close(struct folder *f)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf '%s'", f->path);
    assert_int_equal(system(command), 0);
}

static void a_tree_lists_scripts_and_modules_in_order(void **state UNUSED)
{
    struct err err = {0};
    struct source_tree *tree, *again;
    struct folder f;

    folder_open(&f);
    make_folder(&f, "sub");
    make_folder(&f, ".hidden");
    write_file(&f, "zebra.lua", "return 1");
    write_file(&f, "_money.lua", "return {}");
    write_file(&f, "sub/_deep.lua", "return {}");
    write_file(&f, "sub/a.lua", "return 2");
    write_file(&f, "zebra_spec.lua", "no");
    write_file(&f, ".hidden/b.lua", "no");
    write_file(&f, "notes.txt", "no");
    tree = source_tree_read(f.path, &err);
    assert_non_null(tree);
    assert_int_equal(tree->count, 4);
    assert_string_equal(tree->sources[0].module, "_money");
    assert_string_equal(tree->sources[1].module, "sub._deep");
    assert_null(tree->sources[2].module);
    assert_string_equal(tree->sources[3].text, "return 1");
    assert_non_null(strstr(tree->sources[2].path, "/sub/a.lua"));

    write_file(&f, "_money.lua", "return { changed = true }");
    again = source_tree_read(f.path, &err);
    assert_string_not_equal(tree->modules_hash, again->modules_hash);
    assert_string_equal(tree->sources[3].hash, again->sources[3].hash);
    source_tree_free(tree);
    source_tree_free(again);
    folder_close(&f);
}

static void an_absent_folder_is_an_empty_tree(void **state UNUSED)
{
    struct err err = {0};
    struct source_tree *tree = source_tree_read("/nowhere/at/all", &err);

    assert_non_null(tree);
    assert_int_equal(tree->count, 0);
    source_tree_free(tree);
    source_tree_free(NULL);
}

static void a_file_that_is_too_large_is_named(void **state UNUSED)
{
    size_t size = (size_t)1024 * 1024 + 1;
    char *text = mem_alloc(size + 1);
    struct err err = {0};
    struct folder f;

    memset(text, ' ', size);
    text[size] = '\0';
    folder_open(&f);
    write_file(&f, "large.lua", text);
    assert_null(source_tree_read(f.path, &err));
    assert_int_equal(err.code, ERR_SCRIPT);
    assert_non_null(strstr(err.text, "large.lua: larger than 1 MiB"));
    folder_close(&f);
    mem_free(text);
}

/* Loads main.lua of a folder as an aggregate; the error's text in `err`. */
static bool load_main(const struct folder *f, struct err *err)
{
    struct source_tree *tree = source_tree_read(f->path, err);
    struct vm_options options = {.memory_bytes = LIMIT_BYTES,
                                 .load_timeout_ms = TIMEOUT_MS,
                                 .modules = tree};
    struct vm *vm = vm_new(&options, err);
    struct aggregate_decl decl;
    struct arena arena = {0};
    bool ok;

    assert_non_null(tree);
    ok = vm_load_aggregate(vm, &tree->sources[tree->count - 1], &arena, &decl,
                           err) >= 0;
    vm_free(vm);
    source_tree_free(tree);
    arena_done(&arena);
    return ok;
}

#define GOOD_REST " return { type = 'T', apply = { E = function() end } }"

static void modules_are_shared_and_run_once(void **state UNUSED)
{
    struct err err = {0};
    struct folder f;

    folder_open(&f);
    write_file(&f, "_a.lua", "local b = require '_b' return { b = b }");
    write_file(&f, "_b.lua", "return { n = 1 }");
    write_file(&f, "_none.lua", "local x = 1");
    write_file(&f, "main.lua",
               "assert(require('_a').b == require('_b')) "
               "assert(require '_none' == true)" GOOD_REST);
    if (!load_main(&f, &err))
        fail_msg("%s", err.text);
    folder_close(&f);
}

static void a_wrong_require_says_what_there_is(void **state UNUSED)
{
    static const char *const cases[][2] = {
        {"require '_cycle'", "module '_cycle' requires itself"},
        {"require '_missing'", "no module '_missing' (there are: _broken, "
                               "_cycle, _global, _other)"},
        {"require 'main'", "no module 'main'"},
        {"require '_broken'", "/_broken.lua:1: "},
        {"require '_global'", "assignment to the global 'leak'"},
        {"pcall(require, '_broken') require '_broken'", "/_broken.lua:1: "},
    };
    struct folder f;

    folder_open(&f);
    write_file(&f, "_cycle.lua", "return require '_other'");
    write_file(&f, "_other.lua", "return require '_cycle'");
    write_file(&f, "_broken.lua", "local = 1");
    write_file(&f, "_global.lua", "leak = 1");
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[256];
        struct err err = {0};

        snprintf(text, sizeof(text), "%s%s", cases[i][0], GOOD_REST);
        write_file(&f, "main.lua", text);
        assert_false(load_main(&f, &err));
        if (strstr(err.text, cases[i][1]) == NULL)
            fail_msg("'%s' expected in '%s'", cases[i][1], err.text);
    }
    folder_close(&f);
}

static void a_hash_covers_script_and_modules(void **state UNUSED)
{
    struct world a, b, c;

    assert_true(world_load_aggregate(&a, GOOD_REST));
    assert_true(world_load_aggregate(&b, GOOD_REST));
    assert_true(world_load_aggregate(&c, GOOD_REST " "));
    assert_string_equal(a.aggregate.hash, b.aggregate.hash);
    assert_string_not_equal(a.aggregate.hash, c.aggregate.hash);
    world_close(&a);
    world_close(&b);
    world_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_aggregate_declares_commands_and_events),
        cmocka_unit_test(a_projection_declares_tables_and_handlers),
        cmocka_unit_test(a_subscription_overrides_the_configuration),
        cmocka_unit_test(a_projection_wants_what_it_handles_and_lets_in),
        cmocka_unit_test(a_faulty_aggregate_says_what_is_allowed),
        cmocka_unit_test(a_faulty_projection_says_what_is_allowed),
        cmocka_unit_test(all_faults_are_in_one_text),
        cmocka_unit_test(a_tree_lists_scripts_and_modules_in_order),
        cmocka_unit_test(an_absent_folder_is_an_empty_tree),
        cmocka_unit_test(a_file_that_is_too_large_is_named),
        cmocka_unit_test(modules_are_shared_and_run_once),
        cmocka_unit_test(a_wrong_require_says_what_there_is),
        cmocka_unit_test(a_hash_covers_script_and_modules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
