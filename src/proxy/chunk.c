/* SPDX-License-Identifier: MIT */
/* Chunk framing around bytes where they lie. */
#include "chunk.h"

#include <string.h>

struct span chunk_frame(struct span body, bool end)
{
	char head[H1_CHUNK_HEAD_MAX];
	if (body.len) {
		size_t n = h1_chunk_head(head, body.len);
		memcpy(body.ptr + body.len, "\r\n", 2);
		memcpy(body.ptr -= n, head, n);
		body.len += n + 2;
	}
	if (end) {
		if (body.len == 0) /* what lies behind may be the next message */
			body.ptr -= 5;
		memcpy(body.ptr + body.len, "0\r\n\r\n", 5);
		body.len += 5;
	}
	return body;
}
