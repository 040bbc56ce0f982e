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
	sparse_spread(start, count);
	pack_sparse(out, count, HIST_BUCKETS);
	pack_u64(out, s->sum_us);
	pack_u64(out, s->max_us);
	pack_u64(out, s->overflow);
}

/* What has no room in one entry takes several. */
static uint32_t entries_for(uint32_t n)
{
	return (n - 1) / PACKED_COUNT_MAX + 1;
}

static uint32_t count_entries(const struct slot *slot, enum phase phase)
{
	struct slot_span span = window_slot_span(slot, phase);
	struct slot_group g;
	uint32_t n = 0;
	while (slot_group_next(&span, &g))
		while (g.used)
			n += entries_for(slot_entry_next(&g).n);
	return n;
}

static void put_entries(const struct slot *slot, enum phase phase, struct str *out)
{
	struct slot_span span = window_slot_span(slot, phase);
	struct slot_group g;
	while (slot_group_next(&span, &g)) {
		while (g.used) {
			struct entry e = slot_entry_next(&g);
			for (uint32_t n; e.n; e.n -= n) {
				n = e.n < PACKED_COUNT_MAX ? e.n : PACKED_COUNT_MAX;
				pack_u64(out, e.bucket << PACKED_COUNT_BITS | n);
			}
		}
	}
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
		pack_u64(out, window_slot_overflow(slot, (enum phase)p));
		pack_u64(out, end);
	}
	for (int p = 0; p < N_PHASES; p++)
		put_entries(slot, (enum phase)p, out);
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
	in->bad |= !sparse_gather(start, count);
	for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
		s->n += count[i];
		s->group_n[i >> HIST_SUB_BITS] += count[i];
	}
	s->sum_us = unpack_u64(in);
	s->max_us = unpack_u64(in);
	s->overflow = unpack_u64(in);
	return s;
}

/* The n entries of a phase, as a slot keeps them. */
static void take_entries(struct unpack *in, uint32_t n, struct str *out)
{
	uint32_t count[HIST_BUCKETS] = {0}, last = 0;
	unsigned char room[GROUP_BYTES_MAX];
	for (uint32_t i = 0; i < n && !in->bad; i++) {
		uint32_t entry = (uint32_t)unpack_max(in, UINT32_MAX);
		uint32_t bucket = entry >> PACKED_COUNT_BITS;
		in->bad |= bucket >= HIST_BUCKETS || bucket < last;
		if (!in->bad)
			count[bucket] += entry & PACKED_COUNT_MAX;
		last = bucket;
	}
	for (uint32_t group = 0; group < HIST_GROUPS; group++) {
		unsigned char *end = window_group_put(room, group, &count[group << HIST_SUB_BITS]);
		str_put(out, room, (size_t)(end - room));
	}
}

static struct slot *slot_of(const struct slot *head, struct view bytes, uint16_t *lines)
{
	size_t size = sizeof(*head) + bytes.len + COUNT_PAST;
	struct slot *slot = malloc(size);
	if (!slot)
		return NULL;
	*slot = *head;
	memset(slot->bytes + bytes.len, 0, COUNT_PAST);
	if (bytes.len)
		memcpy(slot->bytes, bytes.ptr, bytes.len);
	*lines = (uint16_t)(size / WEIR_CACHE_LINE + 1);
	return slot;
}

static struct slot *take_slot(struct unpack *in, uint16_t *lines)
{
	struct slot head;
	struct str bytes = STR_INIT;
	uint32_t n[N_PHASES], overflow[N_PHASES], any = 0, before = 0;
	if (!unpack_bool(in))
		return NULL;
	for (int p = 0; p < N_PHASES; p++) {
		head.sum_us[p] = unpack_u64(in);
		any |= overflow[p] = (uint32_t)unpack_max(in, UINT32_MAX);
		uint32_t end = (uint32_t)unpack_count(in, N_PHASES * HIST_BUCKETS * 1024);
		in->bad |= end < before;
		n[p] = end - before;
		before = end;
	}
	if (in->bad)
		return NULL;
	if (any)
		str_put(&bytes, overflow, sizeof(overflow));
	head.end[0] = (uint16_t)bytes.len;
	for (int p = 0; p < N_PHASES; p++) {
		take_entries(in, n[p], &bytes);
		head.end[p + 1] = (uint16_t)bytes.len;
	}
	struct slot *slot = slot_of(&head, str_as_view(&bytes), lines);
	in->bad |= !slot || bytes.overflow;
	str_fini(&bytes);
	return slot;
}

/* A slot has samples of phases only that have some since start. */
static bool is_known(const struct windows *w, const struct slot *slot)
{
	for (int p = 0; slot && p < N_PHASES; p++)
		if (slot->end[p + 1] > slot->end[p] && !w->phases[p])
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
		sparse_spread(&w->start[p], total.count);
		hist_seed(h, &total);
		atomic_store(&set->phase[p], h);
	}
}
