/* SPDX-License-Identifier: MIT */
/* What an ejection, whatever its cause, and its end mean for the search for the odd one (odd.c). */
#include <string.h>

#include "target.h"

void odd_try_in(struct health_target *t, uint64_t us)
{
	atomic_store_explicit(&t->backend->odd.try_us, t->health->loop->now_us + us,
			      memory_order_relaxed);
}

/* What was learned of it while it failed says nothing of it now. */
static void forget(struct health_target *t)
{
	atomic_store_explicit(&t->backend->odd.try_us, 0, memory_order_relaxed);
	strategy_forget(&t->backend->memory);
	memset(t->odd.recent, 0, sizeof(t->odd.recent));
}

void odd_ejected(struct health_target *t, enum ejection cause)
{
	struct odd_target *odd = &t->odd;
	const struct odd_recent *recent = &odd->recent[1];
	bool by_share = cause == EJECTION_failures || cause == EJECTION_success_rate;
	odd->trial.score = 0;
	odd->tried_us = 0;
	if (t->n_ejected <= 1)
		odd->n_tried = odd->n_failed = 0;
	odd->is_suspect = false;
	*odd->why = '\0';
	atomic_store_explicit(&t->backend->odd.held, false, memory_order_relaxed);
	if (!odd->is_cause)
		odd->bad = by_share && recent->n > 0 ? recent->bad / recent->n : 1;
	if (t->pool->tries)
		odd_try_in(t, ODD_TRY_US);
}

void odd_blame(struct health_target *t, unsigned answer)
{
	t->odd.answer = answer;
	atomic_store_explicit(&t->backend->odd.fails, odd_fails(answer), memory_order_relaxed);
}

void odd_back(struct health_target *t)
{
	t->odd.is_cause = false;
	t->pool->watch.ask_again_us = 0;
	t->odd.back_us = t->health->loop->now_us;
	odd_blame(t, ODD_ANY);
	forget(t);
}

bool odd_is_tried(const struct health_target *t)
{
	uint64_t now = t->health->loop->now_us;
	return t->odd.is_cause && t->odd.tried_us &&
	       now - t->odd.tried_us < t->pool->outlier.eject_us;
}
