#pragma once
/* The suite's chapter about folded states. */
#include "unit/store/conformance.h"

static struct snapshot snapshot_of(const char *id, uint64_t version,
                                   const char *shape, const char *state)
{
    return (struct snapshot){
        .aggregate_type = STR("Clock"),
        .aggregate_id = str_of(id),
        .version = version,
        .shape = str_of(shape),
        .script_hash = STR("script-1"),
        .state = str_of(state),
    };
}

/* As a fold of the log would give it; a version that is not there has nil. */
static bool name_last_event(struct store *store, struct snapshot *snapshot,
                            struct err *err)
{
    struct event_page *page;

    if (!store_read_stream(store, snapshot->aggregate_type,
                           snapshot->aggregate_id, snapshot->version, 1,
                           READ_FORWARD, &page, err))
        return false;
    if (page->count > 0)
        snapshot->last_id = page->events[0].event_id;
    event_page_unref(page);
    return true;
}

static bool try_save(struct store *store, const struct snapshot *snapshots,
                     size_t count, struct err *err)
{
    struct snapshot *named = NEW_ARRAY(struct snapshot, count + 1);
    bool ok = true;

    for (size_t i = 0; i < count; i++) {
        named[i] = snapshots[i];
        ok = ok && name_last_event(store, &named[i], err);
    }
    ok = ok && store_snapshot_save(store, named, count, err);
    mem_free(named);
    return ok;
}

static void save(struct fixture *fx, const struct snapshot *snapshots,
                 size_t count)
{
    assert_ok(try_save(fx->store, snapshots, count, &fx->err), &fx->err);
}

static void save_one(struct fixture *fx, const char *id, uint64_t version,
                     const char *shape, const char *state)
{
    struct snapshot snapshot = snapshot_of(id, version, shape, state);

    save(fx, &snapshot, 1);
}

static bool find_snapshot(struct fixture *fx, const char *type, const char *id,
                          const char *shape, uint64_t at_most,
                          struct snapshot *out)
{
    bool found = false;

    assert_ok(store_snapshot_find(fx->store, str_of(type), str_of(id),
                                  str_of(shape), at_most, &fx->arena, out,
                                  &found, &fx->err),
              &fx->err);
    return found;
}

/* The state that is found, or "-". */
static const char *state_of(struct fixture *fx, const char *id,
                            const char *shape, uint64_t at_most)
{
    struct snapshot found;

    if (!find_snapshot(fx, "Clock", id, shape, at_most, &found))
        return "-";
    return arena_printf(&fx->arena, "%.*s@%d", STR_ARG(found.state),
                        (int)found.version);
}

static void a_snapshot_is_found_as_it_was_saved(void **state)
{
    struct fixture *fx = *state;
    struct snapshot saved =
        snapshot_of("a", 3, "v1", "{\"n\":1.10,\"u\":\"\xc3\xa9\"}");
    struct snapshot found;

    assert_string_equal(state_of(fx, "a", "v1", 100), "-");
    write_ticks(fx, "other", 2);
    write_ticks(fx, "a", 5);
    save(fx, &saved, 1);
    assert_true(find_snapshot(fx, "Clock", "a", "v1", 100, &found));
    assert_str(found.aggregate_type, "Clock");
    assert_str(found.aggregate_id, "a");
    assert_int_equal(found.version, 3);
    assert_str(found.shape, "v1");
    assert_str(found.script_hash, "script-1");
    assert_str(found.state, "{\"n\":1.10,\"u\":\"\xc3\xa9\"}");
    assert_string_equal(state_of(fx, "other", "v1", 100), "-");
    assert_string_equal(state_of(fx, "A", "v1", 100), "-");
    assert_false(find_snapshot(fx, "Order", "a", "v1", 100, &found));
}

static void a_snapshot_has_one_shape_and_a_version(void **state)
{
    struct fixture *fx = *state;

    write_ticks(fx, "a", 5);
    save_one(fx, "a", 3, "v1", "three");
    assert_string_equal(state_of(fx, "a", "v1", 3), "three@3");
    assert_string_equal(state_of(fx, "a", "v1", UINT64_MAX), "three@3");
    assert_string_equal(state_of(fx, "a", "v1", 2), "-");
    assert_string_equal(state_of(fx, "a", "v1", 0), "-");
    assert_string_equal(state_of(fx, "a", "v2", 100), "-");
    assert_string_equal(state_of(fx, "a", "", 100), "-");
}

static void a_newer_snapshot_wins_and_another_shape_is_replaced(void **state)
{
    struct fixture *fx = *state;

    write_ticks(fx, "a", 9);
    save_one(fx, "a", 5, "v1", "five");
    save_one(fx, "a", 4, "v1", "four");
    assert_string_equal(state_of(fx, "a", "v1", 100), "five@5");
    save_one(fx, "a", 5, "v1", "other five");
    assert_string_equal(state_of(fx, "a", "v1", 100), "other five@5");
    save_one(fx, "a", 6, "v1", "six");
    assert_string_equal(state_of(fx, "a", "v1", 100), "six@6");
    save_one(fx, "a", 2, "v2", "two");
    assert_string_equal(state_of(fx, "a", "v2", 100), "two@2");
    assert_string_equal(state_of(fx, "a", "v1", 100), "-");
    assert_int_equal(count_rows("snapshots"), 1);
}

/* After a failover that lost the log's tail, states of lost events come. */
static void what_the_log_does_not_have_is_not_saved(void **state)
{
    struct fixture *fx = *state;

    write_ticks(fx, "a", 3);
    save_one(fx, "a", 4, "v1", "of the future");
    save_one(fx, "nobody", 1, "v1", "of nobody");
    assert_int_equal(count_rows("snapshots"), 0);
    assert_string_equal(state_of(fx, "a", "v1", 100), "-");
    save_one(fx, "a", 3, "v1", "three");
    save_one(fx, "a", 4, "v1", "of the future");
    assert_string_equal(state_of(fx, "a", "v1", 100), "three@3");
}

/* Another engine stored another event in the place of the lost one. */
static void what_was_folded_from_another_event_is_not_saved(void **state)
{
    struct fixture *fx = *state;
    struct snapshot lost = snapshot_of("a", 3, "v1", "lost");

    write_ticks(fx, "a", 4);
    save_one(fx, "a", 2, "v1", "two");
    lost.last_id = uuid_new();
    assert_ok(store_snapshot_save(fx->store, &lost, 1, &fx->err), &fx->err);
    assert_string_equal(state_of(fx, "a", "v1", 100), "two@2");
    save_one(fx, "a", 3, "v1", "three");
    assert_string_equal(state_of(fx, "a", "v1", 100), "three@3");
}

static void many_are_saved_at_once_each_by_its_own_merit(void **state)
{
    struct fixture *fx = *state;
    struct snapshot all[] = {
        snapshot_of("a", 2, "v1", "older"),
        snapshot_of("nobody", 1, "v1", "of nobody"),
        snapshot_of("b", 1, "v1", "b"),
        snapshot_of("c", 9, "v1", "of the future"),
        snapshot_of("d", 1, "v1", "'quoted' \\ \"{},\""),
    };

    save(fx, NULL, 0);
    write_ticks(fx, "a", 3);
    write_ticks(fx, "b", 1);
    write_ticks(fx, "c", 1);
    write_ticks(fx, "d", 1);
    save_one(fx, "a", 3, "v1", "newer");
    save(fx, all, COUNT(all));
    assert_string_equal(state_of(fx, "a", "v1", 100), "newer@3");
    assert_string_equal(state_of(fx, "b", "v1", 100), "b@1");
    assert_string_equal(state_of(fx, "c", "v1", 100), "-");
    assert_string_equal(state_of(fx, "d", "v1", 100), "'quoted' \\ \"{},\"@1");
    assert_int_equal(count_rows("snapshots"), 3);
}

#define LARGE_STATE 3000000

static void a_large_state_comes_back_whole(void **state)
{
    struct fixture *fx = *state;
    char *text = arena_alloc(&fx->arena, LARGE_STATE + 1);
    struct snapshot found;

    for (size_t i = 0; i < LARGE_STATE; i++)
        text[i] = (char)('a' + i % 26);
    text[LARGE_STATE] = '\0';
    write_ticks(fx, "a", 1);
    save_one(fx, "a", 1, "v1", text);
    assert_true(find_snapshot(fx, "Clock", "a", "v1", 1, &found));
    assert_int_equal(found.state.len, LARGE_STATE);
    assert_memory_equal(found.state.ptr, text, LARGE_STATE);
}

static void deleted_snapshots_are_just_not_there(void **state)
{
    struct fixture *fx = *state;

    write_ticks(fx, "a", 2);
    save_one(fx, "a", 2, "v1", "two");
    change_table("delete from", "snapshots", "");
    assert_string_equal(state_of(fx, "a", "v1", 100), "-");
    save_one(fx, "a", 1, "v1", "one");
    assert_string_equal(state_of(fx, "a", "v1", 100), "one@1");
}

/* ---- several that save ---- */

#define SAVERS        4
#define SAVED_STREAMS 20
#define SAVED_ROUNDS  10

struct saver {
    struct thread *thread;
    struct store *store;
    size_t number;
    bool good;
    struct err err;
};

/* Each begins with another stream, so that they come from all sides. */
static bool save_round(struct saver *me, uint64_t version)
{
    struct snapshot all[SAVED_STREAMS];
    char names[SAVED_STREAMS][16];

    for (size_t i = 0; i < SAVED_STREAMS; i++) {
        size_t stream = (i * 7 + me->number * 5) % SAVED_STREAMS;

        snprintf(names[i], sizeof(names[i]), "clock-%zu", stream);
        all[i] = snapshot_of(names[i], version, "v1", "saved");
    }
    return try_save(me->store, all, SAVED_STREAMS, &me->err);
}

static void save_many(void *arg)
{
    struct saver *me = arg;

    me->good = true;
    for (uint64_t round = 0; me->good && round < SAVED_ROUNDS; round++)
        me->good = save_round(me, 1 + (round + me->number) % SAVED_ROUNDS);
}

static void savers_that_race_leave_the_newest(void **state)
{
    struct fixture *fx = *state;
    struct saver all[SAVERS] = {0};

    for (size_t i = 0; i < SAVED_STREAMS; i++)
        write_ticks(fx, arena_printf(&fx->arena, "clock-%zu", i), SAVED_ROUNDS);
    for (size_t i = 0; i < SAVERS; i++) {
        all[i] = (struct saver){.store = fx->store, .number = i};
        all[i].thread = thread_start("saver", save_many, &all[i], &fx->err);
        assert_non_null(all[i].thread);
    }
    for (size_t i = 0; i < SAVERS; i++)
        thread_join(all[i].thread);
    for (size_t i = 0; i < SAVERS; i++)
        assert_ok(all[i].good, &all[i].err);
    for (size_t i = 0; i < SAVED_STREAMS; i++)
        assert_string_equal(
            state_of(fx, arena_printf(&fx->arena, "clock-%zu", i), "v1", 100),
            "saved@10");
}

/* ---- samples ---- */

static size_t sample(struct fixture *fx, const char *shape, const char *hash,
                     uint32_t limit, struct snapshot **out)
{
    size_t count = 99;

    assert_ok(store_snapshot_sample(fx->store, STR("Clock"), str_of(shape),
                                    str_of(hash), limit, &fx->arena, out,
                                    &count, &fx->err),
              &fx->err);
    return count;
}

static void a_sample_is_of_what_another_script_made(void **state)
{
    struct fixture *fx = *state;
    struct snapshot mine;
    struct event other = draft("Order", "z", "Placed");
    struct snapshot of_other = snapshot_of("z", 1, "v1", "order");
    struct snapshot *got = NULL;

    assert_int_equal(sample(fx, "v1", "script-2", 20, &got), 0);
    write_events(fx, &other, 1);
    of_other.aggregate_type = STR("Order");
    save(fx, &of_other, 1);
    write_ticks(fx, "a", 2);
    write_ticks(fx, "b", 1);
    write_ticks(fx, "c", 1);
    save_one(fx, "a", 2, "v1", "a");
    save_one(fx, "b", 1, "v2", "b");
    mine = snapshot_of("c", 1, "v1", "c");
    mine.script_hash = STR("script-2");
    save(fx, &mine, 1);

    assert_int_equal(sample(fx, "v1", "script-2", 20, &got), 1);
    assert_str(got[0].aggregate_type, "Clock");
    assert_str(got[0].aggregate_id, "a");
    assert_int_equal(got[0].version, 2);
    assert_str(got[0].shape, "v1");
    assert_str(got[0].script_hash, "script-1");
    assert_str(got[0].state, "a");
    assert_int_equal(sample(fx, "v1", "script-1", 20, &got), 1);
    assert_str(got[0].aggregate_id, "c");
    assert_int_equal(sample(fx, "v3", "script-1", 20, &got), 0);
    assert_int_equal(sample(fx, "v1", "script-3", 20, &got), 2);
    assert_int_equal(sample(fx, "v1", "script-3", 1, &got), 1);
}

#define SNAPSHOT_TESTS(migrated)                                               \
    migrated(a_snapshot_is_found_as_it_was_saved),                             \
        migrated(a_snapshot_has_one_shape_and_a_version),                      \
        migrated(a_newer_snapshot_wins_and_another_shape_is_replaced),         \
        migrated(what_the_log_does_not_have_is_not_saved),                     \
        migrated(what_was_folded_from_another_event_is_not_saved),             \
        migrated(many_are_saved_at_once_each_by_its_own_merit),                \
        migrated(a_large_state_comes_back_whole),                              \
        migrated(deleted_snapshots_are_just_not_there),                        \
        migrated(savers_that_race_leave_the_newest),                           \
        migrated(a_sample_is_of_what_another_script_made)
