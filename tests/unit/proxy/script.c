/* SPDX-License-Identifier: MIT */
#include "script.h"

#include "memory.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "weir/base/check.h"
#include "weir/base/parse.h"

#define CLIENTS_MAX 8
#define BACKENDS_MAX 4
#define CONNS_MAX 64
#define SCRATCHES 8
/* Where longer things are cut in two: at the first places, then here and there. */
#define CUT_ALL 160
#define CUT_STEP 37
/* of a body that is counted in bytes; whole turns of a to w */
#define LETTERS ((size_t)23 * 64)

struct place {
	int listener; /* -1: refuses */
	struct peer *conns[CONNS_MAX];
	unsigned n_conns;
	struct peer *at; /* the one talked about */
};

struct plan;

struct script {
	const char *path;
	unsigned line;
	struct view text; /* without the title */
	struct view title;
	unsigned first_line;
	/* of this run */
	enum peer_version versions[2]; /* of clients, of backends */
	struct peer_cut cut;
	void (*run)(struct script *s, const struct plan *plan);
	bool has_refused;
	size_t refuse_at; /* the allocation that fails, 0: none */
	bool lenient;     /* memory runs out: a script may end early, but not in a lie */
	jmp_buf early;
	struct str scratch[SCRATCHES];
	unsigned n_scratch;
	struct world *world;
	const struct plan *plan;
	struct peer *clients[CLIENTS_MAX];
	struct place places[BACKENDS_MAX];
	unsigned n_backends;
};

struct words {
	struct view rest;
};

static _Noreturn void __attribute__((format(printf, 2, 3))) fail(struct script *s, const char *fmt,
								 ...)
{
	va_list ap;
	if (s->lenient && memory_has_refused())
		longjmp(s->early, 1);
	fflush(stdout);
	fprintf(stderr, "%s:%u: " VIEW_FMT " (client h%d, backend h%d, ", s->path, s->line,
		VIEW_ARG(s->title), s->versions[0] + 1, s->versions[1] + 1);
	if (s->cut.mode == CUT_AT)
		fprintf(stderr, "cut behind %zu bytes): ", s->cut.at);
	else if (s->refuse_at)
		fprintf(stderr, "allocation %zu fails): ", s->refuse_at);
	else
		fprintf(stderr, "%s): ", s->cut.mode == CUT_NOWHERE ? "whole" : "byte by byte");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

/* Text for as long as a line is worked on; an end in the middle of that loses nothing. */
static struct str *scratch(struct script *s)
{
	struct str *text = &s->scratch[s->n_scratch++ % SCRATCHES];
	str_reset(text);
	return text;
}

/* ---- words ---- */

static struct view trim(struct view v)
{
	while (v.len && (*v.ptr == ' ' || *v.ptr == '\t'))
		v = view_skip(v, 1);
	while (v.len && strchr(" \t\r", v.ptr[v.len - 1]))
		v.len--;
	return v;
}

static struct view next_word(struct words *w)
{
	w->rest = trim(w->rest);
	ptrdiff_t end = view_chr(w->rest, ' ');
	struct view word = view_head(w->rest, end < 0 ? w->rest.len : (size_t)end);
	w->rest = view_skip(w->rest, word.len);
	return word;
}

static bool skip_word(struct words *w, const char *word)
{
	struct words ahead = *w;
	if (!view_eq(next_word(&ahead), view_str(word)))
		return false;
	*w = ahead;
	return true;
}

static void unescape(struct script *s, struct str *out, struct view in)
{
	for (size_t i = 0; i < in.len; i++) {
		if (in.ptr[i] != '\\') {
			str_char(out, in.ptr[i]);
			continue;
		}
		static const char letters[] = "rnt\\\"0", bytes[] = "\r\n\t\\\"";
		const char *letter = ++i < in.len ? strchr(letters, in.ptr[i]) : NULL;
		if (!letter)
			fail(s, "unknown escape");
		str_char(out, bytes[letter - letters]);
	}
}

/* "text", with escapes. */
static void quoted(struct script *s, struct words *w, struct str *out)
{
	w->rest = trim(w->rest);
	size_t end = 1;
	while (end < w->rest.len && w->rest.ptr[end] != '"')
		end += w->rest.ptr[end] == '\\' ? 2 : 1;
	if (w->rest.len < 2 || *w->rest.ptr != '"' || end >= w->rest.len)
		fail(s, "expected \"text\", not '" VIEW_FMT "'", VIEW_ARG(w->rest));
	unescape(s, out, view_of(w->rest.ptr + 1, end - 1));
	w->rest = view_skip(w->rest, end + 1);
}

static uint64_t number(struct script *s, struct words *w)
{
	struct view word = next_word(w);
	uint64_t n;
	if (!parse_u64(word, &n))
		fail(s, "expected a number, not '" VIEW_FMT "'", VIEW_ARG(word));
	return n;
}

/* Many at a time: bodies have megabytes of them, and scripts run thousands of times. */
static struct view letters(void)
{
	static char text[LETTERS];
	if (!*text)
		for (size_t i = 0; i < LETTERS; i++)
			text[i] = (char)('a' + i % 23);
	return view_of(text, LETTERS);
}

/* "text" or `bytes N`, which are a pattern. */
static void payload(struct script *s, struct words *w, struct str *out)
{
	if (!skip_word(w, "bytes")) {
		quoted(s, w, out);
		return;
	}
	for (uint64_t n = number(s, w); n;) {
		struct view piece = view_head(letters(), n < LETTERS ? (size_t)n : LETTERS);
		str_view(out, piece);
		n -= piece.len;
	}
}

/* ---- peers ---- */

static void address_of(struct script *s, const char *name, struct sockaddr_un *out)
{
	*out = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(out->sun_path, sizeof(out->sun_path), "%s/%s", s->world->dir, name);
}

static struct peer *client(struct script *s, unsigned i)
{
	struct sockaddr_un to;
	if (s->clients[i])
		return s->clients[i];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	address_of(s, "web", &to);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)))
		fail(s, "cannot connect to weir");
	world_settle(s->world);
	s->clients[i] = peer_new(s->world, &s->cut, s->versions[0], fd, false);
	return s->clients[i];
}

static void place_listen(struct script *s, unsigned i)
{
	struct sockaddr_un at;
	char name[8];
	snprintf(name, sizeof(name), "b%u", i + 1);
	address_of(s, name, &at);
	unlink(at.sun_path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 64))
		fail(s, "cannot listen");
	s->places[i].listener = fd;
}

static void place_refuse(struct place *place)
{
	if (place->listener >= 0)
		close(place->listener);
	place->listener = -1;
}

static bool place_accept(struct script *s, struct place *place)
{
	int fd = place->listener >= 0 ? accept4(place->listener, NULL, NULL, SOCK_CLOEXEC) : -1;
	if (fd < 0)
		return false;
	if (place->n_conns == CONNS_MAX)
		fail(s, "too many connections to a backend");
	place->at = peer_new(s->world, &s->cut, s->versions[1], fd, true);
	place->conns[place->n_conns++] = place->at;
	return true;
}

/* One round of everybody; true when anything moved. */
static bool round_of_all(struct script *s)
{
	bool any = world_turn(s->world);
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		any |= s->clients[i] && peer_pump(s->clients[i]);
	for (unsigned i = 0; i < s->n_backends; i++) {
		any |= place_accept(s, &s->places[i]);
		for (unsigned k = 0; k < s->places[i].n_conns; k++)
			any |= peer_pump(s->places[i].conns[k]);
	}
	return any;
}

static void settle(struct script *s)
{
	for (unsigned quiet = 0; quiet < QUIET;)
		quiet = round_of_all(s) ? 0 : quiet + 1;
}

/* A connection of this backend that has something to say about a message. */
static struct peer *newest_heard(struct place *place)
{
	for (unsigned k = place->n_conns; k-- > 0;) {
		const struct peer_message *m = &place->conns[k]->heard;
		if (m->has_head || m->is_broken)
			return place->conns[k];
	}
	return NULL;
}

/* Who a line is about; *place is NULL for a client. */
static struct peer *who(struct script *s, struct view name, struct place **place)
{
	uint64_t n = 1;
	*place = NULL;
	if (view_starts(name, VIEW("client"))) {
		struct view number = view_skip(name, 6);
		if (number.len && (!parse_u64(number, &n) || n < 1 || n > CLIENTS_MAX))
			fail(s, "there are clients 1 to %d", CLIENTS_MAX);
		return client(s, (unsigned)n - 1);
	}
	if (!view_starts(name, VIEW("b")) || !parse_u64(view_skip(name, 1), &n) || n < 1 ||
	    n > s->n_backends)
		fail(s, "who is '" VIEW_FMT "'?", VIEW_ARG(name));
	*place = &s->places[n - 1];
	return (*place)->at;
}

/* ---- saying ---- */

static void say(struct script *s, struct peer *peer, struct words *w)
{
	struct str *fields = scratch(s), *body = scratch(s), *start = scratch(s);
	struct peer_words words = {0};
	str_view(start, next_word(w));
	if (!peer->is_backend) {
		str_char(start, ' ');
		str_view(start, next_word(w));
	}
	while (trim(w->rest).len) {
		if (skip_word(w, "with")) {
			quoted(s, w, fields);
			str_char(fields, '\n');
		} else if (skip_word(w, "body")) {
			payload(s, w, body);
		} else if (skip_word(w, "unfinished")) {
			words.unfinished = true;
		} else {
			fail(s, "what is '" VIEW_FMT "'?", VIEW_ARG(w->rest));
		}
	}
	words.start = str_as_view(start);
	words.fields = str_as_view(fields);
	words.body = str_as_view(body);
	peer_say(peer, &words);
}

static void say_more(struct script *s, struct peer *peer, struct words *w)
{
	struct str *body = scratch(s);
	payload(s, w, body);
	peer_say_body(peer, str_as_view(body), false);
}

/* ---- hearing ---- */

/* Turns the world until the peer has heard what is wanted; the peer that has. */
static struct peer *listen_for(struct script *s, struct peer *peer, struct place *place,
			       bool (*has)(const struct peer *peer, const void *arg),
			       const void *arg)
{
	for (unsigned quiet = 0; quiet < QUIET;) {
		quiet = round_of_all(s) ? 0 : quiet + 1;
		struct peer *heard = place ? newest_heard(place) : NULL;
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
		fail(s, "%s is '%.*s'%s, not '%.*s'", what, (int)(is.len < 200 ? is.len : 200),
		     is.ptr, is.len < 200 ? "" : "...", (int)(wanted.len < 200 ? wanted.len : 200),
		     wanted.ptr);
}

static void expect_field(struct script *s, const struct peer *peer, struct view field)
{
	struct view name, value;
	if (!peer_next_field(&field, &name, &value))
		fail(s, "expected \"name: value\"");
	struct view is = peer_field(peer, name);
	if (!is.ptr)
		fail(s, "there is no field '" VIEW_FMT "'", VIEW_ARG(name));
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
	while (trim(w->rest).len) {
		struct str *text = scratch(s);
		if (skip_word(w, "with")) {
			quoted(s, w, text);
			expect_field(s, peer, str_as_view(text));
		} else if (skip_word(w, "without")) {
			struct view name = next_word(w);
			if (peer_field(peer, name).ptr)
				fail(s, "there is a field '" VIEW_FMT "'", VIEW_ARG(name));
		} else if (skip_word(w, "body")) {
			payload(s, w, text);
			expect_body(s, peer, str_as_view(text));
		} else if (skip_word(w, "interim")) {
			uint64_t n = number(s, w);
			if (peer->heard.n_interim != n)
				fail(s, "%u interim responses", peer->heard.n_interim);
		} else {
			fail(s, "what is '" VIEW_FMT "'?", VIEW_ARG(w->rest));
		}
	}
}

static void hear_body(struct script *s, struct peer *peer, struct place *place, struct words *w)
{
	struct str *text = scratch(s);
	payload(s, w, text);
	peer = listen_for(s, peer, place, has_body, &text->len);
	if (!peer)
		fail(s, "the body has not come");
	expect_view(s, "the body", str_as_view(&peer->heard.body), str_as_view(text));
}

static void hear_nothing(struct script *s, struct peer *peer, struct place *place)
{
	settle(s);
	struct peer *heard = place ? newest_heard(place) : peer;
	if (heard && (heard->heard.has_head || heard->heard.is_broken))
		fail(s, "heard '" VIEW_FMT "'", VIEW_ARG(str_as_view(&heard->heard.start)));
}

static void have(struct script *s, const struct peer *peer, struct words *w)
{
	uint64_t n = number(s, w);
	if (peer->heard.body.len != n)
		fail(s, "has %zu bytes", peer->heard.body.len);
}

static _Noreturn void not_come(struct script *s, const struct peer *peer, const struct str *wanted)
{
	if (!peer)
		fail(s, "'" VIEW_FMT "' has not come, nor anything", VIEW_ARG(str_as_view(wanted)));
	const struct peer_message *m = &peer->heard;
	fail(s,
	     "'" VIEW_FMT "' has not come, but '" VIEW_FMT "' with %zu bytes, then '" VIEW_FMT
	     "'%s",
	     VIEW_ARG(str_as_view(wanted)), VIEW_ARG(str_as_view(&m->start)), m->body.len,
	     VIEW_ARG(str_as_view(&peer->in)), peer->at_end ? ", and the end" : "");
}

static void hear(struct script *s, struct peer *peer, struct place *place, struct words *w)
{
	s->cut.still = false;
	if (skip_word(w, "nothing")) {
		hear_nothing(s, peer, place);
		return;
	}
	if (skip_word(w, "body")) {
		hear_body(s, peer, place, w);
		return;
	}
	bool head_only = skip_word(w, "head");
	struct view first = next_word(w);
	struct str *start = scratch(s);
	str_view(start, first);
	if (place) {
		str_char(start, ' ');
		str_view(start, next_word(w));
	}
	struct peer *heard = listen_for(s, peer, place, head_only ? has_head : has_all, NULL);
	if (!heard)
		not_come(s, peer, start);
	peer = heard;
	if (peer->heard.is_broken)
		fail(s, "was cut off");
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
	for (unsigned quiet = 0; quiet < QUIET;) {
		quiet = round_of_all(s) ? 0 : quiet + 1;
		for (unsigned k = 0; place && k < place->n_conns; k++)
			if (is_gone(place->conns[k], NULL))
				return place->conns[k];
		if (!place && is_gone(peer, NULL))
			return peer;
	}
	return NULL;
}

static void be(struct script *s, struct peer *peer, struct place *place, struct words *w)
{
	bool cut = skip_word(w, "cut"), either = !cut && skip_word(w, "gone");
	if (!cut && !either && !skip_word(w, "closed"))
		fail(s, "is what?");
	struct peer *gone = find_gone(s, peer, place);
	if (!gone)
		fail(s, "is still there");
	if (cut && !gone->heard.is_broken)
		fail(s, "ended, but was not cut");
	if (!cut && !either && (gone->heard.is_broken || gone->heard.has_head))
		fail(s, "was closed in the middle");
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

static void raw_in(struct script *s, struct peer *peer, struct place *place, struct view text)
{
	struct str *bytes = scratch(s);
	unescape(s, bytes, text);
	struct expected expected = {str_as_view(bytes)};
	struct peer *heard = listen_for(s, peer, place, has_bytes, &expected);
	if (!heard)
		fail(s, "only '" VIEW_FMT "' has come", VIEW_ARG(str_as_view(&peer->in)));
	expect_view(s, "what came", view_head(str_as_view(&heard->in), bytes->len), expected.bytes);
	str_cut_front(&heard->in, bytes->len);
}

static void raw_out(struct script *s, struct peer *peer, struct view text)
{
	struct str *bytes = scratch(s);
	unescape(s, bytes, text);
	peer_raw(peer, str_as_view(bytes));
}

/* ---- lines ---- */

static void pass(struct script *s, struct words *w)
{
	struct view word = next_word(w);
	bool in_ms = word.len > 2 && word.ptr[word.len - 2] == 'm';
	uint64_t n;
	if (word.len < 2 || !parse_u64(view_head(word, word.len - (in_ms ? 2 : 1)), &n))
		fail(s, "after how long?");
	settle(s);
	world_pass(s->world, n * (in_ms ? 1000 : 1000000));
	settle(s);
}

static void expect(struct script *s, struct words *w)
{
	char name[64];
	struct view word = next_word(w);
	snprintf(name, sizeof(name), VIEW_FMT, VIEW_ARG(word));
	if (!skip_word(w, "="))
		fail(s, "expected '='");
	settle(s);
	int64_t is = world_counter(s->world, name), wanted = (int64_t)number(s, w);
	if (is < 0)
		fail(s, "there is no counter '%s'", name);
	if (is != wanted)
		fail(s, "%s is %lld, not %lld", name, (long long)is, (long long)wanted);
}

static void act(struct script *s, struct view name, struct words *w)
{
	struct place *place;
	struct peer *peer = who(s, name, &place);
	struct view verb = next_word(w);
	if (place && view_eq(verb, VIEW("refuses"))) {
		place_refuse(place);
	} else if (place && view_eq(verb, VIEW("listens"))) {
		place_listen(s, (unsigned)(place - s->places));
	} else if (view_eq(verb, VIEW("gets")) || view_eq(verb, VIEW("hears"))) {
		hear(s, peer, place, w);
	} else if (view_eq(verb, VIEW("is"))) {
		be(s, peer, place, w);
	} else if (peer && view_eq(verb, VIEW("has"))) {
		have(s, peer, w);
	} else if (view_eq(verb, VIEW("<"))) {
		raw_in(s, peer, place, trim(w->rest));
	} else if (!peer) {
		fail(s, "nobody has connected yet");
	} else if (view_eq(verb, VIEW("asks")) || view_eq(verb, VIEW("answers"))) {
		say(s, peer, w);
	} else if (view_eq(verb, VIEW("sends"))) {
		say_more(s, peer, w);
	} else if (view_eq(verb, VIEW("ends"))) {
		peer_say_body(peer, VIEW_NONE, true);
	} else if (view_eq(verb, VIEW("shuts"))) {
		peer_shut(peer);
	} else if (place && view_eq(verb, VIEW("stalls"))) {
		peer_stall(peer);
	} else if (view_eq(verb, VIEW("closes"))) {
		peer_close(peer);
	} else if (view_eq(verb, VIEW(">"))) {
		raw_out(s, peer, trim(w->rest));
	} else {
		fail(s, "does what?");
	}
}

static void reload(struct script *s, struct words *w);

static void run_line(struct script *s, struct view line)
{
	struct words w = {line};
	struct view first = next_word(&w);
	if (view_eq(first, VIEW("after")))
		pass(s, &w);
	else if (view_eq(first, VIEW("expect")))
		expect(s, &w);
	else if (view_eq(first, VIEW("at")) && skip_word(&w, "once"))
		s->cut.still = true;
	else if (view_eq(first, VIEW("one")) && skip_word(&w, "turn"))
		world_turn(s->world);
	else if (view_eq(first, VIEW("reload")))
		reload(s, &w);
	else
		act(s, first, &w);
}

/* ---- the preamble ---- */

struct plan {
	unsigned n_backends;
	bool allowed[2][2]; /* side, version */
	bool uncut;
	struct view name;   /* of the first pool */
	struct view second; /* empty: there is one pool */
	struct str listener, route, pool, second_pool;
};

static void only(struct script *s, bool allowed[2], struct view word)
{
	if (view_eq(word, VIEW("any")))
		return;
	if (!view_eq(word, VIEW("h1")) && !view_eq(word, VIEW("h2")))
		fail(s, "only h1, h2 or any");
	allowed[view_eq(word, VIEW("h1")) ? PEER_HTTP2 : PEER_HTTP1] = false;
}

static void plan_yaml(struct str *out, struct view line)
{
	line = trim(line);
	str_printf(out, "    " VIEW_FMT "\n", VIEW_ARG(line));
}

/* True when the line belongs to the preamble. */
static bool plan_line(struct script *s, struct plan *plan, struct view line)
{
	struct words w = {line};
	struct view first = next_word(&w);
	if (view_eq(first, VIEW("backends")))
		plan->n_backends = (unsigned)number(s, &w);
	else if (view_eq(first, VIEW("second"))) {
		plan->second = next_word(&w);
		plan_yaml(&plan->second_pool, w.rest);
	} else if (view_eq(first, VIEW("listener")))
		plan_yaml(&plan->listener, w.rest);
	else if (view_eq(first, VIEW("route")))
		plan_yaml(&plan->route, w.rest);
	else if (view_eq(first, VIEW("pool")))
		plan_yaml(&plan->pool, w.rest);
	else if (view_eq(first, VIEW("uncut")))
		plan->uncut = true;
	else if (view_eq(first, VIEW("only"))) {
		only(s, plan->allowed[0], next_word(&w));
		only(s, plan->allowed[1], next_word(&w));
	} else
		return false;
	if (plan->n_backends < 1 || plan->n_backends > BACKENDS_MAX)
		fail(s, "there may be 1 to %d backends", BACKENDS_MAX);
	return true;
}

static void write_conf(struct script *s, const struct plan *plan, struct str *yaml)
{
	const char *protocol = s->versions[1] == PEER_HTTP2 ? "h2" : "http1";
	str_printf(yaml,
		   "workers: 1\n"
		   "listeners:\n"
		   "  - name: web\n"
		   "    bind: 'unix:$DIR/web'\n" VIEW_FMT "routes:\n"
		   "  - pool: " VIEW_FMT "\n" VIEW_FMT "pools:\n"
		   "  " VIEW_FMT ":\n"
		   "    balance: round-robin\n"
		   "    protocol: %s\n" VIEW_FMT "    backends:\n",
		   VIEW_ARG(str_as_view(&plan->listener)), VIEW_ARG(plan->name),
		   VIEW_ARG(str_as_view(&plan->route)), VIEW_ARG(plan->name), protocol,
		   VIEW_ARG(str_as_view(&plan->pool)));
	for (unsigned i = 1; i <= plan->n_backends; i++) {
		if (plan->second.len && i == plan->n_backends)
			str_printf(yaml,
				   "  " VIEW_FMT ":\n    protocol: %s\n" VIEW_FMT "    backends:\n",
				   VIEW_ARG(plan->second), protocol,
				   VIEW_ARG(str_as_view(&plan->second_pool)));
		str_printf(yaml, "      - {name: b%u, address: 'unix:$DIR/b%u'}\n", i, i);
	}
}

/* Once there, a place stays until the end: a reload may leave it out. */
static void build_places(struct script *s, unsigned n)
{
	for (; s->n_backends < n; s->n_backends++)
		place_listen(s, s->n_backends);
}

/* The line of the plan's pool that has the key of `line` is replaced by it. */
static void change_pool(struct str *out, struct view pool, struct view line)
{
	struct view key = view_head(line, (size_t)view_chr(line, ':') + 1);
	while (pool.len) {
		struct view old = view_head(pool, (size_t)view_chr(pool, '\n'));
		if (!view_starts(trim(old), key))
			plan_yaml(out, old);
		pool = view_skip(pool, old.len + 1);
	}
	plan_yaml(out, line);
}

static void reload(struct script *s, struct words *w)
{
	struct plan plan = *s->plan;
	struct str *yaml = scratch(s), *pool = scratch(s), *why = scratch(s);
	settle(s);
	if (skip_word(w, "backends")) {
		plan.n_backends = (unsigned)number(s, w);
	} else if (skip_word(w, "named")) {
		plan.name = next_word(w);
	} else if (skip_word(w, "pool")) {
		change_pool(pool, str_as_view(&s->plan->pool), trim(w->rest));
		plan.pool = *pool;
	} else {
		fail(s, "reload what?");
	}
	build_places(s, plan.n_backends);
	write_conf(s, &plan, yaml);
	if (world_reload(s->world, yaml->ptr, why))
		fail(s, "the reload is refused: " VIEW_FMT, VIEW_ARG(str_as_view(why)));
	settle(s);
}

/* ---- runs ---- */

static bool next_line(struct script *s, struct view *text, struct view *line)
{
	if (text->len == 0)
		return false;
	ptrdiff_t end = view_chr(*text, '\n');
	*line = view_head(*text, end < 0 ? text->len : (size_t)end);
	*text = view_skip(*text, line->len + (end < 0 ? 0 : 1));
	*line = trim(*line);
	s->line++;
	return true;
}

static bool is_comment(struct view line)
{
	return line.len == 0 || *line.ptr == '#';
}

static void begin(struct script *s, const struct plan *plan)
{
	struct str yaml = STR_INIT;
	write_conf(s, plan, &yaml);
	s->world = world_new(yaml.ptr);
	str_fini(&yaml);
	if (!s->world)
		fail(s, "the configuration is refused");
	s->plan = plan;
	s->n_backends = 0;
	build_places(s, plan->n_backends);
}

static void end(struct script *s)
{
	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		if (s->clients[i])
			peer_free(s->clients[i]);
		s->clients[i] = NULL;
	}
	for (unsigned i = 0; i < s->n_backends; i++) {
		struct place *place = &s->places[i];
		place_refuse(place);
		for (unsigned k = 0; k < place->n_conns; k++)
			peer_free(place->conns[k]);
		*place = (struct place){.listener = -1};
	}
	world_settle(s->world);
	world_pass(s->world, 3000000); /* who lingers has gone by then */
	const char *left = world_leftover(s->world);
	if (left)
		fail(s, "%s is left over", left);
	world_free(s->world);
}

static void run_lines(struct script *s)
{
	struct view text = s->text, line;
	while (next_line(s, &text, &line))
		if (!is_comment(line))
			run_line(s, line);
}

static void run_once(struct script *s, const struct plan *plan)
{
	s->line = s->first_line;
	begin(s, plan);
	memory_refuse(s->refuse_at);
	s->lenient = s->refuse_at > 0;
	if (!setjmp(s->early))
		run_lines(s);
	s->lenient = false;
	s->has_refused = memory_has_refused();
	memory_refuse(0);
	end(s);
}

static void run_cuts(struct script *s, const struct plan *plan)
{
	s->cut = (struct peer_cut){.mode = CUT_NOWHERE};
	run_once(s, plan);
	size_t longest = s->cut.longest;
	if (plan->uncut)
		return;
	if (longest <= 4096) {
		s->cut = (struct peer_cut){.mode = CUT_EVERYWHERE};
		run_once(s, plan);
	}
	for (size_t at = 1; at < longest; at += at < CUT_ALL ? 1 : longest / CUT_STEP + 1) {
		s->cut = (struct peer_cut){.mode = CUT_AT, .at = at};
		run_once(s, plan);
	}
}

/* The n-th allocation fails: n = 1, 2, ... until there are not so many. */
static void run_without_memory(struct script *s, const struct plan *plan)
{
	s->cut = (struct peer_cut){.mode = CUT_NOWHERE};
	for (s->refuse_at = 1;; s->refuse_at++) {
		run_once(s, plan);
		if (!s->has_refused)
			break;
	}
	s->refuse_at = 0;
}

/* Takes it off the script's text. */
static struct plan read_plan(struct script *s)
{
	struct plan plan = {.n_backends = 1,
			    .name = VIEW("app"),
			    .allowed = {{true, true}, {true, true}},
			    .listener = STR_INIT,
			    .route = STR_INIT,
			    .pool = STR_INIT,
			    .second_pool = STR_INIT};
	struct view text = s->text, line;
	s->line = s->first_line;
	while (next_line(s, &text, &line) && (is_comment(line) || plan_line(s, &plan, line))) {
		s->first_line = s->line;
		s->text = text;
	}
	return plan;
}

static void run_script(struct script *s)
{
	struct plan plan = read_plan(s);
	for (int c = PEER_HTTP1; c <= PEER_HTTP2; c++) {
		for (int b = PEER_HTTP1; b <= PEER_HTTP2; b++) {
			s->versions[0] = (enum peer_version)c;
			s->versions[1] = (enum peer_version)b;
			if (plan.allowed[0][c] && plan.allowed[1][b])
				s->run(s, &plan);
		}
	}
	str_fini(&plan.listener);
	str_fini(&plan.route);
	str_fini(&plan.second_pool);
	str_fini(&plan.pool);
}

static struct str read_file(const char *path)
{
	struct str text = STR_INIT;
	char bytes[4096];
	FILE *file = fopen(path, "re");
	check(file != NULL);
	for (size_t n; (n = fread(bytes, 1, sizeof(bytes), file)) > 0;)
		str_view(&text, view_of(bytes, n));
	fclose(file);
	return text;
}

static bool is_asked_for(struct view title)
{
	const char *part = getenv("WEIR_FLOW");
	return !part || memmem(title.ptr, title.len, part, strlen(part));
}

static void run_file(const char *path, void (*run)(struct script *s, const struct plan *plan))
{
	struct str file = read_file(path);
	struct view text = str_as_view(&file), line;
	struct script s = {.path = path, .run = run};
	unsigned n = 0;
	for (unsigned i = 0; i < BACKENDS_MAX; i++)
		s.places[i].listener = -1;
	while (next_line(&s, &text, &line)) {
		if (!view_starts(line, VIEW("=== ")))
			continue;
		s.title = view_skip(line, 4);
		s.first_line = s.line;
		const char *next = text.len ? memmem(text.ptr, text.len, "\n=== ", 5) : NULL;
		s.text = view_head(text, next ? (size_t)(next - text.ptr) + 1 : text.len);
		if (is_asked_for(s.title))
			run_script(&s);
		s.line = s.first_line;
		n++;
	}
	check(n > 0);
	str_fini(&file);
	for (unsigned i = 0; i < SCRATCHES; i++)
		str_fini(&s.scratch[i]);
}

void script_run_file(const char *path)
{
	run_file(path, run_cuts);
}

void script_run_without_memory(const char *path)
{
	run_file(path, run_without_memory);
}
