/* SPDX-License-Identifier: MIT */
/*
 * compress: bodies are sent in a coding that the client takes.
 *
 * When the request comes, the best coding that both sides know is noted; when the answer
 * comes, it is used unless the answer says or shows that it should not be: it is
 * encoded already, a range, no-transform, of another type, too short, without a body, or
 * sets a cookie (an attacker who can have his own text beside a secret in one answer
 * reads the secret off its length: BREACH).  What is encoded is flushed with each piece,
 * so that event streams stay live.
 *
 * Weir never decompresses: there is nothing that a compressed bomb could do here.
 */
#include "weir/filter/compress.h"

#include <stdlib.h>
#include <string.h>

#include "coder.h"

#include "weir/base/check.h"
#include "weir/base/parse.h"
#include "weir/stats/counter.h"
#include "weir/stats/pack.h"

/* Beside the coding in a mark: If-None-Match names a weak tag. */
#define MARK_WEAK 0x80u

struct filter_stream {
	const struct coder_kind *kind;
	struct coder *coder;
	struct compress_local *local;
};

/* By worker; made once, kept to the end. */
static struct compress_local {
	struct counter responses, bytes_in, bytes_out, no_memory;
} CACHE_ALIGNED *locals;
static unsigned n_locals;

static bool applies(const struct conf_route *route)
{
	return route->compress.on;
}

static void *build(const struct conf *conf, const struct conf_route *route, unsigned n_workers,
		   struct str *why)
{
	(void)why;
	coder_limit(conf->compress_bytes);
	if (!locals) {
		locals = aligned_alloc(WEIR_CACHE_LINE, n_workers * sizeof(*locals));
		check(locals != NULL);
		memset(locals, 0, n_workers * sizeof(*locals));
		n_locals = n_workers;
	}
	return (void *)(uintptr_t)route;
}

static void release(void *state)
{
	(void)state;
}

/* ---- what the client takes (RFC 9110 12.5.3) ---- */

/* In thousandths; 1000 without a q. */
static unsigned quality_of(struct view params)
{
	double q;
	params = view_trim(params);
	if (!view_istarts(params, VIEW("q=")) || !parse_double(view_skip(params, 2), &q))
		return params.len ? 0 : 1000;
	return q <= 0 ? 0 : q >= 1 ? 1000 : (unsigned)(q * 1000);
}

struct wishes {
	int quality[N_CODERS]; /* -1: not named */
	int any, identity;
};

static void read_wishes(struct view field, struct wishes *wishes)
{
	struct view element;
	while (view_next_token(&field, &element)) {
		ptrdiff_t semicolon = view_chr(element, ';');
		size_t n = semicolon < 0 ? element.len : (size_t)semicolon;
		struct view token = view_trim(view_head(element, n));
		int quality = (int)quality_of(view_skip(element, n + 1));
		for (size_t i = 0; i < N_CODERS; i++)
			if (view_ieq(token, view_str(coder_kinds[i].token)))
				wishes->quality[i] = quality;
		if (view_ieq(token, VIEW("x-gzip")))
			wishes->quality[N_CODERS - 1] = quality;
		else if (view_eq(token, VIEW("*")))
			wishes->any = quality;
		else if (view_ieq(token, VIEW("identity")))
			wishes->identity = quality;
	}
}

/* Index + 1 of the coding it likes best, 0: none. */
static uint8_t choose(struct message *msg, unsigned algorithms)
{
	struct wishes wishes = {.quality = {-1, -1, -1}, .any = 0, .identity = -1};
	int best = 0;
	uint8_t choice = 0;
	for (uint32_t i = 0; i < msg->n_headers; i++)
		if (!msg->headers[i].drop &&
		    view_ieq(msg->headers[i].name, VIEW("accept-encoding")))
			read_wishes(msg->headers[i].value, &wishes);
	for (uint8_t i = 0; i < N_CODERS; i++) {
		int quality = wishes.quality[i] < 0 ? wishes.any : wishes.quality[i];
		if (!(algorithms >> i & 1) || !coder_kinds[i].open || quality <= best)
			continue;
		best = quality;
		choice = (uint8_t)(i + 1);
	}
	return wishes.identity > best ? 0 : choice;
}

static bool has_token(struct view field, struct view token)
{
	struct view element;
	while (view_next_token(&field, &element))
		if (view_ieq(element, token))
			return true;
	return false;
}

static bool forbids_transform(struct view cache_control)
{
	return has_token(cache_control, VIEW("no-transform"));
}

/* It may name an answer of ours. */
static bool has_weak(struct view tags)
{
	return memmem(tags.ptr, tags.len, "W/", 2) != NULL;
}

static bool has_field(const struct message *msg, enum hdr_id id, bool (*says)(struct view value))
{
	if (likely(!(msg->ids & UINT64_C(1) << id)))
		return false;
	for (uint32_t i = 0; i < msg->n_headers; i++)
		if (!msg->headers[i].drop && msg->headers[i].id == id &&
		    says(msg->headers[i].value))
			return true;
	return false;
}

static enum filter_verdict request(struct filter_call *call)
{
	call->mark = choose(call->msg, call->route->compress.algorithms);
	if (call->mark && has_field(call->msg, HDR_CACHE_CONTROL, forbids_transform))
		call->mark = 0;
	if (has_field(call->msg, HDR_IF_NONE_MATCH, has_weak))
		call->mark |= MARK_WEAK;
	return FILTER_GO_ON;
}

/* ---- whether an answer is for it ---- */

static bool type_matches(const struct conf_views *types, struct view type)
{
	ptrdiff_t semicolon = view_chr(type, ';');
	type = view_trim(semicolon < 0 ? type : view_head(type, (size_t)semicolon));
	for (size_t i = 0; i < types->n; i++) {
		struct view want = types->rows[i];
		bool all = view_ends(want, VIEW("/*"));
		if (all ? view_istarts(type, view_head(want, want.len - 1)) : view_ieq(type, want))
			return true;
	}
	return false;
}

static bool is_status(unsigned status)
{
	return status >= 200 && status != 204 && status != 205 && status != 206 && status != 304;
}

static bool field_forbids(const struct conf_route *route, const struct header *h)
{
	if (view_ieq(h->name, VIEW("content-encoding")))
		return !view_ieq(h->value, VIEW("identity"));
	if (view_ieq(h->name, VIEW("content-range")))
		return true;
	if (view_ieq(h->name, VIEW("cache-control")))
		return forbids_transform(h->value);
	return view_ieq(h->name, VIEW("set-cookie")) && !route->compress.with_cookies;
}

/* Whether another client could get this answer in a coding. */
static bool is_eligible(const struct filter_response *r)
{
	const struct conf_route *route = r->route;
	const struct message *resp = r->resp;
	bool right_type = false;
	if (!is_status(resp->status))
		return false;
	for (uint32_t i = 0; i < resp->n_headers; i++) {
		const struct header *h = &resp->headers[i];
		if (h->drop)
			continue;
		if (field_forbids(route, h))
			return false;
		if (h->id == HDR_CONTENT_TYPE)
			right_type = type_matches(&route->compress.types, h->value);
	}
	if (!right_type)
		return false;
	if (resp->body == BODY_LENGTH)
		return resp->content_length >= route->compress.min_bytes;
	return !r->end || r->is_head || r->len >= route->compress.min_bytes;
}

/* ---- its head ---- */

static void add(struct message *resp, const char *name, struct view value)
{
	if (resp->n_headers < HEADERS_ROOM)
		resp->headers[resp->n_headers++] =
		    (struct header){.name = view_str(name), .value = value};
}

static void vary(struct message *resp)
{
	for (uint32_t i = 0; i < resp->n_headers; i++) {
		const struct header *h = &resp->headers[i];
		if (!h->drop && view_ieq(h->name, VIEW("vary")) &&
		    (has_token(h->value, VIEW("*")) ||
		     has_token(h->value, VIEW("accept-encoding"))))
			return;
	}
	add(resp, "Vary", VIEW("Accept-Encoding"));
}

/* The same bytes no longer: only the meaning is the same (RFC 9110 8.8.1). */
static void weaken(struct filter_response *r, struct header *etag)
{
	if (view_starts(etag->value, VIEW("W/")))
		return;
	size_t n = etag->value.len;
	if (n + 2 > sizeof(r->room)) {
		etag->drop = true;
		return;
	}
	memcpy(r->room, "W/", 2);
	memcpy(r->room + 2, etag->value.ptr, n);
	etag->value = view_of(r->room, n + 2);
	etag->line_len = 0;
}

static void edit(struct filter_response *r, const char *token)
{
	static const char *const gone[] = {"content-length",  "accept-ranges",  "content-md5",
					   "digest",          "content-digest", "repr-digest",
					   "content-encoding"};
	struct message *resp = r->resp;
	for (uint32_t i = 0; i < resp->n_headers; i++) {
		struct header *h = &resp->headers[i];
		for (size_t k = 0; k < ARRAY_LEN(gone); k++)
			h->drop |= view_ieq(h->name, view_str(gone[k]));
		if (!h->drop && view_ieq(h->name, VIEW("etag")))
			weaken(r, h);
	}
	add(resp, "Content-Encoding", view_str(token));
	if (resp->body != BODY_NONE)
		resp->body = BODY_CHUNKED;
}

/* ---- its body ---- */

static size_t len_of(const struct filter_response *r)
{
	if (r->resp->body == BODY_LENGTH && r->resp->content_length < CODER_ANY)
		return (size_t)r->resp->content_length;
	return r->end ? r->len : CODER_ANY;
}

static struct filter_stream *open_stream(const struct coder_kind *kind, size_t len,
					 struct compress_local *local)
{
	struct filter_stream *s = coder_alloc(sizeof(*s));
	struct coder *coder = s ? kind->open(len) : NULL;
	if (!coder) {
		coder_free(s);
		counter_add(&local->no_memory, 1);
		return NULL;
	}
	*s = (struct filter_stream){kind, coder, local};
	counter_add(&local->responses, 1);
	return s;
}

/* Who has the encoded one is told of it as it was told before (RFC 9110 15.4.5). */
static void renew(struct filter_response *r)
{
	vary(r->resp);
	for (uint32_t i = 0; i < r->resp->n_headers; i++) {
		struct header *h = &r->resp->headers[i];
		if (!h->drop && view_ieq(h->name, VIEW("etag")))
			weaken(r, h);
	}
}

static struct filter_stream *response(struct filter_response *r)
{
	const unsigned choice = r->mark & ~MARK_WEAK;
	if (r->resp->status == 304 && r->mark & MARK_WEAK)
		renew(r);
	if (!is_eligible(r))
		return NULL;
	vary(r->resp);
	if (!choice)
		return NULL;
	const struct coder_kind *kind = &coder_kinds[choice - 1];
	if (r->is_head) {
		edit(r, kind->token);
		return NULL;
	}
	struct filter_stream *s = open_stream(kind, len_of(r), &locals[r->worker]);
	if (s)
		edit(r, kind->token);
	return s;
}

static enum filter_step transform(struct filter_stream *s, struct filter_piece *piece)
{
	size_t before = piece->in_len;
	enum filter_step step = s->kind->run(s->coder, piece);
	counter_add(&s->local->bytes_in, before - piece->in_len);
	counter_add(&s->local->bytes_out, piece->len);
	return step;
}

static void finish(struct filter_stream *s)
{
	s->kind->close(s->coder);
	coder_free(s);
}

struct compress_sums compress_sums(void)
{
	struct compress_sums sums = {.memory = coder_bytes()};
	for (unsigned i = 0; i < n_locals; i++) {
		sums.responses += counter_get(&locals[i].responses);
		sums.bytes_in += counter_get(&locals[i].bytes_in);
		sums.bytes_out += counter_get(&locals[i].bytes_out);
		sums.no_memory += counter_get(&locals[i].no_memory);
	}
	return sums;
}

static const struct counter_field fields[] = {
    {"responses", offsetof(struct compress_local, responses)},
    {"bytes_in", offsetof(struct compress_local, bytes_in)},
    {"bytes_out", offsetof(struct compress_local, bytes_out)},
    {"no_memory", offsetof(struct compress_local, no_memory)},
};

void compress_pack(struct str *out)
{
	counter_rows_pack(out, &(struct counter_rows){.fields = fields,
						      .n_fields = ARRAY_LEN(fields),
						      .first = locals,
						      .stride = sizeof(*locals),
						      .n = n_locals});
}

void compress_unpack(struct unpack *in)
{
	if (locals)
		counters_unpack(in, fields, ARRAY_LEN(fields), &locals[0]);
}

const struct filter filter_compress = {
    FILTER_ROW(compress), .applies = applies,   .build = build,         .release = release,
    .request = request,   .response = response, .transform = transform, .finish = finish,
};
