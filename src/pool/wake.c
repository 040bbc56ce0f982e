/* SPDX-License-Identifier: MIT */
/* Who is told that a slot has come free: letters to the workers in whose lines somebody waits. */
#include "registry.h"

void queue_wake_local(struct pool_state_local *sl)
{
	if (atomic_exchange(&sl->wake_state, WAKE_POSTED) == WAKE_IDLE)
		loop_post(sl->pw->loop, &sl->wake);
}

bool queue_has_line(const struct pool_state *state)
{
	return atomic_load(&state->n_queued) > atomic_load(&state->n_patient);
}

/* Takes place before the other in the order over all workers. */
static bool is_before(uint64_t rank, unsigned id, uint64_t other_rank, unsigned other_id)
{
	return rank < other_rank || (rank == other_rank && id < other_id);
}

void queue_wake(struct pool_state *state, const struct pool_state_local *after)
{
	uint64_t from = after ? atomic_load(&after->head_rank) : 0, best_rank = UINT64_MAX;
	unsigned from_id = after ? after->pw->id : 0, best = 0;
	for (unsigned i = 0; i < state->n_workers; i++) {
		uint64_t rank = atomic_load(&state->local[i]->head_rank);
		if (rank == 0 || (from && !is_before(from, from_id, rank, i)))
			continue;
		if (rank < best_rank) {
			best_rank = rank;
			best = i;
		}
	}
	if (best_rank != UINT64_MAX)
		queue_wake_local(state->local[best]);
}
