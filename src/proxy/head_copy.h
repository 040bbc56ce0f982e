/* SPDX-License-Identifier: MIT */
/* Private to proxy/: a head that outlives the moment it was read in, in one buffer. */
#ifndef WEIR_PROXY_HEAD_COPY_H
#define WEIR_PROXY_HEAD_COPY_H

#include "weir/base/buf.h"
#include "weir/base/defs.h"
#include "weir/base/err.h"
#include "weir/http/message.h"

struct head_copy {
	struct buf *buf;      /* that all of it is in; the caller's */
	void *front;          /* `size` bytes, zeroed, aligned for anything */
	struct message *head; /* `headers` is cut behind n_headers */
};

/* What was dropped is left out.  ERR_RANGE: it is too large for a buffer; ERR_NOMEM. */
enum err head_copy(struct buf_pool *bufs, const struct message *msg, size_t size,
		   struct head_copy *out) MUST_CHECK;
/* As it was; its views are those of the copy. */
void head_restore(struct message *msg, const struct message *head);

#endif
