/* SPDX-License-Identifier: MIT */
/*
 * peak-ewma, as in Finagle and Linkerd: the better of two drawn backends, by
 * latency times exchanges in flight.  A latency above the average replaces it at
 * once, one below lowers it slowly (a memory of TAU), so a backend that gets slow
 * is left within one answer and taken back with care.  While nobody asks, the
 * average fades, so that it is asked again.
 *
 * An error counts as an answer after a second at least: failing fast is not
 * fast.
 */
#include <math.h>

#include "draw.h"
#include "strategies.h"

#define TAU_MS 5000
#define ERROR_US 1000000

/* Cost of one that has never answered and has been asked: behind everybody else. */
#define UNKNOWN 1e14

static const struct strategy_table *peak_build(const struct strategy_member *members, uint32_t n,
					       const struct strategy_options *options,
					       struct arena *arena)
{
	(void)options;
	return (const struct strategy_table *)draw_table_new(members, n, arena);
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

static double faded(struct peak peak, uint32_t now_ms, double *part)
{
	int32_t age = (int32_t)(now_ms - peak.stamp_ms);
	*part = exp2(-1.4426950408889634 / TAU_MS * (age > 0 ? age : 0));
	return peak.cost_us * *part;
}

static double cost_of(const struct strategy_loads *loads, uint32_t i, uint64_t now_us)
{
	uint64_t packed = atomic_load_explicit(&loads->memory[i]->peak, memory_order_relaxed);
	uint32_t load = strategy_load(loads, i);
	double part;
	if (packed == 0)
		return load ? UNKNOWN + load : 0;
	return faded(unpack(packed), (uint32_t)(now_us / 1000), &part) * (load + 1);
}

static uint32_t peak_pick(const struct strategy_table *opaque, void *local,
			  const struct strategy_input *input, const uint64_t *eligible,
			  const struct strategy_loads *loads)
{
	(void)local;
	const struct draw_table *table = (const struct draw_table *)opaque;
	uint32_t a, b;
	draw_two(table, eligible, input->random, &a, &b);
	if (b == STRATEGY_NONE)
		return a;
	double cost_a = cost_of(loads, a, input->now_us), cost_b = cost_of(loads, b, input->now_us);
	return cost_b * table->weights[a] < cost_a * table->weights[b] ? b : a;
}

static void peak_done(const struct strategy_table *opaque, void *local,
		      const struct strategy_loads *loads, uint32_t i,
		      const struct strategy_result *result)
{
	(void)opaque;
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
		double cost = faded(peak, now_ms, &part);
		took = cost + took * (1 - part);
	}
	took = took < 1 ? 1 : took > UINT32_MAX ? UINT32_MAX : took;
	/* when another worker was faster, its sample is as good */
	atomic_compare_exchange_strong_explicit(memory, &packed, (uint64_t)took << 32 | now_ms,
						memory_order_relaxed, memory_order_relaxed);
}

const struct strategy strategy_peak_ewma = {
    STRATEGY_ROW(peak_ewma),
    .build = peak_build,
    .pick = peak_pick,
    .done = peak_done,
};
