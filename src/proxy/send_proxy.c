/* SPDX-License-Identifier: MIT */
/* The PROXY header in front of an exchange's connection to a backend. */
#include "exchange.h"

#include "weir/base/hash.h"

/*
 * Connections are shared by exchanges whose headers are the same but for the
 * unique id, which names the request that opened the connection.
 */
void send_proxy_intro(const struct exchange *ex, struct upconn_intro *intro)
{
	unsigned version = ex->view->pool->conf->send_proxy;
	struct proxy_header header;
	ex->client_ops->origin(ex, &header);
	struct view unique_id = header.unique_id;
	header.unique_id = VIEW_NONE;
	intro->len = proxy_write(version, &header, intro->bytes);
	intro->key = hash_bytes(intro->bytes, intro->len, 0) | 1; /* 0 means none */
	header.unique_id = unique_id.len ? unique_id : view_of(ex->request_id, ex->request_id_len);
	intro->len = proxy_write(version, &header, intro->bytes);
}
