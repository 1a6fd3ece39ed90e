#include "core/aggregate_slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* Claims and the cache; worlds are in test_aggregate.c. */

struct rig {
    struct script_set *scripts;
    struct aggregate_slot slot;
};

static void rig_init(struct rig *rig)
{
    *rig = (struct rig){
        .scripts = script_set_load(&(struct script_set_options){
            .aggregates = "no/such/folder",
            .projections = "nor/this",
            .memory_bytes = 16u << 20,
        }),
    };
    slot_init(&rig->slot, rig->scripts);
}

static void rig_done(struct rig *rig)
{
    slot_done(&rig->slot);
    script_set_unref(rig->scripts);
}

/* Every claim here is for one at a time. */
static struct aggregate_entry *claim(struct rig *rig, size_t script,
                                     struct str id, struct turn *turn)
{
    struct aggregate_entry *entry;

    *turn = (struct turn){.closes = true};
    entry = slot_claim(&rig->slot, script, id, turn);
    assert_non_null(entry);
    return entry;
}

static void release(struct rig *rig, struct aggregate_entry *entry,
                    struct turn *turn)
{
    slot_finish(&rig->slot, turn);
    slot_release(&rig->slot, entry);
}

static void touch(struct rig *rig, size_t script, struct str id)
{
    struct turn turn;

    release(rig, claim(rig, script, id, &turn), &turn);
}

static void claim_and_release(struct rig *rig, size_t number)
{
    char id[32];
    size_t len = (size_t)snprintf(id, sizeof(id), "other-%zu", number);

    touch(rig, 0, str_n(id, len));
}

static bool is_cached(const struct rig *rig, size_t script, struct str id)
{
    list_each (&rig->slot.entries, item) {
        const struct aggregate_entry *entry =
            LIST_ITEM(item, struct aggregate_entry, link);

        if (entry->script == script && str_eq(entry->id, id))
            return true;
    }
    return false;
}

static void an_entry_is_found_again_by_script_and_id(void **state UNUSED)
{
    struct rig rig;
    struct aggregate_entry *first, *other;

    struct turn turns[2];

    rig_init(&rig);
    first = claim(&rig, 0, STR("a"), &turns[0]);
    other = claim(&rig, 1, STR("a"), &turns[1]);
    assert_ptr_not_equal(first, other);
    release(&rig, first, &turns[0]);
    release(&rig, other, &turns[1]);
    assert_ptr_equal(claim(&rig, 0, STR("a"), &turns[0]), first);
    release(&rig, first, &turns[0]);
    rig_done(&rig);
}

static void the_least_recently_used_make_room(void **state UNUSED)
{
    struct rig rig;
    struct aggregate_entry *hot;
    struct turn turn;

    rig_init(&rig);
    rig.slot.cache = 64;
    touch(&rig, 0, STR("rare"));
    hot = claim(&rig, 0, STR("hot"), &turn);
    hot->folded.version = 7; /* what is cached of it */
    release(&rig, hot, &turn);
    for (size_t i = 0; i < 200; i++) {
        claim_and_release(&rig, i);
        touch(&rig, 0, STR("hot"));
        assert_true(rig.slot.entry_count <= 64);
    }
    hot = claim(&rig, 0, STR("hot"), &turn);
    assert_int_equal(hot->folded.version, 7);
    release(&rig, hot, &turn);
    assert_false(is_cached(&rig, 0, STR("rare")));
    rig_done(&rig);
}

static void what_is_claimed_stays_however_full_it_gets(void **state UNUSED)
{
    struct rig rig;
    struct aggregate_entry *claimed[2];
    struct turn turns[2];

    rig_init(&rig);
    rig.slot.cache = 64;
    claimed[0] = claim(&rig, 0, STR("one"), &turns[0]);
    claimed[1] = claim(&rig, 0, STR("two"), &turns[1]);
    for (size_t i = 0; i < 200; i++)
        claim_and_release(&rig, i);
    assert_true(is_cached(&rig, 0, STR("one")));
    assert_true(is_cached(&rig, 0, STR("two")));
    release(&rig, claimed[1], &turns[1]);
    release(&rig, claimed[0], &turns[0]);
    rig_done(&rig);
}

/* ---- turns ---- */

#define CALLERS 8
#define TURNS   500

struct caller {
    struct rig *rig;
    int *inside; /* not atomic: the claim guards it */
    int *turns;
    int met; /* others inside */
};

static void take_turns(void *arg)
{
    struct caller *caller = arg;

    for (int i = 0; i < TURNS; i++) {
        struct turn turn;
        struct aggregate_entry *entry =
            claim(caller->rig, 0, STR("shared"), &turn);

        caller->met += *caller->inside;
        *caller->inside = 1;
        ++*caller->turns;
        *caller->inside = 0;
        release(caller->rig, entry, &turn);
    }
}

static void one_at_a_time_holds_a_claim(void **state UNUSED)
{
    struct rig rig;
    struct caller callers[CALLERS];
    struct thread *threads[CALLERS];
    int inside = 0, turns = 0;
    struct err err;

    rig_init(&rig);
    for (size_t i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){&rig, &inside, &turns, 0};
        threads[i] = thread_start("caller", take_turns, &callers[i], &err);
        assert_non_null(threads[i]);
    }
    for (size_t i = 0; i < CALLERS; i++) {
        thread_join(threads[i]);
        assert_int_equal(callers[i].met, 0);
    }
    assert_int_equal(turns, CALLERS * TURNS);
    rig_done(&rig);
}

struct queuer {
    struct rig *rig;
    size_t *served; /* guarded by the claim */
    size_t turn;
};

static void queue_up(void *arg)
{
    struct queuer *queuer = arg;
    struct turn turn;
    struct aggregate_entry *entry = claim(queuer->rig, 0, STR("shared"), &turn);

    queuer->turn = (*queuer->served)++;
    release(queuer->rig, entry, &turn);
}

static void await_queue(struct rig *rig, const struct aggregate_entry *entry,
                        size_t length)
{
    size_t found;

    do {
        lock_take(&rig->slot.lock);
        found = 0;
        list_each (&entry->waiting, item)
            found++;
        lock_give(&rig->slot.lock);
    } while (found < length);
}

/* One that another leader takes along. */
struct follower {
    struct rig *rig;
    struct turn turn;
    bool led;
};

static void follow(void *arg)
{
    struct follower *follower = arg;
    struct aggregate_entry *entry =
        slot_claim(&follower->rig->slot, 0, STR("shared"), &follower->turn);

    follower->led = entry != NULL;
    if (entry != NULL)
        release(follower->rig, entry, &follower->turn);
}

/* In the queue: leader, joins, joins and closes, joins, not. */
static void a_leader_takes_along_who_joins(void **state UNUSED)
{
    static const struct turn kinds[] = {{.joins = true},
                                        {.joins = true, .closes = true},
                                        {.joins = true},
                                        {.joins = false}};
    struct rig rig;
    struct follower followers[COUNT(kinds)];
    struct thread *threads[COUNT(kinds)];
    struct turn *turns[SLOT_MAX_TOGETHER];
    struct turn own = {.joins = true};
    struct aggregate_entry *entry;
    struct err err;

    rig_init(&rig);
    entry = slot_claim(&rig.slot, 0, STR("shared"), &own);
    for (size_t i = 0; i < COUNT(kinds); i++) {
        followers[i] = (struct follower){.rig = &rig, .turn = kinds[i]};
        threads[i] = thread_start("follower", follow, &followers[i], &err);
        assert_non_null(threads[i]);
        await_queue(&rig, entry, i + 2);
    }
    assert_int_equal(slot_gather(&rig.slot, entry, turns), 3);
    assert_ptr_equal(turns[0], &own);
    assert_ptr_equal(turns[1], &followers[0].turn);
    assert_ptr_equal(turns[2], &followers[1].turn);
    slot_finish(&rig.slot, turns[1]);
    slot_finish(&rig.slot, turns[2]);
    slot_finish(&rig.slot, turns[0]);
    slot_release(&rig.slot, entry);
    for (size_t i = 0; i < COUNT(kinds); i++) {
        thread_join(threads[i]);
        assert_int_equal(followers[i].led, i >= 2);
    }
    rig_done(&rig);
}

static void claims_are_served_in_order_of_arrival(void **state UNUSED)
{
    struct rig rig;
    struct aggregate_entry *entry;
    struct turn own;
    struct queuer queuers[CALLERS];
    struct thread *threads[CALLERS];
    size_t served = 0;
    struct err err;

    rig_init(&rig);
    entry = claim(&rig, 0, STR("shared"), &own);
    for (size_t i = 0; i < CALLERS; i++) {
        queuers[i] = (struct queuer){&rig, &served, 0};
        threads[i] = thread_start("queuer", queue_up, &queuers[i], &err);
        assert_non_null(threads[i]);
        await_queue(&rig, entry, i + 2);
    }
    release(&rig, entry, &own);
    for (size_t i = 0; i < CALLERS; i++) {
        thread_join(threads[i]);
        assert_int_equal(queuers[i].turn, i);
    }
    rig_done(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_is_found_again_by_script_and_id),
        cmocka_unit_test(the_least_recently_used_make_room),
        cmocka_unit_test(what_is_claimed_stays_however_full_it_gets),
        cmocka_unit_test(one_at_a_time_holds_a_claim),
        cmocka_unit_test(claims_are_served_in_order_of_arrival),
        cmocka_unit_test(a_leader_takes_along_who_joins),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
