/* SPDX-License-Identifier: MIT */
/*
 * Sharing, out of pools of different sizes.  Where all backends are equally busy at all
 * times nothing within five seconds tells a shared bottleneck (share.c).  But a backend that
 * has more than enough to do completes what it can; when that falls as the pool grows, and
 * alone it is as quick as before, then something takes a share of it.
 *
 * Compared is each backend with itself, so that weaker newcomers prove nothing, and only
 * seconds in which next to all that it completed had waited (the mean duration at the level
 * is twice that of requests alone): its workers were busy throughout, whatever the
 * distribution.  Those of the larger pool are held against as many or more in flight in the
 * smaller one, since some do less the more they have at once; what is left of a difference
 * counts in full against the finding.  A deploy shows in requests that met hardly anybody:
 * what those have become slower is subtracted, something must be left of the difference
 * even if it were two standard errors more, and without some of them at both sizes nothing
 * is said.
 */
#include <math.h>
#include <string.h>

#include "scaling.h"

#include "weir/base/defs.h"

#define SAMPLE_S 2      /* a look may come sooner: then it is a part of one */
#define SAMPLE_MIN 50   /* completions in it */
#define FULL_SHARE 0.95 /* of them had waited */
#define FULL_TIMES 2.0  /* had taken so many times what they take alone */
#define ALONE_MIN 50    /* requests that tell what they take alone */
#define CELL_MIN 2      /* samples of a backend at a size */
#define CELL_MAX 12     /* more weigh no more */
#define KEEP_US (UINT64_C(3600) * 1000000)
#define QUIET_KEEP 0.96 /* two minutes of blocks with requests that met nobody */
#define QUIET_LEVEL 1.0 /* of the others: as many in flight at each, at most */
#define FLOOR 0.05      /* of the logarithm of a rate: no sample is surer */
#define Z_MIN 4.0
#define FALL_MIN 0.14 /* log 1.15 */

/* ---- what a request takes that meets hardly anybody ---- */

/* That of a size; the oldest makes room. */
static struct scaling_size *size_of(struct scaling *s, uint32_t backends)
{
	struct scaling_size *oldest = &s->sizes[0];
	for (size_t i = 0; i < ARRAY_LEN(s->sizes); i++) {
		if (s->sizes[i].backends == backends)
			return &s->sizes[i];
		if (s->sizes[i].at_us < oldest->at_us)
			oldest = &s->sizes[i];
	}
	*oldest = (struct scaling_size){.backends = backends};
	return oldest;
}

void scaling_size_quiet(struct scaling *s, const struct scaling_split *met_nobody, double unit)
{
	double n = (double)met_nobody->n[0] + met_nobody->n[1];
	double others = (double)met_nobody->elsewhere[0] + met_nobody->elsewhere[1];
	if (n < 1 || !s->n_backends || others > QUIET_LEVEL * n * (s->n_backends - 1))
		return;
	struct scaling_quiet *q = &size_of(s, s->n_backends)->quiet;
	double keep = n / (n + q->n) > 1 - QUIET_KEEP ? QUIET_KEEP : 1;
	q->n = q->n * keep + n;
	q->log = q->log * keep + unit * ((double)met_nobody->log[0] + met_nobody->log[1]);
	q->log2 = q->log2 * keep + unit * unit * (double)met_nobody->log2;
}

/* ---- seconds in which a backend was full ---- */

void scaling_part_waited(struct scaling_part *part, const struct scaling *s, uint32_t k, double n,
			 double us)
{
	part->full.n += n;
	part->full.level += n * log(level_value(k));
	part->full.waited += s->alone_us > 0 && us > FULL_TIMES * s->alone_us * n ? n : 0;
}

/* The last full one may have ended amid its second: it counts when the next is full, too. */
void scaling_part_second(struct scaling_part *part)
{
	struct scaling_waited *f = &part->full;
	bool full = f->waited > 0 && f->waited >= FULL_SHARE * f->n - 1;
	/* what it does for other nodes is not counted here */
	if (!full || part->others_rate > OTHERS_FEW * f->n) {
		*f = (struct scaling_waited){.broken = true};
		return;
	}
	if (f->last_n > 0) {
		f->sum += f->last_n;
		f->sum_level += f->last_level;
		f->seconds++;
	}
	f->last_n = f->n;
	f->last_level = f->level;
	f->n = f->waited = f->level = 0;
}

static struct scaling_full *cell_of(struct scaling_part *part, uint32_t backends, unsigned octave)
{
	struct scaling_full *oldest = &part->cells[0];
	for (size_t i = 0; i < ARRAY_LEN(part->cells); i++) {
		struct scaling_full *cell = &part->cells[i];
		if (cell->backends == backends && cell->octave == octave)
			return cell;
		if (cell->at_us < oldest->at_us)
			oldest = cell;
	}
	*oldest = (struct scaling_full){.backends = (uint16_t)backends, .octave = (uint16_t)octave};
	return oldest;
}

static bool take_sample(struct scaling_part *part, uint32_t backends, uint64_t now_us)
{
	struct scaling_waited *f = &part->full;
	double n = f->sum, level = n > 0 ? f->sum_level / n : 0, seconds = f->seconds;
	bool full = !f->broken && n >= SAMPLE_MIN && seconds >= SAMPLE_S;
	f->sum = f->sum_level = f->seconds = 0;
	f->broken = false;
	if (!full)
		return false;
	struct scaling_full *c = cell_of(part, backends, (unsigned)(level / M_LN2));
	double keep = c->n >= CELL_MAX ? (CELL_MAX - 1.0) / CELL_MAX : 1, x = log(n / seconds);
	c->n = (float)((double)c->n * keep + 1);
	c->log = (float)((double)c->log * keep + x);
	c->log2 = (float)((double)c->log2 * keep + x * x);
	c->level = (float)((double)c->level * keep + level);
	c->at_us = now_us;
	return true;
}

/* ---- two sizes ---- */

struct pair {
	double fall, w, var, rate[2]; /* rate: logarithms */
};

static double spread_of(const struct scaling_input *in)
{
	double sum = 0, n = 0;
	for (size_t i = 0; i < in->n; i++) {
		const struct scaling_part *part = in->members[i].part;
		for (size_t c = 0; part && c < ARRAY_LEN(part->cells); c++) {
			const struct scaling_full *cell = &part->cells[c];
			double cells = (double)cell->n, log = (double)cell->log;
			if (cell->n < 2)
				continue;
			sum += fmax(0, (double)cell->log2 - log * log / cells);
			n += cells - 1;
		}
	}
	return fmax(FLOOR * FLOOR, n > 0 ? sum / n : 0);
}

/* What one backend did at `size`, with no less than that in flight. */
static struct scaling_full sum_cells(const struct scaling_part *part, uint32_t size,
				     unsigned octave, uint64_t now_us)
{
	struct scaling_full sum = {.backends = (uint16_t)size};
	for (size_t i = 0; i < ARRAY_LEN(part->cells); i++) {
		const struct scaling_full *c = &part->cells[i];
		if (c->backends != size || c->octave < octave || now_us > c->at_us + KEEP_US)
			continue;
		sum.n += c->n;
		sum.log += c->log;
		sum.level += c->level;
	}
	return sum;
}

/* Samples of one backend that could be compared. */
struct matched {
	double n0, n1; /* n0: times the weight */
	struct pair sum;
};

static void compare_cell(const struct scaling_part *part, const struct scaling_full *large,
			 uint32_t small, uint64_t now_us, struct matched *m)
{
	struct scaling_full was = sum_cells(part, small, large->octave, now_us);
	double n1 = (double)large->n, n0 = (double)was.n;
	if (n0 < CELL_MIN || n1 < 1)
		return;
	double w = n0 * n1 / (n0 + n1), x1 = (double)large->log / n1, x0 = (double)was.log / n0;
	double deeper = (double)large->level / n1 - (double)was.level / n0;
	m->sum.fall += w * (x0 - x1 - fmax(0, deeper));
	m->sum.rate[0] += w * x0;
	m->sum.rate[1] += w * x1;
	m->sum.w += w;
	m->n0 += w * n0;
	m->n1 += n1;
}

static void compare_part(const struct scaling_part *part, uint32_t small, uint32_t large,
			 double var, uint64_t now_us, struct pair *pair)
{
	struct matched m = {0};
	for (size_t i = 0; i < ARRAY_LEN(part->cells); i++)
		if (part->cells[i].backends == large && now_us <= part->cells[i].at_us + KEEP_US)
			compare_cell(part, &part->cells[i], small, now_us, &m);
	if (m.n1 < CELL_MIN || m.sum.w <= 0)
		return;
	pair->fall += m.sum.fall;
	pair->rate[0] += m.sum.rate[0];
	pair->rate[1] += m.sum.rate[1];
	pair->w += m.sum.w;
	pair->var += m.sum.w * var * (m.sum.w / m.n0 + 1 / m.n1);
}

static double mean_of(const struct scaling_quiet *q)
{
	return q->log / q->n;
}

/* The square of the error of its mean. */
static double error2_of(const struct scaling_quiet *q)
{
	double mean = mean_of(q);
	return fmax(0, q->log2 / q->n - mean * mean) / q->n;
}

static struct scaling_fall fall_between(const struct scaling *s, const struct scaling_input *in,
					const struct scaling_size *small,
					const struct scaling_size *large, double var)
{
	struct scaling_fall fall = {.from = small->backends, .to = large->backends};
	const struct scaling_quiet *then = &small->when_full, *now = &large->quiet;
	struct pair pair = {0};
	if (then->n < ALONE_MIN || now->n < ALONE_MIN)
		return fall;
	for (size_t i = 0; i < in->n; i++)
		if (in->members[i].part)
			compare_part(in->members[i].part, small->backends, large->backends, var,
				     s->looked_us, &pair);
	if (pair.w <= 0)
		return fall;
	/* backends that share something are no witnesses of their own: as sure as one of them */
	double slower = fmax(0, mean_of(now) - mean_of(then));
	double unsure = 2 * sqrt(error2_of(then) + error2_of(now));
	fall.fall = pair.fall / pair.w - slower;
	fall.z = fall.fall / (EXCESS * sqrt(pair.var / pair.w));
	fall.found = fall.z > Z_MIN && fall.fall > FALL_MIN && fall.fall - unsure > FALL_MIN / 2;
	fall.rate_from = exp(pair.rate[0] / pair.w);
	fall.rate_to = exp(pair.rate[1] / pair.w);
	return fall;
}

/* ---- looks ---- */

void scaling_forget_sizes(struct scaling *s)
{
	memset(s->sizes, 0, sizeof(s->sizes));
	s->fall = (struct scaling_fall){0};
	s->size_epoch++; /* the parts follow at the next look */
}

static void follow(struct scaling_part *part, const struct scaling *s, uint64_t now_us)
{
	for (size_t i = 0; i < ARRAY_LEN(part->cells); i++)
		if (part->cells[i].at_us > now_us) /* the machine was started anew since */
			part->cells[i].at_us = now_us;
	if (part->size_epoch == s->size_epoch)
		return;
	part->size_epoch = s->size_epoch;
	memset(part->cells, 0, sizeof(part->cells));
	part->full = (struct scaling_waited){0};
}

/* Of time in which the members were the same throughout. */
static void take_samples(struct scaling *s, const struct scaling_input *in, bool same)
{
	bool any = false;
	if (same && in->now_us < s->sampled_us + UINT64_C(1000000) * (SAMPLE_S + 1))
		return;
	for (size_t i = 0; i < in->n; i++) {
		struct scaling_part *part = in->members[i].part;
		if (!part)
			continue;
		if (!same || !in->members[i].usable)
			part->full = (struct scaling_waited){.broken = true};
		any |= take_sample(part, s->n_backends, in->now_us);
	}
	s->sampled_us = in->now_us;
	if (any) {
		struct scaling_size *size = size_of(s, s->n_backends);
		size->when_full = size->quiet;
		size->at_us = in->now_us;
	}
}

static void find_fall(struct scaling *s, const struct scaling_input *in)
{
	double var = spread_of(in);
	s->fall = (struct scaling_fall){0};
	for (size_t i = 0; i < ARRAY_LEN(s->sizes); i++)
		for (size_t k = 0; k < ARRAY_LEN(s->sizes); k++) {
			const struct scaling_size *small = &s->sizes[i], *large = &s->sizes[k];
			if (!small->at_us || !large->at_us || small->backends >= large->backends)
				continue;
			struct scaling_fall fall = fall_between(s, in, small, large, var);
			if (fall.found > s->fall.found ||
			    (fall.found == s->fall.found && fall.z > s->fall.z))
				s->fall = fall;
		}
}

void scaling_look_sizes(struct scaling *s, const struct scaling_input *in)
{
	bool same = s->looked_members == s->signature;
	s->looked_members = s->signature;
	for (size_t i = 0; i < in->n; i++)
		if (in->members[i].part)
			follow(in->members[i].part, s, in->now_us);
	take_samples(s, in, same && s->n_backends && s->n_backends < UINT16_MAX);
	find_fall(s, in);
}
