/* SPDX-License-Identifier: MIT */
/*
 * Weighted round robin by earliest deadline first: every backend has a
 * deadline, the earliest is picked and moved on by 1/weight.  O(log n) a pick,
 * where the smooth scan is O(n).
 *
 * Deadlines are fixed point and may wrap: they are compared by their difference,
 * which never exceeds a few EDF_ONE.
 *
 * The state is one block of edf_size(n) bytes; single owner.
 */
#ifndef WEIR_BALANCE_EDF_H
#define WEIR_BALANCE_EDF_H

#include <stddef.h>
#include <stdint.h>

struct edf;

size_t edf_size(uint32_t n);
/* Backends of weight 0 stay out.  `random` scatters the first deadlines. */
void edf_init(struct edf *edf, const uint32_t *weights, uint32_t n, uint64_t random);
/* `weighted` has the bits of weights that are not 0. */
uint32_t edf_pick(struct edf *edf, const uint32_t *weights, const uint64_t *eligible,
		  const uint64_t *weighted);

#endif
