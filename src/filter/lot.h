/* SPDX-License-Identifier: MIT */
/*
 * Lots: which requests are among a share of all.  Of each 1/share in a row one is drawn, at a
 * random place among them: the number is exact, and no rhythm of clients meets that of the
 * draw.  One thread.
 */
#ifndef WEIR_FILTER_LOT_H
#define WEIR_FILTER_LOT_H

#include <stdbool.h>

#include "weir/base/rng.h"

#define LOT_ALL 1000000u /* a share is in millionths */

struct lot {
	struct rng rng;
	uint32_t at, hit; /* in the row of LOT_ALL: so far, and where one is drawn */
	uint32_t owed;    /* drawn, but not taken yet */
};

void lot_init(struct lot *lot, uint64_t seed);
/* Whether the next request is drawn. */
bool lot_draw(struct lot *lot, uint32_t share);

#endif
