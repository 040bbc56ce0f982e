/* SPDX-License-Identifier: MIT */
/* Windows of HTTP/2 that grow with what the reader takes, within a budget. */
#include "weir/http/h2_window.h"

#include <nghttp2/nghttp2.h>

bool h2_budget_take(struct h2_budget *budget, uint32_t n)
{
	for (const struct h2_budget *b = budget; b; b = b->all)
		if (b->used && b->used + n > b->limit)
			return false;
	for (struct h2_budget *b = budget; b; b = b->all)
		b->used += n;
	return true;
}

void h2_budget_put(struct h2_budget *budget, uint32_t n)
{
	for (struct h2_budget *b = budget; b; b = b->all)
		b->used -= n;
}

static void charge(struct h2_window *w, uint32_t extra)
{
	for (struct h2_budget *b = w->budget; b; b = b->all)
		b->used += (int64_t)extra - (int64_t)w->extra;
	w->extra = extra;
}

/* At most half of what is left: others are to grow as well. */
static bool affordable(const struct h2_window *w, uint32_t more)
{
	for (const struct h2_budget *b = w->budget; b; b = b->all)
		if (b->used >= b->limit || more > (b->limit - b->used) / 2)
			return false;
	return more <= NGHTTP2_MAX_WINDOW_SIZE / 2;
}

void h2_window_init(struct h2_window *w, struct h2_budget *budget)
{
	*w = (struct h2_window){.size = H2_WINDOW_FIRST, .budget = budget};
}

void h2_window_fini(struct h2_window *w)
{
	charge(w, 0);
}

static uint32_t beyond_first(uint32_t n)
{
	return n > H2_WINDOW_FIRST ? n - H2_WINDOW_FIRST : 0;
}

void h2_window_end(struct h2_window *w)
{
	w->size = 0;
	charge(w, beyond_first(w->held));
}

static void adapt(struct h2_window *w)
{
	if (w->held > w->size / 2)
		w->size = w->size / 2 > H2_WINDOW_FIRST ? w->size / 2 : H2_WINDOW_FIRST;
	else if (w->held <= w->size / 8 && affordable(w, w->size))
		w->size *= 2;
}

/*
 * What may still come is asked of the session: padding is counted there, and it
 * is not less than before when the window has shrunk.
 */
void h2_window_give_back(struct h2_window *w, struct h2_window_at at)
{
	w->owed = 0;
	if (w->size == 0) {
		h2_window_end(w);
		return;
	}
	int32_t credit = nghttp2_session_get_stream_local_window_size(at.session, at.id);
	if (credit < 0) /* no such stream any more */
		return;
	adapt(w);
	uint32_t there = w->held + (uint32_t)credit;
	uint32_t whole = there > w->size ? there : w->size;
	charge(w, beyond_first(whole));
	if (there < w->size)
		nghttp2_submit_window_update(at.session, NGHTTP2_FLAG_NONE, at.id,
					     (int32_t)(w->size - there));
}
