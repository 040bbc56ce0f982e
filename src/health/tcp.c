/* SPDX-License-Identifier: MIT */
/* The check that asks for nothing but a connection. */
#include "check.h"

static void begin(struct check *c)
{
	check_pass(c, "connected");
}

/* Passed already: nobody reads on. */
static void feed(struct check *c, char *ptr, size_t len)
{
	(void)ptr;
	(void)len;
	check_pass(c, "connected");
}

static void end(struct check *c)
{
	check_fail(c, "the backend closed the connection");
}

const struct check_kind check_tcp = {
    .keyword = "tcp",
    .plain = true,
    .begin = begin,
    .feed = feed,
    .end = end,
};
