/* SPDX-License-Identifier: MIT */
/*
 * Pins by cookie: a client comes back to the backend that its cookie names.
 *
 *   value    = "v1." kid "." base64url(id | issued | mac)
 *   kid      1 byte in hex, which secret made it
 *   id       8 bytes, SipHash of the backend's name: no address in clear
 *   issued   4 bytes, seconds since 1970, big endian
 *   mac      16 bytes, SipHash-2-4-128 of id | issued
 *
 * The keys of both are drawn from the secret and the pool's name by
 * HMAC-SHA-256, so a cookie of one pool says nothing in another.  Nothing
 * depends on the order of backends: all processes with the same secret agree
 * on every cookie, whatever else they see differently.
 *
 * Built on the control thread, const afterwards; lives in a generation.
 */
#ifndef WEIR_POOL_PIN_H
#define WEIR_POOL_PIN_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/arena.h"
#include "weir/conf/conf.h"
#include "weir/pool/backend.h"

#define PIN_TEXT_LEN 44

struct pins;

struct pin {
	uint32_t index; /* of the backend in the pool */
	uint32_t age_s;
	bool old_key; /* signed with the second key: to be issued anew */
};

/*
 * For backends[n] of the pool.  Without secrets in the configuration
 * `fallback` is taken.
 */
const struct pins *pins_build(const struct conf_pool *conf, struct backend *const *backends,
			      uint32_t n, struct view fallback, struct arena *arena);

/* False when it was not made by us, is older than the ttl, or names nobody of the pool. */
bool pins_read(const struct pins *pins, struct view text, uint64_t now_s, struct pin *out);

/* PIN_TEXT_LEN bytes. */
void pins_write(const struct pins *pins, uint32_t index, uint64_t now_s, char out[PIN_TEXT_LEN]);

#endif
