/* SPDX-License-Identifier: MIT */
/*
 * Latencies on a logarithmic scale: a level is log2 of microseconds in 16.16
 * fixed point.  The mean of levels is a geometric mean: one request of a
 * thousand times the usual duration moves it as much as ten of twice the usual,
 * so that a heavy tail does not pass for a slow backend.
 */
#ifndef WEIR_BALANCE_LEVEL_H
#define WEIR_BALANCE_LEVEL_H

#include <stdint.h>

#define LEVEL_ONE 65536 /* a factor of two */

/* Differences far below this many microseconds are no differences. */
#define LEVEL_FLOOR_US 256

/* Of (duration + LEVEL_FLOOR_US); off by less than 0.01. */
static inline uint32_t level_of(uint64_t duration_us)
{
	uint64_t x =
	    (duration_us < (UINT64_C(1) << 40) ? duration_us : UINT64_C(1) << 40) + LEVEL_FLOOR_US;
	unsigned e = 63 - (unsigned)__builtin_clzll(x);
	uint64_t f = ((x << (63 - e)) << 1) >> 48; /* the mantissa's fraction, 16 bits */
	uint64_t bow = f * (LEVEL_ONE - f) / LEVEL_ONE * 22486 >> 16; /* log2(1+f) - f, nearly */
	return (uint32_t)(e * LEVEL_ONE + f + bow);
}

/* 2^(level/LEVEL_ONE) in 48.16 fixed point, at most 2^47. */
static inline uint64_t level_power(uint32_t level)
{
	unsigned e = level / LEVEL_ONE;
	uint64_t f = level % LEVEL_ONE;
	uint64_t bow = f * (LEVEL_ONE - f) / LEVEL_ONE * 22486 >> 16;
	return e < 31 ? (LEVEL_ONE + f - bow) << e : UINT64_C(1) << 47;
}

/* The same in 24.8 fixed point, at most 2^22; 256 is 1. */
static inline uint32_t level_factor(uint32_t level)
{
	uint64_t factor = level_power(level) >> 8;
	return factor < UINT32_C(1) << 22 ? (uint32_t)factor : UINT32_C(1) << 22;
}

/* The duration of a level. */
static inline uint64_t level_us(uint32_t level)
{
	uint64_t us = level_power(level) >> 16;
	return us > LEVEL_FLOOR_US ? us - LEVEL_FLOOR_US : 0;
}

#endif
