/* SPDX-License-Identifier: MIT */
/* Heads of HTTP/2 as messages, and the memory that sessions live in. */
#include <criterion/criterion.h>

#include "weir/http/h2.h"
#include "weir/http/h2_window.h"

static struct message msg;
static char lines[H2_LINES_MAX];
static const struct h1_limits limits = {1000, 200, 10};

#define ADD(head, name, value) cr_assert(h2_head_add((head), VIEW(name), VIEW(value)))

static struct h2_head get(void)
{
	struct h2_head head;
	h2_head_begin(&head, &msg, lines, &limits, false);
	ADD(&head, ":method", "GET");
	ADD(&head, ":scheme", "http");
	ADD(&head, ":authority", "a.example");
	ADD(&head, ":path", "/x?y");
	return head;
}

Test(h2_head, request)
{
	struct h2_head head = get();
	cr_assert_eq(h2_head_request(&head, true, VIEW_NONE), REJECT_NONE);
	cr_assert_eq(msg.method, METHOD_GET);
	cr_assert(view_eq(msg.path, VIEW("/x?y")) && view_eq(msg.authority, VIEW("a.example")));
	cr_assert_eq(msg.body, BODY_NONE);
	cr_assert(msg.h2 && msg.version_minor == 1);
}

/* The session may hand over a list that lacks what the RFC asks for. */
Test(h2_head, request_without_a_target)
{
	struct h2_head head;
	h2_head_begin(&head, &msg, lines, &limits, false);
	ADD(&head, ":method", "GET");
	ADD(&head, ":scheme", "http");
	ADD(&head, ":authority", "a.example");
	cr_assert(h2_head_add(&head, VIEW("x-empty"), VIEW_NONE));
	cr_assert_eq(h2_head_request(&head, true, VIEW_NONE), REJECT_BAD_TARGET);
	head = get();
	cr_assert(h2_head_add(&head, VIEW(":protocol"), VIEW_NONE));
	cr_assert_neq(h2_head_request(&head, true, VIEW_NONE), REJECT_NONE);
}

static enum reject with_host(const char *authority, const char *host, const char *scheme)
{
	struct h2_head head;
	h2_head_begin(&head, &msg, lines, &limits, false);
	ADD(&head, ":method", "GET");
	cr_assert(h2_head_add(&head, VIEW(":scheme"), view_str(scheme)));
	cr_assert(h2_head_add(&head, VIEW(":authority"), view_str(authority)));
	ADD(&head, ":path", "/");
	cr_assert(h2_head_add(&head, VIEW("host"), view_str(host)));
	return h2_head_request(&head, true, VIEW_NONE);
}

/* The same host and port, however they are written. */
Test(h2_head, host_and_authority)
{
	cr_expect_eq(with_host("a.example", "A.Example", "http"), REJECT_NONE);
	cr_expect_eq(with_host("a.example", "a.example:80", "http"), REJECT_NONE);
	cr_expect_eq(with_host("a.example:443", "a.example", "https"), REJECT_NONE);
	cr_expect_eq(with_host("a.example.", "a.example", "https"), REJECT_NONE);
	cr_expect_eq(with_host("[::1]:80", "[::1]", "http"), REJECT_NONE);
	cr_expect_eq(with_host("a.example", "a.example:443", "http"), REJECT_HOST_MISMATCH);
	cr_expect_eq(with_host("a.example", "b.example", "http"), REJECT_HOST_MISMATCH);
	cr_expect_eq(with_host("a.example:80", "a.example:8080", "http"), REJECT_HOST_MISMATCH);
	cr_expect_eq(with_host("a.example", "a.example, b.example", "http"), REJECT_HOST_MISMATCH);
}

Test(h2_head, cookie_crumbs_become_one)
{
	struct h2_head head = get();
	ADD(&head, "cookie", "a=1");
	ADD(&head, "x", "y");
	ADD(&head, "cookie", "b=2");
	cr_assert_eq(h2_head_request(&head, true, VIEW_NONE), REJECT_NONE);
	struct header *cookie = message_find(&msg, HDR_COOKIE);
	cr_assert(cookie && view_eq(cookie->value, VIEW("a=1; b=2")));
	cr_assert(
	    view_eq(view_of(cookie->name.ptr, cookie->line_len), VIEW("cookie: a=1; b=2\r\n")));
}

Test(h2_head, extended_connect_becomes_an_upgrade)
{
	struct h2_head head;
	h2_head_begin(&head, &msg, lines, &limits, false);
	ADD(&head, ":method", "CONNECT");
	ADD(&head, ":protocol", "websocket");
	ADD(&head, ":scheme", "https");
	ADD(&head, ":authority", "a");
	ADD(&head, ":path", "/");
	cr_assert_eq(h2_head_request(&head, false, VIEW("KEY")), REJECT_NONE);
	cr_assert(msg.upgrade && msg.method == METHOD_GET && msg.body == BODY_NONE);
	cr_assert(message_find(&msg, HDR_UPGRADE) != NULL);
	cr_assert(message_find_name(&msg, VIEW("Sec-WebSocket-Key")) != NULL);
}

Test(h2_head, built_again_from_its_lines)
{
	static char kept[H2_LINES_MAX];
	struct h2_head head = get();
	ADD(&head, "x-a", "b: c");
	size_t len = head.len;
	memcpy(kept, lines, len);
	memset(lines, 0, sizeof(lines));
	h2_head_again(&head, &msg, view_of(kept, len));
	cr_assert_eq(head.len, len);
	cr_assert(memcmp(kept, lines, len) == 0);
	cr_assert_eq(h2_head_request(&head, true, VIEW_NONE), REJECT_NONE);
	cr_assert_eq(msg.n_headers, 1);
}

Test(h2_head, limits)
{
	struct h2_head head = get();
	char value[150];
	memset(value, 'v', sizeof(value));
	bool more = true;
	for (unsigned i = 0; more && i < 100; i++)
		more = h2_head_add(&head, VIEW("x"), view_of(value, sizeof(value)));
	cr_assert(!more, "a list without end is not read to its end");
	cr_assert_eq(h2_head_request(&head, true, VIEW_NONE), REJECT_HEAD_TOO_LARGE);
	cr_assert(head.len <= limits.head_bytes + 100);
}

Test(h2_mem, blocks_keep_their_bytes)
{
	struct h2_mem mem;
	h2_mem_init(&mem);
	char *p = NULL;
	for (size_t n = 1; n < 100000; n = n * 3 + 1) {
		p = h2_mem_realloc(p, n, &mem);
		cr_assert(p != NULL && ((uintptr_t)p & 15) == 0);
		p[n - 1] = 'z';
		p[0] = 'a';
	}
	cr_assert_eq(p[0], 'a');
	h2_mem_free(p, &mem);
	h2_mem_free(NULL, &mem);
	for (unsigned i = 0; i < H2_MEM_CLASSES; i++)
		cr_assert_eq(mem.classes[i].n_live, 0);
	cr_assert(h2_mem_calloc(SIZE_MAX / 2, 4, &mem) == NULL);
	h2_mem_fini(&mem);
}

Test(h2_head, repetition_weighs_more)
{
	static const struct h1_limits wide = {32 * 1024, 8 * 1024, 100};
	struct h2_head head;
	char value[3800];
	memset(value, 'v', sizeof(value));
	h2_head_begin(&head, &msg, lines, &wide, false);
	ADD(&head, ":path", "/");
	cr_assert(h2_head_add(&head, VIEW("x"), view_of(value, sizeof(value))));
	cr_assert_eq(h2_head_weight(&head, 20), head.size, "out of the table, once");
	for (unsigned i = 0; i < 6; i++)
		cr_assert(h2_head_add(&head, VIEW("x"), view_of(value, sizeof(value))));
	cr_assert_eq(h2_head_weight(&head, (uint32_t)head.size), head.size, "it was sent in full");
	cr_assert(h2_head_weight(&head, 30) > 10 * head.size);
}

Test(h2_budget, bounds_all_but_one)
{
	struct h2_budget all = {.limit = 150}, one = {.limit = 100, .all = &all},
			 other = {.limit = 100, .all = &all};
	cr_assert(h2_budget_take(&one, 1000), "alone");
	cr_assert_not(h2_budget_take(&one, 1));
	cr_assert_not(h2_budget_take(&other, 1), "all of them");
	h2_budget_put(&one, 1000);
	cr_assert(h2_budget_take(&one, 100) && !h2_budget_take(&one, 1));
	cr_assert(h2_budget_take(&other, 50) && !h2_budget_take(&other, 1));
	h2_budget_put(&one, 100);
	h2_budget_put(&other, 50);
	cr_assert(all.used == 0 && one.used == 0 && other.used == 0);
}
