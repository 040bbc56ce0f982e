/* SPDX-License-Identifier: MIT */
/* Faults and good answers of backends, counted by the worker that saw them. */
#include "weir/pool/fault.h"

void fault_tell(struct fault_shared *shared, struct fault_local *local, unsigned news)
{
	/* release and acquire: whoever reads the news sees what they are about */
	if (atomic_fetch_or(&local->news, news) == 0)
		loop_post(shared->watcher, &local->letter);
}

void fault_note_served_slowly(struct fault_shared *shared, struct fault_local *local)
{
	atomic_store_explicit(&shared->row, 0, memory_order_relaxed);
	uint8_t free = TRIAL_FREE, taken = TRIAL_TAKEN;
	if (atomic_compare_exchange_strong(&shared->trial, &taken, TRIAL_OFF) ||
	    atomic_compare_exchange_strong(&shared->trial, &free, TRIAL_OFF))
		fault_tell(shared, local, FAULT_NEWS_TRIAL_PASSED);
}

void fault_note(struct fault_shared *shared, struct fault_local *local,
		const struct fault_facts *facts)
{
	uint32_t row = atomic_fetch_add_explicit(&shared->row, 1, memory_order_relaxed) + 1;
	uint32_t limit = atomic_load_explicit(&shared->limit, memory_order_relaxed);
	counter_add(&local->faults, 1);
	atomic_store_explicit(&shared->status, facts->status, memory_order_relaxed);
	atomic_store_explicit(&shared->broken, facts->broken, memory_order_relaxed);
	atomic_store_explicit(&shared->why, facts->why, memory_order_relaxed);
	/* at each multiple: an ejection that was not possible may be by then */
	unsigned news = limit && row % limit == 0 ? FAULT_NEWS_ROW : 0;
	if (facts->on_trial)
		news |= FAULT_NEWS_TRIAL_FAILED;
	if (!news || !shared->watcher)
		return;
	/* before the letter: whoever reads it has the last word */
	uint8_t off = TRIAL_OFF;
	if (news & FAULT_NEWS_ROW && facts->spare)
		atomic_compare_exchange_strong(&shared->trial, &off, TRIAL_CLOSED);
	fault_tell(shared, local, news);
}
