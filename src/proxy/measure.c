/* SPDX-License-Identifier: MIT */
/*
 * The account of an exchange that has ended: its time divided into phases, then
 * recorded where readers look for it.  Every microsecond of the total is in
 * exactly one phase; `self` is what no other phase explains, our own time.
 */
#include <stdlib.h>
#include <string.h>

#include "exchange.h"
#include "trace.h"
#include "weir/base/clock.h"

/* ---- phases ---- */

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* Up to `now`. */
static void divide(const struct exchange *ex, uint64_t now, uint64_t us[N_PHASES])
{
	const struct attempt *at = ex->at;
	uint64_t sent = at->sent_us, first = at->first_byte_us, blocked = ex->client_us;
	if (ex->blocked_from_us) /* it ended while the client held it up */
		blocked += minus(now, ex->blocked_from_us);
	if (unlikely(now == first)) /* the client has had nothing to read yet */
		blocked = 0;
	us[PHASE_queue] = ex->queue_us;
	us[PHASE_connect] = ex->connect_us;
	if (at->connect_from_us) /* it ended meanwhile */
		us[PHASE_connect] += minus(now, at->connect_from_us);
	us[PHASE_client] = ex->upload_us + blocked;
	us[PHASE_wait] = ex->failed_wait_us;
	if (sent) /* without an answer it waited to the end */
		us[PHASE_wait] += minus(first ? first : now - blocked, sent);
	else if (at->send_from_us) /* answered, or ended, before all of it was sent */
		us[PHASE_client] += minus(first ? first : now, at->send_from_us);
	us[PHASE_transfer] = first ? minus(minus(now, first), blocked) : 0;
	us[PHASE_total] = now - ex->start_us;
	uint64_t known = us[PHASE_queue] + us[PHASE_connect] + us[PHASE_client] + us[PHASE_wait] +
			 us[PHASE_transfer];
	us[PHASE_self] = minus(us[PHASE_total], known);
}

/*
 * Errors apart from successes: fast ones would flatter the quantiles.  What a
 * client broke off says nothing about the backend.
 */
static struct hist_set *set_of(const struct exchange *ex, struct backend_local *bl)
{
	if (outcome_row(ex->outcome)->is_error || (ex->status >= 500 && ex->resp_complete))
		return &bl->failed;
	return ex->outcome == OUTCOME_ok ? &bl->ok : NULL;
}

/* ---- the slowest ---- */

static uint8_t copy_text(char *to, size_t size, struct view v)
{
	size_t n = v.len < size ? v.len : size;
	if (n)
		memcpy(to, v.ptr, n);
	return (uint8_t)n;
}

/* Method and target as they were sent to the backend. */
static void copy_request_line(const struct exchange *ex, struct slow_record *r)
{
	struct view head = ex->req ? view_head(buf_view(ex->req), ex->req_head_len)
				   : view_of(ex->line, ex->line_len);
	ptrdiff_t space = view_chr(head, ' ');
	if (space <= 0)
		return;
	r->method_len = copy_text(r->method, sizeof(r->method), view_head(head, (size_t)space));
	head = view_skip(head, (size_t)space + 1);
	space = view_chr(head, ' '); /* none: it was cut */
	if (head.len)
		r->path_len = copy_text(r->path, sizeof(r->path),
					view_head(head, space < 0 ? head.len : (size_t)space));
}

static void note_slow(const struct exchange *ex, struct slow_ring *ring,
		      const uint64_t us[N_PHASES])
{
	struct slow_record r = {
	    .ended_us = ex->last_byte_us,
	    .at_us = clock_wall_us() - (clock_us() - ex->last_byte_us),
	    .outcome = outcome_row(ex->outcome)->name,
	    .in_flight = ex->at->lease.others,
	    .queue_length = ex->queue_met,
	    .status = ex->status,
	    .retries = ex->n_retries,
	};
	memcpy(r.phase_us, us, sizeof(r.phase_us));
	r.request_id_len = copy_text(r.request_id, sizeof(r.request_id),
				     view_of(ex->request_id, ex->request_id_len));
	copy_request_line(ex, &r);
	r.has_trace = ex->trace != NULL;
	if (r.has_trace)
		memcpy(r.trace_id, ex->trace->context.trace_id, sizeof(r.trace_id));
	slow_put(ring, &r);
}

static struct slow_ring *make_slow_ring(struct backend *b)
{
	struct slow_ring *ring = slow_ring_new(), *theirs = NULL;
	if (!ring)
		return NULL;
	/* release: whoever sees the pointer sees the zeroes behind it */
	if (atomic_compare_exchange_strong_explicit(&b->slow, &theirs, ring, memory_order_release,
						    memory_order_acquire))
		return ring;
	free(ring);
	return theirs;
}

/* The ring of this backend; NULL without memory. */
static inline struct slow_ring *slow_ring_of(struct backend *b)
{
	struct slow_ring *ring = atomic_load_explicit(&b->slow, memory_order_acquire);
	return likely(ring != NULL) ? ring : make_slow_ring(b);
}

/* ---- routes and listeners ---- */

/* The one that `conf` became in this generation; NULL: it has none of that name. */
static struct meter *meter_of_listener(const struct generation *gen,
				       const struct conf_listener *conf)
{
	for (size_t i = 0; i < gen->conf->n_listeners; i++)
		if (likely(&gen->conf->listeners[i] == conf))
			return gen->listener_meters[i];
	/* the connection is older than the generation */
	for (size_t i = 0; i < gen->conf->n_listeners; i++)
		if (view_eq(gen->conf->listeners[i].name, conf->name))
			return gen->listener_meters[i];
	return NULL;
}

/* Those of its route and listener, behind `sets`. */
static unsigned add_meters(const struct exchange *ex, bool failed, struct hist_set *sets[2])
{
	const struct generation *gen = ex->gl->gen;
	unsigned worker = ex->worker->pool.id, n = 0;
	struct meter *listener = meter_of_listener(gen, ex->listener);
	if (ex->route)
		sets[n++] = meter_set(gen->route_meters[ex->route->index], worker, failed);
	if (listener)
		sets[n++] = meter_set(listener, worker, failed);
	return n;
}

/* ---- all of it ---- */

static void record(const struct exchange *ex, struct hist_set *set, const uint64_t us[N_PHASES])
{
	struct backend_local *bl = ex->backend->local[ex->worker->pool.id];
	struct levels *levels = atomic_load_explicit(&bl->levels, memory_order_relaxed);
	struct hist_set *sets[3] = {set};
	unsigned n = 1;
	if (likely(!ex->is_aside))
		n += add_meters(ex, set == &bl->failed, sets + 1);
	hist_sets_record_all(sets, n, us);
	if (likely(set == &bl->ok && levels != NULL))
		levels_served(levels, ex->at->lease.others, ex->at->lease.elsewhere,
			      us[PHASE_wait] + us[PHASE_transfer]);
}

void exchange_measure_stream(const struct exchange *ex)
{
	uint64_t us[N_PHASES];
	if (!WEIR_STATS)
		return;
	divide(ex, ex->at->first_byte_us, us);
	record(ex, &ex->backend->local[ex->worker->pool.id]->ok, us);
}

void exchange_measure(struct exchange *ex)
{
	uint64_t us[N_PHASES];
	if (!WEIR_STATS)
		return;
	if (likely(ex->route != NULL && !ex->is_aside)) {
		struct meter *m = ex->gl->gen->route_meters[ex->route->index];
		counter_add(&m->local[ex->worker->pool.id].exchanges, 1);
	}
	if (!ex->backend || unlikely(ex->at->lease.streams))
		return;
	struct backend_local *bl = ex->backend->local[ex->worker->pool.id];
	struct hist_set *set = set_of(ex, bl);
	divide(ex, ex->last_byte_us, us);
	if (likely(set != NULL))
		record(ex, set, us);
	struct slow_ring *ring = slow_ring_of(ex->backend);
	if (ring && slow_wants(ring, us[PHASE_total], ex->last_byte_us))
		note_slow(ex, ring, us);
}
