/* SPDX-License-Identifier: MIT */
/* Copies of heads stay in their buffer, whatever is long in them. */
#include "proxy/head_copy.h"

#include <criterion/criterion.h>
#include <string.h>

#define LONG 900

static char text[LONG];

static void is_within(const struct buf *buf, struct view v)
{
	cr_expect_eq(v.len, LONG);
	cr_expect(v.ptr >= buf->data && v.ptr + v.len <= buf->data + buf->cap);
	cr_expect_eq(memcmp(v.ptr, text, LONG), 0);
}

Test(head_copy, every_text_has_its_room)
{
	static struct message msg;
	struct buf_pool bufs;
	struct head_copy copy;
	const struct view v = view_of(text, LONG);
	struct view *const texts[] = {&msg.method_text, &msg.target, &msg.scheme,
				      &msg.authority,   &msg.path,   &msg.reason};
	memset(text, 'x', sizeof(text));
	buf_pool_init(&bufs, 8);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		*texts[i] = v;
		cr_assert_eq(head_copy(&bufs, &msg, 0, &copy), ERR_OK);
		const struct message *out = copy.head;
		const struct view *const copied[] = {&out->method_text, &out->target, &out->scheme,
						     &out->authority,   &out->path,   &out->reason};
		is_within(copy.buf, *copied[i]);
		buf_put(&bufs, copy.buf);
		*texts[i] = VIEW_NONE;
	}
	buf_pool_fini(&bufs);
}
