/* SPDX-License-Identifier: MIT */
/* What was learned about speed and load, for the process that takes over. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- of a backend ---- */

static void put_floats(const float *values, size_t n, struct str *out)
{
	double wide[SCALING_LOAD_BINS];
	for (size_t i = 0; i < n; i++)
		wide[i] = (double)values[i];
	pack_sparse_doubles(out, wide, n);
}

static void take_floats(struct unpack *in, float *values, size_t n)
{
	double wide[SCALING_LOAD_BINS];
	unpack_sparse_doubles(in, wide, n);
	for (size_t i = 0; i < n; i++)
		values[i] = (float)wide[i];
}

static void put_served(const struct scaling_served *s, struct str *out)
{
	uint64_t last[HIST_BUCKETS] = {0};
	pack_u64(out, s != NULL);
	if (!s)
		return;
	for (uint32_t i = 0; i < HIST_BUCKETS; i++)
		last[i] = s->last[i];
	pack_sparse(out, last, HIST_BUCKETS);
	pack_sparse_doubles(out, s->weight, HIST_BUCKETS);
}

static struct scaling_served *take_served(struct unpack *in)
{
	uint64_t last[HIST_BUCKETS];
	struct scaling_served *s = unpack_bool(in) ? calloc(1, sizeof(*s)) : NULL;
	if (!s)
		return NULL;
	unpack_sparse(in, last, HIST_BUCKETS);
	for (uint32_t i = 0; i < HIST_BUCKETS; i++)
		s->last[i] = (uint32_t)last[i];
	unpack_sparse_doubles(in, s->weight, HIST_BUCKETS);
	return s;
}

void scaling_part_pack(const struct scaling_part *part, struct str *out)
{
	pack_u64(out, SCALING_LOADS);
	put_opinion(&part->opinion, part->sentence, out);
	pack_sparse_doubles(out, part->time_s, LEVEL_BINS);
	pack_sparse_doubles(out, part->done, LEVEL_BINS);
	pack_sparse(out, part->last_time_us, LEVEL_BINS);
	pack_sparse(out, part->last_done, LEVEL_BINS);
	for (unsigned l = 0; l < SCALING_LOADS; l++) {
		put_floats(part->load_time_s[l], SCALING_LOAD_BINS, out);
		put_floats(part->load_done[l], SCALING_LOAD_BINS, out);
	}
	for (unsigned c = 0; c < LEVEL_CLASSES; c++)
		put_served(part->served[c], out);
}

struct scaling_part *scaling_part_unpack(struct unpack *in)
{
	struct scaling_part *part = scaling_part_new();
	in->bad |= !part || unpack_u64(in) != SCALING_LOADS;
	if (in->bad) {
		scaling_part_free(part);
		return NULL;
	}
	take_opinion(in, &part->opinion, part->sentence);
	unpack_sparse_doubles(in, part->time_s, LEVEL_BINS);
	unpack_sparse_doubles(in, part->done, LEVEL_BINS);
	unpack_sparse(in, part->last_time_us, LEVEL_BINS);
	unpack_sparse(in, part->last_done, LEVEL_BINS);
	for (unsigned l = 0; l < SCALING_LOADS; l++) {
		take_floats(in, part->load_time_s[l], SCALING_LOAD_BINS);
		take_floats(in, part->load_done[l], SCALING_LOAD_BINS);
	}
	for (unsigned c = 0; c < LEVEL_CLASSES && !in->bad; c++)
		part->served[c] = take_served(in);
	if (!in->bad)
		return part;
	scaling_part_free(part);
	return NULL;
}

/* ---- of a pool ---- */

static void put_score(const struct scaling_score *s, struct str *out)
{
	const double values[] = {s->rate_then,  s->rate_now,    s->p99_us.low,
				 s->p99_us.mid, s->p99_us.high, s->actual_us};
	pack_u64(out, s->at_us);
	pack_u64(out, s->from);
	pack_u64(out, s->to);
	for (size_t i = 0; i < ARRAY_LEN(values); i++)
		pack_double(out, values[i]);
	pack_u64(out, s->comparable);
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
	s->actual_us = unpack_double(in);
	s->comparable = unpack_bool(in);
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
}

bool scaling_unpack(struct unpack *in, struct scaling *s)
{
	struct scaling next = *s;
	take_opinion(in, &next.opinion, next.sentence);
	next.n_counts = (unsigned)unpack_max(in, UINT32_MAX);
	for (unsigned i = 0; i < SCALING_SECONDS; i++)
		next.counts[i] = (uint32_t)unpack_max(in, UINT32_MAX);
	next.n_scores = (unsigned)unpack_max(in, UINT32_MAX);
	for (unsigned i = 0; i < SCALING_SCORES; i++)
		take_score(in, &next.scores[i]);
	take_score(in, &next.pending);
	if (!in->bad)
		*s = next;
	return !in->bad;
}
