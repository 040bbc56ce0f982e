/* SPDX-License-Identifier: MIT */
/*
 * Sliding latency windows out of the workers' ever-growing histograms: how they are filled; they
 * are read in window_read.c.
 *
 * A window is a sum of slots; a slot holds the samples of one second, of ten,
 * or of a minute, and only its buckets in use: a second of a backend touches a
 * few dozen of the 704, so slots cost a tenth of full snapshots.
 *
 * The sum of the workers' counts is right modulo 2^30 although each of them
 * wraps, and so is our own u64 sum; their difference is what
 * came since the last fold.  No copy of the workers' last counts is needed.
 */
#include "windows.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/check.h"

static const char *const names[N_WINDOWS] = {
#define WINDOW_TEXT(symbol, name) [WINDOW_##symbol] = (name),
    WINDOW_ROWS(WINDOW_TEXT)
#undef WINDOW_TEXT
};

const char *window_name(enum window window)
{
	check((size_t)window < N_WINDOWS);
	return names[window];
}

bool window_parse(struct view name, enum window *out)
{
	for (size_t i = 0; i < N_WINDOWS; i++) {
		if (view_eq(name, view_str(names[i]))) {
			*out = (enum window)i;
			return true;
		}
	}
	return false;
}

struct windows *windows_new(uint64_t now_us)
{
	struct windows *w = calloc(1, sizeof(*w));
	if (w)
		w->start_us = w->last_us = now_us;
	return w;
}

void windows_free(struct windows *w)
{
	if (!w)
		return;
	for (size_t p = 0; p < N_PHASES; p++) {
		free(w->phases[p]);
		sparse_reset(&w->start[p]);
	}
	for (size_t level = 0; level < N_LEVELS; level++)
		for (size_t i = 0; i < MAX_SLOTS; i++)
			free(w->slots[level][i]);
	free(w);
}

uint64_t windows_lost(const struct windows *w)
{
	return w->n_lost;
}

/* ---- slots ---- */

/* A phase of a slot to be; only buckets of `groups` are set and may be read. */
struct part {
	uint32_t count[HIST_BUCKETS];
	uint32_t groups;
	uint32_t n_bytes; /* it needs */
	uint32_t zeros;   /* see struct series */
	uint64_t sum_us, max_us, overflow;
};

/* A sample's time may be seen a fold after its count; what is found is kept where it is found. */
static inline bool part_is_empty(const struct part *part)
{
	return !part->n_bytes && !part->sum_us && !part->overflow;
}

static inline uint32_t *part_group(struct part *part, uint32_t group)
{
	return &part->count[group << HIST_SUB_BITS];
}

/* All counts of the group are set: how much room it takes. */
static inline void part_close_group(struct part *part, uint32_t group)
{
	part->n_bytes += window_group_bytes(part_group(part, group));
}

static void put_part(struct slot *slot, enum phase phase, const struct part *part)
{
	unsigned char *at = slot->bytes + slot->end[phase];
	for (uint32_t left = part->groups; left; left &= left - 1) {
		uint32_t group = (uint32_t)__builtin_ctz(left);
		at = window_group_put(at, group, &part->count[group << HIST_SUB_BITS]);
	}
	slot->end[phase + 1] = (uint16_t)(at - slot->bytes);
	slot->sum_us[phase] = part->sum_us;
	if (slot->end[0])
		memcpy(slot->bytes + phase * sizeof(uint32_t),
		       &(uint32_t){(uint32_t)part->overflow}, sizeof(uint32_t));
}

static inline void part_clear(struct part *part)
{
	part->groups = part->n_bytes = part->zeros = 0;
	part->sum_us = part->max_us = part->overflow = 0;
}

/* Replaces what the slot held; false without memory, and then it is empty. */
static bool slot_store(struct windows *w, unsigned level, uint32_t i,
		       const struct part parts[N_PHASES])
{
	struct slot **at = &w->slots[level][i];
	size_t n = 0;
	bool empty = true, overflows = false;
	for (int p = 0; p < N_PHASES; p++) {
		n += parts[p].n_bytes;
		overflows = overflows || parts[p].overflow;
		empty = empty && part_is_empty(&parts[p]);
	}
	free(*at);
	*at = NULL;
	if (empty)
		return true;
	n += overflows ? SLOT_OVERFLOW : 0;
	size_t size = sizeof(struct slot) + n + COUNT_PAST;
	struct slot *slot = malloc(size);
	if (!slot)
		return false;
	slot->end[0] = overflows ? SLOT_OVERFLOW : 0;
	w->lines[level][i] = (uint16_t)(size / WEIR_CACHE_LINE + 1);
	for (int p = 0; p < N_PHASES; p++)
		put_part(slot, (enum phase)p, &parts[p]);
	*at = slot;
	return true;
}

/* ---- rings ---- */

/* Makes room for a slot that covers span_us; its index comes back. */
static uint32_t ring_advance(struct windows *w, unsigned level, uint64_t span_us)
{
	struct ring *ring = &w->rings[level];
	ring->n_closed++;
	ring->n_open++;
	uint32_t i = window_ring_index(w, level, 0);
	ring->span_us[i] = span_us;
	return i;
}

/* ---- roll up ---- */

static void part_add_slot(struct part *part, const struct slot *slot, enum phase phase)
{
	struct slot_span span = window_slot_span(slot, phase);
	struct slot_group g;
	while (slot_group_next(&span, &g)) {
		if (!(part->groups >> g.group & 1))
			window_clear(part_group(part, g.group), HIST_SUB * sizeof(part->count[0]));
		part->groups |= UINT32_C(1) << g.group;
		while (g.used) {
			struct entry e = slot_entry_next(&g);
			part->count[e.bucket] += e.n;
		}
	}
	part->sum_us += slot ? slot->sum_us[phase] : 0;
	part->overflow += slot ? window_slot_overflow(slot, phase) : 0;
}

/* All slots are added: how much room it takes. */
static void part_close(struct part *part)
{
	for (uint32_t left = part->groups; left; left &= left - 1)
		part_close_group(part, (uint32_t)__builtin_ctz(left));
}

/* The slots below are full: one slot of this level for all of them. */
static void roll_up(struct windows *w, unsigned level)
{
	struct part parts[N_PHASES];
	uint32_t n = window_levels[level].n_below;
	uint32_t i = ring_advance(w, level, window_ring_span_us(w, level - 1, n));
	for (int p = 0; p < N_PHASES; p++) {
		part_clear(&parts[p]);
		for (uint32_t age = 0; age < n; age++)
			part_add_slot(&parts[p], window_slot_at(w, level - 1, age), (enum phase)p);
		part_close(&parts[p]);
	}
	if (!slot_store(w, level, i, parts))
		w->n_lost++;
	w->rings[level - 1].n_open = 0;
}

/* ---- fold ---- */

/* The workers' histograms of a phase, and their samples of 0 us. */
struct source {
	const struct hist *hists[WORKERS_MAX];
	size_t n;
	uint32_t zeros;
	uint64_t sum_us;
};

static void find_source(const struct hist_set *const *sets, size_t n_sets, enum phase phase,
			struct source *src)
{
	src->n = src->zeros = 0;
	src->sum_us = 0;
	for (size_t i = 0; i < n_sets && i < WORKERS_MAX; i++) {
		if (!sets[i])
			continue;
		const struct hist *h = hist_set_get(sets[i], phase);
		src->zeros += hist_set_zeros(sets[i], phase);
		if (!h)
			continue;
		src->hists[src->n++] = h;
		/* acquire: the counts of what is in the sum are there */
		src->sum_us += atomic_load_explicit(&h->sum_us, memory_order_acquire);
	}
}

/* Lines that one of them has. */
static uint32_t sum_bounds(const struct source *src, struct part *part)
{
	uint32_t lines = src->zeros ? 1 : 0;
	for (size_t i = 0; i < src->n; i++) {
		const struct hist *h = src->hists[i];
		uint64_t max = atomic_load_explicit(&h->max_us, memory_order_relaxed);
		lines |= hist_lines(h);
		part->overflow += atomic_load_explicit(&h->overflow, memory_order_relaxed);
		if (max > part->max_us)
			part->max_us = max;
	}
	return lines;
}

/* A thousand backends' counts are in no cache: wait for all lines at once, not one by one. */
static void ask_for(const struct source *src, uint32_t lines)
{
	for (uint32_t left = lines; left; left &= left - 1)
		for (size_t k = 0; k < src->n; k++)
			hist_prefetch_line(src->hists[k], (uint32_t)__builtin_ctz(left));
}

/* Room for what comes of a group; false without memory. */
static bool start_make(struct sparse *start, uint32_t group, const uint32_t new[HIST_SUB])
{
	uint64_t n[HIST_SUB], all = 0;
	sparse_load(start, group, n);
	for (uint32_t i = 0; i < HIST_SUB; i++)
		all |= n[i] + new[i];
	return sparse_reserve(start, group, all);
}

/* What 32 buckets have now; false without memory. */
static bool take_group(struct sparse *start, uint32_t group, const uint32_t now[HIST_SUB],
		       struct part *part)
{
	uint64_t before[HIST_SUB];
	uint32_t any = 0, *new = part_group(part, group);
	for (uint32_t i = 0; i < HIST_SUB; i++)
		any |= now[i];
	if (!any && !sparse_has(start, group))
		return true; /* never used, as its neighbour is */
	sparse_load(start, group, before);
	for (uint32_t i = 0; i < HIST_SUB; i++)
		new[i] = (now[i] - (uint32_t)before[i]) & HIST_COUNT_MASK;
	part->groups |= UINT32_C(1) << group;
	part_close_group(part, group);
	return start_make(start, group, new);
}

/* What the workers have now minus what there is since start: nothing of it without memory. */
static void take_difference(const struct series *series, struct sparse *start,
			    const struct source *src, struct part *part)
{
	uint32_t lines = sum_bounds(src, part);
	part->zeros = src->zeros;
	part->sum_us = src->sum_us - series->sum_us;
	part->overflow = (uint32_t)(part->overflow - series->overflow);
	ask_for(src, lines);
	for (uint32_t left = lines; left; left &= left - 1) {
		uint32_t line = (uint32_t)__builtin_ctz(left);
		uint32_t now[HIST_LINE] = {line ? 0 : src->zeros};
		for (size_t k = 0; k < src->n; k++)
			hist_add_line(src->hists[k], line, now);
		if (!take_group(start, 2 * line, now, part) ||
		    !take_group(start, 2 * line + 1, now + HIST_SUB, part)) {
			part_clear(part);
			return;
		}
	}
}

/* Whatever a phase is made of is in the slot: since start it counts, too. */
static void start_add(struct series *s, struct sparse *start, const struct part *part)
{
	for (uint32_t left = part->groups; left; left &= left - 1) {
		uint32_t group = (uint32_t)__builtin_ctz(left), from = group << HIST_SUB_BITS;
		uint64_t n = 0, count[HIST_SUB];
		sparse_load(start, group, count);
		for (uint32_t i = 0; i < HIST_SUB; i++) {
			count[i] += part->count[from + i];
			n += part->count[from + i];
		}
		check(sparse_store(start, group, count)); /* start_make has made room */
		s->group_n[group] += n;
		s->n += n;
	}
	s->sum_us += part->sum_us;
	s->overflow += part->overflow;
	s->max_us = part->max_us;
	s->zeros = part->zeros;
}

/* Every sample shows in one of the two: most phases of most backends need no closer look. */
static bool is_news(const struct series *s, const struct source *src)
{
	return src->sum_us != s->sum_us || src->zeros != s->zeros;
}

/* What came in a phase since the last fold. */
static void fold_phase(struct windows *w, const struct hist_set *const *sets, size_t n_sets,
		       enum phase phase, struct part *part)
{
	struct source src;
	struct series **series = &w->phases[phase];
	part_clear(part);
	find_source(sets, n_sets, phase, &src);
	if (!src.n && !src.zeros)
		return;
	if (!*series)
		*series = calloc(1, sizeof(**series));
	/* without memory nothing is lost: the next fold takes it all */
	if (*series && is_news(*series, &src))
		take_difference(*series, &w->start[phase], &src, part);
}

/* The parts are the newest slot; false without memory for it. */
static bool close_second(struct windows *w, const struct part parts[N_PHASES], uint64_t now_us)
{
	uint32_t slot = ring_advance(w, 0, now_us - w->last_us);
	w->last_us = now_us;
	bool stored = slot_store(w, 0, slot, parts);
	if (stored)
		for (int p = 0; p < N_PHASES; p++)
			if (!part_is_empty(&parts[p]))
				start_add(w->phases[p], &w->start[p], &parts[p]);
	for (unsigned level = 1; level < N_LEVELS; level++)
		if (w->rings[level - 1].n_open == window_levels[level].n_below)
			roll_up(w, level);
	return stored;
}

void windows_fold(struct windows *w, const struct hist_set *const *sets, size_t n_sets,
		  uint64_t now_us)
{
	struct part parts[N_PHASES];
	for (int p = 0; p < N_PHASES; p++)
		fold_phase(w, sets, n_sets, (enum phase)p, &parts[p]);
	/* without memory for the slot `start` stays, and the next fold takes both seconds */
	close_second(w, parts, now_us);
}

/* ---- sums of windows ---- */

/* Room for all of a part; false without memory. */
static bool start_make_all(struct sparse *start, const struct part *part)
{
	for (uint32_t left = part->groups; left; left &= left - 1) {
		uint32_t group = (uint32_t)__builtin_ctz(left);
		if (!start_make(start, group, &part->count[group << HIST_SUB_BITS]))
			return false;
	}
	return true;
}

/* What all of them took in with their last fold. */
static void sum_newest(struct windows *sum, const struct windows *const *of, size_t n,
		       enum phase phase, struct part *part)
{
	struct series **series = &sum->phases[phase];
	part_clear(part);
	for (size_t i = 0; i < n; i++) {
		const struct series *s = of[i]->phases[phase];
		if (!s || !of[i]->rings[0].n_closed)
			continue;
		part_add_slot(part, window_slot_at(of[i], 0, 0), phase);
		if (s->max_us > part->max_us)
			part->max_us = s->max_us;
	}
	part_close(part);
	bool news = !part_is_empty(part);
	if (news && !*series)
		*series = calloc(1, sizeof(**series));
	if (news && !(*series && start_make_all(&sum->start[phase], part))) {
		sum->n_lost++;
		part_clear(part);
	} else if (*series && (*series)->max_us > part->max_us) {
		part->max_us = (*series)->max_us; /* one that has left had it */
	}
}

void windows_fold_newest(struct windows *sum, const struct windows *const *of, size_t n,
			 uint64_t now_us)
{
	struct part parts[N_PHASES];
	for (int p = 0; p < N_PHASES; p++)
		sum_newest(sum, of, n, (enum phase)p, &parts[p]);
	if (!close_second(sum, parts, now_us))
		sum->n_lost++;
}
