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
#endif
