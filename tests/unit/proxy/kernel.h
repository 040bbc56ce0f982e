/* SPDX-License-Identifier: MIT */
/*
 * System calls that fail: of those that weir makes in its own turns, the n-th of a kind, once.
 * What such an error says of the connection is true from then on.
 *
 * And polls that are not made: in a world of one thread nothing becomes ready of itself, so that
 * who found nothing finds nothing until somebody has moved something.
 */
#ifndef TESTS_UNIT_PROXY_KERNEL_H
#define TESTS_UNIT_PROXY_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/view.h"

struct kernel_fault {
	const char *call;
	int error;     /* 0: it moves one byte */
	bool harmless; /* who asks once more hears no more of it */
};

extern const struct kernel_fault kernel_faults[];
extern const size_t n_kernel_faults;

/* By its call and its error; NULL: there is none. */
const struct kernel_fault *kernel_fault_named(struct view call, struct view error);
/* NULL: never. */
void kernel_refuse(const struct kernel_fault *fault, size_t n);
/* Whether that has happened. */
bool kernel_has_refused(void);
/* Each send of weir moves so many bytes at most; 0: all. */
void kernel_send_most(size_t n);

/* How often weir or a peer has moved bytes, or opened or ended a connection. */
uint64_t kernel_moves(void);
/* Polls that could be left out are made, and have to find nothing. */
void kernel_poll_always(bool on);

#endif
