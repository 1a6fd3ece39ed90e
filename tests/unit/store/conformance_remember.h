#pragma once
/*
 * The suite's second model: requests and snapshots are stored, aged, asked for
 * and forgotten at random, and a model in memory says what must be found.
 *
 * It is written from the words of store/store.h: a key is found while it is
 * younger than 24 hours and only then cannot be stored again; of a stream's
 * snapshots the newest of the last shape is kept.
 */
#include "unit/store/conformance_requests.h"
#include "unit/store/conformance_snapshots.h"

#define REMEMBER_ROUNDS 400
#define REMEMBER_SEED   20240229
#define REMEMBER_KEYS   12
#define REMEMBER_CLOCKS 6
#define HOURS_AT_ONCE   5
#define HOURS_KEPT      24

struct remembered {
    bool is_there;
    unsigned age_hours;
    struct request_mark mark;
};

struct remembered_state {
    uint64_t version; /* 0: none */
    unsigned shape;
    char text[32];
};

struct memory {
    struct fixture *fx;
    struct remembered keys[REMEMBER_KEYS];
    uint64_t versions[REMEMBER_CLOCKS];
    struct remembered_state states[REMEMBER_CLOCKS];
    uint64_t random;
};

/* xorshift64, so that a failure can be repeated. */
static uint64_t roll(struct memory *memory, uint64_t below)
{
    memory->random ^= memory->random << 13;
    memory->random ^= memory->random >> 7;
    memory->random ^= memory->random << 17;
    return memory->random % below;
}

static struct request_key key_at(struct memory *memory, size_t i)
{
    static const char *const tokens[] = {"", "shop", "till"};
    static const char *const tenants[] = {"", "north"};

    return (struct request_key){
        str_of(tokens[i % 3]), str_of(tenants[i / 3 % 2]),
        str_of(arena_printf(&memory->fx->arena, "key-%zu", i / 6))};
}

static bool is_live(const struct remembered *key)
{
    return key->is_there && key->age_hours < HOURS_KEPT;
}

static const char *clock_name(struct memory *memory, size_t i)
{
    return arena_printf(&memory->fx->arena, "clock-%zu", i);
}

/* ---- what happens ---- */

static void tick_with_key(struct memory *memory)
{
    struct fixture *fx = memory->fx;
    size_t clock = roll(memory, REMEMBER_CLOCKS);
    size_t i = roll(memory, REMEMBER_KEYS);
    struct event event = draft("Clock", clock_name(memory, clock), "Ticked");
    struct append_stream stream = {
        event.aggregate_type, event.aggregate_id, 0, 0, {{0}}};
    struct append_lookup lookup = {.streams = &stream, .stream_count = 1};
    struct append_row row = {.event = &event};
    struct request_mark mark = {.key = key_at(memory, i), .count = 1};
    struct append_batch batch = {
        .rows = &row, .count = 1, .marks = &mark, .mark_count = 1};
    struct append_delta delta;
    enum append_end wanted =
        is_live(&memory->keys[i]) ? APPEND_STALE : APPEND_COMMITTED;

    assert_ok(store_append_begin(fx->writer, (struct log_place){0}, &fx->arena,
                                 &delta, &fx->err),
              &fx->err);
    assert_ok(store_append_lookup(fx->writer, &lookup, &fx->err), &fx->err);
    assert_int_equal(stream.version, memory->versions[clock]);
    event.position = delta.head.position + 1;
    event.aggregate_version = stream.version + 1;
    event.recorded_at_us = delta.now_us;
    row.stream_id = stream.stream_id != 0 ? stream.stream_id : event.position;
    mark.first_position = event.position;
    mark.first_version = event.aggregate_version;
    memset(mark.hash, (int)roll(memory, 256), sizeof(mark.hash));
    assert_int_equal(store_append_commit(fx->writer, &batch, &fx->err), wanted);
    if (wanted == APPEND_STALE)
        return;
    memory->versions[clock]++;
    memory->keys[i] = (struct remembered){.is_there = true, .mark = mark};
}

static void save_some_state(struct memory *memory)
{
    size_t clock = roll(memory, REMEMBER_CLOCKS);
    uint64_t version = 1 + roll(memory, memory->versions[clock] + 2);
    unsigned shape = (unsigned)roll(memory, 2);
    struct remembered_state *kept = &memory->states[clock];
    char text[32];

    snprintf(text, sizeof(text), "state %u", (unsigned)roll(memory, 100000));
    save_one(memory->fx, clock_name(memory, clock), version,
             shape == 0 ? "v1" : "v2", text);
    if (version > memory->versions[clock])
        return;
    if (kept->version > version && kept->shape == shape)
        return;
    *kept = (struct remembered_state){.version = version, .shape = shape};
    memcpy(kept->text, text, sizeof(text));
}

static void let_hours_pass(struct memory *memory)
{
    struct fixture *fx = memory->fx;

    target->age(HOURS_AT_ONCE);
    assert_ok(store_request_forget(fx->store, &fx->err), &fx->err);
    for (size_t i = 0; i < REMEMBER_KEYS; i++)
        memory->keys[i].age_hours += HOURS_AT_ONCE;
}

/* ---- what is found ---- */

static void compare_keys(struct memory *memory)
{
    struct fixture *fx = memory->fx;
    struct request_ask asks[REMEMBER_KEYS] = {0};
    struct append_lookup lookup = {.keys = asks, .key_count = REMEMBER_KEYS};

    for (size_t i = 0; i < REMEMBER_KEYS; i++)
        asks[i].key = key_at(memory, i);
    assert_ok(store_append_lookup(fx->writer, &lookup, &fx->err), &fx->err);
    for (size_t i = 0; i < REMEMBER_KEYS; i++) {
        struct request_ask found = find_request(fx, asks[i].key);

        assert_int_equal(asks[i].found, is_live(&memory->keys[i]));
        assert_int_equal(found.found, asks[i].found);
        if (!asks[i].found)
            continue;
        assert_mark(&asks[i], &memory->keys[i].mark);
        assert_mark(&found, &memory->keys[i].mark);
    }
}

static void compare_states(struct memory *memory)
{
    struct fixture *fx = memory->fx;

    for (size_t i = 0; i < REMEMBER_CLOCKS; i++) {
        const struct remembered_state *kept = &memory->states[i];
        const char *name = clock_name(memory, i);
        const char *wanted =
            arena_printf(&fx->arena, "%s@%d", kept->text, (int)kept->version);
        bool first = kept->version > 0 && kept->shape == 0;
        bool second = kept->version > 0 && kept->shape == 1;

        assert_string_equal(state_of(fx, name, "v1", 999999),
                            first ? wanted : "-");
        assert_string_equal(state_of(fx, name, "v2", 999999),
                            second ? wanted : "-");
    }
}

static void run_remembering_round(struct memory *memory, int round)
{
    uint64_t what = roll(memory, 10);

    if (what < 6)
        tick_with_key(memory);
    else if (what < 9)
        save_some_state(memory);
    else
        let_hours_pass(memory);
    if (round % 10 != 0)
        return;
    compare_keys(memory);
    compare_states(memory);
}

static void requests_and_snapshots_are_what_the_model_says(void **state)
{
    struct fixture *fx = *state;
    struct memory *memory = NEW(struct memory);

    memory->fx = fx;
    memory->random = REMEMBER_SEED;
    for (int round = 1; round <= REMEMBER_ROUNDS; round++)
        run_remembering_round(memory, round);
    mem_free(memory);
}

#define REMEMBER_TESTS(migrated)                                               \
    migrated(requests_and_snapshots_are_what_the_model_says)
