/* SPDX-License-Identifier: MIT */
/*
 * Is something behind the backends shared?  Durations of the same backend at the same level are
 * compared.
 *
 * Sharing: within a stratum (five seconds, one backend, one level at arrival) those who came
 * when the other backends had more in flight than usual against those who came when they had
 * less.  All that moves with time, a deploy, a mix, the rate itself, is the same on both
 * sides; and durations by level at arrival, unlike completions per time at a level, are free
 * of bias whatever the service times are.  What is left of it (the age of the request in
 * service under round robin) is below the threshold.
 */
#include <math.h>

#include "scaling.h"

#define STRATUM_MIN 8
#define SIDE_MIN 3
#define SHARE_Z 4.0
#define SHARE_MIN 0.15 /* a smaller effect is no sharing, however certain */
#define SHARE_PART 0.5 /* unless the others' load hardly varied: of what it could have done */
#define SHARE_LITTLE 0.05
#define REACH_MIN 0.3   /* the others' load must have varied by so much */
#define PRIOR_BLOCKS 10 /* what the error of theory weighs beside the jackknife */
#define LOG_UNIT (M_LN2 / 256)
#define USUAL_MEMORY_S 300.0
#define USUAL_MIN 30
#define USUAL_SHARE 0.05 /* of it, at most so much is of one block */

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

const struct scaling_block *scaling_block_at(const struct scaling *s, unsigned age)
{
	if (age >= SCALING_BLOCKS || s->n_blocks - s->first_block <= age)
		return NULL;
	return &s->blocks[(s->n_blocks - 1 - age) % SCALING_BLOCKS];
}

double scaling_variance(const struct scaling *s, unsigned from, unsigned to, double *n)
{
	const struct scaling_block *b;
	double sum = 0;
	*n = 0;
	for (unsigned age = from; age < to && (b = scaling_block_at(s, age)); age++) {
		sum += b->spread;
		*n += b->spread_n;
	}
	return *n > 0 ? sum / *n : 0;
}

double scaling_spread(const struct scaling *s)
{
	double n;
	return scaling_variance(s, 0, SCALING_BLOCKS, &n);
}

/* ---- sharing ---- */

/* Student's t that is as rare with so many degrees of freedom as z (Cornish and Fisher). */
double scaling_student(double z, double freedom)
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
	for (unsigned age = 0; (b = scaling_block_at(s, age)); age++)
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
	double n_all,
	    theory = EXCESS * EXCESS * scaling_variance(s, 0, SCALING_BLOCKS, &n_all) / all->w;
	double sum = 0, squares = 0, n = all->n;
	for (unsigned age = 0; (b = scaling_block_at(s, age)); age++) {
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
	double t = scaling_student(SHARE_Z, all.n + PRIOR_BLOCKS - 1);
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
