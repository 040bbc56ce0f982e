/* SPDX-License-Identifier: MIT */
/* What arrives a second, how evenly it comes, and whether who asks waits for his answer. */
#include <math.h>
#include <stdlib.h>

#include "scaling.h"

#define CV2_MAX 4    /* of few that come, more is chance */
#define CLOSED_S 40  /* it takes so many seconds to tell that clients wait */
#define CLOSED_MIN 3 /* in flight */
#define CLOSED_LESS 0.3
#define RATE_SURE 1000 /* of so many ten seconds are enough */
#define ALIKE 0.2      /* loads that differ by less are one that swings */
#define SWING_SURE 2.5
#define SWING_S 10 /* what is slower than that is no burst */

static void open_block(struct scaling *s)
{
	double sum = 0, others = 0;
	for (unsigned i = 0; i < SCALING_BLOCK_S; i++) {
		sum += s->counts[(s->n_counts - 1 - i) % SCALING_SECONDS];
		others += s->others[(s->n_counts - 1 - i) % SCALING_SECONDS];
	}
	s->blocks[s->n_blocks++ % SCALING_BLOCKS] = (struct scaling_block){
	    .rate = sum / SCALING_BLOCK_S, .others = others / SCALING_BLOCK_S};
}

/* What was seen before and after a time in which they were not heard is not comparable. */
void scaling_others(struct scaling *s, double rate, bool known)
{
	if (known && s->deaf)
		s->n_counts = 0;
	if (!known)
		s->first_block = s->member_block = s->n_blocks;
	s->others_rate = known ? rate : 0;
	s->deaf = !known;
}

void scaling_count(struct scaling *s, uint32_t arrivals)
{
	uint32_t others = (uint32_t)(fmin(s->others_rate, 1e9) + 0.5);
	if (s->n_counts) {
		unsigned last = (s->n_counts - 1) % SCALING_SECONDS;
		s->grown[last] = (float)((double)s->counts[last] - s->others[last] - s->served_s);
	}
	s->served_s = 0;
	s->others[s->n_counts % SCALING_SECONDS] = others;
	s->counts[s->n_counts++ % SCALING_SECONDS] = arrivals + others;
	if (s->n_counts % SCALING_BLOCK_S == 0)
		open_block(s);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

/* From one second to the next: half the squares of the differences, relative to the mean there,
 * which is the variance of Poisson; the smallest first.  Too few: none, with a rate of 0. */
struct steps {
	double squares[SCALING_SECONDS];
	unsigned n;
	double rate; /* of arrivals */
};

static struct steps steps_of(const struct scaling *s)
{
	struct steps steps = {.n = 0};
	unsigned n = s->n_counts < SCALING_SECONDS ? s->n_counts : SCALING_SECONDS;
	double total = 0;
	if (n < 16)
		return steps;
	for (; steps.n + 1 < n; steps.n++) {
		double now = s->counts[(s->n_counts - 1 - steps.n) % SCALING_SECONDS];
		double before = s->counts[(s->n_counts - 2 - steps.n) % SCALING_SECONDS];
		double mean = (now + before) / 2;
		steps.squares[steps.n] = mean > 0 ? (now - before) * (now - before) / 2 / mean : 0;
		total += mean;
	}
	qsort(steps.squares, steps.n, sizeof(*steps.squares), by_value);
	steps.rate = total / steps.n;
	return steps;
}

/*
 * Squared coefficient of variation of the times between arrivals, from the
 * dispersion of counts a second; 1 is Poisson.  Differences of neighbours, so that
 * a slow change of the load does not look like bursts, and their median, so that
 * a jump does not either: half a squared difference is distributed as the
 * variance times chi-squared with one degree, whose median is 0.4549.
 */
static double cv2_of_arrivals(const struct steps *steps)
{
	if (steps->rate <= 0)
		return 1;
	double most =
	    fmax(CV2_MAX, 1 + 0.8 * steps->rate); /* half of the seconds are next to empty */
	return fmin(fmax(steps->squares[steps->n / 2] / 0.4549, 0.1), most);
}

/*
 * The variance of seconds by their mean; the largest tenth of the squares may be jumps of the
 * load.  What is left of chi-squared with one degree has a mean of 0.623.
 */
static double dispersion_of(const struct steps *steps)
{
	unsigned kept = steps->n * 9 / 10;
	double sum = 0;
	for (unsigned i = 0; i < kept; i++)
		sum += steps->squares[i];
	return kept ? sum / kept / 0.623 : 0;
}

/* Standard deviation of the rate of seconds by its mean, beyond what is chance. */
static double bursts_of(const struct steps *steps)
{
	double dispersion = dispersion_of(steps);
	return dispersion > 1.5 ? sqrt((dispersion - 1) / steps->rate) : 0;
}

/*
 * Does who asks wait for the answer before he asks again?  Then as many are in flight at all
 * times, although arrivals vary, which follow what is done; while with any other arrivals the
 * number of a second later differs by chance: by a variance of twice the mean, or less where
 * requests outlive the second, and less the more evenly they come.  What is paced has about as
 * many in flight, too, but then arrivals do not vary either.
 */
static bool is_closed(const struct scaling *s, const struct steps *steps)
{
	unsigned n = s->n_counts < SCALING_SECONDS ? s->n_counts : SCALING_SECONDS;
	double sum = 0, squares = 0, came = 0;
	n = n > 0 ? n - 1 : 0; /* this second is not over */
	for (unsigned i = 0; i < n; i++) {
		unsigned at = (s->n_counts - 2 - i) % SCALING_SECONDS;
		double grown = (double)s->grown[at];
		if (isnan(grown)) { /* of the process before */
			n = i;
			break;
		}
		sum += grown;
		squares += grown * grown;
		came += (double)s->counts[at] - s->others[at];
	}
	double seconds = s->total_us / 1e6, in_flight = n ? came / n * seconds : 0;
	if (n < CLOSED_S || in_flight < CLOSED_MIN)
		return false;
	double chance = 2 * in_flight * (1 - exp(-1 / seconds)) * fmin(dispersion_of(steps), 1);
	return (squares - sum * sum / n) / (n - 1) < CLOSED_LESS * chance;
}

void scaling_look_arrivals(struct scaling *s)
{
	struct steps steps = steps_of(s);
	s->cv2_arrivals = cv2_of_arrivals(&steps);
	s->bursts = bursts_of(&steps);
	s->closed = is_closed(s, &steps);
}

/* ---- the load that is meant ---- */

static double rate_before(const struct scaling *s, unsigned age_s, unsigned seconds)
{
	double sum = 0;
	for (unsigned i = 0; i < seconds; i++)
		sum += s->counts[(s->n_counts - 1 - age_s - i) % SCALING_SECONDS];
	return sum / seconds;
}

/* Rates of so many seconds each: by chance, with bursts, they differ by no more than that. */
static bool are_alike(const struct scaling *s, double rate, double mean, unsigned seconds)
{
	double chance = mean > 0 ? fmax(s->cv2_arrivals, 1) / mean : 0;
	double sure = 3 * sqrt((chance + s->bursts * s->bursts) * 2 / seconds);
	return fabs(rate - mean) <= mean * fmax(ALIKE, sure);
}

/* In the midst of ten seconds; what came before them is of another load. */
static bool has_just_changed(const struct scaling *s)
{
	double late = rate_before(s, 0, SWING_S / 2);
	double early = rate_before(s, SWING_S / 2, SWING_S / 2);
	return !are_alike(s, late, early, SWING_S / 2);
}

/*
 * Of the last minute, as long as it was like now: its mean, and how it swings about that.  What
 * came before a change of the load is of another one.  The rate of now is of ten seconds, as what
 * is seen now is, where enough come in them.
 */
void scaling_look_rate(struct scaling *s)
{
	double sum = 0, squares = 0, n = 0;
	unsigned known = s->n_counts < SCALING_SECONDS ? s->n_counts : SCALING_SECONDS;
	s->swing = 0;
	s->rate_changes = false;
	s->rate_s = known < SWING_S ? known : SWING_S;
	s->rate = s->demand = known ? rate_before(s, 0, s->rate_s) : 0;
	for (unsigned age = 0; age + SWING_S <= known; age += SWING_S) {
		double rate = rate_before(s, age, SWING_S), mean = n > 0 ? sum / n : rate;
		if (!are_alike(s, rate, mean, SWING_S)) {
			s->rate_changes = n < 2 && has_just_changed(s);
			break;
		}
		sum += rate;
		squares += rate * rate;
		n++;
	}
	if (n < 2)
		return;
	double mean = sum / n, variance = (squares - sum * mean) / (n - 1);
	double chance = s->cv2_arrivals * mean / SWING_S;
	s->demand = mean;
	if (s->rate * SWING_S < RATE_SURE)
		s->rate = mean;
	s->rate_s = (unsigned)n * SWING_S;
	if (variance > SWING_SURE * chance) /* six that lie apart by chance do not */
		s->swing = sqrt(variance - chance) / mean;
}
