/* SPDX-License-Identifier: MIT */
/* What a client of HTTP/2 may do so often and no more: charges, and when they are too many. */
#include "h2_session.h"

#include "weir/base/check.h"

int32_t h2_bucket_burst(const struct h2_bucket *b)
{
	return (int32_t)(b->per_second * H2_FLOOD_BURST);
}

static void fill_bucket(struct h2_server *s, struct h2_bucket *b)
{
	uint64_t earned = (s->now_us - b->filled_us) * b->per_second / 1000000;
	if (earned == 0)
		return;
	b->filled_us = s->now_us;
	int32_t room = h2_bucket_burst(b) - b->tokens;
	b->tokens += earned < (uint64_t)room ? (int32_t)earned : room;
}

void h2_server_flood(struct h2_server *s, enum h2_flood kind)
{
	s->dead = true;
	if (s->flood == H2_N_FLOODS)
		s->flood = (uint8_t)kind;
}

bool h2_server_charge(struct h2_server *s, enum h2_flood kind)
{
	struct h2_bucket *b = &s->buckets[kind];
	if (likely(b->tokens > 0)) {
		b->tokens--;
		return true;
	}
	fill_bucket(s, b);
	if (b->tokens > 0) {
		b->tokens--;
		return true;
	}
	h2_server_flood(s, kind);
	return false;
}

void h2_server_earn(struct h2_server *s, enum h2_flood kind, int32_t n)
{
	struct h2_bucket *b = &s->buckets[kind];
	b->tokens = h2_bucket_burst(b) - b->tokens < n ? h2_bucket_burst(b) : b->tokens + n;
}

void h2_server_blame(struct h2_server *s)
{
	if (!s->dead)
		h2_server_charge(s, H2_FLOOD_resets);
}
