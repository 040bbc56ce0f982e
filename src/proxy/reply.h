/* SPDX-License-Identifier: MIT */
/* Private to proxy/: the text of an error answer. */
#ifndef WEIR_PROXY_REPLY_H
#define WEIR_PROXY_REPLY_H

#include <stdio.h>

#include "weir/proxy/exchange.h"

struct reply_page {
	unsigned status;
	const char *reason; /* machine word */
	struct view sentence;
	struct view request_id;
	bool json;
};

/* Writes the page; returns its length, less than `cap`. */
size_t reply_page(const struct reply_page *page, char *out, size_t cap);

#endif
