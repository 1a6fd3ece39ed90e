#pragma once
/* The suite's chapter about the log: appending to it and reading it. */
#include "unit/store/conformance.h"

/* ---- what is written is what is read ---- */

static void an_empty_log_is_empty_everywhere(void **state)
{
    struct fixture *fx = *state;
    struct event_page *page = read_page(fx, 0, 10);
    struct stream_row *rows = NULL;
    size_t count = 99;

    assert_int_equal(head_of(fx), 0);
    assert_int_equal(page->count, 0);
    assert_int_equal(page->scanned_to, 0);
    event_page_unref(page);
    assert_ok(store_list_streams(fx->store, STR_NONE, 0, 10, &fx->arena, &rows,
                                 &count, &fx->err),
              &fx->err);
    assert_int_equal(count, 0);
}

static void
positions_are_contiguous_and_versions_count_each_stream(void **state)
{
    static const char *const ids[] = {"a", "b", "a", "a", "c", "b"};
    static const uint64_t versions[] = {1, 1, 2, 3, 1, 2};
    struct fixture *fx = *state;
    struct event events[COUNT(ids)];
    struct event_page *page;

    for (size_t i = 0; i < COUNT(ids); i++)
        events[i] = draft("Order", ids[i], "Placed");
    write_events(fx, events, 4);
    write_events(fx, events + 4, 2);
    assert_int_equal(head_of(fx), COUNT(ids));

    page = read_page(fx, 0, 100);
    assert_int_equal(page->count, COUNT(ids));
    for (size_t i = 0; i < COUNT(ids); i++) {
        const struct event *event = &page->events[i];

        assert_int_equal(event->position, i + 1);
        assert_str(event->aggregate_id, ids[i]);
        assert_int_equal(event->aggregate_version, versions[i]);
        assert_true(uuid_eq(event->event_id, events[i].event_id));
    }
    event_page_unref(page);
}

static const char *const bodies[] = {
    "{}",
    "[]",
    "null",
    "\"text\"",
    "{\"z\":1,\"a\":2,\"M\":3}",
    "{\"big\":123456789012345678901234567890,\"neg\":-9223372036854775809}",
    "{\"n\":1.10,\"e\":1E400,\"z\":-0,\"tiny\":1e-7}",
    "{\"quote\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}",
    "{\"u\":\"\\u00e9\\ud83d\\ude00\"}",
    "{\"\xc3\xa9\":\"\xf0\x9f\x98\x80 \xe4\xb8\xad\xe6\x96\x87\"}",
    "{\"empty\":{\"list\":[],\"map\":{}},\"\":\"no name\"}",
    "{\"deep\":[[[[[[[[[[1]]]]]]]]]]}",
    "18446744073709551616",
};

static void bodies_come_back_byte_for_byte(void **state)
{
    struct fixture *fx = *state;
    struct event events[COUNT(bodies)];
    struct event_page *page;

    for (size_t i = 0; i < COUNT(bodies); i++) {
        events[i] = draft("Order", "bodies", "Placed");
        events[i].data = str_of(bodies[i]);
        events[i].metadata = str_of(bodies[COUNT(bodies) - 1 - i]);
    }
    write_events(fx, events, COUNT(bodies));

    page = read_page(fx, 0, 100);
    assert_int_equal(page->count, COUNT(bodies));
    for (size_t i = 0; i < COUNT(bodies); i++) {
        assert_str(page->events[i].data, bodies[i]);
        assert_str(page->events[i].metadata, bodies[COUNT(bodies) - 1 - i]);
    }
    event_page_unref(page);
}

/* EVENT_ID_MAX_BYTES of two-byte letters and one at the end. */
static const char *longest_id(struct fixture *fx)
{
    char *id = arena_alloc(&fx->arena, EVENT_ID_MAX_BYTES + 1);

    for (size_t i = 0; i + 1 < EVENT_ID_MAX_BYTES; i += 2)
        memcpy(id + i, "\xc3\xa9", 2);
    id[EVENT_ID_MAX_BYTES - 1] = 'x';
    id[EVENT_ID_MAX_BYTES] = '\0';
    return id;
}

static void every_field_comes_back(void **state)
{
    struct fixture *fx = *state;
    const char *longest = longest_id(fx);
    struct event full = draft("Order.v2-x_y", longest, "Placed.v2-x_y");
    struct event_page *page;
    const struct event *got;

    full.event_version = 7;
    full.tenant_id = str_of(longest);
    full.actor_id = STR("actor");
    full.correlation_id = STR("");
    full.causation_id = STR("cause");
    full.occurred_at_us = -1234567890123457;
    write_events(fx, &full, 1);

    page = read_page(fx, 0, 1);
    got = &page->events[0];
    assert_str(got->aggregate_id, longest);
    assert_str(got->aggregate_type, "Order.v2-x_y");
    assert_str(got->event_type, "Placed.v2-x_y");
    assert_int_equal(got->event_version, 7);
    assert_str(got->tenant_id, longest);
    assert_str(got->actor_id, "actor");
    assert_str(got->correlation_id, "");
    assert_false(str_is_none(got->correlation_id));
    assert_str(got->causation_id, "cause");
    assert_true(got->occurred_at_us == -1234567890123457);
    assert_true(got->recorded_at_us == full.recorded_at_us);
    event_page_unref(page);
}

static void absent_fields_are_absent_and_the_stores_clock_is_told(void **state)
{
    struct fixture *fx = *state;
    struct event plain = draft("Order", "plain", "Placed");
    struct event_page *page;
    int64_t now_us = clock_wall_us();

    write_events(fx, &plain, 1);
    page = read_page(fx, 0, 1);
    assert_true(str_is_none(page->events[0].tenant_id));
    assert_true(str_is_none(page->events[0].actor_id));
    assert_true(str_is_none(page->events[0].correlation_id));
    assert_true(str_is_none(page->events[0].causation_id));
    assert_true(page->events[0].recorded_at_us > now_us - 60000000);
    assert_true(page->events[0].recorded_at_us < now_us + 60000000);
    event_page_unref(page);
}

/* ---- the delta ---- */

static struct log_place place_at(struct fixture *fx, uint64_t position)
{
    return (struct log_place){position, event_at(fx, position)};
}

static struct append_delta begin_from(struct fixture *fx,
                                      struct store_writer *writer,
                                      struct log_place known)
{
    struct append_delta delta;

    assert_ok(store_append_begin(writer, known, &fx->arena, &delta, &fx->err),
              &fx->err);
    return delta;
}

static void begin_tells_what_others_appended(void **state)
{
    struct fixture *fx = *state;
    struct event first = draft("Order", "a", "Placed");
    struct event others[] = {draft("Order", "a", "Shipped"),
                             draft("Cart", "b", "Opened")};
    struct append_delta delta;

    write_events(fx, &first, 1);
    write_events(fx, others, 2);
    delta = begin_from(fx, fx->writer, place_at(fx, 1));
    store_append_abort(fx->writer);

    assert_false(delta.cut);
    assert_int_equal(delta.head.position, 3);
    assert_true(uuid_eq(delta.head.event_id, others[1].event_id));
    assert_int_equal(delta.count, 2);
    assert_int_equal(delta.moved[0].position, 2);
    assert_int_equal(delta.moved[0].stream_id, 1);
    assert_int_equal(delta.moved[0].aggregate_version, 2);
    assert_str(delta.moved[0].aggregate_type, "Order");
    assert_str(delta.moved[0].aggregate_id, "a");
    assert_true(uuid_eq(delta.moved[0].event_id, others[0].event_id));
    assert_int_equal(delta.moved[1].stream_id, 3);
    assert_int_equal(delta.moved[1].aggregate_version, 1);
    assert_str(delta.moved[1].aggregate_type, "Cart");
}

static void nothing_moved_when_the_head_is_known(void **state)
{
    struct fixture *fx = *state;
    struct append_delta delta;

    delta = begin_from(fx, fx->writer, (struct log_place){0});
    store_append_abort(fx->writer);
    assert_int_equal(delta.head.position, 0);
    assert_true(uuid_is_nil(delta.head.event_id));
    assert_int_equal(delta.count, 0);
    assert_false(delta.cut);

    write_ticks(fx, "a", 5);
    delta = begin_from(fx, fx->writer, place_at(fx, 5));
    store_append_abort(fx->writer);
    assert_int_equal(delta.head.position, 5);
    assert_int_equal(delta.count, 0);
    assert_false(delta.cut);
}

static void a_delta_that_is_too_long_is_cut(void **state)
{
    struct fixture *fx = *state;
    struct append_delta delta;

    write_ticks(fx, "a", APPEND_DELTA_MAX + 1);
    delta = begin_from(fx, fx->writer, place_at(fx, 1));
    store_append_abort(fx->writer);
    assert_false(delta.cut);
    assert_int_equal(delta.count, APPEND_DELTA_MAX);
    assert_int_equal(delta.moved[0].position, 2);

    delta = begin_from(fx, fx->writer, (struct log_place){0});
    store_append_abort(fx->writer);
    assert_true(delta.cut);
    assert_false(delta.lost);
    assert_int_equal(delta.count, 0);
    assert_int_equal(delta.head.position, APPEND_DELTA_MAX + 1);
}

static void a_log_that_is_another_is_cut(void **state)
{
    struct fixture *fx = *state;
    struct append_delta delta;

    write_ticks(fx, "a", 5);
    /* Another event stands at the place that is known. */
    delta = begin_from(fx, fx->writer, (struct log_place){3, uuid_new()});
    store_append_abort(fx->writer);
    assert_true(delta.cut);
    assert_true(delta.lost);
    assert_int_equal(delta.count, 0);
    /* The same at the head itself. */
    delta = begin_from(fx, fx->writer, (struct log_place){5, uuid_new()});
    store_append_abort(fx->writer);
    assert_true(delta.cut);
    assert_true(delta.lost);
    /* The log is shorter than it was. */
    delta = begin_from(fx, fx->writer, (struct log_place){9, uuid_new()});
    store_append_abort(fx->writer);
    assert_true(delta.cut);
    assert_true(delta.lost);
    assert_int_equal(delta.head.position, 5);
}

static void assert_lost(struct fixture *fx, struct log_place known, bool lost)
{
    struct append_delta delta = begin_from(fx, fx->writer, known);

    store_append_abort(fx->writer);
    assert_int_equal(delta.lost, lost);
    if (lost) {
        assert_true(delta.cut);
        assert_int_equal(delta.count, 0);
    }
}

/* What a failover does that loses the end of the log. */
static void a_tail_that_was_lost_is_told_from_one_that_grew(void **state)
{
    struct fixture *fx = *state;
    struct log_place second;
    struct log_place fifth;

    write_ticks(fx, "a", 5);
    second = place_at(fx, 2);
    fifth = place_at(fx, 5);
    assert_lost(fx, fifth, false);
    change_table("delete from", "events", "where position > 2");
    change_table("delete from", "event_ids", "where position > 2");
    assert_lost(fx, fifth, true);
    assert_lost(fx, second, false);
    assert_lost(fx, (struct log_place){0}, false);

    /* Others have appended since: the number is there again. */
    write_ticks(fx, "a", 3);
    assert_lost(fx, fifth, true);
    assert_lost(fx, second, false);
    write_ticks(fx, "a", 1);
    assert_lost(fx, fifth, true);
    /* Far behind, where no delta is given. */
    write_ticks(fx, "a", APPEND_DELTA_MAX + 1);
    assert_lost(fx, fifth, true);
    assert_lost(fx, second, false);
}

static void a_log_that_is_empty_again_has_lost_all(void **state)
{
    struct fixture *fx = *state;
    struct log_place third;

    write_ticks(fx, "a", 3);
    third = place_at(fx, 3);
    change_table("delete from", "events", "");
    change_table("delete from", "event_ids", "");
    change_table("delete from", "streams", "");
    assert_lost(fx, third, true);
    assert_lost(fx, (struct log_place){0}, false);
}

/* ---- lookups ---- */

static void assert_last_event(struct fixture *fx, const char *id,
                              uint64_t version, struct uuid expected)
{
    struct event_page *page;

    assert_ok(store_read_stream(fx->store, STR("Clock"), str_of(id), version, 2,
                                READ_FORWARD, &page, &fx->err),
              &fx->err);
    assert_int_equal(page->count, 1);
    assert_true(uuid_eq(page->events[0].event_id, expected));
    event_page_unref(page);
}

static void streams_are_looked_up_by_name(void **state)
{
    struct fixture *fx = *state;
    struct append_stream streams[] = {
        {STR("Clock"), STR("b"), 9, 9, {{9}}},
        {STR("Clock"), STR("nobody"), 9, 9, {{9}}},
        {STR("Order"), STR("a"), 9, 9, {{9}}},
        {STR("Clock"), STR("a"), 9, 9, {{9}}},
    };
    struct append_lookup lookup = {.streams = streams,
                                   .stream_count = COUNT(streams)};

    write_ticks(fx, "a", 3);
    write_ticks(fx, "b", 2);
    begin_from(fx, fx->writer, (struct log_place){0});
    assert_ok(store_append_lookup(fx->writer, &lookup, &fx->err), &fx->err);
    store_append_abort(fx->writer);

    assert_null(lookup.found);
    assert_int_equal(streams[0].stream_id, 4);
    assert_int_equal(streams[0].version, 2);
    assert_last_event(fx, "b", 2, streams[0].last_id);
    assert_int_equal(streams[1].stream_id, 0);
    assert_int_equal(streams[1].version, 0);
    assert_true(uuid_is_nil(streams[1].last_id));
    assert_int_equal(streams[2].stream_id, 0);
    assert_int_equal(streams[3].stream_id, 1);
    assert_int_equal(streams[3].version, 3);
    assert_last_event(fx, "a", 3, streams[3].last_id);
}

static void events_are_looked_up_by_id(void **state)
{
    struct fixture *fx = *state;
    struct uuid ids[3];
    struct append_lookup lookup = {.ids = ids, .id_count = COUNT(ids)};

    write_ticks(fx, "a", 9);
    ids[0] = event_at(fx, 7);
    ids[1] = uuid_new();
    ids[2] = event_at(fx, 2);
    begin_from(fx, fx->writer, (struct log_place){0});
    assert_ok(store_append_lookup(fx->writer, &lookup, &fx->err), &fx->err);
    store_append_abort(fx->writer);

    assert_non_null(lookup.found);
    assert_int_equal(lookup.found->count, 2);
    assert_int_equal(lookup.found->events[0].position, 2);
    assert_int_equal(lookup.found->events[1].position, 7);
    assert_str(lookup.found->events[1].event_type, "Ticked");
    assert_int_equal(lookup.found->events[1].aggregate_version, 7);
    event_page_unref(lookup.found);
}

/* ---- ends of an append ---- */

/* Appends one row as it is given, whatever the streams say. */
static enum append_end append_as_is(struct fixture *fx, struct event *event,
                                    uint64_t version, uint64_t stream_id)
{
    struct append_delta delta =
        begin_from(fx, fx->writer, (struct log_place){0});
    struct append_row row = {event, stream_id};

    event->position = delta.head.position + 1;
    event->aggregate_version = version;
    event->recorded_at_us = delta.now_us;
    if (stream_id == 0)
        row.stream_id = event->position;
    return store_append_commit(
        fx->writer, &(struct append_batch){.rows = &row, .count = 1}, &fx->err);
}

static void what_breaks_uniqueness_is_stale_and_not_there(void **state)
{
    struct fixture *fx = *state;
    struct event same_id = draft("Order", "b", "Placed");
    struct event same_version = draft("Clock", "a", "Ticked");
    struct event same_stream = draft("Clock", "a", "Ticked");

    write_ticks(fx, "a", 3);
    same_id.event_id = event_at(fx, 2);
    assert_int_equal(append_as_is(fx, &same_id, 1, 0), APPEND_STALE);
    assert_int_equal(append_as_is(fx, &same_version, 3, 1), APPEND_STALE);
    assert_int_equal(append_as_is(fx, &same_stream, 1, 0), APPEND_STALE);
    assert_int_equal(head_of(fx), 3);
    /* The writer is none the worse for it. */
    write_ticks(fx, "a", 1);
    assert_int_equal(head_of(fx), 4);
}

static void a_batch_is_appended_whole_or_not_at_all(void **state)
{
    struct fixture *fx = *state;
    struct event events[] = {draft("Order", "a", "Placed"),
                             draft("Order", "b", "Placed"),
                             draft("Order", "c", "Placed")};
    struct event_page *page;

    events[2].event_id = events[0].event_id;
    assert_int_equal(write_with(fx->writer, events, 3, &fx->err), APPEND_STALE);
    page = read_page(fx, 0, 10);
    assert_int_equal(page->count, 0);
    event_page_unref(page);
    assert_int_equal(head_of(fx), 0);
}

static void data_that_the_store_refuses_are_told_from_the_rest(void **state)
{
    struct fixture *fx = *state;
    struct event bad = draft("Order", "a", "Placed");

    bad.event_version = 0;
    assert_int_equal(append_as_is(fx, &bad, 1, 0), APPEND_REFUSED);
    assert_code(&fx->err, ERR_DATA);
    assert_int_equal(head_of(fx), 0);
}

static void an_abort_and_an_empty_batch_leave_nothing(void **state)
{
    struct fixture *fx = *state;

    begin_from(fx, fx->writer, (struct log_place){0});
    store_append_abort(fx->writer);
    begin_from(fx, fx->writer, (struct log_place){0});
    assert_int_equal(
        store_append_commit(fx->writer, &(struct append_batch){0}, &fx->err),
        APPEND_COMMITTED);
    assert_int_equal(head_of(fx), 0);
    write_ticks(fx, "a", 1);
    assert_int_equal(head_of(fx), 1);
}

/* Half an append is never seen, and nobody waits for the other half. */
static void readers_go_on_while_the_log_is_held(void **state)
{
    struct fixture *fx = *state;
    struct event_page *page;

    write_ticks(fx, "a", 3);
    begin_from(fx, fx->writer, (struct log_place){0});
    assert_int_equal(head_of(fx), 3);
    page = read_page(fx, 0, 10);
    assert_int_equal(page->count, 3);
    event_page_unref(page);
    store_append_abort(fx->writer);
}

/* ---- several writers ---- */

#define WRITERS       4
#define APPENDS_EACH  40
#define EVENTS_EACH   3
#define EVENTS_OF_ALL (WRITERS * APPENDS_EACH * EVENTS_EACH)

struct appender {
    struct thread *thread;
    struct store *store;
    char id[16];
    enum append_end end;
    struct err err;
};

static void append_many(void *arg)
{
    struct appender *me = arg;
    struct store_writer *writer = store_writer_open(me->store, &me->err);

    me->end = writer != NULL ? APPEND_COMMITTED : APPEND_ROLLED_BACK;
    for (size_t i = 0; i < APPENDS_EACH && me->end == APPEND_COMMITTED; i++) {
        struct event events[EVENTS_EACH] = {draft("Order", me->id, "Placed"),
                                            draft("Order", "all", "Placed"),
                                            draft("Order", me->id, "Paid")};

        me->end = write_with(writer, events, EVENTS_EACH, &me->err);
    }
    store_writer_close(writer);
}

/* Reads while they write; the page that ends the log is the last. */
static void read_every_position_once(struct fixture *fx)
{
    uint64_t deadline_ms = clock_ms() + 60000;
    uint64_t after = 0;

    while (after < EVENTS_OF_ALL && clock_ms() < deadline_ms) {
        struct event_page *page = read_page(fx, after, 7);

        for (size_t i = 0; i < page->count; i++)
            assert_int_equal(page->events[i].position, ++after);
        assert_int_equal(page->scanned_to, after);
        event_page_unref(page);
    }
    assert_int_equal(after, EVENTS_OF_ALL);
}

static void writers_that_race_leave_no_gap_and_no_wrong_version(void **state)
{
    struct fixture *fx = *state;
    struct appender all[WRITERS] = {0};
    struct event_page *page = NULL;

    for (size_t i = 0; i < WRITERS; i++) {
        all[i].store = fx->store;
        snprintf(all[i].id, sizeof(all[i].id), "own-%zu", i);
        all[i].thread =
            thread_start("appender", append_many, &all[i], &fx->err);
        assert_non_null(all[i].thread);
    }
    read_every_position_once(fx);
    for (size_t i = 0; i < WRITERS; i++)
        thread_join(all[i].thread);
    for (size_t i = 0; i < WRITERS; i++)
        if (all[i].end != APPEND_COMMITTED)
            fail_msg("%s: %s", all[i].id, all[i].err.text);

    assert_ok(store_read_stream(fx->store, STR("Order"), STR("all"), 1, 1000,
                                READ_FORWARD, &page, &fx->err),
              &fx->err);
    assert_int_equal(page->count, WRITERS * APPENDS_EACH);
    for (size_t i = 0; i < page->count; i++)
        assert_int_equal(page->events[i].aggregate_version, i + 1);
    event_page_unref(page);
}

static void another_writer_waits_until_the_log_is_given_back(void **state)
{
    struct fixture *fx = *state;
    struct appender other = {.store = fx->store, .id = "other"};

    begin_from(fx, fx->writer, (struct log_place){0});
    other.thread = thread_start("appender", append_many, &other, &fx->err);
    assert_non_null(other.thread);
    assert_int_equal(head_of(fx), 0);
    store_append_abort(fx->writer);
    thread_join(other.thread);
    assert_int_equal(other.end, APPEND_COMMITTED);
    assert_int_equal(head_of(fx), APPENDS_EACH * EVENTS_EACH);
}

/* ---- reading on ---- */

static void pages_end_at_their_limit_and_go_on_behind_it(void **state)
{
    struct fixture *fx = *state;
    struct event_page *page;

    write_ticks(fx, "a", 25);
    page = read_page(fx, 0, 10);
    assert_int_equal(page->count, 10);
    assert_int_equal(page->scanned_to, 10);
    event_page_unref(page);
    page = read_page(fx, 20, 10);
    assert_int_equal(page->count, 5);
    assert_int_equal(page->events[0].position, 21);
    assert_int_equal(page->scanned_to, 25);
    event_page_unref(page);
    page = read_page(fx, 25, 10);
    assert_int_equal(page->count, 0);
    assert_int_equal(page->scanned_to, 25);
    event_page_unref(page);
    page = read_page(fx, 1000, 10);
    assert_int_equal(page->count, 0);
    assert_int_equal(page->scanned_to, 1000);
    event_page_unref(page);
}

static struct str body_of(struct fixture *fx, size_t size)
{
    char *text = arena_alloc(&fx->arena, size);

    memset(text, 'x', size);
    text[0] = text[size - 1] = '"';
    return str_n(text, size);
}

static void write_large(struct fixture *fx, size_t size, size_t count)
{
    struct event events[8];

    assert_true(count <= COUNT(events));
    for (size_t i = 0; i < count; i++) {
        events[i] = draft("Order", "large", "Placed");
        events[i].data = body_of(fx, size);
    }
    write_events(fx, events, count);
}

static void a_page_ends_behind_its_bytes_but_has_one_event(void **state)
{
    struct fixture *fx = *state;
    uint64_t after = 0;
    size_t pages = 0;

    write_large(fx, PAGE_MAX_BYTES + 1000, 1);
    write_large(fx, PAGE_MAX_BYTES / 4, 8);
    while (after < 9) {
        struct event_page *page = read_page(fx, after, 100);

        assert_in_range(page->count, 1, 5);
        assert_int_equal(page->events[0].position, after + 1);
        assert_true(page->bytes <= 3 * (size_t)PAGE_MAX_BYTES / 2);
        after += page->count;
        assert_int_equal(page->scanned_to, after);
        assert_true(page->cut || after == 9);
        event_page_unref(page);
        pages++;
    }
    assert_in_range(pages, 3, 9);
}

static struct event_page *read_filtered(struct fixture *fx, uint64_t after,
                                        uint32_t limit, const char *event_type,
                                        const char *aggregate_type)
{
    struct event_filter filter = {str_of(event_type), str_of(aggregate_type)};
    struct event_page *page = NULL;

    assert_ok(
        store_read_after(fx->store, after, limit, &filter, &page, &fx->err),
        &fx->err);
    return page;
}

static void filters_choose_and_say_how_far_they_looked(void **state)
{
    struct fixture *fx = *state;
    struct event events[] = {
        draft("Order", "a", "Placed"), draft("Cart", "b", "Placed"),
        draft("Order", "a", "Paid"),   draft("Order", "c", "Placed"),
        draft("Cart", "b", "Closed"),
    };
    struct event_page *page;

    write_events(fx, events, COUNT(events));
    page = read_filtered(fx, 0, 10, "Placed", NULL);
    assert_int_equal(page->count, 3);
    assert_int_equal(page->events[1].position, 2);
    assert_int_equal(page->scanned_to, 5);
    event_page_unref(page);

    page = read_filtered(fx, 0, 10, "Placed", "Order");
    assert_int_equal(page->count, 2);
    assert_int_equal(page->events[1].position, 4);
    assert_int_equal(page->scanned_to, 5);
    event_page_unref(page);

    page = read_filtered(fx, 0, 1, NULL, "Cart");
    assert_int_equal(page->count, 1);
    assert_int_equal(page->scanned_to, 2);
    event_page_unref(page);

    page = read_filtered(fx, 2, 10, "Nothing", NULL);
    assert_int_equal(page->count, 0);
    assert_int_equal(page->scanned_to, 5);
    event_page_unref(page);

    page = read_filtered(fx, 5, 10, "Placed", NULL);
    assert_int_equal(page->count, 0);
    assert_int_equal(page->scanned_to, 5);
    event_page_unref(page);
}

#define SCANNED_AT_ONCE 100000

static void a_filter_looks_at_so_many_positions_in_one_call(void **state)
{
    struct fixture *fx = *state;
    struct event last = draft("Order", "last", "Placed");
    struct event_page *page;

    write_ticks(fx, "a", SCANNED_AT_ONCE + 9);
    write_events(fx, &last, 1);
    page = read_filtered(fx, 0, 10, "Placed", NULL);
    assert_int_equal(page->count, 0);
    assert_int_equal(page->scanned_to, SCANNED_AT_ONCE);
    event_page_unref(page);
    page = read_filtered(fx, SCANNED_AT_ONCE, 10, "Placed", NULL);
    assert_int_equal(page->count, 1);
    assert_int_equal(page->scanned_to, SCANNED_AT_ONCE + 10);
    event_page_unref(page);
}

/* ---- streams ---- */

static void assert_stream(struct fixture *fx, const char *id, uint64_t from,
                          uint32_t limit, enum read_direction direction,
                          const char *versions)
{
    struct event_page *page = NULL;
    struct buf got = {0};

    assert_ok(store_read_stream(fx->store, STR("Clock"), str_of(id), from,
                                limit, direction, &page, &fx->err),
              &fx->err);
    for (size_t i = 0; i < page->count; i++)
        buf_printf(&got, "%d ", (int)page->events[i].aggregate_version);
    assert_string_equal(buf_as_str(&got).ptr, versions);
    buf_done(&got);
    event_page_unref(page);
}

static void a_stream_is_read_in_both_directions(void **state)
{
    struct fixture *fx = *state;

    write_ticks(fx, "a", 3);
    write_ticks(fx, "b", 3);
    write_ticks(fx, "a", 3);
    assert_stream(fx, "a", 0, 100, READ_FORWARD, "1 2 3 4 5 6 ");
    assert_stream(fx, "a", 1, 2, READ_FORWARD, "1 2 ");
    assert_stream(fx, "a", 4, 100, READ_FORWARD, "4 5 6 ");
    assert_stream(fx, "a", 7, 100, READ_FORWARD, "");
    assert_stream(fx, "a", 0, 2, READ_BACKWARD, "6 5 ");
    assert_stream(fx, "a", 4, 100, READ_BACKWARD, "4 3 2 1 ");
    assert_stream(fx, "a", 100, 1, READ_BACKWARD, "6 ");
    assert_stream(fx, "nobody", 0, 100, READ_FORWARD, "");
    assert_stream(fx, "nobody", 0, 100, READ_BACKWARD, "");
}

static void a_page_of_a_stream_ends_behind_its_bytes(void **state)
{
    struct fixture *fx = *state;
    struct event_page *page = NULL;

    write_large(fx, PAGE_MAX_BYTES / 2, 5);
    assert_ok(store_read_stream(fx->store, STR("Order"), STR("large"), 1, 100,
                                READ_FORWARD, &page, &fx->err),
              &fx->err);
    assert_in_range(page->count, 1, 3);
    assert_true(page->cut);
    event_page_unref(page);
}

/* A store may ask for fewer rows than were wanted, by what it saw before: then
 * it has to say so, or whoever pages would stop too early. */
static void a_stream_is_read_to_its_end_page_by_page(void **state)
{
    struct fixture *fx = *state;
    uint64_t version = 0;
    bool more = true;

    for (size_t i = 0; i < 5; i++)
        write_large(fx, PAGE_MAX_BYTES / 16, 8);
    while (more) {
        struct event_page *page = NULL;

        assert_ok(store_read_stream(fx->store, STR("Order"), STR("large"),
                                    version + 1, 100, READ_FORWARD, &page,
                                    &fx->err),
                  &fx->err);
        version += page->count;
        more = page->cut;
        event_page_unref(page);
    }
    assert_int_equal(version, 40);
}

static void assert_streams(struct fixture *fx, const char *type, uint64_t after,
                           uint32_t limit, const char *wanted)
{
    struct stream_row *rows = NULL;
    size_t count = 0;
    struct buf got = {0};

    assert_ok(store_list_streams(fx->store, str_of(type), after, limit,
                                 &fx->arena, &rows, &count, &fx->err),
              &fx->err);
    for (size_t i = 0; i < count; i++)
        buf_printf(&got, "%d:%.*s/%.*s@%d ", (int)rows[i].stream_id,
                   STR_ARG(rows[i].aggregate_type),
                   STR_ARG(rows[i].aggregate_id), (int)rows[i].version);
    assert_string_equal(buf_as_str(&got).ptr, wanted);
    buf_done(&got);
}

static void streams_are_listed_in_the_order_of_their_first_events(void **state)
{
    struct fixture *fx = *state;
    struct event events[] = {
        draft("Order", "z", "Placed"), draft("Cart", "y", "Opened"),
        draft("Order", "a", "Placed"), draft("Order", "z", "Paid"),
        draft("Cart", "z", "Opened"),
    };

    write_events(fx, events, COUNT(events));
    assert_streams(fx, NULL, 0, 100,
                   "1:Order/z@2 2:Cart/y@1 3:Order/a@1 "
                   "5:Cart/z@1 ");
    assert_streams(fx, NULL, 1, 2, "2:Cart/y@1 3:Order/a@1 ");
    assert_streams(fx, "Order", 0, 100, "1:Order/z@2 3:Order/a@1 ");
    assert_streams(fx, "Order", 1, 100, "3:Order/a@1 ");
    assert_streams(fx, "Cart", 0, 1, "2:Cart/y@1 ");
    assert_streams(fx, "Nothing", 0, 100, "");
}

#define LOG_TESTS(migrated)                                                    \
    migrated(an_empty_log_is_empty_everywhere),                                \
        migrated(positions_are_contiguous_and_versions_count_each_stream),     \
        migrated(bodies_come_back_byte_for_byte),                              \
        migrated(every_field_comes_back),                                      \
        migrated(absent_fields_are_absent_and_the_stores_clock_is_told),       \
        migrated(begin_tells_what_others_appended),                            \
        migrated(nothing_moved_when_the_head_is_known),                        \
        migrated(a_delta_that_is_too_long_is_cut),                             \
        migrated(a_log_that_is_another_is_cut),                                \
        migrated(a_tail_that_was_lost_is_told_from_one_that_grew),             \
        migrated(a_log_that_is_empty_again_has_lost_all),                      \
        migrated(streams_are_looked_up_by_name),                               \
        migrated(events_are_looked_up_by_id),                                  \
        migrated(what_breaks_uniqueness_is_stale_and_not_there),               \
        migrated(a_batch_is_appended_whole_or_not_at_all),                     \
        migrated(data_that_the_store_refuses_are_told_from_the_rest),          \
        migrated(an_abort_and_an_empty_batch_leave_nothing),                   \
        migrated(readers_go_on_while_the_log_is_held),                         \
        migrated(writers_that_race_leave_no_gap_and_no_wrong_version),         \
        migrated(another_writer_waits_until_the_log_is_given_back),            \
        migrated(pages_end_at_their_limit_and_go_on_behind_it),                \
        migrated(a_page_ends_behind_its_bytes_but_has_one_event),              \
        migrated(filters_choose_and_say_how_far_they_looked),                  \
        migrated(a_filter_looks_at_so_many_positions_in_one_call),             \
        migrated(a_stream_is_read_in_both_directions),                         \
        migrated(a_page_of_a_stream_ends_behind_its_bytes),                    \
        migrated(a_stream_is_read_to_its_end_page_by_page),                    \
        migrated(streams_are_listed_in_the_order_of_their_first_events)
