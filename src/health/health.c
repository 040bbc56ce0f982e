/* SPDX-License-Identifier: MIT */
/* Who is to be checked, and when. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "target.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/log.h"

/* ---- active checks ---- */

static void schedule(struct health_target *t, uint64_t after_us)
{
	loop_timer(t->health->loop, &t->due, after_us);
}

static bool start_check(struct health_target *t)
{
	struct backend *b = t->backend;
	list_del(&t->waiting);
	const struct check_job job = {
	    .target = t,
	    .settings = t->pool->settings,
	    .tls = t->pool->tls,
	    .send_proxy = t->pool->send_proxy,
	    .address = &b->address,
	    .address_text = addr_is_unix(&b->address) ? VIEW("localhost") : b->address_text,
	    .running = &t->running,
	};
	if (check_start(&t->health->prober, &job))
		return true;
	list_push_front(&t->health->waiting, &t->waiting);
	return false;
}

/* Not a recursion: a check that fails at once comes back here through on_done. */
static void start_waiting(struct health *h)
{
	if (h->starting)
		return;
	h->starting = true;
	while (!list_is_empty(&h->waiting) &&
	       start_check(list_first(&h->waiting, struct health_target, waiting)))
		;
	h->starting = false;
}

static void on_due(struct timer *timer)
{
	struct health_target *t = container_of(timer, struct health_target, due);
	list_push_back(&t->health->waiting, &t->waiting);
	start_waiting(t->health);
}

static void keep(struct health_facts *facts, const struct check_result *result)
{
	memmove(&facts->checks[1], &facts->checks[0], (CHECKS_KEPT - 1) * sizeof(facts->checks[0]));
	facts->n_checks += facts->n_checks < CHECKS_KEPT;
	facts->checks[0] = (struct health_check){
	    .at_wall_us = clock_wall_us(),
	    .duration_us = result->duration_us,
	    .status = result->status,
	    .ok = result->ok,
	};
	snprintf(facts->checks[0].reason, sizeof(facts->checks[0].reason), "%s", result->reason);
	*(result->ok ? &facts->n_passed : &facts->n_failed) += 1;
}

static uint64_t next_check_us(struct health_target *t)
{
	const struct conf_health *conf = &t->pool->settings->conf;
	if (++t->n_runs == 1)
		return vitals_second_us(conf, t->index, t->pool->n_targets);
	return vitals_wait_us(&t->vitals, conf, (uint32_t)(rng_next(&t->health->rng) >> 32));
}

/* A check that weir itself could not make says nothing about the backend. */
static void on_done(struct health_target *t, const struct check_result *result)
{
	keep(&t->facts, result);
	if (!result->local) {
		vitals_note(&t->vitals, result->ok, &t->pool->settings->conf);
		target_checked(t, result->ok, t->health->loop->now_us - result->duration_us);
	}
	schedule(t, next_check_us(t));
	target_settle(t, result->reason);
	start_waiting(t->health);
}

static void stop_checks(struct health_target *t)
{
	timer_del(&t->due);
	list_del(&t->waiting);
	if (t->running)
		check_cancel(t->running);
}

static void begin_checks(struct health_target *t)
{
	t->n_runs = 0;
	schedule(t, vitals_first_us(&t->pool->settings->conf, t->index, t->pool->n_targets));
}

/* ---- following a generation ---- */

static void *must_calloc(size_t size)
{
	void *p = calloc(1, size);
	check(p != NULL);
	return p;
}

/* Of a state that was there before anybody said why. */
static const char *admin_why_of(enum backend_state state)
{
	return state == BACKEND_gone ? "its source names it no more" : "set by an operator";
}

static struct health_pool *pool_of(struct health *h, struct view name)
{
	list_each (it, &h->pools) {
		struct health_pool *hp = list_entry(it, struct health_pool, link);
		if (view_eq(hp->name, name))
			return hp;
	}
	struct health_pool *hp = must_calloc(sizeof(*hp));
	char *copy = must_calloc(name.len + 1);
	memcpy(copy, name.ptr, name.len);
	hp->name = view_of(copy, name.len);
	hp->health = h;
	list_init(&hp->targets);
	list_push_back(&h->pools, &hp->link);
	return hp;
}

static struct health_target *target_new(struct health_pool *hp, struct backend *b)
{
	struct health_target *t = must_calloc(sizeof(*t));
	enum backend_state state = backend_state(b);
	t->health = hp->health;
	t->pool = hp;
	t->backend = b;
	bool told =
	    state == BACKEND_draining || state == BACKEND_maintenance || state == BACKEND_gone;
	t->admin = told ? state : BACKEND_up;
	t->admin_why = admin_why_of(state);
	t->due.fn = on_due;
	t->since_us = b->since_us;
	target_news_init(t);
	list_init(&t->waiting);
	list_push_back(&hp->targets, &t->link);
	b->health = t;
	target_watch_traffic(t);
	return t;
}

static void target_free(struct health_target *t)
{
	stop_checks(t);
	load_stop(t);
	target_unwatch_traffic(t);
	list_del(&t->link);
	t->backend->health = NULL;
	target_news_fini(t);
}

static void pool_free(struct health_pool *hp)
{
	list_each_safe (it, tmp, &hp->targets)
		target_free(list_entry(it, struct health_target, link));
	pool_stop_outlier(hp);
	list_del(&hp->link);
	health_settings_free(hp->settings);
	tls_client_put(hp->tls);
	tls_client_put(hp->load_tls);
	free((char *)hp->name.ptr);
	free(hp);
}

static bool asks_load(const struct pool *pool)
{
	return pool->conf->prequal.path.ptr && pool->wants_reports;
}

static struct tls_client *new_client(struct health *h, const struct conf_pool *pool,
				     struct view alpn)
{
	const struct tls_client_options options = {
	    .verify = pool->tls.verify,
	    .ca = pool->tls.ca,
	    .sni = pool->tls.sni,
	    .cert = pool->tls.cert,
	    .key = pool->tls.key,
	    .alpn = alpn,
	};
	struct str why = STR_INIT;
	struct tls_client *client = tls_client_new(&h->prober.tls, &options, &why);
	if (!client)
		log_error("pool " VIEW_FMT ": no TLS to ask its backends: " VIEW_FMT,
			  VIEW_ARG(pool->name), VIEW_ARG(str_as_view(&why)));
	str_fini(&why);
	return client;
}

struct health_clients {
	size_t n;
	struct pool_clients {
		struct tls_client *check, *load; /* counted; NULL: plain TCP */
	} of[];                                  /* [n], as the pools */
};

static void clients_of(struct health *h, const struct pool *pool, struct pool_clients *out)
{
	const struct conf_pool *conf = pool->conf;
	bool is_grpc = check_kinds[conf->health.type] == &check_grpc;
	if (conf->health.on)
		out->check = new_client(h, conf, is_grpc ? VIEW("\x02h2") : VIEW("\x08http/1.1"));
	if (asks_load(pool))
		out->load = new_client(h, conf, VIEW("\x08http/1.1"));
}

struct health_clients *health_clients_new(struct health *h, const struct pool *pools, uint32_t n)
{
	struct health_clients *clients = must_calloc(sizeof(*clients) + n * sizeof(clients->of[0]));
	clients->n = n;
	for (uint32_t i = 0; i < n; i++)
		if (pools[i].conf->tls.on)
			clients_of(h, &pools[i], &clients->of[i]);
	return clients;
}

void health_clients_free(struct health_clients *clients)
{
	for (size_t i = 0; i < clients->n; i++) {
		tls_client_put(clients->of[i].check);
		tls_client_put(clients->of[i].load);
	}
	free(clients);
}

static void swap(struct tls_client **a, struct tls_client **b)
{
	struct tls_client *c = *a;
	*a = *b;
	*b = c;
}

/* Checks use the TLS of real traffic; true when it is another one now. */
static bool follow_tls(struct health_pool *hp, struct pool_clients *next)
{
	swap(&hp->tls, &next->check);
	const struct tls_client *old = next->check;
	return old && hp->tls ? tls_client_id(old) != tls_client_id(hp->tls) : old != hp->tls;
}

/* Other settings: checks begin anew.  A backend that served without any is taken
 * to be up until they say otherwise; a verdict they gave before stays. */
static void follow_settings(struct health_pool *hp, const struct conf_pool *pool,
			    struct pool_clients *clients)
{
	const struct conf_health *conf = &pool->health;
	bool new_way = follow_tls(hp, clients) | (hp->send_proxy != pool->send_proxy);
	hp->send_proxy = pool->send_proxy;
	if (hp->settings ? health_settings_same(hp->settings, conf) && !new_way : !conf->on)
		return;
	struct str why = STR_INIT;
	struct health_settings *next = conf->on ? health_settings_new(conf, &why) : NULL;
	check(next || !conf->on); /* health_accepts has tried it */
	str_fini(&why);
	list_each (it, &hp->targets) {
		struct health_target *t = list_entry(it, struct health_target, link);
		stop_checks(t);
		t->vitals.against = 0;
		t->n_runs = 0;
		if (!hp->settings)
			t->vitals.is = VITALS_UP;
		if (!next) {
			t->vitals.is = VITALS_UNKNOWN;
			t->facts.n_checks = 0;
		}
	}
	health_settings_free(hp->settings);
	hp->settings = next;
}

static void follow_load(struct health_pool *hp, const struct pool *pool,
			struct pool_clients *clients)
{
	const struct conf_pool *conf = pool->conf;
	swap(&hp->load_tls, &clients->load);
	bool asks = asks_load(pool) && (!conf->tls.on || hp->load_tls);
	list_each (it, &hp->targets) {
		struct health_target *t = list_entry(it, struct health_target, link);
		t->facts.asked_load = asks;
		if (asks)
			load_follow(t, conf, hp->load_tls);
		else
			load_stop(t);
		target_tell(t);
	}
}

/* Of a state that differs because of the configuration, or was there before the target. */
static const char *why_now(enum backend_state state)
{
	switch (state) {
	case BACKEND_unknown:
		return "not checked yet";
	case BACKEND_draining:
	case BACKEND_maintenance:
	case BACKEND_gone:
		return admin_why_of(state);
	default:
		return "no health checks any more";
	}
}

static void follow_pool(struct health *h, const struct pool *pool, struct pool_clients *clients)
{
	struct health_pool *hp = pool_of(h, pool->conf->name);
	hp->seen = true;
	follow_settings(hp, pool->conf, clients);
	hp->n_targets = pool->n;
	for (uint32_t i = 0; i < pool->n; i++) {
		struct backend *b = pool->backends[i];
		struct health_target *t = b->health ? b->health : target_new(hp, b);
		t->seen = true;
		t->index = i;
		t->weight = pool->weights[i];
		t->facts.checked = hp->settings != NULL;
		if (hp->settings && !t->running && !timer_is_set(&t->due) &&
		    !list_is_linked(&t->waiting))
			begin_checks(t);
		target_settle(t, why_now(target_state(t)));
	}
	follow_load(hp, pool, clients);
	pool_follow_outlier(hp, &pool->conf->outlier);
	pool_follow_odd(hp, pool);
}

static void forget_unseen(struct health *h)
{
	list_each_safe (it, tmp, &h->pools) {
		struct health_pool *hp = list_entry(it, struct health_pool, link);
		list_each_safe (node, next, &hp->targets) {
			struct health_target *t = list_entry(node, struct health_target, link);
			if (!t->seen)
				target_free(t);
			else
				t->seen = false;
		}
		if (!hp->seen)
			pool_free(hp);
		else
			hp->seen = false;
	}
}

void health_follow(struct health *h, const struct pool *pools, uint32_t n,
		   struct health_clients *clients)
{
	check(clients->n == n);
	h->control_waits = true;
	for (uint32_t i = 0; i < n; i++)
		follow_pool(h, &pools[i], &clients->of[i]);
	forget_unseen(h);
	h->control_waits = false;
}

/* ---- the rest ---- */

bool health_accepts(const struct conf *conf, struct str *why)
{
	for (size_t i = 0; i < conf->n_pools; i++) {
		const struct conf_pool *pool = &conf->pools[i];
		if (!pool->health.on)
			continue;
		struct str reason = STR_INIT;
		struct health_settings *s = health_settings_new(&pool->health, &reason);
		if (!s)
			str_printf(why, "pool " VIEW_FMT ": health.body: %s\n",
				   VIEW_ARG(pool->name), reason.ptr);
		health_settings_free(s);
		str_fini(&reason);
		if (!s)
			return false;
	}
	return true;
}

void health_set_admin(struct health *h, struct backend *b, enum backend_state admin,
		      const char *why)
{
	struct health_target *t = b->health;
	check(t != NULL);
	h->control_waits = true;
	t->admin = admin;
	t->admin_why = why;
	target_settle(t, why);
	h->control_waits = false;
}

struct health *health_new(struct loop *loop, const struct health_host *host)
{
	struct health *h = must_calloc(sizeof(*h));
	h->loop = loop;
	h->host = *host;
	rng_init(&h->rng, rng_entropy());
	list_init(&h->pools);
	list_init(&h->waiting);
	prober_init(&h->prober, loop, on_done);
	return h;
}

void health_free(struct health *h)
{
	if (!h)
		return;
	list_each_safe (it, tmp, &h->pools)
		pool_free(list_entry(it, struct health_pool, link));
	prober_fini(&h->prober);
	free(h);
}
