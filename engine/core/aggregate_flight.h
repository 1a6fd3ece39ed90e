#pragma once
/*
 * Appends that are on their way together: posted in the order in which they
 * were decided, stored in that order, and none behind one that fails.
 *
 * Whoever posted them waits for a while at most; the queue may answer later,
 * so a flight lives until the last answer has come.
 */
#include "core/append_queue.h"

struct flight;

/* Room for that many. */
struct flight *flight_new(struct append_queue *queue, size_t capacity);
/* Posts the next one.  That it could not be posted is its result. */
void flight_post(struct flight *flight, const struct append_request *request);
/* Until all are answered, or the time is over: none is begun any more then. */
void flight_wait(struct flight *flight, uint32_t timeout_ms);
/* How the append at that place ended; ERR_STORE also while nobody knows. */
bool flight_result(struct flight *flight, size_t place,
                   struct append_result *out, struct err *err) MUST_USE;
/* Lets go of it. */
void flight_free(struct flight *flight);
