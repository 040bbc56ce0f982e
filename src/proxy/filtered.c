/* SPDX-License-Identifier: MIT */
/*
 * The client's side of an exchange whose response goes through a filter: the operations
 * of its version with the filter in front.  Who gives bytes to the client (a backend, an
 * answer of weir) asks these in place of the others; without a filter they are nobody's.
 *
 * A copy of the request hears the body before a filter has it: what the backend sent.
 *
 * Backpressure needs nothing of its own: what goes in comes out at once, and the version's
 * own answer to that (IO_WAIT) is passed on.
 */
#include "filters.h"

#include <stdlib.h>

#include "weir/base/check.h"

/* What comes out of one piece that came in, and does not become smaller. */
#define OUT_MAX (AREA_ANSWER + 8192)

static const struct filter *filter_of(const struct exchange *ex)
{
	(void)ex;
	return filter_at(FILTER_compress); /* the only one that acts here */
}

bool filtered_prepare(struct worker *w)
{
	if (!w->filtered.base) {
		w->filtered.base = aligned_alloc(WEIR_CACHE_LINE, AREA_FRONT + OUT_MAX + AREA_BACK);
		w->filtered.data = w->filtered.base ? w->filtered.base + AREA_FRONT : NULL;
	}
	return w->filtered.base != NULL;
}

/* The worse of two: nobody waits for one who is gone. */
static enum io worse(enum io a, enum io b)
{
	if (a == IO_ERR || b == IO_ERR)
		return IO_ERR;
	return a == IO_WAIT || b == IO_WAIT ? IO_WAIT : IO_OK;
}

/* `resp` NULL: the head is out. */
static enum io pass(struct exchange *ex, struct message *resp, struct span body, bool end,
		    bool more_follows)
{
	const struct filter *filter = filter_of(ex);
	struct filter_piece piece = {
	    .in = body.ptr, .in_len = body.len, .end = end, .cap = OUT_MAX};
	enum filter_step step;
	enum io io = IO_OK;
	bool last;
	do {
		piece.out = ex->worker->filtered.data;
		step = filter->transform(ex->filter_stream, &piece);
		if (step == FILTER_BROKEN) {
			ex->not_given = OUTCOME_no_memory;
			return IO_ERR;
		}
		last = end && step == FILTER_DONE && !more_follows;
		struct span out = {piece.out, piece.len};
		if (resp)
			io = ex->plain_ops->head(ex, resp, out, last);
		else if (out.len || last)
			io = worse(io, ex->plain_ops->data(ex, out, last));
		resp = NULL;
	} while (step == FILTER_MORE && io != IO_ERR);
	return io;
}

static void tell(struct exchange *ex, struct span body)
{
	if (ex->follower && ex->at->lease.backend) /* else it is an answer of weir */
		ex->follower->answered(ex->follower, body);
}

/* Fields that are put together lie in `r` until the head is out. */
static enum io op_head(struct exchange *ex, struct message *resp, struct span body, bool end)
{
	struct filter_response r = {
	    .route = ex->route,
	    .resp = resp,
	    .mark = ex->filter_mark,
	    .worker = ex->worker->pool.id,
	    .is_head = ex->method == METHOD_HEAD,
	    .end = end,
	    .len = body.len,
	};
	tell(ex, body);
	filtered_end(ex); /* of a head that was too large */
	if (ex->route->filters & 1u << FILTER_compress)
		ex->filter_stream = filter_of(ex)->response(&r);
	if (ex->filter_stream)
		return pass(ex, resp, body, end, false);
	if (!ex->follower)
		ex->client_ops = ex->plain_ops;
	return ex->plain_ops->head(ex, resp, body, end);
}

static enum io op_data(struct exchange *ex, struct span body, bool end)
{
	tell(ex, body);
	if (!ex->filter_stream)
		return ex->plain_ops->data(ex, body, end);
	return pass(ex, NULL, body, end, false);
}

static enum io op_trailers(struct exchange *ex, const struct message *trailers)
{
	struct span none = {ex->worker->from_backend.data, 0};
	if (!ex->filter_stream)
		return ex->plain_ops->trailers(ex, trailers);
	enum io io = pass(ex, NULL, none, true, true);
	return io == IO_ERR ? io : worse(io, ex->plain_ops->trailers(ex, trailers));
}

static bool op_takes(const struct exchange *ex, struct message *resp)
{
	return !ex->plain_ops->takes || ex->plain_ops->takes(ex, resp);
}

static enum io op_interim(struct exchange *ex, struct message *resp)
{
	return ex->plain_ops->interim(ex, resp);
}

static enum io op_upgrade(struct exchange *ex, struct message *resp, struct span bytes)
{
	ex->client_ops = ex->plain_ops;
	return ex->client_ops->upgrade(ex, resp, bytes);
}

static void op_resume(struct exchange *ex)
{
	ex->plain_ops->resume(ex);
}

static size_t op_pending(const struct exchange *ex)
{
	return ex->plain_ops->pending(ex);
}

static size_t op_unsent(const struct exchange *ex)
{
	return ex->plain_ops->unsent(ex);
}

static void op_origin(const struct exchange *ex, struct proxy_header *out)
{
	ex->plain_ops->origin(ex, out);
}

static const struct client_ops filtered_ops = {
    .head = op_head,
    .data = op_data,
    .trailers = op_trailers,
    .takes = op_takes,
    .interim = op_interim,
    .upgrade = op_upgrade,
    .resume = op_resume,
    .pending = op_pending,
    .unsent = op_unsent,
    .origin = op_origin,
};

void filtered_begin(struct exchange *ex, uint8_t mark)
{
	ex->filter_mark = mark;
	ex->plain_ops = ex->client_ops;
	ex->client_ops = &filtered_ops;
}

void filtered_end(struct exchange *ex)
{
	if (ex->filter_stream)
		filter_of(ex)->finish(ex->filter_stream);
	ex->filter_stream = NULL;
}
