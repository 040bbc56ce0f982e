/* SPDX-License-Identifier: MIT */
/* Reads an HTTP/1.1 response from a socket, with calls that block up to a time-out. */
#ifndef WEIR_CTL_ANSWER_H
#define WEIR_CTL_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

#include "weir/base/str.h"

struct answer_reader {
	int fd;
	unsigned timeout_s; /* for each wait */
	size_t pos;
	size_t len;
	bool timed_out;
	bool said;  /* something has come */
	bool again; /* 503 with Retry-After: nothing was done */
	char buf[16384];
};

/* The final one and its body; false: it is not whole, or no HTTP. */
bool answer_read(struct answer_reader *r, int *status, struct str *body);

#endif
