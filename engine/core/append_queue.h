#pragma once
/*
 * Many callers, one writer: group commit.
 *
 *   submit    a caller's request waits in the queue, the caller sleeps
 *   begin     the writer opens the transaction and takes the log's lock; the
 *             delta tells what other instances appended meanwhile
 *   close     only now the batch is closed: who arrived while the writer
 *             queued for the lock comes along
 *   lookup    heads that the cache does not know, ids that producers gave
 *   decide    each request in memory: conflicts and repetitions are results,
 *             not aborts; versions and positions are assigned
 *   commit    one insert for all, one commit
 *   answer    head moves, callers wake
 *
 * While the last two batches met nobody else's events, a store that offers it
 * is asked in one flush instead: the batch is decided on the heads as they are
 * known, and inserted only if the log's head is where it was.  Conflicts are
 * answered only when a transaction proved the head.
 *
 * A commit whose answer was lost is settled before anything else: begin again
 * waits the old transaction out, and the delta shows whether our events are
 * there.  Until then callers wait; past their time they get ERR_STORE, and the
 * same event ids tell later what happened.
 *
 * The cache of stream heads belongs to the writer thread; it is bounded, and
 * forgotten whenever it might be wrong.
 */
#include "base/event.h"
#include "core/head.h"
#include "run/thread.h"
#include "store/store.h"

struct append_queue;

struct append_options {
    struct store *store;  /* borrowed: closed after the queue */
    struct head *head;    /* borrowed likewise */
    uint32_t max_waiting; /* requests; more get ERR_OVERLOADED */
};

enum expect {
    EXPECT_ANY,
    EXPECT_NO_STREAM,
    EXPECT_STREAM_EXISTS,
    EXPECT_VERSION,
};

#define APPEND_MAX_EVENTS 1000

/* The `Idempotency-Key` of a request, and what it asks for. */
struct append_key {
    struct request_key key;
    uint8_t hash[SHA256_SIZE];
};

struct append_request {
    struct str aggregate_type;
    struct str aggregate_id; /* normalised */
    enum expect expect;
    uint64_t expected_version; /* for EXPECT_VERSION; 0 equals no stream */
    /* Checked and complete but for position, aggregate_version, recorded_at,
     * and those of the stream.  Copied by append_submit. */
    const struct event *events;
    size_t count;
    bool ids_given; /* by the producer: repetitions are looked for */
    /* NULL, or the request's key (copied), which is stored with the events: a
     * request with the same key is answered with this one's result.  With one,
     * `count` may be 0: a command that decided on nothing is remembered too,
     * and its version proved.  Events that are stored already under their own
     * ids are the answer as without a key, and the key is not stored. */
    const struct append_key *key;
    /* Of the state that the events were decided on (append_lineage before it
     * was read), or 0: when the log lost its tail since, the request fails
     * with ERR_VERSION_CONFLICT, although the version may fit. */
    uint64_t lineage;
    /* Likewise, of that state's last event, for EXPECT_VERSION; nil: not known.
     * Another event there, which a failover has put in its place, is that same
     * conflict, and proves that the log lost its tail. */
    struct uuid last_id;
    /* NULL, or a flag shared by requests that must be stored in order or not
     * at all: the queue sets it (atomic) as soon as one of them fails, and
     * while it is set those behind fail with ERR_CONFLICT, undecided.  So a
     * failure leaves no hole, although many were posted ahead.  The caller
     * clears it once all have been answered. */
    int *chain;
};

struct append_result {
    uint64_t version;
    uint64_t first_position;
    uint64_t last_position;
    uint32_t count;         /* events */
    bool idempotent;        /* it was stored before; nothing was added */
    int64_t recorded_at_us; /* of the events, unless idempotent */
};

/* Starts the writer thread. */
struct append_queue *append_queue_start(const struct append_options *options,
                                        struct err *err) MUST_USE;
/* Takes nothing more (ERR_SHUTTING_DOWN), finishes what waits, at most until
 * `deadline_us`, ends the thread, frees. */
void append_queue_stop(struct append_queue *queue, uint64_t deadline_us);

/* Appends and waits for the answer, at most `timeout_ms`.  Any thread.
 * ERR_VERSION_CONFLICT with expected_version and actual_version,
 * ERR_DUPLICATE_EVENT with the stored place, ERR_IDEMPOTENCY when the key
 * stands for another request, ERR_STORE, ERR_OVERLOADED, ERR_SHUTTING_DOWN. */
bool append_submit(struct append_queue *queue,
                   const struct append_request *request, uint32_t timeout_ms,
                   struct append_result *out, struct err *err) MUST_USE;
/* The same without waiting: `done` is called once with the answer, on the
 * writer's thread, and must not block.  Requests are taken in the order in
 * which they were posted, and a batch keeps that order: an import posts far
 * ahead and its events stand in the log as they stood in the file.  A store
 * that is away for APPEND_POST_TIMEOUT_MS is the answer ERR_STORE.  False (and
 * `done` is not called) when the queue is full or stopping. */
#define APPEND_POST_TIMEOUT_MS 60000
bool append_post(struct append_queue *queue,
                 const struct append_request *request,
                 void (*done)(void *arg, const struct append_result *result,
                              const struct err *err),
                 void *arg, struct err *err) MUST_USE;
/* From 1; rises when the log was found to have lost its tail (a failover):
 * states that were folded before are not to be trusted.  Any thread. */
uint64_t append_lineage(const struct append_queue *queue);
/* For how many milliseconds nothing could be stored, and why; 0 while all is
 * well, or when nobody has tried for a while.  Any thread. */
uint64_t append_trouble(struct append_queue *queue, char *text, size_t size);
/* Requests waiting or in the writer's hands now. */
size_t append_queue_waiting(struct append_queue *queue);
/* For the liveness probe. */
const struct heartbeat *append_queue_heartbeat(const struct append_queue *);
