/* SPDX-License-Identifier: MIT */
/*
 * Content codings (RFC 9110 8.4.1): one row of coders.c each, over the library that does
 * it.  What a stream holds in memory is counted, and has one bound for all of them.
 *
 * Thread: a stream belongs to one worker; the count is everybody's.
 */
#ifndef WEIR_FILTER_CODER_H
#define WEIR_FILTER_CODER_H

#include "filters.h"

struct coder; /* one stream */

#define CODER_ANY SIZE_MAX

struct coder_kind {
	const char *token; /* of Content-Encoding */
	/* For a body of len bytes, CODER_ANY: it is not known; NULL without memory, or over the
	 * bound. */
	struct coder *(*open)(size_t len);
	/* As filter->transform; all that came in is out when it says DONE. */
	enum filter_step (*run)(struct coder *coder, struct filter_piece *piece);
	void (*close)(struct coder *coder);
};

/* In the order of preference, which is that of the bits of conf_route.compress.algorithms;
 * open NULL: built without its library. */
#define N_CODERS 3
extern const struct coder_kind coder_kinds[N_CODERS];

/* Bytes that all streams may hold. */
void coder_limit(size_t bytes);
/* And do. */
size_t coder_bytes(void);

/* ---- for the rows ---- */

/* Counted; NULL over the bound. */
void *coder_alloc(size_t size);
void coder_free(void *ptr);

#endif
