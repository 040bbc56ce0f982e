/* SPDX-License-Identifier: MIT */
/*
 * Intrusive doubly linked ring.  A node that is in no list points to itself
 * (after list_init or list_del), so membership can be asked and deleting twice
 * is harmless.
 */
#ifndef WEIR_BASE_LIST_H
#define WEIR_BASE_LIST_H

#include <stdbool.h>

#include "weir/base/defs.h"

struct list {
	struct list *next;
	struct list *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_is_empty(const struct list *l)
{
	return l->next == l;
}

/* The same question about a node. */
static inline bool list_is_linked(const struct list *node)
{
	return node->next != node;
}

static inline void list_insert(struct list *prev, struct list *node)
{
	node->prev = prev;
	node->next = prev->next;
	prev->next->prev = node;
	prev->next = node;
}

static inline void list_push_front(struct list *head, struct list *node)
{
	list_insert(head, node);
}

static inline void list_push_back(struct list *head, struct list *node)
{
	list_insert(head->prev, node);
}

static inline void list_del(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

/* All of `from` ahead of what is in `head`, in the same order. */
static inline void list_splice_front(struct list *head, struct list *from)
{
	if (list_is_empty(from))
		return;
	from->prev->next = head->next;
	head->next->prev = from->prev;
	from->next->prev = head;
	head->next = from->next;
	list_init(from);
}

#define list_entry(node, type, member) container_of(node, type, member)
#define list_first(head, type, member) list_entry((head)->next, type, member)
#define list_last(head, type, member) list_entry((head)->prev, type, member)

/* Safe against deletion of the current node only. */
#define list_each_safe(it, tmp, head)                                       \
	for (struct list *it = (head)->next, *tmp = it->next; it != (head); \
	     it = tmp, tmp = it->next)
#define list_each(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)

#endif
