/* SPDX-License-Identifier: MIT */
#include "h1_run.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "weir/base/check.h"

/*
 * One connection.  The bytes not used up yet are kept in a heap block of their
 * exact size, so that a sanitizer sees each read beyond them.
 */
struct feed {
	const struct h1_run *run;
	struct str *events;
	char *bytes; /* owns */
	size_t len;
	size_t seen; /* of these, in a head known to be incomplete */
	bool in_body;
	bool dead;
	bool data_open; /* the last event is a data line that may grow */
	struct h1_body body;
};

static struct message msg;

void h1_run_escape(struct str *out, struct view bytes)
{
	for (size_t i = 0; i < bytes.len; i++) {
		unsigned char c = (unsigned char)bytes.ptr[i];
		if (c == '\r')
			str_text(out, "\\r");
		else if (c == '\n')
			str_text(out, "\\n");
		else if (c == '\t')
			str_text(out, "\\t");
		else if (c == '\\')
			str_text(out, "\\\\");
		else if (isprint(c))
			str_char(out, (char)c);
		else
			str_printf(out, "\\x%02x", c);
	}
}

static void event(struct feed *feed, const char *word, struct view text)
{
	bool grows = feed->data_open && strcmp(word, "data") == 0;
	feed->data_open = strcmp(word, "data") == 0;
	if (grows) {
		feed->events->len--; /* the line end */
	} else {
		str_text(feed->events, word);
		if (text.len)
			str_char(feed->events, ' ');
	}
	h1_run_escape(feed->events, text);
	str_char(feed->events, '\n');
}

static void event_number(struct feed *feed, const char *word, uint64_t n)
{
	char room[24];
	event(feed, word, view_of(room, (size_t)snprintf(room, sizeof(room), "%ju", (uintmax_t)n)));
}

static void reject(struct feed *feed, enum reject why)
{
	char room[64];
	int n = snprintf(room, sizeof(room), "%s %u", reject_name(why), reject_status(why));
	event(feed, "reject", view_of(room, (size_t)n));
	feed->dead = true;
}

static void headers(struct feed *feed, const char *kept, const char *dropped)
{
	for (uint32_t i = 0; i < msg.n_headers; i++) {
		const struct header *hdr = &msg.headers[i];
		struct str line = STR_INIT;
		str_view(&line, hdr->name);
		str_text(&line, ": ");
		str_view(&line, hdr->value);
		event(feed, hdr->drop ? dropped : kept, view_trim(str_as_view(&line)));
		str_fini(&line);
		check(hdr->name.ptr + hdr->line_len <= feed->bytes + feed->len);
	}
}

static void start_line(struct feed *feed)
{
	struct str line = STR_INIT;
	if (feed->run->is_response) {
		str_printf(&line, "%u ", msg.status);
		str_view(&line, msg.reason);
	} else {
		str_printf(&line, VIEW_FMT " ", VIEW_ARG(msg.method_text));
		str_view(&line, msg.target);
	}
	str_printf(&line, " HTTP/1.%u", msg.version_minor);
	event(feed, feed->run->is_response ? "response" : "request", str_as_view(&line));
	str_fini(&line);
}

static void head_events(struct feed *feed)
{
	message_drop_hop_by_hop(&msg, msg.upgrade);
	start_line(feed);
	if (msg.scheme.len)
		event(feed, "scheme", msg.scheme);
	if (msg.authority.len)
		event(feed, "authority", msg.authority);
	if (!view_eq(msg.path, msg.target))
		event(feed, "path", msg.path);
	headers(feed, "header", "drop");
	if (msg.body == BODY_LENGTH)
		event_number(feed, "body length", msg.content_length);
	if (msg.body == BODY_CHUNKED)
		event(feed, "body chunked", VIEW_NONE);
	if (msg.body == BODY_CLOSE)
		event(feed, "body close", VIEW_NONE);
	if (!msg.keep_alive)
		event(feed, "close", VIEW_NONE);
	if (msg.upgrade)
		event(feed, "upgrade", VIEW_NONE);
	if (msg.expect_continue)
		event(feed, "expect-continue", VIEW_NONE);
	if (msg.n_underscore)
		event_number(feed, "underscores", msg.n_underscore);
}

/* The first n bytes are done with. */
static void consume(struct feed *feed, size_t n)
{
	check(n <= feed->len);
	char *rest = malloc(feed->len - n ? feed->len - n : 1);
	check(rest != NULL);
	memcpy(rest, feed->bytes + n, feed->len - n);
	free(feed->bytes);
	feed->bytes = rest;
	feed->len -= n;
	feed->seen = 0;
}

/* True when it made progress. */
static bool read_head(struct feed *feed)
{
	const struct h1_run *run = feed->run;
	struct view in = view_of(feed->bytes, feed->len);
	enum reject why;
	bool may_be_complete = h1_head_may_be_complete(in, feed->seen, &run->limits);
	enum h1_result result =
	    run->is_response ? h1_parse_response(in, &run->limits, run->request_method, &msg, &why)
			     : h1_parse_request(in, &run->limits, &msg, &why);
	if (result == H1_MORE)
		feed->seen = feed->len;
	if (result == H1_BAD)
		reject(feed, why);
	if (result != H1_OK)
		return false;
	check(may_be_complete);
	head_events(feed);
	h1_body_init(&feed->body, &msg, &run->limits, run->max_body);
	feed->in_body = true;
	consume(feed, msg.head_len);
	return true;
}

static void end(struct feed *feed, struct view trailers)
{
	enum reject why;
	/* the section lies in feed->bytes, as headers() expects */
	if (h1_parse_trailers(trailers, &feed->run->limits, &msg, &why) != H1_OK) {
		reject(feed, why);
		return;
	}
	headers(feed, "trailer", "drop-trailer");
	event(feed, "end", VIEW_NONE);
	feed->in_body = false;
}

static bool read_body(struct feed *feed)
{
	struct h1_piece piece;
	enum reject why;
	enum h1_result result = h1_body_read(&feed->body, feed->bytes, feed->len, &piece, &why);
	if (piece.data.len)
		event(feed, "data", piece.data);
	if (result == H1_BAD)
		reject(feed, why);
	else if (result == H1_OK)
		end(feed, piece.trailers);
	if (!feed->dead)
		consume(feed, piece.consumed);
	return result == H1_OK;
}

static void give(struct feed *feed, struct view piece)
{
	feed->bytes = realloc(feed->bytes, feed->len + piece.len + !(feed->len + piece.len));
	check(feed->bytes != NULL);
	memcpy(feed->bytes + feed->len, piece.ptr, piece.len);
	feed->len += piece.len;
	bool progress = true;
	while (!feed->dead && progress && (feed->in_body || feed->len))
		progress = feed->in_body ? read_body(feed) : read_head(feed);
}

void h1_run(const struct h1_run *run, struct view input, const size_t *cuts, size_t n_cuts,
	    struct str *events)
{
	struct feed feed = {.run = run, .events = events};
	size_t at = 0;
	for (size_t i = 0; i <= n_cuts; i++) {
		size_t to = i < n_cuts ? cuts[i] : input.len;
		give(&feed, view_of(input.ptr + at, to - at));
		at = to;
	}
	if (!feed.dead && feed.in_body && h1_body_may_end(&feed.body))
		event(&feed, "end", VIEW_NONE);
	else if (!feed.dead && (feed.in_body || feed.len))
		event(&feed, feed.in_body ? "cut" : "more", VIEW_NONE);
	free(feed.bytes);
}
