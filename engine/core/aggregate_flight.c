#include "core/aggregate_flight.h"

#include "base/clock.h"
#include "base/mem.h"

struct ticket {
    struct flight *flight;
    bool answered;
    bool failed;
    struct append_result result;
    struct err err;
};

struct flight {
    struct append_queue *queue; /* borrowed */
    int chain;                  /* the queue's, atomic */
    /* --- any thread, under lock --- */
    struct lock lock;
    struct signal landed;
    size_t posted;
    size_t pending; /* that were not answered yet */
    bool abandoned; /* the last answer frees it */
    struct ticket tickets[];
};

struct flight *flight_new(struct append_queue *queue, size_t capacity)
{
    struct flight *flight =
        mem_zalloc(sizeof(*flight) + capacity * sizeof(struct ticket));

    flight->queue = queue;
    lock_init(&flight->lock);
    signal_init(&flight->landed);
    return flight;
}

static void flight_end(struct flight *flight)
{
    signal_done(&flight->landed);
    lock_done(&flight->lock);
    mem_free(flight);
}

static void note(struct ticket *ticket, const struct append_result *result,
                 const struct err *err)
{
    ticket->answered = true;
    ticket->failed = err != NULL;
    if (err != NULL)
        ticket->err = *err;
    else
        ticket->result = *result;
}

static void on_answer(void *arg, const struct append_result *result,
                      const struct err *err)
{
    struct ticket *ticket = arg;
    struct flight *flight = ticket->flight;
    bool is_last;

    lock_take(&flight->lock);
    note(ticket, result, err);
    flight->pending--;
    is_last = flight->abandoned && flight->pending == 0;
    signal_all(&flight->landed);
    lock_give(&flight->lock);
    if (is_last)
        flight_end(flight);
}

void flight_post(struct flight *flight, const struct append_request *request)
{
    struct append_request chained = *request;
    struct ticket *ticket;
    struct err err;

    chained.chain = &flight->chain;
    lock_take(&flight->lock);
    ticket = &flight->tickets[flight->posted++];
    ticket->flight = flight;
    flight->pending++;
    lock_give(&flight->lock);
    if (append_post(flight->queue, &chained, on_answer, ticket, &err))
        return;
    __atomic_store_n(&flight->chain, 1, __ATOMIC_RELEASE);
    on_answer(ticket, NULL, &err);
}

void flight_wait(struct flight *flight, uint32_t timeout_ms)
{
    uint64_t until_us = clock_us() + (uint64_t)timeout_ms * 1000;

    lock_take(&flight->lock);
    while (flight->pending > 0 &&
           signal_wait_until(&flight->landed, &flight->lock, until_us))
        continue;
    if (flight->pending > 0)
        __atomic_store_n(&flight->chain, 1, __ATOMIC_RELEASE);
    lock_give(&flight->lock);
}

bool flight_result(struct flight *flight, size_t place,
                   struct append_result *out, struct err *err)
{
    const struct ticket *ticket = &flight->tickets[place];
    bool answered, failed;

    lock_take(&flight->lock);
    answered = ticket->answered;
    failed = ticket->failed;
    if (answered && failed)
        *err = ticket->err;
    else if (answered)
        *out = ticket->result;
    lock_give(&flight->lock);
    if (!answered)
        return err_set(err, ERR_STORE,
                       "no answer from the store in time; whether it was "
                       "stored is not known yet");
    return !failed;
}

void flight_free(struct flight *flight)
{
    bool is_over;

    lock_take(&flight->lock);
    is_over = flight->pending == 0;
    flight->abandoned = true;
    lock_give(&flight->lock);
    if (is_over)
        flight_end(flight);
}
