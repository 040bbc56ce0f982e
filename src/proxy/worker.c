/* SPDX-License-Identifier: MIT */
/* A worker's life: its memory, its generations, the end of its turns, its end. */
#include "weir/proxy/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend_h2.h"
#include "client.h"
#include "client_h2.h"
#include "copy.h"
#include "listen.h"
#include "room.h"
#include "trace.h"

#include "weir/base/check.h"

static bool area_init(struct area *area)
{
	area->base = aligned_alloc(WEIR_CACHE_LINE, AREA_FRONT + AREA_ANSWER + AREA_BACK);
	area->data = area->base ? area->base + AREA_FRONT : NULL;
	return area->base != NULL;
}

/* What a filter found out, in this turn; and copies of what went out in it. */
static void go_on(struct worker *w)
{
	while (!list_is_empty(&w->asked)) {
		struct exchange *ex = list_first(&w->asked, struct exchange, link);
		if (ex->is_copy)
			copy_send(ex);
		else
			exchange_go_on(ex);
	}
}

/* What one side puts off may lead to something for the others: until none is left. */
static void worker_turn_end(struct loop *loop)
{
	struct worker *w = loop->owner;
	do {
		if (unlikely(!list_is_empty(&w->asked)))
			go_on(w);
		if (!list_is_empty(&w->ended))
			exchange_turn_end(w);
		client_h2_turn_end(w);
		backend_h2_turn_end(w->backends_h2);
	} while (unlikely(!list_is_empty(&w->ended) || !list_is_empty(&w->h2->dirty) ||
			  !list_is_empty(&w->asked)));
	if (unlikely(w->accept_blocked_us && !list_is_empty(&w->closed)))
		listen_fd_freed(w);
	client_turn_end(w);
	scratch_all_dropped(w);
}

/* ---- memory ---- */

static void memory_later(struct worker *w, enum slab_trim state)
{
	if (state != SLAB_TIGHT)
		loop_timer(&w->loop, &w->memory_timer,
			   state == SLAB_BUSY ? SLAB_STEP_US : SLAB_LOOK_US);
}

static void on_memory_timer(struct timer *timer)
{
	struct worker *w = container_of(timer, struct worker, memory_timer);
	bool look = w->loop.now_us - w->memory_looked_us >= SLAB_LOOK_US;
	if (look)
		w->memory_looked_us = w->loop.now_us;
	memory_later(w, slab_trim(&w->memory, look));
}

static void on_memory_grown(struct slab_watch *watch)
{
	struct worker *w = container_of(watch, struct worker, memory);
	if (!timer_is_set(&w->memory_timer))
		memory_later(w, SLAB_WAITING);
}

static void retire_client(void *obj)
{
	timer_del(&((struct client *)obj)->timer);
}

static void retire_attempt(void *obj)
{
	timer_del(&((struct attempt *)obj)->timer);
}

static void retire_exchange(void *obj)
{
	struct exchange *ex = obj;
	timer_del(&ex->timer);
	retire_attempt(&ex->first);
}

static void watch_memory(struct worker *w)
{
	struct slab_watch *watch = &w->memory;
	slab_watch_init(watch, on_memory_grown);
	w->memory_timer.fn = on_memory_timer;
	w->conns.retire = retire_client;
	w->exchanges.retire = retire_exchange;
	w->attempts.retire = retire_attempt;
	buf_pool_watch(&w->pool.bufs, watch, MEMORY_buffers);
	slab_watch_add(watch, &w->conns, MEMORY_connections);
	slab_watch_add(watch, &w->exchanges, MEMORY_exchanges);
	slab_watch_add(watch, &w->attempts, MEMORY_exchanges);
	slab_watch_add(watch, &w->traces, MEMORY_exchanges);
	slab_watch_add(watch, &w->pool.upconns, MEMORY_upstreams);
	if (w->h2)
		client_h2_watch(w->h2, watch);
	if (w->backends_h2)
		backend_h2_watch(w->backends_h2, watch);
}

enum err worker_init(struct worker *w, unsigned id, const struct worker_limits *limits)
{
	static char names[64][16];
	char *name = names[id % ARRAY_LEN(names)];
	snprintf(name, sizeof(names[0]), "worker %u", id);
	memset(w, 0, sizeof(*w));
	w->hangups.fd = -1;
	list_init(&w->all_conns);
	list_init(&w->accepts);
	list_init(&w->gens);
	list_init(&w->ended);
	list_init(&w->asked);
	list_init(&w->copies);
	list_init(&w->closed);
	enum err err = loop_init(&w->loop, name);
	if (err)
		return err;
	w->loop.owner = w;
	err = hangups_init(&w->hangups, &w->loop, client_hung_up);
	if (err)
		return err;
	w->fd_limit = limits->fds;
	room_init(w);
	pool_worker_init(&w->pool, id, &w->loop, limits->upconns, limits->bufs);
	tls_local_init(&w->tls, &w->loop, &w->pool.bufs, limits->conns + limits->upconns);
	pipe_pool_init(&w->pipes, limits->pipes);
	slab_init(&w->conns, sizeof(struct client), limits->conns);
	slab_init(&w->exchanges, sizeof(struct exchange), limits->conns);
	slab_init(&w->attempts, sizeof(struct attempt), limits->conns);
	slab_init(&w->traces, sizeof(struct trace), limits->conns);
	w->h2 = client_h2_worker_new(w, limits);
	w->head = malloc(HEAD_ROOM);
	w->texts.ptr = malloc(TEXTS_ROOM);
	w->values.ptr = malloc(VALUES_ROOM);
	w->routes = route_scratch_new();
	w->backends_h2 = backend_h2_new(w, limits);
	w->loop.on_turn_end = worker_turn_end;
	watch_memory(w);
	if (!w->h2 || !w->backends_h2 || !w->head || !w->texts.ptr || !w->values.ptr ||
	    !w->routes || !area_init(&w->from_client) || !area_init(&w->from_backend) ||
	    !ring_init(&w->log.ring, LOG_RING_BYTES))
		return ERR_NOMEM;
	return ERR_OK;
}

void worker_fini(struct worker *w)
{
	backend_h2_free(w->backends_h2);
	hangups_fini(&w->hangups);
	loop_fini(&w->loop);
	tls_local_fini(&w->tls);
	client_h2_worker_free(w->h2);
	pipe_pool_fini(&w->pipes);
	slab_fini(&w->conns);
	slab_fini(&w->exchanges);
	slab_fini(&w->attempts);
	slab_fini(&w->traces);
	pool_worker_fini(&w->pool);
	route_scratch_free(w->routes);
	ring_fini(&w->log.ring);
	if (w->trace_ring)
		ring_fini(w->trace_ring);
	free(w->trace_ring);
	free(w->head);
	free(w->texts.ptr);
	free(w->values.ptr);
	free(w->from_client.base);
	free(w->from_backend.base);
	free(w->filtered.base);
}

/* ---- generations ---- */

static void mark_retired(struct worker *w, struct gen_local *gl, bool retired)
{
	struct generation *gen = gl->gen;
	for (uint32_t p = 0; p < gen->n_pools; p++)
		for (uint32_t i = 0; i < gen->pools[p].n; i++)
			gen->pools[p].backends[i]->local[w->pool.id]->retired = retired;
}

/* Connections to backends that no longer exist are not kept. */
static void close_retired(struct worker *w, struct gen_local *gl)
{
	struct generation *gen = gl->gen;
	for (uint32_t p = 0; p < gen->n_pools; p++) {
		for (uint32_t i = 0; i < gen->pools[p].n; i++) {
			struct backend *b = gen->pools[p].backends[i];
			if (!b->local[w->pool.id]->retired)
				continue;
			upconn_close_idle(&w->pool, b);
			backend_h2_retire(w, b->local[w->pool.id], gl);
		}
	}
}

/* Picks never allocate: the scratch set is made large enough here. */
static void size_mask(struct worker *w, const struct generation *gen)
{
	uint32_t most = 1;
	for (uint32_t p = 0; p < gen->n_pools; p++)
		if (gen->pools[p].n > most)
			most = gen->pools[p].n;
	check(pool_worker_mask(&w->pool, (most + 63) / 64) != NULL);
}

void worker_adopt(struct worker *w, struct gen_local *gl)
{
	struct gen_local *old = w->gen;
	size_mask(w, gl->gen);
	if (old) {
		listen_leave(w, gl->gen);
		mark_retired(w, old, true);
	}
	mark_retired(w, gl, false);
	w->gen = gen_get(gl);
	tls_local_watch(&w->tls, &w->memory, MEMORY_tls);
	check(!gl->gen->filters.responses || filtered_prepare(w));
	w->h2_heads.limit = gl->gen->conf->h2_head_bytes;
	w->gathered.limit = gl->gen->conf->request_buffer_bytes;
	w->h2_windows.limit = gl->gen->conf->h2_window_bytes;
	list_push_back(&w->gens, &gl->link);
	for (uint32_t p = 0; p < gl->gen->n_pools; p++) {
		if (pool_view_refresh(&gl->views[p])) /* a state may have changed since */
			worker_refresh_later(w, WORKER_REFRESH_US);
		pool_queue_renew(&gl->views[p]);
	}
	if (!w->draining) {
		listen_adopt(w);
		atomic_store(&w->takes_handovers, true);
	}
	if (!old)
		return;
	close_retired(w, old);
	list_each_safe (it, tmp, &w->all_conns)
		client_adopt(list_entry(it, struct client, link));
	gen_put(old);
}

/* ---- the end ---- */

void worker_drain(struct worker *w)
{
	w->draining = true;
	atomic_store(&w->takes_handovers, false);
	listen_stop(w);
	list_each_safe (it, tmp, &w->all_conns)
		client_drain(list_entry(it, struct client, link));
}

void worker_abort_all(struct worker *w)
{
	w->draining = true;
	atomic_store(&w->takes_handovers, false);
	listen_stop(w);
	while (!list_is_empty(&w->all_conns))
		client_abort(list_first(&w->all_conns, struct client, link));
	copy_stop_all(w);
}

void worker_leave(struct worker *w)
{
	struct gen_local *gl = w->gen;
	if (!gl)
		return;
	mark_retired(w, gl, true);
	close_retired(w, gl);
	backend_h2_leave(w);
	w->gen = NULL;
	gen_put(gl);
}
