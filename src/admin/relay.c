/* SPDX-License-Identifier: MIT */
/* What another node answers is asked by this one: who reaches one node sees all. */
#include "api.h"

#include <stdlib.h>

#include "weir/base/addr.h"
#include "weir/fetch/fetch.h"

#define RELAYS_MAX 64
#define RELAY_TIMEOUT_US 1500000
#define RELAY_BODY_MAX ((size_t)16 << 20)

struct relay {
	struct list link; /* of api->relays */
	struct api *api;
	struct fetch *fetch;
	struct later *later;
	struct str node; /* owns; its name */
};

static void relay_free(struct relay *relay)
{
	list_del(&relay->link);
	relay->api->n_relays--;
	fetch_cancel(relay->fetch);
	str_fini(&relay->node);
	free(relay);
}

static void say(struct answer *answer, struct view node, const struct fetch_answer *said)
{
	if (said->end != FETCH_OK) {
		answer_error(answer, said->end == FETCH_TIMEOUT ? 504 : 502,
			     "node '" VIEW_FMT "': %s", VIEW_ARG(node), said->why);
	} else if (said->status == 401 || said->status == 403) {
		answer_error(answer, 502,
			     "node '" VIEW_FMT "' does not answer without a password: ask it by "
			     "itself, or by weirctl --nodes",
			     VIEW_ARG(node));
	} else {
		answer->status = said->status;
		answer->type = "application/json";
		str_view(&answer->body, said->body);
	}
}

static void on_answer(void *arg, const struct fetch_answer *said)
{
	struct relay *relay = arg;
	struct answer answer = {.body = STR_INIT};
	struct later *later = relay->later;
	relay->fetch = NULL;
	say(&answer, str_as_view(&relay->node), said);
	relay_free(relay);
	later_answer(later, &answer);
}

/* Anybody who may write to Redis has said it: what comes after an address would be a path. */
static bool is_address(struct view status)
{
	struct addr addr;
	return addr_parse(status, &addr) && addr.sa.sa_family != AF_UNIX;
}

/* Its address, or a 404 or 502. */
static bool find_node(struct call *call, struct view *status)
{
	const struct admin_host *host = &call->api->host;
	struct view name = call->params[PARAM_NODE];
	struct admin_status s = {0};
	host->status(host->ctx, call->arena, &s);
	for (size_t i = 0; i < s.shared.n_nodes; i++) {
		if (!view_eq(s.shared.nodes[i].name, name))
			continue;
		*status = s.shared.nodes[i].status;
		if (is_address(*status))
			return true;
		call_error(call, 502, "node '" VIEW_FMT "' %s", VIEW_ARG(name),
			   status->len ? "says no address that can be asked"
				       : "has no status.bind");
		return false;
	}
	call_error(call, 404, "no other node '" VIEW_FMT "' was heard of within 5 s",
		   VIEW_ARG(name));
	return false;
}

/* "/v1/nodes/N/REST?QUERY", as it was sent, to "http://STATUS/v1/REST?QUERY". */
static struct view url_of(struct call *call, struct view status)
{
	struct view rest = call->msg->path;
	for (int i = 0; i < 3; i++) { /* api.c has found three segments and more */
		rest = view_skip(rest, 1);
		rest = view_skip(rest, (size_t)view_chr(rest, '/'));
	}
	return view_str(arena_printf(call->arena, "http://" VIEW_FMT "/v1" VIEW_FMT,
				     VIEW_ARG(status), VIEW_ARG(rest)));
}

static struct relay *relay_new(struct call *call)
{
	struct api *api = call->api;
	struct relay *relay = api->n_relays < RELAYS_MAX ? calloc(1, sizeof(*relay)) : NULL;
	if (!relay)
		return NULL;
	relay->api = api;
	relay->node = STR_INIT;
	str_view(&relay->node, call->params[PARAM_NODE]);
	list_push_back(&api->relays, &relay->link);
	api->n_relays++;
	return relay;
}

void api_relay(struct call *call)
{
	struct view status;
	if (!find_node(call, &status))
		return;
	struct relay *relay = relay_new(call);
	struct later *later = relay ? call_later(call) : NULL;
	if (!later) {
		if (relay)
			relay_free(relay);
		call_error(call, 503, "too many questions to other nodes are under way");
		return;
	}
	relay->later = later;
	/* nothing of who asks goes along: who may write to Redis says where it would go */
	relay->fetch = fetch_begin(call->api->fetcher, &(struct fetch_request){
							   .method = VIEW("GET"),
							   .url = url_of(call, status),
							   .timeout_us = RELAY_TIMEOUT_US,
							   .body_max = RELAY_BODY_MAX,
							   .keep = true,
							   .repeat = true,
							   .done = on_answer,
							   .arg = relay,
						       });
}

void relays_fini(struct api *api)
{
	list_each_safe (it, tmp, &api->relays) {
		struct relay *relay = list_entry(it, struct relay, link);
		struct answer answer = {.body = STR_INIT};
		struct later *later = relay->later;
		relay_free(relay);
		later_answer(later, &answer); /* its client has left */
	}
}
