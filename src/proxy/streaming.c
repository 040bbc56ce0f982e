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
	at->may_stream = resp->body == BODY_CHUNKED || resp->body == BODY_CLOSE;
	if (unlikely(at->may_stream))
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

/* What comes at once is how an answer begins: what it does then is looked at. */
#define BEGINS_US 1000000
#define BEGINS UINT64_MAX

static void look_later(struct attempt *at, uint64_t seen, uint64_t us)
{
	at->look_us = at->ex->worker->loop.now_us + us;
	at->look_out = seen;
}

void streaming_begin(struct attempt *at)
{
	if (unlikely(at->event_stream || at->ex->state == EXCHANGE_TUNNEL))
		become_stream(at);
	else if (at->may_stream && at->ex->status / 100 == 2)
		look_later(at, BEGINS, BEGINS_US);
}

void streaming_look(struct attempt *at)
{
	const struct exchange *ex = at->ex;
	uint64_t came = at->look_out == BEGINS ? 0 : ex->body_out - at->look_out;
	/* silence is no stream: a backend that hangs would look idle */
	if (!ex->write_blocked && came && came < STREAMING_BYTES)
		become_stream(at);
	else
		look_later(at, ex->body_out,
			   STREAMING_LOOK_US - (at->look_out == BEGINS ? BEGINS_US : 0));
}
