/* SPDX-License-Identifier: MIT */
/* Streams among the exchanges: found, and counted apart. */
#include "streaming.h"

#include "exchange.h"

static bool is_event_stream(struct message *resp)
{
	struct header *type = message_find(resp, HDR_CONTENT_TYPE);
	struct view name = VIEW("text/event-stream");
	return type && view_istarts(type->value, name) &&
	       (type->value.len == name.len || type->value.ptr[name.len] == ';' ||
		type->value.ptr[name.len] == ' ');
}

void streaming_head(struct attempt *at)
{
	struct message *resp = &at->ex->worker->resp;
	/* what says how long it is, is none */
	if (unlikely(resp->body == BODY_CHUNKED || resp->body == BODY_CLOSE))
		at->event_stream = resp->status == 200 && is_event_stream(resp);
}

static void become_stream(struct attempt *at)
{
	at->look_us = 0;
	lease_prove(&at->lease);
	lease_streams(&at->lease);
	if (at->ex->state != EXCHANGE_TUNNEL)
		exchange_measure_stream(at->ex);
}

static void look_later(struct attempt *at)
{
	at->look_us = at->ex->worker->loop.now_us + STREAMING_LOOK_US;
	at->look_out = at->ex->body_out;
}

void streaming_begin(struct attempt *at)
{
	if (unlikely(at->event_stream || at->ex->state == EXCHANGE_TUNNEL))
		become_stream(at);
	else if (at->ex->status / 100 == 2)
		look_later(at);
}

void streaming_look(struct attempt *at)
{
	const struct exchange *ex = at->ex;
	if (!ex->write_blocked && ex->body_out - at->look_out < STREAMING_BYTES)
		become_stream(at);
	else
		look_later(at);
}
