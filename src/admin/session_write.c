/* SPDX-License-Identifier: MIT */
/* Answers of a session as they are sent: heads, bodies, what waits to be taken. */
#include "session_write.h"

#include <time.h>

#include "weir/base/check.h"
#include "weir/base/clock.h"

/* Room for the head of an answer. */
#define HEAD_BYTES 1024

void session_set_state(struct session *s, enum session_state state)
{
	check_slow(s->state != SESSION_CLOSING || state == SESSION_CLOSING);
	s->api->n_streams -= s->state == SESSION_STREAM;
	s->api->n_streams += state == SESSION_STREAM;
	s->state = state;
}

/* A text counts once, however many send it. */
static void take_rest(struct session *s, struct text *text)
{
	if (text->n_senders++ == 0)
		s->api->backlog += text->str.len;
	s->rest = text_get(text);
	s->rest_sent = 0;
}

void session_drop_rest(struct session *s)
{
	if (!s->rest)
		return;
	if (--s->rest->n_senders == 0)
		s->api->backlog -= s->rest->str.len;
	text_put(s->rest);
	s->rest = NULL;
}

static void put_date(struct h1_out *out)
{
	char text[40];
	time_t now = (time_t)(clock_wall_us() / 1000000);
	struct tm tm;
	gmtime_r(&now, &tm);
	size_t len = strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	h1_put_header(out, VIEW("Date"), view_of(text, len));
}

static void put_allow(struct h1_out *out, unsigned allow)
{
	static const struct {
		enum method method;
		const char *text;
	} names[] = {{METHOD_GET, "GET, HEAD"}, {METHOD_POST, "POST"}, {METHOD_DELETE, "DELETE"}};
	char room[64];
	struct str text = str_fixed(room, sizeof(room));
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (allow & 1u << names[i].method)
			str_printf(&text, "%s%s", text.len ? ", " : "", names[i].text);
	h1_put_header(out, VIEW("Allow"), str_as_view(&text));
}

/* The page carries all it needs and talks to nobody else; no other page may frame it. */
static void put_page_policy(struct h1_out *out)
{
	h1_put_header(out, VIEW("Content-Security-Policy"),
		      VIEW("default-src 'none'; style-src 'unsafe-inline'; script-src "
			   "'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; "
			   "form-action 'none'; frame-ancestors 'none'"));
	h1_put_header(out, VIEW("Referrer-Policy"), VIEW("no-referrer"));
}

static void put_challenge(struct h1_out *out, struct view realm)
{
	char room[HEAD_BYTES / 2];
	struct str text = str_fixed(room, sizeof(room));
	str_printf(&text, "Basic realm=\"" VIEW_FMT "\", charset=\"UTF-8\"", VIEW_ARG(realm));
	h1_put_header(out, VIEW("WWW-Authenticate"), str_as_view(&text));
}

static void put_head(struct session *s, const struct answer *answer, size_t body_len)
{
	char room[HEAD_BYTES];
	struct h1_out out = h1_out_init(room, sizeof(room));
	h1_put_status_line(&out, answer->status, VIEW_NONE);
	put_date(&out);
	h1_put_header(&out, VIEW("Content-Type"), view_str(answer->type));
	if (!answer->goes_on)
		h1_put_header_u64(&out, VIEW("Content-Length"), body_len);
	h1_put_header(&out, VIEW("Cache-Control"), VIEW("no-store"));
	h1_put_header(&out, VIEW("X-Content-Type-Options"), VIEW("nosniff"));
	if (view_starts(view_str(answer->type), VIEW("text/html")) && !answer->is_anothers)
		put_page_policy(&out);
	if (answer->allow)
		put_allow(&out, answer->allow);
	if (answer->needs_token)
		h1_put_header(&out, VIEW("WWW-Authenticate"), VIEW("Bearer realm=\"weir\""));
	if (answer->realm.len)
		put_challenge(&out, answer->realm);
	if (answer->retry)
		h1_put_header(&out, VIEW("Retry-After"), VIEW("1"));
	if (!s->keep_alive)
		h1_put_header(&out, VIEW("Connection"), VIEW("close"));
	else if (s->version_minor == 0)
		h1_put_header(&out, VIEW("Connection"), VIEW("keep-alive"));
	check(!out.overflow);
	str_put(&s->out, out.ptr, out.len);
	str_view(&s->out, answer->fields);
	str_text(&s->out, "\r\n");
}

void session_answer(struct session *s, struct answer *answer)
{
	struct view body = str_as_view(&answer->body);
	size_t before = s->out.len;
	s->keep_alive = s->keep_alive && !answer->goes_on;
	if (!view_ends(body, VIEW("\n"))) /* for people with curl */
		str_char(&answer->body, '\n');
	bool large = answer->body.len > SESSION_KEEP_BYTES && !s->head_only && !answer->goes_on;
	size_t len = answer->body.len;
	if (answer->body.overflow || !str_reserve(&s->out, (large ? 0 : len) + HEAD_BYTES)) {
		answer_error(answer, 503, "out of memory for this answer");
		large = false;
		len = answer->body.len;
	}
	struct text *text = large ? text_new(&answer->body) : NULL;
	put_head(s, answer, len);
	if (text) /* not copied: a thousand backends make megabytes */
		take_rest(s, text);
	else if (!s->head_only)
		str_view(&s->out, str_as_view(&answer->body));
	text_put(text);
	str_fini(&answer->body);
	s->api->backlog += s->out.len - before;
	s->n_requests++;
	/* cut short, it cannot be told from a whole answer: end without it */
	if (s->out.overflow)
		s->keep_alive = false;
	if (answer->goes_on && !s->head_only && !s->out.overflow) {
		session_set_state(s, SESSION_STREAM);
		s->look_us = clock_us() + SESSION_LOOK_US;
	} else {
		session_set_state(s, s->keep_alive ? SESSION_HEAD : SESSION_CLOSING);
	}
}

void session_answer_cached(struct session *s, const struct cached *made)
{
	struct answer answer = {.status = 200, .type = made->type, .body = STR_INIT};
	size_t before = s->out.len;
	put_head(s, &answer, made->text->str.len);
	take_rest(s, made->text);
	s->api->backlog += s->out.len - before;
	s->n_requests++;
	if (s->out.overflow)
		s->keep_alive = false;
	session_set_state(s, s->keep_alive ? SESSION_HEAD : SESSION_CLOSING);
}

void session_push(struct session *s, struct view bytes)
{
	check(s->state == SESSION_STREAM);
	if (session_out(s).len || !str_reserve(&s->out, bytes.len))
		return;
	str_view(&s->out, bytes);
	s->api->backlog += bytes.len;
}

void session_end_with(struct session *s, struct answer *answer)
{
	s->keep_alive = false;
	s->in.len = s->seen = 0;
	session_answer(s, answer);
}

void session_refuse(struct session *s, enum reject why)
{
	struct answer answer = {.body = STR_INIT};
	answer_error(&answer, reject_status(why), "%s", reject_sentence(why));
	if (answer.status == 405)
		answer.allow = 1u << METHOD_GET | 1u << METHOD_POST | 1u << METHOD_DELETE;
	s->head_only = false;
	session_end_with(s, &answer);
}

void session_time_out(struct session *s)
{
	struct answer answer = {.body = STR_INIT};
	answer_error(&answer, 408, "the request came too slowly");
	s->head_only = false;
	session_end_with(s, &answer);
}

void session_sent(struct session *s, size_t n)
{
	if (s->sent == s->out.len) {
		s->rest_sent += n;
		if (s->rest_sent == s->rest->str.len)
			session_drop_rest(s);
		return;
	}
	s->sent += n;
	s->api->backlog -= n;
	if (s->sent < s->out.len)
		return;
	s->sent = 0;
	if (s->out.cap > SESSION_KEEP_BYTES)
		str_fini(&s->out);
	s->out.len = 0;
}

void session_answer_and_keep(struct session *s, struct answer *answer, struct view key)
{
	const char *type = answer->type;
	bool keeps = key.len && answer->status == 200;
	session_answer(s, answer);
	if (keeps && s->rest)
		cache_add(&s->api->cache, key, s->rest, type);
}
