/*
 * The keeper over a store that is a few variables: it answers beats with a
 * head, or not at all, and gives a notice when told to.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/keeper.h"
#include "store/store_ops.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

struct fake {
    struct store store;
    struct store_keeper keeper;
    /* --- atomic --- */
    uint64_t head;
    uint64_t notice; /* head of a notice that waits to be heard */
    int away;
    int refuses_to_open;
    int beats;
    int opened;
    int closed;
    int other_log; /* another log has taken the place of the first */
};

#define GET(x)    __atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define SET(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELEASE)
#define MORE(x)   __atomic_add_fetch(&(x), 1, __ATOMIC_ACQ_REL)

static struct fake *fake_of(struct store_keeper *keeper)
{
    return CONTAINER_OF(keeper, struct fake, keeper);
}

static struct store_keeper *fake_open(struct store *store, struct err *err)
{
    struct fake *fake = CONTAINER_OF(store, struct fake, store);

    if (GET(fake->refuses_to_open)) {
        err_set(err, ERR_STORE, "nobody is there");
        return NULL;
    }
    MORE(fake->opened);
    return &fake->keeper;
}

static void fake_close(struct store_keeper *keeper)
{
    MORE(fake_of(keeper)->closed);
}

static bool fake_beat(struct store_keeper *keeper, struct uuid owner UNUSED,
                      uint32_t ttl_ms, struct arena *arena UNUSED,
                      struct beat *out, struct err *err)
{
    struct fake *fake = fake_of(keeper);

    assert_int_equal(ttl_ms, 60);
    MORE(fake->beats);
    if (GET(fake->away))
        return err_set(err, ERR_STORE, "gone for a walk");
    *out = (struct beat){.head = GET(fake->head)};
    out->log_id.bytes[0] = GET(fake->other_log) ? 2 : 1;
    return true;
}

static bool fake_wait(struct store_keeper *keeper, int wake_fd,
                      uint32_t timeout_ms, uint64_t *head_out)
{
    struct fake *fake = fake_of(keeper);
    struct pollfd wake = {.fd = wake_fd, .events = POLLIN};
    uint64_t until_us = clock_us() + (uint64_t)timeout_ms * 1000;

    while (clock_us() < until_us) {
        *head_out = __atomic_exchange_n(&fake->notice, 0, __ATOMIC_ACQ_REL);
        if (*head_out != 0)
            return true;
        if (poll(&wake, 1, 1) > 0)
            return false;
    }
    return false;
}

static const struct store_ops fake_ops = {
    .keeper_open = fake_open,
    .keeper_close = fake_close,
    .keeper_beat = fake_beat,
    .keeper_wait = fake_wait,
};

struct setting {
    struct fake fake;
    struct head *head;
    struct keeper *keeper;
};

static struct setting *set_up(uint32_t beat_ms, bool reachable)
{
    struct setting *s = NEW(struct setting);
    struct err err;

    s->fake.store.ops = &fake_ops;
    s->fake.keeper.store = &s->fake.store;
    s->fake.head = 5;
    s->fake.refuses_to_open = !reachable;
    s->head = head_new();
    s->keeper = keeper_start(&(struct keeper_options){.store = &s->fake.store,
                                                      .head = s->head,
                                                      .owner = uuid_new(),
                                                      .lease_ms = 60,
                                                      .beat_ms = beat_ms},
                             &err);
    assert_non_null(s->keeper);
    return s;
}

static void tear_down(struct setting *s)
{
    uint64_t began_ms = clock_ms();

    keeper_stop(s->keeper);
    assert_true(clock_ms() - began_ms < 1000);
    assert_int_equal(s->fake.opened, s->fake.closed);
    head_free(s->head);
    mem_free(s);
}

/* Until the store did, or did not, answer a beat. */
static bool await_text(struct setting *s, bool some, char *text, size_t size)
{
    for (int i = 0; i < 2000; i++) {
        keeper_silence_ms(s->keeper, text, size);
        if ((text[0] != '\0') == some)
            return true;
        usleep(1000);
    }
    return false;
}

static void the_first_beat_brings_the_head(void **state UNUSED)
{
    struct setting *s = set_up(60000, true);

    assert_int_equal(head_wait(s->head, 4, 5000), 5);
    tear_down(s);
}

static void beats_and_notices_move_the_head(void **state UNUSED)
{
    struct setting *s = set_up(20, true);

    assert_int_equal(head_wait(s->head, 4, 5000), 5);
    SET(s->fake.head, 8);
    assert_int_equal(head_wait(s->head, 7, 5000), 8);
    tear_down(s);

    s = set_up(60000, true);
    assert_int_equal(head_wait(s->head, 4, 5000), 5);
    SET(s->fake.notice, 9);
    assert_int_equal(head_wait(s->head, 8, 5000), 9);
    assert_int_equal(s->fake.beats, 1);
    tear_down(s);
}

static void a_store_that_is_away_shows_and_is_tried_on(void **state UNUSED)
{
    struct setting *s = set_up(5, true);
    char text[100];

    assert_int_equal(head_wait(s->head, 4, 5000), 5);
    SET(s->fake.away, 1);
    assert_true(await_text(s, true, text, sizeof(text)));
    assert_string_equal(text, "gone for a walk");
    while (keeper_silence_ms(s->keeper, NULL, 0) < 80)
        usleep(1000);
    SET(s->fake.away, 0);
    assert_true(await_text(s, false, text, sizeof(text)));
    assert_true(keeper_silence_ms(s->keeper, NULL, 0) < 60);
    tear_down(s);
}

static void it_waits_for_a_store_that_cannot_be_opened(void **state UNUSED)
{
    struct setting *s = set_up(5, false);
    char text[100];

    assert_true(await_text(s, true, text, sizeof(text)));
    assert_string_equal(text, "nobody is there");
    SET(s->fake.refuses_to_open, 0);
    assert_int_equal(head_wait(s->head, 4, 5000), 5);
    tear_down(s);
}

static void another_log_is_no_answer(void **state UNUSED)
{
    struct setting *s = set_up(200, true);
    char text[100];

    assert_int_equal(head_wait(s->head, 4, 5000), 5);
    SET(s->fake.other_log, 1);
    SET(s->fake.head, 99);
    assert_true(await_text(s, true, text, sizeof(text)));
    assert_non_null(strstr(text, "another log"));
    assert_int_equal(head_position(s->head), 5);
    tear_down(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_beat_brings_the_head),
        cmocka_unit_test(beats_and_notices_move_the_head),
        cmocka_unit_test(a_store_that_is_away_shows_and_is_tried_on),
        cmocka_unit_test(it_waits_for_a_store_that_cannot_be_opened),
        cmocka_unit_test(another_log_is_no_answer),
    };

    log_setup(LOG_CRITICAL, LOG_FORMAT_TEXT, STDOUT_FILENO);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
