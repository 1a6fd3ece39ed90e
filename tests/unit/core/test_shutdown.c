#include "core/shutdown.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

/* An engine that never opened, and what its shutdown called.  `steps` has a
 * letter for each call: r(efuse), c(lose), d(one), F(orced). */
struct fixture {
    struct engine *engine;
    struct shutdown *shutdown;
    struct shutdown_options options;
    struct lock lock;
    struct signal changed;
    /* under lock */
    char steps[16];
    int busy;  /* how often `finished` says no */
    bool hang; /* `close` waits for the end of the test */
    enum engine_phase phase_at_close;
    struct shutdown_report forced;
};

static void add_step(struct fixture *f, char step)
{
    lock_take(&f->lock);
    f->steps[strlen(f->steps)] = step;
    signal_all(&f->changed);
    lock_give(&f->lock);
}

static void await_steps(struct fixture *f, const char *steps)
{
    uint64_t deadline_us = clock_us() + 5000000;

    lock_take(&f->lock);
    while (strcmp(f->steps, steps) != 0)
        if (!signal_wait_until(&f->changed, &f->lock, deadline_us))
            break;
    lock_give(&f->lock);
    assert_string_equal(f->steps, steps);
}

static void refuse(void *arg)
{
    add_step(arg, 'r');
}

static bool finished(void *arg)
{
    struct fixture *f = arg;

    return f->busy-- <= 0;
}

static void close_all(void *arg)
{
    struct fixture *f = arg;

    lock_take(&f->lock);
    while (f->hang)
        signal_wait(&f->changed, &f->lock);
    lock_give(&f->lock);
    f->phase_at_close = engine_phase(f->engine);
    add_step(f, 'c');
}

static void done(void *arg)
{
    add_step(arg, 'd');
}

static void forced(void *arg, const struct shutdown_report *report)
{
    struct fixture *f = arg;

    f->forced = *report;
    add_step(f, 'F');
}

static int make(void **state)
{
    static struct fixture fixture;
    struct engine_options options = {0};

    log_setup(LOG_CRITICAL, LOG_FORMAT_TEXT, STDERR_FILENO);
    fixture = (struct fixture){.engine = engine_new(&options)};
    lock_init(&fixture.lock);
    signal_init(&fixture.changed);
    fixture.options = (struct shutdown_options){
        .timeout_ms = 5000,
        .drain_timeout_ms = 2000,
        .reason = "signal_sigterm",
        .arg = &fixture,
        .refuse = refuse,
        .finished = finished,
        .close = close_all,
        .done = done,
        .forced = forced,
    };
    *state = &fixture;
    return 0;
}

static int drop(void **state)
{
    struct fixture *f = *state;

    engine_close(f->engine);
    signal_done(&f->changed);
    lock_done(&f->lock);
    return 0;
}

static void begin(struct fixture *f)
{
    struct err err = {0};

    f->shutdown = shutdown_begin(f->engine, &f->options, &err);
    assert_non_null(f->shutdown);
}

/* Lets a hanging `close` go on, so that everything can be joined. */
static void end(struct fixture *f, struct shutdown_report *report)
{
    lock_take(&f->lock);
    f->hang = false;
    signal_all(&f->changed);
    lock_give(&f->lock);
    shutdown_end(f->shutdown, report);
}

static void the_stages_run_in_order_and_once(void **state)
{
    struct fixture *f = *state;
    struct shutdown_report report;

    begin(f);
    await_steps(f, "rcd");
    end(f, &report);
    assert_int_equal(f->phase_at_close, PHASE_CHECKPOINTING);
    assert_int_equal(report.phase, PHASE_STOPPED);
    assert_string_equal(report.reason, "signal_sigterm");
    assert_false(report.forced);
    assert_true(report.duration_seconds < 1);
    assert_string_equal(f->steps, "rcd");
}

static void requests_under_way_are_waited_for(void **state)
{
    struct fixture *f = *state;
    struct shutdown_report report;

    f->busy = 3;
    begin(f);
    await_steps(f, "rcd");
    end(f, &report);
    assert_true(f->busy < 0);
    assert_true(report.duration_seconds >= 0.1);
    assert_false(report.forced);
}

static void requests_that_never_end_are_left_at_the_drain_timeout(void **state)
{
    struct fixture *f = *state;
    struct shutdown_report report;

    f->busy = 1000000;
    f->options.drain_timeout_ms = 100;
    begin(f);
    await_steps(f, "rcd");
    end(f, &report);
    assert_false(report.forced);
    assert_true(report.duration_seconds >= 0.1);
}

static void a_stage_that_hangs_is_forced_at_the_timeout(void **state)
{
    struct fixture *f = *state;
    struct shutdown_report report;

    f->hang = true;
    f->options.timeout_ms = 150;
    begin(f);
    await_steps(f, "rF");
    assert_string_equal(f->forced.reason, "timeout");
    assert_int_equal(f->forced.phase, PHASE_FORCED);
    assert_true(f->forced.forced);
    assert_true(f->forced.duration_seconds >= 0.15);
    end(f, &report);
    assert_string_equal(f->steps, "rFc"); /* never "done" after it */
}

static void a_second_signal_forces_at_once(void **state)
{
    struct fixture *f = *state;
    struct shutdown_report report;

    f->hang = true;
    begin(f);
    await_steps(f, "r");
    shutdown_force(f->shutdown);
    await_steps(f, "rF");
    assert_string_equal(f->forced.reason, "double_signal");
    assert_true(f->forced.duration_seconds < 1);
    end(f, &report);
}

static void the_last_line_has_every_field_of_the_contract(void **state UNUSED)
{
    static const char *const fields[] = {
        "phase",
        "duration_seconds",
        "reason",
        "forced",
        "subscriptions_stopped",
        "events_in_flight",
        "in_flight_at_start",
        "events_drained",
        "events_not_drained",
        "checkpoints_saved",
    };
    struct shutdown_report report = {
        .phase = PHASE_FORCED,
        .reason = "timeout",
        .forced = true,
        .duration_seconds = 1.5,
        .stop = {.subscriptions_stopped = 1, .events_not_drained = 7},
        .events_in_flight = 7,
    };
    FILE *file = tmpfile();
    char line[2048];

    log_setup(LOG_INFO, LOG_FORMAT_JSON, fileno(file));
    shutdown_log(&report);
    rewind(file);
    assert_non_null(fgets(line, sizeof(line), file));
    fclose(file);
    struct str text = str_of(line);
    text.len--; /* the line's end */
    struct json record = json_value(text);
    for (size_t i = 0; i < COUNT(fields); i++)
        assert_int_not_equal(json_get(record, str_of(fields[i])).kind,
                             JSON_END);
    assert_int_equal(json_get(record, STR("forced")).kind, JSON_TRUE);
    assert_int_equal(json_get(record, STR("events_in_flight")).kind,
                     JSON_NUMBER);
    assert_true(str_eq(json_get(record, STR("phase")).raw, STR("\"forced\"")));
    assert_true(
        str_eq(json_get(record, STR("level")).raw, STR("\"CRITICAL\"")));
}

#define WITH_ENGINE(test) cmocka_unit_test_setup_teardown(test, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ENGINE(the_stages_run_in_order_and_once),
        WITH_ENGINE(requests_under_way_are_waited_for),
        WITH_ENGINE(requests_that_never_end_are_left_at_the_drain_timeout),
        WITH_ENGINE(a_stage_that_hangs_is_forced_at_the_timeout),
        WITH_ENGINE(a_second_signal_forces_at_once),
        cmocka_unit_test(the_last_line_has_every_field_of_the_contract),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
