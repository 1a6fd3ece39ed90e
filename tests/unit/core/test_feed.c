/*
 * The feed over a store that is a number: the log has the events 1 to `head`,
 * made up at each read, and says how often it was asked.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "core/feed.h"
#include "run/thread.h"
#include "store/store_ops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct fake {
    struct store store;
    uint64_t head;   /* atomic */
    int reads;       /* atomic */
    int fail_next;   /* atomic */
    int incarnation; /* which log: in the ids of its events */
    uint32_t page_max;
    /* --- a read waits here while the gate is shut --- */
    struct lock lock;
    struct signal opened;
    bool shut;
    int waiting;
};

static void pass_gate(struct fake *fake)
{
    lock_take(&fake->lock);
    fake->waiting++;
    signal_all(&fake->opened);
    while (fake->shut)
        signal_wait(&fake->opened, &fake->lock);
    fake->waiting--;
    lock_give(&fake->lock);
}

static void set_gate(struct fake *fake, bool shut)
{
    lock_take(&fake->lock);
    fake->shut = shut;
    signal_all(&fake->opened);
    lock_give(&fake->lock);
}

static void await_reader_at_gate(struct fake *fake)
{
    lock_take(&fake->lock);
    while (fake->waiting == 0)
        signal_wait(&fake->opened, &fake->lock);
    lock_give(&fake->lock);
}

static struct event event_at(const struct fake *fake, uint64_t position)
{
    struct event event = {
        .position = position,
        .event_type = STR("Happened"),
        .aggregate_type = STR("Thing"),
        .aggregate_id = STR("1"),
        .aggregate_version = position,
        .data = STR("{}"),
        .metadata = STR("{}"),
    };

    event.event_id.bytes[0] = (uint8_t)fake->incarnation;
    return event;
}

static bool fake_read_after(struct store *store, uint64_t after, uint32_t limit,
                            const struct event_filter *filter UNUSED,
                            struct event_page **out, struct err *err)
{
    struct fake *fake = CONTAINER_OF(store, struct fake, store);
    uint64_t head;

    __atomic_add_fetch(&fake->reads, 1, __ATOMIC_RELAXED);
    pass_gate(fake);
    if (__atomic_exchange_n(&fake->fail_next, 0, __ATOMIC_RELAXED) != 0)
        return err_set(err, ERR_STORE, "the store is away");
    head = __atomic_load_n(&fake->head, __ATOMIC_ACQUIRE);
    *out = event_page_new();
    for (uint64_t i = 1; i <= MIN(limit, fake->page_max) && after + i <= head;
         i++) {
        struct event event = event_at(fake, after + i);

        event_page_add(*out, &event);
    }
    return true;
}

static const struct store_ops fake_ops = {.read_after = fake_read_after};

static struct fake *fake_new(uint64_t head)
{
    struct fake *fake = NEW(struct fake);

    fake->store.ops = &fake_ops;
    fake->head = head;
    fake->page_max = UINT32_MAX;
    lock_init(&fake->lock);
    signal_init(&fake->opened);
    return fake;
}

static void fake_free(struct fake *fake)
{
    signal_done(&fake->opened);
    lock_done(&fake->lock);
    mem_free(fake);
}

/* Reads and checks the range; gives back how many events it has. */
static size_t read_some(struct feed *feed, uint64_t after, uint32_t limit)
{
    struct event_page *page;
    size_t first, count;
    struct err err;

    assert_true(feed_read(feed, after, limit, &page, &first, &count, &err));
    assert_true(count <= limit);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(page->events[first + i].position, after + 1 + i);
    event_page_unref(page);
    return count;
}

static void a_block_is_read_once_for_all_who_pass(void **state UNUSED)
{
    struct fake *fake = fake_new(5000);
    struct feed *feed = feed_new(&fake->store, 8);

    for (int reader = 0; reader < 10; reader++) {
        uint64_t after = 0;

        while (after < 5000)
            after += read_some(feed, after, 300);
        assert_int_equal(after, 5000);
    }
    assert_int_equal(fake->reads, 5);
    feed_free(feed);
    fake_free(fake);
}

static void a_range_ends_at_its_limit_and_at_its_block(void **state UNUSED)
{
    struct fake *fake = fake_new(2500);
    struct feed *feed = feed_new(&fake->store, 8);

    assert_int_equal(read_some(feed, 0, 10), 10);
    assert_int_equal(read_some(feed, 990, 100), 10);
    assert_int_equal(read_some(feed, 1000, 5000), 1000);
    assert_int_equal(read_some(feed, 2400, 5000), 100);
    assert_int_equal(read_some(feed, 2500, 10), 0);
    feed_free(feed);
    fake_free(fake);
}

static void the_tail_is_read_on_from_where_it_was(void **state UNUSED)
{
    struct fake *fake = fake_new(3);
    struct feed *feed = feed_new(&fake->store, 8);

    assert_int_equal(read_some(feed, 0, 100), 3);
    fake->head = 5;
    assert_int_equal(read_some(feed, 3, 100), 2);
    assert_int_equal(read_some(feed, 3, 100), 2); /* another follower */
    assert_int_equal(fake->reads, 2);
    assert_int_equal(read_some(feed, 1, 100), 4); /* from further behind */
    assert_int_equal(fake->reads, 3);
    assert_int_equal(read_some(feed, 4, 100), 1);
    assert_int_equal(fake->reads, 3);
    feed_free(feed);
    fake_free(fake);
}

static void a_page_that_was_cut_by_its_size_is_read_on(void **state UNUSED)
{
    struct fake *fake = fake_new(1000);
    struct feed *feed = feed_new(&fake->store, 8);
    uint64_t after = 0;

    fake->page_max = 70;
    while (after < 1000)
        after += read_some(feed, after, 1000);
    assert_int_equal(after, 1000);
    feed_free(feed);
    fake_free(fake);
}

static void the_least_recently_used_block_is_forgotten(void **state UNUSED)
{
    struct fake *fake = fake_new(10000);
    struct feed *feed = feed_new(&fake->store, 2);

    assert_int_equal(read_some(feed, 0, 1), 1);
    assert_int_equal(read_some(feed, 1000, 1), 1);
    assert_int_equal(read_some(feed, 0, 1), 1); /* kept, and used again */
    assert_int_equal(fake->reads, 2);
    assert_int_equal(read_some(feed, 2000, 1), 1);
    assert_int_equal(read_some(feed, 0, 1), 1);
    assert_int_equal(fake->reads, 3);
    assert_int_equal(read_some(feed, 1000, 1), 1);
    assert_int_equal(fake->reads, 4);
    feed_free(feed);
    fake_free(fake);
}

static void a_page_outlives_its_block(void **state UNUSED)
{
    struct fake *fake = fake_new(2000);
    struct feed *feed = feed_new(&fake->store, 1);
    struct event_page *page;
    size_t first, count;
    struct err err;

    assert_true(feed_read(feed, 10, 5, &page, &first, &count, &err));
    assert_int_equal(read_some(feed, 1000, 5), 5);
    feed_free(feed);
    assert_int_equal(page->events[first].position, 11);
    assert_int_equal(count, 5);
    event_page_unref(page);
    fake_free(fake);
}

static void a_failed_read_is_told_and_tried_again(void **state UNUSED)
{
    struct fake *fake = fake_new(10);
    struct feed *feed = feed_new(&fake->store, 8);
    struct event_page *page;
    size_t first, count;
    struct err err;

    fake->fail_next = 1;
    assert_false(feed_read(feed, 0, 5, &page, &first, &count, &err));
    assert_int_equal(err.code, ERR_STORE);
    assert_int_equal(read_some(feed, 0, 5), 5);
    feed_free(feed);
    fake_free(fake);
}

/* ---- several threads ---- */

#define READERS 8

struct reader {
    struct feed *feed;
    const struct fake *fake;
    uint64_t until;
    uint64_t after;
    bool good;
    uint8_t incarnation_seen;
};

static void read_until(void *arg)
{
    struct reader *reader = arg;
    struct event_page *page;
    size_t first, count;
    struct err err;

    reader->good = true;
    while (reader->good && reader->after < reader->until) {
        reader->good = feed_read(reader->feed, reader->after, 77, &page, &first,
                                 &count, &err);
        if (!reader->good)
            break;
        for (size_t i = 0; i < count; i++)
            reader->good &= page->events[first + i].position == ++reader->after;
        if (count > 0)
            reader->incarnation_seen = page->events[first].event_id.bytes[0];
        event_page_unref(page);
    }
}

static void start_readers(struct thread **threads, struct reader *readers,
                          struct feed *feed, const struct fake *fake,
                          uint64_t until)
{
    struct err err;

    for (int i = 0; i < READERS; i++) {
        readers[i] =
            (struct reader){.feed = feed, .fake = fake, .until = until};
        threads[i] = thread_start("reader", read_until, &readers[i], &err);
        assert_non_null(threads[i]);
    }
}

static void join_readers(struct thread **threads, const struct reader *readers)
{
    for (int i = 0; i < READERS; i++) {
        thread_join(threads[i]);
        assert_true(readers[i].good);
        assert_int_equal(readers[i].after, readers[i].until);
    }
}

static void one_reads_while_the_others_wait(void **state UNUSED)
{
    struct fake *fake = fake_new(900);
    struct feed *feed = feed_new(&fake->store, 8);
    struct thread *threads[READERS];
    struct reader readers[READERS];

    fake->shut = true;
    start_readers(threads, readers, feed, fake, 900);
    await_reader_at_gate(fake);
    set_gate(fake, false);
    join_readers(threads, readers);
    assert_int_equal(fake->reads, 1);
    feed_free(feed);
    fake_free(fake);
}

static void
readers_of_a_growing_log_miss_and_double_nothing(void **state UNUSED)
{
    struct fake *fake = fake_new(0);
    struct feed *feed = feed_new(&fake->store, 3);
    struct thread *threads[READERS];
    struct reader readers[READERS];

    start_readers(threads, readers, feed, fake, 30000);
    for (uint64_t head = 0; head <= 30000; head += 150)
        __atomic_store_n(&fake->head, head, __ATOMIC_RELEASE);
    join_readers(threads, readers);
    feed_free(feed);
    fake_free(fake);
}

static void
a_read_begun_before_the_log_was_forgotten_is_not_kept(void **state UNUSED)
{
    struct fake *fake = fake_new(100);
    struct feed *feed = feed_new(&fake->store, 8);
    struct reader reader = {.feed = feed, .fake = fake, .until = 100};
    struct event_page *page;
    size_t first, count;
    struct thread *thread;
    struct err err;

    fake->incarnation = 1;
    fake->shut = true;
    thread = thread_start("reader", read_until, &reader, &err);
    await_reader_at_gate(fake);
    feed_forget(feed);
    set_gate(fake, false);
    thread_join(thread);

    fake->incarnation = 2;
    assert_true(feed_read(feed, 0, 1, &page, &first, &count, &err));
    assert_int_equal(page->events[first].event_id.bytes[0], 2);
    event_page_unref(page);
    feed_free(feed);
    fake_free(fake);
}

static void what_was_forgotten_is_read_again(void **state UNUSED)
{
    struct fake *fake = fake_new(2000);
    struct feed *feed = feed_new(&fake->store, 8);

    assert_int_equal(read_some(feed, 0, 1), 1);
    assert_int_equal(read_some(feed, 1000, 1), 1);
    feed_forget(feed);
    assert_int_equal(read_some(feed, 0, 1), 1);
    assert_int_equal(fake->reads, 3);
    feed_free(feed);
    fake_free(fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_is_read_once_for_all_who_pass),
        cmocka_unit_test(a_range_ends_at_its_limit_and_at_its_block),
        cmocka_unit_test(the_tail_is_read_on_from_where_it_was),
        cmocka_unit_test(a_page_that_was_cut_by_its_size_is_read_on),
        cmocka_unit_test(the_least_recently_used_block_is_forgotten),
        cmocka_unit_test(a_page_outlives_its_block),
        cmocka_unit_test(a_failed_read_is_told_and_tried_again),
        cmocka_unit_test(one_reads_while_the_others_wait),
        cmocka_unit_test(readers_of_a_growing_log_miss_and_double_nothing),
        cmocka_unit_test(a_read_begun_before_the_log_was_forgotten_is_not_kept),
        cmocka_unit_test(what_was_forgotten_is_read_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
