/*
 * The janitor over a store that counts how often it is asked.
 */
#include "base/log.h"
#include "base/mem.h"
#include "core/janitor.h"
#include "run/thread.h"
#include "store/store_ops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

struct fake {
    struct store store;
    /* --- under lock --- */
    struct lock lock;
    struct signal changed;
    size_t rounds;
    bool fails;
};

static bool fake_forget(struct store *store, struct err *err)
{
    struct fake *fake = CONTAINER_OF(store, struct fake, store);
    bool fails;

    lock_take(&fake->lock);
    fake->rounds++;
    fails = fake->fails;
    signal_all(&fake->changed);
    lock_give(&fake->lock);
    return !fails || err_set(err, ERR_POOL_TIMEOUT, "not now");
}

static const struct store_ops fake_ops = {.request_forget = fake_forget};

static struct fake *fake_new(bool fails)
{
    struct fake *fake = NEW(struct fake);

    fake->store.ops = &fake_ops;
    fake->fails = fails;
    lock_init(&fake->lock);
    signal_init(&fake->changed);
    return fake;
}

static void fake_free(struct fake *fake)
{
    signal_done(&fake->changed);
    lock_done(&fake->lock);
    mem_free(fake);
}

static void await_rounds(struct fake *fake, size_t rounds)
{
    lock_take(&fake->lock);
    while (fake->rounds < rounds)
        signal_wait(&fake->changed, &fake->lock);
    lock_give(&fake->lock);
}

static struct janitor *start(struct fake *fake, uint32_t every_ms)
{
    struct err err;
    struct janitor *janitor = janitor_start(&fake->store, every_ms, &err);

    assert_non_null(janitor);
    return janitor;
}

static void the_first_round_is_at_once_and_the_next_much_later(void **s UNUSED)
{
    struct fake *fake = fake_new(false);
    struct janitor *janitor = start(fake, JANITOR_EVERY_MS);

    await_rounds(fake, 1);
    janitor_stop(janitor); /* does not wait for the next */
    assert_int_equal(fake->rounds, 1);
    fake_free(fake);
}

static void rounds_go_on_although_they_fail(void **s UNUSED)
{
    struct fake *fake = fake_new(true);
    struct janitor *janitor = start(fake, 1);

    await_rounds(fake, 5);
    janitor_stop(janitor);
    fake_free(fake);
}

static void one_that_never_was_may_be_stopped(void **s UNUSED)
{
    janitor_stop(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_round_is_at_once_and_the_next_much_later),
        cmocka_unit_test(rounds_go_on_although_they_fail),
        cmocka_unit_test(one_that_never_was_may_be_stopped),
    };

    log_setup(LOG_CRITICAL, LOG_FORMAT_TEXT, STDOUT_FILENO);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
