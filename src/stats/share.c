/* SPDX-License-Identifier: MIT */
/*
 * Is something behind the backends shared, and has everything become slower?  Both compare
 * durations of the same backend at the same level.
 *
 * Sharing: within a stratum (five seconds, one backend, one level at arrival) those who came
 * when the other backends had more in flight than usual against those who came when they had
 * less.  All that moves with time, a deploy, a mix, the rate itself, is the same on both
 * sides; and durations by level at arrival, unlike completions per time at a level, are free
 * of bias whatever the service times are.  What is left of it (the age of the request in
 * service under round robin) is below the threshold.
 *
 * Change: a block against what is usual at the level, where the load was as high before.
 */
#include <math.h>

#include "scaling.h"

#define STRATUM_MIN 8
#define SIDE_MIN 3
#define BLOCKS_MIN 6
#define SHARE_Z 4.0
#define SHARE_MIN 0.15 /* a smaller effect is no sharing, however certain */
#define SHARE_PART 0.5 /* unless the others' load hardly varied: of what it could have done */
#define SHARE_LITTLE 0.05
#define NO_SHARE 0.10   /* below it nothing is shared that matters */
#define REACH_MIN 0.3   /* the others' load must have varied by so much */
#define PRIOR_BLOCKS 10 /* what the error of theory weighs beside the jackknife */
#define LOG_UNIT (M_LN2 / 256)
#define USUAL_MEMORY_S 300.0
#define USUAL_MIN 30
#define USUAL_SHARE 0.05 /* of it, at most so much is of one block */
#define CHANGE_MIN 0.26  /* log 1.3 */
#define CHANGE_Z 5.0
#define SERVED_MIN 0.9
#define BEHIND_MIN 1.25    /* times what they do now they did before */
#define BEHIND_RATE 1.1    /* of that, at most so much comes, */
#define BEHIND_BLOCKS 6    /* in half a minute */
#define SPREAD_LEAST 0.001 /* of a variance: below it all take as long */
#define KIND_GROWTH 2.0    /* times what it is alone */
#define KIND_NONE 1.5
#define KIND_AFTER_US (UINT64_C(20) * 1000000)
#define KIND_SURE_US (UINT64_C(12) * 1000000) /* two blocks are of that time */
#define SPREAD_RATIO 1.2 /* of standard deviations: other requests, not slower ones */

/* ---- a block of one backend ---- */

static void read_splits(const struct levels *const *levels, size_t n, uint32_t k,
			struct scaling_split *out)
{
	*out = (struct scaling_split){0};
	for (size_t i = 0; i < n; i++) {
		const struct level_split *s = levels[i] ? levels_split(levels[i], k) : NULL;
		for (int side = 0; s && side < 2; side++) {
			out->n[side] += atomic_load_explicit(&s->n[side], memory_order_relaxed);
			out->elsewhere[side] +=
			    atomic_load_explicit(&s->elsewhere[side], memory_order_relaxed);
			out->log[side] += atomic_load_explicit(&s->log[side], memory_order_relaxed);
		}
		out->log2 += s ? counter_get(&s->log2) : 0;
	}
}

/* What is new since `last`, which becomes `now`; modulo 2^32. */
static struct scaling_split news_of(struct scaling_split *last, const struct scaling_split *now)
{
	struct scaling_split d = {.log2 = now->log2 - last->log2};
	for (int side = 0; side < 2; side++) {
		d.n[side] = now->n[side] - last->n[side];
		d.elsewhere[side] = now->elsewhere[side] - last->elsewhere[side];
		d.log[side] = now->log[side] - last->log[side];
	}
	*last = *now;
	return d;
}

static void add_share(struct scaling_block *b, const struct scaling_split *d, uint32_t k)
{
	double n0 = d->n[0], n1 = d->n[1];
	if (n0 < SIDE_MIN || n1 < SIDE_MIN || n0 + n1 < STRATUM_MIN)
		return;
	double w = n0 * n1 / (n0 + n1);
	b->share += w * LOG_UNIT * (d->log[1] / n1 - d->log[0] / n0);
	b->share_w += w;
	b->reach += w * log((k + d->elsewhere[1] / n1) / (k + d->elsewhere[0] / n0));
}

static void add_drift(struct scaling_block *b, struct scaling_bin *bin,
		      const struct scaling_split *d, uint32_t k)
{
	double n = (double)d->n[0] + d->n[1], log = ((double)d->log[0] + d->log[1]) * LOG_UNIT;
	double known = (double)bin->usual_n;
	if (n > 1) {
		double spread = (double)d->log2 * LOG_UNIT * LOG_UNIT - log * log / n;
		b->spread += spread;
		b->spread_n += n - 1;
		b->alone += k == 1 ? spread : 0;
		b->alone_n += k == 1 ? n - 1 : 0;
	}
	if (n > 0 && known >= USUAL_MIN) {
		double w = n * known / (n + known);
		b->drift += w * (log / n - (double)bin->usual_log / known);
		b->drift_w += w;
	}
	/* what is usual is learned slowly, so that what is new is not it at once */
	double keep = exp(-SCALING_BLOCK_S / USUAL_MEMORY_S);
	double taken = known >= USUAL_MIN ? fmin(1, USUAL_SHARE * known / n) : 1;
	bin->usual_n = (float)(known * keep + (n > 0 ? n * taken : 0));
	bin->usual_log = (float)((double)bin->usual_log * keep + (n > 0 ? log * taken : 0));
}

/* For peer.c. */
static void add_peer(struct scaling_part *part, const struct scaling_split *d, uint32_t level)
{
	part->peer.fresh_n[level] += (float)d->n[0] + (float)d->n[1];
	part->peer.fresh_log[level] += (float)(((double)d->log[0] + d->log[1]) * LOG_UNIT);
}

void scaling_part_block(struct scaling_part *part, struct scaling *s,
			const struct levels *const *levels, size_t n, uint32_t top)
{
	struct scaling_block *block = &s->blocks[(s->n_blocks - 1) % SCALING_BLOCKS];
	struct scaling_slope slope = {0};
	uint64_t served = 0;
	for (uint32_t k = 1; k <= top; k++) {
		const struct scaling_bin *bin = scaling_part_bin(part, k);
		served += bin ? bin->last_n : 0;
	}
	block->served += (double)(served - part->block_n) / SCALING_BLOCK_S + part->others_rate;
	part->block_n = served;
	for (uint32_t k = 1; k <= top && k < LEVEL_SPLIT; k++) {
		struct scaling_split now, news;
		struct scaling_bin *bin = scaling_part_bin(part, k);
		if (!bin)
			continue;
		uint32_t level = (uint32_t)fmin(scaling_part_level(part, k) + 0.5, LEVEL_SPLIT - 1);
		read_splits(levels, n, k, &now);
		news = news_of(&bin->last_split, &now);
		if (news.n[0] + news.n[1] == 0 || s->deaf)
			continue;
		if (level == 1)
			scaling_size_quiet(s, &news, LOG_UNIT);
		if (block->others <= OTHERS_FEW * block->rate)
			add_share(block, &news, k);
		if ((bin = scaling_part_bin_make(part, level)))
			add_drift(block, bin, &news, level);
		add_peer(part, &news, level);
		scaling_slope_add(&slope, scaling_part_level(part, k),
				  (double)news.n[0] + news.n[1],
				  ((double)news.log[0] + news.log[1]) * LOG_UNIT);
	}
	scaling_slope_block(block, part, top, &slope);
}

/* ---- blocks ---- */

/* The one of that age, 0 is the newest; NULL: not of this epoch. */
static const struct scaling_block *block_at(const struct scaling *s, unsigned age)
{
	if (age >= SCALING_BLOCKS || s->n_blocks - s->first_block <= age)
		return NULL;
	return &s->blocks[(s->n_blocks - 1 - age) % SCALING_BLOCKS];
}

static double variance_of(const struct scaling *s, unsigned from, unsigned to, double *n)
{
	const struct scaling_block *b;
	double sum = 0;
	*n = 0;
	for (unsigned age = from; age < to && (b = block_at(s, age)); age++) {
		sum += b->spread;
		*n += b->spread_n;
	}
	return *n > 0 ? sum / *n : 0;
}

double scaling_spread(const struct scaling *s)
{
	double n;
	return variance_of(s, 0, SCALING_BLOCKS, &n);
}

/* ---- sharing ---- */

/* Student's t that is as rare with so many degrees of freedom as z (Cornish and Fisher). */
static double student(double z, double freedom)
{
	double z3 = z * z * z, z5 = z3 * z * z;
	return z + (z3 + z) / (4 * freedom) + (5 * z5 + 16 * z3 + 3 * z) / (96 * freedom * freedom);
}

struct sums {
	double share, w, reach;
	unsigned n;
};

static bool counts_for(const struct scaling_block *b, double least_rate)
{
	return b->share_w > 0 && b->rate >= least_rate;
}

static struct sums sum_blocks(const struct scaling *s, double least_rate)
{
	struct sums sums = {0};
	const struct scaling_block *b;
	for (unsigned age = 0; (b = block_at(s, age)); age++)
		if (counts_for(b, least_rate)) {
			sums.share += b->share;
			sums.w += b->share_w;
			sums.reach += b->reach;
			sums.n++;
		}
	return sums;
}

/* Jackknife over blocks, shrunk to what independent durations would give. */
static double error_of(const struct scaling *s, const struct sums *all, double least_rate)
{
	const struct scaling_block *b;
	double n_all, theory = EXCESS * EXCESS * variance_of(s, 0, SCALING_BLOCKS, &n_all) / all->w;
	double sum = 0, squares = 0, n = all->n;
	for (unsigned age = 0; (b = block_at(s, age)); age++) {
		if (!counts_for(b, least_rate) || all->w - b->share_w <= 0)
			continue;
		double without = (all->share - b->share) / (all->w - b->share_w);
		sum += without;
		squares += without * without;
	}
	double jackknife = fmax(0, squares - sum * sum / n) * (n - 1) / n;
	return sqrt((n * jackknife + PRIOR_BLOCKS * theory) / (n + PRIOR_BLOCKS));
}

static struct scaling_shift shift_of(const struct scaling *s, double least_rate, bool pooled)
{
	struct scaling_shift shift = {0};
	struct sums all = sum_blocks(s, least_rate);
	if (all.n < BLOCKS_MIN)
		return shift;
	double mean = all.share / all.w, se = error_of(s, &all, least_rate);
	double t = student(SHARE_Z, all.n + PRIOR_BLOCKS - 1);
	shift.measured = true;
	shift.change = exp(mean) - 1;
	shift.se = exp(mean) * se;
	shift.samples = all.w;
	shift.z = se > 0 ? mean / se : 0;
	double reach = exp(all.reach / all.w) - 1;
	/* who comes by turns shows how long ago the last one came: a tenth where nothing is shared
	 */
	double little = pooled ? fmax(SHARE_PART * reach, SHARE_LITTLE) : SHARE_MIN;
	shift.found = shift.z > t && shift.change >= fmin(SHARE_MIN, little);
	shift.known =
	    shift.found || (exp(mean + 2 * se) - 1 < NO_SHARE && all.reach / all.w > REACH_MIN);
	return shift;
}

/*
 * Of all loads, and of those like now, since a bottleneck may show only when it is busy.
 * That there is none is known only from a load like now.
 */
void scaling_look_shift(struct scaling *s, bool pooled)
{
	struct scaling_shift all = shift_of(s, 0, pooled);
	struct scaling_shift busy = shift_of(s, 0.7 * s->rate, pooled);
	s->shift = all.found && (!busy.found || all.z > busy.z) ? all : busy.measured ? busy : all;
	if (!busy.measured)
		s->shift.known = s->shift.found;
}

/* ---- change ---- */

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
	for (unsigned age = from; age < end && (b = block_at(s, age)); age++)
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
	for (unsigned age = n; age < end && (b = block_at(s, age)); age++) {
		if (b->drift_w <= 0)
			continue;
		sum += b->drift / b->drift_w;
		squares += b->drift / b->drift_w * b->drift / b->drift_w;
		blocks++;
	}
	if (blocks < 2)
		return INFINITY;
	double variance = fmax(0, squares - sum * sum / blocks) / (blocks - 1);
	return student(CHANGE_Z, blocks - 1) * sqrt(variance * (1.0 / n + 1.0 / n_was));
}

/* The logarithm of what the last `n` blocks are slower than earlier ones; 0: not certain. */
static double change_of(const struct scaling *s, unsigned n)
{
	const struct scaling_block *b;
	struct drift last = {0};
	double samples;
	for (unsigned age = 0; age < n && (b = block_at(s, age)); age++)
		add_block(&last, b, 0);
	/* where more comes than is done the queue grows, and all with it, at equal load */
	if (last.n < n || last.served < SERVED_MIN * last.rate)
		return 0;
	double level = last.sum / last.w;
	struct drift was = before(s, n, last.rate / n, level > 0);
	if (was.n < BLOCKS_MIN / 2)
		return 0;
	double change = level - was.sum / was.w;
	double theory = variance_of(s, 0, SCALING_BLOCKS, &samples) * (1 / last.w + 1 / was.w);
	double chance = CHANGE_Z * EXCESS * sqrt(theory);
	double unrest = unrest_of(s, n, was.n);
	bool certain = fabs(change) > fmax(CHANGE_MIN, fmax(chance, unrest));
	return certain && last.agree * 4 >= n * 3 && change * level > 0 ? change : 0;
}

static double variance_alone(const struct scaling *s, unsigned from, unsigned to, double *n)
{
	const struct scaling_block *b;
	double sum = 0;
	*n = 0;
	for (unsigned age = from; age < to && (b = block_at(s, age)); age++) {
		sum += b->alone;
		*n += b->alone_n;
	}
	return *n > 0 ? sum / *n : 0;
}

typedef double (*variance_fn)(const struct scaling *s, unsigned from, unsigned to, double *n);

/* The last blocks vary otherwise than those before: these are not the same requests, slower. */
static bool varies_otherwise(const struct scaling *s, unsigned n, variance_fn variance)
{
	double n_last, n_was;
	double last = variance(s, 0, n, &n_last), was = variance(s, n, n + 24, &n_was);
	double ratio = sqrt((last + SPREAD_LEAST) / (was + SPREAD_LEAST));
	return n_last >= 100 && n_was >= 100 && (ratio > SPREAD_RATIO || ratio < 1 / SPREAD_RATIO);
}

/* Of those who met nobody: who waits for others varies less the more they are. */
static bool is_of_kind(const struct scaling *s, unsigned n)
{
	return varies_otherwise(s, n, variance_alone);
}

static void drift_now(struct scaling *s, uint64_t now_us)
{
	const struct scaling_block *b;
	double sum = 0, w = 0, n;
	for (unsigned age = 0; age < 2 && (b = block_at(s, age)); age++) {
		sum += b->drift;
		w += b->drift_w;
	}
	double noise = 3 * sqrt(variance_of(s, 0, SCALING_BLOCKS, &n) / fmax(w, 1));
	s->drifting = w > 0 && fabs(sum / w) > noise ? exp(sum / w) : 1;
	if (fabs(log(s->drifting)) < CHANGE_MIN * 0.7)
		s->drift_from_us = now_us;
}

/*
 * At most as much comes as they did a while ago with nobody being slow, and they do less than
 * that, so that all wait: by so much they have become slower at least, at whatever level that
 * was never met before.  0: it is not so.
 */
static double fell_behind(const struct scaling *s)
{
	const struct scaling_block *b;
	double served = 0, rate = 0;
	/* what others do is not seen */
	if (s->fine_rate <= 0 || scaling_hears(s))
		return 0;
	for (unsigned age = 0; age < BEHIND_BLOCKS; age++) {
		b = block_at(s, age);
		if (!b || b->rate > BEHIND_RATE * s->fine_rate)
			return 0;
		if (age < 2) {
			served += b->served / 2;
			rate += b->rate / 2;
		}
	}
	bool behind = served > 0 && served < SERVED_MIN * rate;
	double factor = behind ? s->fine_rate / served : 0;
	double chance =
	    4 / sqrt(fmax(served * 2 * SCALING_BLOCK_S, 1)); /* it was the most of many */
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

/* What takes longer at whatever level it met is no load; of nobody's objective it is no news. */
static bool is_another_kind(const struct scaling *s, const struct scaling_input *in)
{
	bool minds = in->slo_p95_us == 0 || s->seen_p95_us > (double)in->slo_p95_us;
	bool shared = s->shift.measured && s->shift.z > 2 && s->shift.change > NO_SHARE;
	bool full = s->today.utilisation > FULL_FROM; /* neighbours wait alike: too sure */
	return minds && !shared && !scaling_hears(s) && !full && s->alike_us &&
	       in->now_us > s->grown_us + KIND_SURE_US &&
	       in->now_us > s->alike_us + KIND_AFTER_US &&
	       s->now.p95_low_us > KIND_GROWTH * s->alone.p95_high_us &&
	       log(apart_by(s)) > CHANGE_MIN && scaling_load_is_innocent(s, s->growth);
}

static void set_change(struct scaling *s, const struct scaling_input *in, unsigned blocks,
		       struct scaling_change change)
{
	uint64_t ago_us = (uint64_t)blocks * SCALING_BLOCK_S * 1000000;
	s->change = change;
	s->alike_us = 0; /* to be seen anew */
	s->change.at_us = in->now_us > ago_us ? in->now_us - ago_us : 1;
	s->change.at_wall_us = in->wall_us > ago_us ? in->wall_us - ago_us : 1;
	scaling_begin_epoch(
	    s, change.of_kind ? "the kind of requests changed" : "everything changed its speed",
	    in->now_us);
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
	if (scaling_is_shared(s))
		return;
	for (size_t i = 0; i < ARRAY_LEN(spans); i++) {
		double change = change_of(s, spans[i]);
		if (change == 0)
			continue;
		set_change(s, in, spans[i],
			   (struct scaling_change){.factor = exp(change),
						   .of_kind = is_of_kind(s, spans[i])});
		return;
	}
	if (is_another_kind(s, in)) {
		unsigned blocks = blocks_since(in->now_us, s->alike_us);
		set_change(
		    s, in, blocks,
		    (struct scaling_change){.factor = apart_by(s),
					    .of_kind = is_of_kind(s, blocks) ||
						       varies_otherwise(s, blocks, variance_of)});
		return;
	}
	double behind = fell_behind(s);
	if (behind > 0)
		set_change(s, in, 2, (struct scaling_change){.factor = behind, .behind = true});
}
