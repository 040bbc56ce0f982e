/* SPDX-License-Identifier: MIT */
/*
 * peak-ewma, as in Finagle and Linkerd: the better of two drawn backends, by
 * latency times exchanges in flight.  A latency above the average replaces it at
 * once, one below lowers it slowly (a memory of tau), so a backend that gets slow
 * is left within one answer and taken back with care.  While nobody asks, the
 * average fades, so that it is asked again.
 *
 * An error counts as an answer after a second at least: failing fast is not
 * fast.
 */
#include <math.h>

#include "draw.h"
#include "strategies.h"

#define TAU_MS 5000 /* unless configured */
#define ERROR_US 1000000

/* Cost of one that has never answered and has been asked: behind everybody else. */
#define UNKNOWN 1e14

struct peak_table {
	const struct draw_table *draw;
	double decay; /* exponent of 2 for a millisecond of age */
};

static const struct strategy_table *peak_build(const struct strategy_member *members, uint32_t n,
					       const struct strategy_options *options,
					       struct arena *arena)
{
	struct peak_table *table = arena_zalloc(arena, sizeof(*table));
	table->draw = draw_table_new(members, n, arena);
	table->decay = -1.4426950408889634 / (options->tau_ms ? options->tau_ms : TAU_MS);
	return (const struct strategy_table *)table;
}

/* memory.peak: the average in microseconds above, the millisecond it is from below. */
struct peak {
	double cost_us;
	uint32_t stamp_ms;
};

static struct peak unpack(uint64_t packed)
{
	return (struct peak){(double)(packed >> 32), (uint32_t)packed};
}

static double faded(const struct peak_table *table, struct peak peak, uint32_t now_ms, double *part)
{
	int32_t age = (int32_t)(now_ms - peak.stamp_ms);
	*part = exp2(table->decay * (age > 0 ? age : 0));
	return peak.cost_us * *part;
}

static double cost_of(const struct peak_table *table, const struct strategy_loads *loads,
		      uint32_t i, uint64_t now_us)
{
	uint64_t packed = atomic_load_explicit(&loads->memory[i]->peak, memory_order_relaxed);
	uint32_t load = strategy_load(loads, i);
	double part;
	if (packed == 0)
		return load ? UNKNOWN + load : 0;
	return faded(table, unpack(packed), (uint32_t)(now_us / 1000), &part) * (load + 1);
}

static uint32_t peak_pick(const struct strategy_table *opaque, void *local,
			  const struct strategy_input *input, const uint64_t *eligible,
			  const struct strategy_loads *loads)
{
	(void)local;
	const struct peak_table *table = (const struct peak_table *)opaque;
	const struct draw_table *draw = table->draw;
	uint32_t a, b;
	draw_two(draw, eligible, input->random, &a, &b);
	if (b == STRATEGY_NONE)
		return a;
	double cost_a = cost_of(table, loads, a, input->now_us);
	double cost_b = cost_of(table, loads, b, input->now_us);
	return cost_b * draw->weights[a] < cost_a * draw->weights[b] ? b : a;
}

static void peak_done(const struct strategy_table *opaque, void *local,
		      const struct strategy_loads *loads, uint32_t i,
		      const struct strategy_result *result)
{
	const struct peak_table *table = (const struct peak_table *)opaque;
	(void)local;
	double took = (double)result->duration_us, part;
	uint32_t now_ms = (uint32_t)(result->now_us / 1000);
	if (result->duration_us == 0)
		return;
	if (result->error && took < ERROR_US)
		took = ERROR_US;
	_Atomic uint64_t *memory = &loads->memory[i]->peak;
	uint64_t packed = atomic_load_explicit(memory, memory_order_relaxed);
	struct peak peak = unpack(packed);
	if (took < peak.cost_us) {
		double cost = faded(table, peak, now_ms, &part);
		took = cost + took * (1 - part);
	}
	took = took < 1 ? 1 : took > UINT32_MAX ? UINT32_MAX : took;
	/* when another worker was faster, its sample is as good */
	atomic_compare_exchange_strong_explicit(memory, &packed, (uint64_t)took << 32 | now_ms,
						memory_order_relaxed, memory_order_relaxed);
}

/* The averages as they were at each backend's last answer, by index; 0: none yet. */
static void peak_dump(const struct strategy_table *opaque, const struct strategy_loads *loads,
		      struct json *out)
{
	const struct draw_table *draw = ((const struct peak_table *)opaque)->draw;
	json_key(out, "latency_us");
	json_array_begin(out);
	for (uint32_t i = 0; i < draw->n; i++)
		json_u64(out,
			 atomic_load_explicit(&loads->memory[i]->peak, memory_order_relaxed) >> 32);
	json_array_end(out);
}

const struct strategy strategy_peak_ewma = {
    STRATEGY_ROW(peak_ewma), .build = peak_build, .pick = peak_pick,
    .done = peak_done,       .dump = peak_dump,
};
