/* SPDX-License-Identifier: MIT */
#include "peer.h"

#include "kernel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "weir/base/check.h"

#define FDS_MAX 256 /* no script comes near */

void str_cut_front(struct str *s, size_t n)
{
	s->len -= n;
	memmove(s->ptr, s->ptr + n, s->len);
}

struct peer *peer_new(struct world *world, struct peer_cut *cut, enum peer_version version, int fd,
		      bool is_backend)
{
	struct peer *peer = calloc(1, sizeof(*peer));
	check(peer != NULL);
	*peer = (struct peer){.world = world,
			      .cut = cut,
			      .version = version,
			      .fd = fd,
			      .is_backend = is_backend,
			      .in = STR_INIT,
			      .unsent = STR_INIT,
			      .out = STR_INIT,
			      .trailers = STR_INIT};
	if (version == PEER_HTTP2)
		peer_h2_open(peer);
	return peer;
}

void peer_free(struct peer *peer)
{
	peer_close(peer);
	if (peer->session)
		peer_h2_close(peer);
	str_fini(&peer->in);
	str_fini(&peer->unsent);
	str_fini(&peer->out);
	str_fini(&peer->trailers);
	str_fini(&peer->heard.start);
	str_fini(&peer->heard.fields);
	str_fini(&peer->heard.body);
	free(peer);
}

void peer_forget(struct peer *peer)
{
	struct peer_message *m = &peer->heard;
	str_reset(&m->start);
	str_reset(&m->fields);
	str_reset(&m->body);
	m->has_head = m->has_end = m->is_broken = false;
	m->n_interim = 0;
	if (peer->version == PEER_HTTP1)
		peer_h1_understand(peer);
}

/* ---- bytes ---- */

/* As much as the socket takes; true when there was any. */
static bool send_unsent(struct peer *peer)
{
	struct view rest = str_as_view(&peer->unsent);
	if (rest.len == 0 || peer->fd < 0)
		return false;
	ssize_t n = send(peer->fd, rest.ptr, rest.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n < 0) /* weir has closed: what it says of that is heard */
		str_reset(&peer->unsent);
	else
		str_cut_front(&peer->unsent, (size_t)n);
	return true;
}

static void send_piece(struct peer *peer, struct view bytes)
{
	str_view(&peer->unsent, bytes);
	send_unsent(peer);
	if (!peer->cut->still)
		world_settle(peer->world);
}

void peer_raw(struct peer *peer, struct view bytes)
{
	struct peer_cut *cut = peer->cut;
	size_t at = cut->mode == CUT_EVERYWHERE ? 1 : cut->mode == CUT_AT ? cut->at : bytes.len;
	if (bytes.len > cut->longest)
		cut->longest = bytes.len;
	while (at && at < bytes.len) {
		send_piece(peer, view_head(bytes, at));
		bytes = view_skip(bytes, at);
		if (cut->mode == CUT_AT)
			break;
	}
	send_piece(peer, bytes);
}

static void ended(struct peer *peer)
{
	peer->at_end = true;
	struct peer_message *m = &peer->heard;
	if (m->has_end || (!m->has_head && str_as_view(&peer->in).len == 0))
		return;
	if (peer->version == PEER_HTTP1 && m->has_head && peer->until_end)
		m->has_end = true;
	else
		m->is_broken = true;
}

bool peer_pump(struct peer *peer)
{
	char bytes[65536];
	if (peer->fd < 0 || peer->idle_at == kernel_moves())
		return false;
	bool sent = send_unsent(peer);
	if (peer->at_end || peer->stalls)
		return sent;
	ssize_t n = recv(peer->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN) {
		if (!sent)
			peer->idle_at = kernel_moves();
		return sent;
	}
	if (n <= 0) {
		ended(peer);
	} else if (peer->version == PEER_HTTP2) {
		peer_h2_understand(peer, view_of(bytes, (size_t)n));
	} else {
		str_view(&peer->in, view_of(bytes, (size_t)n));
		peer_h1_understand(peer);
	}
	return true;
}

void peer_shut(struct peer *peer)
{
	if (peer->fd >= 0)
		shutdown(peer->fd, SHUT_WR);
}

void peer_deafen(struct peer *peer)
{
	struct sockaddr_storage own = {0}, other = {0};
	socklen_t len = sizeof(own), other_len = sizeof(other);
	check(getsockname(peer->fd, (struct sockaddr *)&own, &len) == 0);
	/* weir's side of it is one of ours */
	for (int fd = 0; fd < FDS_MAX; fd++, other_len = sizeof(other))
		if (getpeername(fd, (struct sockaddr *)&other, &other_len) == 0 &&
		    other_len == len && memcmp(&own, &other, len) == 0)
			shutdown(fd, SHUT_WR);
}

void peer_stall(struct peer *peer)
{
	if (peer->version == PEER_HTTP2)
		peer_h2_widen(peer);
	peer->stalls = true;
}

void peer_close(struct peer *peer)
{
	if (peer->fd >= 0)
		close(peer->fd);
	peer->fd = -1;
}

/* ---- messages ---- */

void peer_say(struct peer *peer, const struct peer_words *words)
{
	if (peer->version == PEER_HTTP2)
		peer_h2_say(peer, words);
	else
		peer_h1_say(peer, words);
}

void peer_say_body(struct peer *peer, struct view body)
{
	if (peer->version == PEER_HTTP2)
		peer_h2_say_body(peer, body);
	else
		peer_h1_say_body(peer, body);
}

void peer_end(struct peer *peer, struct view trailers)
{
	if (peer->version == PEER_HTTP2)
		peer_h2_end(peer, trailers);
	else
		peer_h1_end(peer, trailers);
}

bool peer_next_field(struct view *fields, struct view *name, struct view *value)
{
	if (fields->len == 0)
		return false;
	ptrdiff_t end = view_chr(*fields, '\n');
	struct view line = view_head(*fields, end < 0 ? fields->len : (size_t)end);
	ptrdiff_t colon = view_chr(line, ':');
	check(colon > 0);
	*name = view_head(line, (size_t)colon);
	*value = view_skip(line, (size_t)colon + 1);
	while (value->len && *value->ptr == ' ')
		*value = view_skip(*value, 1);
	*fields = view_skip(*fields, line.len + (end < 0 ? 0 : 1));
	return true;
}

struct view peer_field(const struct peer *peer, struct view name)
{
	struct view fields = str_as_view(&peer->heard.fields), at, value;
	while (peer_next_field(&fields, &at, &value))
		if (view_ieq(at, name))
			return value;
	return VIEW_NONE;
}
