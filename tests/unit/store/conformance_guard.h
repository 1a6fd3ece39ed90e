#pragma once
/*
 * The suite's chapter about appending in one flush: the rows are there when
 * the head is where it was known, and otherwise nothing is.
 *
 * A store that does not offer it is asked for nothing but to say so.
 */
#include "unit/store/conformance.h"

/* Decides on `known` as a writer does that expects nobody else: the stream is
 * looked up outside of a transaction. */
static enum append_end guess(struct fixture *fx, struct log_place known,
                             struct event *events, size_t count,
                             int64_t *recorded_at_us)
{
    struct written *placed = NEW(struct written);
    struct append_delta delta = {.head = known};
    struct append_lookup lookup = {.streams = placed->streams,
                                   .stream_count = count};
    struct append_batch batch = {.rows = placed->rows, .count = count};
    enum append_end end;

    for (size_t i = 0; i < count; i++) {
        placed->streams[i].aggregate_type = events[i].aggregate_type;
        placed->streams[i].aggregate_id = events[i].aggregate_id;
    }
    assert_ok(store_append_lookup(fx->writer, &lookup, &fx->err), &fx->err);
    place_events(events, count, &delta, placed);
    end = store_append_guarded(fx->writer, known, &batch, recorded_at_us,
                               &fx->err);
    mem_free(placed);
    return end;
}

static struct log_place place_of(const struct event *event)
{
    return (struct log_place){event->position, event->event_id};
}

static bool may_guess(struct fixture *fx)
{
    return store_append_may_guess(fx->writer);
}

static void only_postgresql_saves_a_round_trip(void **state)
{
    struct fixture *fx = *state;

    assert_int_equal(may_guess(fx), store_kind(fx->store) == STORE_POSTGRES);
}

static void a_guess_on_the_head_is_appended(void **state)
{
    struct fixture *fx = *state;
    struct event first[] = {draft("Order", "a", "Placed"),
                            draft("Order", "b", "Placed")};
    struct event second[] = {draft("Order", "a", "Paid")};
    int64_t recorded_at_us = 0;
    struct event_page *page;

    if (!may_guess(fx))
        return;
    assert_int_equal(
        guess(fx, (struct log_place){0}, first, 2, &recorded_at_us),
        APPEND_COMMITTED);
    assert_int_equal(guess(fx, place_of(&first[1]), second, 1, &recorded_at_us),
                     APPEND_COMMITTED);
    page = read_page(fx, 0, 10);
    assert_int_equal(page->count, 3);
    assert_int_equal(page->events[2].aggregate_version, 2);
    assert_true(uuid_eq(page->events[2].event_id, second[0].event_id));
    assert_true(page->events[2].recorded_at_us == recorded_at_us);
    assert_true(page->events[2].recorded_at_us >=
                page->events[0].recorded_at_us);
    assert_true(recorded_at_us > clock_wall_us() - 60000000);
    event_page_unref(page);
}

static void a_guess_on_a_head_that_moved_changes_nothing(void **state)
{
    struct fixture *fx = *state;
    struct event known = draft("Order", "a", "Placed");
    struct event late = draft("Order", "b", "Placed");
    struct log_place other;
    int64_t recorded_at_us;

    if (!may_guess(fx))
        return;
    write_events(fx, &known, 1);
    write_ticks(fx, "others", 1);
    assert_int_equal(guess(fx, place_of(&known), &late, 1, &recorded_at_us),
                     APPEND_MOVED);
    assert_int_equal(
        guess(fx, (struct log_place){0}, &late, 1, &recorded_at_us),
        APPEND_MOVED);
    /* The number is right and the event is another. */
    other = (struct log_place){2, uuid_new()};
    assert_int_equal(guess(fx, other, &late, 1, &recorded_at_us), APPEND_MOVED);
    /* The log is shorter than it was. */
    other.position = 9;
    assert_int_equal(guess(fx, other, &late, 1, &recorded_at_us), APPEND_MOVED);
    assert_int_equal(head_of(fx), 2);
    assert_int_equal(count_rows("streams"), 2);

    other = (struct log_place){2, event_at(fx, 2)};
    assert_int_equal(guess(fx, other, &late, 1, &recorded_at_us),
                     APPEND_COMMITTED);
}

static void a_guess_that_breaks_uniqueness_is_stale(void **state)
{
    struct fixture *fx = *state;
    struct event first = draft("Order", "a", "Placed");
    struct event again = draft("Order", "b", "Placed");
    struct event version = draft("Order", "a", "Paid");
    struct append_row row = {&version, 1};
    struct append_batch batch = {.rows = &row, .count = 1};
    int64_t recorded_at_us;

    if (!may_guess(fx))
        return;
    write_events(fx, &first, 1);
    again.event_id = first.event_id;
    assert_int_equal(guess(fx, place_of(&first), &again, 1, &recorded_at_us),
                     APPEND_STALE);
    version.position = 2;
    version.aggregate_version = 1;
    assert_int_equal(store_append_guarded(fx->writer, place_of(&first), &batch,
                                          &recorded_at_us, &fx->err),
                     APPEND_STALE);
    assert_int_equal(head_of(fx), 1);
    write_ticks(fx, "a", 1);
    assert_int_equal(head_of(fx), 2);
}

static void a_guess_with_data_that_is_refused_says_so(void **state)
{
    struct fixture *fx = *state;
    struct event bad = draft("Order", "a", "Placed");
    int64_t recorded_at_us;

    if (!may_guess(fx))
        return;
    bad.event_version = 0;
    assert_int_equal(guess(fx, (struct log_place){0}, &bad, 1, &recorded_at_us),
                     APPEND_REFUSED);
    assert_code(&fx->err, ERR_DATA);
    assert_int_equal(head_of(fx), 0);
    write_ticks(fx, "a", 1);
}

/* What is known outside of a transaction; on every store. */
static void a_lookup_needs_no_transaction(void **state)
{
    struct fixture *fx = *state;
    struct append_stream stream = {STR("Clock"), STR("a"), 9, 9, {{0}}};
    struct uuid id;
    struct append_lookup lookup = {
        .streams = &stream, .stream_count = 1, .ids = &id, .id_count = 1};

    write_ticks(fx, "b", 1);
    write_ticks(fx, "a", 2);
    id = event_at(fx, 3);
    assert_ok(store_append_lookup(fx->writer, &lookup, &fx->err), &fx->err);
    assert_int_equal(stream.stream_id, 2);
    assert_int_equal(stream.version, 2);
    assert_non_null(lookup.found);
    assert_int_equal(lookup.found->count, 1);
    assert_int_equal(lookup.found->events[0].position, 3);
    event_page_unref(lookup.found);
    /* It has left no transaction behind. */
    write_ticks(fx, "a", 1);
    assert_int_equal(head_of(fx), 4);
}

#define GUARD_TESTS(migrated)                                                  \
    migrated(only_postgresql_saves_a_round_trip),                              \
        migrated(a_guess_on_the_head_is_appended),                             \
        migrated(a_guess_on_a_head_that_moved_changes_nothing),                \
        migrated(a_guess_that_breaks_uniqueness_is_stale),                     \
        migrated(a_guess_with_data_that_is_refused_says_so),                   \
        migrated(a_lookup_needs_no_transaction)
