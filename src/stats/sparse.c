/* SPDX-License-Identifier: MIT */
/* Numbers by bucket, 32 at a time, of 1, 2, 4 or 8 bytes. */
#include "weir/stats/sparse.h"

#include <stdlib.h>
#include <string.h>

#include "weir/base/bitset.h"

void sparse_reset(struct sparse *s)
{
	free(s->numbers);
	*s = (struct sparse){.numbers = NULL};
}

/* ---- where, and how wide ---- */

/* Bytes of the groups of a mask: each has one a number, and more where it is wide. */
static size_t bytes_of(const struct sparse *s, uint32_t mask)
{
	size_t n = (size_t)bits_count(s->groups & mask);
	if (s->wide[0])
		n += (size_t)bits_count(s->wide[0] & mask);
	if (s->wide[1])
		n += (size_t)bits_count(s->wide[1] & mask) * 2;
	if (s->wide[2])
		n += (size_t)bits_count(s->wide[2] & mask) * 4;
	return n * HIST_SUB;
}

size_t sparse_bytes(const struct sparse *s)
{
	return bytes_of(s, UINT32_MAX);
}

static unsigned char *place_of(const struct sparse *s, uint32_t group)
{
	return s->numbers + bytes_of(s, (UINT32_C(1) << group) - 1);
}

/* A number of this group has 2 to the power of so many bytes. */
static unsigned width_of(const struct sparse *s, uint32_t group)
{
	return (s->wide[0] >> group & 1) + (s->wide[1] >> group & 1) + (s->wide[2] >> group & 1);
}

static unsigned width_for(uint64_t most)
{
	return most > UINT32_MAX ? 3 : most > UINT16_MAX ? 2 : most > UINT8_MAX ? 1 : 0;
}

/* ---- numbers of a width ---- */

static uint64_t number_at(const unsigned char *at, unsigned width, uint32_t i)
{
	uint64_t n = 0;
	memcpy(&n, at + ((size_t)i << width), (size_t)1 << width);
	return n;
}
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the low bytes of a number are first");

static void put_number(unsigned char *at, unsigned width, uint32_t i, uint64_t n)
{
	memcpy(at + ((size_t)i << width), &n, (size_t)1 << width);
}

/* Loops of one width each, as compilers make something of them. */
#define LOAD(type)                                         \
	for (uint32_t i = 0; i < HIST_SUB; i++) {          \
		type n;                                    \
		memcpy(&n, at + i * sizeof(n), sizeof(n)); \
		out[i] = n;                                \
	}

static void load(const unsigned char *at, unsigned width, uint64_t out[HIST_SUB])
{
	switch (width) {
	case 0:
		LOAD(uint8_t)
		break;
	case 1:
		LOAD(uint16_t)
		break;
	case 2:
		LOAD(uint32_t)
		break;
	default:
		LOAD(uint64_t)
	}
}
#undef LOAD

static void store(unsigned char *at, unsigned width, const uint64_t from[HIST_SUB])
{
	for (uint32_t i = 0; i < HIST_SUB; i++)
		put_number(at, width, i, from[i]);
}

void sparse_load(const struct sparse *s, uint32_t group, uint64_t out[HIST_SUB])
{
	if (sparse_has(s, group))
		load(place_of(s, group), width_of(s, group), out);
	else
		memset(out, 0, HIST_SUB * sizeof(out[0]));
}

/* ---- room ---- */

/* Moves what is behind the group, and writes the group anew. */
static bool widen(struct sparse *s, uint32_t group, unsigned width)
{
	uint64_t had[HIST_SUB];
	bool there = sparse_has(s, group);
	size_t before = (size_t)(place_of(s, group) - s->numbers), all = sparse_bytes(s);
	size_t now = there ? (size_t)HIST_SUB << width_of(s, group) : 0;
	size_t wanted = (size_t)HIST_SUB << width;
	sparse_load(s, group, had);
	unsigned char *numbers = realloc(s->numbers, all + wanted - now);
	if (!numbers)
		return false;
	memmove(numbers + before + wanted, numbers + before + now, all - before - now);
	store(numbers + before, width, had);
	s->numbers = numbers;
	s->groups |= UINT32_C(1) << group;
	for (unsigned i = 0; i < width; i++)
		s->wide[i] |= UINT32_C(1) << group;
	return true;
}

bool sparse_reserve(struct sparse *s, uint32_t group, uint64_t most)
{
	unsigned width = width_for(most);
	return (sparse_has(s, group) && width_of(s, group) >= width) || widen(s, group, width);
}

bool sparse_store(struct sparse *s, uint32_t group, const uint64_t from[HIST_SUB])
{
	uint64_t all = 0; /* as wide as the widest */
	for (uint32_t i = 0; i < HIST_SUB; i++)
		all |= from[i];
	if (!sparse_reserve(s, group, all))
		return false;
	store(place_of(s, group), width_of(s, group), from);
	return true;
}

/* ---- one bucket ---- */

uint64_t sparse_get(const struct sparse *s, uint32_t bucket)
{
	uint32_t group = bucket >> HIST_SUB_BITS;
	if (!sparse_has(s, group))
		return 0;
	return number_at(place_of(s, group), width_of(s, group), bucket & (HIST_SUB - 1));
}

bool sparse_set(struct sparse *s, uint32_t bucket, uint64_t n)
{
	uint32_t group = bucket >> HIST_SUB_BITS;
	if (!sparse_reserve(s, group, n))
		return false;
	put_number(place_of(s, group), width_of(s, group), bucket & (HIST_SUB - 1), n);
	return true;
}

bool sparse_add(struct sparse *s, uint32_t bucket, uint64_t n)
{
	uint64_t had = sparse_get(s, bucket);
	return sparse_set(s, bucket, n < UINT64_MAX - had ? had + n : UINT64_MAX);
}

/* ---- every bucket ---- */

void sparse_spread(const struct sparse *s, uint64_t out[HIST_BUCKETS])
{
	memset(out, 0, HIST_BUCKETS * sizeof(out[0]));
	for (uint32_t left = s->groups; left; left &= left - 1) {
		uint32_t group = (uint32_t)__builtin_ctz(left);
		sparse_load(s, group, &out[group << HIST_SUB_BITS]);
	}
}

static bool any_of(const uint64_t from[HIST_SUB])
{
	uint64_t all = 0;
	for (uint32_t i = 0; i < HIST_SUB; i++)
		all |= from[i];
	return all != 0;
}

bool sparse_gather(struct sparse *s, const uint64_t from[HIST_BUCKETS])
{
	for (uint32_t group = 0; group < HIST_GROUPS; group++) {
		const uint64_t *of = &from[group << HIST_SUB_BITS];
		if (any_of(of) && !sparse_store(s, group, of))
			return false;
	}
	return true;
}
