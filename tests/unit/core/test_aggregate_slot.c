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

static void claim_and_release(struct rig *rig, size_t number)
{
    char id[32];
    size_t len = (size_t)snprintf(id, sizeof(id), "other-%zu", number);

    slot_release(&rig->slot, slot_claim(&rig->slot, 0, str_n(id, len)));
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

    rig_init(&rig);
    first = slot_claim(&rig.slot, 0, STR("a"));
    other = slot_claim(&rig.slot, 1, STR("a"));
    assert_ptr_not_equal(first, other);
    slot_release(&rig.slot, first);
    slot_release(&rig.slot, other);
    assert_ptr_equal(slot_claim(&rig.slot, 0, STR("a")), first);
    slot_release(&rig.slot, first);
    rig_done(&rig);
}

static void the_least_recently_used_make_room(void **state UNUSED)
{
    struct rig rig;
    struct aggregate_entry *hot;

    rig_init(&rig);
    slot_release(&rig.slot, slot_claim(&rig.slot, 0, STR("rare")));
    hot = slot_claim(&rig.slot, 0, STR("hot"));
    hot->folded.version = 7; /* what is cached of it */
    slot_release(&rig.slot, hot);
    for (size_t i = 0; i < 200; i++) {
        claim_and_release(&rig, i);
        slot_release(&rig.slot, slot_claim(&rig.slot, 0, STR("hot")));
        assert_true(rig.slot.entry_count <= SLOT_CACHE);
    }
    hot = slot_claim(&rig.slot, 0, STR("hot"));
    assert_int_equal(hot->folded.version, 7);
    slot_release(&rig.slot, hot);
    assert_false(is_cached(&rig, 0, STR("rare")));
    rig_done(&rig);
}

static void what_is_claimed_stays_however_full_it_gets(void **state UNUSED)
{
    struct rig rig;
    struct aggregate_entry *claimed[2];

    rig_init(&rig);
    claimed[0] = slot_claim(&rig.slot, 0, STR("one"));
    claimed[1] = slot_claim(&rig.slot, 0, STR("two"));
    for (size_t i = 0; i < 200; i++)
        claim_and_release(&rig, i);
    assert_true(is_cached(&rig, 0, STR("one")));
    assert_true(is_cached(&rig, 0, STR("two")));
    slot_release(&rig.slot, claimed[1]);
    slot_release(&rig.slot, claimed[0]);
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
        struct aggregate_entry *entry =
            slot_claim(&caller->rig->slot, 0, STR("shared"));

        caller->met += *caller->inside;
        *caller->inside = 1;
        ++*caller->turns;
        *caller->inside = 0;
        slot_release(&caller->rig->slot, entry);
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
    struct aggregate_entry *entry =
        slot_claim(&queuer->rig->slot, 0, STR("shared"));

    queuer->turn = (*queuer->served)++;
    slot_release(&queuer->rig->slot, entry);
}

static void await_tickets(struct rig *rig, const struct aggregate_entry *entry,
                          uint64_t tickets)
{
    uint64_t taken;

    do {
        lock_take(&rig->slot.lock);
        taken = entry->next_ticket;
        lock_give(&rig->slot.lock);
    } while (taken < tickets);
}

static void claims_are_served_in_order_of_arrival(void **state UNUSED)
{
    struct rig rig;
    struct aggregate_entry *entry;
    struct queuer queuers[CALLERS];
    struct thread *threads[CALLERS];
    size_t served = 0;
    struct err err;

    rig_init(&rig);
    entry = slot_claim(&rig.slot, 0, STR("shared"));
    for (size_t i = 0; i < CALLERS; i++) {
        queuers[i] = (struct queuer){&rig, &served, 0};
        threads[i] = thread_start("queuer", queue_up, &queuers[i], &err);
        assert_non_null(threads[i]);
        await_tickets(&rig, entry, i + 2);
    }
    slot_release(&rig.slot, entry);
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
