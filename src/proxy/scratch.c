/* SPDX-License-Identifier: MIT */
/* Who has what of a worker's scratch, in builds that check it; else there is nothing to do. */
#include "weir/proxy/worker.h"

#include "weir/base/check.h"
#include "weir/base/log.h"

#ifdef WEIR_CHECK_SLOW
void scratch_take_by(struct worker *w, enum scratch what, const char *who)
{
	if (w->holders[what])
		log_error("%s takes what %s has", who, w->holders[what]);
	check(!w->holders[what]);
	w->holders[what] = who;
}

void scratch_drop(struct worker *w, enum scratch what)
{
	check(w->holders[what]);
	w->holders[what] = NULL;
}

void scratch_all_dropped(const struct worker *w)
{
	for (size_t i = 0; i < N_SCRATCHES; i++) {
		if (w->holders[i])
			log_error("%s still has its scratch at the end of a turn", w->holders[i]);
		check(!w->holders[i]);
	}
}
#endif
