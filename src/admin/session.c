/* SPDX-License-Identifier: MIT */
/*
 * Framing of requests and answers.  The head stays in `in` until the request is
 * answered and is parsed once more then: all sessions share one struct message.
 */
#include "session.h"

#include <stdlib.h>
#include <time.h>

#include "dialect.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"

/* Answers that all clients together may leave unread before TCP clients get 503. */
#define BACKLOG_MAX ((size_t)64 << 20)
/* A buffer that grew past this for one answer is given back. */
#define KEEP_BYTES ((size_t)64 << 10)
/* Room for the head of an answer. */
#define HEAD_BYTES 1024

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

/* A text counts once, however many send it. */
static void take_rest(struct session *s, struct text *text)
{
	if (text->n_senders++ == 0)
		s->api->backlog += text->str.len;
	s->rest = text_get(text);
	s->rest_sent = 0;
}

static void drop_rest(struct session *s)
{
	if (!s->rest)
		return;
	if (--s->rest->n_senders == 0)
		s->api->backlog -= s->rest->str.len;
	text_put(s->rest);
	s->rest = NULL;
}

void session_fini(struct session *s)
{
	if (s->later)
		s->later->session = NULL;
	entry_cancel(&s->entry);
	s->api->n_streams -= s->state == SESSION_STREAM;
	s->api->backlog -= s->out.len - s->sent;
	str_fini(&s->in);
	str_fini(&s->content);
	str_fini(&s->out);
	str_fini(&s->later_key);
	drop_rest(s);
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

/* ---- answers ---- */

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

static void put_out(struct session *s, struct answer *answer)
{
	struct view body = str_as_view(&answer->body);
	size_t before = s->out.len;
	s->keep_alive = s->keep_alive && !answer->goes_on;
	if (!view_ends(body, VIEW("\n"))) /* for people with curl */
		str_char(&answer->body, '\n');
	bool large = answer->body.len > KEEP_BYTES && !s->head_only && !answer->goes_on;
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
	s->state = s->keep_alive ? SESSION_HEAD : SESSION_CLOSING;
	if (answer->goes_on && !s->head_only && !s->out.overflow) {
		s->state = SESSION_STREAM;
		s->api->n_streams++;
	}
}

/* What was made for somebody else a moment ago. */
static void put_text(struct session *s, const struct cached *made)
{
	struct answer answer = {.status = 200, .type = made->type, .body = STR_INIT};
	size_t before = s->out.len;
	put_head(s, &answer, made->text->str.len);
	take_rest(s, made->text);
	s->api->backlog += s->out.len - before;
	s->n_requests++;
	if (s->out.overflow)
		s->keep_alive = false;
	s->state = s->keep_alive ? SESSION_HEAD : SESSION_CLOSING;
}

void session_push(struct session *s, struct view bytes)
{
	check(s->state == SESSION_STREAM);
	if (session_out(s).len || !str_reserve(&s->out, bytes.len))
		return;
	str_view(&s->out, bytes);
	s->api->backlog += bytes.len;
}

static void end_with(struct session *s, struct answer *answer)
{
	s->keep_alive = false;
	s->in.len = s->seen = 0;
	put_out(s, answer);
}

static void refuse(struct session *s, enum reject why)
{
	struct answer answer = {.body = STR_INIT};
	answer_error(&answer, reject_status(why), "%s", reject_sentence(why));
	if (answer.status == 405)
		answer.allow = 1u << METHOD_GET | 1u << METHOD_POST | 1u << METHOD_DELETE;
	s->head_only = false;
	end_with(s, &answer);
}

void session_time_out(struct session *s)
{
	struct answer answer = {.body = STR_INIT};
	answer_error(&answer, 408, "the request came too slowly");
	s->head_only = false;
	end_with(s, &answer);
}

void session_sent(struct session *s, size_t n)
{
	if (s->sent == s->out.len) {
		s->rest_sent += n;
		if (s->rest_sent == s->rest->str.len)
			drop_rest(s);
		return;
	}
	s->sent += n;
	s->api->backlog -= n;
	if (s->sent < s->out.len)
		return;
	s->sent = 0;
	if (s->out.cap > KEEP_BYTES)
		str_fini(&s->out);
	s->out.len = 0;
}

/* With a key, for whoever asks for the same in a moment, if it is worth it. */
static void put_and_keep(struct session *s, struct answer *answer, struct view key)
{
	const char *type = answer->type;
	bool keeps = key.len && answer->status == 200;
	put_out(s, answer);
	if (keeps && s->rest)
		cache_add(&s->api->cache, key, s->rest, type);
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
	put_and_keep(s, answer, str_as_view(&s->later_key));
	str_fini(&s->later_key);
	if (waited && s->ready)
		s->ready(s);
}

/* ---- requests ---- */

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

/* In the loop of the API; session_run goes on. */
static void on_entry(struct entry_wait *wait)
{
	struct session *s = container_of(wait, struct session, entry);
	s->state = SESSION_KNOWN;
	if (s->ready)
		s->ready(s);
}

/* Whether the call goes on; else there is an answer, or the session is WAITING for somebody's. */
static bool may_enter(struct session *s, struct call *call)
{
	s->entry.ready = on_entry;
	enum entry entry = entry_ask(call, &s->entry);
	if (entry == ENTRY_ASKING)
		s->state = SESSION_WAITING;
	return entry == ENTRY_OPEN;
}

static void make_answer(struct session *s, struct call *call, uint64_t n_before)
{
	struct api *api = s->api;
	const void *conf = api->host.conf(api->host.ctx);
	struct view key = key_of(call);
	const struct cached *made = key.len ? cache_find(&api->cache, key, conf) : NULL;
	if (made) {
		put_text(s, made);
		return;
	}
	str_reset(&s->later_key);
	str_view(&s->later_key, key); /* it may be there before api_dispatch returns */
	api_dispatch(call);
	if (!s->later && s->n_requests == n_before)
		put_and_keep(s, &call->answer, key);
}

static void answer_request(struct session *s)
{
	struct api *api = s->api;
	enum reject why;
	if (h1_parse_request(view_of(s->in.ptr, s->head_len), &limits, &api->msg, &why) != H1_OK) {
		refuse(s, why);
		return;
	}
	struct call call = {.api = api,
			    .msg = &api->msg,
			    .trusted = s->trusted,
			    .only_probes = s->only_probes,
			    .session = s};
	call.arena = arena_new();
	call.answer.body = STR_INIT;
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
		s->state = SESSION_WAITING;
	else if (s->n_requests == n_before && !parked)
		put_out(s, &call.answer);
	arena_free(call.arena);
	if (parked)
		return;
	if (s->state != SESSION_CLOSING)
		cut(&s->in, 0, s->head_len);
	s->seen = 0;
	if (s->content.cap > KEEP_BYTES / 4)
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
		s->state = SESSION_CLOSING;
		return true;
	}
	struct view line = view_trim(view_head(in, (size_t)end));
	bool stays = dialect_run(s->api, line, &s->prompts, &s->out);
	s->api->backlog += s->out.len - before;
	s->n_requests++;
	cut(&s->in, 0, (size_t)end + 1);
	if (!stays || s->out.overflow)
		s->state = SESSION_CLOSING;
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
		refuse(s, why);
		return true;
	case H1_OK:
		break;
	}
	s->head_len = s->api->msg.head_len;
	s->wants_continue = s->api->msg.expect_continue;
	h1_body_init(&s->body, &s->api->msg, &limits, API_BODY_MAX);
	str_reset(&s->content);
	s->state = SESSION_BODY;
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
		refuse(s, why);
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

bool session_run(struct session *s)
{
	bool more = true;
	if (s->in.overflow || s->content.overflow) { /* no memory */
		s->in.overflow = s->content.overflow = false;
		struct answer answer = {.body = STR_INIT};
		answer_error(&answer, 503, "out of memory for this request");
		end_with(s, &answer);
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
