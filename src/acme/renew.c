/* SPDX-License-Identifier: MIT */
/* When a certificate is renewed, and when a renewal that failed is tried again. */
#include "renew.h"

#define EARLY_SHARE 30
#define RETRY_MAX_US (6 * UINT64_C(3600000000))
#define LEFT_SHARE 12

int64_t renew_at(int64_t not_before_s, int64_t not_after_s, uint64_t hash)
{
	int64_t life = not_after_s > not_before_s ? not_after_s - not_before_s : 0;
	int64_t early = (int64_t)(((uint64_t)(life / EARLY_SHARE) * (hash >> 48)) >> 16);
	return not_before_s + life / 3 * 2 + life % 3 * 2 / 3 - early;
}

int64_t renew_in_window(int64_t start_s, int64_t end_s, int64_t not_before_s, int64_t not_after_s,
			uint64_t hash)
{
	uint64_t room = end_s > start_s ? (uint64_t)(end_s - start_s) : 0;
	int64_t at = start_s + (int64_t)((double)room * (double)(hash >> 32) / 4294967296.0);
	int64_t last = not_after_s - (not_after_s - not_before_s) / 10;
	return at < last ? at : last;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t renew_retry_us(unsigned n, uint64_t first_us, uint64_t life_left_us,
			uint64_t retry_after_us, uint32_t random)
{
	unsigned doublings = n > 1 ? n - 1 : 0;
	uint64_t most = least(RETRY_MAX_US, life_left_us / LEFT_SHARE);
	if (most < first_us)
		most = first_us;
	uint64_t after = doublings < 20 ? least(first_us << doublings, most) : most;
	after += after / 10 * random / UINT32_MAX;
	return after > retry_after_us ? after : retry_after_us + after / 10 * random / UINT32_MAX;
}
