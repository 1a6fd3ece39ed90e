/* For nftw. */
#define _GNU_SOURCE
#include "core/script_set.h"
#include "unit/core/folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct rig {
    struct folder aggregates;
    struct folder projections;
    struct script_set *set;
};

static struct rig rig_new(void)
{
    return (struct rig){.aggregates = folder_new(),
                        .projections = folder_new()};
}

static void load(struct rig *rig)
{
    struct script_set_options options = {
        .aggregates = rig->aggregates.path,
        .projections = rig->projections.path,
        .memory_bytes = 16u << 20,
    };

    rig->set = script_set_load(&options);
    assert_non_null(rig->set);
}

static void rig_done(struct rig *rig)
{
    script_set_unref(rig->set);
    folder_remove(&rig->aggregates);
    folder_remove(&rig->projections);
}

#define AGGREGATE(type, event)                                                 \
    "return { type = \"" type "\", commands = {}, apply = { " event            \
    " = function(state, event) end } }\n"
#define PROJECTION(name, table)                                                \
    "return { name = \"" name "\", version = 1, tables = { " table             \
    " = { key = \"id\", columns = { id = \"text\" } } },\n"                    \
    "  on = { Opened = function(event, db) end } }\n"

static void what_is_in_the_folders_is_declared(void **state UNUSED)
{
    struct rig rig = rig_new();

    folder_write(&rig.aggregates, "b.lua", AGGREGATE("Bill", "Opened"));
    folder_write(&rig.aggregates, "a.lua", AGGREGATE("Account", "Opened"));
    folder_write(&rig.aggregates, "_shared.lua", "return {}\n");
    folder_write(&rig.projections, "bills.lua", PROJECTION("bills", "bills"));
    load(&rig);
    for (size_t i = 0; i < rig.set->fault_count; i++)
        print_error("%s\n", rig.set->faults[i].text);
    assert_int_equal(rig.set->fault_count, 0);
    assert_int_equal(rig.set->aggregate_count, 2);
    assert_int_equal(rig.set->projection_count, 1);
    assert_ptr_equal(script_set_aggregate(rig.set, STR("Account")),
                     &rig.set->aggregates[0]);
    assert_ptr_equal(script_set_aggregate(rig.set, STR("Bill")),
                     &rig.set->aggregates[1]);
    assert_null(script_set_aggregate(rig.set, STR("bill")));
    assert_non_null(script_set_projection(rig.set, STR("bills")));
    assert_null(script_set_projection(rig.set, STR("orders")));
    rig_done(&rig);
}

static void an_absent_folder_is_an_empty_one(void **state UNUSED)
{
    struct script_set_options options = {
        .aggregates = "no/such/folder",
        .projections = "nor/this",
        .memory_bytes = 16u << 20,
    };
    struct script_set *set = script_set_load(&options);

    assert_int_equal(set->fault_count, 0);
    assert_int_equal(set->aggregate_count, 0);
    script_set_unref(set);
    script_set_unref(NULL);
}

static bool has_fault(const struct script_set *set, const char *path,
                      const char *text)
{
    for (size_t i = 0; i < set->fault_count; i++)
        if (strstr(set->faults[i].path, path) != NULL &&
            strstr(set->faults[i].text, text) != NULL)
            return true;
    return false;
}

static void every_fault_is_told_and_the_rest_is_loaded(void **state UNUSED)
{
    struct rig rig = rig_new();

    folder_write(&rig.aggregates, "a.lua", AGGREGATE("Account", "Opened"));
    folder_write(&rig.aggregates, "b.lua", "return {\n");
    folder_write(&rig.aggregates, "c.lua", "error('broken')\n");
    folder_write(&rig.aggregates, "d.lua", AGGREGATE("Account", "Shut"));
    folder_write(&rig.projections, "a.lua", PROJECTION("one", "rows"));
    folder_write(&rig.projections, "b.lua", PROJECTION("one", "others"));
    folder_write(&rig.projections, "c.lua", PROJECTION("two", "rows"));
    load(&rig);
    assert_int_equal(rig.set->fault_count, 5);
    assert_true(has_fault(rig.set, "b.lua", "b.lua:"));
    assert_true(has_fault(rig.set, "c.lua", "broken"));
    assert_true(has_fault(rig.set, "d.lua", "\"Account\""));
    assert_true(has_fault(rig.set, "b.lua", "\"one\""));
    assert_true(has_fault(rig.set, "c.lua", "\"rows\" belongs to"));
    assert_int_equal(rig.set->aggregate_count, 1);
    assert_int_equal(rig.set->projection_count, 1);
    rig_done(&rig);
}

static void event_types_of_a_script_are_the_list(void **state UNUSED)
{
    struct rig rig = rig_new();
    struct err err;

    folder_write(&rig.aggregates, "a.lua", AGGREGATE("Account", "Opened"));
    load(&rig);
    assert_true(
        script_set_check_event(rig.set, STR("Account"), STR("Opened"), &err));
    assert_true(
        script_set_check_event(rig.set, STR("Scriptless"), STR("Any"), &err));
    assert_false(
        script_set_check_event(rig.set, STR("Account"), STR("Shut"), &err));
    assert_int_equal(err.code, ERR_INVALID_INPUT);
    assert_non_null(strstr(err.text, "\"Shut\""));
    assert_non_null(strstr(err.text, "Opened"));
    rig_done(&rig);
}

static void
each_set_is_a_generation_of_its_own_and_is_counted(void **state UNUSED)
{
    struct rig rig = rig_new();
    struct script_set *first;

    folder_write(&rig.aggregates, "a.lua", AGGREGATE("Account", "Opened"));
    load(&rig);
    first = script_set_ref(rig.set);
    script_set_unref(rig.set);
    load(&rig);
    assert_true(rig.set->generation > first->generation);
    assert_non_null(script_set_aggregate(first, STR("Account")));
    script_set_unref(first);
    rig_done(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_in_the_folders_is_declared),
        cmocka_unit_test(an_absent_folder_is_an_empty_one),
        cmocka_unit_test(every_fault_is_told_and_the_rest_is_loaded),
        cmocka_unit_test(event_types_of_a_script_are_the_list),
        cmocka_unit_test(each_set_is_a_generation_of_its_own_and_is_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
