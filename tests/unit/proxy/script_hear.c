/* SPDX-License-Identifier: MIT */
/* What peers of a script say, and are to hear. */
#include "script_parts.h"

/* ---- saying ---- */

void script_say(struct script *s, struct peer *peer, struct words *w)
{
	struct str *fields = script_scratch(s), *body = script_scratch(s),
		   *start = script_scratch(s);
	struct peer_words words = {0};
	str_view(start, script_word(w));
	if (!peer->is_backend) {
		str_char(start, ' ');
		str_view(start, script_word(w));
	}
	while (script_trim(w->rest).len) {
		if (script_skip(w, "with")) {
			script_quoted(s, w, fields);
			str_char(fields, '\n');
		} else if (script_skip(w, "body")) {
			script_payload(s, w, body);
		} else if (script_skip(w, "unfinished")) {
			words.unfinished = true;
		} else {
			script_fail(s, "what is '" VIEW_FMT "'?", VIEW_ARG(w->rest));
		}
	}
	words.start = str_as_view(start);
	words.fields = str_as_view(fields);
	words.body = str_as_view(body);
	peer_say(peer, &words);
}

void script_say_more(struct script *s, struct peer *peer, struct words *w)
{
	struct str *body = script_scratch(s);
	script_payload(s, w, body);
	peer_say_body(peer, str_as_view(body));
}

void script_say_end(struct script *s, struct peer *peer, struct words *w)
{
	struct str *trailers = script_scratch(s);
	while (script_skip(w, "with")) {
		script_quoted(s, w, trailers);
		str_char(trailers, '\n');
	}
	peer_end(peer, str_as_view(trailers));
}

/* ---- hearing ---- */

/* Turns the world until the peer has heard what is wanted; the peer that has. */
static struct peer *listen_for(struct script *s, struct peer *peer, struct place *place,
			       bool (*has)(const struct peer *peer, const void *arg),
			       const void *arg)
{
	for (bool more = true; more;) {
		more = script_round(s);
		struct peer *heard = place ? place_heard(place) : NULL;
		if (heard)
			place->at = peer = heard;
		if (peer && has(peer, arg))
			return peer;
	}
	return NULL;
}

static bool has_all(const struct peer *peer, const void *arg)
{
	(void)arg;
	return peer->heard.has_end || peer->heard.is_broken;
}

static bool has_head(const struct peer *peer, const void *arg)
{
	(void)arg;
	return peer->heard.has_head || peer->heard.is_broken;
}

static bool has_body(const struct peer *peer, const void *arg)
{
	return peer->heard.body.len >= *(const size_t *)arg || peer->heard.is_broken;
}

static void expect_view(struct script *s, const char *what, struct view is, struct view wanted)
{
	if (!view_eq(is, wanted))
		script_fail(s, "%s is '%.*s'%s, not '%.*s'", what,
			    (int)(is.len < 200 ? is.len : 200), is.ptr, is.len < 200 ? "" : "...",
			    (int)(wanted.len < 200 ? wanted.len : 200), wanted.ptr);
}

static void expect_field(struct script *s, const struct peer *peer, struct view field)
{
	struct view name, value;
	if (!peer_next_field(&field, &name, &value))
		script_fail(s, "expected \"name: value\"");
	struct view is = peer_field(peer, name);
	if (!is.ptr)
		script_fail(s, "there is no field '" VIEW_FMT "'", VIEW_ARG(name));
	if (!view_eq(value, VIEW("*")))
		expect_view(s, "the field", is, value);
}

/* Whatever happens, a message that says it is whole is. */
static void expect_body(struct script *s, const struct peer *peer, struct view wanted)
{
	bool lenient = s->lenient;
	s->lenient = false;
	expect_view(s, "the body", str_as_view(&peer->heard.body), wanted);
	s->lenient = lenient;
}

static void expect_details(struct script *s, const struct peer *peer, struct words *w)
{
	while (script_trim(w->rest).len) {
		struct str *text = script_scratch(s);
		if (script_skip(w, "with")) {
			script_quoted(s, w, text);
			expect_field(s, peer, str_as_view(text));
		} else if (script_skip(w, "without")) {
			struct view name = script_word(w);
			if (peer_field(peer, name).ptr)
				script_fail(s, "there is a field '" VIEW_FMT "'", VIEW_ARG(name));
		} else if (script_skip(w, "body")) {
			script_payload(s, w, text);
			expect_body(s, peer, str_as_view(text));
		} else if (script_skip(w, "interim")) {
			uint64_t n = script_number(s, w);
			if (peer->heard.n_interim != n)
				script_fail(s, "%u interim responses", peer->heard.n_interim);
		} else {
			script_fail(s, "what is '" VIEW_FMT "'?", VIEW_ARG(w->rest));
		}
	}
}

static void hear_body(struct script *s, struct peer *peer, struct place *place, struct words *w)
{
	struct str *text = script_scratch(s);
	script_payload(s, w, text);
	peer = listen_for(s, peer, place, has_body, &text->len);
	if (!peer)
		script_fail(s, "the body has not come");
	expect_view(s, "the body", str_as_view(&peer->heard.body), str_as_view(text));
}

static void hear_nothing(struct script *s, struct peer *peer, struct place *place)
{
	script_settle(s);
	struct peer *heard = place ? place_heard(place) : peer;
	if (heard && (heard->heard.has_head || heard->heard.is_broken))
		script_fail(s, "heard '" VIEW_FMT "'", VIEW_ARG(str_as_view(&heard->heard.start)));
}

void script_have(struct script *s, const struct peer *peer, struct words *w)
{
	uint64_t n = script_number(s, w);
	if (peer->heard.body.len != n)
		script_fail(s, "has %zu bytes", peer->heard.body.len);
}

static _Noreturn void not_come(struct script *s, const struct peer *peer, const struct str *wanted)
{
	if (!peer)
		script_fail(s, "'" VIEW_FMT "' has not come, nor anything",
			    VIEW_ARG(str_as_view(wanted)));
	const struct peer_message *m = &peer->heard;
	script_fail(s,
		    "'" VIEW_FMT "' has not come, but '" VIEW_FMT
		    "' with %zu bytes, then '" VIEW_FMT "'%s",
		    VIEW_ARG(str_as_view(wanted)), VIEW_ARG(str_as_view(&m->start)), m->body.len,
		    VIEW_ARG(str_as_view(&peer->in)), peer->at_end ? ", and the end" : "");
}

void script_hear(struct script *s, struct peer *peer, struct place *place, struct words *w)
{
	s->cut.still = false;
	if (script_skip(w, "nothing")) {
		hear_nothing(s, peer, place);
		return;
	}
	if (script_skip(w, "body")) {
		hear_body(s, peer, place, w);
		return;
	}
	bool head_only = script_skip(w, "head");
	struct view first = script_word(w);
	struct str *start = script_scratch(s);
	str_view(start, first);
	if (place) {
		str_char(start, ' ');
		str_view(start, script_word(w));
	}
	struct peer *heard = listen_for(s, peer, place, head_only ? has_head : has_all, NULL);
	if (!heard)
		not_come(s, peer, start);
	peer = heard;
	if (peer->heard.is_broken)
		script_fail(s, "was cut off");
	expect_view(s, "what came", str_as_view(&peer->heard.start), str_as_view(start));
	expect_details(s, peer, w);
	if (!head_only)
		peer_forget(peer);
}

static bool is_gone(const struct peer *peer, const void *arg)
{
	(void)arg;
	return (peer->at_end && !peer->gone_told) || peer->heard.is_broken || peer->n_reset;
}

/* One of a backend's connections that has gone, and was not asked for yet. */
static struct peer *find_gone(struct script *s, struct peer *peer, struct place *place)
{
	for (bool more = true; more;) {
		more = script_round(s);
		for (unsigned k = 0; place && k < place->n_conns; k++)
			if (is_gone(place->conns[k], NULL))
				return place->conns[k];
		if (!place && is_gone(peer, NULL))
			return peer;
	}
	return NULL;
}

void script_be(struct script *s, struct peer *peer, struct place *place, struct words *w)
{
	bool cut = script_skip(w, "cut"), either = !cut && script_skip(w, "gone");
	if (!cut && !either && !script_skip(w, "closed"))
		script_fail(s, "is what?");
	struct peer *gone = find_gone(s, peer, place);
	if (!gone)
		script_fail(s, "is still there");
	if (cut && !gone->heard.is_broken)
		script_fail(s, "ended, but was not cut");
	if (!cut && !either && (gone->heard.is_broken || gone->heard.has_head))
		script_fail(s, "was closed in the middle");
	gone->gone_told = gone->at_end;
	if (gone->n_reset)
		gone->n_reset--;
	else
		peer_forget(gone);
}

/* ---- raw bytes ---- */

struct expected {
	struct view bytes;
};

static bool has_bytes(const struct peer *peer, const void *arg)
{
	const struct expected *e = arg;
	return peer->in.len >= e->bytes.len;
}

void script_raw_in(struct script *s, struct peer *peer, struct place *place, struct view text)
{
	struct str *bytes = script_scratch(s);
	script_unescape(s, bytes, text);
	struct expected expected = {str_as_view(bytes)};
	struct peer *heard = listen_for(s, peer, place, has_bytes, &expected);
	if (!heard)
		script_fail(s, "only '" VIEW_FMT "' has come", VIEW_ARG(str_as_view(&peer->in)));
	expect_view(s, "what came", view_head(str_as_view(&heard->in), bytes->len), expected.bytes);
	str_cut_front(&heard->in, bytes->len);
}

void script_raw_out(struct script *s, struct peer *peer, struct view text)
{
	struct str *bytes = script_scratch(s);
	script_unescape(s, bytes, text);
	peer_raw(peer, str_as_view(bytes));
}
