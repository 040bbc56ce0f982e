/* SPDX-License-Identifier: MIT */
/*
 * The reader's side of histograms, and the rare paths of the writer's.
 */
#include "weir/stats/hist.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "weir/base/check.h"

_Static_assert(HIST_BUCKETS / HIST_SUB <= 32, "a bit for each group");
_Static_assert(HIST_BUCKETS == 704, "the size that the documentation promises");
_Static_assert(HIST_BUCKETS % HIST_LINE == 0 && HIST_LINE == 2 * HIST_SUB, "two groups a line");

/* What a line has: the tag of its number. */
enum { LINE_LOW, LINE_MID, LINE_TOP, N_LINE_WIDTHS };
_Static_assert(N_LINE_WIDTHS <= CELL_TAGS, "a tag for each");
static const unsigned line_cells[N_LINE_WIDTHS] = {1, 2, 4};

static _Atomic uint64_t n_lost;

uint64_t hist_lost(void)
{
	return atomic_load_explicit(&n_lost, memory_order_relaxed);
}

static bool lose(void)
{
	atomic_fetch_add_explicit(&n_lost, 1, memory_order_relaxed);
	return false;
}

struct hist *hist_new(void)
{
	uint32_t id = cell_take(1);
	return id ? (struct hist *)cell_at(id) : NULL;
}

void hist_fini(struct hist *h)
{
	for (uint32_t i = 0; i < HIST_LINES; i++) {
		uint32_t id = atomic_load_explicit(&h->line[i], memory_order_acquire);
		cell_put(id, line_cells[cell_tag(id)]);
	}
	/* who comes too late for a free cell may still look at its first word (cell.c) */
	atomic_store_explicit(&h->sum_us, 0, memory_order_relaxed);
	memset((char *)h + sizeof(h->sum_us), 0, sizeof(*h) - sizeof(h->sum_us));
}

void hist_free(struct hist *h)
{
	if (!h)
		return;
	hist_fini(h);
	cell_put(cell_id(h), 1);
}

/* ---- the writer, rarely ---- */

static void copy_line(struct hist_line *to, const struct hist_line *from, unsigned width)
{
	for (uint32_t i = 0; i < HIST_LINE; i++) {
		atomic_store_explicit(&to->low[i], from->low[i], memory_order_relaxed);
		if (width >= LINE_MID)
			atomic_store_explicit(&to->mid[i], from->mid[i], memory_order_relaxed);
	}
}

/*
 * The line with what this width has, NULL without memory.  Release: whoever sees the number sees
 * what is behind it.  A reader may be at the narrower one: he looks at the number again when he is
 * through, see hist_add_line; the fence keeps what others write there behind the new number.
 */
static struct hist_line *line_made(_Atomic uint32_t *id, unsigned width)
{
	uint32_t had = atomic_load_explicit(id, memory_order_relaxed);
	if (had && cell_tag(had) >= width)
		return (struct hist_line *)cell_at(had);
	uint32_t has = cell_take(line_cells[width]);
	if (!has)
		return NULL;
	struct hist_line *line = (struct hist_line *)cell_at(has);
	if (had)
		copy_line(line, (const struct hist_line *)cell_at(had), cell_tag(had));
	atomic_store_explicit(id, cell_tagged(has, width), memory_order_release);
	atomic_thread_fence(memory_order_release);
	cell_put(had, line_cells[cell_tag(had)]);
	return line;
}

/* In this order: a reader who sees one sees those before it. */
static bool carry(struct hist *h, uint32_t i)
{
	_Atomic uint32_t *id = &h->line[i >> HIST_LINE_BITS];
	uint32_t sub = i & (HIST_LINE - 1);
	struct hist_line *line = line_made(id, LINE_MID);
	if (!line)
		return lose();
	uint32_t mid = atomic_load_explicit(&line->mid[sub], memory_order_relaxed) + 1u;
	bool on = !(mid & HIST_CARRY);
	if (on && !(line = line_made(id, LINE_TOP)))
		return lose();
	uint32_t low = atomic_load_explicit(&line->low[sub], memory_order_relaxed) + 1u;
	atomic_store_explicit(&line->low[sub], (uint8_t)low, memory_order_release);
	atomic_store_explicit(&line->mid[sub], (uint8_t)mid, memory_order_release);
	if (on) {
		uint32_t top = atomic_load_explicit(&line->top[sub], memory_order_relaxed) + 1u;
		atomic_store_explicit(&line->top[sub], (uint16_t)top, memory_order_release);
	}
	return true;
}

bool hist_count_rarely(struct hist *h, uint32_t i)
{
	struct hist_line *line = line_made(&h->line[i >> HIST_LINE_BITS], LINE_LOW);
	if (!line)
		return lose();
	_Atomic uint8_t *count = &line->low[i & (HIST_LINE - 1)];
	uint32_t n = atomic_load_explicit(count, memory_order_relaxed) + 1u;
	if (!(n & HIST_CARRY))
		return carry(h, i);
	atomic_store_explicit(count, (uint8_t)n, memory_order_relaxed);
	return true;
}

static void put_count(struct hist_line *line, unsigned width, uint32_t sub, uint32_t n)
{
	atomic_store_explicit(&line->low[sub], (uint8_t)n, memory_order_relaxed);
	if (width >= LINE_MID)
		atomic_store_explicit(&line->mid[sub], (uint8_t)(n >> HIST_CARRY_BITS),
				      memory_order_relaxed);
	if (width >= LINE_TOP)
		atomic_store_explicit(&line->top[sub], (uint16_t)(n >> 2 * HIST_CARRY_BITS),
				      memory_order_relaxed);
}

void hist_clear(struct hist *h)
{
	atomic_store_explicit(&h->sum_us, 0, memory_order_relaxed);
	atomic_store_explicit(&h->max_us, 0, memory_order_relaxed);
	atomic_store_explicit(&h->overflow, 0, memory_order_relaxed);
	for (uint32_t i = 0; i < HIST_LINES; i++) {
		uint32_t id = atomic_load_explicit(&h->line[i], memory_order_relaxed);
		for (uint32_t sub = 0; id && sub < HIST_LINE; sub++)
			put_count((struct hist_line *)cell_at(id), cell_tag(id), sub, 0);
	}
}

void hist_seed(struct hist *h, const struct hist_total *total)
{
	for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
		uint32_t n = (uint32_t)total->count[i] & HIST_COUNT_MASK;
		unsigned width = n >> 2 * HIST_CARRY_BITS ? LINE_TOP
				 : n >> HIST_CARRY_BITS   ? LINE_MID
							  : LINE_LOW;
		_Atomic uint32_t *id = &h->line[i >> HIST_LINE_BITS];
		if (!n)
			continue;
		struct hist_line *line = line_made(id, width);
		check(line != NULL);
		put_count(line, cell_tag(atomic_load(id)), i & (HIST_LINE - 1), n);
	}
	atomic_store(&h->max_us, total->max_us);
	atomic_store(&h->overflow, (uint32_t)total->overflow);
	atomic_store(&h->sum_us, total->sum_us);
}

/* ---- readers ---- */

/* What was carried at all; the same as below, one line further on. */
static uint32_t carried(const struct hist_line *line, unsigned width, uint32_t sub)
{
	if (width < LINE_TOP)
		return atomic_load_explicit(&line->mid[sub], memory_order_acquire);
	uint32_t t = atomic_load_explicit(&line->top[sub], memory_order_acquire), m, again;
	for (;; t = again) {
		m = atomic_load_explicit(&line->mid[sub], memory_order_acquire);
		again = atomic_load_explicit(&line->top[sub], memory_order_acquire);
		if (likely(again == t))
			break;
	}
	t += (t ^ m >> HIST_CARRY_BITS) & 1;
	return t << HIST_CARRY_BITS | (m & HIST_CARRY);
}

/*
 * A count and what was carried of it.  The writer may be between the two, and go on meanwhile:
 * when the second is what it was before, the first is at most one ahead of it.
 */
static uint32_t whole(const struct hist_line *line, unsigned width, uint32_t sub)
{
	if (width < LINE_MID)
		return atomic_load_explicit(&line->low[sub], memory_order_acquire);
	uint32_t c = carried(line, width, sub), n, again;
	for (;; c = again) {
		n = atomic_load_explicit(&line->low[sub], memory_order_acquire);
		again = carried(line, width, sub);
		if (likely(again == c))
			break;
	}
	c += (c ^ n >> HIST_CARRY_BITS) & 1;
	return (c << HIST_CARRY_BITS | (n & HIST_CARRY)) & HIST_COUNT_MASK;
}

void hist_add_line(const struct hist *h, uint32_t line, uint32_t to[HIST_LINE])
{
	uint32_t n[HIST_LINE], again = atomic_load_explicit(&h->line[line], memory_order_acquire),
			       id;
	do { /* a line that was given back meanwhile has anything in it */
		id = again;
		if (!id)
			return;
		for (uint32_t i = 0; i < HIST_LINE; i++)
			n[i] = whole((const struct hist_line *)cell_at(id), cell_tag(id), i);
		again = atomic_load_explicit(&h->line[line], memory_order_acquire);
	} while (unlikely(again != id));
	for (uint32_t i = 0; i < HIST_LINE; i++)
		to[i] += n[i];
}

void hist_total_add_hist(struct hist_total *total, const struct hist *h)
{
	if (!h)
		return;
	for (uint32_t lines = hist_lines(h); lines; lines &= lines - 1) {
		uint32_t line = (uint32_t)__builtin_ctz(lines), count[HIST_LINE] = {0};
		hist_add_line(h, line, count);
		for (uint32_t i = 0; i < HIST_LINE; i++) {
			total->count[(line << HIST_LINE_BITS) + i] += count[i];
			total->n += count[i];
		}
	}
	total->sum_us += atomic_load_explicit(&h->sum_us, memory_order_relaxed);
	total->overflow += atomic_load_explicit(&h->overflow, memory_order_relaxed);
	uint64_t max = atomic_load_explicit(&h->max_us, memory_order_relaxed);
	if (max > total->max_us)
		total->max_us = max;
}

/* ---- sets ---- */

void hist_set_record_first(struct hist_set *set, enum phase phase, uint64_t us)
{
	struct hist *h = hist_new();
	if (!h) {
		lose();
		return;
	}
	hist_record(h, us);
	/* release: whoever sees the pointer sees the zeroes behind it */
	atomic_store_explicit(&set->phase[phase], h, memory_order_release);
}

void hist_sets_record_all(struct hist_set *const sets[], unsigned n, const uint64_t us[N_PHASES])
{
	const unsigned smooth = 1u << PHASE_queue | 1u << PHASE_connect | 1u << PHASE_client;
	unsigned left = (1u << N_PHASES) - 1;
	if (likely((us[PHASE_queue] | us[PHASE_connect] | us[PHASE_client]) == 0)) {
		for (unsigned i = 0; i < n; i++)
			hist_count_up(&sets[i]->smooth);
		left &= ~smooth;
	}
	/* one loop, with registers saved once, not a call for each phase */
	for (; left; left &= left - 1) {
		enum phase phase = (enum phase)__builtin_ctz(left);
		hist_sets_record(sets, n, phase, us[phase]);
	}
}

void hist_set_fini(struct hist_set *set)
{
	for (size_t i = 0; i < N_PHASES; i++) {
		hist_free(atomic_load_explicit(&set->phase[i], memory_order_acquire));
		atomic_store_explicit(&set->phase[i], NULL, memory_order_relaxed);
	}
}

/* ---- totals ---- */

void hist_total_add_set(struct hist_total *total, const struct hist_set *set, enum phase phase)
{
	uint32_t zeros = hist_set_zeros(set, phase);
	total->count[0] += zeros;
	total->n += zeros;
	hist_total_add_hist(total, hist_set_get(set, phase));
}

void hist_total_add(struct hist_total *total, const struct hist_total *other)
{
	for (uint32_t i = 0; i < HIST_BUCKETS; i++)
		total->count[i] += other->count[i];
	total->n += other->n;
	total->sum_us += other->sum_us;
	total->overflow += other->overflow;
	if (other->max_us > total->max_us)
		total->max_us = other->max_us;
	if (other->span_us > total->span_us)
		total->span_us = other->span_us;
}

/* What to report for a sample of bucket i: the midpoint, but never above the maximum. */
static uint64_t bucket_value_us(const struct hist_total *total, uint32_t i)
{
	uint64_t mid = hist_lower_us(i) + hist_width_us(i) / 2;
	return mid < total->max_us ? mid : total->max_us;
}

uint64_t hist_total_quantile(const struct hist_total *total, double q)
{
	if (total->n == 0)
		return 0;
	/* in binary 0.55 * 100 is a little above 55: the millionth keeps it from rank 56 */
	double wanted = ceil(q * (double)total->n - 1e-6);
	uint64_t rank = wanted < 1 ? 1 : (uint64_t)wanted;
	if (rank > total->n)
		rank = total->n;
	if (rank > total->n - total->overflow)
		return total->max_us;
	uint64_t seen = 0;
	uint32_t i = 0;
	while ((seen += total->count[i]) < rank)
		i++;
	return bucket_value_us(total, i);
}

double hist_total_mean_us(const struct hist_total *total)
{
	return total->n ? (double)total->sum_us / (double)total->n : 0;
}

uint64_t hist_total_count_above(const struct hist_total *total, uint64_t us)
{
	if (us >= HIST_LIMIT_US)
		return us < total->max_us ? total->overflow : 0;
	uint64_t n = 0;
	for (uint32_t i = hist_index(us) + 1; i < HIST_BUCKETS; i++)
		n += total->count[i];
	return n;
}

void hist_total_summary(const struct hist_total *total, struct hist_summary *out)
{
	*out = (struct hist_summary){
	    .n = total->n,
	    .p50_us = hist_total_quantile(total, 0.5),
	    .p90_us = hist_total_quantile(total, 0.9),
	    .p99_us = hist_total_quantile(total, 0.99),
	    .p999_us = hist_total_quantile(total, 0.999),
	    .max_us = total->max_us,
	    .mean_us = hist_total_mean_us(total),
	};
}
