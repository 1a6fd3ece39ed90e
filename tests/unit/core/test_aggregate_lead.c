/* For nftw. */
#define _GNU_SOURCE
#include "unit/core/aggregate_rig.h"

/*
 * Commands that are decided together: what each is told, and what becomes of
 * those behind one whose events are not stored.  The writer of the first engine
 * stands at a gate, so that commands gather behind it.
 */

static const char counter_lua[] =
    "return {\n"
    "  type = 'Counter',\n"
    "  initial = function() return { n = 0 } end,\n"
    "  commands = {\n"
    "    add = { run = function(c) c:emit('Added', { by = 1 }) end },\n"
    "    add_and_reject = { run = function(c)\n"
    "      c:emit('Added', { by = 100 }) c:reject('no') end },\n"
    "    below = { input = { limit = 'integer' }, run = function(c, input)\n"
    "      c:reject_if(c.state.n >= input.limit, 'enough')\n"
    "      c:emit('Added', { by = 1 }) end },\n"
    "    look = { run = function() end },\n"
    "  },\n"
    "  apply = { Added = function(s, e) s.n = s.n + e.data.by end },\n"
    "}\n";

static const char *const scripts[] = {"counter.lua", counter_lua, NULL};

/* ---- the gate ---- */

static struct {
    struct store_ops ops;
    const struct store_ops *real;
    struct lock lock;
    struct signal changed;
    /* --- under lock --- */
    const struct store_writer *writer; /* whose gate it is */
    bool shut;
    int tokens; /* that pass nevertheless */
    int at_gate;
    int passed;
} gate;

static void pass_gate(const struct store_writer *writer)
{
    lock_take(&gate.lock);
    if (gate.writer == NULL)
        gate.writer = writer;
    if (writer == gate.writer) {
        gate.at_gate++;
        signal_all(&gate.changed);
        while (gate.shut && gate.tokens == 0)
            signal_wait(&gate.changed, &gate.lock);
        if (gate.shut)
            gate.tokens--;
        gate.at_gate--;
        gate.passed++;
    }
    lock_give(&gate.lock);
}

static bool gate_begin(struct store_writer *writer, struct log_place known,
                       struct arena *arena, struct append_delta *out,
                       struct err *err)
{
    pass_gate(writer);
    return gate.real->append_begin(writer, known, arena, out, err);
}

static enum append_end gate_guarded(struct store_writer *writer,
                                    struct log_place known,
                                    const struct append_batch *batch,
                                    int64_t *recorded_at_us, struct err *err)
{
    pass_gate(writer);
    return gate.real->append_guarded(writer, known, batch, recorded_at_us, err);
}

static void move_gate(bool shut)
{
    lock_take(&gate.lock);
    gate.shut = shut;
    signal_all(&gate.changed);
    lock_give(&gate.lock);
}

static void await_writer(void)
{
    lock_take(&gate.lock);
    while (gate.at_gate == 0)
        signal_wait(&gate.changed, &gate.lock);
    lock_give(&gate.lock);
}

/* One transaction of the first engine passes, the next one stands there. */
static void let_one_pass(void)
{
    int before;

    await_writer();
    lock_take(&gate.lock);
    before = gate.passed;
    gate.tokens++;
    signal_all(&gate.changed);
    while (gate.passed == before || gate.at_gate == 0)
        signal_wait(&gate.changed, &gate.lock);
    lock_give(&gate.lock);
}

static struct rig *gated_rig(void)
{
    struct rig *rig = rig_new(scripts);

    memset(&gate, 0, sizeof(gate));
    lock_init(&gate.lock);
    signal_init(&gate.changed);
    gate.real = rig->store->ops;
    gate.ops = *rig->store->ops;
    gate.ops.append_begin = gate_begin;
    if (gate.real->append_guarded != NULL)
        gate.ops.append_guarded = gate_guarded;
    rig->store->ops = &gate.ops;
    return rig;
}

/* ---- commands that wait ---- */

#define HANDS 9

struct hand {
    struct at at;
    const char *command;
    const char *input;
    const uint64_t *version;
    struct arena arena;
    struct command_result result;
    struct err err;
    bool ok;
    struct thread *thread;
};

static void work(void *arg)
{
    struct hand *hand = arg;

    hand->ok = run_in(hand->at, hand->command, hand->input, hand->version,
                      &hand->arena, &hand->result, &hand->err);
}

static size_t queue_length(struct at at)
{
    struct aggregates *aggregates = at.rig->engines[at.engine].aggregates;

    return aggregates_waiting(aggregates, str_of(at.type),
                              id_of(at, &at.rig->arena));
}

/* Starts them in order, each in the queue before the next. */
static void start_hands(struct hand *hands, size_t count, size_t before)
{
    for (size_t i = 0; i < count; i++) {
        hands[i].thread = thread_start("hand", work, &hands[i], &hands[i].err);
        assert_non_null(hands[i].thread);
        while (queue_length(hands[i].at) < before + i + 1)
            usleep(100);
    }
}

static void join_hands(struct hand *hands, size_t count)
{
    for (size_t i = 0; i < count; i++)
        thread_join(hands[i].thread);
}

static void free_hands(struct hand *hands, size_t count)
{
    for (size_t i = 0; i < count; i++)
        arena_done(&hands[i].arena);
}

/* Until so many appends of the first engine are on their way. */
static void await_appends(const struct rig *rig, size_t count)
{
    while (append_queue_waiting(rig->engines[0].queue) < count)
        usleep(100);
}

static void expect_n(const struct hand *hand, uint64_t version, int n)
{
    char state[32];

    snprintf(state, sizeof(state), "{\"n\":%d}", n);
    if (!hand->ok)
        fail_msg("%s", hand->err.text);
    assert_int_equal(hand->result.version, version);
    assert_string_equal(hand->result.state.ptr, state);
}

/* ---- */

static void those_that_wait_are_stored_together(void **state UNUSED)
{
    struct rig *rig = gated_rig();
    struct at c = counter(rig, "c");
    struct hand hands[HANDS];

    run(c, "add", "{}"); /* the gate is this writer's now */
    gate.passed = 0;
    move_gate(true);
    for (size_t i = 0; i < HANDS; i++)
        hands[i] = (struct hand){.at = c, .command = "add", .input = "{}"};
    start_hands(hands, HANDS, 0);
    let_one_pass();
    await_appends(rig, HANDS - 1);
    move_gate(false);
    join_hands(hands, HANDS);
    for (size_t i = 0; i < HANDS; i++) {
        expect_n(&hands[i], i + 2, (int)i + 2);
        assert_int_equal(hands[i].result.events[0].aggregate_version, i + 2);
        assert_int_equal(hands[i].result.events[0].position,
                         hands[0].result.events[0].position + i);
    }
    /* A batch that is decided before the lock is had may be short. */
    assert_true(gate.passed <= 3);
    free_hands(hands, HANDS);
    rig_free(rig);
}

/* A refusal, one after an emit, a version, and a look, among others. */
static void each_is_told_what_it_was_decided_on(void **state UNUSED)
{
    struct rig *rig = gated_rig();
    struct at c = counter(rig, "c");
    uint64_t four = 4, nine = 9;
    struct hand hands[HANDS] = {
        {.at = c, .command = "add", .input = "{}"},
        {.at = c, .command = "add", .input = "{}"},
        {.at = c, .command = "below", .input = "{\"limit\":3}"},
        {.at = c, .command = "below", .input = "{\"limit\":4}"},
        {.at = c, .command = "look", .input = "{}"},
        {.at = c, .command = "add", .input = "{}", .version = &four},
        {.at = c, .command = "add", .input = "{}", .version = &nine},
        {.at = c, .command = "add_and_reject", .input = "{}"},
        {.at = c, .command = "add", .input = "{}"},
    };

    run(c, "add", "{}");
    move_gate(true);
    start_hands(hands, HANDS, 0);
    let_one_pass();
    move_gate(false);
    join_hands(hands, HANDS);
    expect_n(&hands[0], 2, 2);
    expect_n(&hands[1], 3, 3);
    assert_false(hands[2].ok);
    assert_int_equal(hands[2].err.code, ERR_REJECTED);
    expect_n(&hands[3], 4, 4);
    expect_n(&hands[4], 4, 4);
    expect_n(&hands[5], 5, 5);
    assert_false(hands[6].ok);
    assert_int_equal(hands[6].err.code, ERR_VERSION_CONFLICT);
    assert_non_null(strstr(hands[6].err.extra, "\"actual_version\":5"));
    assert_false(hands[7].ok);
    assert_int_equal(hands[7].err.code, ERR_REJECTED);
    expect_n(&hands[8], 6, 6);
    assert_state(c, "{\"n\":6}");
    free_hands(hands, HANDS);
    rig_free(rig);
}

/* Another engine appends while a round's events are on their way: nothing of
 * the round is stored on the state it was decided on. */
static void a_conflict_undoes_those_behind_it(void **state UNUSED)
{
    struct rig *rig = gated_rig();
    struct at c = counter(rig, "c");
    uint64_t three = 3;
    struct hand hands[HANDS];

    run(c, "add", "{}");
    move_gate(true);
    for (size_t i = 0; i < HANDS; i++)
        hands[i] = (struct hand){
            .at = c, .command = "below", .input = "{\"limit\":8}"};
    hands[2].version = &three; /* which it is, until the other engine comes */
    start_hands(hands, HANDS, 0);
    let_one_pass();
    await_appends(rig, HANDS - 3); /* the last two are refused */
    run(on_engine(c, 1), "add", "{}");
    move_gate(false);
    join_hands(hands, HANDS);
    expect_n(&hands[0], 2, 2);
    expect_n(&hands[1], 4, 4);
    assert_false(hands[2].ok);
    assert_int_equal(hands[2].err.code, ERR_VERSION_CONFLICT);
    for (size_t i = 3; i < 7; i++)
        expect_n(&hands[i], i + 2, (int)i + 2);
    for (size_t i = 7; i < HANDS; i++) {
        assert_false(hands[i].ok);
        assert_int_equal(hands[i].err.code, ERR_REJECTED);
    }
    assert_state(c, "{\"n\":8}");
    assert_state(on_engine(c, 1), "{\"n\":8}");
    free_hands(hands, HANDS);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_that_wait_are_stored_together),
        cmocka_unit_test(each_is_told_what_it_was_decided_on),
        cmocka_unit_test(a_conflict_undoes_those_behind_it),
    };

    log_setup(LOG_CRITICAL, LOG_FORMAT_TEXT, 2);
    return RUN_ON_BOTH_STORES("commands together", tests);
}
