/* SPDX-License-Identifier: MIT */
/*
 * Has everything become slower, or do other requests come?  A block against what is usual at the
 * level, where the load was as high before.
 */
#include <math.h>

#include "scaling.h"

#define CHANGE_MIN 0.26 /* log 1.3 */
#define CHANGE_Z 5.0
#define SERVED_MIN 0.9
#define BEHIND_MIN 1.25   /* times what they do now they did before */
#define BEHIND_RATE 1.1   /* of that, at most so much comes, */
#define BEHIND_BLOCKS 6   /* in half a minute */
#define SPREAD_LEAST 0.01 /* of a variance: below it all take as long, but for a tenth */
#define KIND_GROWTH 2.0   /* times what it is alone */
#define KIND_NONE 1.5
#define KIND_AFTER_US (UINT64_C(20) * 1000000)
#define KIND_SURE_US (UINT64_C(12) * 1000000) /* two blocks are of that time */
#define SPREAD_RATIO 1.2 /* of standard deviations: other requests, not slower ones */
#define SPREAD_Z 3.0
#define VARIED_MIN 100   /* that are needed to tell, */
#define VARIED_KNOWN 400 /* and then it is known */
#define SPREAD_TAIL 5.0  /* relative variance of squares: 2 of the normal, 8 of Pareto */

struct drift {
	double sum, w, rate, served;
	unsigned n, agree;
};

static void add_block(struct drift *d, const struct scaling_block *b, double level)
{
	if (b->drift_w <= 0)
		return;
	d->sum += b->drift;
	d->w += b->drift_w;
	d->rate += b->rate;
	d->served += b->served;
	d->n++;
	d->agree += fabs(b->drift / b->drift_w - level) > CHANGE_MIN * 0.7;
}

/* Earlier blocks in which the load was such that it cannot explain the difference. */
static struct drift before(const struct scaling *s, unsigned from, double rate, bool slower)
{
	const struct scaling_block *b;
	struct drift d = {0};
	unsigned end = s->n_blocks - s->member_block; /* of the same members */
	end = end < from + 60 ? end : from + 60;
	for (unsigned age = from; age < end && (b = scaling_block_at(s, age)); age++)
		if (slower ? b->rate >= 0.85 * rate : b->rate <= 1.15 * rate)
			add_block(&d, b, 0);
	return d;
}

/*
 * How far a change of `n` blocks against `n_was` earlier ones may be chance where earlier blocks
 * lie so far apart: on a busy host that is far more than independent durations explain.
 */
static double unrest_of(const struct scaling *s, unsigned n, unsigned n_was)
{
	const struct scaling_block *b;
	double sum = 0, squares = 0, blocks = 0;
	unsigned end = s->n_blocks - s->member_block; /* of the same members */
	for (unsigned age = n; age < end && (b = scaling_block_at(s, age)); age++) {
		if (b->drift_w <= 0)
			continue;
		sum += b->drift / b->drift_w;
		squares += b->drift / b->drift_w * b->drift / b->drift_w;
		blocks++;
	}
	if (blocks < 2)
		return INFINITY;
	double variance = fmax(0, squares - sum * sum / blocks) / (blocks - 1);
	return scaling_student(CHANGE_Z, blocks - 1) * sqrt(variance * (1.0 / n + 1.0 / n_was));
}

/* The logarithm of what the last `n` blocks are slower than earlier ones; 0: not certain. */
static double change_of(const struct scaling *s, unsigned n)
{
	const struct scaling_block *b;
	struct drift last = {0};
	double samples;
	for (unsigned age = 0; age < n && (b = scaling_block_at(s, age)); age++)
		add_block(&last, b, 0);
	/* where more comes than is done the queue grows, and all with it, at equal load */
	if (last.n < n || last.served < SERVED_MIN * last.rate)
		return 0;
	double level = last.sum / last.w;
	struct drift was = before(s, n, last.rate / n, level > 0);
	if (was.n < BLOCKS_MIN / 2)
		return 0;
	double change = level - was.sum / was.w;
	double theory = scaling_variance(s, 0, SCALING_BLOCKS, &samples) * (1 / last.w + 1 / was.w);
	double chance = CHANGE_Z * EXCESS * sqrt(theory);
	double unrest = unrest_of(s, n, was.n);
	bool certain = fabs(change) > fmax(CHANGE_MIN, fmax(chance, unrest));
	return certain && last.agree * 4 >= n * 3 && change * level > 0 ? change : 0;
}

static struct scaling_varied levels_between(const struct scaling *s, unsigned from, unsigned to)
{
	struct scaling_varied v;
	v.squares = scaling_variance(s, from, to, &v.n);
	v.squares *= v.n;
	return v;
}

/* Of those who met nobody: who waits for others varies less the more they are. */
static struct scaling_varied alone_between(const struct scaling *s, unsigned from, unsigned to)
{
	const struct scaling_block *b;
	struct scaling_varied v = {0};
	for (unsigned age = from; age < to && (b = scaling_block_at(s, age)); age++) {
		v.squares += b->alone;
		v.n += b->alone_n;
	}
	return v;
}

/* These are not the same requests, slower. */
static bool varies_otherwise(const struct scaling_varied *was, const struct scaling_varied *last)
{
	if (was->n < VARIED_MIN || last->n < VARIED_MIN)
		return false;
	double apart =
	    log((last->squares / last->n + SPREAD_LEAST) / (was->squares / was->n + SPREAD_LEAST)) /
	    2;
	double chance = SPREAD_Z * sqrt(SPREAD_TAIL / 4 * (1 / last->n + 1 / was->n));
	return fabs(apart) > fmax(log(SPREAD_RATIO), chance);
}

/*
 * The block in which they changed has some of both, and so may that before it: it began within the
 * oldest quarter of the last `n`, or where they end.
 */
static unsigned after(unsigned n)
{
	return n - n / 4 - 1;
}

static void drift_now(struct scaling *s, uint64_t now_us)
{
	const struct scaling_block *b;
	double sum = 0, w = 0, n;
	for (unsigned age = 0; age < 2 && (b = scaling_block_at(s, age)); age++) {
		sum += b->drift;
		w += b->drift_w;
	}
	double noise = 3 * sqrt(scaling_variance(s, 0, SCALING_BLOCKS, &n) / fmax(w, 1));
	s->drifting = w > 0 && fabs(sum / w) > noise ? exp(sum / w) : 1;
	if (fabs(log(s->drifting)) < CHANGE_MIN * 0.7)
		s->drift_from_us = now_us;
}

/*
 * What they do at most while more comes, in each of the last blocks: in the first after a jump of
 * the load a queue may just have filled.  0: as much as comes.
 */
static double served_of_more(const struct scaling *s)
{
	double most = 0;
	for (unsigned age = 0; age < 2; age++) {
		const struct scaling_block *b = scaling_block_at(s, age);
		if (!b || b->served >= SERVED_MIN * b->rate)
			return 0;
		most = fmax(most, b->served);
	}
	return most;
}

bool scaling_is_flooded(const struct scaling *s)
{
	return s->fine_rate > 0 && served_of_more(s) > 0 &&
	       scaling_block_at(s, 0)->rate > BEHIND_RATE * s->fine_rate;
}

/*
 * At most as much comes as they did a while ago with nobody being slow, and they do less than
 * that, so that all wait: by so much they have become slower at least, at whatever level that
 * was never met before.  0: it is not so.
 */
static double fell_behind(const struct scaling *s)
{
	double served = served_of_more(s);
	/* what others do is not seen */
	if (s->fine_rate <= 0 || served <= 0 || scaling_hears(s))
		return 0;
	for (unsigned age = 0; age < BEHIND_BLOCKS; age++) {
		const struct scaling_block *b = scaling_block_at(s, age);
		if (!b || b->rate > BEHIND_RATE * s->fine_rate)
			return 0;
	}
	double factor = s->fine_rate / served;
	double chance = 4 / sqrt(fmax(served * 2 * SCALING_BLOCK_S, 1)); /* the most of many */
	return factor > BEHIND_MIN + chance ? factor : 0;
}

/* ---- requests of another kind, while the load is another, too ---- */

/* At least two; more than there are count as all. */
static unsigned blocks_since(uint64_t now_us, uint64_t at_us)
{
	uint64_t blocks = (now_us - at_us) / (SCALING_BLOCK_S * UINT64_C(1000000));
	return blocks < 2 ? 2 : blocks < SCALING_BLOCKS ? (unsigned)blocks : SCALING_BLOCKS;
}

/* The mean of all, without what load has added, by that of those who were alone. */
static double apart_by(const struct scaling *s)
{
	double load = exp(fmax(0, s->load.explains));
	return s->alone_us > 0 ? s->total_us / s->alone_us / load : 1;
}

/* Who was alone, and who meets others, are not of the same hosts in the same parts then. */
static bool has_bad_host(const struct scaling_input *in)
{
	for (size_t i = 0; i < in->n; i++)
		if (in->members[i].usable && in->members[i].part && in->members[i].part->slower > 0)
			return true;
	return false;
}

/* What takes longer at whatever level it met is no load; of nobody's objective it is no news. */
static bool is_another_kind(const struct scaling *s, const struct scaling_input *in)
{
	bool minds = in->slo_p95_us == 0 || s->seen_p95_us > (double)in->slo_p95_us;
	/* where the others' load slows requests their own level says nothing of it */
	bool shared = s->n_backends > 1 &&
		      (!s->shift.measured || (s->shift.z > 2 && s->shift.change > NO_SHARE));
	bool full = s->today.utilisation > FULL_FROM; /* neighbours wait alike: too sure */
	full = full || scaling_is_flooded(s);
	return minds && !shared && !scaling_hears(s) && !full && !has_bad_host(in) && s->alike_us &&
	       in->now_us > s->grown_us + KIND_SURE_US &&
	       in->now_us > s->alike_us + KIND_AFTER_US &&
	       s->now.p95_low_us > KIND_GROWTH * s->alone.p95_high_us &&
	       log(apart_by(s)) > CHANGE_MIN && scaling_load_is_innocent(s, s->growth);
}

static const char of_kind[] = "the kind of requests changed";
static const char of_speed[] = "everything changed its speed";

static void set_change(struct scaling *s, const struct scaling_input *in, unsigned blocks,
		       struct scaling_change change)
{
	uint64_t ago_us = (uint64_t)blocks * SCALING_BLOCK_S * 1000000;
	scaling_begin_epoch(s, change.of_kind ? of_kind : of_speed, in->now_us);
	s->change = change;
	s->alike_us = 0; /* to be seen anew */
	s->change.at_us = in->now_us > ago_us ? in->now_us - ago_us : 1;
	s->change.at_wall_us = in->wall_us > ago_us ? in->wall_us - ago_us : 1;
}

/* Too few were alone until it was noticed: what comes then tells. */
static void look_kind(struct scaling *s)
{
	struct scaling_change *change = &s->change;
	if (!scaling_kind_is_open(change))
		return;
	struct scaling_varied last = alone_between(s, 0, s->n_blocks - s->first_block);
	last.squares += change->last.squares;
	last.n += change->last.n;
	change->of_kind = varies_otherwise(&change->was, &last);
	if (change->of_kind && s->epoch_cause == of_speed)
		s->epoch_cause = of_kind;
	if (change->of_kind || last.n >= VARIED_KNOWN)
		change->was.n = 0;
}

static void set_change_of(struct scaling *s, const struct scaling_input *in, unsigned n,
			  double factor, bool otherwise)
{
	set_change(s, in, n,
		   (struct scaling_change){.factor = factor,
					   .of_kind = otherwise,
					   .was = alone_between(s, n + 1, n + 25),
					   .last = alone_between(s, 0, after(n))});
	look_kind(s);
}

void scaling_look_change(struct scaling *s, const struct scaling_input *in)
{
	static const unsigned spans[] = {3, 6, 12};
	drift_now(s, in->now_us);
	bool known = s->alone.n >= SCALING_SAMPLES && s->now.n >= SCALING_SAMPLES;
	if (known && s->growth <= KIND_NONE)
		s->alike_us = in->now_us;
	if (s->growth <= KIND_GROWTH)
		s->grown_us = in->now_us;
	look_kind(s);
	if (scaling_is_shared(s))
		return;
	for (size_t i = 0; i < ARRAY_LEN(spans); i++) {
		double change = change_of(s, spans[i]);
		if (change == 0)
			continue;
		set_change_of(s, in, spans[i], exp(change), false);
		return;
	}
	if (is_another_kind(s, in)) {
		unsigned blocks = blocks_since(in->now_us, s->alike_us);
		struct scaling_varied was = levels_between(s, blocks + 1, blocks + 25);
		struct scaling_varied last = levels_between(s, 0, after(blocks));
		set_change_of(s, in, blocks, apart_by(s), varies_otherwise(&was, &last));
		return;
	}
	double behind = fell_behind(s);
	if (behind > 0)
		set_change(s, in, 2, (struct scaling_change){.factor = behind, .behind = true});
}
