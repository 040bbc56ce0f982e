/* SPDX-License-Identifier: MIT */
/* Keys of session tickets: made, read from files, counted. */
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/check.h"
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

static int hex_digit(char c)
{
	if (char_is_digit(c))
		return c - '0';
	c = char_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_key(struct view line, unsigned char *to)
{
	if (line.len != 2 * TLS_TICKET_KEY_LEN)
		return false;
	for (size_t i = 0; i < TLS_TICKET_KEY_LEN; i++) {
		int high = hex_digit(line.ptr[2 * i]), low = hex_digit(line.ptr[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		to[i] = (unsigned char)(high << 4 | low);
	}
	return true;
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
		if (ring->n < TLS_TICKET_KEYS_MAX &&
		    read_key(line, (unsigned char *)&ring->keys[ring->n])) {
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
