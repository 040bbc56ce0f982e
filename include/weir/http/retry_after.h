/* SPDX-License-Identifier: MIT */
/*
 * Retry-After (RFC 9110 10.2.3): how long a server wants to be left alone.
 *
 *   uint64_t s = retry_after_s(header->value, clock_wall_us() / 1000000);
 *
 * Pure.
 */
#ifndef WEIR_HTTP_RETRY_AFTER_H
#define WEIR_HTTP_RETRY_AFTER_H

#include <stdint.h>

#include "weir/base/view.h"

/*
 * Seconds from `now_s` (since 1970) on; 0: not at all, or not understood.  A number
 * too large for 64 bits is UINT64_MAX.  Of dates only the form that may be sent
 * (IMF-fixdate) is read.
 */
uint64_t retry_after_s(struct view value, uint64_t now_s);

#endif
