/* SPDX-License-Identifier: MIT */
/* Client connections in words, for those who look at them from outside. */
#include "weir/proxy/about.h"

#include "client.h"

/* The request line's target, out of the bytes kept for replay. */
static struct view path_of(const struct exchange *ex)
{
	if (!ex->req)
		return VIEW_NONE;
	struct view head = view_head(buf_view(ex->req), ex->req_head_len);
	ptrdiff_t space = view_chr(head, ' ');
	if (space < 0)
		return VIEW_NONE;
	head = view_skip(head, (size_t)space + 1);
	space = view_chr(head, ' ');
	return view_head(head, space < 0 ? 0 : (size_t)space);
}

static const char *state_text(const struct client *c)
{
	static const char *const names[] = {
	    [CLIENT_PROXY] = "proxy", [CLIENT_HANDSHAKE] = "handshake",
	    [CLIENT_IDLE] = "idle",   [CLIENT_HEAD] = "head",
	    [CLIENT_HTTP2] = "http2", [CLIENT_LINGER] = "lingering",
	};
	return c->ex ? exchange_state_name(c->ex) : names[c->state];
}

static void add_exchange(const struct exchange *ex, struct client_about *about)
{
	about->path = path_of(ex);
	about->bytes_in = ex->bytes_in;
	about->bytes_out = ex->bytes_out;
	if (ex->view)
		about->pool = ex->view->pool->conf->name;
	if (ex->backend)
		about->backend = ex->backend->name;
}

void worker_about_clients(struct worker *w,
			  bool (*each)(void *arg, const struct client_about *about), void *arg)
{
	list_each (it, &w->all_conns) {
		const struct client *c = list_entry(it, struct client, link);
		char peer[ADDR_TEXT_MAX];
		struct addr addr;
		addr_unpack(&c->peer, &addr);
		addr_format(&addr, peer);
		struct client_about about = {
		    .id = c->id,
		    .age_us = w->loop.now_us - c->opened_us,
		    .listener = c->conf->name,
		    .peer = view_str(peer),
		    .state = view_str(state_text(c)),
		    .requests = c->n_requests,
		    .streams = c->h2 ? client_streams(c) : 0,
		};
		if (c->ex)
			add_exchange(c->ex, &about);
		if (!each(arg, &about))
			return;
	}
}
