/* SPDX-License-Identifier: MIT */
/*
 * Generations: built whole beside the running one; published by letter; freed
 * when every worker has let go.
 */
#include <stdlib.h>

#include "control.h"
#include "members.h"

#include "weir/base/check.h"
#include "weir/filter/passwords.h"
#include "weir/proxy/per_client.h"

struct shared_conf *shared_conf_new(struct conf *conf, struct str *why)
{
	struct route_table *routes = health_accepts(conf, why) ? route_table_new(conf, why) : NULL;
	if (!routes) {
		conf_hide(conf, why);
		return NULL;
	}
	struct shared_conf *shared = calloc(1, sizeof(*shared));
	check(shared != NULL);
	*shared = (struct shared_conf){.conf = conf, .routes = routes, .refs = 1};
	return shared;
}

void shared_conf_put(struct shared_conf *shared)
{
	if (--shared->refs > 0)
		return;
	route_table_free(shared->routes);
	conf_free(shared->conf);
	free(shared);
}

static bool open_listeners(struct control *control, struct generation *gen, struct str *why)
{
	const struct conf *conf = gen->conf;
	size_t n = 0;
	for (size_t i = 0; i < conf->n_listeners; i++)
		n += conf->listeners[i].n_binds;
	gen->listeners = arena_array(gen->arena, n, sizeof(*gen->listeners));
	for (size_t i = 0; i < conf->n_listeners; i++) {
		const struct conf_listener *cl = &conf->listeners[i];
		for (size_t k = 0; k < cl->n_binds; k++) {
			struct listener *l =
			    listener_get(control, &cl->binds[k], cl->bind_texts[k], why);
			if (!l)
				return false;
			gen->listeners[gen->n_listeners++] =
			    (struct gen_listener){.conf = cl, .listener = l};
		}
	}
	return true;
}

static void build_pools(struct control *control, struct generation *gen)
{
	const struct conf *conf = gen->conf;
	gen->pools = arena_array(gen->arena, conf->n_pools, sizeof(*gen->pools));
	gen->n_pools = (uint32_t)conf->n_pools;
	for (uint32_t i = 0; i < gen->n_pools; i++)
		pool_build(&gen->pools[i],
			   members_pool(control->members, &conf->pools[i], gen->arena),
			   &control->registry, &control->overrides, gen->arena);
}

static void build_locals(struct control *control, struct generation *gen)
{
	gen->n_workers = control->n_workers;
	gen->local = arena_array(gen->arena, gen->n_workers, sizeof(*gen->local));
	for (unsigned w = 0; w < gen->n_workers; w++) {
		struct gen_local *gl = &gen->local[w];
		gl->gen = gen;
		gl->worker = control->workers[w];
		gl->views = arena_array(gen->arena, gen->n_pools, sizeof(*gl->views));
		for (uint32_t i = 0; i < gen->n_pools; i++)
			pool_view_init(&gl->views[i], &gen->pools[i], control->pool_workers[w],
				       gen->arena);
	}
}

/* Of the status port; those of routes are the filters'. */
static bool get_users(struct generation *gen, struct str *why)
{
	const struct conf_auth_basic *basic = &gen->conf->status.auth.basic;
	if (!basic->on)
		return true;
	if (passwords_start(gen->n_workers, why))
		gen->status_users = users_get(basic->file, why);
	return gen->status_users != NULL;
}

struct generation *generation_new(struct control *control, struct shared_conf *shared,
				  struct str *why)
{
	struct arena *arena = arena_new();
	struct generation *gen = arena_zalloc(arena, sizeof(*gen));
	gen->arena = arena;
	gen->id = ++control->next_generation;
	gen->conf = shared->conf;
	gen->routes = shared->routes;
	for (size_t i = 0; i < shared->conf->n_pools; i++)
		gen->sends_proxy |= shared->conf->pools[i].send_proxy != CONF_PROXY_OFF;
	gen->access_log = !view_eq(shared->conf->log.access.path, VIEW("off"));
	for (size_t i = 0; i < shared->conf->n_routes; i++)
		gen->limits_bodies |= shared->conf->routes[i].limits.body_bytes_set;
	gen->tracing = shared->conf->tracing.on;
	gen->users_mark = users_mark(shared->conf); /* before they are read */
	gen->owner = control;
	gen->shared = shared;
	shared->refs++;
	list_push_back(&control->generations, &gen->link);
	bool ok = open_listeners(control, gen, why);
	if (ok) {
		build_pools(control, gen);
		meters_get(control, gen);
		build_locals(control, gen);
		ok = filter_set_build(&gen->filters, shared->conf, gen->n_workers, arena, why) &&
		     get_users(gen, why) && per_client_prepare(shared->conf, why) &&
		     tls_build(control, gen, why);
	}
	if (ok)
		return gen;
	conf_hide(gen->conf, why);
	generation_free(gen);
	return NULL;
}

void generation_free(struct generation *gen)
{
	tls_release(gen);
	filter_set_release(&gen->filters);
	users_put(gen->status_users);
	for (uint32_t i = 0; i < gen->n_listeners; i++)
		listener_put(gen->listeners[i].listener);
	for (uint32_t i = 0; i < gen->n_pools; i++)
		pool_release(&gen->pools[i]);
	list_del(&gen->link);
	shared_conf_put(gen->shared);
	meters_put(gen);
	arena_free(gen->arena);
}

/* In the worker's thread. */
static void on_publish(struct loop *loop, struct mail *mail)
{
	struct gen_local *gl = container_of(mail, struct gen_local, mail);
	worker_adopt(loop->owner, gl);
}

/* Back in the control thread: this worker has let go. */
void generation_released(struct gen_local *gl)
{
	struct generation *gen = gl->gen;
	check(gen->n_live > 0);
	if (--gen->n_live == 0)
		generation_free(gen);
}

void generation_publish(struct control *control, struct generation *gen)
{
	gen->n_live = gen->n_workers;
	control->current = gen;
	control->shared = gen->shared;
	probing_follow(control->probing, gen);
	listeners_retire(control);
	circles_warn(gen);
	for (unsigned w = 0; w < gen->n_workers; w++) {
		struct gen_local *gl = &gen->local[w];
		gl->mail.fn = on_publish;
		loop_post(&gl->worker->loop, &gl->mail);
	}
	workers_barrier(control, listeners_prune);
}

enum err control_rebuild(struct control *control, struct str *why)
{
	struct generation *gen = generation_new(control, control->shared, why);
	if (!gen)
		return ERR_IO;
	generation_publish(control, gen);
	return ERR_OK;
}
