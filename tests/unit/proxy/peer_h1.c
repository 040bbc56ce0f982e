/* SPDX-License-Identifier: MIT */
/* HTTP/1 as simple as can be: it talks to weir, whose own parser is not to judge itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "peer.h"

#include "weir/base/check.h"

/* ---- hearing ---- */

static struct view next_line(struct view *text)
{
	const char *end = memmem(text->ptr, text->len, "\r\n", 2);
	check(end != NULL);
	struct view line = view_of(text->ptr, (size_t)(end - text->ptr));
	*text = view_skip(*text, line.len + 2);
	return line;
}

static void hear_start(struct peer *peer, struct view line)
{
	if (!peer->is_backend) { /* HTTP/1.1 200 OK */
		check(line.len >= 12);
		str_view(&peer->heard.start, view_of(line.ptr + 9, 3));
		return;
	}
	/* without one it is no HTTP/1: the preface of HTTP/2 goes on with such a line */
	const char *last = memrchr(line.ptr, ' ', line.len);
	str_view(&peer->heard.start, last ? view_of(line.ptr, (size_t)(last - line.ptr)) : line);
}

static void frame(struct peer *peer)
{
	struct view length = peer_field(peer, VIEW("content-length"));
	struct view status = str_as_view(&peer->heard.start);
	peer->in_chunks = peer_field(peer, VIEW("transfer-encoding")).ptr != NULL;
	peer->left = length.ptr ? strtoul(length.ptr, NULL, 10) : 0;
	bool none =
	    !peer->is_backend && (peer->no_body || peer->is_tunnel ||
				  view_eq(status, VIEW("204")) || view_eq(status, VIEW("304")));
	peer->until_end = !peer->is_backend && !none && !length.ptr && !peer->in_chunks;
	if (none || (!peer->in_chunks && !peer->until_end && peer->left == 0))
		peer->heard.has_end = true;
}

/* True when there was a whole head. */
static bool hear_head(struct peer *peer)
{
	struct view text = str_as_view(&peer->in);
	const char *end = text.len ? memmem(text.ptr, text.len, "\r\n\r\n", 4) : NULL;
	if (!end)
		return false;
	size_t len = (size_t)(end - text.ptr) + 4;
	text.len = len;
	hear_start(peer, next_line(&text));
	for (struct view line; (line = next_line(&text)).len;)
		str_printf(&peer->heard.fields, VIEW_FMT "\n", VIEW_ARG(line));
	str_cut_front(&peer->in, len);
	struct view start = str_as_view(&peer->heard.start);
	if (!peer->is_backend && *start.ptr == '1' && !view_eq(start, VIEW("101"))) {
		peer->heard.n_interim++;
		str_reset(&peer->heard.start);
		str_reset(&peer->heard.fields);
		return true;
	}
	peer->heard.has_head = true;
	peer->is_tunnel = view_eq(start, VIEW("101"));
	frame(peer);
	return true;
}

/* True when there was a piece of the body. */
static bool hear_plain(struct peer *peer)
{
	struct view text = str_as_view(&peer->in);
	size_t n = peer->until_end || text.len < peer->left ? text.len : peer->left;
	if (n == 0)
		return false;
	str_view(&peer->heard.body, view_head(text, n));
	str_cut_front(&peer->in, n);
	if (peer->until_end)
		return true;
	peer->left -= n;
	peer->heard.has_end = peer->left == 0;
	return true;
}

static void hear_trailer(struct peer *peer, struct view line)
{
	str_printf(&peer->heard.fields, "trailer-" VIEW_FMT "\n", VIEW_ARG(line));
}

/* A whole chunk, or the end with its trailers. */
static bool hear_chunk(struct peer *peer)
{
	struct view text = str_as_view(&peer->in);
	const char *line = text.len ? memmem(text.ptr, text.len, "\r\n", 2) : NULL;
	if (!line)
		return false;
	size_t head = (size_t)(line - text.ptr) + 2, size = strtoul(text.ptr, NULL, 16);
	if (size == 0) {
		const char *end = memmem(line, text.len - head + 2, "\r\n\r\n", 4);
		if (!end)
			return false;
		struct view trailers = view_of(line + 2, (size_t)(end - line));
		while (trailers.len)
			hear_trailer(peer, next_line(&trailers));
		str_cut_front(&peer->in, (size_t)(end - text.ptr) + 4);
		peer->heard.has_end = true;
		return true;
	}
	if (text.len < head + size + 2)
		return false;
	str_view(&peer->heard.body, view_of(text.ptr + head, size));
	str_cut_front(&peer->in, head + size + 2);
	return true;
}

static bool hear(struct peer *peer)
{
	if (peer->is_tunnel)
		return false;
	if (!peer->heard.has_head)
		return hear_head(peer);
	if (peer->heard.has_end)
		return false; /* the next message waits until this one is forgotten */
	return peer->in_chunks ? hear_chunk(peer) : hear_plain(peer);
}

void peer_h1_understand(struct peer *peer)
{
	while (hear(peer))
		;
}

/* ---- speaking ---- */

/* True: among them is the length of the body. */
static bool say_fields(struct str *out, struct view fields)
{
	struct view name, value;
	bool has_length = false;
	while (peer_next_field(&fields, &name, &value)) {
		str_printf(out, VIEW_FMT ": " VIEW_FMT "\r\n", VIEW_ARG(name), VIEW_ARG(value));
		has_length |= view_ieq(name, VIEW("content-length"));
	}
	return has_length;
}

static void say_start(struct peer *peer, struct str *out, struct view start)
{
	if (peer->is_backend) {
		str_printf(out, "HTTP/1.1 " VIEW_FMT " Said\r\n", VIEW_ARG(start));
		return;
	}
	peer->no_body = view_starts(start, VIEW("HEAD "));
	str_printf(out, VIEW_FMT " HTTP/1.1\r\nHost: script.test\r\n", VIEW_ARG(start));
}

static void say_piece(struct peer *peer, struct str *out, struct view body)
{
	if (!peer->chunked) {
		str_view(out, body);
		return;
	}
	if (body.len) {
		str_printf(out, "%zx\r\n", body.len);
		str_view(out, body);
		str_text(out, "\r\n");
	}
}

static bool is_interim(struct view start)
{
	return *start.ptr == '1' && !view_eq(start, VIEW("101"));
}

void peer_h1_say(struct peer *peer, const struct peer_words *words)
{
	struct str out = STR_INIT;
	say_start(peer, &out, words->start);
	bool has_length = say_fields(&out, words->fields);
	peer->chunked = words->unfinished && !has_length;
	bool silent = peer->is_backend && (is_interim(words->start) || *words->start.ptr == '1');
	if (peer->chunked)
		str_text(&out, "Transfer-Encoding: chunked\r\n");
	else if (!silent && !has_length && (peer->is_backend || words->body.len))
		str_printf(&out, "Content-Length: %zu\r\n", words->body.len);
	str_text(&out, "\r\n");
	say_piece(peer, &out, words->body);
	peer_raw(peer, str_as_view(&out));
	str_fini(&out);
}

void peer_h1_say_body(struct peer *peer, struct view body)
{
	struct str out = STR_INIT;
	say_piece(peer, &out, body);
	peer_raw(peer, str_as_view(&out));
	str_fini(&out);
}

void peer_h1_end(struct peer *peer, struct view trailers)
{
	struct str out = STR_INIT;
	if (!peer->chunked)
		return;
	str_text(&out, "0\r\n");
	say_fields(&out, trailers);
	str_text(&out, "\r\n");
	peer_raw(peer, str_as_view(&out));
	str_fini(&out);
}
