/* SPDX-License-Identifier: MIT */
/* Backends' states are looked at anew: at once, or after a while. */
#include "weir/proxy/worker.h"

void worker_refresh(struct worker *w)
{
	bool avoided = false;
	for (struct list *it = w->gens.next; it != &w->gens;) {
		/* counted: whoever is served may be the last who has it, and end at once */
		struct gen_local *gl = gen_get(list_entry(it, struct gen_local, link));
		for (uint32_t p = 0; p < gl->gen->n_pools; p++) {
			avoided |= pool_view_refresh(&gl->views[p]);
			pool_queue_serve(gl->views[p].sl);
		}
		it = it->next;
		gen_put(gl);
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
