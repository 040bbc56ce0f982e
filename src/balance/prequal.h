/* SPDX-License-Identifier: MIT */
/* Private to balance/ and its tests: the reuse budget of prequal. */
#ifndef WEIR_BALANCE_PREQUAL_H
#define WEIR_BALANCE_PREQUAL_H

#include <stdint.h>

#define PREQUAL_POOL 16   /* answers kept */
#define PREQUAL_PROBES 3  /* a pick */
#define PREQUAL_REMOVED 1 /* a pick */

/*
 * Uses of one probe answer among n backends, (1 + delta) / ((1 - m/n) * probes -
 * removed) with the pool size m of `pool`; where that has no solution, which is
 * so for n up to m * probes / (probes - removed), floor(m/n) + 1, at most 4.
 */
double prequal_uses(uint32_t pool, uint32_t n);

#endif
