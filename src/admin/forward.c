/* SPDX-License-Identifier: MIT */
/* An auth service is asked who may use the status port. */
#include "forward.h"

#include <stdio.h>

#include "weir/base/clock.h"
#include "weir/base/hash.h"
#include "weir/base/log.h"
#include "weir/http/field.h"

#define BODY_MAX ((size_t)64 * 1024)
#define FIELDS_MAX ((size_t)16 * 1024)
#define TYPE_MAX 256

/* ---- the question ---- */

/* What the client that asks says itself, or need not say. */
static bool goes_on(const struct header *h)
{
	static const struct view others[] = {
	    VIEW("Host"),     VIEW("Accept-Encoding"), VIEW("Trailer"),
	    VIEW("Priority"), VIEW("User-Agent"),
	};
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (field_same(h->name, others[i]))
			return false;
	return !h->drop && !field_is_of_request(h->name) &&
	       !(field_traits(h) & (FIELD_HOP | FIELD_PEER));
}

static void put_fields(struct str *out, struct message *msg, const struct addr_packed *peer)
{
	struct addr addr;
	char ip[ADDR_IP_TEXT_MAX];
	message_drop_hop_by_hop(msg, false);
	for (uint32_t i = 0; i < msg->n_headers; i++)
		if (goes_on(&msg->headers[i]))
			str_printf(out, VIEW_FMT ": " VIEW_FMT "\r\n",
				   VIEW_ARG(msg->headers[i].name), VIEW_ARG(msg->headers[i].value));
	str_printf(out,
		   "X-Forwarded-Method: " VIEW_FMT "\r\nX-Forwarded-Uri: " VIEW_FMT
		   "\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: " VIEW_FMT "\r\n",
		   VIEW_ARG(msg->method_text), VIEW_ARG(msg->path), VIEW_ARG(msg->authority));
	addr_unpack(peer, &addr);
	if (addr_format_ip(&addr, ip))
		str_printf(out, "X-Forwarded-For: %s\r\n", ip);
}

/* They take turns; NULL: none takes requests but `tried`. */
static const struct backend *choose(struct api *api, uint32_t index, const struct backend *tried)
{
	uint32_t n_pools;
	const struct pool *pool = &api->host.pools(api->host.ctx, &n_pools)[index];
	for (uint32_t k = 0; k < pool->n; k++) {
		uint32_t i = api->next_auth++ % pool->n;
		if (backend_is_usable(pool, i) && pool->backends[i] != tried)
			return pool->backends[i];
	}
	return NULL;
}

static const struct conf_auth_forward *conf_of(const struct api *api)
{
	return &api->host.conf(api->host.ctx)->status.auth.forward;
}

static const struct conf_pool *pool_of(const struct api *api)
{
	return &api->host.conf(api->host.ctx)->pools[conf_of(api)->pool];
}

/* ---- whom to trust ---- */

static uint64_t mark_of(const struct conf_pool_tls *tls)
{
	uint64_t mark = hash_view(tls->ca, tls->verify);
	return hash_view(tls->key, hash_view(tls->cert, hash_view(tls->sni, mark)));
}

static struct tls_client *tls_new(struct api *api, const struct conf_pool_tls *tls)
{
	struct str why = STR_INIT;
	struct tls_client *client =
	    fetch_tls_new(api->fetcher,
			  &(struct fetch_tls_options){.ca = tls->ca,
						      .name = tls->sni,
						      .cert = tls->cert,
						      .key = tls->key,
						      .trust_all = !tls->verify},
			  &why);
	if (!client)
		log_error("status.auth.forward: " VIEW_FMT, VIEW_ARG(str_as_view(&why)));
	str_fini(&why);
	return client;
}

/*
 * Made anew, or said why not, when something else is written and each minute, as files may have
 * changed.  What cannot be read for a moment is no reason to trust nobody; what is not written any
 * more is trusted no longer.
 */
static struct tls_client *tls_of(struct api *api)
{
	const struct conf_pool_tls *tls = &pool_of(api)->tls;
	uint64_t mark = mark_of(tls), minute = clock_us() / 60000000;
	if (api->auth_tls_mark == mark && api->auth_tls_minute == minute)
		return api->auth_tls;
	struct tls_client *client = tls_new(api, tls);
	if (client || api->auth_tls_mark != mark) {
		tls_client_put(api->auth_tls);
		api->auth_tls = client;
	}
	api->auth_tls_mark = mark;
	api->auth_tls_minute = minute;
	return api->auth_tls;
}

/* ---- what is said about it ---- */

static void note(struct api *api, const char *why)
{
	uint64_t now_us = clock_us();
	bool was_down = api->auth_why[0] != '\0';
	snprintf(api->auth_why, sizeof(api->auth_why), "%s", why);
	if (*why && log_due(&api->auth_logged_us, now_us)) {
		log_warn("the service of status.auth.forward does not answer: %s; whoever has not "
			 "the token is refused",
			 why);
	} else if (!*why && was_down) {
		api->auth_logged_us = 0;
		log_info("the service of status.auth.forward answers again");
	}
}

/* But for what every answer of this port says. */
static bool is_for_clients(const struct header *h)
{
	return field_is_for_client(h) && h->id != HDR_CONTENT_TYPE && h->id != HDR_CACHE_CONTROL;
}

static void keep(struct forward *forward, const struct fetch_answer *answer)
{
	const struct message *msg = answer->msg;
	for (uint32_t i = 0; i < msg->n_headers; i++) {
		const struct header *h = &msg->headers[i];
		if (h->id == HDR_CONTENT_TYPE && !forward->type.len)
			str_view(&forward->type, h->value);
		if (is_for_clients(h))
			str_printf(&forward->fields, VIEW_FMT ": " VIEW_FMT "\r\n",
				   VIEW_ARG(h->name), VIEW_ARG(h->value));
	}
	str_view(&forward->body, answer->body);
}

static void ask(struct forward *forward);

/* Nothing of an answer came, and another one may give it. */
static bool ask_another(struct forward *forward, const struct fetch_answer *answer)
{
	struct api *api = forward->api;
	if (!conf_of(api)->on || answer->status ||
	    (answer->end != FETCH_FAILED && answer->end != FETCH_NO_TLS) || !forward->tries ||
	    clock_us() >= forward->until_us)
		return false;
	const struct backend *other = choose(api, conf_of(api)->pool, forward->backend);
	if (!other)
		return false;
	forward->tries--;
	forward->backend = other;
	ask(forward);
	return true;
}

static void on_answer(void *arg, const struct fetch_answer *answer)
{
	struct forward *forward = arg;
	forward->fetch = NULL;
	if (ask_another(forward, answer))
		return;
	forward->answered = true;
	forward->status = answer->end == FETCH_TIMEOUT ? 504 : 502;
	if (answer->end != FETCH_OK)
		forward->why = answer->end == FETCH_TIMEOUT ? "it did not answer in time"
							    : "it could not be asked";
	else if (answer->status < 200 || answer->status == 304)
		forward->why = "what it answered is no answer to this";
	else
		forward->status = answer->status;
	if (!forward->why && forward->status / 100 != 2)
		keep(forward, answer);
	if (forward->fields.overflow || forward->body.overflow ||
	    forward->fields.len > FIELDS_MAX || forward->type.len > TYPE_MAX)
		forward->why = "its answer is too long";
	note(forward->api, !forward->why ? "" : *answer->why ? answer->why : forward->why);
	forward->done(forward);
}

/* Of forward->backend. */
static void ask(struct forward *forward)
{
	struct api *api = forward->api;
	const struct addr *address = &forward->backend->address;
	const struct conf_pool *pool = pool_of(api);
	struct str url = STR_INIT;
	char at[ADDR_TEXT_MAX], ip[ADDR_IP_TEXT_MAX];
	size_t n = addr_format_ip(address, ip); /* as for other connections to backends */
	addr_format(address, at);
	str_printf(&url, "http%s://" VIEW_FMT, pool->tls.on ? "s" : "",
		   VIEW_ARG(str_as_view(&forward->target)));
	forward->fetch =
	    fetch_begin(api->fetcher, &(struct fetch_request){
					  .method = VIEW("GET"),
					  .url = str_as_view(&url),
					  .at = view_str(at),
					  .tls = pool->tls.on ? tls_of(api) : NULL,
					  .tls_host = n ? view_of(ip, n) : VIEW("localhost"),
					  .headers = str_as_view(&forward->question),
					  .timeout_us = forward->until_us - clock_us(),
					  .connect_us = pool->timeouts.connect_us,
					  .body_max = BODY_MAX,
					  .keep = true,
					  .done = on_answer,
					  .arg = forward,
				      });
	str_fini(&url);
}

bool forward_ask(struct call *call, const struct addr_packed *peer, struct forward *forward)
{
	struct api *api = call->api;
	const struct conf_auth_forward *conf = conf_of(api);
	forward->backend = choose(api, conf->pool, NULL);
	if (!forward->backend) {
		note(api, "no backend of its pool takes requests");
		return false;
	}
	forward->api = api;
	forward->tries = pool_of(api)->retry.on ? pool_of(api)->retry.attempts : 0;
	forward->until_us = clock_us() + conf->timeout_us;
	forward->target = forward->question = STR_INIT;
	forward->fields = forward->body = forward->type = STR_INIT;
	str_printf(&forward->target, VIEW_FMT VIEW_FMT, VIEW_ARG(call->msg->authority),
		   VIEW_ARG(conf->path));
	put_fields(&forward->question, call->msg, peer);
	ask(forward);
	return true;
}

/* ---- the answer ---- */

bool forward_follow(struct call *call, struct forward *forward)
{
	if (!forward->why && forward->status / 100 == 2)
		return true;
	if (forward->why) {
		call_error(call, forward->status / 100 == 5 ? forward->status : 502,
			   "the service of status.auth.forward: %s", forward->why);
		return false;
	}
	call->answer.status = forward->status;
	call->answer.type = forward->type.len ? arena_printf(call->arena, VIEW_FMT,
							     VIEW_ARG(str_as_view(&forward->type)))
					      : "text/plain";
	call->answer.fields = arena_view(call->arena, str_as_view(&forward->fields));
	call->answer.is_anothers = true;
	str_view(&call->answer.body, str_as_view(&forward->body));
	return false;
}

void forward_fini(struct forward *forward)
{
	fetch_cancel(forward->fetch);
	str_fini(&forward->target);
	str_fini(&forward->question);
	str_fini(&forward->fields);
	str_fini(&forward->body);
	str_fini(&forward->type);
	*forward = (struct forward){.done = forward->done};
}
