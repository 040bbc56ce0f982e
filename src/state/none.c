/* SPDX-License-Identifier: MIT */
/* Of a weir that was built without SQLite. */
#include "weir/state/state.h"

#ifndef WEIR_SQLITE

const char *state_library(void)
{
	return NULL;
}

struct state *state_new(const struct state_options *options, struct str *why)
{
	(void)options;
	str_text(why, "weir was built without SQLite");
	return NULL;
}

/* There is none that anybody could call these with. */
bool state_free(struct state *s)
{
	return !s;
}

void state_minute(struct state *s, uint64_t at_s, struct view pool, struct view backend,
		  struct view sums)
{
	(void)s, (void)at_s, (void)pool, (void)backend, (void)sums;
}

void state_event(struct state *s, uint64_t at_us, const char *kind, struct view pool,
		 struct view backend, struct view message)
{
	(void)s, (void)at_us, (void)kind, (void)pool, (void)backend, (void)message;
}

void state_send(struct state *s)
{
	(void)s;
}

void state_file(struct state *s, const char *name, struct str *bytes)
{
	(void)s, (void)name, (void)bytes;
}

bool state_ask(struct state *s, struct state_query *query)
{
	(void)s, (void)query;
	return false;
}

void state_status(const struct state *s, struct state_status *out)
{
	(void)s;
	*out = (struct state_status){0};
}

#endif
