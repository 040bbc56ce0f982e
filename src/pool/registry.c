/* SPDX-License-Identifier: MIT */
/*
 * Who exists: backends and pool states by name, counted by the generations that
 * use them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "idle_close.h"
#include "registry.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/hash.h"
#include "weir/base/rng.h"

/* Runtime state is irreplaceable: without memory for it, end with a sentence. */
static void *must_alloc(size_t size)
{
	size = (size + WEIR_CACHE_LINE - 1) & ~(size_t)(WEIR_CACHE_LINE - 1);
	void *p = aligned_alloc(WEIR_CACHE_LINE, size);
	if (!p) {
		fprintf(stderr, "weir: out of memory (%zu bytes wanted)\n", size);
		exit(1);
	}
	return memset(p, 0, size);
}

static struct view must_view(struct view v)
{
	char *p = must_alloc(v.len + 1);
	if (v.len)
		memcpy(p, v.ptr, v.len);
	return view_of(p, v.len);
}

static size_t make_key(char *out, size_t size, struct view pool, struct view name, struct view addr)
{
	size_t len = pool.len + name.len + addr.len + 2;
	check(len <= size);
	memcpy(out, pool.ptr, pool.len);
	out[pool.len] = '\0';
	memcpy(out + pool.len + 1, name.ptr, name.len);
	out[pool.len + 1 + name.len] = '\0';
	memcpy(out + pool.len + 2 + name.len, addr.ptr, addr.len);
	return len;
}

static struct backend *backend_new(struct pool_registry *reg, struct view pool,
				   const struct conf_backend *conf, struct view key, uint64_t hash)
{
	struct backend *b = must_alloc(sizeof(*b) + reg->n_workers * sizeof(b->local[0]));
	b->key = must_view(key);
	b->key_hash = hash;
	b->pool_name = view_of(b->key.ptr, pool.len);
	b->name = view_of(b->key.ptr + pool.len + 1, conf->name.len);
	b->address_text =
	    view_of(b->key.ptr + pool.len + 2 + conf->name.len, conf->address_text.len);
	b->address = conf->address;
	b->n_workers = reg->n_workers;
	b->serial = ++reg->last_serial;
	b->since_us = clock_wall_us();
	b->windows = windows_new(clock_us());
	b->failed = windows_new(clock_us());
	b->history = history_new();
	b->scaling = scaling_part_new();
	b->ticked_us = clock_us();
	atomic_store(&b->level_since_us, b->ticked_us);
	rate_push(&b->rate, 0, clock_us()); /* traffic of the first second counts, too */
	atomic_store(&b->learned_idle_us, UINT64_MAX);
	atomic_store(&b->state, BACKEND_up);
	atomic_store(&b->health_share, SHARE_FULL);
	struct backend_local *locals = must_alloc(reg->n_workers * sizeof(*locals));
	for (unsigned i = 0; i < reg->n_workers; i++) {
		b->local[i] = &locals[i];
		list_init(&b->local[i]->idle);
		list_init(&b->local[i]->fresh);
		b->local[i]->fault.backend = b;
		list_init(&b->local[i]->shared);
	}
	list_push_back(&reg->backends, &b->registry_link);
	list_push_back(&reg->by_key[hash % POOL_REGISTRY_KEYS], &b->key_link);
	return b;
}

void registry_limiter(struct pool_registry *reg, struct backend *b, uint32_t max)
{
	struct limiter *limiter = atomic_load(&b->limiter);
	max = max ? max : LIMIT_MAX;
	if (limiter) {
		limiter_set_max(limiter, max);
		return;
	}
	limiter = limiter_new(b->n_workers, max, clock_us());
	reg->n_limiters++;
	atomic_store(&b->limit, limit_now(limiter_limit(limiter)));
	atomic_store(&b->limiter, limiter);
}

void registry_wake_all(struct pool_registry *reg)
{
	list_each (it, &reg->states) {
		struct pool_state *s = list_entry(it, struct pool_state, registry_link);
		for (unsigned i = 0; atomic_load(&s->n_queued) > 0 && i < s->n_workers; i++)
			if (atomic_load(&s->local[i]->head_rank))
				queue_wake_local(s->local[i]);
	}
}

void pool_registry_limits(struct pool_registry *reg, uint64_t now_us)
{
	bool raised = false;
	reg->n_limiters = 0;
	list_each (it, &reg->backends) {
		struct backend *b = list_entry(it, struct backend, registry_link);
		struct limiter *limiter = atomic_load_explicit(&b->limiter, memory_order_relaxed);
		if (!limiter)
			continue;
		reg->n_limiters++;
		uint32_t before = atomic_load_explicit(&b->limit, memory_order_relaxed);
		uint32_t now = limiter_tick(limiter, now_us);
		atomic_store(&b->limit, now);
		raised |= now > before;
	}
	if (raised)
		registry_wake_all(reg);
}

static void backend_free(struct backend *b)
{
	check(atomic_load(&b->in_flight) == 0);
	list_del(&b->registry_link);
	list_del(&b->key_link);
	windows_free(b->windows);
	windows_free(b->failed);
	free(atomic_load(&b->slow));
	limiter_free(atomic_load(&b->limiter));
	history_free(b->history);
	scaling_part_free(b->scaling);
	minute_free(b->minute);
	for (unsigned i = 0; i < b->n_workers; i++) {
		check(list_is_empty(&b->local[i]->idle) && list_is_empty(&b->local[i]->fresh));
		tls_slot_fini(&b->local[i]->tls);
		hist_set_fini(&b->local[i]->ok);
		hist_set_fini(&b->local[i]->failed);
		levels_free(atomic_load(&b->local[i]->levels));
		odd_strata_free(atomic_load(&b->local[i]->odd.strata));
	}
	free(b->local[0]);
	free((char *)b->key.ptr);
	free(b);
}

static struct backend *find_hashed(const struct pool_registry *reg, struct view key, uint64_t hash)
{
	list_each (it, &reg->by_key[hash % POOL_REGISTRY_KEYS]) {
		struct backend *b = list_entry(it, struct backend, key_link);
		if (b->key_hash == hash && view_eq(b->key, key))
			return b;
	}
	return NULL;
}

struct backend *registry_backend_find(const struct pool_registry *reg, struct view key)
{
	return find_hashed(reg, key, hash_view(key, 0));
}

struct backend *registry_backend_get(struct pool_registry *reg, struct view pool,
				     const struct conf_backend *conf)
{
	size_t size = pool.len + conf->name.len + conf->address_text.len + 2;
	char *bytes = must_alloc(size);
	struct view key = {bytes, make_key(bytes, size, pool, conf->name, conf->address_text)};
	uint64_t hash = hash_view(key, 0);
	struct backend *found = find_hashed(reg, key, hash);
	if (!found)
		found = backend_new(reg, pool, conf, key, hash);
	free(bytes);
	found->refs++;
	return found;
}

void registry_backend_put(struct backend *b)
{
	check(b->refs > 0);
	if (--b->refs == 0)
		backend_free(b);
}

/*
 *   IDLE --exchange--> POSTED --letter arrives--> RUNNING --nothing new--> IDLE
 *                        ^                            |
 *                        +----- woken meanwhile ------+
 */
static void on_wake(struct loop *loop, struct mail *mail)
{
	struct pool_state_local *sl = container_of(mail, struct pool_state_local, wake);
	uint8_t running = WAKE_RUNNING;
	(void)loop;
	do {
		atomic_store(&sl->wake_state, WAKE_RUNNING);
		pool_queue_serve(sl);
		running = WAKE_RUNNING;
	} while (!atomic_compare_exchange_strong(&sl->wake_state, &running, WAKE_IDLE));
}

static struct pool_state *state_new(struct pool_registry *reg, struct view name)
{
	struct pool_state *s = must_alloc(sizeof(*s) + reg->n_workers * sizeof(s->local[0]));
	s->name = must_view(name);
	s->history = history_new();
	s->scaling = scaling_new();
	s->told = VERDICT_not_enough_data;
	s->windows = windows_new(clock_us());
	s->n_workers = reg->n_workers;
	atomic_store(&s->retry_tokens, RETRY_RESERVE_PER_S * RETRY_WINDOW_S);
	atomic_store(&s->hedge_milli, HEDGE_ONE);
	atomic_store(&s->usual, ANSWERS_ANY_SIZE);
	for (unsigned i = 0; i < reg->n_workers; i++) {
		struct pool_state_local *sl = must_alloc(sizeof(*sl));
		for (unsigned c = 0; c < N_QUEUE_CLASSES; c++)
			list_init(&sl->queue[c]);
		sl->state = s;
		sl->pw = reg->workers[i];
		sl->wake.fn = on_wake;
		s->local[i] = sl;
	}
	list_push_back(&reg->states, &s->registry_link);
	return s;
}

struct pool_state *registry_state_get(struct pool_registry *reg, struct view name)
{
	struct pool_state *found = NULL;
	list_each (it, &reg->states) {
		struct pool_state *s = list_entry(it, struct pool_state, registry_link);
		if (view_eq(s->name, name))
			found = s;
	}
	if (!found)
		found = state_new(reg, name);
	found->refs++;
	return found;
}

static void state_free(struct pool_state *s)
{
	list_del(&s->registry_link);
	learned_put(s->learned);
	for (unsigned i = 0; i < s->n_workers; i++) {
		check(atomic_load(&s->local[i]->head_rank) == 0);
		free(s->local[i]);
	}
	free((char *)s->name.ptr);
	history_free(s->history);
	scaling_free(s->scaling);
	minute_free(s->minute);
	windows_free(s->windows);
	free(s);
}

/* A wake letter may still be in the post: such a state waits for the next tick. */
static bool state_is_idle(const struct pool_state *s)
{
	for (unsigned i = 0; i < s->n_workers; i++)
		if (atomic_load(&s->local[i]->wake_state) != WAKE_IDLE)
			return false;
	return true;
}

void registry_state_put(struct pool_state *s)
{
	check(s->refs > 0);
	s->refs--;
}

void pool_registry_init(struct pool_registry *reg, unsigned n_workers, struct pool_worker **workers)
{
	*reg = (struct pool_registry){.n_workers = n_workers, .workers = workers};
	list_init(&reg->backends);
	list_init(&reg->states);
	for (size_t i = 0; i < POOL_REGISTRY_KEYS; i++)
		list_init(&reg->by_key[i]);
	for (size_t i = 0; i < sizeof(reg->secret); i += sizeof(uint64_t)) {
		uint64_t word = rng_entropy();
		memcpy(reg->secret + i, &word, sizeof(word));
	}
}

void pool_registry_fini(struct pool_registry *reg)
{
	list_each_safe (it, tmp, &reg->states) {
		struct pool_state *s = list_entry(it, struct pool_state, registry_link);
		check(s->refs == 0);
		state_free(s);
	}
	check(list_is_empty(&reg->backends));
}

static void backend_tick(struct backend *b, uint64_t now_us)
{
	idle_close_fade(b);
	const struct hist_set *sets[WORKERS_MAX], *failed[WORKERS_MAX];
	uint64_t requests = 0, errors = 0;
	size_t n = b->n_workers < ARRAY_LEN(sets) ? b->n_workers : ARRAY_LEN(sets);
	for (size_t i = 0; i < n; i++) {
		sets[i] = &b->local[i]->ok;
		failed[i] = &b->local[i]->failed;
		requests += counter_get(&b->local[i]->counters.requests);
		errors += counter_get(&b->local[i]->counters.errors);
	}
	if (b->windows)
		windows_fold(b->windows, sets, n, now_us);
	if (b->failed)
		windows_fold(b->failed, failed, n, now_us);
	rate_push(&b->rate, requests, now_us);
	atomic_store_explicit(&b->rate_milli, (uint64_t)(rate_per_s(&b->rate) * 1000),
			      memory_order_relaxed);
	insight_backend_tick(b, requests, errors, now_us);
}

/* Each request adds its share; what is not used in ten seconds is lost. */
static void hedge_tick(struct pool_state *s, uint64_t requests)
{
	double gained = (double)(requests - s->hedge_requests) * s->hedge_budget * HEDGE_ONE;
	s->hedge_requests = requests;
	if (s->hedge_budget <= 0)
		return;
	double most = gained * RETRY_WINDOW_S;
	most = most < HEDGE_ONE ? HEDGE_ONE : most > INT32_MAX / 2 ? INT32_MAX / 2 : most;
	double held = atomic_load_explicit(&s->hedge_milli, memory_order_relaxed);
	double add = held + gained > most ? most - held : gained;
	atomic_fetch_add_explicit(&s->hedge_milli, (int32_t)add, memory_order_relaxed);
}

/*
 * The budget's ring keeps totals: a difference of two is what came between.  What
 * is handed out now holds for the next second: with the nine that are past it
 * makes ten.
 */
static void budget_tick(struct pool_state *s)
{
	uint64_t requests = 0, retries = 0;
	for (unsigned i = 0; i < s->n_workers; i++) {
		requests += counter_get(&s->local[i]->counters.requests);
		retries += counter_get(&s->local[i]->counters.retries);
	}
	unsigned n = ARRAY_LEN(s->budget_requests);
	unsigned oldest = s->budget_at;
	s->budget_at = (oldest + 1) % n;
	uint64_t new_requests = requests - s->budget_requests[oldest];
	uint64_t new_retries = retries - s->budget_retries[oldest];
	s->budget_requests[oldest] = requests;
	s->budget_retries[oldest] = retries;
	int64_t tokens = (int64_t)((double)new_requests * s->budget) +
			 RETRY_RESERVE_PER_S * RETRY_WINDOW_S - (int64_t)new_retries;
	if (tokens > INT32_MAX)
		tokens = INT32_MAX;
	atomic_store_explicit(&s->retry_tokens, (int32_t)(tokens < 0 ? 0 : tokens),
			      memory_order_relaxed);
	hedge_tick(s, requests);
}

void pool_registry_tick(struct pool_registry *reg, uint64_t now_us)
{
	list_each (it, &reg->backends)
		backend_tick(list_entry(it, struct backend, registry_link), now_us);
	list_each_safe (it, tmp, &reg->states) {
		struct pool_state *s = list_entry(it, struct pool_state, registry_link);
		if (s->refs == 0 && state_is_idle(s)) {
			state_free(s);
		} else {
			budget_tick(s);
			insight_state_tick(reg, s, now_us);
		}
	}
}

bool pool_retry_allowed(struct pool_state *state)
{
	int32_t before = atomic_fetch_sub_explicit(&state->retry_tokens, 1, memory_order_relaxed);
	if (before > 0)
		return true;
	pool_retry_unused(state);
	return false;
}

void pool_retry_unused(struct pool_state *state)
{
	atomic_fetch_add_explicit(&state->retry_tokens, 1, memory_order_relaxed);
}

bool pool_hedge_allowed(struct pool_state *state)
{
	int32_t before =
	    atomic_fetch_sub_explicit(&state->hedge_milli, HEDGE_ONE, memory_order_relaxed);
	if (before >= HEDGE_ONE && pool_retry_allowed(state))
		return true;
	atomic_fetch_add_explicit(&state->hedge_milli, HEDGE_ONE, memory_order_relaxed);
	return false;
}

void pool_hedge_unused(struct pool_state *state)
{
	atomic_fetch_add_explicit(&state->hedge_milli, HEDGE_ONE, memory_order_relaxed);
	pool_retry_unused(state);
}
