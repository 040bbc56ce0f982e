/* SPDX-License-Identifier: MIT */
/* Keys of session tickets: made, read from files, counted. */
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/check.h"
#include "weir/base/hex.h"
#include "weir/net/tls.h"

struct tls_ticket_ring *tls_tickets_rotate(const struct tls_ticket_ring *old)
{
	struct tls_ticket_ring *ring = calloc(1, sizeof(*ring));
	if (!ring || RAND_bytes((unsigned char *)&ring->keys[0], sizeof(ring->keys[0])) != 1) {
		free(ring);
		return NULL;
	}
	ring->refs = 1;
	ring->n = 1;
	for (unsigned i = 0; old && i < old->n && i < 2; i++)
		ring->keys[ring->n++] = old->keys[i];
	return ring;
}

static bool read_key(struct view line, struct tls_ticket_key *to)
{
	return line.len == 2 * TLS_TICKET_KEY_LEN && hex_read(line.ptr, to, TLS_TICKET_KEY_LEN);
}

struct tls_ticket_ring *tls_tickets_read(struct view text, struct str *why)
{
	_Static_assert(sizeof(struct tls_ticket_key) == TLS_TICKET_KEY_LEN, "read in one piece");
	struct tls_ticket_ring *ring = calloc(1, sizeof(*ring));
	check(ring != NULL);
	ring->refs = 1;
	for (unsigned n = 1; text.len; n++) {
		ptrdiff_t end = view_chr(text, '\n');
		struct view line = view_trim(view_head(text, end < 0 ? text.len : (size_t)end));
		text = view_skip(text, end < 0 ? text.len : (size_t)end + 1);
		if (!line.len)
			continue;
		if (ring->n < TLS_TICKET_KEYS_MAX && read_key(line, &ring->keys[ring->n])) {
			ring->n++;
			continue;
		}
		str_printf(why,
			   "line %u is no key: at most %d lines of %d hexadecimal digits "
			   "each (openssl rand -hex %d)",
			   n, TLS_TICKET_KEYS_MAX, 2 * TLS_TICKET_KEY_LEN, TLS_TICKET_KEY_LEN);
		tls_tickets_put(ring);
		return NULL;
	}
	if (ring->n)
		return ring;
	str_text(why, "it holds no key");
	tls_tickets_put(ring);
	return NULL;
}

void tls_tickets_get(struct tls_ticket_ring *ring, unsigned n)
{
	atomic_fetch_add(&ring->refs, n);
}

void tls_tickets_put(struct tls_ticket_ring *ring)
{
	if (!ring || atomic_fetch_sub(&ring->refs, 1) > 1)
		return;
	OPENSSL_cleanse(ring->keys, sizeof(ring->keys));
	free(ring);
}
