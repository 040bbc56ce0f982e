/* SPDX-License-Identifier: MIT */
/* Backends' states are looked at anew: at once, or after a while. */
#include "weir/proxy/worker.h"

void worker_refresh(struct worker *w)
{
	bool avoided = false;
	/* no generation goes meanwhile: whoever is served and ends has it until the turn's end */
	list_each (it, &w->gens) {
		struct gen_local *gl = list_entry(it, struct gen_local, link);
		for (uint32_t p = 0; p < gl->gen->n_pools; p++) {
			avoided |= pool_view_refresh(&gl->views[p]);
			pool_queue_serve(gl->views[p].sl);
		}
	}
	if (avoided)
		worker_refresh_later(w, WORKER_REFRESH_US);
}

static void on_refresh_timer(struct timer *timer)
{
	worker_refresh(container_of(timer, struct worker, refresh_timer));
}

void worker_refresh_later(struct worker *w, uint64_t after_us)
{
	w->refresh_timer.fn = on_refresh_timer;
	if (!timer_is_set(&w->refresh_timer))
		loop_timer(&w->loop, &w->refresh_timer, after_us);
}
