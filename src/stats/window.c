/* SPDX-License-Identifier: MIT */
/*
 * Sliding latency windows out of the workers' ever-growing histograms.
 *
 * A window is a sum of slots; a slot holds the samples of one second, of ten,
 * or of a minute, and only its buckets in use: a second of a backend touches a
 * few dozen of the 704, so slots cost a tenth of full snapshots.
 *
 * The sum of the workers' u32 counts is right modulo 2^32 although each of them
 * wraps, and so is the low half of our own u64 sum; their difference is what
 * came since the last fold.  No copy of the workers' last counts is needed.
 */
#include "weir/stats/window.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/check.h"

/* One u32 an entry: bucket above, count below; large counts take several entries. */
#define ENTRY_COUNT_BITS 22
#define ENTRY_COUNT_MAX ((UINT32_C(1) << ENTRY_COUNT_BITS) - 1)
_Static_assert(HIST_BUCKETS <= 1u << (32 - ENTRY_COUNT_BITS), "a bucket fits an entry");

struct slot {
	uint32_t *entries; /* owns; NULL without samples */
	uint32_t n_entries;
	uint64_t sum_us;
	uint64_t overflow;
};

/* Samples of some time, one count a bucket: what slots are made of and added to. */
struct tally {
	uint64_t count[HIST_BUCKETS];
	uint64_t sum_us;
	uint64_t overflow;
};

/* How slots are kept: level 0 a second each, level 1 ten seconds, level 2 a minute. */
#define N_LEVELS 3
#define MAX_SLOTS 10
/* As many as there can be (workers in tbl/directives.def). */
#define WORKERS_MAX 256
static const struct {
	uint32_t n_slots; /* kept for windows */
	uint32_t n_below; /* slots of the level below that make one of these */
} levels[N_LEVELS] = {
    {.n_slots = 10, .n_below = 1},
    {.n_slots = 6, .n_below = 10},
    {.n_slots = 5, .n_below = 6},
};

struct ring {
	uint64_t span_us[MAX_SLOTS]; /* of each slot, the same for all phases */
	uint64_t n_closed;           /* slots ever closed; the newest is (n_closed - 1) % n_slots */
	uint32_t n_open;             /* of them, those that no slot of the level above holds */
};

struct series {
	struct hist_total start; /* since start; span_us unused */
	uint32_t groups;         /* of its buckets, those that were ever used */
	struct slot slots[N_LEVELS][MAX_SLOTS];
};

struct windows {
	struct series *phases[N_PHASES]; /* owns; NULL until the first sample */
	struct ring rings[N_LEVELS];
	uint64_t start_us;
	uint64_t last_us;
	uint64_t n_lost;
};

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
		struct series *s = w->phases[p];
		for (size_t level = 0; s && level < N_LEVELS; level++)
			for (size_t i = 0; i < MAX_SLOTS; i++)
				free(s->slots[level][i].entries);
		free(s);
	}
	free(w);
}

uint64_t windows_lost(const struct windows *w)
{
	return w->n_lost;
}

/* ---- slots ---- */

static uint32_t entries_needed(const struct tally *t)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < HIST_BUCKETS; i++)
		n += (uint32_t)((t->count[i] + ENTRY_COUNT_MAX - 1) / ENTRY_COUNT_MAX);
	return n;
}

static inline void slot_append(struct slot *slot, uint32_t bucket, uint64_t n)
{
	while (n) {
		uint32_t part = n < ENTRY_COUNT_MAX ? (uint32_t)n : ENTRY_COUNT_MAX;
		slot->entries[slot->n_entries++] = bucket << ENTRY_COUNT_BITS | part;
		n -= part;
	}
}

/* Replaces what the slot held; without memory it is left empty. */
static bool slot_store(struct slot *slot, const struct tally *t)
{
	uint32_t n = entries_needed(t);
	free(slot->entries);
	*slot = (struct slot){0};
	if (n == 0)
		return true;
	slot->entries = malloc(n * sizeof(*slot->entries));
	if (!slot->entries)
		return false;
	for (uint32_t i = 0; i < HIST_BUCKETS; i++)
		slot_append(slot, i, t->count[i]);
	slot->sum_us = t->sum_us;
	slot->overflow = t->overflow;
	return true;
}

static void slot_add_to(const struct slot *slot, struct tally *t)
{
	for (uint32_t i = 0; i < slot->n_entries; i++) {
		uint32_t entry = slot->entries[i];
		t->count[entry >> ENTRY_COUNT_BITS] += entry & ENTRY_COUNT_MAX;
	}
	t->sum_us += slot->sum_us;
	t->overflow += slot->overflow;
}

/* ---- rings ---- */

/* Index of the slot that was closed `age` slots ago; 0 is the newest. */
static uint32_t ring_index(const struct windows *w, unsigned level, uint32_t age)
{
	return (uint32_t)((w->rings[level].n_closed - 1 - age) % levels[level].n_slots);
}

/* Makes room for a slot that covers span_us; its index comes back. */
static uint32_t ring_advance(struct windows *w, unsigned level, uint64_t span_us)
{
	struct ring *ring = &w->rings[level];
	ring->n_closed++;
	ring->n_open++;
	uint32_t i = ring_index(w, level, 0);
	ring->span_us[i] = span_us;
	return i;
}

static uint64_t ring_span_us(const struct windows *w, unsigned level, uint32_t n)
{
	uint64_t us = 0;
	for (uint32_t age = 0; age < n; age++)
		us += w->rings[level].span_us[ring_index(w, level, age)];
	return us;
}

/* Adds the newest n slots of a level. */
static void series_sum(const struct windows *w, const struct series *s, unsigned level, uint32_t n,
		       struct tally *t)
{
	for (uint32_t age = 0; age < n; age++)
		slot_add_to(&s->slots[level][ring_index(w, level, age)], t);
}

/* The slots below are full: one slot of this level for every phase. */
static void roll_up(struct windows *w, unsigned level)
{
	uint32_t n = levels[level].n_below;
	uint32_t i = ring_advance(w, level, ring_span_us(w, level - 1, n));
	for (size_t p = 0; p < N_PHASES; p++) {
		struct series *s = w->phases[p];
		if (!s)
			continue;
		struct tally t = {0};
		series_sum(w, s, level - 1, n, &t);
		if (!slot_store(&s->slots[level][i], &t))
			w->n_lost++;
	}
	w->rings[level - 1].n_open = 0;
}

/* ---- fold ---- */

/* What came since the last fold; only buckets of `groups` are set and may be read. */
struct fresh {
	uint32_t count[HIST_BUCKETS];
	uint32_t groups;
	uint32_t n_entries; /* a slot needs */
	uint64_t sum_us, max_us, overflow;
};

static void sum_bounds(const struct hist *const *hists, size_t n, struct fresh *f)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t max = atomic_load_explicit(&hists[i]->max_us, memory_order_relaxed);
		f->groups |= atomic_load_explicit(&hists[i]->groups, memory_order_relaxed);
		f->sum_us += atomic_load_explicit(&hists[i]->sum_us, memory_order_relaxed);
		f->overflow += atomic_load_explicit(&hists[i]->overflow, memory_order_relaxed);
		if (max > f->max_us)
			f->max_us = max;
	}
}

/* What the workers have now minus what `start` holds. */
static void take_difference(const struct hist_total *start, const struct hist *const *hists,
			    size_t n, struct fresh *f)
{
	f->groups = f->n_entries = 0;
	f->sum_us = f->max_us = f->overflow = 0;
	sum_bounds(hists, n, f);
	f->sum_us -= start->sum_us;
	f->overflow -= start->overflow;
	for (uint32_t left = f->groups; left; left &= left - 1) {
		uint32_t from = (uint32_t)__builtin_ctz(left) << HIST_SUB_BITS;
		for (uint32_t i = from; i < from + HIST_SUB; i++) {
			uint32_t now = 0;
			for (size_t k = 0; k < n; k++)
				now +=
				    atomic_load_explicit(&hists[k]->count[i], memory_order_relaxed);
			uint32_t d = now - (uint32_t)start->count[i];
			f->count[i] = d;
			if (d)
				f->n_entries += (d - 1) / ENTRY_COUNT_MAX + 1;
		}
	}
}

/* False without memory. */
static bool slot_store_fresh(struct slot *slot, const struct fresh *f)
{
	free(slot->entries);
	*slot = (struct slot){0};
	if (f->n_entries == 0)
		return true;
	slot->entries = malloc(f->n_entries * sizeof(*slot->entries));
	if (!slot->entries)
		return false;
	for (uint32_t left = f->groups; left; left &= left - 1) {
		uint32_t from = (uint32_t)__builtin_ctz(left) << HIST_SUB_BITS;
		for (uint32_t i = from; i < from + HIST_SUB; i++)
			slot_append(slot, i, f->count[i]);
	}
	slot->sum_us = f->sum_us;
	slot->overflow = f->overflow;
	return true;
}

static void start_add(struct hist_total *start, const struct fresh *f)
{
	for (uint32_t left = f->groups; left; left &= left - 1) {
		uint32_t from = (uint32_t)__builtin_ctz(left) << HIST_SUB_BITS;
		for (uint32_t i = from; i < from + HIST_SUB; i++) {
			start->count[i] += f->count[i];
			start->n += f->count[i];
		}
	}
	start->sum_us += f->sum_us;
	start->overflow += f->overflow;
	start->max_us = f->max_us;
}

static void fold_phase(struct windows *w, enum phase phase, const struct hist_set *const *sets,
		       size_t n_sets, uint32_t slot)
{
	const struct hist *hists[WORKERS_MAX];
	struct fresh fresh;
	size_t n = 0;
	for (size_t i = 0; i < n_sets && n < WORKERS_MAX; i++) {
		const struct hist *h = sets[i] ? hist_set_get(sets[i], phase) : NULL;
		if (h)
			hists[n++] = h;
	}
	struct series **series = &w->phases[phase];
	if (n && !*series)
		*series = calloc(1, sizeof(**series));
	struct series *s = *series;
	if (!n || !s)
		return; /* nothing is lost: the next fold takes it all */
	take_difference(&s->start, hists, n, &fresh);
	s->groups = fresh.groups;
	/* without memory for the slot `start` stays, and the next fold takes both seconds */
	if (slot_store_fresh(&s->slots[0][slot], &fresh) && fresh.n_entries)
		start_add(&s->start, &fresh);
}

void windows_fold(struct windows *w, const struct hist_set *const *sets, size_t n_sets,
		  uint64_t now_us)
{
	uint32_t slot = ring_advance(w, 0, now_us - w->last_us);
	w->last_us = now_us;
	for (int p = 0; p < N_PHASES; p++)
		fold_phase(w, (enum phase)p, sets, n_sets, slot);
	for (unsigned level = 1; level < N_LEVELS; level++)
		if (w->rings[level - 1].n_open == levels[level].n_below)
			roll_up(w, level);
}

/* ---- read ---- */

static uint64_t top_us(const struct hist_total *t, uint64_t start_max_us)
{
	if (t->n == 0)
		return 0;
	if (t->overflow)
		return start_max_us;
	uint32_t i = HIST_BUCKETS - 1;
	while (t->count[i] == 0)
		i--;
	uint64_t top = hist_lower_us(i) + hist_width_us(i) - 1;
	return top < start_max_us ? top : start_max_us;
}

static uint32_t min_u32(uint64_t a, uint32_t b)
{
	return a < b ? (uint32_t)a : b;
}

/* How many of the newest slots of each level make the window. */
static void window_slots(const struct windows *w, enum window window, uint32_t n[N_LEVELS])
{
	unsigned top = (unsigned)window;
	for (unsigned level = 0; level < N_LEVELS; level++)
		n[level] = level < top ? w->rings[level].n_open : 0;
	n[top] = min_u32(w->rings[top].n_closed, levels[top].n_slots);
}

void windows_read(const struct windows *w, enum phase phase, enum window window,
		  struct hist_total *out)
{
	const struct series *s = w->phases[phase];
	if (window == WINDOW_START) {
		if (s)
			*out = s->start;
		else
			memset(out, 0, sizeof(*out));
		out->span_us = w->last_us - w->start_us;
		return;
	}
	uint32_t n[N_LEVELS];
	struct tally t = {0};
	memset(out, 0, sizeof(*out));
	window_slots(w, window, n);
	for (unsigned level = 0; level < N_LEVELS; level++) {
		out->span_us += ring_span_us(w, level, n[level]);
		if (s)
			series_sum(w, s, level, n[level], &t);
	}
	memcpy(out->count, t.count, sizeof(out->count));
	for (uint32_t i = 0; i < HIST_BUCKETS; i++)
		out->n += t.count[i];
	out->sum_us = t.sum_us;
	out->overflow = t.overflow;
	out->max_us = s ? top_us(out, s->start.max_us) : 0;
}

/* ---- summaries ---- */

/* A part of the buckets, and what is in them. */
struct extract {
	uint32_t low, high; /* buckets in use, both ends included */
	uint64_t count[HIST_BUCKETS], n, sum_us, overflow;
};

/* Entries are in the order of their buckets: the ends are known without a look at the rest. */
static void widen(const struct slot *slot, struct extract *x)
{
	if (!slot->n_entries)
		return;
	uint32_t low = slot->entries[0] >> ENTRY_COUNT_BITS;
	uint32_t high = slot->entries[slot->n_entries - 1] >> ENTRY_COUNT_BITS;
	if (low < x->low)
		x->low = low;
	if (high > x->high)
		x->high = high;
}

static void extract_slot(const struct slot *slot, struct extract *x)
{
	for (uint32_t i = 0; i < slot->n_entries; i++) {
		uint32_t n = slot->entries[i] & ENTRY_COUNT_MAX;
		x->count[slot->entries[i] >> ENTRY_COUNT_BITS] += n;
		x->n += n;
	}
	x->sum_us += slot->sum_us;
	x->overflow += slot->overflow;
}

static void extract_window(const struct windows *w, const struct series *s, enum window window,
			   struct extract *x)
{
	uint32_t n[N_LEVELS];
	window_slots(w, window, n);
	x->low = HIST_BUCKETS;
	x->high = 0;
	x->n = x->sum_us = x->overflow = 0;
	for (unsigned level = 0; level < N_LEVELS; level++)
		for (uint32_t age = 0; age < n[level]; age++)
			widen(&s->slots[level][ring_index(w, level, age)], x);
	if (x->low > x->high)
		return;
	memset(&x->count[x->low], 0, (x->high - x->low + 1) * sizeof(x->count[0]));
	for (unsigned level = 0; level < N_LEVELS; level++)
		for (uint32_t age = 0; age < n[level]; age++)
			extract_slot(&s->slots[level][ring_index(w, level, age)], x);
}

static void extract_start(const struct series *s, struct extract *x)
{
	x->low = (uint32_t)__builtin_ctz(s->groups) << HIST_SUB_BITS;
	x->high = ((32 - (uint32_t)__builtin_clz(s->groups)) << HIST_SUB_BITS) - 1;
	memcpy(&x->count[x->low], &s->start.count[x->low],
	       (x->high - x->low + 1) * sizeof(x->count[0]));
	x->n = s->start.n;
	x->sum_us = s->start.sum_us;
	x->overflow = s->start.overflow;
}

static void extract_quantiles(const struct extract *x, uint64_t max_us, const double *q, size_t n,
			      uint64_t *us)
{
	uint64_t seen = x->count[x->low];
	uint32_t i = x->low;
	for (size_t k = 0; k < n; k++) {
		double wanted = ceil(q[k] * (double)x->n - 1e-6);
		uint64_t rank = wanted < 1 ? 1 : (uint64_t)wanted;
		while (seen < rank && i < x->high)
			seen += x->count[++i];
		uint64_t mid = hist_lower_us(i) + hist_width_us(i) / 2;
		us[k] = rank > x->n - x->overflow || mid > max_us ? max_us : mid;
	}
}

void windows_summary(const struct windows *w, enum phase phase, enum window window,
		     struct hist_summary *out)
{
	static const double q[] = {0.5, 0.9, 0.99, 0.999};
	const struct series *s = w->phases[phase];
	struct extract x;
	uint64_t us[ARRAY_LEN(q)];
	*out = (struct hist_summary){0};
	if (!s || !s->start.n)
		return;
	if (window == WINDOW_START)
		extract_start(s, &x);
	else
		extract_window(w, s, window, &x);
	if (!x.n)
		return;
	out->n = x.n;
	out->mean_us = (double)x.sum_us / (double)x.n;
	out->max_us = s->start.max_us;
	uint32_t high = x.high;
	while (x.count[high] == 0)
		high--;
	uint64_t top = hist_lower_us(high) + hist_width_us(high) - 1;
	if (window != WINDOW_START && !x.overflow && top < out->max_us)
		out->max_us = top;
	extract_quantiles(&x, out->max_us, q, ARRAY_LEN(q), us);
	out->p50_us = us[0];
	out->p90_us = us[1];
	out->p99_us = us[2];
	out->p999_us = us[3];
}

/* ---- the last second ---- */

/* Entries are in the order of their buckets. */
static uint64_t slot_rank_us(const struct slot *slot, uint64_t rank)
{
	uint64_t seen = 0;
	for (uint32_t i = 0; i < slot->n_entries; i++) {
		uint32_t bucket = slot->entries[i] >> ENTRY_COUNT_BITS;
		seen += slot->entries[i] & ENTRY_COUNT_MAX;
		if (seen >= rank)
			return hist_lower_us(bucket) + hist_width_us(bucket) / 2;
	}
	return 0;
}

static const struct slot *newest_slot(const struct windows *w, enum phase phase)
{
	const struct series *s = w->phases[phase];
	return s && w->rings[0].n_closed ? &s->slots[0][ring_index(w, 0, 0)] : NULL;
}

void windows_newest_add(const struct windows *w, enum phase phase, struct hist_total *total)
{
	const struct slot *slot = newest_slot(w, phase);
	for (uint32_t i = 0; slot && i < slot->n_entries; i++) {
		uint32_t n = slot->entries[i] & ENTRY_COUNT_MAX;
		total->count[slot->entries[i] >> ENTRY_COUNT_BITS] += n;
		total->n += n;
	}
	total->max_us = UINT64_MAX; /* not known: nothing is cut */
}

void windows_newest(const struct windows *w, enum phase phase, const double *q, size_t n,
		    uint64_t *us)
{
	const struct slot *slot = newest_slot(w, phase);
	uint64_t total = 0;
	for (uint32_t i = 0; slot && i < slot->n_entries; i++)
		total += slot->entries[i] & ENTRY_COUNT_MAX;
	for (size_t k = 0; k < n; k++) {
		double wanted = ceil(q[k] * (double)total - 1e-6);
		us[k] = total ? slot_rank_us(slot, wanted < 1 ? 1 : (uint64_t)wanted) : 0;
	}
}
