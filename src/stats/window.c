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
#include "windows.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/check.h"

/* As many as there can be (workers in tbl/directives.def). */
#define WORKERS_MAX 256
/* All but the buckets. */
#define SERIES_LINES \
	((sizeof(struct series) - offsetof(struct series, start.n)) / WEIR_CACHE_LINE + 1)

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
	for (size_t p = 0; p < N_PHASES; p++)
		free(w->phases[p]);
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
	uint32_t n_entries; /* it needs */
	uint64_t sum_us, max_us, overflow;
};

static inline void part_set(struct part *part, uint32_t bucket, uint32_t n)
{
	part->count[bucket] = n;
	if (n)
		part->n_entries += (n - 1) / ENTRY_COUNT_MAX + 1;
}

static void put_part(struct slot *slot, enum phase phase, const struct part *part)
{
	uint32_t *entry = slot->entries + (phase ? slot->end[phase - 1] : 0);
	for (uint32_t left = part->groups; left; left &= left - 1) {
		uint32_t from = (uint32_t)__builtin_ctz(left) << HIST_SUB_BITS;
		for (uint32_t i = from; i < from + HIST_SUB; i++) {
			for (uint32_t n = part->count[i], some; n; n -= some) {
				some = n < ENTRY_COUNT_MAX ? n : ENTRY_COUNT_MAX;
				*entry++ = i << ENTRY_COUNT_BITS | some;
			}
		}
	}
	slot->end[phase] = (uint32_t)(entry - slot->entries);
	/* a sum may run ahead of its counts: then the next slot has both */
	slot->sum_us[phase] = part->n_entries ? part->sum_us : 0;
	slot->overflow[phase] = part->n_entries ? (uint32_t)part->overflow : 0;
}

/*
 * Small areas of known sizes, by parts that compilers store to: what they make of the
 * whole ("rep stos") takes far longer to begin than to end.
 */
static inline void clear(void *ptr, size_t size)
{
	enum { PART = 16 };
	for (size_t i = 0; i < size; i += PART)
		memset((char *)ptr + i, 0, PART);
}
_Static_assert(HIST_GROUPS % 2 == 0, "sizes are multiples of a part");

static inline void part_clear(struct part *part)
{
	part->groups = part->n_entries = 0;
	part->sum_us = part->max_us = part->overflow = 0;
}

/* Replaces what the slot held; false without memory, and then it is empty. */
static bool slot_store(struct windows *w, unsigned level, uint32_t i,
		       const struct part parts[N_PHASES])
{
	struct slot **at = &w->slots[level][i];
	size_t n = 0;
	for (int p = 0; p < N_PHASES; p++)
		n += parts[p].n_entries;
	free(*at);
	*at = NULL;
	if (n == 0)
		return true;
	size_t size = sizeof(struct slot) + n * sizeof(uint32_t);
	struct slot *slot = malloc(size);
	if (!slot)
		return false;
	w->lines[level][i] = (uint16_t)(size / WEIR_CACHE_LINE + 1);
	for (int p = 0; p < N_PHASES; p++)
		put_part(slot, (enum phase)p, &parts[p]);
	*at = slot;
	return true;
}

/* The entries of a phase: in the order of their buckets. */
struct span {
	const uint32_t *from, *to;
};

static inline struct span slot_span(const struct slot *slot, enum phase phase)
{
	if (!slot)
		return (struct span){NULL, NULL};
	return (struct span){slot->entries + (phase ? slot->end[phase - 1] : 0),
			     slot->entries + slot->end[phase]};
}

/* ---- rings ---- */

/* Index of the slot that was closed `age` slots ago; 0 is the newest. */
static uint32_t ring_index(const struct windows *w, unsigned level, uint32_t age)
{
	return (uint32_t)((w->rings[level].n_closed - 1 - age) % window_levels[level].n_slots);
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

/* The slot that was closed `age` slots ago; NULL when nothing happened then. */
static inline const struct slot *slot_at(const struct windows *w, unsigned level, uint32_t age)
{
	return w->slots[level][ring_index(w, level, age)];
}

/* ---- roll up ---- */

static void part_add_slot(struct part *part, const struct slot *slot, enum phase phase)
{
	struct span span = slot_span(slot, phase);
	for (const uint32_t *e = span.from; e < span.to; e++) {
		uint32_t i = *e >> ENTRY_COUNT_BITS;
		if (!(part->groups & hist_group(i)))
			clear(&part->count[i & ~(HIST_SUB - 1)], HIST_SUB * sizeof(part->count[0]));
		part->groups |= hist_group(i);
		part->count[i] += *e & ENTRY_COUNT_MAX;
	}
	part->sum_us += slot ? slot->sum_us[phase] : 0;
	part->overflow += slot ? slot->overflow[phase] : 0;
}

/* All slots are added: how much room it takes. */
static void part_close(struct part *part)
{
	for (uint32_t left = part->groups; left; left &= left - 1) {
		uint32_t from = (uint32_t)__builtin_ctz(left) << HIST_SUB_BITS;
		for (uint32_t i = from; i < from + HIST_SUB; i++)
			part_set(part, i, part->count[i]);
	}
}

/* The slots below are full: one slot of this level for all of them. */
static void roll_up(struct windows *w, unsigned level)
{
	struct part parts[N_PHASES];
	uint32_t n = window_levels[level].n_below;
	uint32_t i = ring_advance(w, level, ring_span_us(w, level - 1, n));
	for (int p = 0; p < N_PHASES; p++) {
		part_clear(&parts[p]);
		for (uint32_t age = 0; age < n; age++)
			part_add_slot(&parts[p], slot_at(w, level - 1, age), (enum phase)p);
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
};

static void find_source(const struct hist_set *const *sets, size_t n_sets, enum phase phase,
			struct source *src)
{
	src->n = src->zeros = 0;
	for (size_t i = 0; i < n_sets && i < WORKERS_MAX; i++) {
		if (!sets[i])
			continue;
		const struct hist *h = hist_set_get(sets[i], phase);
		src->zeros += atomic_load_explicit(&sets[i]->zeros[phase], memory_order_relaxed);
		if (h)
			src->hists[src->n++] = h;
	}
}

static void sum_bounds(const struct source *src, struct part *part)
{
	for (size_t i = 0; i < src->n; i++) {
		const struct hist *h = src->hists[i];
		uint64_t max = atomic_load_explicit(&h->max_us, memory_order_relaxed);
		part->groups |= atomic_load_explicit(&h->groups, memory_order_relaxed);
		part->sum_us += atomic_load_explicit(&h->sum_us, memory_order_relaxed);
		part->overflow += atomic_load_explicit(&h->overflow, memory_order_relaxed);
		if (max > part->max_us)
			part->max_us = max;
	}
}

/* A thousand backends' counts are in no cache: wait for all lines at once, not one by one. */
static void ask_for(const struct hist_total *start, const struct source *src, uint32_t groups)
{
	for (uint32_t left = groups; left; left &= left - 1) {
		uint32_t from = (uint32_t)__builtin_ctz(left) << HIST_SUB_BITS;
		for (size_t k = 0; k < src->n; k++)
			for (uint32_t i = 0; i < HIST_SUB; i += 16)
				__builtin_prefetch(&src->hists[k]->count[from + i]);
		for (uint32_t i = 0; i < HIST_SUB; i += 8)
			__builtin_prefetch(&start->count[from + i]);
	}
}

/* What the workers have now minus what `start` holds. */
static void take_difference(const struct hist_total *start, const struct source *src,
			    struct part *part)
{
	sum_bounds(src, part);
	part->sum_us -= start->sum_us;
	part->overflow -= start->overflow;
	if (src->zeros)
		part->groups |= hist_group(0);
	ask_for(start, src, part->groups);
	for (uint32_t left = part->groups; left; left &= left - 1) {
		uint32_t from = (uint32_t)__builtin_ctz(left) << HIST_SUB_BITS;
		for (uint32_t i = from; i < from + HIST_SUB; i++) {
			uint32_t now = i ? 0 : src->zeros;
			for (size_t k = 0; k < src->n; k++)
				now += atomic_load_explicit(&src->hists[k]->count[i],
							    memory_order_relaxed);
			part_set(part, i, now - (uint32_t)start->count[i]);
		}
	}
}

/* Whatever a phase is made of is in the slot: since start it counts, too. */
static void start_add(struct series *s, const struct part *part)
{
	for (uint32_t left = part->groups; left; left &= left - 1) {
		uint32_t group = (uint32_t)__builtin_ctz(left), from = group << HIST_SUB_BITS;
		uint64_t n = 0;
		for (uint32_t i = from; i < from + HIST_SUB; i++) {
			s->start.count[i] += part->count[i];
			n += part->count[i];
		}
		s->group_n[group] += n;
		s->start.n += n;
	}
	s->start.sum_us += part->sum_us;
	s->start.overflow += part->overflow;
	s->start.max_us = part->max_us;
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
	if (*series) /* else nothing is lost: the next fold takes it all */
		take_difference(&(*series)->start, &src, part);
}

/* The parts are the newest slot; false without memory for it. */
static bool close_second(struct windows *w, const struct part parts[N_PHASES], uint64_t now_us)
{
	uint32_t slot = ring_advance(w, 0, now_us - w->last_us);
	w->last_us = now_us;
	bool stored = slot_store(w, 0, slot, parts);
	if (stored)
		for (int p = 0; p < N_PHASES; p++)
			if (parts[p].n_entries) {
				start_add(w->phases[p], &parts[p]);
				w->groups[p] |= parts[p].groups;
			}
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
		part_add_slot(part, slot_at(of[i], 0, 0), phase);
		if (s->start.max_us > part->max_us)
			part->max_us = s->start.max_us;
	}
	part_close(part);
	if (part->n_entries && !*series && !(*series = calloc(1, sizeof(**series)))) {
		sum->n_lost++;
		part_clear(part);
	} else if (*series && (*series)->start.max_us > part->max_us) {
		part->max_us = (*series)->start.max_us; /* one that has left had it */
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

/* ---- read ---- */

static void prefetch(const void *from, size_t n_lines)
{
	for (size_t i = 0; i < n_lines; i++)
		__builtin_prefetch((const char *)from + i * WEIR_CACHE_LINE);
}

void windows_prefetch_octaves(const struct windows *w)
{
	for (int p = 0; p < N_PHASES; p++)
		if (w->phases[p])
			prefetch(&w->phases[p]->start.n, SERIES_LINES);
}

static void prefetch_start(const struct windows *w, enum phase phase)
{
	const size_t lines = HIST_SUB * sizeof(w->phases[0]->start.count[0]) / WEIR_CACHE_LINE;
	for (uint32_t left = w->groups[phase]; left; left &= left - 1)
		prefetch(
		    &w->phases[phase]->start.count[(uint32_t)__builtin_ctz(left) << HIST_SUB_BITS],
		    lines);
}

void windows_prefetch(const struct windows *w)
{
	windows_prefetch_octaves(w);
	for (int p = 0; p < N_PHASES; p++)
		prefetch_start(w, (enum phase)p);
	for (unsigned level = 0; level < N_LEVELS; level++) {
		for (uint32_t i = 0; i < window_levels[level].n_slots; i++) {
			if (w->slots[level][i])
				prefetch(w->slots[level][i], w->lines[level][i]);
		}
	}
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
	n[top] = min_u32(w->rings[top].n_closed, window_levels[top].n_slots);
}

/* What is in a window of a phase. */
struct extract {
	const uint64_t *count;         /* `sum`, or what the windows have since start */
	uint64_t group_n[HIST_GROUPS]; /* the same, 32 buckets a number: to find a rank in */
	uint64_t n, sum_us, overflow;
	uint64_t sum[HIST_BUCKETS]; /* of groups with samples only */
};

static inline void extract_group(struct extract *x, uint32_t group, uint64_t n)
{
	x->group_n[group] += n;
	x->n += n;
}

/* Entries come in the order of their buckets: a group is looked at once. */
static void extract_slot(const struct slot *slot, enum phase phase, struct extract *x)
{
	struct span span = slot_span(slot, phase);
	uint32_t group = 0;
	uint64_t in_group = 0;
	for (const uint32_t *e = span.from; e < span.to; e++) {
		uint32_t n = *e & ENTRY_COUNT_MAX, i = *e >> ENTRY_COUNT_BITS;
		if (in_group == 0 || group != i >> HIST_SUB_BITS) {
			extract_group(x, group, in_group);
			in_group = 0;
			group = i >> HIST_SUB_BITS;
			if (!x->group_n[group]) /* nobody else looks at it */
				clear(&x->sum[group << HIST_SUB_BITS],
				      HIST_SUB * sizeof(x->sum[0]));
		}
		x->sum[i] += n;
		in_group += n;
	}
	extract_group(x, group, in_group);
	x->sum_us += slot ? slot->sum_us[phase] : 0;
	x->overflow += slot ? slot->overflow[phase] : 0;
}

static void extract_window(const struct windows *w, enum phase phase, enum window window,
			   struct extract *x)
{
	uint32_t n[N_LEVELS];
	window_slots(w, window, n);
	x->count = x->sum;
	x->n = x->sum_us = x->overflow = 0;
	clear(x->group_n, sizeof(x->group_n));
	for (unsigned level = 0; level < N_LEVELS; level++)
		for (uint32_t age = 0; age < n[level]; age++)
			extract_slot(slot_at(w, level, age), phase, x);
}

static void extract_start(const struct series *s, struct extract *x)
{
	x->count = s->start.count;
	memcpy(x->group_n, s->group_n, sizeof(x->group_n));
	x->n = s->start.n;
	x->sum_us = s->start.sum_us;
	x->overflow = s->start.overflow;
}

/* The buckets of a window; false without samples. */
static bool extract_phase(const struct windows *w, enum phase phase, enum window window,
			  struct extract *x)
{
	const struct series *s = w->phases[phase];
	if (!s)
		return false;
	if (window == WINDOW_START)
		extract_start(s, x);
	else
		extract_window(w, phase, window, x);
	return x->n > 0;
}

/* The longest sample since start, or the top of the highest bucket if that is below it. */
static uint64_t extract_max_us(const struct extract *x, enum window window, uint64_t start_max_us)
{
	uint32_t group = HIST_GROUPS - 1;
	if (window == WINDOW_START || x->overflow)
		return start_max_us;
	while (x->group_n[group] == 0)
		group--;
	uint32_t i = (group << HIST_SUB_BITS) + HIST_SUB - 1;
	while (x->count[i] == 0)
		i--;
	uint64_t top = hist_lower_us(i) + hist_width_us(i) - 1;
	return top < start_max_us ? top : start_max_us;
}

static uint64_t window_span_us(const struct windows *w, enum window window)
{
	uint32_t n[N_LEVELS];
	uint64_t us = 0;
	if (window == WINDOW_START)
		return w->last_us - w->start_us;
	window_slots(w, window, n);
	for (unsigned level = 0; level < N_LEVELS; level++)
		us += ring_span_us(w, level, n[level]);
	return us;
}

void windows_add(const struct windows *w, enum phase phase, enum window window,
		 struct hist_total *out)
{
	struct extract x;
	uint64_t span_us = window_span_us(w, window);
	if (span_us > out->span_us)
		out->span_us = span_us;
	if (!extract_phase(w, phase, window, &x))
		return;
	for (uint32_t group = 0; group < HIST_GROUPS; group++) {
		uint32_t from = group << HIST_SUB_BITS;
		for (uint32_t i = from; x.group_n[group] && i < from + HIST_SUB; i++)
			out->count[i] += x.count[i];
	}
	out->n += x.n;
	out->sum_us += x.sum_us;
	out->overflow += x.overflow;
	uint64_t max_us = extract_max_us(&x, window, w->phases[phase]->start.max_us);
	if (max_us > out->max_us)
		out->max_us = max_us;
}

void windows_read(const struct windows *w, enum phase phase, enum window window,
		  struct hist_total *out)
{
	*out = (struct hist_total){0};
	windows_add(w, phase, window, out);
}

/* Quantiles as parts in a thousand, in ascending order. */
static void extract_quantiles(const struct extract *x, uint64_t max_us, const uint32_t *permille,
			      size_t n, uint64_t *us)
{
	uint64_t before = 0; /* samples in the groups before */
	uint64_t seen = 0;   /* and in the buckets up to i of this one */
	uint32_t group = 0, i = 0;
	for (size_t k = 0; k < n; k++) {
		uint64_t rank = (x->n * permille[k] + 999) / 1000;
		if (k == 0 || before + x->group_n[group] < rank) {
			while (before + x->group_n[group] < rank)
				before += x->group_n[group++];
			i = group << HIST_SUB_BITS;
			seen = before + x->count[i];
		}
		while (seen < rank)
			seen += x->count[++i];
		uint64_t mid = hist_lower_us(i) + hist_width_us(i) / 2;
		us[k] = rank > x->n - x->overflow || mid > max_us ? max_us : mid;
	}
}

void windows_summary(const struct windows *w, enum phase phase, enum window window,
		     struct hist_summary *out)
{
	static const uint32_t permille[] = {500, 900, 990, 999};
	struct extract x;
	uint64_t us[ARRAY_LEN(permille)];
	*out = (struct hist_summary){0};
	if (!extract_phase(w, phase, window, &x))
		return;
	out->n = x.n;
	out->mean_us = (double)x.sum_us / (double)x.n;
	out->max_us = extract_max_us(&x, window, w->phases[phase]->start.max_us);
	extract_quantiles(&x, out->max_us, permille, ARRAY_LEN(permille), us);
	out->p50_us = us[0];
	out->p90_us = us[1];
	out->p99_us = us[2];
	out->p999_us = us[3];
}

/* ---- the last second ---- */

static uint64_t span_rank_us(struct span span, uint64_t rank)
{
	uint64_t seen = 0;
	for (const uint32_t *e = span.from; e < span.to; e++) {
		uint32_t bucket = *e >> ENTRY_COUNT_BITS;
		seen += *e & ENTRY_COUNT_MAX;
		if (seen >= rank)
			return hist_lower_us(bucket) + hist_width_us(bucket) / 2;
	}
	return 0;
}

static struct span newest_span(const struct windows *w, enum phase phase)
{
	return slot_span(w->rings[0].n_closed ? slot_at(w, 0, 0) : NULL, phase);
}

void windows_newest_add(const struct windows *w, enum phase phase, struct hist_total *total)
{
	struct span span = newest_span(w, phase);
	for (const uint32_t *e = span.from; e < span.to; e++) {
		uint32_t n = *e & ENTRY_COUNT_MAX;
		total->count[*e >> ENTRY_COUNT_BITS] += n;
		total->n += n;
	}
	total->max_us = UINT64_MAX; /* not known: nothing is cut */
}

void windows_newest_each(const struct windows *w, enum phase phase,
			 void (*fn)(void *arg, uint32_t bucket, uint32_t n), void *arg)
{
	struct span span = newest_span(w, phase);
	for (const uint32_t *e = span.from; e < span.to; e++)
		fn(arg, *e >> ENTRY_COUNT_BITS, *e & ENTRY_COUNT_MAX);
}

void windows_newest(const struct windows *w, enum phase phase, const double *q, size_t n,
		    uint64_t *us)
{
	struct span span = newest_span(w, phase);
	uint64_t total = 0;
	for (const uint32_t *e = span.from; e < span.to; e++)
		total += *e & ENTRY_COUNT_MAX;
	for (size_t k = 0; k < n; k++) {
		double wanted = ceil(q[k] * (double)total - 1e-6);
		us[k] = total ? span_rank_us(span, wanted < 1 ? 1 : (uint64_t)wanted) : 0;
	}
}

/* ---- since start, coarsely ---- */

bool windows_octaves(const struct windows *w, enum phase phase, struct hist_octaves *out)
{
	const struct series *s = w->phases[phase];
	if (!s || !s->start.n)
		return false;
	out->count = s->group_n;
	out->n = s->start.n;
	out->sum_us = s->start.sum_us;
	return true;
}
