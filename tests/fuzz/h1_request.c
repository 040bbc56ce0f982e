/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a request head: the verdict does not depend on how they arrive,
 * and an accepted head, rewritten as the proxy does, means the same again.
 */
#include "h1_fuzz.h"

static const struct h1_limits wide = {32768, 8192, 100};
static const struct h1_limits narrow = {96, 48, 4};
static struct message msg, again;

static void check_meaning(struct view in)
{
	uint16_t port;
	struct view host;
	check(views_inside(&msg, in));
	check_clean(view_head(in, msg.head_len));
	check(msg.method != METHOD_CONNECT && msg.method_text.len > 0);
	check(msg.path.len > 0 && (msg.path.ptr[0] == '/' || view_eq(msg.path, VIEW("*"))));
	check(msg.version_minor == 0 || msg.authority.len > 0);
	check(!msg.authority.len || authority_split(msg.authority, &host, &port));
	check(msg.body != BODY_CLOSE);
	check(msg.body != BODY_CHUNKED || msg.version_minor == 1);
	check((msg.body == BODY_LENGTH) == (msg.content_length > 0));
}

static void check_rewritten(void)
{
	static char room[65536];
	struct h1_out out = h1_out_init(room, sizeof(room));
	enum reject why;
	message_drop_hop_by_hop(&msg, msg.upgrade);
	bool has_host = message_find(&msg, HDR_HOST) != NULL;
	h1_put_request_line(&out, msg.method_text, msg.path);
	if (!has_host)
		h1_put_header(&out, VIEW("Host"), VIEW("a"));
	put_fields(&out, &msg);
	/* the lines added may be more than the limits allow a client */
	const struct h1_limits more = {65536, 8192, HEADERS_MAX};
	check(h1_parse_request(view_of(out.ptr, out.len), &more, &again, &why) == H1_OK);
	check(again.head_len == out.len);
	check(view_eq(msg.method_text, again.method_text) && msg.method == again.method);
	check(view_eq(msg.path, again.path));
	check(msg.body == again.body && msg.content_length == again.content_length);
	check(msg.upgrade == again.upgrade && again.n_underscore == 0);
	check(!has_host ||
	      view_eq(message_find(&again, HDR_HOST)->value, message_find(&msg, HDR_HOST)->value));
	if (has_host)
		check_same_headers(&msg, &again);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	enum reject why;
	struct view in = view_of((const char *)data, size);
	check_prefixes(h1_parse_request, in, &wide);
	check_prefixes(h1_parse_request, in, &narrow);
	char *copy = exact_copy(data, size);
	enum h1_result result = h1_parse_request(view_of(copy, size), &wide, &msg, &why);
	check((result == H1_BAD) == (why != REJECT_NONE));
	if (result == H1_OK) {
		check_meaning(view_of(copy, size));
		check_rewritten();
	}
	free(copy);
	return 0;
}
