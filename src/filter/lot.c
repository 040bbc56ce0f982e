/* SPDX-License-Identifier: MIT */
/* A share of all, drawn from rows. */
#include "lot.h"

static void next_row(struct lot *lot)
{
	lot->hit = rng_below(&lot->rng, LOT_ALL);
}

void lot_init(struct lot *lot, uint64_t seed)
{
	rng_init(&lot->rng, seed);
	lot->at = lot->owed = 0;
	next_row(lot);
}

bool lot_draw(struct lot *lot, uint32_t share)
{
	uint32_t from = lot->at;
	lot->at += share;
	lot->owed += lot->hit >= from && lot->hit < lot->at;
	if (lot->at >= LOT_ALL) {
		lot->at -= LOT_ALL;
		next_row(lot);
		lot->owed += lot->hit < lot->at;
	}
	if (!lot->owed)
		return false;
	lot->owed--;
	return true;
}
