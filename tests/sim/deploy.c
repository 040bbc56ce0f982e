/* SPDX-License-Identifier: MIT */
#include "deploy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/pool/world.h"
#include "weir/base/hash.h"
#include "weir/health/health.h"

#define S 1e6
#define WORKERS 2
#define SERVICE_US 20000.0
#define BAD 2 /* the backend */
#define STEP_US 5000
#define ROUTES 8
#define SOUND_BYTES 5000
#define SMALL_BYTES 8
/* Of the share after the mending. */
#define WINDOW_US 250000.0

struct request {
	double at, since;
	uint32_t client;
	unsigned status;
	uint64_t bytes; /* of a sound answer */
	uint8_t type;   /* the same */
	bool coded;     /* the same */
	struct lease lease;
};

/* Answers of a backend in a second of which the median is told. */
#define TAKEN_MAX 1024
#define TAKEN_LEAST 5
#define TAKEN_SECONDS 60

struct taken {
	uint32_t n, us[TAKEN_MAX];
};

struct run {
	const struct deploy *what;
	struct taken taken[DEPLOY_BACKENDS][TAKEN_SECONDS];
	unsigned second; /* so far */
	struct world world;
	struct world_gen gen;
	struct loop watcher;
	struct health *health;
	struct rng rng;
	struct request *heap;
	size_t n_heap, max_heap;
	double now, looked;
	bool look;
	uint64_t late, late_bad, window_all, window_bad;
	double window_from, last_bad;
	struct deployed out;
};

/* ---- random ---- */

/* What weir asks the system for: a seed decides all of a run. */
static struct rng entropy = {{1, 2, 3, 4}};
uint64_t __wrap_rng_entropy(void);
uint64_t __wrap_rng_entropy(void)
{
	return rng_next(&entropy);
}

static double uniform(struct run *r)
{
	return ((double)(rng_next(&r->rng) >> 11) + 0.5) / 9007199254740992.0;
}

static double exponential(struct run *r, double mean)
{
	return -log(uniform(r)) * mean;
}

/* ---- what weir tells ---- */

static void on_changed(void *ctx, struct backend *b, const struct health_change *change)
{
	struct run *r = ctx;
	r->out.ejections += change->now == BACKEND_ejected;
	if (!r->out.event[0] && change->now == BACKEND_ejected)
		snprintf(r->out.event, sizeof(r->out.event), VIEW_FMT ": %s", VIEW_ARG(b->name),
			 change->why);
}

static void on_noted(void *ctx, struct backend *b, const char *what)
{
	(void)ctx;
	(void)b;
	(void)what;
}

static void on_look(void *ctx)
{
	struct run *r = ctx;
	r->look = true;
}

/* ---- time ---- */

static void push(struct run *r, const struct request *q)
{
	if (r->n_heap == r->max_heap) {
		r->max_heap = r->max_heap ? 2 * r->max_heap : 256;
		r->heap = realloc(r->heap, r->max_heap * sizeof(*r->heap));
		check(r->heap != NULL);
	}
	size_t k = r->n_heap++;
	for (; k > 0 && r->heap[(k - 1) / 2].at > q->at; k = (k - 1) / 2)
		r->heap[k] = r->heap[(k - 1) / 2];
	r->heap[k] = *q;
}

static struct request pop(struct run *r)
{
	struct request first = r->heap[0], q = r->heap[--r->n_heap];
	size_t k = 0;
	for (size_t child; (child = 2 * k + 1) < r->n_heap; k = child) {
		child += child + 1 < r->n_heap && r->heap[child + 1].at < r->heap[child].at;
		if (r->heap[child].at >= q.at)
			break;
		r->heap[k] = r->heap[child];
	}
	r->heap[k] = q;
	return first;
}

static uint64_t clock_of(double now)
{
	return (uint64_t)(1000 * S + now);
}

static void refresh(struct run *r)
{
	r->look = false;
	for (unsigned w = 0; w < WORKERS; w++)
		pool_view_refresh(&r->gen.views[w]);
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

static void add_taken(struct taken *all, const struct taken *t)
{
	for (uint32_t k = 0; k < t->n && all->n < TAKEN_MAX; k++)
		all->us[all->n++] = t->us[k];
}

static uint64_t median_of(struct taken *t)
{
	qsort(t->us, t->n, sizeof(t->us[0]), by_value);
	return t->n >= TAKEN_LEAST ? t->us[t->n / 2] : 0;
}

/* As the control thread does once a second: pool/typical.c. */
static void tell_medians(struct run *r)
{
	for (unsigned i = 0; i < DEPLOY_BACKENDS; i++) {
		struct backend *b = r->gen.pool.backends[i];
		struct taken all = {.n = 0};
		unsigned k = 0;
		for (; k < TAKEN_SECONDS && (all.n < TAKEN_LEAST || (k != 1 && k != 10)); k++)
			add_taken(&all,
				  &r->taken[i][(r->second + TAKEN_SECONDS - k) % TAKEN_SECONDS]);
		atomic_store(&b->newest_us, median_of(&all));
		atomic_store(&b->newest_span_us, (uint64_t)(k * S));
		r->taken[i][(r->second + 1) % TAKEN_SECONDS].n = 0;
	}
	r->second++;
}

static void note_taken(struct run *r, uint32_t i, uint64_t us)
{
	struct taken *t = &r->taken[i][r->second % TAKEN_SECONDS];
	if (t->n < TAKEN_MAX)
		t->us[t->n++] = (uint32_t)us;
}

/* Other threads do what is due up to now. */
static void advance(struct run *r, double now)
{
	r->now = now;
	for (; r->looked + STEP_US <= now; r->looked += STEP_US) {
		r->watcher.now_us = clock_of(r->looked + STEP_US);
		timer_wheel_run(&r->watcher.timers, r->watcher.now_us);
		while (loop_read_mail(&r->watcher))
			;
		if (fmod(r->looked, S) < STEP_US)
			tell_medians(r);
		if (r->look || fmod(r->looked, 100000) < STEP_US)
			refresh(r);
	}
	for (unsigned w = 0; w < WORKERS; w++)
		r->world.loops[w].now_us = clock_of(now);
}

/* ---- requests ---- */

static bool is_bad_now(const struct run *r, uint32_t i)
{
	const struct deploy *d = r->what;
	double from = d->from_s * S +
		      (d->all ? 300000.0 * ((i + DEPLOY_BACKENDS - BAD) % DEPLOY_BACKENDS) : 0);
	bool is_one = d->all || i == BAD || (d->two && i == BAD + 1);
	return d->status != DEPLOY_NOTHING && is_one && r->now >= from && r->now < d->until_s * S;
}

/* What a sound backend answers. */
static unsigned sound_status(struct run *r, uint32_t client, uint32_t route)
{
	switch (r->what->who) {
	case DEPLOY_ROUTES:
	case DEPLOY_FAST:
		/* from never to nearly always, and everything swings within minutes */
		return uniform(r) < (double)route / ROUTES * (0.5 + 0.5 * sin(r->now / (60 * S)))
			   ? 404
			   : DEPLOY_SOUND;
	case DEPLOY_KEYS:
	case DEPLOY_PINS:
		return client % 10 == 3 ? 403 : DEPLOY_SOUND;
	case DEPLOY_MANY:
		return uniform(r) < 0.6 ? 401 : DEPLOY_SOUND;
	case DEPLOY_ANY:
		break;
	}
	return DEPLOY_SOUND;
}

static bool take(struct run *r, uint32_t client, unsigned w, struct lease *lease)
{
	struct pool_view *view = &r->gen.views[w];
	struct pool_worker *pw = &r->world.pws[w];
	if (r->what->who == DEPLOY_PINS)
		return pool_take_pinned(view, pw, client % DEPLOY_BACKENDS, lease) == POOL_TAKEN;
	uint64_t key = r->what->who == DEPLOY_KEYS ? hash_mix(client + 1) : 0;
	struct pool_tried tried = {.n = 0};
	return pool_take(view, pw, &tried, key, lease) == POOL_TAKEN;
}

static uint32_t draw_route(struct run *r)
{
	/* each is asked for twice as often as the next */
	uint32_t route = 0;
	while (route + 1 < ROUTES && uniform(r) < 0.5)
		route++;
	return route;
}

static bool has_routes(const struct run *r)
{
	return r->what->who == DEPLOY_ROUTES || r->what->who == DEPLOY_FAST;
}

/* Routes are of different types, some of what the client accepts, or as the moment has it; a
 * client takes it encoded or not. */
static void draw_form(struct run *r, struct request *q, uint32_t route)
{
	static const struct view types[] = {VIEW("application/json"), VIEW("text/html"),
					    VIEW("image/png"), VIEW("text/css")};
	struct view media = types[0];
	if (has_routes(r)) {
		media = types[route % ARRAY_LEN(types)];
		if (uniform(r) < (double)(route % 3) / 3)
			media = types[uniform(r) < 0.5 + 0.5 * sin(r->now / (90 * S))];
		q->coded = uniform(r) < 0.4;
	}
	q->type = answer_type(media, q->coded);
}

static void begin(struct run *r, uint32_t client)
{
	struct request q = {.since = r->now, .client = client};
	unsigned w = client % WORKERS;
	uint32_t route = has_routes(r) ? draw_route(r) : 0;
	char path[16];
	if (!take(r, client, w, &q.lease)) { /* nobody there: again soon */
		q.at = r->now + SERVICE_US;
		q.lease.backend = NULL;
		push(r, &q);
		return;
	}
	snprintf(path, sizeof(path), "/%u/%u", route, rng_below(&r->rng, 20));
	if (r->gen.views[w].watched)
		q.lease.stratum = 1 + odd_stratum(route, VIEW("GET"), view_str(path));
	/* pages of a route differ, and routes more */
	q.bytes = has_routes(r) ? 1 + (uint64_t)exponential(r, 20u << 2 * route) : SOUND_BYTES;
	draw_form(r, &q, route);
	bool bad = is_bad_now(r, q.lease.index) && (!r->what->half || uniform(r) < 0.5),
	     fast = (r->what->leads || r->what->who == DEPLOY_FAST) && q.lease.index == BAD;
	q.status = bad ? r->what->status : sound_status(r, client, route);
	q.at = r->now + (bad ? (double)r->what->fails_us
			     : exponential(r, fast ? SERVICE_US / 40 : SERVICE_US));
	push(r, &q);
}

/* Answers of the bad one, late; its share, mended. */
static void watch(struct run *r, const struct request *q, bool bad)
{
	const struct deploy *d = r->what;
	r->out.n++;
	if (d->until_s <= 0)
		return;
	double from = d->from_s * S, until = d->until_s * S;
	if (q->at >= from + 5 * S && q->at < until) {
		r->late++;
		r->late_bad += bad;
	}
	if (bad && q->at >= from && !q->lease.is_try && q->at < until)
		r->last_bad = q->at;
	if (q->at < until || r->out.back_s >= 0)
		return;
	if (q->at - r->window_from > WINDOW_US) {
		r->window_all = r->window_bad = 0;
		r->window_from = q->at;
	}
	r->window_all++;
	r->window_bad += q->lease.index == BAD && !bad;
	if (r->window_all >= 8 && r->window_bad * 2 * DEPLOY_BACKENDS >= r->window_all)
		r->out.back_s = (q->at - until) / S;
}

/* What the answer is. */
static void note_answer(struct request *q)
{
	if ((q->lease.stratum || q->lease.is_try) && q->status / 100 == 2)
		q->lease.type = q->status == DEPLOY_HTML    ? ANSWER_TYPE_html
				: q->status == DEPLOY_CODED ? ANSWER_TYPE_coded_json
							    : q->type;
	if (q->status != DEPLOY_RESETS)
		lease_answered(&q->lease, q->status / 100 == 2 ? 200 : q->status, false);
	if (q->status == DEPLOY_UNASKED)
		q->lease.answer = ANSWER_unasked;
	else if (q->status == DEPLOY_CODED || (q->status == DEPLOY_SOUND && q->coded))
		q->lease.answer = ANSWER_coded;
	else if (q->status / 100 == 2)
		q->lease.answer = answer_of_size(q->status == DEPLOY_EMPTY   ? 0
						 : q->status == DEPLOY_SMALL ? SMALL_BYTES
									     : q->bytes);
}

/* As proxy/attempt.c does. */
static void end(struct run *r, struct request *q)
{
	bool usual = q->status == DEPLOY_SOUND || (r->what->who == DEPLOY_MANY && q->status == 401);
	bool bad = !usual,
	     fault = (q->status >= 500 && q->status != 501) || q->status == DEPLOY_RESETS;
	uint64_t took = (uint64_t)(q->at - q->since) + 1;
	watch(r, q, bad);
	note_taken(r, q->lease.index, took);
	note_answer(q);
	if (fault)
		lease_fault(&q->lease, q->status ? NULL : "it was reset", (uint16_t)q->status);
	q->lease.served = !fault;
	lease_drop(&q->lease, fault || (q->status == 429 && !q->lease.bound), took);
}

/* ---- a run ---- */

static void set_up(struct run *r, const struct deploy *what)
{
	const struct health_host host = {.ctx = r,
					 .changed = on_changed,
					 .noted = on_noted,
					 .look = on_look,
					 .loop = &r->watcher};
	*r = (struct run){.what = what, .out.back_s = -1};
	rng_init(&r->rng, what->seed);
	rng_init(&entropy, what->seed + 1);
	world_init(&r->world, WORKERS, DEPLOY_BACKENDS);
	r->world.conf.balance = view_str(what->balance);
	r->world.conf.hash.fallback = VIEW("least-request");
	r->world.conf.outlier = (struct conf_outlier){
	    .on = true,
	    .odd = true,
	    .consecutive_errors = 5,
	    .interval_us = (uint64_t)(10 * S),
	    .eject_us = (uint64_t)(30 * S),
	    .max_eject_us = (uint64_t)(300 * S),
	    .max_ejected = 0.3,
	};
	if (what->weighted)
		r->world.backends[BAD].weight = 2;
	world_build(&r->world, &r->gen);
	check(loop_init(&r->watcher, "watcher") == ERR_OK);
	r->watcher.now_us = clock_of(0);
	timer_wheel_init(&r->watcher.timers, r->watcher.now_us);
	r->health = health_new(&r->watcher, &host);
	struct health_clients *clients = health_clients_new(r->health, &r->gen.pool, 1);
	health_follow(r->health, &r->gen.pool, 1, clients);
	health_clients_free(clients);
}

static void tear_down(struct run *r)
{
	for (; r->n_heap;) {
		struct request q = pop(r);
		if (q.lease.backend)
			lease_drop(&q.lease, false, 0);
	}
	health_free(r->health);
	while (loop_read_mail(&r->watcher))
		;
	world_release(&r->world, &r->gen);
	loop_fini(&r->watcher);
	world_fini(&r->world);
	free(r->heap);
}

static void arrive(struct run *r, double *next)
{
	advance(r, *next);
	begin(r, rng_below(&r->rng, 1000));
	*next += exponential(r, S / r->what->rate);
}

static void finish_first(struct run *r)
{
	struct request q = pop(r);
	advance(r, q.at);
	if (q.lease.backend)
		end(r, &q);
	if (r->what->clients)
		begin(r, q.client);
}

struct deployed deploy(const struct deploy *what)
{
	struct run *r = calloc(1, sizeof(*r));
	bool noted = false;
	check(r);
	set_up(r, what);
	double next = what->clients ? INFINITY : exponential(r, S / what->rate);
	for (uint32_t c = 0; c < what->clients; c++)
		begin(r, c);
	while (r->now < what->end_s * S) {
		if (!noted && what->until_s > 0 && r->now >= what->until_s * S - 10000) {
			noted = true;
			snprintf(r->out.reason, sizeof(r->out.reason), "%s",
				 r->gen.pool.backends[BAD]->reason);
		}
		if (r->n_heap == 0 || next < r->heap[0].at) {
			arrive(r, &next);
			continue;
		}
		finish_first(r);
	}
	r->out.share = r->late ? (double)r->late_bad / (double)r->late : 0;
	r->out.left_s = r->last_bad > 0 ? r->last_bad / S - what->from_s : 0;
	struct deployed out = r->out;
	tear_down(r);
	free(r);
	return out;
}
