/* SPDX-License-Identifier: MIT */
/* An auth service is asked who may use the status port. */
#include "forward.h"

#include "weir/http/field.h"

#define BODY_MAX ((size_t)64 * 1024)
#define FIELDS_MAX ((size_t)16 * 1024)
#define TYPE_MAX 256

/* ---- the question ---- */

/* About the connection, the body, another representation; or what weir says itself. */
static bool goes_on(const struct header *h)
{
	static const struct view others[] = {
	    VIEW("Host"),       VIEW("Content-Length"),     VIEW("Transfer-Encoding"),
	    VIEW("Expect"),     VIEW("Content-Encoding"),   VIEW("Connection"),
	    VIEW("Upgrade"),    VIEW("Accept-Encoding"),    VIEW("Range"),
	    VIEW("If-Range"),   VIEW("If-Match"),           VIEW("If-None-Match"),
	    VIEW("Trailer"),    VIEW("If-Modified-Since"),  VIEW("If-Unmodified-Since"),
	    VIEW("Priority"),   VIEW("X-Forwarded-Method"), VIEW("X-Forwarded-Uri"),
	    VIEW("User-Agent"),
	};
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (field_same(h->name, others[i]))
			return false;
	return !h->drop && !(field_traits(h) & (FIELD_HOP | FIELD_PEER));
}

static void put_fields(struct str *out, const struct message *msg, const struct addr_packed *peer)
{
	struct addr addr;
	char ip[ADDR_IP_TEXT_MAX];
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

/* They take turns; NULL: none takes requests. */
static const struct backend *choose(struct api *api, uint32_t index)
{
	uint32_t n_pools;
	const struct pool *pool = &api->host.pools(api->host.ctx, &n_pools)[index];
	for (uint32_t k = 0; k < pool->n; k++) {
		uint32_t i = api->next_auth++ % pool->n;
		if (backend_is_usable(pool, i))
			return pool->backends[i];
	}
	return NULL;
}

static bool is_for_clients(uint8_t id)
{
	return id == HDR_LOCATION || id == HDR_SET_COOKIE || id == HDR_WWW_AUTHENTICATE ||
	       id == HDR_RETRY_AFTER;
}

static void keep(struct forward *forward, const struct fetch_answer *answer)
{
	const struct message *msg = answer->msg;
	for (uint32_t i = 0; i < msg->n_headers; i++) {
		const struct header *h = &msg->headers[i];
		if (h->id == HDR_CONTENT_TYPE && !forward->type.len)
			str_view(&forward->type, h->value);
		if (is_for_clients(h->id))
			str_printf(&forward->fields, VIEW_FMT ": " VIEW_FMT "\r\n",
				   VIEW_ARG(h->name), VIEW_ARG(h->value));
	}
	str_view(&forward->body, answer->body);
}

static void on_answer(void *arg, const struct fetch_answer *answer)
{
	struct forward *forward = arg;
	forward->fetch = NULL;
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
	forward->done(forward);
}

bool forward_ask(struct call *call, const struct addr_packed *peer, struct forward *forward)
{
	struct api *api = call->api;
	const struct conf_auth_forward *conf = &api->host.conf(api->host.ctx)->status.auth.forward;
	const struct backend *backend = choose(api, conf->pool);
	struct str url = STR_INIT, fields = STR_INIT;
	char at[ADDR_TEXT_MAX];
	if (!backend)
		return false;
	forward->fields = forward->body = forward->type = STR_INIT;
	addr_format(&backend->address, at);
	str_printf(&url, "http://" VIEW_FMT VIEW_FMT, VIEW_ARG(call->msg->authority),
		   VIEW_ARG(conf->path));
	put_fields(&fields, call->msg, peer);
	forward->fetch = fetch_begin(api->fetcher, &(struct fetch_request){
						       .method = VIEW("GET"),
						       .url = str_as_view(&url),
						       .at = view_str(at),
						       .headers = str_as_view(&fields),
						       .timeout_us = conf->timeout_us,
						       .body_max = BODY_MAX,
						       .keep = true,
						       .done = on_answer,
						       .arg = forward,
						   });
	str_fini(&url);
	str_fini(&fields);
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
	str_fini(&forward->fields);
	str_fini(&forward->body);
	str_fini(&forward->type);
	*forward = (struct forward){.done = forward->done};
}
