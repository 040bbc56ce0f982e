/* SPDX-License-Identifier: MIT */
/*
 * Pins in an exchange: the request's cookie becomes a wish for a backend, and
 * the response's head tells the client where it was served.
 *
 *   request   our cookie is read and taken out: the app never sees it.  A cookie
 *             of the app (sticky.learn) is looked up and passed on.
 *   attempt   the wish comes before the strategy.  When the backend takes no
 *             pins, sticky.mode decides; when it is busy the request queues for
 *             it, and is served elsewhere once, without changing the pin, rather
 *             than refused (not with strict).
 *   response  a cookie is set when the client has none, has moved, or has one
 *             half through its ttl or of the old key; never for a backend that
 *             takes nothing new.
 */
#include "pin.h"

#include "weir/base/clock.h"
#include "weir/base/str.h"
#include "weir/http/cookie.h"

static const struct pool *pool_of(const struct exchange *ex)
{
	return ex->view->pool;
}

static struct pool_counters *counters_of(const struct exchange *ex)
{
	return &ex->view->sl->counters;
}

/* ---- the request ---- */

/* The first one that is genuine counts. */
static void read_cookie(struct exchange *ex, struct view value)
{
	const struct pool *pool = pool_of(ex);
	uint64_t ttl_s = pool->conf->sticky.ttl_us / 1000000;
	struct pin pin;
	if (ex->pin)
		return;
	if (!pins_read(pool->pins, value, clock_wall_us() / 1000000, &pin)) {
		counter_add(&counters_of(ex)->pins_refused, 1);
		return;
	}
	ex->pin = ex->pin_given = pin.index + 1;
	ex->pin_fresh = !pin.old_key && (!ttl_s || pin.age_s <= ttl_s / 2);
}

static void look_up(struct exchange *ex, struct view session)
{
	const struct pool *pool = pool_of(ex);
	if (ex->pin_session || !session.len)
		return;
	ex->pin_session = learn_key(session);
	uint32_t serial = learn_get(pool->learned, ex->pin_session,
				    ex->worker->loop.now_us / 1000000, pool->learn_ttl_s);
	int32_t index = serial ? pool_serial_index(pool, serial) : -1;
	ex->pin = ex->pin_given = (uint32_t)(index + 1);
}

/* What is left of a Cookie field goes to the texts of the worker. */
static void take_out(struct str *texts, struct header *h, struct view cookie)
{
	if (!str_reserve(texts, h->value.len))
		return;
	char *at = texts->ptr + texts->len;
	h->value = view_of(at, cookie_without(h->value, cookie, at));
	h->line_len = 0;
	h->drop = h->value.len == 0;
	texts->len += h->value.len;
}

/* One Cookie field. */
static void scan_field(struct exchange *ex, struct header *h)
{
	const struct conf_pool *conf = pool_of(ex)->conf;
	struct view rest = h->value;
	struct cookie cookie;
	bool ours = false;
	while (cookie_next(&rest, &cookie)) {
		if (conf->sticky.learn.ptr && view_eq(cookie.name, conf->sticky.learn)) {
			look_up(ex, cookie.value);
		} else if (conf->sticky.cookie.ptr && view_eq(cookie.name, conf->sticky.cookie)) {
			read_cookie(ex, cookie.value);
			ours = true;
		}
	}
	if (ours)
		take_out(&ex->worker->texts, h, conf->sticky.cookie);
}

void pin_take_out(struct worker *w, const struct conf_pool *conf, struct message *msg)
{
	if (!conf->sticky.on || !conf->sticky.cookie.ptr)
		return;
	for (uint32_t i = 0; i < msg->n_headers; i++)
		if (msg->headers[i].id == HDR_COOKIE && !msg->headers[i].drop)
			take_out(&w->texts, &msg->headers[i], conf->sticky.cookie);
}

void pin_request(struct exchange *ex, struct message *msg)
{
	for (uint32_t i = 0; i < msg->n_headers; i++)
		if (msg->headers[i].id == HDR_COOKIE && !msg->headers[i].drop)
			scan_field(ex, &msg->headers[i]);
}

/* ---- attempts ---- */

static bool was_tried(const struct exchange *ex, uint32_t index)
{
	for (uint32_t i = 0; i < ex->tried.n; i++)
		if (ex->tried.index[i] == index)
			return true;
	return false;
}

static enum pool_verdict take_any(struct exchange *ex)
{
	ex->pin = 0;
	return pool_take(ex->view, &ex->worker->pool, &ex->tried, ex->hash_key, &ex->at->lease);
}

enum pool_verdict pin_take(struct exchange *ex)
{
	const struct conf_pool *conf = pool_of(ex)->conf;
	bool tried = was_tried(ex, ex->pin - 1);
	ex->pin_waits = false;
	ex->at->lease.backend = NULL;
	enum pool_verdict verdict =
	    tried ? POOL_EMPTY
		  : pool_take_pinned(ex->view, &ex->worker->pool, ex->pin - 1, &ex->at->lease);
	if (verdict != POOL_EMPTY || conf->sticky.mode == CONF_STICKY_STRICT)
		return verdict;
	if (conf->sticky.mode == CONF_STICKY_WAIT && conf->queue.on && !tried) {
		ex->pin_waits = true;
		return POOL_FULL;
	}
	return take_any(ex);
}

bool pin_take_elsewhere(struct exchange *ex)
{
	if (!ex->pin || pool_of(ex)->conf->sticky.mode == CONF_STICKY_STRICT)
		return false;
	ex->pin_kept = !ex->pin_waits;
	ex->pin_waits = false;
	ex->pin = 0;
	/* it has waited: no stepping back behind itself */
	return pool_take_slot(ex->view, &ex->worker->pool, &ex->tried, ex->hash_key,
			      &ex->at->lease) == POOL_TAKEN;
}

/* ---- the response ---- */

static void add_field(struct message *resp, enum hdr_id id, struct view name, struct view value)
{
	if (resp->n_headers < HEADERS_ROOM)
		resp->headers[resp->n_headers++] =
		    (struct header){.name = name, .value = value, .id = (uint8_t)id};
}

static void set_cookie(struct exchange *ex, struct message *resp, uint32_t index)
{
	static const char *const same_site[] = {"Lax", "Strict", "None"};
	const struct conf_pool *conf = pool_of(ex)->conf;
	struct worker *w = ex->worker;
	char value[PIN_TEXT_LEN];
	struct str s = str_fixed(w->set_cookie, sizeof(w->set_cookie));
	pins_write(pool_of(ex)->pins, index, clock_wall_us() / 1000000, value);
	str_printf(&s, VIEW_FMT "=%.*s; Path=/; HttpOnly; SameSite=%s%s",
		   VIEW_ARG(conf->sticky.cookie), PIN_TEXT_LEN, value,
		   same_site[conf->sticky.same_site], ex->secure ? "; Secure" : "");
	if (conf->sticky.ttl_us)
		str_printf(&s, "; Max-Age=%llu",
			   (unsigned long long)(conf->sticky.ttl_us / 1000000));
	add_field(resp, HDR_SET_COOKIE, VIEW("Set-Cookie"), str_as_view(&s));
	/* a shared cache would hand the pin to others */
	add_field(resp, HDR_CACHE_CONTROL, VIEW("Cache-Control"), VIEW("private"));
	counter_add(&counters_of(ex)->pins_issued, 1);
}

static void learn(struct exchange *ex, uint64_t key, uint32_t index)
{
	const struct pool *pool = pool_of(ex);
	learn_put(pool->learned, key, pool->backends[index]->serial,
		  ex->worker->loop.now_us / 1000000, pool->learn_ttl_s);
}

static void learn_sessions(struct exchange *ex, const struct message *resp, uint32_t index)
{
	struct cookie cookie;
	for (uint32_t i = 0; i < resp->n_headers; i++) {
		const struct header *h = &resp->headers[i];
		if (h->id != HDR_SET_COOKIE || !cookie_set(h->value, &cookie) ||
		    !view_eq(cookie.name, pool_of(ex)->conf->sticky.learn) || !cookie.value.len)
			continue;
		learn(ex, learn_key(cookie.value), index);
		counter_add(&counters_of(ex)->pins_issued, 1);
	}
}

void pin_response(struct exchange *ex, struct message *resp)
{
	const struct pool *pool = pool_of(ex);
	uint32_t index = ex->at->lease.index;
	bool moved = ex->pin_given && ex->pin_given != index + 1;
	if (resp->status < 200 && resp->status != 101)
		return;
	if (ex->pin_given && !moved)
		counter_add(&counters_of(ex)->pins_honoured, 1);
	else if (moved)
		counter_add(&counters_of(ex)->pins_moved, 1);
	if (pool->learned) {
		learn_sessions(ex, resp, index);
		if (moved && !ex->pin_kept)
			learn(ex, ex->pin_session, index);
	} else if ((!ex->pin_given || moved || !ex->pin_fresh) && !ex->pin_kept &&
		   backend_state_takes_new(backend_state(pool->backends[index]))) {
		set_cookie(ex, resp, index);
	}
}
