#pragma once
/*
 * What the writer knows of streams: id and version by name.
 *
 * An entry is either proven (the cache, kept right by each batch's delta) or
 * was just looked up.  A stream that is known not to exist has an entry with
 * stream_id 0.  The writer works on the entries while it decides; when the
 * batch does not commit, everything is forgotten, which is always right and
 * costs one query.
 *
 * Bounded: beyond HEADS_MAX entries everything is forgotten too.  Owned by the
 * writer thread.
 */
#include "base/str.h"
#include "base/uuid.h"

#define HEADS_MAX 32768

struct stream_head {
    struct stream_head *next; /* in its bucket */
    uint64_t stream_id;       /* position of its first event; 0: none yet */
    uint64_t version;
    struct uuid last_id; /* of the event at that version; nil: not known */
    uint64_t hash;
    struct str aggregate_type; /* both behind the struct, in one block */
    struct str aggregate_id;
};

struct stream_heads;

/* Knows nothing yet. */
struct stream_heads *stream_heads_new(void);
/* NULL is fine. */
void stream_heads_free(struct stream_heads *heads);

/* NULL when nothing is known. */
struct stream_head *stream_heads_find(struct stream_heads *heads,
                                      struct str aggregate_type,
                                      struct str aggregate_id);
/* Adds or changes what is known, `last_id` becomes nil; the entry stays where
 * it is until the next stream_heads_forget or stream_heads_trim. */
struct stream_head *stream_heads_put(struct stream_heads *heads,
                                     struct str aggregate_type,
                                     struct str aggregate_id,
                                     uint64_t stream_id, uint64_t version);
void stream_heads_forget(struct stream_heads *heads);
/* Forgets when there are too many; between batches only. */
void stream_heads_trim(struct stream_heads *heads);
