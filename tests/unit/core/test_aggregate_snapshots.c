/* For nftw. */
#define _GNU_SOURCE
#include "unit/core/aggregate_rig.h"

/*
 * Snapshots between a real store and the aggregates: when they are saved, what
 * they spare, and that nothing depends on them.
 */

/* A state with everything that JSON alone would forget.  `every` and what
 * follows it are the rest of the declaration. */
static const char purse_lua[] =
    "return {\n"
    "  type = 'Purse', %s\n"
    "  initial = function(id)\n"
    "    return { id = id, sum = decimal('0.00'), list = {}, n = 0,\n"
    "             marked = json.array(), none = json.null }\n"
    "  end,\n"
    "  commands = {\n"
    "    add = { input = { by = 'integer' }, run = function(purse, input)\n"
    "      for i = 1, input.by do purse:emit('Added', { cents = i }) end\n"
    "    end },\n"
    "    take = { run = function(purse)\n"
    "      purse:reject_if(#purse.state.list == 0, 'empty')\n"
    "      purse:emit('Taken', {}) end },\n"
    "    refuse = { run = function(purse) purse:reject('no') end },\n"
    "    tie = { run = function(purse) purse:emit('Tied', {}) end },\n"
    "  },\n"
    "  apply = {\n"
    "    Added = function(s, event)\n"
    "      s.sum = s.sum + decimal(event.data.cents) / 100\n"
    "      s.list[#s.list + 1] = event.data.cents\n"
    "      s.n = s.n + 0.1\n"
    "      s.marked = json.array { s.n, json.null, { s.sum } }\n"
    "      s.kind = type(s.sum)\n"
    "    end,\n"
    "    Taken = function(s)\n"
    "      s.list[#s.list] = nil\n"
    "      s.last = s.list[#s.list]\n"
    "      s.n = s.n / 3\n"
    "    end,\n"
    "    Tied = function(s) s.a = {} s.b = s.a end,\n"
    "  },\n"
    "}\n";

static const char *purse_with(const char *rest)
{
    static char text[4096];

    snprintf(text, sizeof(text), purse_lua, rest);
    return text;
}

/* ---- a spy between the engines and the store ---- */

static struct {
    struct store_ops ops;
    const struct store_ops *real;
    /* --- the test sets, any thread reads --- */
    bool hides;        /* snapshots are not found */
    const char *state; /* what is found instead of the real state, or NULL */
    bool lies;         /* the first event of a page has another id */
    bool loses;        /* the next transaction finds that the tail is gone */
    /* --- atomic --- */
    size_t events_read;
    size_t offers;
    int held;    /* savers wait until it is 0 */
    int refuses; /* snapshots cannot be saved */
} spy;

static bool spy_find(struct store *store, struct str type, struct str id,
                     struct str shape, uint64_t at_most, struct arena *arena,
                     struct snapshot *out, bool *found_out, struct err *err)
{
    *found_out = false;
    if (spy.hides)
        return true;
    if (!spy.real->snapshot_find(store, type, id, shape, at_most, arena, out,
                                 found_out, err))
        return false;
    if (spy.state != NULL)
        out->state = str_of(spy.state);
    return true;
}

static bool spy_save(struct store *store, const struct snapshot *snapshots,
                     size_t count, struct err *err)
{
    __atomic_add_fetch(&spy.offers, count, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&spy.held, __ATOMIC_SEQ_CST))
        usleep(1000);
    if (__atomic_load_n(&spy.refuses, __ATOMIC_SEQ_CST))
        return err_set(err, ERR_STORE, "the spy refuses");
    return spy.real->snapshot_save(store, snapshots, count, err);
}

static struct event_page *with_another_id(struct event_page *page)
{
    struct event_page *copy = event_page_new();

    for (size_t i = 0; i < page->count; i++) {
        struct event event = page->events[i];

        if (i == 0)
            event.event_id = uuid_new();
        event_page_add(copy, &event);
    }
    copy->cut = page->cut;
    event_page_unref(page);
    return copy;
}

static bool spy_read(struct store *store, struct str type, struct str id,
                     uint64_t from, uint32_t limit,
                     enum read_direction direction, struct event_page **out,
                     struct err *err)
{
    if (!spy.real->read_stream(store, type, id, from, limit, direction, out,
                               err))
        return false;
    __atomic_add_fetch(&spy.events_read, (*out)->count, __ATOMIC_SEQ_CST);
    if (spy.lies && (*out)->count > 0) {
        spy.lies = false;
        *out = with_another_id(*out);
    }
    return true;
}

static bool spy_begin(struct store_writer *writer, struct log_place known,
                      struct arena *arena, struct append_delta *out,
                      struct err *err)
{
    if (!spy.real->append_begin(writer, known, arena, out, err))
        return false;
    if (spy.loses) {
        spy.loses = false;
        out->lost = out->cut = true;
        out->count = 0;
    }
    return true;
}

static struct rig *spied_rig(const char *rest)
{
    const char *const scripts[] = {"purse.lua", purse_with(rest), NULL};
    struct rig *rig = rig_new(scripts);

    memset(&spy, 0, sizeof(spy));
    spy.real = rig->store->ops;
    spy.ops = *rig->store->ops;
    spy.ops.snapshot_find = spy_find;
    spy.ops.snapshot_save = spy_save;
    spy.ops.read_stream = spy_read;
    spy.ops.append_begin = spy_begin;
    spy.ops.append_guarded = NULL; /* every transaction begins */
    rig->store->ops = &spy.ops;
    return rig;
}

/* ---- short ways ---- */

static void refuse_snapshots(bool refuse)
{
    __atomic_store_n(&spy.refuses, refuse, __ATOMIC_SEQ_CST);
}

static struct at purse(struct rig *rig, const char *name)
{
    return (struct at){.rig = rig, .type = "Purse", .name = name};
}

static void add(struct at at, int by)
{
    char input[40];

    snprintf(input, sizeof(input), "{\"by\":%d}", by);
    run(at, "add", input);
}

static void forget_all(struct rig *rig)
{
    for (size_t i = 0; i < ENGINES; i++)
        aggregates_forget(rig->engines[i].aggregates);
}

/* 0 when there is none for the script as it is. */
static uint64_t saved_version(struct at at)
{
    struct arena *arena = &at.rig->arena;
    const struct aggregate_decl *decl =
        script_set_aggregate(at.rig->scripts, str_of(at.type));
    struct snapshot found;
    struct err err;
    bool is_found;

    if (!spy.real->snapshot_find(at.rig->store, str_of(at.type),
                                 id_of(at, arena), str_of(decl->shape),
                                 INT64_MAX, arena, &found, &is_found, &err))
        fail_msg("%s", err.text);
    return is_found ? found.version : 0;
}

static const char *state_at(struct at at, uint64_t version)
{
    struct arena *arena = &at.rig->arena;
    struct str text;
    uint64_t got;
    struct err err;

    if (!aggregate_state(at.rig->engines[at.engine].aggregates, str_of(at.type),
                         id_of(at, arena), version, arena, &got, &text, &err))
        fail_msg("%s", err.text);
    return text.ptr;
}

/* As if there had never been a snapshot or a cache. */
static const char *plain_fold(struct at at, uint64_t version)
{
    bool hid = spy.hides;
    const char *state;

    spy.hides = true;
    forget_all(at.rig);
    state = state_at(at, version);
    forget_all(at.rig);
    spy.hides = hid;
    return state;
}

/* ---- when ---- */

static void c_sn_01_a_multiple_that_is_passed_is_enough(void **state UNUSED)
{
    struct rig *rig = spied_rig("snapshot_every = 100,");
    struct at p = purse(rig, "p");

    add(p, 98);
    rig_restart(rig, NULL, NULL);
    assert_int_equal(saved_version(p), 0);
    add(p, 4);
    add(p, 1);
    rig_restart(rig, NULL, NULL);
    assert_int_equal(saved_version(p), 102);
    rig_free(rig);
}

static void c_sn_03_one_append_leaves_one_snapshot(void **state UNUSED)
{
    struct rig *rig = spied_rig("snapshot_every = 10,");
    struct at p = purse(rig, "p");

    add(p, 35);
    rig_restart(rig, NULL, NULL);
    assert_int_equal(saved_version(p), 35);
    assert_int_equal(spy.offers, 1);
    rig_free(rig);
}

static void a_script_that_says_nothing_has_none(void **state UNUSED)
{
    struct rig *rig = spied_rig("");
    struct at p = purse(rig, "p");

    add(p, 500);
    rig_restart(rig, NULL, NULL);
    assert_int_equal(spy.offers, 0);
    rig_free(rig);
}

/* A long stream that was written before snapshots, or whose snapshot is gone,
 * is folded whole once. */
static void a_read_that_had_to_fold_much_leaves_one(void **state UNUSED)
{
    struct rig *rig = spied_rig("snapshot_every = 1000,");
    struct at p = purse(rig, "p");

    add(p, 300);
    rig_restart(rig, "purse.lua", purse_with("snapshot_every = 100,"));
    assert_int_equal(saved_version(p), 0);
    (void)state_at(p, AGGREGATE_NOW);
    rig_restart(rig, NULL, NULL);
    assert_int_equal(saved_version(p), 300);
    rig_free(rig);
}

static void
c_sn_07_a_command_does_not_fail_with_its_snapshot(void **state UNUSED)
{
    struct rig *rig = spied_rig("snapshot_every = 1,");
    struct at p = purse(rig, "p");

    refuse_snapshots(true);
    for (int i = 0; i < 5; i++)
        add(p, 1);
    rig_restart(rig, NULL, NULL);
    assert_true(spy.offers > 0);
    assert_int_equal(saved_version(p), 0);
    assert_string_equal(state_at(p, AGGREGATE_NOW),
                        plain_fold(p, AGGREGATE_NOW));
    refuse_snapshots(false);
    add(p, 1);
    rig_restart(rig, NULL, NULL);
    assert_int_equal(saved_version(p), 6);
    rig_free(rig);
}

static void a_command_does_not_wait_for_snapshots(void **state UNUSED)
{
    struct rig *rig = spied_rig("snapshot_every = 1,");
    struct at p = purse(rig, "p");

    __atomic_store_n(&spy.held, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < 50; i++)
        add(p, 1);
    __atomic_store_n(&spy.held, 0, __ATOMIC_SEQ_CST);
    rig_restart(rig, NULL, NULL);
    assert_int_equal(saved_version(p), 50);
    /* Those that waited together were one. */
    assert_true(spy.offers < 50);
    rig_free(rig);
}

static void a_state_that_no_text_brings_back_has_none(void **state UNUSED)
{
    struct rig *rig = spied_rig("snapshot_every = 1,");
    struct at p = purse(rig, "p");

    run(p, "tie", "{}");
    add(p, 1);
    rig_restart(rig, NULL, NULL);
    assert_int_equal(spy.offers, 0);
    add(p, 1);
    assert_string_equal(state_at(p, AGGREGATE_NOW),
                        plain_fold(p, AGGREGATE_NOW));
    rig_free(rig);
}

/* ---- what they spare ---- */

static void c_sn_05_only_what_came_later_is_read(void **state UNUSED)
{
    struct rig *rig = spied_rig("snapshot_every = 100,");
    struct at p = purse(rig, "p");

    add(p, 100);
    add(p, 3);
    rig_restart(rig, NULL, NULL);
    assert_int_equal(saved_version(p), 100);
    spy.events_read = 0;
    add(p, 1);
    assert_int_equal(spy.events_read, 3);
    assert_string_equal(state_at(p, AGGREGATE_NOW),
                        plain_fold(p, AGGREGATE_NOW));
    rig_free(rig);
}

static void the_past_begins_at_a_snapshot_before_it(void **state UNUSED)
{
    struct rig *rig = spied_rig("snapshot_every = 100,");
    struct at p = purse(rig, "p");

    add(p, 100);
    add(p, 30);
    rig_restart(rig, NULL, NULL);
    spy.events_read = 0;
    (void)state_at(p, 100);
    assert_true(spy.events_read <= 30);
    for (uint64_t at = 99; at <= 103; at++)
        assert_string_equal(state_at(p, at), plain_fold(p, at));
    assert_no_state(p, 0);
    assert_no_state(p, 131);
    rig_free(rig);
}

/* The refusal is proved by the end of the stream alone. */
static void a_refusal_on_a_cached_state_reads_one_event(void **state UNUSED)
{
    struct rig *rig = spied_rig("");
    struct at p = purse(rig, "p");

    add(p, 900);
    for (int i = 0; i < 3; i++) {
        spy.events_read = 0;
        refused(p, "refuse", "{}", ERR_REJECTED);
        assert_int_equal(spy.events_read, 1);
    }
    run(on_engine(p, 1), "take", "{}");
    spy.events_read = 0;
    refused(p, "refuse", "{}", ERR_REJECTED);
    assert_true(spy.events_read <= 6);
    rig_free(rig);
}

/* After a failover another event may stand where the last one stood. */
static void a_cached_state_of_another_log_is_folded_anew(void **state UNUSED)
{
    struct rig *rig = spied_rig("");
    struct at p = purse(rig, "p");

    add(p, 20);
    (void)state_at(p, AGGREGATE_NOW);
    spy.events_read = 0;
    spy.lies = true;
    assert_string_equal(state_at(p, AGGREGATE_NOW),
                        plain_fold(p, AGGREGATE_NOW));
    assert_true(spy.events_read >= 1 + 20);
    rig_free(rig);
}

/* Nothing that was decided on a state from before is stored, whatever version
 * it names; the client need not know. */
static void a_log_that_lost_its_tail_is_folded_anew(void **state UNUSED)
{
    struct rig *rig = spied_rig("");
    struct at p = purse(rig, "p");
    struct command_result result;
    uint64_t version = 21;
    struct err err;

    add(p, 20);
    for (int i = 0; i < 2; i++) {
        spy.events_read = 0;
        spy.loses = true;
        if (!run_in(p, "add", "{\"by\":1}", i > 0 ? &version : NULL,
                    &rig->arena, &result, &err))
            fail_msg("%s", err.text);
        assert_int_equal(result.version, 21 + i);
        assert_false(spy.loses);
        assert_true(spy.events_read >= 20);
    }
    spy.events_read = 0;
    add(p, 1);
    assert_int_equal(spy.events_read, 0);
    rig_free(rig);
}

/* The lost tail was another engine's: this one's place in the log is as it
 * was, and the event that was put in place of the lost one has its version. */
static void a_state_of_a_lost_event_is_not_decided_on(void **state UNUSED)
{
    struct rig *rig = spied_rig("");
    struct at p = purse(rig, "p");
    struct command_result result;
    uint64_t version = 1;
    struct err err;

    add(on_engine(p, 1), 1);
    spy.lies = true;
    (void)state_at(p, AGGREGATE_NOW);
    assert_false(spy.lies);
    spy.events_read = 0;
    if (!run_in(p, "add", "{\"by\":1}", &version, &rig->arena, &result, &err))
        fail_msg("%s", err.text);
    assert_int_equal(result.version, 2);
    assert_int_equal(append_lineage(rig->engines[0].queue), 2);
    assert_int_equal(spy.events_read, 1);
    assert_string_equal(state_at(p, AGGREGATE_NOW),
                        plain_fold(p, AGGREGATE_NOW));
    rig_free(rig);
}

/* ---- what they are valid for ---- */

static void another_script_does_not_take_them(void **state UNUSED)
{
    struct rig *rig = spied_rig("snapshot_every = 10,");
    struct at p = purse(rig, "p");

    add(p, 20);
    rig_restart(rig, "purse.lua", purse_with("snapshot_every = 11,"));
    spy.events_read = 0;
    (void)state_at(p, AGGREGATE_NOW);
    assert_int_equal(spy.events_read, 20);
    rig_restart(rig, "purse.lua",
                purse_with("snapshot_every = 10, state_version = 1,"));
    add(p, 10);
    rig_restart(rig, "purse.lua",
                purse_with("snapshot_every = 12, state_version = 1,"));
    spy.events_read = 0;
    (void)state_at(p, AGGREGATE_NOW);
    assert_int_equal(spy.events_read, 0);
    rig_restart(rig, "purse.lua",
                purse_with("snapshot_every = 12, state_version = 2,"));
    spy.events_read = 0;
    (void)state_at(p, AGGREGATE_NOW);
    assert_int_equal(spy.events_read, 30);
    rig_free(rig);
}

static void
one_that_cannot_be_read_is_left_aside_and_replaced(void **state UNUSED)
{
    static const char *const texts[] = {"", "{", "5", "{\"sum\":\"~d\"}", "~"};
    struct rig *rig = spied_rig("snapshot_every = 10,");
    struct at p = purse(rig, "p");

    add(p, 15);
    rig_restart(rig, NULL, NULL);
    for (size_t i = 0; i < COUNT(texts); i++) {
        spy.state = texts[i];
        forget_all(rig);
        spy.events_read = 0;
        assert_string_equal(state_at(p, AGGREGATE_NOW), plain_fold(p, 15));
        assert_true(spy.events_read >= 15);
    }
    forget_all(rig);
    add(p, 1);
    spy.state = NULL;
    rig_restart(rig, NULL, NULL);
    assert_int_equal(saved_version(p), 16);
    rig_free(rig);
}

/* ---- and that nothing depends on them ---- */

struct game {
    struct rig *rig;
    unsigned seed;
    uint64_t versions[3];
};

static unsigned draw(struct game *game, unsigned below)
{
    return (unsigned)rand_r(&game->seed) % below;
}

static struct at draw_purse(struct game *game, size_t *number_out)
{
    static const char *const names[] = {"a", "b", "c"};

    *number_out = draw(game, 3);
    return on_engine(purse(game->rig, names[*number_out]), draw(game, ENGINES));
}

static void play_command(struct game *game)
{
    struct command_result result;
    struct err err;
    size_t number;
    struct at at = draw_purse(game, &number);
    char input[40];

    snprintf(input, sizeof(input), "{\"by\":%u}", draw(game, 12));
    if (run_in(at, draw(game, 4) == 0 ? "take" : "add",
               draw(game, 4) == 0 ? "{}" : input, NULL, &game->rig->arena,
               &result, &err))
        game->versions[number] = result.version;
    else if (err.code != ERR_REJECTED && err.code != ERR_INVALID_INPUT)
        fail_msg("%s", err.text);
}

static void play_disturbance(struct game *game)
{
    char rest[60];

    switch (draw(game, 5)) {
    case 0:
        forget_all(game->rig);
        break;
    case 1:
        spy.hides = !spy.hides;
        break;
    case 2:
        refuse_snapshots(draw(game, 2) == 0);
        break;
    case 3:
        rig_restart(game->rig, NULL, NULL);
        break;
    default:
        snprintf(rest, sizeof(rest), "snapshot_every = %u, %s",
                 1 + draw(game, 20), draw(game, 2) ? "state_version = 7," : "");
        rig_restart(game->rig, "purse.lua", purse_with(rest));
    }
}

static void compare(struct game *game)
{
    size_t number;
    struct at at = draw_purse(game, &number);
    uint64_t last = game->versions[number];
    uint64_t version;
    const char *with;

    if (last == 0)
        return;
    version = draw(game, 2) ? AGGREGATE_NOW : 1 + draw(game, (unsigned)last);
    with = state_at(at, version);
    assert_string_equal(with, plain_fold(at, version));
}

static void c_sn_09_no_history_and_no_stride_change_a_state(void **state UNUSED)
{
    for (unsigned round = 0; round < 6; round++) {
        struct game game = {.rig = spied_rig("snapshot_every = 3,"),
                            .seed = 77 + round};

        for (int step = 0; step < 120; step++) {
            play_command(&game);
            if (draw(&game, 6) == 0)
                play_disturbance(&game);
            if (draw(&game, 3) == 0)
                compare(&game);
        }
        rig_free(game.rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c_sn_01_a_multiple_that_is_passed_is_enough),
        cmocka_unit_test(c_sn_03_one_append_leaves_one_snapshot),
        cmocka_unit_test(a_script_that_says_nothing_has_none),
        cmocka_unit_test(a_read_that_had_to_fold_much_leaves_one),
        cmocka_unit_test(c_sn_07_a_command_does_not_fail_with_its_snapshot),
        cmocka_unit_test(a_command_does_not_wait_for_snapshots),
        cmocka_unit_test(a_state_that_no_text_brings_back_has_none),
        cmocka_unit_test(c_sn_05_only_what_came_later_is_read),
        cmocka_unit_test(the_past_begins_at_a_snapshot_before_it),
        cmocka_unit_test(a_refusal_on_a_cached_state_reads_one_event),
        cmocka_unit_test(a_cached_state_of_another_log_is_folded_anew),
        cmocka_unit_test(a_log_that_lost_its_tail_is_folded_anew),
        cmocka_unit_test(a_state_of_a_lost_event_is_not_decided_on),
        cmocka_unit_test(another_script_does_not_take_them),
        cmocka_unit_test(one_that_cannot_be_read_is_left_aside_and_replaced),
        cmocka_unit_test(c_sn_09_no_history_and_no_stride_change_a_state),
    };

    log_setup(LOG_CRITICAL, LOG_FORMAT_TEXT, 2);
    return RUN_ON_BOTH_STORES("snapshots", tests);
}
