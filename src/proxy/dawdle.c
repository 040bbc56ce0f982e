/* SPDX-License-Identifier: MIT */
/* How long weir has waited for a request's body, and how long it goes on. */
#include "dawdle.h"

uint64_t dawdle_us(const struct exchange *ex)
{
	uint64_t now = ex->worker->loop.now_us;
	return ex->dawdle_us + (ex->dawdle_from_us ? now - ex->dawdle_from_us : 0);
}

void dawdle_note(struct exchange *ex, bool waits)
{
	ex->dawdle_us = dawdle_us(ex);
	ex->dawdle_from_us = waits ? ex->worker->loop.now_us : 0;
}

uint64_t dawdle_deadline(const struct exchange *ex)
{
	const struct conf_listener *conf = ex->listener;
	uint64_t used = dawdle_us(ex), left = conf->timeouts.body_idle_us, most;
	if (conf->timeouts.body_us) {
		most = conf->timeouts.body_us;
		left = most <= used ? 1 : most - used < left ? most - used : left;
	}
	if (conf->limits.body_rate) {
		most = DAWDLE_US + ex->bytes_in * 1000000 / conf->limits.body_rate;
		left = most <= used ? 1 : most - used < left ? most - used : left;
	}
	return ex->worker->loop.now_us + left;
}
