/* SPDX-License-Identifier: MIT */
/*
 * The window of a stream whose bytes weir receives (RFC 9113 6.9): how much may be
 * under way or lie here untaken.  It begins with what the protocol gives and
 * grows with what the reader takes: whenever a quarter of it was taken and next
 * to nothing waits, it doubles, so that a sender far away is soon held back by
 * its own congestion window only.  With a reader that lags behind it shrinks.
 *
 *   0        held       held + credit   size
 *   |---------|--------------|-----------|
 *    untaken   may be sent    taken: given back at a quarter of `size`
 *
 * What windows have beyond H2_WINDOW_FIRST is taken from the budget of the
 * connection and from that of the worker; what stays untaken stays charged.
 *
 *   h2_window_init(&st->window, &budget);
 *   h2_window_came(&st->window, n);             payload arrived
 *   h2_window_took(&st->window, at, n);         and was taken
 *   h2_window_fini(&st->window);
 *
 * One thread.
 */
#ifndef WEIR_HTTP_H2_WINDOW_H
#define WEIR_HTTP_H2_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Every stream has this much, whatever the budgets say. */
#define H2_WINDOW_FIRST 65535

struct h2_budget {
	uint64_t limit;
	uint64_t used;
	struct h2_budget *all; /* counts this one along with others; NULL: itself is all */
};

/* True when it was taken; what is alone always is. */
bool h2_budget_take(struct h2_budget *budget, uint32_t n);
void h2_budget_put(struct h2_budget *budget, uint32_t n);

struct h2_window {
	uint32_t size;  /* 0: nothing more may come */
	uint32_t held;  /* arrived, not taken */
	uint32_t owed;  /* taken and not given back yet */
	uint32_t extra; /* charged to the budget */
	struct h2_budget *budget;
};

/* Where the window is: `session` is nghttp2's. */
struct h2_window_at {
	void *session;
	int32_t id;
};

void h2_window_init(struct h2_window *w, struct h2_budget *budget);
void h2_window_fini(struct h2_window *w);

static inline void h2_window_came(struct h2_window *w, size_t n)
{
	w->held += (uint32_t)n;
}

/* The peer's END_STREAM is here: there is nothing to give back any more. */
void h2_window_end(struct h2_window *w);
void h2_window_give_back(struct h2_window *w, struct h2_window_at at);

static inline void h2_window_took(struct h2_window *w, struct h2_window_at at, size_t n)
{
	w->held -= (uint32_t)n;
	w->owed += (uint32_t)n;
	if (w->owed >= w->size / 4)
		h2_window_give_back(w, at);
}

/* Padding counts as payload does, but nobody has to take it. */
static inline void h2_window_padding(struct h2_window *w, struct h2_window_at at, size_t n)
{
	h2_window_came(w, n);
	h2_window_took(w, at, n);
}

#endif
