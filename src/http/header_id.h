/* SPDX-License-Identifier: MIT */
/* Header ids inside the codec: sets of them, and the look-up on the hot path. */
#ifndef WEIR_HTTP_HEADER_ID_H
#define WEIR_HTTP_HEADER_ID_H

#include "weir/http/message.h"

/* Set of header ids: bit i stands for id i. */
#define HDR_BIT(id) (UINT64_C(1) << HDR_##id)

/* hdr_lookup for a name known to be a token, so that case can be ignored bit by bit. */
enum hdr_id hdr_of_token(struct view name);

#endif
