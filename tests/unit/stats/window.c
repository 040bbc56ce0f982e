/* SPDX-License-Identifier: MIT */
/*
 * Windows against the truth: a log of all samples by second, from which each
 * window is counted again.  Rates likewise.
 */
#include "weir/stats/window.h"

#include <criterion/criterion.h>
#include <malloc.h>
#include <math.h>
#include <stdlib.h>

#include "weir/base/rng.h"
#include "weir/stats/counter.h"
#include "weir/stats/pack.h"
#include "weir/stats/rate.h"

#define SECOND UINT64_C(1000000)
#define SECONDS 1000
#define PER_SECOND 40
#define WORKERS 3

static uint64_t samples[SECONDS][PER_SECOND];

/* The histogram of the samples of seconds [from, to). */
static void count_samples(uint32_t from, uint32_t to, struct hist_total *out)
{
	*out = (struct hist_total){0};
	for (uint32_t s = from; s < to; s++) {
		for (uint32_t i = 0; i < PER_SECOND; i++) {
			out->count[hist_index(samples[s][i])]++;
			out->n++;
			out->sum_us += samples[s][i];
			out->overflow += samples[s][i] >= HIST_LIMIT_US;
			if (samples[s][i] > out->max_us)
				out->max_us = samples[s][i];
		}
	}
}

static void check_window(const struct windows *w, enum window window, uint32_t second)
{
	struct hist_total got, expected;
	windows_read(w, PHASE_total, window, &got);
	uint32_t span = (uint32_t)(got.span_us / SECOND);
	cr_assert_eq(got.span_us % SECOND, 0);
	count_samples(second - span, second, &expected);
	cr_assert_eq(memcmp(got.count, expected.count, sizeof(got.count)), 0, "%s at %u s",
		     window_name(window), second);
	cr_assert_eq(got.n, expected.n);
	cr_assert_eq(got.sum_us, expected.sum_us);
	cr_assert_eq(got.overflow, expected.overflow);
	cr_assert(got.max_us >= expected.max_us);
	if (!got.overflow)
		cr_assert((double)got.max_us <= (double)expected.max_us * 1.032);

	static const uint32_t least[] = {10, 60, 300, SECONDS}, most[] = {10, 69, 359, SECONDS};
	cr_assert(span >= (second < least[window] ? second : least[window]));
	cr_assert(span <= most[window]);
	if (window == WINDOW_START) {
		cr_assert_eq(span, second);
		cr_assert_eq(got.max_us, expected.max_us);
	}
}

Test(window, every_window_equals_a_recount)
{
	struct rng rng;
	rng_init(&rng, 3);
	struct hist_set sets[WORKERS] = {{.phase = {NULL}}};
	const struct hist_set *readers[WORKERS + 1] = {&sets[0], NULL, &sets[1], &sets[2]};
	struct windows *w = windows_new(5 * SECOND);
	for (uint32_t s = 0; s < SECONDS; s++) {
		for (uint32_t i = 0; i < PER_SECOND; i++) {
			/* now and then a long one, so that maxima move with the window */
			samples[s][i] = rng_next(&rng) % (rng_below(&rng, 3000) ? 10000 : 90000000);
			hist_set_record(&sets[rng_below(&rng, WORKERS)], PHASE_total,
					samples[s][i]);
		}
		windows_fold(w, readers, WORKERS + 1, (5 + s + 1) * SECOND);
		for (int i = 0; i < N_WINDOWS; i++)
			check_window(w, (enum window)i, s + 1);
	}
	struct hist_total unused_phase;
	windows_read(w, PHASE_queue, WINDOW_5M, &unused_phase);
	cr_assert_eq(unused_phase.n, 0);
	cr_assert_eq(windows_lost(w), 0);
	windows_free(w);
	for (size_t i = 0; i < WORKERS; i++)
		hist_set_fini(&sets[i]);
}

/* Seven minutes of 180 requests a second of 2 ms, spread exponentially: all of them wait, two
 * phases are as wide. */
static struct windows *busy_windows(struct hist_set *set, struct rng *rng)
{
	const struct hist_set *sets[] = {set};
	struct windows *w = windows_new(0);
	for (uint32_t s = 1; s <= 420; s++) {
		for (uint32_t i = 0; i < 180; i++) {
			uint64_t us = (uint64_t)(-2000 * log(1 - (double)(rng_next(rng) >> 11) /
								     9007199254740992.0));
			uint64_t phases[N_PHASES] = {0};
			phases[PHASE_wait] = us;
			phases[PHASE_transfer] = 10 + rng_below(rng, 30);
			phases[PHASE_self] = 15 + rng_below(rng, 60);
			phases[PHASE_total] = us + phases[PHASE_transfer] + phases[PHASE_self];
			hist_sets_record_all((struct hist_set *[]){set}, 1, phases);
		}
		windows_fold(w, sets, 1, s * SECOND);
	}
	return w;
}

/* Of several, for what the heap keeps at hand of freed memory counts as in use. */
Test(window, a_busy_backend_takes_as_much_as_the_header_says)
{
	enum { N = 8 };
	struct rng rng;
	rng_init(&rng, 4);
	struct hist_set set[N] = {{.phase = {NULL}}};
	struct windows *w[N];
	size_t before = mallinfo2().uordblks;
	for (size_t i = 0; i < N; i++)
		w[i] = busy_windows(&set[i], &rng);
	size_t bytes = (mallinfo2().uordblks - before) / N;
	cr_expect_leq(bytes, 28 * 1024, "%zu bytes", bytes); /* 26 400 when it was written */
	for (size_t i = 0; i < N; i++) {
		windows_free(w[i]);
		hist_set_fini(&set[i]);
	}
}

Test(window, worker_counts_may_wrap)
{
	struct hist_set set = {.phase = {NULL}};
	const struct hist_set *sets[] = {&set};
	struct windows *w = windows_new(0);
	hist_set_record(&set, PHASE_wait, 100);
	windows_fold(w, sets, 1, SECOND);
	struct hist *h = atomic_load(&set.phase[PHASE_wait]);
	/* a billion and 9 samples later its count stands at 10 again */
	struct hist_total full = {.sum_us = atomic_load(&h->sum_us) + 100, .max_us = 100};
	full.count[hist_index(100)] = HIST_COUNT_MASK;
	hist_seed(h, &full);
	windows_fold(w, sets, 1, 2 * SECOND);
	for (int i = 0; i < 11; i++)
		hist_set_record(&set, PHASE_wait, 100);
	windows_fold(w, sets, 1, 3 * SECOND);
	struct hist_total t;
	windows_read(w, PHASE_wait, WINDOW_START, &t);
	cr_assert_eq(t.n, UINT64_C(0x4000000a));
	windows_read(w, PHASE_wait, WINDOW_10S, &t);
	cr_assert_eq(t.count[hist_index(100)], UINT64_C(0x4000000a));
	cr_assert_eq(t.span_us, 3 * SECOND);
	windows_free(w);
	hist_set_fini(&set);
}

/* Few are kept in one word, more in two, very many in several. */
Test(window, a_second_may_have_any_number_of_equal_samples)
{
	static const uint32_t counts[] = {1, 63, 64, 65535, 65536, 65598, 65599, 200000};
	struct hist_set set = {.phase = {NULL}};
	const struct hist_set *sets[] = {&set};
	struct windows *w = windows_new(0);
	struct hist_total expected = {0}, got = {0}, again = {0};
	hist_set_record(&set, PHASE_wait, 1);
	hist_set_record(&set, PHASE_total, 1);
	windows_fold(w, sets, 1, SECOND);
	for (uint32_t i = 0; i < ARRAY_LEN(counts); i++) {
		for (uint32_t n = 0; n < counts[i]; n++)
			hist_record(atomic_load(&set.phase[PHASE_wait]), 50 + 37 * i);
		hist_set_record(&set, PHASE_total, 9); /* behind the words of the phase before */
		expected.count[hist_index(50 + 37 * i)] = counts[i];
	}
	windows_fold(w, sets, 1, 2 * SECOND);
	windows_newest_add(w, PHASE_wait, &got);
	cr_assert_eq(memcmp(got.count, expected.count, sizeof(got.count)), 0);
	struct str packed = STR_INIT;
	windows_pack(w, &packed);
	struct unpack in = unpack_of(str_as_view(&packed));
	struct windows *back = windows_unpack(&in, 2 * SECOND);
	cr_assert(back && !in.bad);
	windows_newest_add(back, PHASE_wait, &again);
	cr_assert_eq(memcmp(again.count, expected.count, sizeof(again.count)), 0);
	windows_read(back, PHASE_total, WINDOW_10S, &got);
	cr_assert_eq(got.count[9], ARRAY_LEN(counts));
	str_fini(&packed);
	windows_free(back);
	windows_free(w);
	hist_set_fini(&set);
}

/* The control thread may see that a sample was counted a fold before it sees how long it took. */
Test(window, a_time_that_is_late_for_its_count_is_in_the_window_too)
{
	struct hist_set set = {.phase = {NULL}};
	const struct hist_set *sets[] = {&set};
	struct windows *w = windows_new(0), *sum = windows_new(0);
	hist_set_record(&set, PHASE_wait, 100);
	struct hist *h = atomic_load(&set.phase[PHASE_wait]);
	hist_set_record(&set, PHASE_wait, 300);
	atomic_store(&h->sum_us, 100);
	for (uint64_t s = 1; s <= 60; s++) { /* slots become one of ten seconds, then of a minute */
		windows_fold(w, sets, 1, s * SECOND);
		windows_fold_newest(sum, (const struct windows *const[]){w}, 1, s * SECOND);
		atomic_store(&h->sum_us, 400);
		for (int i = 0; i < N_WINDOWS; i++) {
			/* ten seconds later they have left; a time without a sample is no mean */
			uint64_t expected = s == 1 ? 100 : i || s <= 10 ? 400 : 0;
			struct hist_total t;
			windows_read(w, PHASE_wait, (enum window)i, &t);
			cr_assert_eq(t.sum_us, expected, "%s at %u s", window_name((enum window)i),
				     (unsigned)s);
			windows_read(sum, PHASE_wait, (enum window)i, &t);
			cr_assert_eq(t.sum_us, expected);
		}
	}
	windows_free(w);
	windows_free(sum);
	hist_set_fini(&set);
}

Test(window, old_samples_leave)
{
	struct hist_set set = {.phase = {NULL}};
	const struct hist_set *sets[] = {&set};
	struct windows *w = windows_new(0);
	hist_set_record(&set, PHASE_self, 12);
	uint64_t n[N_WINDOWS][401];
	for (uint32_t s = 1; s <= 400; s++) {
		windows_fold(w, sets, 1, s * SECOND);
		for (int i = 0; i < N_WINDOWS; i++) {
			struct hist_total t;
			windows_read(w, PHASE_self, (enum window)i, &t);
			n[i][s] = t.n;
		}
	}
	cr_assert_eq(n[WINDOW_10S][10], 1);
	cr_assert_eq(n[WINDOW_10S][11], 0);
	cr_assert_eq(n[WINDOW_1M][69], 1);
	cr_assert_eq(n[WINDOW_1M][70], 0);
	cr_assert_eq(n[WINDOW_5M][359], 1);
	cr_assert_eq(n[WINDOW_5M][360], 0);
	cr_assert_eq(n[WINDOW_START][400], 1);
	windows_free(w);
	hist_set_fini(&set);
}

Test(window, the_longest_sample_is_exact_while_it_is_inside)
{
	struct hist_set set = {.phase = {NULL}};
	const struct hist_set *sets[] = {&set};
	struct windows *w = windows_new(0);
	struct hist_total t;
	hist_set_record(&set, PHASE_total, 1000001);
	windows_fold(w, sets, 1, SECOND);
	hist_set_record(&set, PHASE_total, 5000);
	for (uint64_t s = 2; s <= 11; s++) {
		windows_read(w, PHASE_total, WINDOW_10S, &t);
		cr_assert_eq(t.max_us, 1000001);
		windows_fold(w, sets, 1, s * SECOND);
	}
	windows_read(w, PHASE_total, WINDOW_10S, &t);
	uint32_t i = hist_index(5000);
	cr_assert_eq(t.max_us, hist_lower_us(i) + hist_width_us(i) - 1);
	windows_read(w, PHASE_total, WINDOW_1M, &t);
	cr_assert_eq(t.max_us, 1000001);
	windows_free(w);
	hist_set_fini(&set);
}

Test(window, nothing_recorded_reads_as_nothing)
{
	struct windows *w = windows_new(SECOND);
	struct hist_total t;
	windows_read(w, PHASE_total, WINDOW_1M, &t);
	cr_assert_eq(t.n + t.span_us + t.max_us, 0);
	windows_fold(w, NULL, 0, 3 * SECOND);
	windows_read(w, PHASE_total, WINDOW_START, &t);
	cr_assert_eq(t.n, 0);
	cr_assert_eq(t.span_us, 2 * SECOND);
	windows_free(w);
	windows_free(NULL);
}

Test(window, names_go_both_ways)
{
	for (int i = 0; i < N_WINDOWS; i++) {
		enum window back;
		cr_assert(window_parse(view_str(window_name((enum window)i)), &back));
		cr_assert_eq((int)back, i);
	}
	enum window unused;
	cr_assert_not(window_parse(VIEW("2m"), &unused));
}

Test(rate, is_the_growth_of_the_last_ten_pushes)
{
	struct rate r = {0};
	cr_assert_eq(rate_per_s(&r), 0);
	rate_push(&r, 1000, 0);
	cr_assert_eq(rate_per_s(&r), 0);
	rate_push(&r, 1500, SECOND);
	cr_assert_float_eq(rate_per_s(&r), 500, 1e-9);
	for (uint64_t s = 2; s <= 30; s++)
		rate_push(&r, 1500 + 100 * (s - 1), s * SECOND);
	cr_assert_float_eq(rate_per_s(&r), 100, 1e-9);
	rate_push(&r, 4400 + 2100, 30 * SECOND + SECOND / 2); /* a late look keeps its own length */
	cr_assert_float_eq(rate_per_s(&r), (4400 + 2100 - 1500 - 100 * 20) / 9.5, 1e-9);
}

Test(counter, adds)
{
	struct counter c = {0};
	counter_add(&c, 1);
	counter_add(&c, UINT64_C(1) << 40);
	cr_assert_eq(counter_get(&c), (UINT64_C(1) << 40) + 1);
}
