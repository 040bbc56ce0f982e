/* SPDX-License-Identifier: MIT */
/* Fields that are never to be indexed (RFC 7541 7.1.3), as nghttp2 is told of them. */
#ifndef WEIR_HTTP_H2_NEVER_H
#define WEIR_HTTP_H2_NEVER_H

#include <nghttp2/nghttp2.h>
#include <stdint.h>

/* Of a field with this id, where `never` is a message's set (message.h). */
static inline uint8_t h2_index_flag(uint64_t never, unsigned id)
{
	return never >> id & 1 ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE;
}

#endif
