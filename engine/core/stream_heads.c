#include "core/stream_heads.h"

#include "base/mem.h"

#define BUCKETS 16384 /* a power of two */

struct stream_heads {
    struct stream_head *buckets[BUCKETS];
    size_t count;
};

static uint64_t hash_of(struct str aggregate_type, struct str aggregate_id)
{
    return str_hash(aggregate_id) * 31 + str_hash(aggregate_type);
}

static struct stream_head *find_in(struct stream_head *entry, uint64_t hash,
                                   struct str aggregate_type,
                                   struct str aggregate_id)
{
    for (; entry != NULL; entry = entry->next)
        if (entry->hash == hash && str_eq(entry->aggregate_id, aggregate_id) &&
            str_eq(entry->aggregate_type, aggregate_type))
            return entry;
    return NULL;
}

static struct stream_head *entry_new(struct str aggregate_type,
                                     struct str aggregate_id, uint64_t hash)
{
    struct stream_head *entry =
        mem_zalloc(sizeof(*entry) + aggregate_type.len + aggregate_id.len);
    char *text = (char *)(entry + 1);

    memcpy(text, aggregate_type.ptr, aggregate_type.len);
    memcpy(text + aggregate_type.len, aggregate_id.ptr, aggregate_id.len);
    entry->hash = hash;
    entry->aggregate_type = str_n(text, aggregate_type.len);
    entry->aggregate_id = str_n(text + aggregate_type.len, aggregate_id.len);
    return entry;
}

struct stream_heads *stream_heads_new(void)
{
    return NEW(struct stream_heads);
}

void stream_heads_free(struct stream_heads *heads)
{
    if (heads == NULL)
        return;
    stream_heads_forget(heads);
    mem_free(heads);
}

struct stream_head *stream_heads_find(struct stream_heads *heads,
                                      struct str aggregate_type,
                                      struct str aggregate_id)
{
    uint64_t hash = hash_of(aggregate_type, aggregate_id);

    return find_in(heads->buckets[hash % BUCKETS], hash, aggregate_type,
                   aggregate_id);
}

struct stream_head *stream_heads_put(struct stream_heads *heads,
                                     struct str aggregate_type,
                                     struct str aggregate_id,
                                     uint64_t stream_id, uint64_t version)
{
    uint64_t hash = hash_of(aggregate_type, aggregate_id);
    struct stream_head **bucket = &heads->buckets[hash % BUCKETS];
    struct stream_head *entry =
        find_in(*bucket, hash, aggregate_type, aggregate_id);

    if (entry == NULL) {
        entry = entry_new(aggregate_type, aggregate_id, hash);
        entry->next = *bucket;
        *bucket = entry;
        heads->count++;
    }
    entry->stream_id = stream_id;
    entry->version = version;
    entry->last_id = (struct uuid){{0}};
    return entry;
}

void stream_heads_forget(struct stream_heads *heads)
{
    for (size_t i = 0; i < BUCKETS && heads->count > 0; i++) {
        while (heads->buckets[i] != NULL) {
            struct stream_head *entry = heads->buckets[i];

            heads->buckets[i] = entry->next;
            mem_free(entry);
            heads->count--;
        }
    }
}

void stream_heads_trim(struct stream_heads *heads)
{
    if (heads->count > HEADS_MAX)
        stream_heads_forget(heads);
}
