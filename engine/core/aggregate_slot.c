#include "core/aggregate_slot.h"

#include "base/mem.h"

void slot_init(struct aggregate_slot *slot, struct script_set *scripts)
{
    lock_init(&slot->lock);
    signal_init(&slot->released);
    list_init(&slot->entries);
    for (size_t i = 0; i < SLOT_BUCKETS; i++)
        list_init(&slot->buckets[i]);
    slot->cache = SLOT_CACHE;
    slot->scripts = scripts;
    slot->script_number = NEW_ARRAY(int, scripts->aggregate_count + 1);
}

static void entry_free(struct aggregate_slot *slot,
                       struct aggregate_entry *entry)
{
    list_remove(&entry->link);
    list_remove(&entry->bucket);
    slot->entry_count--;
    mem_free(entry);
}

void slot_done(struct aggregate_slot *slot)
{
    while (!list_is_empty(&slot->entries))
        entry_free(slot,
                   LIST_ITEM(slot->entries.next, struct aggregate_entry, link));
    vm_free(slot->vm);
    arena_done(&slot->arena);
    mem_free(slot->script_number);
    signal_done(&slot->released);
    lock_done(&slot->lock);
}

/* ---- the cache ---- */

/* The slot was chosen by the lowest bits of a hash of the id. */
static struct list *bucket_of(struct aggregate_slot *slot, struct str id)
{
    return &slot->buckets[(str_hash(id) >> 8) % SLOT_BUCKETS];
}

static struct aggregate_entry *find(struct aggregate_slot *slot, size_t script,
                                    struct str id)
{
    struct list *bucket = bucket_of(slot, id);

    list_each (bucket, item) {
        struct aggregate_entry *entry =
            LIST_ITEM(item, struct aggregate_entry, bucket);

        if (entry->script == script && str_eq(entry->id, id))
            return entry;
    }
    return NULL;
}

static bool is_claimed(const struct aggregate_entry *entry)
{
    return entry->led || !list_is_empty(&entry->waiting);
}

/* Makes room in the cache; claimed entries stay, so it may run over by as many
 * as there are requests. */
static void evict(struct aggregate_slot *slot)
{
    list_each_safe (&slot->entries, item, after) {
        struct aggregate_entry *entry =
            LIST_ITEM(item, struct aggregate_entry, link);

        if (slot->entry_count < slot->cache)
            return;
        if (is_claimed(entry))
            continue;
        slot_drop_state(slot, &entry->folded);
        entry_free(slot, entry);
    }
}

static struct aggregate_entry *add(struct aggregate_slot *slot, size_t script,
                                   struct str id)
{
    struct aggregate_entry *entry = mem_zalloc(sizeof(*entry) + id.len);
    char *text = (char *)(entry + 1);

    memcpy(text, id.ptr, id.len);
    entry->id = str_n(text, id.len);
    entry->script = script;
    entry->folded = NOT_FOLDED;
    list_init(&entry->waiting);
    list_append(&slot->entries, &entry->link);
    list_append(bucket_of(slot, entry->id), &entry->bucket);
    slot->entry_count++;
    return entry;
}

/* ---- turns ---- */

static bool may_lead(const struct aggregate_entry *entry,
                     const struct turn *turn)
{
    return !entry->led && entry->waiting.next == &turn->link;
}

struct aggregate_entry *slot_claim(struct aggregate_slot *slot, size_t script,
                                   struct str id, struct turn *turn)
{
    struct aggregate_entry *entry;
    bool leads;

    lock_take(&slot->lock);
    entry = find(slot, script, id);
    if (entry == NULL) {
        evict(slot);
        entry = add(slot, script, id);
    }
    list_append(&entry->waiting, &turn->link);
    while (!turn->done && !may_lead(entry, turn))
        signal_wait(&slot->released, &slot->lock);
    leads = !turn->done;
    if (leads)
        entry->led = true;
    lock_give(&slot->lock);
    return leads ? entry : NULL;
}

size_t slot_waiting(struct aggregate_slot *slot, size_t script, struct str id)
{
    const struct aggregate_entry *entry;
    size_t count = 0;

    lock_take(&slot->lock);
    entry = find(slot, script, id);
    if (entry != NULL)
        list_each (&entry->waiting, item)
            count++;
    lock_give(&slot->lock);
    return count;
}

size_t slot_gather(struct aggregate_slot *slot, struct aggregate_entry *entry,
                   struct turn *turns[SLOT_MAX_TOGETHER])
{
    size_t count = 0;

    lock_take(&slot->lock);
    list_each (&entry->waiting, item) {
        struct turn *turn = LIST_ITEM(item, struct turn, link);

        if (count == SLOT_MAX_TOGETHER || (count > 0 && !turn->joins))
            break;
        turns[count++] = turn;
        if (turn->closes)
            break;
    }
    lock_give(&slot->lock);
    return count;
}

void slot_finish(struct aggregate_slot *slot, struct turn *turn)
{
    lock_take(&slot->lock);
    list_remove(&turn->link);
    turn->done = true;
    signal_all(&slot->released);
    lock_give(&slot->lock);
}

void slot_release(struct aggregate_slot *slot, struct aggregate_entry *entry)
{
    lock_take(&slot->lock);
    entry->led = false;
    list_remove(&entry->link); /* most recently used: to the end */
    list_append(&slot->entries, &entry->link);
    signal_all(&slot->released);
    lock_give(&slot->lock);
}

/* ---- the Lua world ---- */

static bool load_scripts(struct aggregate_slot *slot, struct err *err)
{
    const struct script_set *scripts = slot->scripts;

    for (size_t i = 0; i < scripts->aggregate_count; i++) {
        struct aggregate_decl unused;

        slot->script_number[i] =
            vm_load_aggregate(slot->vm, scripts->aggregate_sources[i],
                              &slot->arena, &unused, err);
        if (slot->script_number[i] < 0)
            return false;
    }
    return true;
}

static bool make_world(struct aggregate_slot *slot, struct err *err)
{
    struct vm_options options = {
        .memory_bytes = slot->scripts->memory_bytes,
        .load_timeout_ms = 5000,
        .modules = slot->scripts->aggregate_tree,
        .any_events = slot->scripts->any_events,
    };

    vm_free(slot->vm);
    arena_reset(&slot->arena);
    slot->world++; /* no entry has a state in the new one */
    slot->vm = vm_new(&options, err);
    if (slot->vm != NULL && load_scripts(slot, err))
        return true;
    vm_free(slot->vm);
    slot->vm = NULL;
    return false;
}

static size_t count_states(const struct aggregate_slot *slot)
{
    size_t count = 0;

    list_each (&slot->entries, item)
        count += slot_has_state(
            slot, &LIST_ITEM(item, struct aggregate_entry, link)->folded);
    return count;
}

static void drop_older_half(struct aggregate_slot *slot)
{
    size_t left = count_states(slot) / 2 + 1;

    list_each (&slot->entries, item) {
        struct aggregate_entry *entry =
            LIST_ITEM(item, struct aggregate_entry, link);

        if (left == 0)
            break;
        if (is_claimed(entry) || !slot_has_state(slot, &entry->folded))
            continue;
        slot_drop_state(slot, &entry->folded);
        left--;
    }
}

static bool has_world(const struct aggregate_slot *slot)
{
    return slot->vm != NULL && !vm_is_broken(slot->vm);
}

static bool is_crowded(const struct aggregate_slot *slot)
{
    return has_world(slot) &&
           vm_memory_bytes(slot->vm) >= slot->scripts->memory_bytes / 2;
}

/* When live states alone fill half of the ceiling, the half of them that was
 * not used for longest goes: folding again costs a read, running into the
 * ceiling costs a failed command. */
static void relieve(struct aggregate_slot *slot)
{
    if (is_crowded(slot))
        vm_rest(slot->vm);
    if (!is_crowded(slot))
        return;
    drop_older_half(slot);
    vm_rest(slot->vm);
}

struct vm *slot_enter(struct aggregate_slot *slot, struct err *err)
{
    lock_take(&slot->lock);
    relieve(slot); /* which may break it */
    if (!has_world(slot) && !make_world(slot, err)) {
        lock_give(&slot->lock);
        return NULL;
    }
    return slot->vm;
}

void slot_leave(struct aggregate_slot *slot)
{
    lock_give(&slot->lock);
}

bool slot_has_state(const struct aggregate_slot *slot,
                    const struct folded *folded)
{
    return folded->world == slot->world && folded->state >= 0 &&
           has_world(slot);
}

void slot_drop_state(struct aggregate_slot *slot, struct folded *folded)
{
    if (slot_has_state(slot, folded))
        vm_state_drop(slot->vm, folded->state);
    *folded = NOT_FOLDED;
}

void slot_forget(struct aggregate_slot *slot)
{
    list_each (&slot->entries, item) {
        struct aggregate_entry *entry =
            LIST_ITEM(item, struct aggregate_entry, link);

        if (!is_claimed(entry))
            slot_drop_state(slot, &entry->folded);
    }
}
