#pragma once
/*
 * The last committed position, as this process knows it, and who wants to hear
 * of it.
 *
 * It only rises.  The writer moves it after each commit, the keeper when a
 * notice or its poll brings a higher one.  Wake-ups coalesce: waiters look at
 * the number, never at how often they were called.
 */
#include "base/base.h"

struct head;

/* Stands at 0 until it is moved. */
struct head *head_new(void);
/* When nobody watches or waits any more; NULL is fine. */
void head_free(struct head *head);

/* Any thread, without a lock. */
uint64_t head_position(const struct head *head);
/* Raises it (a lower number does nothing) and calls the watchers. */
void head_move(struct head *head, uint64_t position);
/* `moved` is called on the moving thread, under the head's lock: it must not
 * block, nor call anything here but head_position. */
void head_watch(struct head *head, void (*moved)(void *arg, uint64_t position),
                void *arg);
/* When it returns, watchers with that `arg` are not called any more. */
void head_unwatch(struct head *head, const void *arg);
/* Waits until the head is above `position`, at most `timeout_ms`; the head. */
uint64_t head_wait(struct head *head, uint64_t position, uint32_t timeout_ms);
/* From now on nobody waits any more: waiters return, and so does head_wait
 * whenever it is called.  For the end of those who would wait for ever. */
void head_release(struct head *head);
