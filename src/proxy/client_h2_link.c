/* SPDX-License-Identifier: MIT */
/* What streams do to the HTTP/2 connection that they share: its state, its turn, its bytes. */
#include "client_h2.h"

#include "weir/base/check.h"

/* Moves that make sense, as bits of the next state. */
static const uint8_t moves[] = {
#define TO(state) (1u << CLIENT_H2_##state)
    [CLIENT_H2_OPEN] = TO(NOTICED) | TO(LEFT) | TO(BROKEN),
    [CLIENT_H2_NOTICED] = TO(LEFT) | TO(BROKEN),
    [CLIENT_H2_LEFT] = TO(LEFT) | TO(BROKEN),
    [CLIENT_H2_BROKEN] = 0,
#undef TO
};

void client_h2_set_state(struct client_h2 *h2, enum client_h2_state state)
{
	check(moves[h2->state] & (1u << state));
	h2->state = (uint8_t)state;
}

void client_h2_dirty(struct client_h2 *h2)
{
	if (!list_is_linked(&h2->link))
		list_push_back(&h2->worker->h2->dirty, &h2->link);
}

bool client_h2_send(struct h2_server *s)
{
	struct client_h2 *h2 = container_of(s, struct client_h2, server);
	struct stream *stream = &h2->conn->stream;
	struct buf *out = s->gather;
	if (!out)
		return true;
	if (stream_pending(stream) || h2->state == CLIENT_H2_BROKEN)
		return false;
	s->gather = NULL;
	enum io io = stream_write(stream, out->data + out->start, out->len);
	buf_put(&h2->worker->pool.bufs, out);
	if (io == IO_ERR) {
		client_h2_set_state(h2, CLIENT_H2_BROKEN);
		client_h2_dirty(h2);
	}
	return io == IO_OK;
}
