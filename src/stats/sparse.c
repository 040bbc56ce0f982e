/* SPDX-License-Identifier: MIT */
/* Numbers by bucket, 32 at a time. */
#include "weir/stats/sparse.h"

#include <stdlib.h>
#include <string.h>

void sparse_reset(struct sparse *s)
{
	free(s->numbers);
	*s = (struct sparse){NULL, 0};
}

static void *make(struct sparse *s, uint32_t group, size_t number)
{
	size_t n = (size_t)__builtin_popcount(s->groups), size = HIST_SUB * number;
	size_t before = sparse_place(s, group) * number;
	if (!sparse_has(s, group)) {
		char *numbers = realloc(s->numbers, (n + 1) * size);
		if (!numbers)
			return NULL;
		memmove(numbers + before + size, numbers + before, n * size - before);
		memset(numbers + before, 0, size);
		s->numbers = numbers;
		s->groups |= UINT32_C(1) << group;
	}
	return (char *)s->numbers + before;
}

uint32_t *sparse32_make(struct sparse *s, uint32_t group)
{
	return make(s, group, sizeof(uint32_t));
}

uint64_t *sparse64_make(struct sparse *s, uint32_t group)
{
	return make(s, group, sizeof(uint64_t));
}

void sparse64_spread(const struct sparse *s, uint64_t out[HIST_BUCKETS])
{
	memset(out, 0, HIST_BUCKETS * sizeof(out[0]));
	for (uint32_t left = s->groups; left; left &= left - 1) {
		uint32_t group = (uint32_t)__builtin_ctz(left);
		memcpy(&out[group << HIST_SUB_BITS], sparse64_find(s, group),
		       HIST_SUB * sizeof(out[0]));
	}
}

bool sparse64_gather(struct sparse *s, const uint64_t from[HIST_BUCKETS])
{
	for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
		uint64_t *to = from[i] ? sparse64_make(s, i >> HIST_SUB_BITS) : NULL;
		if (from[i] && !to)
			return false;
		if (to)
			to[i & (HIST_SUB - 1)] = from[i];
	}
	return true;
}
