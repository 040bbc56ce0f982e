/* SPDX-License-Identifier: MIT */
/* What the admin API may ask of and change in the running daemon. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "tracer.h"

#include "weir/base/check.h"
#include "weir/proxy/client.h"

/* ---- reading ---- */

static const struct conf *host_conf(void *ctx)
{
	struct control *control = ctx;
	return control->current->conf;
}

static const struct route_table *host_routes(void *ctx)
{
	struct control *control = ctx;
	return control->current->routes;
}

static struct admin_meter *meter_rows(struct arena *arena, struct meter *const *meters, size_t n)
{
	struct admin_meter *rows = arena_array(arena, n, sizeof(*rows));
	for (size_t i = 0; i < n; i++)
		rows[i].meter = meters[i];
	return rows;
}

static void host_meters(void *ctx, struct arena *arena, struct admin_meters *out)
{
	struct control *control = ctx;
	const struct generation *gen = control->current;
	const struct conf *conf = gen->conf;
	*out = (struct admin_meters){
	    .routes = meter_rows(arena, gen->route_meters, conf->n_routes),
	    .listeners = meter_rows(arena, gen->listener_meters, conf->n_listeners),
	    .n_routes = conf->n_routes,
	    .n_listeners = conf->n_listeners,
	};
	for (size_t i = 0; i < conf->n_routes; i++)
		out->routes[i].name = conf->routes[i].name;
	for (size_t i = 0; i < conf->n_listeners; i++)
		out->listeners[i].name = conf->listeners[i].name;
}

static struct pool *host_pools(void *ctx, uint32_t *n)
{
	struct control *control = ctx;
	*n = control->current->n_pools;
	return control->current->pools;
}

static const struct admin_counter counter_rows[] = {
#define COUNTER(name, sentence) {#name, sentence, 0},
#include "weir/tbl/worker_counters.def"
#undef COUNTER
};

static const size_t counter_offsets[] = {
#define COUNTER(name, sentence) offsetof(struct worker_counters, name),
#include "weir/tbl/worker_counters.def"
#undef COUNTER
};

static uint64_t sum_at(const struct control *control, size_t offset)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < control->n_workers; i++) {
		const char *base = (const char *)&control->workers[i]->counters;
		n += counter_get((const struct counter *)(const void *)(base + offset));
	}
	return n;
}

static void fill_counters(struct control *control, struct arena *arena, struct admin_status *out)
{
	struct admin_counter *totals = arena_array(arena, ARRAY_LEN(counter_rows), sizeof(*totals));
	for (size_t i = 0; i < ARRAY_LEN(counter_rows); i++) {
		totals[i] = counter_rows[i];
		totals[i].n = sum_at(control, counter_offsets[i]);
	}
	struct admin_counter *outcomes = arena_array(arena, N_OUTCOMES, sizeof(*outcomes));
	for (size_t i = 0; i < N_OUTCOMES; i++) {
		const struct outcome_row *row = outcome_row((enum outcome)i);
		size_t offset =
		    offsetof(struct worker_counters, outcomes) + i * sizeof(struct counter);
		outcomes[i] =
		    (struct admin_counter){row->name, row->sentence, sum_at(control, offset)};
	}
	struct admin_counter *rejects = arena_array(arena, REJECT_N, sizeof(*rejects));
	for (size_t i = 0; i < REJECT_N; i++) {
		size_t offset =
		    offsetof(struct worker_counters, rejects) + i * sizeof(struct counter);
		rejects[i] = (struct admin_counter){reject_name((enum reject)i),
						    reject_sentence((enum reject)i),
						    sum_at(control, offset)};
	}
	out->totals = totals;
	out->n_totals = ARRAY_LEN(counter_rows);
	out->outcomes = outcomes;
	out->n_outcomes = N_OUTCOMES;
	out->rejects = rejects;
	out->n_rejects = REJECT_N;
}

static void fill_workers(struct control *control, struct arena *arena, struct admin_status *out)
{
	out->n_workers = control->n_workers;
	out->workers = arena_array(arena, out->n_workers, sizeof(*out->workers));
	for (unsigned i = 0; i < control->n_workers; i++) {
		const struct worker *w = control->workers[i];
		out->workers[i] = (struct admin_worker){
		    .id = i,
		    .connections = atomic_load_explicit(&w->n_conns, memory_order_relaxed),
		    .exchanges = atomic_load_explicit(&w->n_exchanges, memory_order_relaxed),
		    .pipes = atomic_load_explicit(&w->pipes.n, memory_order_relaxed),
		    .loop_lag_us = atomic_load_explicit(&w->loop.lag_max_us, memory_order_relaxed),
		};
	}
}

static void fill_listeners(struct control *control, struct arena *arena, struct admin_status *out)
{
	const struct generation *gen = control->current;
	out->n_listeners = gen->n_listeners;
	out->listeners = arena_array(arena, gen->n_listeners, sizeof(*out->listeners));
	for (uint32_t i = 0; i < gen->n_listeners; i++) {
		const struct listener *l = gen->listeners[i].listener;
		struct admin_listener *row = &out->listeners[i];
		row->name = gen->listeners[i].conf->name;
		row->bind = view_str(l->text);
		row->connections = atomic_load_explicit(&l->n_conns, memory_order_relaxed);
		for (unsigned w = 0; w < l->n_workers; w++) {
			row->accepted += counter_get(&l->local[w].accepted);
			row->refused += counter_get(&l->local[w].refused);
		}
	}
}

static void host_status(void *ctx, struct arena *arena, struct admin_status *out)
{
	struct control *control = ctx;
	*out = (struct admin_status){
	    .generation = control->current->id,
	    .started_wall_us = control->started_wall_us,
	    .started_us = control->started_us,
	    .draining = control->state != CONTROL_RUNNING,
	};
	out->last_reload.ok = control->last_reload.ok;
	out->last_reload.at_wall_us = control->last_reload.at_wall_us;
	out->last_reload.error = str_as_view(&control->last_reload.error);
	out->handover_error = str_as_view(&control->handover.error);
	fill_counters(control, arena, out);
	fill_workers(control, arena, out);
	fill_listeners(control, arena, out);
	tracer_status(control->tracer, arena, out);
}

/* ---- connections: every worker is asked, the last answer completes the list ---- */

/* Rows a worker reports at most: an operator looks at hundreds, not at all of 50 000. */
#define CONNECTIONS_MAX 10000

struct connection_list {
	struct control *control;
	void (*done)(void *arg, const struct admin_connection *rows, size_t n);
	void *arg;
	struct connection_part {
		struct mail mail;
		struct connection_list *list;
		struct arena *arena; /* the worker's until posted back */
		struct admin_connection *rows;
		size_t n;
	} *parts; /* [n_workers] */
	unsigned n_back;
};

/* The request line's target, out of the bytes kept for replay. */
static struct view path_of(const struct exchange *ex)
{
	if (!ex || !ex->req)
		return VIEW_NONE;
	struct view head = view_head(buf_view(ex->req), ex->req_head_len);
	ptrdiff_t space = view_chr(head, ' ');
	if (space < 0)
		return VIEW_NONE;
	head = view_skip(head, (size_t)space + 1);
	space = view_chr(head, ' ');
	return view_head(head, space < 0 ? 0 : (size_t)space);
}

static const char *client_state_text(const struct client *c)
{
	static const char *const names[] = {
	    [CLIENT_PROXY] = "proxy", [CLIENT_HANDSHAKE] = "handshake",
	    [CLIENT_IDLE] = "idle",   [CLIENT_HEAD] = "head",
	    [CLIENT_HTTP2] = "http2", [CLIENT_LINGER] = "lingering",
	};
	return c->ex ? exchange_state_name(c->ex->state) : names[c->state];
}

static void describe(struct worker *w, const struct client *c, struct arena *arena,
		     struct admin_connection *row)
{
	char peer[ADDR_TEXT_MAX];
	struct addr addr;
	const struct exchange *ex = c->ex;
	addr_unpack(&c->peer, &addr);
	addr_format(&addr, peer);
	*row = (struct admin_connection){
	    .id = c->id,
	    .worker = w->pool.id,
	    .listener = arena_view(arena, c->conf->name),
	    .client = view_str(arena_strdup(arena, peer)),
	    .state = view_str(client_state_text(c)),
	    .age_us = w->loop.now_us - c->opened_us,
	    .requests = c->n_requests,
	    .streams = c->h2 ? client_streams(c) : 0,
	    .path = arena_view(arena, path_of(ex)),
	};
	if (!ex)
		return;
	row->bytes_in = ex->bytes_in;
	row->bytes_out = ex->bytes_out;
	if (ex->view)
		row->pool = arena_view(arena, ex->view->pool->conf->name);
	if (ex->backend)
		row->backend = arena_view(arena, ex->backend->name);
}

static void on_part(struct loop *loop, struct mail *mail)
{
	struct connection_part *part = container_of(mail, struct connection_part, mail);
	struct connection_list *list = part->list;
	struct control *control = list->control;
	(void)loop;
	if (++list->n_back < control->n_workers)
		return;
	size_t n = 0;
	for (unsigned i = 0; i < control->n_workers; i++)
		n += list->parts[i].n;
	struct arena *all = arena_new();
	struct admin_connection *rows = arena_array(all, n, sizeof(*rows));
	n = 0;
	for (unsigned i = 0; i < control->n_workers; i++) {
		if (list->parts[i].n)
			memcpy(&rows[n], list->parts[i].rows, list->parts[i].n * sizeof(*rows));
		n += list->parts[i].n;
	}
	list->done(list->arg, rows, n);
	for (unsigned i = 0; i < control->n_workers; i++)
		arena_free(list->parts[i].arena);
	arena_free(all);
	free(list->parts);
	free(list);
}

static void collect(struct worker *w, void *arg)
{
	struct connection_list *list = arg;
	struct connection_part *part = &list->parts[w->pool.id];
	size_t most = w->conns.n_live < CONNECTIONS_MAX ? w->conns.n_live : CONNECTIONS_MAX;
	part->arena = arena_new();
	part->rows = arena_array(part->arena, most, sizeof(*part->rows));
	list_each (it, &w->all_conns) {
		if (part->n == most)
			break;
		describe(w, list_entry(it, struct client, link), part->arena,
			 &part->rows[part->n++]);
	}
	loop_post(w->control, &part->mail);
}

static void host_connections(void *ctx,
			     void (*done)(void *arg, const struct admin_connection *rows, size_t n),
			     void *arg)
{
	struct control *control = ctx;
	struct connection_list *list = calloc(1, sizeof(*list));
	check(list != NULL);
	list->control = control;
	list->done = done;
	list->arg = arg;
	list->parts = calloc(control->n_workers, sizeof(*list->parts));
	check(list->parts != NULL);
	for (unsigned i = 0; i < control->n_workers; i++) {
		list->parts[i].mail.fn = on_part;
		list->parts[i].list = list;
	}
	workers_call(control, collect, list);
}

/* ---- changing ---- */

static enum err host_reload(void *ctx, struct str *diagnostics)
{
	return control_reload(ctx, diagnostics);
}

static struct pool *find_pool(struct control *control, struct view name)
{
	for (uint32_t i = 0; i < control->current->n_pools; i++)
		if (view_eq(control->current->pools[i].conf->name, name))
			return &control->current->pools[i];
	return NULL;
}

static struct backend *find_backend(struct control *control, struct view pool, struct view name,
				    struct str *why)
{
	struct pool *p = find_pool(control, pool);
	int32_t i = p ? pool_backend_index(p, name) : -1;
	if (!p)
		str_printf(why, "there is no pool '" VIEW_FMT "'", VIEW_ARG(pool));
	else if (i < 0)
		str_printf(why, "there is no backend '" VIEW_FMT "' in pool '" VIEW_FMT "'",
			   VIEW_ARG(name), VIEW_ARG(pool));
	return i < 0 ? NULL : p->backends[i];
}

static enum err host_set_state(void *ctx, struct backend *b, enum backend_state state,
			       struct str *why)
{
	struct control *control = ctx;
	if (state != BACKEND_up && state != BACKEND_draining && state != BACKEND_maintenance) {
		str_text(why, "state must be up, drain or maintenance");
		return ERR_RANGE;
	}
	health_set_admin(control->health, b, state);
	control_announce(control); /* at once: who drains a backend wants to see it drain */
	return ERR_OK;
}

static void on_health_change(void *ctx, struct backend *b, enum backend_state was, const char *why)
{
	const char *name = backend_state_name(backend_state(b));
	bool worse = backend_state_takes_new(was) && !backend_state_takes_new(backend_state(b));
	event_add(EVENT_STATE, b->pool_name, b->name, "%s: %s", name, why);
	log_line(worse ? LOG_LEVEL_WARN : LOG_LEVEL_INFO,
		 "backend " VIEW_FMT "/" VIEW_FMT " (" VIEW_FMT "): %s: %s", VIEW_ARG(b->pool_name),
		 VIEW_ARG(b->name), VIEW_ARG(b->address_text), name, why);
	control_announce_soon(ctx);
}

static void on_health_note(void *ctx, struct backend *b, const char *what)
{
	event_add(EVENT_STATE, b->pool_name, b->name, "%s", what);
	log_info("backend " VIEW_FMT "/" VIEW_FMT " (" VIEW_FMT "): %s", VIEW_ARG(b->pool_name),
		 VIEW_ARG(b->name), VIEW_ARG(b->address_text), what);
	control_announce_soon(ctx);
}

static void on_health_reopened(void *ctx)
{
	control_announce_soon(ctx);
}

struct health_host health_host_of(struct control *control)
{
	return (struct health_host){
	    .ctx = control,
	    .changed = on_health_change,
	    .noted = on_health_note,
	    .reopened = on_health_reopened,
	};
}

static void override_free(struct pool_override *o)
{
	list_del(&o->link);
	free((char *)o->pool.ptr);
	free((char *)o->backend.ptr);
	free((char *)o->added.address_text.ptr);
	free(o);
}

static struct view heap_view(struct view v)
{
	char *copy = malloc(v.len + 1);
	check(copy != NULL);
	if (v.len)
		memcpy(copy, v.ptr, v.len);
	copy[v.len] = '\0';
	return view_of(copy, v.len);
}

/* The override for a backend, made when there is none. */
static struct pool_override *override_of(struct control *control, struct view pool,
					 struct view backend)
{
	list_each (it, &control->overrides) {
		struct pool_override *o = list_entry(it, struct pool_override, link);
		if (view_eq(o->pool, pool) && view_eq(o->backend, backend))
			return o;
	}
	struct pool_override *o = calloc(1, sizeof(*o));
	check(o != NULL);
	o->pool = heap_view(pool);
	o->backend = heap_view(backend);
	list_push_back(&control->overrides, &o->link);
	return o;
}

static enum err host_set_weight(void *ctx, struct view pool, struct view backend, uint32_t weight,
				struct str *why)
{
	struct control *control = ctx;
	if (!find_backend(control, pool, backend, why))
		return ERR_NOENT;
	struct pool_override *o = override_of(control, pool, backend);
	o->has_weight = true;
	o->weight = weight;
	event_add(EVENT_WEIGHT, pool, backend, "weight %u, set by an operator", weight);
	return control_rebuild(control, why);
}

static enum err host_add(void *ctx, struct view pool, const struct conf_backend *backend,
			 struct str *why)
{
	struct control *control = ctx;
	struct pool *p = find_pool(control, pool);
	if (!p) {
		str_printf(why, "there is no pool '" VIEW_FMT "'", VIEW_ARG(pool));
		return ERR_NOENT;
	}
	if (pool_backend_index(p, backend->name) >= 0) {
		str_printf(why, "pool '" VIEW_FMT "' has a backend '" VIEW_FMT "' already",
			   VIEW_ARG(pool), VIEW_ARG(backend->name));
		return ERR_EXISTS;
	}
	struct pool_override *o = override_of(control, pool, backend->name);
	/* nothing of an earlier one of this name counts */
	o->remove = o->has_weight = false;
	free((char *)o->added.address_text.ptr);
	o->added = *backend;
	o->added.name = o->backend;
	o->added.address_text = heap_view(backend->address_text);
	o->add = true;
	event_add(EVENT_ADD, pool, backend->name, "added by an operator");
	return control_rebuild(control, why);
}

/* A backend that is to go once nothing is in flight on it. */
struct removal {
	struct list link;
	struct backend *backend; /* lives as long as the generation that names it */
	struct view pool, name;
};

static enum err host_remove(void *ctx, struct view pool, struct view backend, struct str *why)
{
	struct control *control = ctx;
	struct backend *b = find_backend(control, pool, backend, why);
	if (!b)
		return ERR_NOENT;
	list_each (it, &control->removals)
		if (list_entry(it, struct removal, link)->backend == b)
			return ERR_OK;
	struct removal *r = calloc(1, sizeof(*r));
	check(r != NULL);
	*r = (struct removal){.backend = b, .pool = heap_view(pool), .name = heap_view(backend)};
	list_push_back(&control->removals, &r->link);
	host_set_state(control, b, BACKEND_draining, why);
	host_tick(control);
	return ERR_OK;
}

static void removal_free(struct removal *r)
{
	list_del(&r->link);
	free((char *)r->pool.ptr);
	free((char *)r->name.ptr);
	free(r);
}

static void finish_removal(struct control *control, struct removal *r)
{
	struct str why = STR_INIT;
	struct pool_override *o = override_of(control, r->pool, r->name);
	o->add = false;
	o->remove = true;
	event_add(EVENT_REMOVE, r->pool, r->name, "removed by an operator");
	/* should it come back it starts afresh */
	atomic_store_explicit(&r->backend->state, BACKEND_up, memory_order_relaxed);
	control_rebuild(control, &why);
	str_fini(&why);
	removal_free(r);
}

void host_tick(struct control *control)
{
	list_each_safe (it, tmp, &control->removals) {
		struct removal *r = list_entry(it, struct removal, link);
		struct str why = STR_INIT;
		if (find_backend(control, r->pool, r->name, &why) != r->backend)
			removal_free(r); /* a reload was quicker */
		else if (atomic_load(&r->backend->in_flight) == 0)
			finish_removal(control, r);
		str_fini(&why);
	}
}

void host_clear_overrides(struct control *control)
{
	list_each_safe (it, tmp, &control->overrides)
		override_free(list_entry(it, struct pool_override, link));
}

void host_free(struct control *control)
{
	host_clear_overrides(control);
	list_each_safe (it, tmp, &control->removals)
		removal_free(list_entry(it, struct removal, link));
}

static void host_drain(void *ctx)
{
	control_drain(ctx);
}

static const struct tls_used *host_certificates(void *ctx, size_t *n)
{
	const struct control *control = ctx;
	const struct tls_inventory *all = control->current->certificates;
	*n = all->n;
	return all->rows;
}

struct admin_host host_of(struct control *control)
{
	return (struct admin_host){
	    .ctx = control,
	    .conf = host_conf,
	    .routes = host_routes,
	    .pools = host_pools,
	    .meters = host_meters,
	    .status = host_status,
	    .reload = host_reload,
	    .set_state = host_set_state,
	    .set_weight = host_set_weight,
	    .add = host_add,
	    .remove = host_remove,
	    .drain = host_drain,
	    .certificates = host_certificates,
	    .connections = host_connections,
	};
}
