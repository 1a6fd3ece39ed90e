#pragma once
/*
 * Intrusive, circular, doubly linked list.  A `struct list` is both the head
 * (which holds no item) and the link inside an item.
 */
#include "base/base.h"

struct list {
    struct list *next;
    struct list *prev;
};

static inline void list_init(struct list *head)
{
    head->next = head->prev = head;
}

static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

/* Before `head`, that is at the end of its list. */
static inline void list_append(struct list *head, struct list *item)
{
    item->prev = head->prev;
    item->next = head;
    head->prev->next = item;
    head->prev = item;
}

static inline void list_prepend(struct list *head, struct list *item)
{
    list_append(head->next, item);
}

/* The item is alone afterwards; removing it again is harmless. */
static inline void list_remove(struct list *item)
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
    list_init(item);
}

#define list_each(head, item)                                                  \
    for (struct list * (item) = (head)->next; (item) != (head);                \
         (item) = (item)->next)
#define list_each_safe(head, item, after)                                      \
    for (struct list * (item) = (head)->next, *(after) = (item)->next;         \
         (item) != (head); (item) = (after), (after) = (item)->next)
#define LIST_ITEM(ptr, type, member) CONTAINER_OF(ptr, type, member)
