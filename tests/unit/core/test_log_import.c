#include "core/log_import.h"
#include "unit/core/fake_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/*
 * Imports into the fake store, whose commits end as a test says; here it can
 * be read as well.
 */
struct rig {
    struct fake_store *fake;
    struct store_ops ops;
    struct log_import *import;
    struct err err;
};

static bool fake_head(struct store *store, uint64_t *out,
                      struct err *err UNUSED)
{
    *out = fake_of(store)->log->count;
    return true;
}

static bool fake_read_after(struct store *store, uint64_t after, uint32_t limit,
                            const struct event_filter *filter UNUSED,
                            struct event_page **out, struct err *err UNUSED)
{
    const struct event_page *log = fake_of(store)->log;

    *out = event_page_new();
    for (size_t i = after; i < log->count && i < after + limit; i++)
        event_page_add(*out, &log->events[i]);
    return true;
}

static int set_up(void **state)
{
    static struct rig rig;

    rig = (struct rig){.fake = fake_new(false)};
    rig.ops = *rig.fake->base.ops;
    rig.ops.head = fake_head;
    rig.ops.read_after = fake_read_after;
    rig.fake->base.ops = &rig.ops;
    *state = &rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;

    log_import_close(rig->import);
    fake_free(rig->fake);
    return 0;
}

/* The n-th event of a log of seven streams, and nothing else about it. */
static struct event nth(uint64_t n)
{
    static const char *const ids[] = {"a", "b", "c", "d", "e", "f", "g"};
    struct event event = {
        .position = n,
        .event_type = STR("Happened"),
        .event_version = 1,
        .aggregate_type = STR("Thing"),
        .aggregate_id = str_of(ids[(n - 1) % 7]),
        .aggregate_version = (n - 1) / 7 + 1,
        .data = STR("{\"n\":1}"),
        .metadata = STR("{}"),
        .recorded_at_us = (int64_t)n,
    };

    snprintf((char *)event.event_id.bytes, sizeof(event.event_id.bytes),
             "event %09u", (unsigned)n);
    return event;
}

static void begin(struct rig *rig, uint64_t after)
{
    log_import_close(rig->import);
    rig->import = log_import_open(&rig->fake->base, after, &rig->err);
    if (rig->import == NULL)
        fail_msg("%s", rig->err.text);
}

static bool add(struct rig *rig, const struct event *event)
{
    return log_import_add(rig->import, event, &rig->err);
}

/* Events `from` to `to`; false with the first that is refused. */
static bool add_all(struct rig *rig, uint64_t from, uint64_t to)
{
    for (uint64_t n = from; n <= to; n++) {
        struct event event = nth(n);

        if (!add(rig, &event))
            return false;
    }
    return true;
}

static bool finish(struct rig *rig)
{
    return log_import_finish(rig->import, &rig->err);
}

static void expect_totals(const struct rig *rig, uint64_t stored,
                          uint64_t already_there)
{
    const struct log_import_totals *totals = log_import_totals(rig->import);

    assert_int_equal(totals->stored, stored);
    assert_int_equal(totals->already_there, already_there);
}

/* The log is that of nth(), up to `count`. */
static void expect_log(const struct rig *rig, size_t count)
{
    const struct event_page *log = rig->fake->log;

    assert_int_equal(log->count, count);
    for (size_t i = 0; i < count; i++) {
        struct event event = nth(i + 1);

        assert_int_equal(log->events[i].position, i + 1);
        assert_true(uuid_eq(log->events[i].event_id, event.event_id));
        assert_int_equal(log->events[i].recorded_at_us, event.recorded_at_us);
    }
}

static void expect_fault(const struct rig *rig, uint64_t ordinal,
                         enum err_code code, const char *text)
{
    assert_int_equal(log_import_fault(rig->import), ordinal);
    assert_int_equal(rig->err.code, code);
    if (strstr(rig->err.text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, rig->err.text);
}

/* ---- */

static void events_keep_their_places_in_batches(void **state)
{
    struct rig *rig = *state;

    begin(rig, 0);
    assert_true(add_all(rig, 1, 2500));
    expect_totals(rig, 2000, 0);
    assert_true(finish(rig));
    expect_totals(rig, 2500, 0);
    assert_int_equal(rig->fake->commits, 3);
    expect_log(rig, 2500);
}

static void a_second_import_compares_and_goes_on(void **state)
{
    struct rig *rig = *state;

    begin(rig, 0);
    assert_true(add_all(rig, 1, 1500));
    begin(rig, 0);
    assert_true(add_all(rig, 1, 1700));
    assert_true(finish(rig));
    expect_totals(rig, 700, 1000);
    expect_log(rig, 1700);
    begin(rig, 1690);
    assert_true(add_all(rig, 1691, 1710));
    assert_true(finish(rig));
    expect_totals(rig, 10, 10);
    begin(rig, 1710);
    assert_true(add_all(rig, 1711, 1711));
    assert_true(finish(rig));
    expect_log(rig, 1711);
}

static void another_event_at_a_place_is_refused(void **state)
{
    struct rig *rig = *state;
    struct event event = nth(3);

    begin(rig, 0);
    assert_true(add_all(rig, 1, 5));
    assert_true(finish(rig));
    begin(rig, 1);
    assert_true(add_all(rig, 2, 2));
    event.recorded_at_us++;
    assert_false(add(rig, &event));
    expect_fault(rig, 2, ERR_CONFLICT, "another event at position 3");
}

static void gaps_are_refused(void **state)
{
    struct rig *rig = *state;
    struct event event = nth(4);

    begin(rig, 0);
    assert_true(add_all(rig, 1, 2));
    assert_false(add(rig, &event));
    expect_fault(rig, 3, ERR_INVALID_INPUT, "position: expected 3, not 4");

    begin(rig, 0);
    assert_true(add_all(rig, 1, 7));
    event = nth(8);
    event.aggregate_version = 3;
    assert_true(add(rig, &event));
    assert_true(add_all(rig, 9, 9));
    assert_false(finish(rig));
    expect_fault(rig, 8, ERR_INVALID_INPUT,
                 "expected 2, the next one of Thing/a, not 3");
    assert_int_equal(rig->fake->log->count, 0);
    assert_null(log_import_open(&rig->fake->base, 1, &rig->err));
    assert_int_equal(rig->err.code, ERR_CONFLICT);
}

static void an_id_that_comes_twice_is_named(void **state)
{
    struct rig *rig = *state;
    struct event event = nth(6);

    event.event_id = nth(2).event_id;
    begin(rig, 0);
    assert_true(add_all(rig, 1, 5));
    assert_true(add(rig, &event));
    assert_true(add_all(rig, 7, 9));
    assert_false(finish(rig));
    expect_fault(rig, 6, ERR_DUPLICATE_EVENT, "that of an earlier event");
    assert_int_equal(rig->fake->log->count, 0);

    begin(rig, 0);
    assert_true(add_all(rig, 1, 1003));
    event = nth(1004);
    event.event_id = nth(2).event_id;
    assert_true(add(rig, &event));
    assert_false(finish(rig));
    expect_fault(rig, 1004, ERR_DUPLICATE_EVENT, "that of an earlier event");
    expect_log(rig, 1000);
}

static void who_appends_meanwhile_ends_it(void **state)
{
    struct rig *rig = *state;

    begin(rig, 0);
    assert_true(add_all(rig, 1, 1000));
    fake_foreign(rig->fake, "z", uuid_new());
    assert_true(add_all(rig, 1001, 1010));
    assert_false(finish(rig));
    expect_fault(rig, 0, ERR_CONFLICT, "ends at position 1001");
    assert_int_equal(rig->fake->log->count, 1001);

    /* also between the look at the end and the first batch */
    begin(rig, 1001);
    fake_foreign(rig->fake, "z", uuid_new());
    assert_true(add_all(rig, 1002, 1002));
    assert_false(finish(rig));
    assert_int_equal(rig->err.code, ERR_CONFLICT);
}

/* Whatever became of a commit, the next import finds out. */
static void goes_on_after(struct rig *rig, enum fake_end end)
{
    fake_plan(rig->fake, end);
    begin(rig, 0);
    assert_false(add_all(rig, 1, 1000));
    assert_int_equal(log_import_fault(rig->import), 0);
    rig->fake->commits_to_roll_back = 0;

    /* a frozen commit is waited out by whoever begins */
    begin(rig, 0);
    if (add_all(rig, 1, 1200) && finish(rig)) {
        expect_log(rig, 1200);
        return;
    }
    assert_int_equal(end, FAKE_LOST_LATE);
    assert_int_equal(rig->err.code, ERR_CONFLICT);
    begin(rig, 0);
    assert_true(add_all(rig, 1, 1200) && finish(rig));
    expect_log(rig, 1200);
}

static void it_goes_on_after_a_lost_commit(void **state)
{
    goes_on_after(*state, FAKE_LOST);
}

static void it_goes_on_after_a_lost_answer(void **state)
{
    goes_on_after(*state, FAKE_LOST_STORED);
}

static void it_goes_on_after_a_frozen_commit(void **state)
{
    goes_on_after(*state, FAKE_LOST_LATE);
}

static void it_goes_on_after_a_rollback(void **state)
{
    goes_on_after(*state, FAKE_ROLLED_BACK);
}

static void a_store_that_is_away_fails_it(void **state)
{
    struct rig *rig = *state;

    begin(rig, 0);
    rig->fake->begins_to_fail = 1;
    assert_true(add_all(rig, 1, 3));
    assert_false(finish(rig));
    expect_fault(rig, 0, ERR_STORE, "away");
    begin(rig, 0);
    rig->fake->lookups_to_fail = 1;
    assert_true(add_all(rig, 1, 3));
    assert_false(finish(rig));
    expect_fault(rig, 0, ERR_STORE, "lookup failed");
    assert_int_equal(rig->fake->log->count, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(events_keep_their_places_in_batches),
        TEST(a_second_import_compares_and_goes_on),
        TEST(another_event_at_a_place_is_refused),
        TEST(gaps_are_refused),
        TEST(an_id_that_comes_twice_is_named),
        TEST(who_appends_meanwhile_ends_it),
        TEST(it_goes_on_after_a_lost_commit),
        TEST(it_goes_on_after_a_lost_answer),
        TEST(it_goes_on_after_a_frozen_commit),
        TEST(it_goes_on_after_a_rollback),
        TEST(a_store_that_is_away_fails_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
