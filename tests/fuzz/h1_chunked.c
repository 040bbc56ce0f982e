/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a chunked body: the payload and the verdict do not depend on how
 * the bytes arrive, and an accepted body is what a plain reader of RFC 9112 7.1
 * makes of it.  The first byte seeds the cuts, the second sets a limit.
 */
#include "h1_fuzz.h"
#include "weir/base/rng.h"
#include "weir/base/str.h"

static const struct h1_limits limits = {400, 8192, 100};

struct outcome {
	enum h1_result result;
	enum reject why;
	struct str payload;
	struct str trailers;
	size_t n_used;
};

static void outcome_fini(struct outcome *o)
{
	str_fini(&o->payload);
	str_fini(&o->trailers);
}

/* Up to `max` bytes at a time; 0: all at once. */
static struct outcome decode(struct view in, uint64_t max_total, struct rng *rng, uint32_t max)
{
	static struct message msg;
	struct outcome o = {.result = H1_MORE};
	struct h1_body body;
	struct h1_piece piece;
	size_t at = 0, n_given = 0;
	msg.body = BODY_CHUNKED;
	h1_body_init(&body, &msg, &limits, max_total);
	while (o.result == H1_MORE && n_given < in.len) {
		size_t n = max ? 1 + rng_below(rng, max) : in.len;
		n_given = n < in.len - n_given ? n_given + n : in.len;
		char *copy = exact_copy(in.ptr + at, n_given - at);
		o.result = h1_body_read(&body, copy, n_given - at, &piece, &o.why);
		check(piece.consumed <= n_given - at);
		check(piece.data.ptr == copy && piece.data.len <= piece.consumed);
		str_view(&o.payload, piece.data);
		str_view(&o.trailers, piece.trailers);
		at += piece.consumed;
		check(o.result != H1_MORE || at == n_given || body.state == H1_BODY_TRAILERS);
		free(copy);
	}
	check(o.result == H1_BAD || body.total == o.payload.len);
	check((o.result == H1_OK) == (body.state == H1_BODY_DONE));
	o.n_used = at;
	return o;
}

static int hex(char c)
{
	const char *digits = "0123456789abcdef", *p = c ? strchr(digits, char_lower(c)) : NULL;
	return p ? (int)(p - digits) : -1;
}

/* An accepted body, read the plain way, gives the same payload and end. */
static void check_plain(struct view in, const struct outcome *o)
{
	size_t at = 0, n_payload = 0, size;
	do {
		size = 0;
		check(hex(in.ptr[at]) >= 0);
		while (hex(in.ptr[at]) >= 0)
			size = size << 4 | (size_t)hex(in.ptr[at++]);
		while (in.ptr[at] != '\n')
			at++;
		at++;
		check(size <= o->payload.len - n_payload);
		check(!size || memcmp(in.ptr + at, o->payload.ptr + n_payload, size) == 0);
		n_payload += size;
		at += size + (size ? 2 : 0);
	} while (size);
	check(n_payload == o->payload.len);
	check(at + o->trailers.len + 2 == o->n_used);
	check(o->trailers.len == 0 || memcmp(in.ptr + at, o->trailers.ptr, o->trailers.len) == 0);
	check(memcmp(in.ptr + at + o->trailers.len, "\r\n", 2) == 0);
}

static void check_trailers(struct view raw)
{
	static struct message msg;
	enum reject why;
	char *copy = exact_copy(raw.ptr, raw.len);
	enum h1_result result = h1_parse_trailers(view_of(copy, raw.len), &limits, &msg, &why);
	/* they were judged once; only their number and the length of a line are new */
	check(result == H1_OK || why == REJECT_TOO_MANY_HEADERS || why == REJECT_TRAILER_TOO_LARGE);
	msg.head_len = raw.len;
	check(result != H1_OK || views_inside(&msg, view_of(copy, raw.len)));
	free(copy);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	if (size < 2)
		return 0;
	struct rng rng;
	rng_init(&rng, data[0]);
	uint64_t max_total = data[1];
	struct view in = view_of((const char *)data + 2, size - 2);
	struct outcome whole = decode(in, max_total, NULL, 0);
	for (uint32_t max = 1; max < 100; max = max * 3 + 1) {
		struct outcome cut = decode(in, max_total, &rng, max);
		check(cut.result == whole.result && cut.why == whole.why);
		check(view_eq(str_as_view(&cut.payload), str_as_view(&whole.payload)));
		check(view_eq(str_as_view(&cut.trailers), str_as_view(&whole.trailers)));
		check(whole.result != H1_OK || cut.n_used == whole.n_used);
		outcome_fini(&cut);
	}
	check(!max_total || whole.payload.len <= max_total);
	if (whole.result == H1_OK) {
		check_plain(in, &whole);
		check_trailers(str_as_view(&whole.trailers));
	}
	outcome_fini(&whole);
	return 0;
}
