#pragma once
/* The suite's chapter about requests that come again: their keys are kept with
 * their events, for 24 hours, and found by the writer and by everybody. */
#include "unit/store/conformance.h"

static struct request_key key_for(const char *token, const char *tenant,
                                  const char *key)
{
    return (struct request_key){str_of(token), str_of(tenant), str_of(key)};
}

static struct request_mark mark_of(const char *key, uint64_t position,
                                   uint32_t count)
{
    struct request_mark mark = {
        .key = key_for("token", "tenant", key),
        .first_position = position,
        .first_version = position,
        .count = count,
    };

    hash_sha256(str_of(key), mark.hash);
    return mark;
}

static enum append_end
write_marks(struct fixture *fx, const struct request_mark *marks, size_t count)
{
    struct append_batch batch = {.marks = marks, .mark_count = count};
    struct arena arena = {0};
    struct append_delta delta;
    enum append_end end;

    assert_ok(store_append_begin(fx->writer, (struct log_place){0}, &arena,
                                 &delta, &fx->err),
              &fx->err);
    end = store_append_commit(fx->writer, &batch, &fx->err);
    arena_done(&arena);
    return end;
}

static void write_mark(struct fixture *fx, const struct request_mark *mark)
{
    enum append_end end = write_marks(fx, mark, 1);

    if (end != APPEND_COMMITTED)
        fail_msg("the mark ended as %d: %s", (int)end, fx->err.text);
}

static struct request_ask find_request(struct fixture *fx,
                                       struct request_key key)
{
    struct request_ask ask = {.key = key};

    assert_ok(store_request_find(fx->store, &ask, &fx->arena, &fx->err),
              &fx->err);
    return ask;
}

/* Asks as the writer does, outside of a transaction. */
static struct request_ask look_up(struct fixture *fx, struct request_key key)
{
    struct request_ask ask = {.key = key};
    struct append_lookup lookup = {.keys = &ask, .key_count = 1};

    assert_ok(store_append_lookup(fx->writer, &lookup, &fx->err), &fx->err);
    assert_null(lookup.found);
    return ask;
}

/* Both ways say the same. */
static bool is_found(struct fixture *fx, struct request_key key)
{
    bool found = find_request(fx, key).found;

    assert_int_equal(look_up(fx, key).found, found);
    return found;
}

static void assert_mark(const struct request_ask *got,
                        const struct request_mark *wanted)
{
    assert_true(got->found);
    assert_memory_equal(got->mark.hash, wanted->hash, SHA256_SIZE);
    assert_int_equal(got->mark.first_position, wanted->first_position);
    assert_int_equal(got->mark.first_version, wanted->first_version);
    assert_int_equal(got->mark.count, wanted->count);
}

/* ---- found and not found ---- */

static void a_stored_request_is_found_as_it_was_stored(void **state)
{
    struct fixture *fx = *state;
    struct request_mark mark = mark_of("order-1", 7, 3);
    struct request_ask ask;

    mark.first_version = 41;
    assert_false(is_found(fx, mark.key));
    write_mark(fx, &mark);
    ask = find_request(fx, mark.key);
    assert_mark(&ask, &mark);
    ask = look_up(fx, mark.key);
    assert_mark(&ask, &mark);
}

static void a_key_belongs_to_its_token_and_its_tenant(void **state)
{
    struct fixture *fx = *state;
    struct request_mark mine = mark_of("k", 1, 1);
    struct request_mark bare = mark_of("k", 2, 2);
    struct request_ask ask;

    bare.key = key_for("", "", "k");
    write_mark(fx, &mine);
    assert_false(is_found(fx, key_for("other", "tenant", "k")));
    assert_false(is_found(fx, key_for("token", "other", "k")));
    assert_false(is_found(fx, key_for("token", "tenant", "K")));
    assert_false(is_found(fx, key_for("tenant", "token", "k")));
    assert_false(is_found(fx, key_for("", "", "k")));
    write_mark(fx, &bare);
    ask = find_request(fx, bare.key);
    assert_mark(&ask, &bare);
    ask = find_request(fx, mine.key);
    assert_mark(&ask, &mine);
}

static void a_key_is_any_text(void **state)
{
    static const char *const keys[] = {
        "'; drop table perigee_requests; --",
        "\xc3\xa9\xf0\x9f\x98\x80",
        "back\\slash \"quoted\" {brace,comma}",
        " ",
        "NULL",
    };
    struct fixture *fx = *state;

    for (size_t i = 0; i < COUNT(keys); i++) {
        struct request_mark mark = mark_of(keys[i], i + 1, 1);
        struct request_ask ask;

        write_mark(fx, &mark);
        ask = find_request(fx, mark.key);
        assert_mark(&ask, &mark);
        ask = look_up(fx, mark.key);
        assert_mark(&ask, &mark);
    }
}

static void many_keys_are_asked_beside_streams_and_ids(void **state)
{
    struct fixture *fx = *state;
    struct request_mark mark = mark_of("there", 1, 1);
    struct append_stream stream = {STR("Clock"), STR("a"), 9, 9, {{0}}};
    struct request_ask asks[] = {{.key = key_for("token", "tenant", "absent")},
                                 {.key = mark.key},
                                 {.key = key_for("", "", "there")},
                                 {.key = mark.key}};
    struct uuid id;
    struct append_lookup lookup = {.streams = &stream,
                                   .stream_count = 1,
                                   .keys = asks,
                                   .key_count = COUNT(asks),
                                   .ids = &id,
                                   .id_count = 1};
    struct append_delta delta;

    write_ticks(fx, "a", 2);
    id = event_at(fx, 1);
    write_mark(fx, &mark);
    assert_ok(store_append_begin(fx->writer, (struct log_place){0}, &fx->arena,
                                 &delta, &fx->err),
              &fx->err);
    assert_ok(store_append_lookup(fx->writer, &lookup, &fx->err), &fx->err);
    store_append_abort(fx->writer);
    assert_false(asks[0].found);
    assert_mark(&asks[1], &mark);
    assert_false(asks[2].found);
    assert_mark(&asks[3], &mark);
    assert_int_equal(stream.version, 2);
    assert_int_equal(lookup.found->count, 1);
    event_page_unref(lookup.found);
}

/* ---- together with the events ---- */

static enum append_end append_with(struct fixture *fx, struct event *event,
                                   const struct request_mark *marks,
                                   size_t count)
{
    struct append_delta delta;
    struct append_row row = {event, 0};
    struct append_batch batch = {
        .rows = &row, .count = 1, .marks = marks, .mark_count = count};

    assert_ok(store_append_begin(fx->writer, (struct log_place){0}, &fx->arena,
                                 &delta, &fx->err),
              &fx->err);
    event->position = delta.head.position + 1;
    event->aggregate_version = 1;
    event->recorded_at_us = delta.now_us;
    row.stream_id = event->position;
    return store_append_commit(fx->writer, &batch, &fx->err);
}

static void events_and_their_keys_are_stored_together(void **state)
{
    struct fixture *fx = *state;
    struct request_mark marks[] = {mark_of("a", 1, 1), mark_of("b", 0, 0)};
    struct event event = draft("Order", "a", "Placed");

    assert_int_equal(append_with(fx, &event, marks, 2), APPEND_COMMITTED);
    assert_int_equal(head_of(fx), 1);
    assert_true(is_found(fx, marks[0].key));
    assert_true(is_found(fx, marks[1].key));
}

static void without_its_events_a_key_is_not_stored(void **state)
{
    struct fixture *fx = *state;
    struct request_mark mark = mark_of("a", 1, 1);
    struct event stored = draft("Order", "a", "Placed");
    struct event same_id = draft("Order", "b", "Placed");
    struct event bad = draft("Order", "c", "Placed");

    write_events(fx, &stored, 1);
    same_id.event_id = stored.event_id;
    assert_int_equal(append_with(fx, &same_id, &mark, 1), APPEND_STALE);
    bad.event_version = 0;
    assert_int_equal(append_with(fx, &bad, &mark, 1), APPEND_REFUSED);
    assert_false(is_found(fx, mark.key));
    assert_int_equal(count_rows("requests"), 0);
}

static void without_their_key_events_are_not_stored(void **state)
{
    struct fixture *fx = *state;
    struct request_mark mark = mark_of("a", 1, 1);
    struct request_mark twins[] = {mark_of("twin", 2, 1),
                                   mark_of("twin", 2, 1)};
    struct event first = draft("Order", "a", "Placed");
    struct event again = draft("Order", "b", "Placed");
    struct request_ask ask;

    assert_int_equal(append_with(fx, &first, &mark, 1), APPEND_COMMITTED);
    mark.first_position = 2;
    assert_int_equal(append_with(fx, &again, &mark, 1), APPEND_STALE);
    assert_int_equal(append_with(fx, &again, twins, 2), APPEND_STALE);
    assert_int_equal(head_of(fx), 1);
    assert_false(is_found(fx, twins[0].key));
    mark.first_position = 1;
    ask = find_request(fx, mark.key);
    assert_mark(&ask, &mark);
    assert_int_equal(append_with(fx, &again, NULL, 0), APPEND_COMMITTED);
}

static void a_guess_stores_its_keys_with_its_events(void **state)
{
    struct fixture *fx = *state;
    struct request_mark mark = mark_of("a", 1, 1);
    struct event event = draft("Order", "a", "Placed");
    struct append_row row = {&event, 1};
    struct append_batch batch = {
        .rows = &row, .count = 1, .marks = &mark, .mark_count = 1};
    struct log_place known = {0};
    int64_t recorded_at_us;

    if (!store_append_may_guess(fx->writer))
        return;
    event.position = 1;
    event.aggregate_version = 1;
    assert_int_equal(store_append_guarded(fx->writer,
                                          (struct log_place){9, uuid_new()},
                                          &batch, &recorded_at_us, &fx->err),
                     APPEND_MOVED);
    assert_false(is_found(fx, mark.key));
    assert_int_equal(store_append_guarded(fx->writer, known, &batch,
                                          &recorded_at_us, &fx->err),
                     APPEND_COMMITTED);
    assert_true(is_found(fx, mark.key));

    /* A twin was stored since it was looked for. */
    known = (struct log_place){1, event.event_id};
    event.event_id = uuid_new();
    event.aggregate_id = STR("b");
    event.position = 2;
    row.stream_id = 2;
    assert_int_equal(store_append_guarded(fx->writer, known, &batch,
                                          &recorded_at_us, &fx->err),
                     APPEND_STALE);
    assert_int_equal(head_of(fx), 1);
}

/* ---- twins ---- */

#define TWINS 6

struct twin {
    struct thread *thread;
    struct store *store;
    size_t number;
    bool may_guess;
    bool found; /* the other one's */
    enum append_end end;
    struct err err;
};

/* One event of a stream of its own, and the key that all of them bear. */
static enum append_end end_twin(struct twin *me, struct store_writer *writer,
                                struct log_place head)
{
    struct request_mark mark = mark_of("twin", head.position + 1, 1);
    char name[16] = "";
    struct event event = draft("Order", name, "Placed");
    struct append_row row = {&event, head.position + 1};
    struct append_batch batch = {
        .rows = &row, .count = 1, .marks = &mark, .mark_count = 1};
    int64_t recorded_at_us;

    snprintf(name, sizeof(name), "twin-%zu", me->number);
    event.aggregate_id = str_of(name);
    event.position = head.position + 1;
    event.aggregate_version = 1;
    event.recorded_at_us = clock_wall_us();
    return me->may_guess ? store_append_guarded(writer, head, &batch,
                                                &recorded_at_us, &me->err)
                         : store_append_commit(writer, &batch, &me->err);
}

/* Asks within the transaction, or outside of one where the commit is guarded.
 */
static enum append_end try_twin(struct twin *me, struct store_writer *writer,
                                struct arena *arena)
{
    struct request_ask ask = {.key = key_for("token", "tenant", "twin")};
    struct append_lookup lookup = {.keys = &ask, .key_count = 1};
    struct append_delta delta;

    if (!store_append_begin(writer, (struct log_place){0}, arena, &delta,
                            &me->err))
        return APPEND_ROLLED_BACK;
    if (me->may_guess)
        store_append_abort(writer);
    if (!store_append_lookup(writer, &lookup, &me->err))
        return APPEND_ROLLED_BACK;
    me->found = ask.found;
    if (!me->found)
        return end_twin(me, writer, delta.head);
    store_append_abort(writer);
    return APPEND_STALE;
}

static void be_twin(void *arg)
{
    struct twin *me = arg;
    struct store_writer *writer = store_writer_open(me->store, &me->err);
    struct arena arena = {0};

    do
        me->end = try_twin(me, writer, &arena);
    while (me->end == APPEND_MOVED);
    store_writer_close(writer);
    arena_done(&arena);
}

static void race_twins(struct fixture *fx, bool may_guess)
{
    struct twin all[TWINS] = {0};
    size_t committed = 0;

    for (size_t i = 0; i < TWINS; i++) {
        all[i] = (struct twin){
            .store = fx->store, .number = i, .may_guess = may_guess};
        all[i].thread = thread_start("twin", be_twin, &all[i], &fx->err);
        assert_non_null(all[i].thread);
    }
    for (size_t i = 0; i < TWINS; i++)
        thread_join(all[i].thread);
    for (size_t i = 0; i < TWINS; i++) {
        if (all[i].end != APPEND_COMMITTED && all[i].end != APPEND_STALE)
            fail_msg("%d: %s", (int)all[i].end, all[i].err.text);
        committed += all[i].end == APPEND_COMMITTED;
    }
    assert_int_equal(committed, 1);
    assert_int_equal(head_of(fx), 1);
    assert_int_equal(count_rows("requests"), 1);
}

static void of_twins_that_race_one_is_stored(void **state)
{
    race_twins(*state, false);
}

static void of_twins_that_guess_one_is_stored(void **state)
{
    struct fixture *fx = *state;

    if (store_append_may_guess(fx->writer))
        race_twins(fx, true);
}

/* ---- age ---- */

static void a_key_is_found_for_a_day(void **state)
{
    struct fixture *fx = *state;
    struct request_mark old = mark_of("a", 1, 1);
    struct request_mark renewed = mark_of("a", 9, 2);
    struct request_ask ask;

    write_mark(fx, &old);
    target->age(23);
    assert_true(is_found(fx, old.key));
    assert_int_equal(write_marks(fx, &renewed, 1), APPEND_STALE);
    target->age(2);
    assert_false(is_found(fx, old.key));
    write_mark(fx, &renewed);
    ask = find_request(fx, old.key);
    assert_mark(&ask, &renewed);
    ask = look_up(fx, old.key);
    assert_mark(&ask, &renewed);
}

#define FORGET_TURNS 100

static void forget_until(struct fixture *fx, uint64_t left)
{
    for (int turn = 0; turn < FORGET_TURNS; turn++)
        if (count_rows("requests") != left)
            assert_ok(store_request_forget(fx->store, &fx->err), &fx->err);
    assert_int_equal(count_rows("requests"), left);
}

static void old_keys_are_forgotten_and_young_ones_stay(void **state)
{
    struct fixture *fx = *state;
    struct request_mark old = mark_of("old", 1, 1);
    struct request_mark young = mark_of("young", 2, 1);
    struct request_mark fresh = mark_of("fresh", 3, 1);

    assert_ok(store_request_forget(fx->store, &fx->err), &fx->err);
    write_mark(fx, &old);
    target->age(20);
    write_mark(fx, &young);
    target->age(5);
    write_mark(fx, &fresh);
    forget_until(fx, 2);
    assert_ok(store_request_forget(fx->store, &fx->err), &fx->err);
    assert_false(is_found(fx, old.key));
    assert_true(is_found(fx, young.key));
    assert_true(is_found(fx, fresh.key));
}

/* ---- many ---- */

#define MANY_KEYS 10000

static struct request_mark *many_marks(struct fixture *fx)
{
    struct request_mark *marks =
        ARENA_ARRAY(&fx->arena, struct request_mark, MANY_KEYS);

    for (size_t i = 0; i < MANY_KEYS; i++)
        marks[i] = mark_of(arena_printf(&fx->arena, "key-%zu", i), i, 1);
    return marks;
}

static void ten_thousand_keys_are_stored_and_asked_at_once(void **state)
{
    struct fixture *fx = *state;
    struct request_mark *marks = many_marks(fx);
    struct request_ask *asks =
        ARENA_ARRAY(&fx->arena, struct request_ask, MANY_KEYS);
    struct append_lookup lookup = {.keys = asks, .key_count = MANY_KEYS};

    assert_int_equal(write_marks(fx, marks, MANY_KEYS), APPEND_COMMITTED);
    for (size_t i = 0; i < MANY_KEYS; i++)
        asks[i].key = marks[MANY_KEYS - 1 - i].key;
    asks[17].key.token = STR("other");
    assert_ok(store_append_lookup(fx->writer, &lookup, &fx->err), &fx->err);
    for (size_t i = 0; i < MANY_KEYS; i++)
        if (i != 17)
            assert_mark(&asks[i], &marks[MANY_KEYS - 1 - i]);
    assert_false(asks[17].found);
    /* They go in turns that make nobody wait. */
    target->age(25);
    forget_until(fx, 0);
}

#define REQUEST_TESTS(migrated)                                                \
    migrated(a_stored_request_is_found_as_it_was_stored),                      \
        migrated(a_key_belongs_to_its_token_and_its_tenant),                   \
        migrated(a_key_is_any_text),                                           \
        migrated(many_keys_are_asked_beside_streams_and_ids),                  \
        migrated(events_and_their_keys_are_stored_together),                   \
        migrated(without_its_events_a_key_is_not_stored),                      \
        migrated(without_their_key_events_are_not_stored),                     \
        migrated(a_guess_stores_its_keys_with_its_events),                     \
        migrated(of_twins_that_race_one_is_stored),                            \
        migrated(of_twins_that_guess_one_is_stored),                           \
        migrated(a_key_is_found_for_a_day),                                    \
        migrated(old_keys_are_forgotten_and_young_ones_stay),                  \
        migrated(ten_thousand_keys_are_stored_and_asked_at_once)
