/* SPDX-License-Identifier: MIT */
/* Latency windows as they are read: totals, summaries, the last second. */
#include "windows.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define SERIES_LINES (sizeof(struct series) / WEIR_CACHE_LINE + 1)

static void prefetch(const void *from, size_t n_lines)
{
	for (size_t i = 0; i < n_lines; i++)
		__builtin_prefetch((const char *)from + i * WEIR_CACHE_LINE);
}

void windows_prefetch_octaves(const struct windows *w)
{
	for (int p = 0; p < N_PHASES; p++)
		if (w->phases[p])
			prefetch(w->phases[p], SERIES_LINES);
}

static void prefetch_start(const struct sparse *start)
{
	prefetch(start->numbers, sparse_bytes(start) / WEIR_CACHE_LINE);
}

void windows_prefetch(const struct windows *w)
{
	windows_prefetch_octaves(w);
	for (int p = 0; p < N_PHASES; p++)
		prefetch_start(&w->start[p]);
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
	uint32_t groups;           /* a bit for each with samples: only theirs is set */
	const struct sparse *from; /* of which buckets are read when somebody asks for them */
	uint32_t loaded;           /* a bit for each group that was */
	uint64_t n, sum_us, overflow;
	uint64_t group_n[HIST_GROUPS]; /* to find a rank in */
	uint32_t used[HIST_GROUPS];    /* a bit for each bucket that may have any */
	uint64_t sum[HIST_BUCKETS];    /* where `used` says so */
};

/* The buckets of a group that has some. */
static inline const uint64_t *group_of(struct extract *x, uint32_t group)
{
	uint64_t *buckets = &x->sum[group << HIST_SUB_BITS];
	if (x->from && !(x->loaded >> group & 1)) {
		sparse_load(x->from, group, buckets);
		x->loaded |= UINT32_C(1) << group;
	}
	return buckets;
}

/* The same: bits of those that may have any. */
static inline uint32_t used_of(const struct extract *x, uint32_t group)
{
	return x->from ? UINT32_MAX : x->used[group];
}

static void extract_group(struct slot_group *g, struct extract *x)
{
	uint64_t *buckets = &x->sum[g->group << HIST_SUB_BITS], n = 0;
	uint32_t bit = UINT32_C(1) << g->group;
	uint32_t had = x->groups & bit ? x->used[g->group] : 0;
	for (uint32_t fresh = g->used & ~had; fresh; fresh &= fresh - 1)
		buckets[__builtin_ctz(fresh)] = 0;
	x->used[g->group] = had | g->used;
	if (!g->bits) /* most of a second */
		for (; g->used; g->used &= g->used - 1, n++)
			buckets[__builtin_ctz(g->used)]++;
	while (g->used) {
		struct entry e = slot_entry_next(g);
		buckets[e.bucket & (HIST_SUB - 1)] += e.n;
		n += e.n;
	}
	x->group_n[g->group] = n + (x->groups & bit ? x->group_n[g->group] : 0);
	x->groups |= bit;
	x->n += n;
}

static void extract_slot(const struct slot *slot, enum phase phase, struct extract *x)
{
	struct slot_span span = window_slot_span(slot, phase);
	struct slot_group g;
	while (slot_group_next(&span, &g))
		extract_group(&g, x);
	x->sum_us += slot->sum_us[phase];
	x->overflow += window_slot_overflow(slot, phase);
}

/* Slots of a window that have anything, the newest of each level first. */
struct slots {
	const struct slot *slot[N_LEVELS * MAX_SLOTS];
	uint32_t n;
};

static void find_slots(const struct windows *w, enum window window, struct slots *out)
{
	uint32_t n[N_LEVELS];
	window_slots(w, window, n);
	out->n = 0;
	for (unsigned level = 0; level < N_LEVELS; level++) {
		uint32_t i = n[level] ? window_ring_index(w, level, 0) : 0;
		for (; n[level]; n[level]--) {
			if (w->slots[level][i])
				out->slot[out->n++] = w->slots[level][i];
			i = i ? i - 1 : window_levels[level].n_slots - 1;
		}
	}
}

static void extract_window(const struct slots *slots, enum phase phase, struct extract *x)
{
	x->groups = 0;
	x->from = NULL;
	x->n = x->sum_us = x->overflow = 0;
	for (uint32_t i = 0; i < slots->n; i++)
		extract_slot(slots->slot[i], phase, x);
}

static void extract_start(const struct series *s, const struct sparse *start, struct extract *x)
{
	x->groups = 0;
	x->from = start;
	x->loaded = 0;
	for (uint32_t left = start->groups; left; left &= left - 1) {
		uint32_t group = (uint32_t)__builtin_ctz(left);
		x->group_n[group] = s->group_n[group];
		x->groups |= (uint32_t)(s->group_n[group] != 0) << group;
	}
	x->n = s->n;
	x->sum_us = s->sum_us;
	x->overflow = s->overflow;
}

/* The buckets of a window, of which `slots` are those unless it is everything; false without
 * samples. */
static bool extract_phase(const struct windows *w, enum phase phase, enum window window,
			  const struct slots *slots, struct extract *x)
{
	const struct series *s = w->phases[phase];
	if (!s)
		return false;
	if (window == WINDOW_START)
		extract_start(s, &w->start[phase], x);
	else
		extract_window(slots, phase, x);
	return x->n > 0;
}

/* The longest sample since start, or the top of the highest bucket if that is below it. */
static uint64_t extract_max_us(const struct extract *x, enum window window, uint64_t start_max_us)
{
	if (window == WINDOW_START || x->overflow)
		return start_max_us;
	uint32_t group = 31 - (uint32_t)__builtin_clz(x->groups);
	uint32_t i = 31 - (uint32_t)__builtin_clz(x->used[group]) + (group << HIST_SUB_BITS);
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
		us += window_ring_span_us(w, level, n[level]);
	return us;
}

void windows_add(const struct windows *w, enum phase phase, enum window window,
		 struct hist_total *out)
{
	struct extract x;
	struct slots slots;
	uint64_t span_us = window_span_us(w, window);
	if (span_us > out->span_us)
		out->span_us = span_us;
	if (window != WINDOW_START)
		find_slots(w, window, &slots);
	if (!extract_phase(w, phase, window, &slots, &x))
		return;
	for (uint32_t groups = x.groups; groups; groups &= groups - 1) {
		uint32_t group = (uint32_t)__builtin_ctz(groups);
		const uint64_t *buckets = group_of(&x, group);
		for (uint32_t left = used_of(&x, group); left; left &= left - 1) {
			uint32_t i = (uint32_t)__builtin_ctz(left);
			out->count[(group << HIST_SUB_BITS) + i] += buckets[i];
		}
	}
	out->n += x.n;
	out->sum_us += x.sum_us;
	out->overflow += x.overflow;
	uint64_t max_us = extract_max_us(&x, window, w->phases[phase]->max_us);
	if (max_us > out->max_us)
		out->max_us = max_us;
}

void windows_read(const struct windows *w, enum phase phase, enum window window,
		  struct hist_total *out)
{
	*out = (struct hist_total){0};
	windows_add(w, phase, window, out);
}

/* What hist_summary shows, as parts in a thousand, in ascending order. */
static const uint32_t permille[] = {500, 900, 990, 999};

static void extract_quantiles(struct extract *x, uint64_t max_us, uint64_t us[ARRAY_LEN(permille)])
{
	uint64_t upto = 0; /* samples up to the end of this group */
	uint64_t seen = 0; /* and up to this bucket */
	uint32_t groups = x->groups, group = 0, left = 0, bucket = 0;
	const uint64_t *buckets = NULL;
	for (size_t k = 0; k < ARRAY_LEN(permille); k++) {
		uint64_t rank = (x->n * permille[k] + 999) / 1000;
		if (upto < rank) {
			for (; upto < rank; groups &= groups - 1) {
				group = (uint32_t)__builtin_ctz(groups);
				seen = upto;
				upto += x->group_n[group];
			}
			buckets = group_of(x, group);
			left = used_of(x, group);
		}
		for (; seen < rank; left &= left - 1) {
			bucket = (uint32_t)__builtin_ctz(left);
			seen += buckets[bucket];
			bucket += group << HIST_SUB_BITS;
		}
		uint64_t mid = hist_lower_us(bucket) + hist_width_us(bucket) / 2;
		us[k] = rank > x->n - x->overflow || mid > max_us ? max_us : mid;
	}
}

static void summarise(const struct windows *w, enum phase phase, enum window window,
		      const struct slots *slots, struct hist_summary *out)
{
	struct extract x;
	uint64_t us[ARRAY_LEN(permille)];
	*out = (struct hist_summary){0};
	if (!extract_phase(w, phase, window, slots, &x))
		return;
	out->n = x.n;
	out->mean_us = (double)x.sum_us / (double)x.n;
	out->max_us = extract_max_us(&x, window, w->phases[phase]->max_us);
	extract_quantiles(&x, out->max_us, us);
	out->p50_us = us[0];
	out->p90_us = us[1];
	out->p99_us = us[2];
	out->p999_us = us[3];
}

void windows_summaries(const struct windows *w, enum phase from, enum window window,
		       struct hist_summary out[N_PHASES])
{
	struct slots slots;
	if (window != WINDOW_START)
		find_slots(w, window, &slots);
	for (int p = (int)from; p < N_PHASES; p++)
		summarise(w, (enum phase)p, window, &slots, &out[p]);
}

void windows_summary(const struct windows *w, enum phase phase, enum window window,
		     struct hist_summary *out)
{
	struct slots slots;
	if (window != WINDOW_START)
		find_slots(w, window, &slots);
	summarise(w, phase, window, &slots, out);
}

/* ---- the last second ---- */

static uint64_t span_rank_us(struct slot_span span, uint64_t rank)
{
	struct slot_group g;
	uint64_t seen = 0;
	while (slot_group_next(&span, &g)) {
		while (g.used) {
			struct entry e = slot_entry_next(&g);
			seen += e.n;
			if (seen >= rank)
				return hist_lower_us(e.bucket) + hist_width_us(e.bucket) / 2;
		}
	}
	return 0;
}

static struct slot_span newest_span(const struct windows *w, enum phase phase)
{
	return window_slot_span(w->rings[0].n_closed ? window_slot_at(w, 0, 0) : NULL, phase);
}

void windows_newest_each(const struct windows *w, enum phase phase,
			 void (*fn)(void *arg, uint32_t bucket, uint32_t n), void *arg)
{
	struct slot_span span = newest_span(w, phase);
	struct slot_group g;
	while (slot_group_next(&span, &g)) {
		while (g.used) {
			struct entry e = slot_entry_next(&g);
			fn(arg, e.bucket, e.n);
		}
	}
}

static void add_to_total(void *arg, uint32_t bucket, uint32_t n)
{
	struct hist_total *total = arg;
	total->count[bucket] += n;
	total->n += n;
}

void windows_newest_add(const struct windows *w, enum phase phase, struct hist_total *total)
{
	windows_newest_each(w, phase, add_to_total, total);
	total->max_us = UINT64_MAX; /* not known: nothing is cut */
}

static uint64_t span_samples(struct slot_span span)
{
	struct slot_group g;
	uint64_t n = 0;
	while (slot_group_next(&span, &g))
		while (g.used)
			n += slot_entry_next(&g).n;
	return n;
}

void windows_newest(const struct windows *w, enum phase phase, const double *q, size_t n,
		    uint64_t *us)
{
	struct slot_span span = newest_span(w, phase);
	uint64_t total = span_samples(span);
	for (size_t k = 0; k < n; k++) {
		double wanted = ceil(q[k] * (double)total - 1e-6);
		us[k] = total ? span_rank_us(span, wanted < 1 ? 1 : (uint64_t)wanted) : 0;
	}
}

/* ---- since start, coarsely ---- */

bool windows_octaves(const struct windows *w, enum phase phase, struct hist_octaves *out)
{
	const struct series *s = w->phases[phase];
	if (!s || !s->n)
		return false;
	out->count = s->group_n;
	out->n = s->n;
	out->sum_us = s->sum_us;
	return true;
}
