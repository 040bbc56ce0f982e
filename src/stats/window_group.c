/* SPDX-License-Identifier: MIT */
/* Counts of 32 buckets, as slots keep them. */
#include "windows.h"

uint32_t window_group_bytes(const uint32_t count[HIST_SUB])
{
	uint32_t n = 0, most = 0;
	for (uint32_t i = 0; i < HIST_SUB; i++) {
		n += count[i] != 0;
		most = count[i] > most ? count[i] : most;
	}
	return n ? (uint32_t)GROUP_HEAD + bytes_of_counts(n, width_of_counts(most)) : 0;
}

static void put_count(unsigned char *counts, enum count_width width, uint32_t i, uint32_t n)
{
	switch (width) {
	case COUNT_ONE:
		break;
	case COUNT_NIBBLE:
		counts[i / 2] = (unsigned char)(i % 2 ? counts[i / 2] | n << 4 : n);
		break;
	case COUNT_BYTE:
		counts[i] = (unsigned char)n;
		break;
	case COUNT_SHORT:
		memcpy(counts + i * sizeof(uint16_t), &(uint16_t){(uint16_t)n}, sizeof(uint16_t));
		break;
	case COUNT_WORD:
		memcpy(counts + i * sizeof(n), &n, sizeof(n));
		break;
	}
}

unsigned char *window_group_put(unsigned char *at, uint32_t group, const uint32_t count[HIST_SUB])
{
	uint32_t used = 0, most = 0, n = 0;
	for (uint32_t i = 0; i < HIST_SUB; i++) {
		used |= (uint32_t)(count[i] != 0) << i;
		most = count[i] > most ? count[i] : most;
	}
	if (!used)
		return at;
	enum count_width width = width_of_counts(most);
	*at = (unsigned char)(group | (uint32_t)width << GROUP_BITS);
	memcpy(at + 1, &used, sizeof(used));
	at += GROUP_HEAD;
	for (uint32_t left = used; left; left &= left - 1)
		put_count(at, width, n++, count[__builtin_ctz(left)]);
	return at + bytes_of_counts(n, width);
}
