#define _GNU_SOURCE /* nftw of folder.h */
#include "api/cursor.h"
#include "api/live.h"
#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/api/rig.h"

/*
 * Streams over a SQLite log, run by hand: time is what a test says.
 */
struct fixture {
    struct rig rig;
    struct engine *engine; /* the rig's */
    struct arena arena;
    struct live *live;
    struct buf out;
    uint64_t now_ms;
};

static int start(void **state)
{
    static struct fixture f;

    f = (struct fixture){.now_ms = 1000};
    rig_prepare(&f.rig);
    rig_open(&f.rig);
    f.engine = f.rig.engine;
    *state = &f;
    return 0;
}

static int stop(void **state)
{
    struct fixture *f = *state;

    rig_close(&f->rig);
    arena_done(&f->arena);
    buf_done(&f->out);
    return 0;
}

static void append(struct fixture *f, const char *type, size_t count,
                   const char *data)
{
    struct event events[100];
    struct append_result result;
    struct err err;

    for (size_t i = 0; i < count; i++)
        events[i] = (struct event){.event_id = uuid_new(),
                                   .event_type = str_of(type),
                                   .event_version = 1,
                                   .data = str_of(data),
                                   .metadata = STR("{}")};
    if (!append_submit(f->engine->queue,
                       &(struct append_request){.aggregate_type = STR("Thing"),
                                                .aggregate_id = STR("1"),
                                                .events = events,
                                                .count = count},
                       5000, &result, &err))
        fail_msg("%s", err.text);
}

static void open_at(struct fixture *f, uint64_t after, const char *event_type)
{
    struct event_filter filter = {str_of(event_type), STR_NONE};

    f->live = live_new(f->engine, after, &filter, &f->arena);
    buf_clear(&f->out);
    live_begin(f->live, f->now_ms, &f->out);
}

/* What the stream writes now, `later_ms` later. */
static const char *read_on(struct fixture *f, uint64_t later_ms)
{
    struct err err;

    f->now_ms += later_ms;
    buf_clear(&f->out);
    if (!live_read(f->live, f->now_ms, &f->out, &err))
        fail_msg("%s", err.text);
    return buf_as_str(&f->out).ptr;
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;

    while ((text = strstr(text, part)) != NULL) {
        text += strlen(part);
        count++;
    }
    return count;
}

/* ": text\nid: LOG:position\n\n" and nothing else. */
static void expect_comment(struct fixture *f, const char *text,
                           uint64_t position)
{
    struct buf want = {0};

    buf_printf(&want, ": %s\nid: ", text);
    cursor_write(f->engine->log_id, position, &want);
    buf_text(&want, "\n\n");
    assert_string_equal(buf_as_str(&f->out).ptr, want.ptr);
    buf_done(&want);
}

static void end(struct fixture *f, uint64_t position)
{
    buf_clear(&f->out);
    live_end(f->live, "the end", &f->out);
    expect_comment(f, "the end", position);
}

/* ---- */

static void silence_is_broken_every_15_seconds(void **state)
{
    struct fixture *f = *state;

    append(f, "Happened", 3, "{}");
    open_at(f, 3, NULL);
    assert_int_equal(count_of(f->out.ptr, "retry: 2000\nid: "), 1);
    assert_string_equal(read_on(f, 0), "");
    assert_string_equal(read_on(f, 14999), "");
    read_on(f, 1);
    expect_comment(f, "nothing new", 3);
    assert_string_equal(read_on(f, 14999), "");

    /* an event is a sign of life, too */
    append(f, "Happened", 1, "{}");
    assert_int_equal(count_of(read_on(f, 0), "\ndata: {"), 1);
    assert_string_equal(read_on(f, 14999), "");
    read_on(f, 1);
    expect_comment(f, "nothing new", 4);
    end(f, 4);
}

static void what_a_filter_leaves_out_moves_the_cursor(void **state)
{
    struct fixture *f = *state;

    append(f, "Other", 5, "{}");
    append(f, "Wanted", 1, "{}");
    append(f, "Other", 4, "{}");
    open_at(f, 0, "Wanted");
    assert_int_equal(count_of(read_on(f, 0), "\ndata: {\"position\":6,"), 1);
    assert_int_equal(count_of(f->out.ptr, "id: "), 1);
    assert_string_equal(read_on(f, 0), "");
    read_on(f, LIVE_SILENCE_MS);
    expect_comment(f, "nothing new", 10);
    end(f, 10);
}

/* What it will get over is not why it ends one day. */
static void a_store_that_was_away_leaves_no_error_behind(void **state)
{
    struct fixture *f = *state;
    const char *path = f->rig.database;
    struct err err = {0};
    char away[320];

    append(f, "Happened", 1, "{}");
    open_at(f, 0, NULL);
    buf_clear(&f->out);
    snprintf(away, sizeof(away), "%s.away", path);
    assert_int_equal(rename(path, away), 0);
    assert_true(live_read(f->live, f->now_ms, &f->out, &err));
    assert_int_equal(f->out.len, 0);
    assert_int_equal(err.code, ERR_NONE);

    assert_int_equal(rename(away, path), 0);
    assert_int_equal(count_of(read_on(f, 0), "\ndata: {"), 1);
    end(f, 1);
}

/* 100 events of 10 kB: what is written at once stays small, and the page is
 * held meanwhile. */
static void a_turn_writes_a_chunk_and_goes_on_there(void **state)
{
    struct fixture *f = *state;
    struct buf data = {0};
    size_t events = 0, turns = 0;

    buf_text(&data, "{\"text\":\"");
    for (size_t i = 0; i < 10000; i++)
        buf_char(&data, 'x');
    buf_text(&data, "\"}");
    append(f, "Large", 100, data.ptr);
    buf_done(&data);
    open_at(f, 0, NULL);
    while (events < 100) {
        events += count_of(read_on(f, 0), "\ndata: {");
        assert_true(f->out.len < LIVE_CHUNK_BYTES + 11000);
        feed_forget(f->engine->feed);
        turns++;
    }
    assert_true(turns >= 100 * 10000 / LIVE_CHUNK_BYTES);
    end(f, 100);
}

static void waiting_ends_with_an_event_or_when_it_is_released(void **state)
{
    struct fixture *f = *state;
    uint64_t began_ms;

    open_at(f, 0, NULL);
    append(f, "Happened", 1, "{}");
    live_wait(f->live);
    assert_int_equal(count_of(read_on(f, 0), "\ndata: {"), 1);
    head_release(f->engine->head);
    began_ms = clock_ms();
    for (int i = 0; i < 100; i++)
        live_wait(f->live);
    assert_true(clock_ms() - began_ms < 100 * LIVE_WAIT_MS / 2);
    end(f, 1);
}

/* ---- cursors ---- */

static void cursors_are_positions_of_one_log(void **state UNUSED)
{
    static const char *const wrong[] = {
        "",
        "x",
        "-1",
        "1:",
        ":1",
        "x:1",
        "1 ",
        "9223372036854775808",
        "1:2",
        "0x1",
        "018f6f3e-0000-7000-8000-000000000001",
        "018f6f3e-0000-7000-8000-000000000001:",
        "018f6f3e-0000-7000-8000-000000000001:1:2",
    };
    struct uuid ours, theirs;
    struct buf text = {0};
    struct err err;
    uint64_t at = 0;

    assert_true(uuid_parse(STR("018f6f3e-0000-7000-8000-000000000001"), &ours));
    assert_true(
        uuid_parse(STR("018f6f3e-0000-7000-8000-000000000002"), &theirs));
    cursor_write(ours, 42, &text);
    assert_string_equal(text.ptr, "018f6f3e-0000-7000-8000-000000000001:42");
    assert_true(cursor_read(buf_as_str(&text), ours, &at, &err));
    assert_int_equal(at, 42);
    assert_true(cursor_read(STR("7"), ours, &at, &err));
    assert_int_equal(at, 7);
    assert_false(cursor_read(buf_as_str(&text), theirs, &at, &err));
    assert_int_equal(err.code, ERR_FOREIGN_CURSOR);
    for (size_t i = 0; i < COUNT(wrong); i++) {
        if (cursor_read(str_of(wrong[i]), ours, &at, &err) ||
            err.code != ERR_BAD_REQUEST)
            fail_msg("\"%s\" is taken", wrong[i]);
    }
    assert_int_equal(at, 7);
    assert_true(cursor_check(5, 5, &err));
    assert_false(cursor_check(6, 5, &err));
    assert_int_equal(err.code, ERR_FOREIGN_CURSOR);
    buf_done(&text);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(silence_is_broken_every_15_seconds),
        TEST(a_store_that_was_away_leaves_no_error_behind),
        TEST(what_a_filter_leaves_out_moves_the_cursor),
        TEST(a_turn_writes_a_chunk_and_goes_on_there),
        TEST(waiting_ends_with_an_event_or_when_it_is_released),
        cmocka_unit_test(cursors_are_positions_of_one_log),
    };

    log_setup(LOG_CRITICAL, LOG_FORMAT_TEXT, 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
