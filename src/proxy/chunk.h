/* SPDX-License-Identifier: MIT */
/* Private to proxy/: chunk framing where the bytes lie. */
#ifndef WEIR_PROXY_CHUNK_H
#define WEIR_PROXY_CHUNK_H

#include "exchange.h"

/*
 * Puts the framing of one chunk around `body` and, with `end`, the last chunk
 * behind it.  Needs a receive area's room in front.  Behind the bytes nothing is
 * overwritten that the body reader has not consumed: payload that was chunked
 * took more room than this, and payload that was not is followed by nothing.
 */
struct span chunk_frame(struct span body, bool end);

#endif
