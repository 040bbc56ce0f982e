/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a response head, to GET and to HEAD: the verdict does not depend
 * on how they arrive, and an accepted head means the same when rewritten.
 */
#include "h1_fuzz.h"

static const struct h1_limits wide = {32768, 8192, 100};
static const struct h1_limits narrow = {96, 48, 4};
static struct message msg, again;

static enum h1_result to_get(struct view in, const struct h1_limits *limits, struct message *into,
			     enum reject *why)
{
	return h1_parse_response(in, limits, METHOD_GET, into, why);
}

static enum h1_result to_head(struct view in, const struct h1_limits *limits, struct message *into,
			      enum reject *why)
{
	return h1_parse_response(in, limits, METHOD_HEAD, into, why);
}

static void check_meaning(struct view in, bool head_only)
{
	check(views_inside(&msg, in));
	check_clean(view_head(in, msg.head_len));
	check(msg.status >= 100 && msg.status <= 599);
	if (head_only || msg.status < 200 || msg.status == 204 || msg.status == 304)
		check(msg.body == BODY_NONE);
	check(msg.body != BODY_CLOSE || !msg.keep_alive);
	check((msg.body == BODY_LENGTH) == (msg.content_length > 0));
	check(!msg.upgrade || msg.status == 101);
}

static void check_rewritten(parse_head *parse)
{
	static char room[65536];
	struct h1_out out = h1_out_init(room, sizeof(room));
	enum reject why;
	message_drop_hop_by_hop(&msg, msg.upgrade);
	h1_put_status_line(&out, msg.status, msg.reason);
	put_fields(&out, &msg);
	const struct h1_limits more = {65536, 8300, HEADERS_MAX};
	check(parse(view_of(out.ptr, out.len), &more, &again, &why) == H1_OK);
	check(again.head_len == out.len);
	check(msg.status == again.status);
	check(view_is_empty(msg.reason) || view_eq(msg.reason, again.reason));
	check(msg.body == again.body && msg.content_length == again.content_length);
	check(msg.upgrade == again.upgrade);
	check_same_headers(&msg, &again);
}

static void check_one(parse_head *parse, const unsigned char *data, size_t size)
{
	enum reject why;
	struct view in = view_of((const char *)data, size);
	check_prefixes(parse, in, &wide);
	check_prefixes(parse, in, &narrow);
	char *copy = exact_copy(data, size);
	enum h1_result result = parse(view_of(copy, size), &wide, &msg, &why);
	check((result == H1_BAD) == (why != REJECT_NONE));
	if (result == H1_OK) {
		check_meaning(view_of(copy, size), parse == to_head);
		check_rewritten(parse);
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	check_one(to_get, data, size);
	check_one(to_head, data, size);
	return 0;
}
