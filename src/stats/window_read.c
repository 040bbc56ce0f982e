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
	uint64_t group_n[HIST_GROUPS]; /* to find a rank in */
	const struct sparse *start;    /* of which buckets are read when somebody asks for them */
	uint32_t loaded;               /* a bit for each group that was */
	uint64_t n, sum_us, overflow;
	uint64_t sum[HIST_BUCKETS]; /* where there are any */
};

/* The buckets of a group that has some. */
static inline const uint64_t *group_of(struct extract *x, uint32_t group)
{
	uint64_t *buckets = &x->sum[group << HIST_SUB_BITS];
	if (x->start && !(x->loaded >> group & 1)) {
		sparse_load(x->start, group, buckets);
		x->loaded |= UINT32_C(1) << group;
	}
	return buckets;
}

static void extract_slot(const struct slot *slot, enum phase phase, struct extract *x)
{
	struct slot_span span = window_slot_span(slot, phase);
	struct slot_group g;
	while (slot_group_next(&span, &g)) {
		uint64_t in_group = 0;
		if (!x->group_n[g.group]) /* nobody else looks at it */
			window_clear(&x->sum[g.group << HIST_SUB_BITS],
				     HIST_SUB * sizeof(x->sum[0]));
		while (g.used) {
			struct entry e = slot_entry_next(&g);
			x->sum[e.bucket] += e.n;
			in_group += e.n;
		}
		x->group_n[g.group] += in_group;
		x->n += in_group;
	}
	x->sum_us += slot ? slot->sum_us[phase] : 0;
	x->overflow += slot ? slot->overflow[phase] : 0;
}

static void extract_window(const struct windows *w, enum phase phase, enum window window,
			   struct extract *x)
{
	uint32_t n[N_LEVELS];
	window_slots(w, window, n);
	x->n = x->sum_us = x->overflow = 0;
	x->start = NULL;
	window_clear(x->group_n, sizeof(x->group_n));
	for (unsigned level = 0; level < N_LEVELS; level++)
		for (uint32_t age = 0; age < n[level]; age++)
			extract_slot(window_slot_at(w, level, age), phase, x);
}

static void extract_start(const struct series *s, const struct sparse *start, struct extract *x)
{
	x->start = start;
	x->loaded = 0;
	memcpy(x->group_n, s->group_n, sizeof(x->group_n));
	x->n = s->n;
	x->sum_us = s->sum_us;
	x->overflow = s->overflow;
}

/* The buckets of a window; false without samples. */
static bool extract_phase(const struct windows *w, enum phase phase, enum window window,
			  struct extract *x)
{
	const struct series *s = w->phases[phase];
	if (!s)
		return false;
	if (window == WINDOW_START)
		extract_start(s, &w->start[phase], x);
	else
		extract_window(w, phase, window, x);
	return x->n > 0;
}

/* The longest sample since start, or the top of the highest bucket if that is below it. */
static uint64_t extract_max_us(struct extract *x, enum window window, uint64_t start_max_us)
{
	uint32_t group = HIST_GROUPS - 1;
	if (window == WINDOW_START || x->overflow)
		return start_max_us;
	while (x->group_n[group] == 0)
		group--;
	uint32_t i = HIST_SUB - 1;
	const uint64_t *buckets = group_of(x, group);
	while (buckets[i] == 0)
		i--;
	i += group << HIST_SUB_BITS;
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
	uint64_t span_us = window_span_us(w, window);
	if (span_us > out->span_us)
		out->span_us = span_us;
	if (!extract_phase(w, phase, window, &x))
		return;
	for (uint32_t group = 0; group < HIST_GROUPS; group++) {
		uint32_t from = group << HIST_SUB_BITS;
		const uint64_t *buckets = x.group_n[group] ? group_of(&x, group) : NULL;
		for (uint32_t i = 0; buckets && i < HIST_SUB; i++)
			out->count[from + i] += buckets[i];
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

/* Quantiles as parts in a thousand, in ascending order. */
static void extract_quantiles(struct extract *x, uint64_t max_us, const uint32_t *permille,
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
			i = 0;
			seen = before + group_of(x, group)[i];
		}
		while (seen < rank)
			seen += group_of(x, group)[++i];
		uint32_t bucket = (group << HIST_SUB_BITS) + i;
		uint64_t mid = hist_lower_us(bucket) + hist_width_us(bucket) / 2;
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
	out->max_us = extract_max_us(&x, window, w->phases[phase]->max_us);
	extract_quantiles(&x, out->max_us, permille, ARRAY_LEN(permille), us);
	out->p50_us = us[0];
	out->p90_us = us[1];
	out->p99_us = us[2];
	out->p999_us = us[3];
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
