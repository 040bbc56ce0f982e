/* SPDX-License-Identifier: MIT */
/*
 * Connections to backends: opened within bounds, kept while idle, closed before the backend
 * closes them.
 */
#include "weir/pool/upconn.h"

#include <stddef.h>

#include "idle_close.h"
#include "registry.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/net/socket.h"

/* Backend readable comes before client readable within a turn: finish
 * responses before starting requests. */
#define UPCONN_PRIORITY 1

/* Idle connections looked at for one that began with the same PROXY header. */
#define INTRO_LOOKS 32

/* How much earlier than the backend's own timeout we stop to use a connection. */
#define IDLE_MARGIN_US 500000
/* More than keepalive.max_idle, so many times at most, are kept so long: who has just been
 * in use all at once is about to be again. */
#define BURST_TIMES 8u
#define BURST_IDLE_US 2000000

/* After each failed connect in a row a quarter, so often. */
#define BACKOFF_STEPS 3
/* While connects succeed so many times the bound: a burst of clients is no silence. */
#define OPENS_TIMES 16

static void count_up(_Atomic uint32_t *n, int by)
{
	atomic_fetch_add_explicit(n, (uint32_t)by, memory_order_relaxed);
}

/* ---- being opened ---- */

/*
 * A peer that is slow to accept, or never does, must not draw all descriptors and
 * requests to itself: limits.connecting bounds what is under way, and the less it
 * comes to anything the fewer tries there are at once.  `crowded` tells the request
 * path in the line it has anyway; only who opens or closes looks at the counts.
 */
static uint32_t opening_max(const struct pool *pool, const struct backend *b)
{
	uint32_t most = pool->conf->limits.connecting;
	uint32_t row = atomic_load_explicit(&b->connect_row, memory_order_relaxed);
	if (row == CONNECT_ROW_OPENS)
		return most < UINT32_MAX / OPENS_TIMES ? most * OPENS_TIMES : most;
	uint32_t failed = row ? row - CONNECT_ROW_OPENS : 0;
	uint32_t part = most >> 2 * (failed < BACKOFF_STEPS ? failed : BACKOFF_STEPS);
	return most && !part ? 1 : part;
}

static bool begin_opening(const struct pool *pool, struct backend *b)
{
	uint32_t most = opening_max(pool, b), before = atomic_fetch_add(&b->n_opening, 1);
	if (most && before + 1 >= most)
		atomic_store(&b->crowded, true);
	if (!most || before < most)
		return true;
	atomic_fetch_sub(&b->n_opening, 1);
	return false;
}

/* The count first, then a look whether anybody waits: as with slots, no wake-up is lost. */
static void end_opening(struct backend *b, struct pool_state *state)
{
	uint32_t left = atomic_fetch_sub(&b->n_opening, 1) - 1;
	if (likely(!atomic_load(&b->crowded)))
		return;
	/* or as good as: who finds it full says so again; but while failures keep the bound
	 * low, those under way may be far above it, and whoever is woken would be turned away */
	if (left == 0 ||
	    atomic_load_explicit(&b->connect_row, memory_order_relaxed) <= CONNECT_ROW_OPENS)
		atomic_store(&b->crowded, false);
	if (atomic_load(&state->n_queued) > 0)
		queue_wake(state, NULL);
}

void upconn_opened(struct upconn *up)
{
	struct pool_state *state = up->opening;
	if (!state)
		return;
	up->opening = NULL;
	_Atomic uint32_t *row = &up->backend->connect_row;
	if (unlikely(atomic_load_explicit(row, memory_order_relaxed) != CONNECT_ROW_OPENS))
		atomic_store_explicit(row, CONNECT_ROW_OPENS, memory_order_relaxed);
	end_opening(up->backend, state);
}

enum upconn_way upconn_way(const struct pool *pool, const struct pool_worker *pw,
			   const struct backend *backend)
{
	const struct backend_local *local = backend->local[pw->id];
	enum upconn_way way = pw->way ? pw->way(local) : WAY_OPEN;
	if (way != WAY_OPEN)
		return way;
	uint32_t most = opening_max(pool, backend);
	if (!most || atomic_load(&backend->n_opening) < most)
		return WAY_OPEN;
	return !pool->conf->send_proxy && local->n_idle > 0 ? WAY_JOIN : WAY_CROWDED;
}

void upconn_way_closed(struct backend *backend)
{
	atomic_store(&backend->crowded, true);
}

void upconn_way_opened(struct backend *backend, struct pool_state_local *sl)
{
	atomic_store(&backend->crowded, false);
	if (atomic_load(&sl->state->n_queued) > 0)
		queue_wake_local(sl);
}

/* ---- idle ones ---- */

static void show_idle(struct backend_local *local)
{
	atomic_store_explicit(&local->n_idle_shown, local->n_idle, memory_order_relaxed);
}

static void idle_unlink(struct upconn *up)
{
	list_del(&up->idle_link);
	up->local->n_idle--;
	show_idle(up->local);
	timer_clear(&up->timer);
}

/* The backend closed a connection that lay idle. */
static void learn_idle_close(const struct upconn *up)
{
	uint64_t now_us = up->pw->loop->now_us;
	idle_close_learn(up->backend, now_us - up->idle_since_us, now_us);
}

/* Of this turn: fresh.  With another turn those that were are so no longer. */
static inline void begin_fresh(struct backend_local *local, const struct pool_worker *pw)
{
	if (local->fresh_turn == pw->loop->n_turns)
		return;
	local->fresh_turn = pw->loop->n_turns;
	list_splice_front(&local->idle, &local->fresh);
}

/* It is watched: when the next turn begins with no event, there was nothing to read. */
static void push_fresh(struct upconn *up)
{
	begin_fresh(up->local, up->pw);
	list_push_front(&up->local->fresh, &up->idle_link);
}

/* Asks it; closed, if the peer has closed or sent what nobody asked for. */
static bool close_spoilt(struct upconn *up)
{
	if (!stream_is_spoilt(&up->stream))
		return false;
	learn_idle_close(up);
	upconn_close(up);
	return true;
}

static void on_idle_readable(struct stream *stream)
{
	struct upconn *up = container_of(stream, struct upconn, stream);
	check_magic(up, UPCONN_MAGIC);
	if (close_spoilt(up))
		return;
	/* the transport's own, a session ticket: more may be behind it */
	list_del(&up->idle_link);
	push_fresh(up);
}

static void on_idle_broken(struct stream *stream)
{
	upconn_close(container_of(stream, struct upconn, stream));
}

static void on_idle_drained(struct stream *stream)
{
	(void)stream;
}

static void on_idle_connected(struct stream *stream, enum err err)
{
	(void)err;
	upconn_close(container_of(stream, struct upconn, stream));
}

static const struct stream_events idle_events = {
    .connected = on_idle_connected,
    .readable = on_idle_readable,
    .drained = on_idle_drained,
    .broken = on_idle_broken,
};

/* It has been idle for too long, or its connect is to be tried again. */
static void on_timer(struct timer *timer)
{
	struct upconn *up = container_of(timer, struct upconn, timer);
	check_magic(up, UPCONN_MAGIC);
	if (!up->stream.later)
		upconn_close(up);
	else if (stream_connect_again(&up->stream, &up->backend->address))
		loop_timer(up->pw->loop, timer, STREAM_AGAIN_US);
}

/* How long this connection may lie idle and still be used. */
static uint64_t idle_limit(const struct upconn *up, const struct conf_pool *conf)
{
	uint64_t limit = atomic_load_explicit(&up->backend->learned_idle_us, memory_order_relaxed);
	if (up->idle_limit_us < limit)
		limit = up->idle_limit_us;
	if (limit != UINT64_MAX)
		limit = limit > 2 * IDLE_MARGIN_US ? limit - IDLE_MARGIN_US : limit / 2;
	return limit < conf->keepalive.idle_us ? limit : conf->keepalive.idle_us;
}

static uint64_t tls_id_of(const struct pool_view *view)
{
	return view->tls ? tls_client_id(view->tls) : 0;
}

/* A reload has changed what connections to this backend are like. */
static bool is_outdated(const struct upconn *up, const struct pool_view *view, uint64_t intro_key)
{
	return up->tls_id != tls_id_of(view) || !up->intro_key != !intro_key;
}

/* The first of `list` that fits and has nothing to read. */
static inline struct upconn *find_idle(struct list *list, const struct pool_view *view,
				       uint64_t intro_key, bool fresh)
{
	unsigned looks = INTRO_LOOKS;
	list_each_safe (it, next, list) {
		struct upconn *up = list_entry(it, struct upconn, idle_link);
		check_magic(up, UPCONN_MAGIC);
		if (unlikely(is_outdated(up, view, intro_key))) {
			upconn_close(up);
		} else if (likely(up->intro_key == intro_key)) {
			if (likely(!fresh && stream_is_quiet(&up->stream)) || !close_spoilt(up))
				return up;
		} else if (--looks == 0) {
			break;
		}
	}
	return NULL;
}

struct upconn *upconn_take(const struct pool_view *view, struct pool_worker *pw,
			   struct backend *backend, uint64_t intro_key,
			   const struct stream_events *on, void *owner)
{
	struct backend_local *local = backend->local[pw->id];
	begin_fresh(local, pw);
	struct upconn *up = find_idle(&local->idle, view, intro_key, false);
	if (unlikely(!up) && !(up = find_idle(&local->fresh, view, intro_key, true)))
		return NULL;
	idle_unlink(up);
	up->stream.on = on;
	up->owner = owner;
	up->n_requests++;
	return up;
}

static struct upconn *upconn_new(struct pool_worker *pw, struct backend *backend, void *owner)
{
	struct upconn *up = slab_get(&pw->upconns);
	if (!up)
		return NULL;
	up->magic = UPCONN_MAGIC;
	up->n_requests = 1;
	up->backend = backend;
	up->local = backend->local[pw->id];
	up->pw = pw;
	up->owner = owner;
	up->idle_limit_us = UINT64_MAX;
	up->idle_since_us = 0;
	up->opening = NULL;
	up->tls_id = up->intro_key = 0;
	up->timer.fn = on_timer;
	list_init(&up->idle_link);
	return up;
}

/* `later`: as with TCP it waits for its turn. */
static void open_stream(struct upconn *up, int fd, const struct stream_events *on, bool connected,
			bool later)
{
	struct loop *loop = up->pw->loop;
	if (connected) {
		stream_open(&up->stream, loop, &up->pw->bufs, fd, on, UPCONN_PRIORITY);
	} else if (likely(!later)) {
		stream_open_connecting(&up->stream, loop, &up->pw->bufs, fd, on, UPCONN_PRIORITY);
	} else {
		stream_open_later(&up->stream, loop, &up->pw->bufs, fd, on, UPCONN_PRIORITY);
		loop_timer(loop, &up->timer, STREAM_AGAIN_US);
	}
}

static bool begin_tls(struct upconn *up, struct tls_client *client, bool only_http1)
{
	struct backend *b = up->backend;
	char ip[ADDR_IP_TEXT_MAX];
	struct view host =
	    addr_is_unix(&b->address) ? VIEW("") : view_of(ip, addr_format_ip(&b->address, ip));
	void *state = tls_connect(client, host, &up->local->tls);
	if (!state)
		return false;
	if (unlikely(only_http1))
		tls_offer_only_http1(state);
	up->tls_id = tls_client_id(client);
	stream_secure(&up->stream, &transport_tls_client, state);
	return true;
}

/* Ahead of everything, TLS included. */
static bool introduce(struct upconn *up, const struct upconn_intro *intro)
{
	up->intro_key = intro->key;
	return stream_write(&up->stream, intro->bytes, intro->len) != IO_ERR;
}

/* Lies idle longest; NULL: none does. */
static struct upconn *idle_longest(struct backend_local *local)
{
	struct list *list = list_is_empty(&local->idle) ? &local->fresh : &local->idle;
	return list_is_empty(list) ? NULL : list_last(list, struct upconn, idle_link);
}

/*
 * Kept ones that began with the PROXY header of others, or speak another version, are of no
 * use now: those that lay idle longest make room.
 */
static bool make_room(struct backend *b, struct backend_local *local, uint32_t most)
{
	struct upconn *up;
	while (atomic_load_explicit(&b->n_upconns, memory_order_relaxed) > most &&
	       (up = idle_longest(local)))
		upconn_close(up);
	return atomic_load_explicit(&b->n_upconns, memory_order_relaxed) <= most;
}

enum err upconn_connect(struct pool_worker *pw, struct backend *backend,
			const struct pool_view *view, const struct upconn_intro *intro,
			const struct stream_events *on, void *owner, struct upconn **out,
			bool *connected)
{
	const struct conf_pool *conf = view->pool->conf;
	uint32_t open = atomic_fetch_add_explicit(&backend->n_upconns, 1, memory_order_relaxed);
	enum err err = ERR_FULL;
	int fd = -1;
	*out = NULL;
	if (conf->limits.connections && open >= conf->limits.connections &&
	    !make_room(backend, backend->local[pw->id], conf->limits.connections))
		goto out;
	err = ERR_BUSY;
	if (!begin_opening(view->pool, backend))
		goto out;
	struct upconn *up = NULL;
	err = socket_connect_or_wait(&backend->address, &fd, connected);
	bool later = err == ERR_BUSY;
	if (later)
		err = ERR_OK;
	if (!err && !(up = upconn_new(pw, backend, owner))) {
		socket_close(fd);
		err = ERR_NOMEM;
	}
	if (err) {
		end_opening(backend, view->pool->state);
		goto out;
	}
	up->opening = view->pool->state;
	open_stream(up, fd, on, *connected, later);
	if (unlikely(intro->key && !introduce(up, intro))) {
		upconn_close(up);
		return ERR_NOMEM; /* the count has gone with it */
	}
	if (unlikely(view->tls) && !begin_tls(up, view->tls, intro->only_http1)) {
		upconn_close(up);
		return ERR_NOMEM; /* the count has gone with it */
	}
	if (up->tls_id)
		*connected = false;
	counter_add(&up->local->counters.connects, 1);
	*out = up;
out:
	if (err)
		count_up(&backend->n_upconns, -1);
	return err;
}

/*
 * Connections beyond the ones in use count as idle, over all workers.  The one
 * in question is still in use: its lease is dropped after it is released.
 */
static uint32_t count_idle(const struct backend *b)
{
	uint32_t open = atomic_load_explicit(&b->n_upconns, memory_order_relaxed);
	uint32_t busy = backend_own_in_flight(b);
	return open > busy ? open - busy : 0;
}

bool upconn_is_surplus(const struct upconn *up, uint32_t max_idle)
{
	return count_idle(up->backend) >= max_idle;
}

/*
 * Kept connections count against limits.connections, and other workers cannot
 * use ours.
 */
static bool takes_from_others(const struct backend *b, const struct conf_pool *conf)
{
	return conf->limits.connections && b->n_workers > 1;
}

/* The last one to the limit is given up, so that there is always room for theirs. */
static bool locks_others_out(const struct backend *b, const struct conf_pool *conf)
{
	return takes_from_others(b, conf) &&
	       atomic_load_explicit(&b->n_upconns, memory_order_relaxed) >=
		   conf->limits.connections;
}

/* Nor is more than max_idle kept from them for a wave. */
static uint32_t most_idle(const struct backend *b, const struct conf_pool *conf)
{
	return conf->keepalive.max_idle * (takes_from_others(b, conf) ? 1 : BURST_TIMES);
}

void upconn_release(struct upconn *up, const struct conf_pool *conf)
{
	struct backend_local *local = up->local;
	bool used_up = conf->keepalive.requests && up->n_requests >= conf->keepalive.requests;
	uint64_t limit = idle_limit(up, conf);
	const uint32_t idle = count_idle(up->backend);
	if (unlikely(idle >= conf->keepalive.max_idle) && limit > BURST_IDLE_US)
		limit = BURST_IDLE_US;
	if (used_up || limit == 0 || local->retired || stream_pending(&up->stream) ||
	    idle >= most_idle(up->backend, conf) || locks_others_out(up->backend, conf)) {
		upconn_close(up);
		return;
	}
	up->owner = NULL;
	up->stream.on = &idle_events;
	if (up->stream.paused)
		stream_resume(&up->stream);
	up->idle_since_us = up->pw->loop->now_us;
	push_fresh(up);
	local->n_idle++;
	show_idle(local);
	loop_timer(up->pw->loop, &up->timer, limit);
}

void upconn_close(struct upconn *up)
{
	check_magic(up, UPCONN_MAGIC);
	if (list_is_linked(&up->idle_link))
		idle_unlink(up);
	timer_clear(&up->timer);
	stream_close(&up->stream);
	count_up(&up->backend->n_upconns, -1);
	if (up->opening)
		end_opening(up->backend, up->opening);
	up->magic = 0;
	up->owner = NULL;
	slab_put(&up->pw->upconns, up);
}

void upconn_close_idle(struct pool_worker *pw, struct backend *backend)
{
	struct upconn *up;
	while ((up = idle_longest(backend->local[pw->id])))
		upconn_close(up);
}
