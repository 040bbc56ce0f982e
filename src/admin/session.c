/* SPDX-License-Identifier: MIT */
/*
 * Framing of requests and answers.  The head stays in `in` until the request is
 * answered and is parsed once more then: all sessions share one struct message.
 */
#include <stdlib.h>

#include "dialect.h"
#include "session_write.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"

/* Answers that all clients together may leave unread before TCP clients get 503. */
#define BACKLOG_MAX ((size_t)64 << 20)
static const struct h1_limits limits = {
    .head_bytes = 16 * 1024, .line_bytes = 8 * 1024, .n_headers = 64};

struct later {
	struct session *session; /* NULL: the client has left */
	bool may_change;
};

void session_init(struct session *s, struct api *api, bool trusted)
{
	*s = (struct session){.api = api, .trusted = trusted};
	s->in = s->content = s->out = s->later_key = STR_INIT;
}

void session_fini(struct session *s)
{
	if (s->later)
		s->later->session = NULL;
	entry_cancel(&s->entry);
	session_set_state(s, SESSION_CLOSING);
	s->api->backlog -= s->out.len - s->sent;
	str_fini(&s->in);
	str_fini(&s->content);
	str_fini(&s->out);
	str_fini(&s->later_key);
	session_drop_rest(s);
}

void session_put(struct session *s, struct view bytes)
{
	if (s->state == SESSION_STREAM)
		return;
	str_view(&s->in, bytes);
}

/* Takes n bytes out of `in`, from `at` on. */
static void cut(struct str *in, size_t at, size_t n)
{
	memmove(in->ptr + at, in->ptr + at + n, in->len - at - n);
	in->len -= n;
	in->ptr[in->len] = '\0';
}

/* ---- answers that come later ---- */

struct later *call_later(struct call *call)
{
	struct later *later = malloc(sizeof(*later));
	if (later) {
		later->session = call->session;
		later->may_change = call_may_change(call);
		call->session->later = later;
	}
	return later;
}

bool later_may_change(const struct later *later)
{
	return later->may_change;
}

void later_answer(struct later *later, struct answer *answer)
{
	struct session *s = later->session;
	free(later);
	if (!s) {
		str_fini(&answer->body);
		return;
	}
	bool waited = s->state == SESSION_WAITING;
	s->later = NULL;
	session_answer_and_keep(s, answer, str_as_view(&s->later_key));
	str_fini(&s->later_key);
	if (waited && s->ready)
		s->ready(s);
}

/* ---- requests ---- */

static void on_entry(struct entry_wait *wait);

static struct call call_of(struct session *s)
{
	struct call call = {.api = s->api,
			    .msg = &s->api->msg,
			    .trusted = s->trusted,
			    .only_probes = s->only_probes,
			    .session = s};
	call.arena = arena_new();
	call.answer.body = STR_INIT;
	s->entry.ready = on_entry;
	return call;
}

/* What an answer depends on, beside the state of the daemon; empty: it is made anew. */
static struct view key_of(const struct call *call)
{
	struct message *msg = call->msg;
	struct str key = STR_INIT;
	if (msg->method != METHOD_GET || call->body.len)
		return VIEW_NONE;
	const struct header *accept = message_find_name(msg, VIEW("accept"));
	str_printf(&key, "%d%d%d " VIEW_FMT "\n" VIEW_FMT "\n" VIEW_FMT, call->trusted,
		   call_may_change(call), call->only_probes, VIEW_ARG(msg->path),
		   VIEW_ARG(msg->authority), VIEW_ARG(accept ? accept->value : VIEW_NONE));
	struct view v = arena_view(call->arena, str_as_view(&key));
	str_fini(&key);
	return v;
}

static void look(struct session *s);

/* In the loop of the API; session_run goes on. */
static void on_entry(struct entry_wait *wait)
{
	struct session *s = container_of(wait, struct session, entry);
	if (s->state == SESSION_STREAM)
		look(s);
	else
		session_set_state(s, SESSION_KNOWN);
	if (s->ready)
		s->ready(s);
}

/* Whether the call goes on; else there is an answer, or the session is WAITING for somebody's. */
static bool may_enter(struct session *s, struct call *call)
{
	enum entry entry = entry_ask(call, &s->entry);
	if (entry == ENTRY_ASKING)
		session_set_state(s, SESSION_WAITING);
	return entry == ENTRY_OPEN;
}

/* The same request once more; who was let in for good may have lost it. */
static void look(struct session *s)
{
	enum reject why;
	struct call call = call_of(s);
	bool read = h1_parse_request(str_as_view(&s->in), &limits, call.msg, &why) == H1_OK;
	if (!read || entry_ask(&call, &s->entry) == ENTRY_REFUSED)
		session_set_state(s, SESSION_CLOSING);
	str_fini(&call.answer.body);
	arena_free(call.arena);
}

void session_look(struct session *s, uint64_t now_us)
{
	check(s->state == SESSION_STREAM);
	if (now_us < s->look_us || s->entry.api) /* it is asked at this moment */
		return;
	s->look_us = now_us + SESSION_LOOK_US;
	look(s);
}

static void make_answer(struct session *s, struct call *call, uint64_t n_before)
{
	struct api *api = s->api;
	const void *conf = api->host.conf(api->host.ctx);
	struct view key = key_of(call);
	const struct cached *made = key.len ? cache_find(&api->cache, key, conf) : NULL;
	if (made) {
		session_answer_cached(s, made);
		return;
	}
	str_reset(&s->later_key);
	str_view(&s->later_key, key); /* it may be there before api_dispatch returns */
	api_dispatch(call);
	if (!s->later && s->n_requests == n_before)
		session_answer_and_keep(s, &call->answer, key);
}

static void answer_request(struct session *s)
{
	struct api *api = s->api;
	enum reject why;
	if (h1_parse_request(view_of(s->in.ptr, s->head_len), &limits, &api->msg, &why) != H1_OK) {
		session_refuse(s, why);
		return;
	}
	struct call call = call_of(s);
	call.body = str_as_view(&s->content);
	s->keep_alive = api->msg.keep_alive && !s->only_probes;
	s->version_minor = api->msg.version_minor;
	s->head_only = api->msg.method == METHOD_HEAD;
	uint64_t n_before = s->n_requests;
	if (!s->trusted && api->backlog > BACKLOG_MAX)
		call_error(&call, 503, "too many answers wait to be read");
	else if (may_enter(s, &call))
		make_answer(s, &call, n_before);
	bool parked = s->state == SESSION_WAITING; /* with its head and its body */
	if (s->later)
		session_set_state(s, SESSION_WAITING);
	else if (s->n_requests == n_before && !parked)
		session_answer(s, &call.answer);
	arena_free(call.arena);
	if (parked)
		return;
	if (s->state == SESSION_STREAM) /* its head is needed again */
		s->in.len = s->head_len;
	else if (s->state != SESSION_CLOSING)
		cut(&s->in, 0, s->head_len);
	s->seen = 0;
	if (s->content.cap > SESSION_KEEP_BYTES / 4)
		str_fini(&s->content);
}

/* A line of HAProxy's dialect; false while it is not complete. */
static bool read_line(struct session *s)
{
	struct view in = str_as_view(&s->in);
	ptrdiff_t end = view_chr(in, '\n');
	size_t before = s->out.len;
	if (end < 0 && in.len <= limits.line_bytes)
		return false;
	if (end < 0) {
		session_set_state(s, SESSION_CLOSING);
		return true;
	}
	struct view line = view_trim(view_head(in, (size_t)end));
	bool stays = dialect_run(s->api, line, &s->prompts, &s->out);
	s->api->backlog += s->out.len - before;
	s->n_requests++;
	cut(&s->in, 0, (size_t)end + 1);
	if (!stays || s->out.overflow)
		session_set_state(s, SESSION_CLOSING);
	return true;
}

static bool read_head(struct session *s)
{
	struct view in = str_as_view(&s->in);
	enum reject why;
	if (s->prompts || (s->trusted && dialect_is_spoken(in)))
		return read_line(s);
	if (!in.len || !h1_head_may_be_complete(in, s->seen, &limits)) {
		s->seen = in.len;
		return false;
	}
	switch (h1_parse_request(in, &limits, &s->api->msg, &why)) {
	case H1_MORE:
		s->seen = in.len;
		return false;
	case H1_BAD:
		session_refuse(s, why);
		return true;
	case H1_OK:
		break;
	}
	s->head_len = s->api->msg.head_len;
	s->wants_continue = s->api->msg.expect_continue;
	h1_body_init(&s->body, &s->api->msg, &limits, API_BODY_MAX);
	str_reset(&s->content);
	session_set_state(s, SESSION_BODY);
	return true;
}

static bool read_body(struct session *s)
{
	struct h1_piece piece;
	enum reject why;
	enum h1_result result =
	    h1_body_read(&s->body, s->in.ptr + s->head_len, s->in.len - s->head_len, &piece, &why);
	str_view(&s->content, piece.data);
	cut(&s->in, s->head_len, piece.consumed);
	switch (result) {
	case H1_BAD:
		session_refuse(s, why);
		return true;
	case H1_OK:
		answer_request(s);
		return true;
	case H1_MORE:
		break;
	}
	if (s->wants_continue) {
		const struct view text = VIEW("HTTP/1.1 100 Continue\r\n\r\n");
		str_view(&s->out, text);
		s->api->backlog += text.len;
		s->wants_continue = false;
	}
	return false;
}

/* ---- the end of this process's part ---- */

/* Clients ask again by themselves when a kept connection ends before an answer (RFC 9112 9.3.1);
 * and people at a prompt, and who asks nothing, are not told in HTTP. */
static bool needs_no_word(const struct session *s)
{
	struct view in = str_as_view(&s->in);
	if (!in.len || s->prompts || (s->trusted && dialect_is_spoken(in)))
		return true;
	return s->n_requests && (view_starts(in, VIEW("GET ")) || view_starts(in, VIEW("HEAD ")));
}

/* It has begun to ask, and has no answer yet. */
static bool is_asking(const struct session *s)
{
	return s->state == SESSION_BODY || s->state == SESSION_WAITING ||
	       s->state == SESSION_KNOWN || (s->state == SESSION_HEAD && !session_out(s).len);
}

bool session_leave(struct session *s)
{
	struct answer answer = {.body = STR_INIT};
	s->keep_alive = false;
	if (s->later)
		return true;
	entry_cancel(&s->entry);
	if (!is_asking(s) || needs_no_word(s)) {
		session_set_state(s, SESSION_CLOSING);
		return session_out(s).len > 0;
	}
	s->head_only &= s->state == SESSION_WAITING || s->state == SESSION_KNOWN;
	answer_error(&answer, 503, "another process has taken over meanwhile: ask again");
	answer.retry = true;
	session_end_with(s, &answer);
	return true;
}

bool session_run(struct session *s)
{
	bool more = true;
	if (s->in.overflow || s->content.overflow) { /* no memory */
		s->in.overflow = s->content.overflow = false;
		struct answer answer = {.body = STR_INIT};
		answer_error(&answer, 503, "out of memory for this request");
		session_end_with(s, &answer);
	}
	while (more && !session_out(s).len) {
		if (s->state == SESSION_HEAD)
			more = read_head(s);
		else if (s->state == SESSION_BODY)
			more = read_body(s);
		else if (s->state == SESSION_KNOWN)
			answer_request(s);
		else
			more = false;
	}
	return more && s->state == SESSION_HEAD && s->in.len > 0;
}
