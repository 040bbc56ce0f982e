/* SPDX-License-Identifier: MIT */
/*
 * What libraries take from the heap for each connection (TLS, HTTP/2 towards
 * backends) stays with the process when it is freed, in pieces between what
 * lives longer.  When much less is in use than was at the most, and stays so,
 * the pages in between are given back.
 */
#include <malloc.h>

#include "control.h"

#define LOOK_EVERY_S 2
/* Freed since the most, so that giving back is worth the walk through the heap. */
#define WORTH_BYTES ((size_t)4 * 1024 * 1024)
#define QUIET_LOOKS 3

void heap_tick(struct heap_watch *heap)
{
	if (++heap->seconds % LOOK_EVERY_S)
		return;
	struct mallinfo2 now = mallinfo2();
	if (now.uordblks > heap->most)
		heap->most = now.uordblks;
	if (heap->most - now.uordblks < WORTH_BYTES) {
		heap->quiet = 0;
		return;
	}
	if (++heap->quiet < QUIET_LOOKS)
		return;
	malloc_trim(0);
	heap->most = now.uordblks;
	heap->quiet = 0;
}
