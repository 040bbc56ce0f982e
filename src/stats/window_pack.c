/* SPDX-License-Identifier: MIT */
/* Windows for the process that takes over; see window.c for how they are kept. */
#include <stdlib.h>

#include "windows.h"

#include "weir/base/check.h"
#include "weir/stats/pack.h"

/* An entry's form, with more room than one has here. */
#define PACKED_COUNT_BITS 22
#define PACKED_COUNT_MAX ((UINT32_C(1) << PACKED_COUNT_BITS) - 1)

/* ---- out ---- */

static void put_series(const struct series *s, const struct sparse *start, struct str *out)
{
	uint64_t count[HIST_BUCKETS];
	pack_u64(out, s != NULL);
	if (!s)
		return;
	sparse64_spread(start, count);
	pack_sparse(out, count, HIST_BUCKETS);
	pack_u64(out, s->sum_us);
	pack_u64(out, s->max_us);
	pack_u64(out, s->overflow);
}

static uint32_t count_entries(const struct slot *slot, enum phase phase)
{
	struct slot_span span = window_slot_span(slot, phase);
	uint32_t n = 0;
	for (; span.from < span.to; n++)
		entry_next(&span.from);
	return n;
}

static void put_slot(const struct slot *slot, struct str *out)
{
	uint32_t end = 0;
	pack_u64(out, slot != NULL);
	if (!slot)
		return;
	for (int p = 0; p < N_PHASES; p++) {
		end += count_entries(slot, (enum phase)p);
		pack_u64(out, slot->sum_us[p]);
		pack_u64(out, slot->overflow[p]);
		pack_u64(out, end);
	}
	for (const uint16_t *at = slot->words; at < slot->words + slot->end[N_PHASES - 1];) {
		struct entry e = entry_next(&at);
		pack_u64(out, e.bucket << PACKED_COUNT_BITS | e.n);
	}
}

void windows_pack(const struct windows *w, struct str *out)
{
	pack_u64(out, N_PHASES);
	pack_u64(out, HIST_BUCKETS);
	pack_u64(out, w->start_us);
	pack_u64(out, w->last_us);
	pack_u64(out, w->n_lost);
	for (int p = 0; p < N_PHASES; p++)
		put_series(w->phases[p], &w->start[p], out);
	for (unsigned level = 0; level < N_LEVELS; level++) {
		const struct ring *ring = &w->rings[level];
		pack_u64(out, ring->n_closed);
		pack_u64(out, ring->n_open);
		for (uint32_t i = 0; i < window_levels[level].n_slots; i++) {
			pack_u64(out, ring->span_us[i]);
			put_slot(w->slots[level][i], out);
		}
	}
}

/* ---- in ---- */

static struct series *take_series(struct unpack *in, struct sparse *start)
{
	uint64_t count[HIST_BUCKETS];
	if (!unpack_bool(in))
		return NULL;
	struct series *s = calloc(1, sizeof(*s));
	in->bad |= !s;
	if (in->bad)
		return s;
	unpack_sparse(in, count, HIST_BUCKETS);
	in->bad |= !sparse64_gather(start, count);
	for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
		s->n += count[i];
		s->group_n[i >> HIST_SUB_BITS] += count[i];
	}
	s->sum_us = unpack_u64(in);
	s->max_us = unpack_u64(in);
	s->overflow = unpack_u64(in);
	return s;
}

/* Of a phase, in the order of their buckets; where the next phase begins. */
static uint16_t *take_entries(struct unpack *in, uint16_t *words, uint32_t n)
{
	uint32_t last = 0;
	for (uint32_t i = 0; i < n && !in->bad; i++) {
		uint32_t entry = (uint32_t)unpack_max(in, UINT32_MAX);
		uint32_t bucket = entry >> PACKED_COUNT_BITS;
		in->bad |= bucket >= HIST_BUCKETS || bucket < last;
		if (!in->bad)
			words = entry_put(words, bucket, entry & PACKED_COUNT_MAX);
		last = bucket;
	}
	return words;
}

/* Words of n entries that come next. */
static size_t words_ahead(struct unpack in, uint32_t n)
{
	size_t words = 0;
	while (n-- && !in.bad)
		words += entry_words((uint32_t)unpack_u64(&in) & PACKED_COUNT_MAX);
	return words;
}

static struct slot *take_slot(struct unpack *in, uint16_t *lines)
{
	struct slot head;
	if (!unpack_bool(in))
		return NULL;
	for (int p = 0; p < N_PHASES; p++) {
		head.sum_us[p] = unpack_u64(in);
		head.overflow[p] = (uint32_t)unpack_max(in, UINT32_MAX);
		head.end[p] = (uint32_t)unpack_count(in, N_PHASES * HIST_BUCKETS * 64);
		in->bad |= p && head.end[p] < head.end[p - 1];
	}
	if (in->bad)
		return NULL;
	size_t size =
	    sizeof(head) + words_ahead(*in, head.end[N_PHASES - 1]) * sizeof(head.words[0]);
	struct slot *slot = malloc(size);
	in->bad |= !slot;
	if (!slot)
		return NULL;
	*slot = head;
	*lines = (uint16_t)(size / WEIR_CACHE_LINE + 1);
	uint16_t *at = slot->words;
	for (int p = 0; p < N_PHASES; p++) {
		at = take_entries(in, at, head.end[p] - (p ? head.end[p - 1] : 0));
		slot->end[p] = (uint32_t)(at - slot->words);
	}
	return slot;
}

/* A slot has samples of phases only that have some since start. */
static bool is_known(const struct windows *w, const struct slot *slot)
{
	for (int p = 0; slot && p < N_PHASES; p++)
		if (slot->end[p] > (p ? slot->end[p - 1] : 0) && !w->phases[p])
			return false;
	return true;
}

static void take_ring(struct unpack *in, struct windows *w, unsigned level)
{
	struct ring *ring = &w->rings[level];
	ring->n_closed = unpack_u64(in);
	ring->n_open = (uint32_t)unpack_max(
	    in, level + 1 < N_LEVELS ? window_levels[level + 1].n_below - 1 : UINT32_MAX);
	in->bad |= ring->n_open > ring->n_closed;
	for (uint32_t i = 0; i < window_levels[level].n_slots; i++) {
		ring->span_us[i] = unpack_u64(in);
		w->slots[level][i] = take_slot(in, &w->lines[level][i]);
		in->bad |= !is_known(w, w->slots[level][i]);
	}
}

struct windows *windows_unpack(struct unpack *in, uint64_t now_us)
{
	struct windows *w = windows_new(0);
	in->bad |= !w || unpack_u64(in) != N_PHASES || unpack_u64(in) != HIST_BUCKETS;
	if (in->bad) {
		windows_free(w);
		return NULL;
	}
	w->start_us = unpack_max(in, now_us);
	w->last_us = unpack_max(in, now_us);
	w->n_lost = unpack_u64(in);
	for (int p = 0; p < N_PHASES; p++)
		w->phases[p] = take_series(in, &w->start[p]);
	for (unsigned level = 0; level < N_LEVELS; level++)
		take_ring(in, w, level);
	if (!in->bad)
		return w;
	windows_free(w);
	return NULL;
}

void windows_seed(const struct windows *w, struct hist_set *set)
{
	for (int p = 0; p < N_PHASES; p++) {
		const struct series *s = w->phases[p];
		if (!s)
			continue;
		struct hist_total total = {
		    .sum_us = s->sum_us, .max_us = s->max_us, .overflow = s->overflow};
		struct hist *h = hist_new();
		check(h != NULL);
		sparse64_spread(&w->start[p], total.count);
		hist_seed(h, &total);
		atomic_store(&set->phase[p], h);
	}
}
