/*
 * Life of a block: somebody asks for the events behind a position, and the
 * block that the next position falls into is looked up.
 *
 *   covered    the kept page has the next event: a reference and a range
 *   missing    the asker becomes its reader: reads, without the lock, from
 *              where he stands to the end of the block, and keeps the page
 *   being read wait for that reader, then look again
 *
 * A block has one page: the last one read of it.  At the head that is the
 * piece that was new; whoever comes from further behind reads a longer one,
 * which replaces it.  A page that is long enough to be asked for by everybody
 * who catches up is the whole block, because they come from the block before.
 *
 * Blocks are forgotten from the least recently used on, when there are more
 * than were asked for or when their events take too much memory, and all at
 * once when the log turned out to be another one.  Pages that someone still
 * runs stay alive by their references.
 */
#include "core/feed.h"
#include "base/list.h"
#include "base/mem.h"
#include "run/thread.h"

/* Kept pages may take this much; one read is at most PAGE_MAX_BYTES. */
#define KEEP_BYTES ((size_t)16 << 20)

struct block {
    struct list in_use; /* in feed.blocks */
    uint64_t index;     /* of positions index * FEED_BLOCK + 1 and following */
    struct event_page *page; /* NULL before the first read ended */
    bool reading;
};

struct feed {
    /* --- set before use, then read only --- */
    struct store *store; /* borrowed: the engine closes it last */
    size_t keep_blocks;
    /* --- any thread, under lock --- */
    struct lock lock;
    struct signal read_ended;
    struct list blocks; /* most recently used first */
    size_t block_count;
    size_t bytes;       /* of the kept pages */
    uint64_t forgotten; /* how often; a read begun before is not kept */
};

/* ---- the index, under the lock ---- */

static void drop_block(struct feed *feed, struct block *block)
{
    if (block->page != NULL)
        feed->bytes -= block->page->bytes;
    event_page_unref(block->page);
    list_remove(&block->in_use);
    feed->block_count--;
    mem_free(block);
}

/* A block that is being read is its reader's. */
static struct block *oldest_idle(struct feed *feed)
{
    for (struct list *item = feed->blocks.prev; item != &feed->blocks;
         item = item->prev) {
        struct block *block = LIST_ITEM(item, struct block, in_use);

        if (!block->reading)
            return block;
    }
    return NULL;
}

static void make_room(struct feed *feed)
{
    while (feed->block_count > feed->keep_blocks || feed->bytes > KEEP_BYTES) {
        struct block *block = oldest_idle(feed);

        if (block == NULL)
            return;
        drop_block(feed, block);
    }
}

static struct block *add_block(struct feed *feed, uint64_t index)
{
    struct block *block = NEW(struct block);

    block->index = index;
    list_prepend(&feed->blocks, &block->in_use);
    feed->block_count++;
    return block;
}

static struct block *find_block(struct feed *feed, uint64_t index)
{
    list_each (&feed->blocks, item) {
        struct block *block = LIST_ITEM(item, struct block, in_use);

        if (block->index != index)
            continue;
        list_remove(item);
        list_prepend(&feed->blocks, item);
        return block;
    }
    return add_block(feed, index);
}

/* Positions are contiguous, so first and last tell all. */
static bool has_next(const struct event_page *page, uint64_t after)
{
    return page != NULL && page->count > 0 &&
           page->events[0].position <= after + 1 &&
           page->events[page->count - 1].position > after;
}

/* ---- reading, without the lock ---- */

static uint32_t events_to_end(uint64_t after)
{
    return (uint32_t)(FEED_BLOCK - after % FEED_BLOCK);
}

static bool read_page(struct feed *feed, uint64_t after, uint32_t limit,
                      struct event_page **out, struct err *err)
{
    static const struct event_filter everything = {STR_NONE, STR_NONE};

    return store_read_after(feed->store, after, limit, &everything, out, err);
}

static void keep_page(struct feed *feed, struct block *block,
                      struct event_page *page)
{
    if (page->count == 0)
        return;
    if (block->page != NULL)
        feed->bytes -= block->page->bytes;
    event_page_unref(block->page);
    block->page = event_page_ref(page);
    feed->bytes += page->bytes;
}

/* Reads with the lock given back; the block is this thread's meanwhile. */
static bool fill(struct feed *feed, struct block *block, uint64_t after,
                 struct event_page **out, struct err *err) REQUIRES(feed->lock)
{
    uint32_t limit = events_to_end(after);
    uint64_t forgotten = feed->forgotten;
    struct event_page *page = NULL;
    bool good;

    block->reading = true;
    lock_give(&feed->lock);
    good = read_page(feed, after, limit, &page, err);
    lock_take(&feed->lock);
    block->reading = false;
    signal_all(&feed->read_ended);

    if (good && forgotten == feed->forgotten)
        keep_page(feed, block, page);
    if (block->page == NULL)
        drop_block(feed, block);
    make_room(feed);
    *out = page;
    return good;
}

static bool find_page(struct feed *feed, uint64_t after,
                      struct event_page **out, struct err *err)
    REQUIRES(feed->lock)
{
    for (;;) {
        struct block *block = find_block(feed, after / FEED_BLOCK);

        if (has_next(block->page, after)) {
            *out = event_page_ref(block->page);
            return true;
        }
        if (!block->reading)
            return fill(feed, block, after, out, err);
        signal_wait(&feed->read_ended, &feed->lock);
    }
}

/* ---- */

struct feed *feed_new(struct store *store, size_t keep_blocks)
{
    struct feed *feed = NEW(struct feed);

    feed->store = store;
    feed->keep_blocks = MAX(keep_blocks, 1);
    lock_init(&feed->lock);
    signal_init(&feed->read_ended);
    list_init(&feed->blocks);
    return feed;
}

void feed_free(struct feed *feed)
{
    if (feed == NULL)
        return;
    feed_forget(feed);
    CHECK(feed->block_count == 0);
    signal_done(&feed->read_ended);
    lock_done(&feed->lock);
    mem_free(feed);
}

bool feed_read(struct feed *feed, uint64_t after, uint32_t limit,
               struct event_page **page_out, size_t *first_out,
               size_t *count_out, struct err *err)
{
    struct event_page *page = NULL;
    bool good;

    lock_take(&feed->lock);
    good = find_page(feed, after, &page, err);
    lock_give(&feed->lock);
    if (!good)
        return false;
    *page_out = page;
    *first_out = 0;
    *count_out = 0;
    if (page->count == 0)
        return true;
    CHECK(has_next(page, after));
    *first_out = (size_t)(after + 1 - page->events[0].position);
    *count_out = MIN(page->count - *first_out, limit);
    return true;
}

void feed_forget(struct feed *feed)
{
    lock_take(&feed->lock);
    feed->forgotten++;
    list_each_safe (&feed->blocks, item, after) {
        struct block *block = LIST_ITEM(item, struct block, in_use);

        if (!block->reading)
            drop_block(feed, block);
        else if (block->page != NULL) {
            feed->bytes -= block->page->bytes;
            event_page_unref(block->page);
            block->page = NULL;
        }
    }
    lock_give(&feed->lock);
}
