/* For nftw. */
#define _GNU_SOURCE
#include "unit/core/aggregate_rig.h"

static const char order_lua[] =
    "return {\n"
    "  type = 'Order',\n"
    "  snapshot_every = 100,\n"
    "  initial = function(id)\n"
    "    return { order_id = id, status = 'draft', total = 0 }\n"
    "  end,\n"
    "  commands = {\n"
    "    create = {\n"
    "      input = { customer_id = 'string', total = 'number' },\n"
    "      run = function(order, input)\n"
    "        order:reject_if(order.version > 0, 'Order already exists')\n"
    "        order:emit('OrderCreated', { customer_id = input.customer_id,\n"
    "                                     total = input.total })\n"
    "      end,\n"
    "    },\n"
    "    ship = {\n"
    "      input = { tracking_number = 'string' },\n"
    "      run = function(order, input)\n"
    "        order:reject_if(order.state.status ~= 'created',\n"
    "                        'Cannot ship order in current state')\n"
    "        order:emit('OrderShipped',\n"
    "                   { tracking_number = input.tracking_number })\n"
    "      end,\n"
    "    },\n"
    "  },\n"
    "  apply = {\n"
    "    OrderCreated = function(state, event)\n"
    "      state.customer_id, state.total, state.status =\n"
    "        event.data.customer_id, event.data.total, 'created'\n"
    "    end,\n"
    "    OrderShipped = function(state, event)\n"
    "      state.tracking_number, state.status =\n"
    "        event.data.tracking_number, 'shipped'\n"
    "    end,\n"
    "  },\n"
    "}\n";

static const char counter_lua[] =
    "local function add(counter) counter:emit('Added', { by = 1 }) end\n"
    "return {\n"
    "  type = 'Counter',\n"
    "  initial = function(id) return { n = 0 } end,\n"
    "  commands = {\n"
    "    add = { run = add },\n"
    "    add_below = {\n"
    "      input = { limit = 'integer' },\n"
    "      run = function(counter, input)\n"
    "        counter:reject_if(counter.state.n >= input.limit, 'enough')\n"
    "        add(counter)\n"
    "      end,\n"
    "    },\n"
    "    add_many = {\n"
    "      input = { count = 'integer' },\n"
    "      run = function(counter, input)\n"
    "        for _ = 1, input.count do add(counter) end\n"
    "      end,\n"
    "    },\n"
    "    reset = { run = function(counter) counter:emit('Reset', {}) end },\n"
    "    add_and_reject = {\n"
    "      run = function(counter) add(counter) counter:reject('no') end,\n"
    "    },\n"
    "    add_and_fail = {\n"
    "      run = function(counter) add(counter) error('boom') end,\n"
    "    },\n"
    "    nothing = { run = function() end },\n"
    "    spin = { run = function() while true do end end },\n"
    "  },\n"
    "  apply = {\n"
    "    Added = function(state, event)\n"
    "      state.n = state.n + event.data.by\n"
    "    end,\n"
    "    Reset = function(state) state.n = 0 end,\n"
    "    Trap = function() while true do end end,\n"
    "  },\n"
    "}\n";

static const char *const scripts[] = {"order.lua", order_lua, "counter.lua",
                                      counter_lua, NULL};

/* ---- one engine ---- */

static void
the_order_of_the_contract_is_created_and_shipped(void **state UNUSED)
{
    struct rig *rig = rig_new(scripts);
    struct at order = {.rig = rig, .type = "Order", .name = "o"};
    static const char ship[] = "{\"tracking_number\":\"T-1\"}";
    static const char create[] = "{\"customer_id\":\"c-1\",\"total\":12.50}";
    struct command_result created, shipped;
    struct err err;

    err = refused(order, "ship", ship, ERR_REJECTED);
    assert_string_equal(err.text, "Cannot ship order in current state");
    assert_no_state(order, AGGREGATE_NOW);

    created = run(order, "create", create);
    assert_int_equal(created.version, 1);
    assert_int_equal(created.count, 1);
    err = refused(order, "create", create, ERR_REJECTED);
    assert_string_equal(err.text, "Order already exists");

    shipped = run(order, "ship", ship);
    assert_int_equal(shipped.version, 2);
    assert_int_equal(shipped.events[0].aggregate_version, 2);
    assert_true(shipped.events[0].position > created.events[0].position);
    assert_true(shipped.events[0].recorded_at_us > 0);
    assert_true(str_eq(shipped.events[0].event_type, STR("OrderShipped")));
    assert_true(str_eq(shipped.events[0].aggregate_type, STR("Order")));
    assert_true(
        str_eq(shipped.events[0].aggregate_id, id_of(order, &rig->arena)));
    assert_true(str_eq(shipped.events[0].actor_id, STR("somebody")));
    assert_non_null(strstr(shipped.state.ptr, "\"status\":\"shipped\""));
    assert_non_null(strstr(shipped.state.ptr, "\"customer_id\":\"c-1\""));
    assert_state(order, shipped.state.ptr);
    assert_state(on_engine(order, 1), shipped.state.ptr);
    refused(order, "ship", ship, ERR_REJECTED);
    rig_free(rig);
}

static void
what_was_emitted_before_a_refusal_leaves_nothing(void **state UNUSED)
{
    struct rig *rig = rig_new(scripts);
    struct at c = counter(rig, "c");

    refused(c, "add_and_reject", "{}", ERR_REJECTED);
    assert_no_state(c, AGGREGATE_NOW);
    run(c, "add", "{}");
    for (int i = 0; i < 3; i++) {
        refused(c, "add_and_reject", "{}", ERR_REJECTED);
        refused(c, "add_and_fail", "{}", ERR_SCRIPT);
    }
    assert_state(c, "{\"n\":1}");
    assert_int_equal(run(c, "add", "{}").version, 2);
    assert_state(c, "{\"n\":2}");
    rig_free(rig);
}

static void what_does_not_exist_is_named(void **state UNUSED)
{
    struct rig *rig = rig_new(scripts);
    struct at c = counter(rig, "c");
    struct at nowhere = {.rig = rig, .type = "Cart", .name = "x"};
    struct err err;

    err = refused(nowhere, "add", "{}", ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "Counter, Order"));
    err = refused(c, "subtract", "{}", ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "add_below"));
    refused(c, "add_below", "{\"limit\":\"many\"}", ERR_INVALID_INPUT);
    assert_no_state(nowhere, AGGREGATE_NOW);
    assert_no_state(c, AGGREGATE_NOW);
    rig_free(rig);
}

static void
a_command_that_emits_nothing_tells_version_and_state(void **state UNUSED)
{
    struct rig *rig = rig_new(scripts);
    struct at c = counter(rig, "c");
    struct command_result result;

    run(c, "add_many", "{\"count\":5}");
    result = run(c, "nothing", "{}");
    assert_int_equal(result.count, 0);
    assert_int_equal(result.version, 5);
    assert_string_equal(result.state.ptr, "{\"n\":5}");
    rig_free(rig);
}

static void states_of_the_past_are_folded_and_not_kept(void **state UNUSED)
{
    struct rig *rig = rig_new(scripts);
    struct at c = counter(rig, "c");

    run(c, "add_many", "{\"count\":5}");
    assert_state_at(c, 3, "{\"n\":3}");
    assert_state(c, "{\"n\":5}");
    assert_state_at(c, 1, "{\"n\":1}");
    assert_int_equal(run(c, "add", "{}").version, 6);
    assert_state_at(c, 5, "{\"n\":5}");
    assert_state_at(c, 6, "{\"n\":6}");
    assert_no_state(c, 7);
    assert_no_state(counter(rig, "absent"), 1);
    assert_state(c, "{\"n\":6}");
    rig_free(rig);
}

static void a_stream_of_five_thousand_events_is_folded(void **state UNUSED)
{
    struct rig *rig = rig_new(scripts);
    struct at c = counter(rig, "c");

    for (int i = 0; i < 5; i++)
        run(c, "add_many", "{\"count\":1000}");
    assert_state(on_engine(c, 1), "{\"n\":5000}");
    assert_int_equal(run(on_engine(c, 1), "add", "{}").version, 5001);
    assert_state_at(c, 2500, "{\"n\":2500}");
    assert_state(c, "{\"n\":5001}");
    rig_free(rig);
}

/* Stores bound their pages by bytes, and guess how many events fit: what comes
 * short is not the end. */
static void a_stream_of_large_events_is_folded_whole(void **state UNUSED)
{
    struct rig *rig = rig_new(scripts);
    struct at c = counter(rig, "c");
    size_t size = 1u << 20;
    char *pad = mem_alloc(size + 1);
    struct buf data = {0};

    memset(pad, 'x', size);
    pad[size] = '\0';
    buf_printf(&data, "{\"by\":1,\"pad\":\"%s\"}", pad);
    for (int i = 0; i < 20; i++)
        append_raw(c, "Added", buf_as_str(&data));
    for (int i = 0; i < 30; i++)
        append_raw(c, "Added", STR("{\"by\":1}"));
    assert_state(c, "{\"n\":50}");
    assert_state(on_engine(c, 1), "{\"n\":50}");
    assert_int_equal(run(c, "add", "{}").version, 51);
    buf_done(&data);
    mem_free(pad);
    rig_free(rig);
}

/* ---- versions ---- */

static void a_version_that_is_given_must_be_the_streams(void **state UNUSED)
{
    struct rig *rig = rig_new(scripts);
    struct at c = counter(rig, "c");
    struct command_result result;
    struct err err;

    for (uint64_t version = 0; version < 3; version++)
        assert_true(
            run_in(c, "add", "{}", &version, &rig->arena, &result, &err));
    for (uint64_t version = 0; version < 6; version++) {
        if (version == 3)
            continue;
        assert_false(
            run_in(c, "add", "{}", &version, &rig->arena, &result, &err));
        assert_int_equal(err.code, ERR_VERSION_CONFLICT);
        assert_non_null(strstr(err.extra, "\"actual_version\":3"));
    }
    assert_state(c, "{\"n\":3}");
    rig_free(rig);
}

static void
a_version_that_is_given_is_compared_with_the_log(void **state UNUSED)
{
    struct rig *rig = rig_new(scripts);
    struct at a = counter(rig, "c");
    struct at b = on_engine(a, 1);
    struct command_result result;
    struct err err;
    uint64_t behind = 1, now = 2;

    run(a, "add", "{}");
    run(b, "add", "{}");
    /* Here the cache says 1, and that is not believed. */
    assert_false(run_in(a, "add", "{}", &behind, &rig->arena, &result, &err));
    assert_int_equal(err.code, ERR_VERSION_CONFLICT);
    assert_non_null(strstr(err.extra, "\"actual_version\":2"));
    run(b, "reset", "{}");
    now = 3;
    assert_true(run_in(a, "add", "{}", &now, &rig->arena, &result, &err));
    assert_int_equal(result.version, 4);
    assert_state(b, "{\"n\":1}");
    rig_free(rig);
}

/* ---- two engines ---- */

static void a_conflict_with_another_engine_is_tried_again(void **state UNUSED)
{
    struct rig *rig = rig_new(scripts);
    struct at c = counter(rig, "c");

    for (uint64_t i = 1; i <= 20; i++)
        assert_int_equal(run(on_engine(c, i % 2), "add", "{}").version, i);
    assert_state(c, "{\"n\":20}");
    rig_free(rig);
}

static void a_refusal_from_a_stale_state_is_not_believed(void **state UNUSED)
{
    struct rig *rig = rig_new(scripts);
    struct at a = counter(rig, "c");
    struct at b = on_engine(a, 1);

    run(a, "add", "{}");
    run(b, "reset", "{}");
    assert_int_equal(run(a, "add_below", "{\"limit\":1}").version, 3);
    refused(b, "add_below", "{\"limit\":1}", ERR_REJECTED);
    run(a, "reset", "{}");
    assert_int_equal(run(b, "add_below", "{\"limit\":1}").version, 5);
    rig_free(rig);
}

static void an_acceptance_from_a_stale_state_is_not_stored(void **state UNUSED)
{
    struct rig *rig = rig_new(scripts);
    struct at a = counter(rig, "c");
    struct at b = on_engine(a, 1);

    run(a, "nothing", "{}"); /* both know it as absent */
    run(b, "nothing", "{}");
    run(a, "add_below", "{\"limit\":1}");
    refused(b, "add_below", "{\"limit\":1}", ERR_REJECTED);
    assert_state(b, "{\"n\":1}");
    rig_free(rig);
}

static void nothing_to_do_is_told_of_the_state_as_it_is(void **state UNUSED)
{
    struct rig *rig = rig_new(scripts);
    struct at a = counter(rig, "c");
    struct command_result result;

    run(a, "add", "{}");
    run(on_engine(a, 1), "add_many", "{\"count\":4}");
    result = run(a, "nothing", "{}");
    assert_int_equal(result.version, 5);
    assert_string_equal(result.state.ptr, "{\"n\":5}");
    rig_free(rig);
}

/* ---- many threads ---- */

struct hand {
    struct at at;
    const char *command;
    const char *input;
    int times;
    bool until_refused;
    int done;
    int refused;
    int conflicts;
    int timeouts;
    struct err err; /* the last that is none of these */
};

static void count_failure(struct hand *hand, const struct err *err)
{
    if (err->code == ERR_REJECTED)
        hand->refused++;
    else if (err->code == ERR_VERSION_CONFLICT)
        hand->conflicts++;
    else if (err->code == ERR_SCRIPT_TIMEOUT)
        hand->timeouts++;
    else
        hand->err = *err;
}

static void work(void *arg)
{
    struct hand *hand = arg;

    for (int i = 0; i < hand->times; i++) {
        struct arena arena = {0};
        struct command_result result;
        struct err err;

        if (run_in(hand->at, hand->command, hand->input, NULL, &arena, &result,
                   &err))
            hand->done++;
        else
            count_failure(hand, &err);
        arena_done(&arena);
        if (hand->until_refused && hand->refused > 0)
            return;
    }
}

static void run_hands(struct hand *hands, size_t count)
{
    struct thread *threads[64];
    struct err err;

    assert_true(count <= COUNT(threads));
    for (size_t i = 0; i < count; i++) {
        threads[i] = thread_start("hand", work, &hands[i], &err);
        assert_non_null(threads[i]);
    }
    for (size_t i = 0; i < count; i++)
        thread_join(threads[i]);
    for (size_t i = 0; i < count; i++)
        if (hands[i].err.code != ERR_NONE)
            fail_msg("%s: %s", err_name(hands[i].err.code), hands[i].err.text);
}

#define HANDS 16

static void commands_on_one_aggregate_queue_up(void **state UNUSED)
{
    struct rig *rig = rig_new(scripts);
    struct hand hands[HANDS];

    for (size_t i = 0; i < HANDS; i++)
        hands[i] = (struct hand){.at = counter(rig, "hot"),
                                 .command = "add",
                                 .input = "{}",
                                 .times = 25};
    run_hands(hands, HANDS);
    for (size_t i = 0; i < HANDS; i++)
        assert_int_equal(hands[i].done, 25);
    assert_state(counter(rig, "hot"), "{\"n\":400}");
    rig_free(rig);
}

static void two_engines_never_pass_a_limit_together(void **state UNUSED)
{
    struct rig *rig = rig_new(scripts);
    struct hand hands[HANDS];
    int done = 0;

    for (size_t i = 0; i < HANDS; i++)
        hands[i] =
            (struct hand){.at = on_engine(counter(rig, "hot"), i % ENGINES),
                          .command = "add_below",
                          .input = "{\"limit\":60}",
                          .times = 1000,
                          .until_refused = true};
    run_hands(hands, HANDS);
    for (size_t i = 0; i < HANDS; i++) {
        assert_int_equal(hands[i].refused, 1);
        done += hands[i].done;
    }
    assert_int_equal(done, 60);
    assert_state(counter(rig, "hot"), "{\"n\":60}");
    rig_free(rig);
}

/* More than all slots together keep. */
#define CROWD 1500

struct crowd_hand {
    struct rig *rig;
    size_t number;
    int round;
    int wrong;
};

static void add_to_crowd(void *arg)
{
    struct crowd_hand *hand = arg;

    for (size_t i = hand->number; i < CROWD; i += HANDS) {
        struct arena arena = {0};
        struct at at = counter(hand->rig, arena_printf(&arena, "crowd-%zu", i));
        struct command_result result;
        struct err err;

        if (!run_in(at, "add", "{}", NULL, &arena, &result, &err) ||
            result.version != (uint64_t)hand->round)
            hand->wrong++;
        arena_done(&arena);
    }
}

static void what_fell_out_of_the_cache_is_folded_again(void **state UNUSED)
{
    struct rig *rig = rig_new(scripts);
    struct thread *threads[HANDS];
    struct crowd_hand hands[HANDS];
    struct err err;

    for (int round = 1; round <= 2; round++) {
        for (size_t i = 0; i < HANDS; i++) {
            hands[i] = (struct crowd_hand){rig, i, round, 0};
            threads[i] = thread_start("hand", add_to_crowd, &hands[i], &err);
            assert_non_null(threads[i]);
        }
        for (size_t i = 0; i < HANDS; i++) {
            thread_join(threads[i]);
            assert_int_equal(hands[i].wrong, 0);
        }
    }
    rig_free(rig);
}

/* ---- worlds that break ---- */

static void
a_command_that_runs_for_ever_is_stopped_and_harms_no_other(void **state UNUSED)
{
    struct rig *rig = rig_new(scripts);
    struct hand hands[HANDS];
    struct arena names = {0};

    /* Enough aggregates that many share the slot of the bad one. */
    for (size_t i = 0; i < HANDS; i++)
        hands[i] = (struct hand){
            .at = counter(rig, arena_printf(&names, "good-%zu", i)),
            .command = "add",
            .input = "{}",
            .times = 200};
    hands[0] = (struct hand){.at = counter(rig, "bad"),
                             .command = "spin",
                             .input = "{}",
                             .times = 3};
    run_hands(hands, HANDS);
    assert_int_equal(hands[0].timeouts, 3);
    for (size_t i = 1; i < HANDS; i++)
        assert_int_equal(hands[i].done, 200);
    assert_state(counter(rig, "good-1"), "{\"n\":200}");
    arena_done(&names);
    rig_free(rig);
}

static void
the_aggregate_itself_goes_on_after_its_world_broke(void **state UNUSED)
{
    struct rig *rig = rig_new(scripts);
    struct at c = counter(rig, "c");

    run(c, "add_many", "{\"count\":3}");
    refused(c, "spin", "{}", ERR_SCRIPT_TIMEOUT);
    assert_state(c, "{\"n\":3}");
    refused(c, "spin", "{}", ERR_SCRIPT_TIMEOUT);
    assert_int_equal(run(c, "add", "{}").version, 4);
    rig_free(rig);
}

/* A store that breaks the Lua world of the aggregate while its stream is read:
 * a neighbour of the same slot runs into its deadline just then. */
static struct {
    struct store_ops ops;
    const struct store_ops *real;
    struct at neighbour;
    int reads_until; /* the break */
} saboteur;

static bool read_and_break(struct store *store, struct str type, struct str id,
                           uint64_t from_version, uint32_t limit,
                           enum read_direction direction,
                           struct event_page **out, struct err *err)
{
    if (--saboteur.reads_until == 0)
        refused(saboteur.neighbour, "spin", "{}", ERR_SCRIPT_TIMEOUT);
    return saboteur.real->read_stream(store, type, id, from_version, limit,
                                      direction, out, err);
}

/* Two ids share a slot when their hashes agree in the last four bits. */
static struct at neighbour_of(struct at at)
{
    uint64_t hash = str_hash(id_of(at, &at.rig->arena));
    struct at other = at;

    for (int i = 0;; i++) {
        other.name = arena_printf(&at.rig->arena, "neighbour-%d", i);
        if (str_hash(id_of(other, &at.rig->arena)) % 16 == hash % 16)
            return other;
    }
}

static void
a_world_that_breaks_during_a_fold_costs_only_time(void **state UNUSED)
{
    struct rig *rig = rig_new(scripts);
    struct at c = counter(rig, "c");

    for (int i = 0; i < 3; i++)
        run(c, "add_many", "{\"count\":1000}");
    saboteur.real = rig->store->ops;
    saboteur.ops = *rig->store->ops;
    saboteur.ops.read_stream = read_and_break;
    saboteur.neighbour = on_engine(neighbour_of(c), 1);
    rig->store->ops = &saboteur.ops;
    for (int read = 1; read <= 4; read++) {
        saboteur.reads_until = read;
        assert_state_at(on_engine(c, 1), 2500, "{\"n\":2500}");
        saboteur.reads_until = read;
        assert_state(on_engine(c, 1), "{\"n\":3000}");
    }
    rig->store->ops = saboteur.real;
    assert_int_equal(run(on_engine(c, 1), "add", "{}").version, 3001);
    rig_free(rig);
}

static void an_event_that_cannot_be_applied_names_its_place(void **state UNUSED)
{
    struct rig *rig = rig_new(scripts);
    struct at trap = counter(rig, "trap");
    struct at odd = counter(rig, "odd");
    struct err err;

    run(trap, "add", "{}");
    append_raw(trap, "Trap", STR("{}"));
    err = refused(trap, "reset", "{}", ERR_SCRIPT_TIMEOUT);
    assert_non_null(strstr(err.text, "version 2"));

    run(odd, "add", "{}");
    append_raw(odd, "Unknown", STR("{}")); /* C-AG-06 */
    err = refused(odd, "reset", "{}", ERR_SCRIPT);
    assert_non_null(strstr(err.text, "version 2"));
    assert_state_at(odd, 1, "{\"n\":1}");

    run(counter(rig, "fine"), "add", "{}");
    assert_state(counter(rig, "fine"), "{\"n\":1}");
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_order_of_the_contract_is_created_and_shipped),
        cmocka_unit_test(what_was_emitted_before_a_refusal_leaves_nothing),
        cmocka_unit_test(what_does_not_exist_is_named),
        cmocka_unit_test(a_command_that_emits_nothing_tells_version_and_state),
        cmocka_unit_test(states_of_the_past_are_folded_and_not_kept),
        cmocka_unit_test(a_stream_of_five_thousand_events_is_folded),
        cmocka_unit_test(a_stream_of_large_events_is_folded_whole),
        cmocka_unit_test(a_version_that_is_given_must_be_the_streams),
        cmocka_unit_test(a_version_that_is_given_is_compared_with_the_log),
        cmocka_unit_test(a_conflict_with_another_engine_is_tried_again),
        cmocka_unit_test(a_refusal_from_a_stale_state_is_not_believed),
        cmocka_unit_test(an_acceptance_from_a_stale_state_is_not_stored),
        cmocka_unit_test(nothing_to_do_is_told_of_the_state_as_it_is),
        cmocka_unit_test(commands_on_one_aggregate_queue_up),
        cmocka_unit_test(two_engines_never_pass_a_limit_together),
        cmocka_unit_test(what_fell_out_of_the_cache_is_folded_again),
        cmocka_unit_test(
            a_command_that_runs_for_ever_is_stopped_and_harms_no_other),
        cmocka_unit_test(the_aggregate_itself_goes_on_after_its_world_broke),
        cmocka_unit_test(a_world_that_breaks_during_a_fold_costs_only_time),
        cmocka_unit_test(an_event_that_cannot_be_applied_names_its_place),
    };

    log_setup(LOG_CRITICAL, LOG_FORMAT_TEXT, 2);
    return RUN_ON_BOTH_STORES("aggregate", tests);
}
