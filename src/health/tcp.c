/* SPDX-License-Identifier: MIT */
/* The check that asks for nothing but a connection. */
#include "check.h"

static void begin(struct check *c)
{
	check_pass(c, "connected");
}

const struct check_kind check_tcp = {
    .keyword = "tcp",
    .plain = true,
    .begin = begin,
};
