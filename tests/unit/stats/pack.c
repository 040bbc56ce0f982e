/* SPDX-License-Identifier: MIT */
/* Statistics that another process goes on with; and none that damaged bytes make. */
#include "weir/stats/pack.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "weir/base/rng.h"

#define NOW UINT64_C(5000000000)
#define SECOND UINT64_C(1000000)

static struct rng rng;

/* Whatever is wrong with it: some bytes changed, or its end is gone. */
static void garble(struct str *s, struct rng *r)
{
	if (!s->len)
		return;
	if (rng_next(r) % 3 == 0)
		s->len = rng_next(r) % s->len;
	for (unsigned n = (unsigned)(rng_next(r) % 4); s->len && n; n--)
		s->ptr[rng_next(r) % s->len] = (char)rng_next(r);
}

/* ---- windows ---- */

struct side {
	struct hist_set sets[3];
	struct windows *w;
	uint64_t at_us;
};

static void seconds(struct side *side, unsigned n, struct rng *r)
{
	const struct hist_set *sets[] = {&side->sets[0], &side->sets[1], &side->sets[2]};
	for (; n; n--) {
		for (unsigned i = 0; i < 30; i++)
			hist_set_record(&side->sets[rng_next(r) % 3],
					i % 5 ? PHASE_total : PHASE_queue, rng_next(r) % 90000);
		side->at_us += SECOND;
		windows_fold(side->w, sets, 3, side->at_us);
	}
}

static void side_fini(struct side *side)
{
	for (int i = 0; i < 3; i++)
		hist_set_fini(&side->sets[i]);
	windows_free(side->w);
}

static void expect_same(const struct windows *a, const struct windows *b)
{
	for (int p = 0; p < N_PHASES; p++)
		for (int w = 0; w < N_WINDOWS; w++) {
			struct hist_total x, y;
			windows_read(a, (enum phase)p, (enum window)w, &x);
			windows_read(b, (enum phase)p, (enum window)w, &y);
			cr_assert_eq(memcmp(&x, &y, sizeof(x)), 0, "phase %d, window %d", p, w);
		}
}

Test(stats_pack, windows_go_on_as_if_nothing_had_happened)
{
	for (unsigned before = 0; before < 700; before = before * 2 + 3) {
		struct side old = {.w = windows_new(NOW), .at_us = NOW}, next = {.at_us = 0};
		struct str s = STR_INIT;
		struct rng same;
		rng_init(&rng, before);
		seconds(&old, before, &rng);
		windows_pack(old.w, &s);
		struct unpack in = unpack_of(str_as_view(&s));
		next.w = windows_unpack(&in, old.at_us);
		next.at_us = old.at_us;
		cr_assert(next.w && in.left == 0);
		windows_seed(next.w, &next.sets[0]);
		expect_same(old.w, next.w);
		same = rng;
		seconds(&old, 75, &rng);
		seconds(&next, 75, &same);
		expect_same(old.w, next.w);
		str_fini(&s);
		side_fini(&old);
		side_fini(&next);
	}
}

static void read_all(const struct windows *w)
{
	struct hist_summary summary;
	struct hist_total total;
	struct hist_octaves octaves;
	for (int p = 0; p < N_PHASES; p++) {
		windows_octaves(w, (enum phase)p, &octaves);
		for (int k = 0; k < N_WINDOWS; k++) {
			windows_read(w, (enum phase)p, (enum window)k, &total);
			windows_summary(w, (enum phase)p, (enum window)k, &summary);
		}
	}
}

Test(stats_pack, garbled_windows_do_no_harm)
{
	struct side old = {.w = windows_new(NOW), .at_us = NOW};
	struct str whole = STR_INIT;
	unsigned n_taken = 0;
	rng_init(&rng, 1);
	seconds(&old, 100, &rng);
	windows_pack(old.w, &whole);
	for (unsigned i = 0; i < 3000; i++) {
		struct str s = STR_INIT;
		struct side next = {.at_us = old.at_us};
		str_view(&s, str_as_view(&whole));
		garble(&s, &rng);
		struct unpack in = unpack_of(str_as_view(&s));
		next.w = windows_unpack(&in, old.at_us);
		if (next.w) {
			n_taken++;
			windows_seed(next.w, &next.sets[0]);
			read_all(next.w);
			seconds(&next, 12, &rng);
			read_all(next.w);
		}
		side_fini(&next);
		str_fini(&s);
	}
	cr_expect(n_taken > 0 && n_taken < 3000);
	str_fini(&whole);
	side_fini(&old);
}

/* ---- the rest ---- */

Test(stats_pack, history_and_rate)
{
	struct history *h = history_new();
	struct rate rate = {.n = 0}, rate_back;
	struct str s = STR_INIT;
	for (uint32_t i = 0; i < HISTORY_ROWS + 40; i++)
		history_push(h, &(struct history_row){.at_us = NOW + i * SECOND,
						      .requests = i,
						      .errors = i / 7,
						      .in_flight = (float)i / 3,
						      .queue = (uint16_t)i,
						      .state = 2,
						      .p50_us = 3 * i,
						      .p99_us = 4 * i});
	for (uint32_t i = 0; i < 15; i++)
		rate_push(&rate, 100 * i * i, NOW + i * SECOND);
	history_pack(h, &s);
	rate_pack(&rate, &s);
	struct unpack in = unpack_of(str_as_view(&s));
	struct history *back = history_unpack(&in, NOW + 2000 * SECOND);
	cr_assert(back && rate_unpack(&in, &rate_back, NOW + 2000 * SECOND) && !in.left);
	cr_assert_eq(back->n, HISTORY_ROWS);
	for (uint32_t age = 0; age < HISTORY_ROWS; age++) {
		struct history_row was, is;
		cr_assert(history_at(h, age, &was) && history_at(back, age, &is));
		cr_assert_eq(memcmp(&was, &is, sizeof(was)), 0);
	}
	cr_expect(rate_per_s(&rate) == rate_per_s(&rate_back));
	in = unpack_of(str_as_view(&s));
	cr_expect_null(history_unpack(&in, NOW), "from the future");
	history_free(back);
	history_free(h);
	str_fini(&s);
}

static struct levels *some_levels(uint64_t seed)
{
	struct levels *levels = levels_new();
	rng_init(&rng, seed);
	for (int i = 0; i < 2000; i++) {
		uint32_t k = (uint32_t)(rng_next(&rng) % 90);
		levels_pass(levels, k, rng_next(&rng) % 5000);
		levels_served(levels, k, k / 2, 1000 + 100 * k);
	}
	return levels;
}

Test(stats_pack, curves_go_on)
{
	struct levels *a = some_levels(1), *b = some_levels(2), *fresh = some_levels(3);
	const struct levels *both[] = {a, NULL, b}, *one[] = {fresh};
	struct scaling_part *part = scaling_part_new();
	struct scaling *pool = scaling_new();
	struct str s = STR_INIT, again = STR_INIT;
	scaling_part_fold(part, pool, both, 3);
	part->opinion.verdict = VERDICT_scalability;
	part->recents = calloc(1, sizeof(*part->recents));
	cr_assert(sparse_set(&part->recents->now[0].weight[1], 77, 5));
	strcpy(part->sentence, "slow in company");
	part->size_epoch = 3;
	part->cells[5] = (struct scaling_full){
	    .backends = 4, .octave = 2, .n = 7, .log = 21.5F, .log2 = 66, .level = 9, .at_us = NOW};
	part->peer.apart = 4.5;
	part->peer.w = 11;
	part->slower = 1.4;
	levels_pack(both, 3, &s);
	scaling_part_pack(part, &s);
	struct unpack in = unpack_of(str_as_view(&s));
	struct levels *sum = levels_unpack(&in);
	struct scaling_part *next = scaling_part_unpack(&in);
	cr_assert(sum && next && !in.left);
	cr_expect_eq(counter_get(&sum->area_us),
		     counter_get(&a->area_us) + counter_get(&b->area_us));
	scaling_part_pack(next, &again);
	cr_expect(view_eq(view_skip(str_as_view(&s), str_as_view(&s).len - again.len),
			  str_as_view(&again)));
	cr_expect_eq(next->opinion.verdict, VERDICT_scalability);
	cr_expect_str_eq(next->sentence, "slow in company");
	cr_expect(next->recents->now[0].n[1] == 5);
	cr_expect_eq(next->size_epoch, 3);
	cr_expect(next->peer.apart == 4.5 && next->peer.w == 11 && next->slower == 1.4);
	cr_expect_eq(memcmp(&next->cells[0], &part->cells[5], sizeof(part->cells[5])), 0);
	/* the workers of the next process count from nothing: what they have is added */
	scaling_part_fold(next, pool, one, 1);
	for (uint32_t k = 1; k < LEVEL_BINS; k++) {
		const struct level_bin *bin = levels_bin(fresh, k);
		double n = bin ? (double)counter_get(&bin->n) : 0;
		const struct scaling_bin *is = scaling_part_bin(next, k);
		const struct scaling_bin *was = scaling_part_bin(part, k);
		double now = is ? is->n : 0, then = was ? was->n : 0;
		cr_assert(now >= n && now <= then + n);
	}
	levels_free(a);
	levels_free(b);
	levels_free(sum);
	levels_free(fresh);
	scaling_part_free(part);
	scaling_part_free(next);
	scaling_free(pool);
	str_fini(&s);
	str_fini(&again);
}

static const char *known(struct view name)
{
	return view_eq(name, VIEW("ok")) ? "ok" : NULL;
}

Test(stats_pack, the_slowest_and_scores)
{
	struct slow_ring *ring = slow_ring_new(), *next = slow_ring_new();
	struct slow_record record = {.ended_us = NOW, .at_us = 99, .outcome = "ok", .path_len = 3},
			   back[2];
	struct scaling *scaling = scaling_new(), *scaling_next = scaling_new();
	struct str s = STR_INIT;
	record.phase_us[PHASE_total] = 4242;
	memcpy(record.path, "/a?", 3);
	slow_put(ring, &record);
	record.outcome = "gone in this version";
	slow_put(ring, &record);
	scaling->opinion.next = VERDICT_skewed;
	scaling_count(scaling, 17);
	scaling->scores[0].actual_us = 12.5;
	scaling->n_scores = 1;
	scaling->rules = 99;
	scaling->sizes[1] = (struct scaling_size){
	    .backends = 2, .at_us = NOW, .quiet = {60, 500, 4200}, .when_full = {70, 600, 5300}};
	slow_pack(ring, NOW, &s);
	scaling_pack(scaling, &s);
	struct unpack in = unpack_of(str_as_view(&s));
	cr_assert(slow_unpack(&in, next, NOW + SECOND, known));
	cr_assert(scaling_unpack(&in, scaling_next) && !in.left);
	cr_assert_eq(slow_read(next, NOW + SECOND, back, 2), 1);
	cr_expect_eq(back[0].phase_us[PHASE_total], 4242);
	cr_expect_eq(back[0].at_us, 99);
	cr_expect_eq(memcmp(back[0].path, "/a?", 3), 0);
	cr_expect_str_eq(back[0].outcome, "ok");
	cr_expect_eq(scaling_next->opinion.next, VERDICT_skewed);
	cr_expect_eq(scaling_next->counts[0], 17);
	cr_expect_eq(scaling_next->rules, 99);
	cr_expect_eq(memcmp(scaling_next->sizes, scaling->sizes, sizeof(scaling->sizes)), 0);
	cr_expect(scaling_next->scores[0].actual_us == 12.5);
	free(ring);
	free(next);
	scaling_free(scaling);
	scaling_free(scaling_next);
	str_fini(&s);
}

Test(stats_pack, garbled_statistics_do_no_harm)
{
	struct levels *levels = some_levels(3);
	const struct levels *one[] = {levels};
	struct scaling_part *part = scaling_part_new();
	struct scaling *scaling = scaling_new();
	struct history *history = history_new();
	struct str whole = STR_INIT;
	scaling_part_fold(part, scaling, one, 1);
	history_push(history, &(struct history_row){.at_us = NOW});
	levels_pack(one, 1, &whole);
	scaling_part_pack(part, &whole);
	history_pack(history, &whole);
	scaling_pack(scaling, &whole);
	for (unsigned i = 0; i < 3000; i++) {
		struct str s = STR_INIT;
		str_view(&s, str_as_view(&whole));
		garble(&s, &rng);
		struct unpack in = unpack_of(str_as_view(&s));
		struct levels *l = levels_unpack(&in);
		struct scaling_part *p = scaling_part_unpack(&in);
		struct history *h = history_unpack(&in, NOW);
		cr_expect(scaling_unpack(&in, scaling) == !in.bad);
		levels_free(l);
		scaling_part_free(p);
		history_free(h);
		str_fini(&s);
	}
	levels_free(levels);
	scaling_part_free(part);
	scaling_free(scaling);
	history_free(history);
	str_fini(&whole);
}

struct some_counters {
	struct counter one, two;
};

Test(stats_pack, counters_by_name)
{
	static const struct counter_field here[] = {{"one", offsetof(struct some_counters, one)},
						    {"two", offsetof(struct some_counters, two)}},
					  there[] = {
					      {"two", offsetof(struct some_counters, one)},
					      {"three", offsetof(struct some_counters, two)}};
	struct some_counters a = {0}, b = {0}, c = {0};
	const void *bases[] = {&a, &b};
	struct str s = STR_INIT;
	counter_add(&a.one, 5);
	counter_add(&a.two, 7);
	counter_add(&b.two, 1000);
	counters_pack(&s, here, 2, bases, 2);
	struct unpack in = unpack_of(str_as_view(&s));
	counters_unpack(&in, there, 2, &c);
	cr_expect(!in.bad && counter_get(&c.one) == 1007 && counter_get(&c.two) == 0);
	s.len--;
	in = unpack_of(str_as_view(&s));
	counters_unpack(&in, here, 2, &c);
	cr_expect(in.bad && counter_get(&c.one) == 1007, "all or nothing");
	str_fini(&s);
}

static struct some_counters kept; /* the first row of the thing with the id 7 */
static const struct counter_field some_fields[] = {{"one", offsetof(struct some_counters, one)},
						   {"two", offsetof(struct some_counters, two)}};

static struct counter_rows rows_of(struct some_counters *first, size_t n)
{
	return (struct counter_rows){some_fields, 2, first, sizeof(*first), n};
}

static struct counter_rows find_seven(uint64_t id)
{
	return id == 7 ? rows_of(&kept, 1) : (struct counter_rows){0};
}

Test(stats_pack, rows_of_counters_by_id)
{
	struct some_counters workers[3] = {0};
	struct counter_rows rows = rows_of(workers, 3);
	struct str s = STR_INIT;
	for (int i = 0; i < 3; i++) {
		counter_add(&workers[i].one, 10);
		counter_add(&workers[i].two, (uint64_t)i);
	}
	counter_rows_pack_block(&s, 8, &rows); /* it is not there any more */
	counter_rows_pack_block(&s, 7, &rows);
	struct unpack in = unpack_of(str_as_view(&s));
	counter_rows_unpack_blocks(&in, find_seven);
	cr_expect(!in.bad && counter_get(&kept.one) == 30 && counter_get(&kept.two) == 3);
	s.len--;
	in = unpack_of(str_as_view(&s));
	counter_rows_unpack_blocks(&in, find_seven);
	cr_expect(in.bad && counter_get(&kept.one) == 30);
	str_fini(&s);
}
