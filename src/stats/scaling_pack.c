/* SPDX-License-Identifier: MIT */
/* What was learned about speed and load, for the process that takes over. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recent.h"
#include "scaling.h"

#include "weir/stats/pack.h"

/* ---- opinions ---- */

static void put_opinion(const struct scaling_opinion *o, const char *sentence, struct str *out)
{
	pack_view(out, view_str(verdict_name(o->verdict)));
	pack_view(out, view_str(verdict_name(o->next)));
	pack_u64(out, o->agreed);
	pack_view(out, view_str(sentence));
}

/* One that this version does not know is none. */
static enum verdict take_verdict(struct unpack *in)
{
	struct view name = unpack_view(in);
	for (int v = 0; v < N_VERDICTS; v++)
		if (view_eq(name, view_str(verdict_name((enum verdict)v))))
			return (enum verdict)v;
	return VERDICT_not_enough_data;
}

static void take_opinion(struct unpack *in, struct scaling_opinion *o, char *sentence)
{
	o->verdict = take_verdict(in);
	o->next = take_verdict(in);
	o->agreed = (unsigned)unpack_max(in, SCALING_HOLD);
	struct view text = unpack_view(in);
	in->bad |= text.len >= SCALING_SENTENCE;
	if (!in->bad)
		snprintf(sentence, SCALING_SENTENCE, VIEW_FMT, VIEW_ARG(text));
}

static void put_floats(const float *values, size_t n, struct str *out)
{
	double wide[HIST_BUCKETS];
	for (size_t i = 0; i < n; i++)
		wide[i] = (double)values[i];
	pack_sparse_doubles(out, wide, n);
}

static void take_floats(struct unpack *in, float *values, size_t n)
{
	double wide[HIST_BUCKETS];
	unpack_sparse_doubles(in, wide, n);
	for (size_t i = 0; i < n && !in->bad; i++)
		values[i] = (float)wide[i];
}

/* ---- what was served ---- */

static void put_weights(const struct sparse *weight, struct str *out)
{
	uint64_t n[HIST_BUCKETS];
	double wide[HIST_BUCKETS];
	sparse_spread(weight, n);
	for (uint32_t i = 0; i < HIST_BUCKETS; i++)
		wide[i] = (double)n[i];
	pack_sparse_doubles(out, wide, HIST_BUCKETS);
}

/* The sum of them. */
static double take_weights(struct unpack *in, struct sparse *weight)
{
	double wide[HIST_BUCKETS], sum = 0;
	unpack_sparse_doubles(in, wide, HIST_BUCKETS);
	for (uint32_t i = 0; i < HIST_BUCKETS && !in->bad; i++) {
		if (!(wide[i] > 0))
			continue;
		uint32_t n = (uint32_t)fmin(wide[i], UINT32_MAX);
		in->bad |= !sparse_set(weight, i, n);
		sum += n;
	}
	return sum;
}

static void put_recents(const struct recent *recents, size_t n, struct str *out)
{
	for (size_t i = 0; i < n; i++) {
		pack_u64(out, recents[i].since_us[0]);
		pack_u64(out, recents[i].since_us[1]);
		for (int half = 0; half < 2; half++)
			put_weights(&recents[i].weight[half], out);
	}
}

static void take_recents(struct unpack *in, struct recent *recents, size_t n)
{
	for (size_t i = 0; i < n && !in->bad; i++) {
		recents[i].since_us[0] = unpack_u64(in);
		recents[i].since_us[1] = unpack_u64(in);
		for (int half = 0; half < 2 && !in->bad; half++) {
			recents[i].n[half] = take_weights(in, &recents[i].weight[half]);
		}
	}
}

/* ---- what sizes of the pool have shown (size.c) ---- */

static void put_cells(const struct scaling_part *part, struct str *out)
{
	size_t n = 0;
	for (size_t i = 0; i < SCALING_FULL; i++)
		n += part->cells[i].backends != 0;
	pack_u64(out, part->size_epoch);
	pack_u64(out, n);
	for (size_t i = 0; i < SCALING_FULL; i++) {
		const struct scaling_full *c = &part->cells[i];
		if (!c->backends)
			continue;
		pack_u64(out, c->backends);
		pack_u64(out, c->octave);
		pack_u64(out, c->at_us);
		put_floats((const float[]){c->n, c->log, c->log2, c->level}, 4, out);
	}
}

static void take_cells(struct unpack *in, struct scaling_part *part)
{
	if (!in->left) /* of a version that did not tell */
		return;
	part->size_epoch = (unsigned)unpack_max(in, UINT32_MAX);
	size_t n = unpack_count(in, SCALING_FULL);
	for (size_t i = 0; i < n && !in->bad; i++) {
		struct scaling_full *c = &part->cells[i];
		float values[4] = {0};
		c->backends = (uint16_t)unpack_max(in, UINT16_MAX);
		c->octave = (uint16_t)unpack_max(in, UINT16_MAX);
		c->at_us = unpack_max(in, UINT64_MAX / 2);
		take_floats(in, values, 4);
		c->n = values[0];
		c->log = values[1];
		c->log2 = values[2];
		c->level = values[3];
	}
}

static void put_quiet(const struct scaling_quiet *q, struct str *out)
{
	pack_double(out, q->n);
	pack_double(out, q->log);
	pack_double(out, q->log2);
}

static void take_quiet(struct unpack *in, struct scaling_quiet *q)
{
	q->n = unpack_double(in);
	q->log = unpack_double(in);
	q->log2 = unpack_double(in);
}

static void put_sizes(const struct scaling *s, struct str *out)
{
	pack_u64(out, s->size_epoch);
	pack_u64(out, s->rules);
	for (size_t i = 0; i < SCALING_SIZES; i++) {
		pack_u64(out, s->sizes[i].backends);
		pack_u64(out, s->sizes[i].at_us);
		put_quiet(&s->sizes[i].quiet, out);
		put_quiet(&s->sizes[i].when_full, out);
	}
}

static void take_sizes(struct unpack *in, struct scaling *s)
{
	if (!in->left)
		return;
	s->size_epoch = (unsigned)unpack_max(in, UINT32_MAX);
	s->rules = unpack_u64(in);
	for (size_t i = 0; i < SCALING_SIZES && !in->bad; i++) {
		s->sizes[i].backends = (uint32_t)unpack_max(in, UINT32_MAX);
		s->sizes[i].at_us = unpack_u64(in);
		take_quiet(in, &s->sizes[i].quiet);
		take_quiet(in, &s->sizes[i].when_full);
	}
}

/* ---- of a backend ---- */

/* Every level. */
struct curve {
	double n[LEVEL_BINS], us[LEVEL_BINS];
	float usual_n[LEVEL_SPLIT], usual_log[LEVEL_SPLIT];
};

static void put_bins(const struct scaling_part *part, struct str *out)
{
	struct curve c = {.n = {0}};
	for (uint32_t k = 0; k < LEVEL_BINS; k++) {
		const struct scaling_bin *bin = scaling_part_bin(part, k);
		c.n[k] = bin ? bin->n : 0;
		c.us[k] = bin ? bin->us : 0;
		if (k >= LEVEL_SPLIT)
			continue;
		c.usual_n[k] = bin ? bin->usual_n : 0;
		c.usual_log[k] = bin ? bin->usual_log : 0;
	}
	pack_sparse_doubles(out, c.n, LEVEL_BINS);
	pack_sparse_doubles(out, c.us, LEVEL_BINS);
	put_floats(c.usual_n, LEVEL_SPLIT, out);
	put_floats(c.usual_log, LEVEL_SPLIT, out);
}

static bool is_level_empty(const struct curve *c, uint32_t k)
{
	return !c->n[k] && !c->us[k] && (k >= LEVEL_SPLIT || (!c->usual_n[k] && !c->usual_log[k]));
}

static void take_bins(struct unpack *in, struct scaling_part *part)
{
	struct curve c = {.n = {0}};
	unpack_sparse_doubles(in, c.n, LEVEL_BINS);
	unpack_sparse_doubles(in, c.us, LEVEL_BINS);
	take_floats(in, c.usual_n, LEVEL_SPLIT);
	take_floats(in, c.usual_log, LEVEL_SPLIT);
	for (uint32_t k = 0; k < LEVEL_BINS && !in->bad; k++) {
		if (is_level_empty(&c, k))
			continue;
		struct scaling_bin *bin = scaling_part_bin_make(part, k);
		in->bad |= !bin;
		if (!bin)
			return;
		bin->n = c.n[k];
		bin->us = c.us[k];
		bin->usual_n = k < LEVEL_SPLIT ? c.usual_n[k] : 0;
		bin->usual_log = k < LEVEL_SPLIT ? c.usual_log[k] : 0;
	}
}

/* What was last read of the workers' counters is not told: the next process has new ones. */
void scaling_part_pack(const struct scaling_part *part, struct str *out)
{
	pack_u64(out, LEVEL_SPLIT);
	put_opinion(&part->opinion, part->sentence, out);
	put_bins(part, out);
	static const struct scaling_recents none;
	const struct scaling_recents *recents = part->recents ? part->recents : &none;
	put_recents(recents->now, RECENT_PART, out);
	put_recents(recents->alone, RECENT_PART, out);
	pack_u64(out, part->epoch);
	put_cells(part, out);
	pack_double(out, part->peer.apart);
	pack_double(out, part->peer.w);
	pack_double(out, part->slower);
}

static void take_peer(struct unpack *in, struct scaling_part *part)
{
	if (!in->left)
		return;
	part->peer.apart = unpack_double(in);
	part->peer.w = unpack_double(in);
	part->slower = unpack_double(in);
}

static void take_part_recents(struct unpack *in, struct scaling_part *part)
{
	double n = 0;
	part->recents = calloc(1, sizeof(*part->recents));
	in->bad |= !part->recents;
	if (in->bad)
		return;
	take_recents(in, part->recents->now, RECENT_PART);
	take_recents(in, part->recents->alone, RECENT_PART);
	for (size_t i = 0; i < RECENT_PART; i++)
		n += part->recents->now[i].n[0] + part->recents->now[i].n[1] +
		     part->recents->alone[i].n[0] + part->recents->alone[i].n[1];
	if (!(n > 0)) /* nothing yet, or nothing any more */
		scaling_part_forget_recents(part);
}

struct scaling_part *scaling_part_unpack(struct unpack *in)
{
	struct scaling_part *part = scaling_part_new();
	in->bad |= !part || unpack_u64(in) != LEVEL_SPLIT;
	if (in->bad) {
		scaling_part_free(part);
		return NULL;
	}
	take_opinion(in, &part->opinion, part->sentence);
	take_bins(in, part);
	take_part_recents(in, part);
	part->epoch = (unsigned)unpack_max(in, UINT32_MAX);
	take_cells(in, part);
	take_peer(in, part);
	if (!in->bad)
		return part;
	scaling_part_free(part);
	return NULL;
}

/* ---- blocks, of the test for sharing ---- */

static void put_block(const struct scaling_block *b, struct str *out)
{
	const double values[] = {b->share,  b->share_w,  b->reach, b->drift, b->drift_w,
				 b->spread, b->spread_n, b->rate,  b->served};
	for (size_t i = 0; i < ARRAY_LEN(values); i++)
		pack_double(out, values[i]);
}

static void take_block(struct unpack *in, struct scaling_block *b)
{
	double *values[] = {&b->share,  &b->share_w,  &b->reach, &b->drift, &b->drift_w,
			    &b->spread, &b->spread_n, &b->rate,  &b->served};
	for (size_t i = 0; i < ARRAY_LEN(values); i++)
		*values[i] = unpack_double(in);
}

static void put_blocks(const struct scaling *s, struct str *out)
{
	unsigned n = s->n_blocks - s->first_block;
	n = n < SCALING_BLOCKS ? n : SCALING_BLOCKS;
	pack_u64(out, n);
	for (unsigned i = n; i-- > 0;)
		put_block(&s->blocks[(s->n_blocks - 1 - i) % SCALING_BLOCKS], out);
}

static void take_blocks(struct unpack *in, struct scaling *s)
{
	unsigned n = (unsigned)unpack_max(in, SCALING_BLOCKS);
	for (unsigned i = 0; i < n && !in->bad; i++)
		take_block(in, &s->blocks[i]);
	s->n_blocks = s->peers_block = in->bad ? 0 : n;
	s->first_block = 0;
}

/* ---- of a pool ---- */

static void put_score(const struct scaling_score *s, struct str *out)
{
	const double values[] = {s->rate_then,  s->rate_now,    s->p99_us.low,
				 s->p99_us.mid, s->p99_us.high, s->p50_us.low,
				 s->p50_us.mid, s->p50_us.high, s->actual_us};
	pack_u64(out, s->at_us);
	pack_u64(out, s->from);
	pack_u64(out, s->to);
	for (size_t i = 0; i < ARRAY_LEN(values); i++)
		pack_double(out, values[i]);
	pack_u64(out, s->comparable);
	pack_u64(out, s->of_p50);
}

static void take_score(struct unpack *in, struct scaling_score *s)
{
	s->at_us = unpack_u64(in);
	s->from = (uint32_t)unpack_max(in, UINT32_MAX);
	s->to = (uint32_t)unpack_max(in, UINT32_MAX);
	s->rate_then = unpack_double(in);
	s->rate_now = unpack_double(in);
	s->p99_us.low = unpack_double(in);
	s->p99_us.mid = unpack_double(in);
	s->p99_us.high = unpack_double(in);
	s->p50_us.low = unpack_double(in);
	s->p50_us.mid = unpack_double(in);
	s->p50_us.high = unpack_double(in);
	s->actual_us = unpack_double(in);
	s->comparable = unpack_bool(in);
	s->of_p50 = unpack_bool(in);
}

void scaling_pack(const struct scaling *s, struct str *out)
{
	put_opinion(&s->opinion, s->sentence, out);
	pack_u64(out, s->n_counts);
	for (unsigned i = 0; i < SCALING_SECONDS; i++)
		pack_u64(out, s->counts[i]);
	pack_u64(out, s->n_scores);
	for (unsigned i = 0; i < SCALING_SCORES; i++)
		put_score(&s->scores[i], out);
	put_score(&s->pending, out);
	pack_u64(out, s->n_comparable);
	pack_u64(out, s->n_held);
	pack_u64(out, s->epoch);
	pack_u64(out, s->signature);
	put_recents(s->recent_now, RECENT_NOW, out);
	put_recents(s->recent_alone, RECENT_ALONE, out);
	put_recents(s->recent_solo, RECENT_ALONE, out);
	put_blocks(s, out);
	put_sizes(s, out);
	failing_pack(&s->failing, out);
}

static void take_rest(struct unpack *in, struct scaling *s)
{
	s->n_comparable = (unsigned)unpack_max(in, UINT32_MAX);
	s->n_held = (unsigned)unpack_max(in, UINT32_MAX);
	s->epoch = (unsigned)unpack_max(in, UINT32_MAX);
	s->signature = unpack_u64(in);
	take_recents(in, s->recent_now, RECENT_NOW);
	take_recents(in, s->recent_alone, RECENT_ALONE);
	take_recents(in, s->recent_solo, RECENT_ALONE);
	take_blocks(in, s);
	take_sizes(in, s);
	if (in->left) /* else of a version that did not tell */
		failing_unpack(in, &s->failing);
}

static void take_pool(struct unpack *in, struct scaling *s)
{
	take_opinion(in, &s->opinion, s->sentence);
	s->n_counts = (unsigned)unpack_max(in, UINT32_MAX);
	for (unsigned i = 0; i < SCALING_SECONDS; i++) {
		s->counts[i] = (uint32_t)unpack_max(in, UINT32_MAX);
		s->grown[i] = NAN; /* that is not told */
	}
	s->served_s = NAN;
	s->n_scores = (unsigned)unpack_max(in, UINT32_MAX);
	for (unsigned i = 0; i < SCALING_SCORES; i++)
		take_score(in, &s->scores[i]);
	take_score(in, &s->pending);
	take_rest(in, s);
}

bool scaling_unpack(struct unpack *in, struct scaling *s)
{
	struct scaling *next = malloc(sizeof(*next));
	if (!next)
		return false;
	*next = *s;
	memset(next->recent_now, 0, sizeof(next->recent_now));
	memset(next->recent_alone, 0, sizeof(next->recent_alone));
	memset(next->recent_solo, 0, sizeof(next->recent_solo));
	take_pool(in, next);
	if (in->bad) {
		scaling_free(next);
		return false;
	}
	scaling_forget_recents(s);
	*s = *next;
	free(next);
	return true;
}
