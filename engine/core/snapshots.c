#include "core/snapshots.h"

/*
 * Life of the data.  An offer is copied into an item, which replaces an older
 * one of its stream; the thread takes the whole list at once, saves it without
 * the lock, and frees it, whatever became of it.
 */

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "run/thread.h"

#define PAUSE_US       100000
#define TROUBLE_LOG_MS 10000

struct item {
    struct list link;
    struct snapshot snapshot; /* its texts are in `arena` */
    struct arena arena;
};

struct snapshots {
    /* --- set before start, then read only --- */
    struct store *store; /* borrowed */
    struct thread *thread;
    /* --- writer of snapshots --- */
    struct log_throttle trouble;
    /* --- any thread, under lock --- */
    struct lock lock;
    struct signal changed;
    struct list waiting;
    size_t count;
    size_t bytes;
    bool stopping;
    uint64_t stop_us;
};

/* ---- items ---- */

static struct item *item_new(const struct snapshot *from)
{
    struct item *item = NEW(struct item);
    struct arena *arena = &item->arena;

    item->snapshot = (struct snapshot){
        .aggregate_type = arena_str(arena, from->aggregate_type),
        .aggregate_id = arena_str(arena, from->aggregate_id),
        .version = from->version,
        .last_id = from->last_id,
        .shape = arena_str(arena, from->shape),
        .script_hash = arena_str(arena, from->script_hash),
        .state = arena_str(arena, from->state),
    };
    return item;
}

static void item_free(struct item *item)
{
    arena_done(&item->arena);
    mem_free(item);
}

static void free_all(struct list *items)
{
    while (!list_is_empty(items)) {
        struct item *item = LIST_ITEM(items->next, struct item, link);

        list_remove(&item->link);
        item_free(item);
    }
}

/* ---- the mailbox ---- */

static struct item *find_stream(const struct snapshots *snapshots,
                                const struct snapshot *of)
{
    list_each (&snapshots->waiting, link) {
        struct item *item = LIST_ITEM(link, struct item, link);

        if (str_eq(item->snapshot.aggregate_id, of->aggregate_id) &&
            str_eq(item->snapshot.aggregate_type, of->aggregate_type))
            return item;
    }
    return NULL;
}

static void take_out(struct snapshots *snapshots, struct item *item)
{
    list_remove(&item->link);
    snapshots->count--;
    snapshots->bytes -= item->snapshot.state.len;
}

/* Gives back what is not kept: the new one, the one it replaces, or nothing. */
static struct item *put_in(struct snapshots *snapshots, struct item *item)
{
    struct item *older = find_stream(snapshots, &item->snapshot);

    if (older != NULL && older->snapshot.version >= item->snapshot.version)
        return item;
    if (older != NULL)
        take_out(snapshots, older);
    if (snapshots->stopping || snapshots->count >= SNAPSHOTS_MAX_WAITING ||
        snapshots->bytes + item->snapshot.state.len > SNAPSHOTS_MAX_BYTES) {
        if (older != NULL)
            item_free(older);
        return item;
    }
    list_append(&snapshots->waiting, &item->link);
    snapshots->count++;
    snapshots->bytes += item->snapshot.state.len;
    return older;
}

void snapshots_offer(struct snapshots *snapshots,
                     const struct snapshot *snapshot)
{
    struct item *unwanted;
    struct item *item = item_new(snapshot);

    lock_take(&snapshots->lock);
    unwanted = put_in(snapshots, item);
    signal_all(&snapshots->changed);
    lock_give(&snapshots->lock);
    if (unwanted != NULL)
        item_free(unwanted);
}

/* ---- the thread ---- */

/* Moves all that waits into `items`; false at the end. */
static bool await_items(struct snapshots *snapshots, struct list *items,
                        size_t *count_out)
{
    bool more;

    lock_take(&snapshots->lock);
    while (snapshots->count == 0 && !snapshots->stopping)
        signal_wait(&snapshots->changed, &snapshots->lock);
    *count_out = snapshots->count;
    more = *count_out > 0 &&
           !(snapshots->stopping && clock_us() >= snapshots->stop_us);
    while (more && !list_is_empty(&snapshots->waiting)) {
        struct item *item =
            LIST_ITEM(snapshots->waiting.next, struct item, link);

        take_out(snapshots, item);
        list_append(items, &item->link);
    }
    lock_give(&snapshots->lock);
    return more;
}

static void save(struct snapshots *snapshots, const struct list *items,
                 size_t count)
{
    struct snapshot *all = NEW_ARRAY(struct snapshot, count);
    struct err err = {0};
    uint64_t held;
    size_t place = 0;

    list_each (items, link)
        all[place++] = LIST_ITEM(link, struct item, link)->snapshot;
    if (!store_snapshot_save(snapshots->store, all, count, &err) &&
        log_may(&snapshots->trouble, TROUBLE_LOG_MS, &held))
        log_warning("snapshots", "not saved: dropped, later ones will be",
                    LOG_U64("snapshots", count), LOG_U64("held_back", held),
                    LOG_ERR(&err));
    mem_free(all);
}

static void pause_unless_stopping(struct snapshots *snapshots)
{
    uint64_t until_us = clock_us() + PAUSE_US;

    lock_take(&snapshots->lock);
    while (!snapshots->stopping &&
           signal_wait_until(&snapshots->changed, &snapshots->lock, until_us))
        ;
    lock_give(&snapshots->lock);
}

static void run(void *arg)
{
    struct snapshots *snapshots = arg;
    struct list items;
    size_t count;

    list_init(&items);
    while (await_items(snapshots, &items, &count)) {
        save(snapshots, &items, count);
        free_all(&items);
        pause_unless_stopping(snapshots);
    }
}

/* ---- life ---- */

static void snapshots_free(struct snapshots *snapshots)
{
    free_all(&snapshots->waiting);
    signal_done(&snapshots->changed);
    lock_done(&snapshots->lock);
    mem_free(snapshots);
}

struct snapshots *snapshots_start(struct store *store, struct err *err)
{
    struct snapshots *snapshots = NEW(struct snapshots);

    snapshots->store = store;
    lock_init(&snapshots->lock);
    signal_init(&snapshots->changed);
    list_init(&snapshots->waiting);
    snapshots->thread = thread_start("snapshots", run, snapshots, err);
    if (snapshots->thread != NULL)
        return snapshots;
    snapshots_free(snapshots);
    return NULL;
}

void snapshots_stop(struct snapshots *snapshots, uint64_t deadline_us)
{
    if (snapshots == NULL)
        return;
    lock_take(&snapshots->lock);
    snapshots->stopping = true;
    snapshots->stop_us = deadline_us;
    signal_all(&snapshots->changed);
    lock_give(&snapshots->lock);
    thread_join(snapshots->thread);
    snapshots_free(snapshots);
}
