/* SPDX-License-Identifier: MIT */
/* Counts of 32 buckets, as slots keep them. */
#include "windows.h"

/* The width for the largest of some counts. */
static uint32_t width_for(uint32_t most)
{
	uint32_t width = 0;
	while ((uint64_t)(most - 1) >> count_bits[width])
		width++;
	return width;
}

uint32_t window_group_bytes(const uint32_t count[HIST_SUB])
{
	uint32_t n = 0, most = 0;
	for (uint32_t i = 0; i < HIST_SUB; i++) {
		n += count[i] != 0;
		most = count[i] > most ? count[i] : most;
	}
	return n ? (uint32_t)GROUP_HEAD + bytes_of_counts(n, count_bits[width_for(most)]) : 0;
}

/* Into zeroes. */
static void put_count(unsigned char *counts, uint32_t at, uint32_t n)
{
	uint32_t word;
	memcpy(&word, counts + at / 8, sizeof(word));
	word |= (n - 1) << at % 8;
	memcpy(counts + at / 8, &word, sizeof(word));
}

unsigned char *window_group_put(unsigned char *at, uint32_t group, const uint32_t count[HIST_SUB])
{
	uint32_t used = 0, most = 0;
	for (uint32_t i = 0; i < HIST_SUB; i++) {
		used |= (uint32_t)(count[i] != 0) << i;
		most = count[i] > most ? count[i] : most;
	}
	if (!used)
		return at;
	uint32_t width = width_for(most), bits = count_bits[width];
	uint32_t n = bytes_of_counts(bits_count(used), bits);
	*at = (unsigned char)(group | width << GROUP_BITS);
	memcpy(at + 1, &used, sizeof(used));
	at += GROUP_HEAD;
	memset(at, 0, n + COUNT_PAST);
	uint32_t i = 0;
	for (uint32_t left = bits ? used : 0; left; left &= left - 1, i += bits)
		put_count(at, i, count[__builtin_ctz(left)]);
	return at + n;
}
