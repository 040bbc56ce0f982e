/* SPDX-License-Identifier: MIT */
/* Cookies that name a backend by a keyed hash, signed, with an age. */
#include "weir/pool/pin.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "weir/base/base64.h"
#include "weir/base/check.h"
#include "weir/base/hex.h"
#include "weir/base/siphash.h"

#define ID_LEN 8
#define ISSUED_LEN 4
#define SIGNED_LEN (ID_LEN + ISSUED_LEN)
#define RAW_LEN (SIGNED_LEN + SIPHASH_LEN)
#define HEAD_LEN 6 /* "v1.KK." */
#define BASE64_LEN (PIN_TEXT_LEN - HEAD_LEN)
/* Clocks of processes differ, and are set back. */
#define AHEAD_MAX_S 86400

_Static_assert(BASE64_LEN == (RAW_LEN * 8 + 5) / 6, "the length that the header promises");

/* Which backend an id names; open addressing, index + 1, 0: free. */
struct pin_slot {
	uint64_t id;
	uint32_t index1;
};

struct pin_key {
	uint8_t kid;
	uint8_t mac[SIPHASH_KEY_LEN];
	uint64_t *ids; /* [n] */
	struct pin_slot *slots;
};

struct pins {
	struct pin_key keys[2];
	uint32_t n_keys;
	uint32_t mask; /* of slots */
	uint64_t ttl_s;
};

/* ---- building ---- */

/* HMAC-SHA-256 of "weir pin PURPOSE\0POOL". */
static void derive(struct view secret, const char *purpose, struct view pool, uint8_t out[32])
{
	uint8_t text[128];
	unsigned len = 0;
	size_t n = strlen(purpose) + 1;
	check(n + pool.len <= sizeof(text));
	memcpy(text, purpose, n);
	memcpy(text + n, pool.ptr, pool.len);
	const unsigned char *mac =
	    HMAC(EVP_sha256(), secret.ptr, (int)secret.len, text, n + pool.len, out, &len);
	check(mac && len == 32);
}

static void add_slot(struct pins *pins, struct pin_key *key, uint32_t index)
{
	uint32_t at = (uint32_t)key->ids[index] & pins->mask;
	while (key->slots[at].index1)
		at = (at + 1) & pins->mask;
	key->slots[at] = (struct pin_slot){key->ids[index], index + 1};
}

static void build_key(struct pins *pins, struct pin_key *key, struct view secret, struct view pool,
		      struct backend *const *backends, uint32_t n, struct arena *arena)
{
	uint8_t derived[32];
	derive(secret, "weir pin mac", pool, derived);
	memcpy(key->mac, derived, sizeof(key->mac));
	key->kid = derived[31];
	derive(secret, "weir pin id", pool, derived);
	key->ids = arena_array(arena, n, sizeof(*key->ids));
	key->slots = arena_array(arena, (size_t)pins->mask + 1, sizeof(*key->slots));
	for (uint32_t i = 0; i < n; i++) {
		key->ids[i] = siphash64(derived, backends[i]->name.ptr, backends[i]->name.len);
		add_slot(pins, key, i);
	}
	OPENSSL_cleanse(derived, sizeof(derived));
}

const struct pins *pins_build(const struct conf_pool *conf, struct backend *const *backends,
			      uint32_t n, struct view fallback, struct arena *arena)
{
	const struct conf_views *secrets = &conf->sticky.keys;
	struct pins *pins = arena_zalloc(arena, sizeof(*pins));
	uint32_t size = 4;
	while (size < 2 * n)
		size *= 2;
	pins->mask = size - 1;
	pins->ttl_s = conf->sticky.ttl_us / 1000000;
	pins->n_keys = secrets->n ? (uint32_t)secrets->n : 1;
	check(pins->n_keys <= ARRAY_LEN(pins->keys));
	for (uint32_t k = 0; k < pins->n_keys; k++)
		build_key(pins, &pins->keys[k], secrets->n ? secrets->rows[k] : fallback,
			  conf->name, backends, n, arena);
	return pins;
}

/* ---- text ---- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode(const uint8_t *raw, size_t len, char *out)
{
	uint32_t bits = 0;
	unsigned n = 0;
	for (size_t i = 0; i < len; i++) {
		bits = bits << 8 | raw[i];
		for (n += 8; n >= 6; n -= 6)
			*out++ = alphabet[bits >> (n - 6) & 63];
	}
	if (n)
		*out = alphabet[bits << (6 - n) & 63];
}

void pins_write(const struct pins *pins, uint32_t index, uint64_t now_s, char out[PIN_TEXT_LEN])
{
	const struct pin_key *key = &pins->keys[0];
	uint8_t raw[RAW_LEN];
	for (unsigned i = 0; i < ID_LEN; i++)
		raw[i] = (uint8_t)(key->ids[index] >> (8 * i));
	for (unsigned i = 0; i < ISSUED_LEN; i++)
		raw[ID_LEN + i] = (uint8_t)(now_s >> (24 - 8 * i));
	siphash(key->mac, raw, SIGNED_LEN, raw + SIGNED_LEN);
	memcpy(out, "v1.", 3);
	hex_write(&key->kid, 1, out + 3);
	out[5] = '.';
	encode(raw, sizeof(raw), out + HEAD_LEN);
}

/* ---- reading ---- */

/* Takes as long wherever the first difference is. */
static bool is_genuine(const struct pin_key *key, const uint8_t raw[RAW_LEN])
{
	uint8_t mac[SIPHASH_LEN];
	siphash(key->mac, raw, SIGNED_LEN, mac);
	return CRYPTO_memcmp(mac, raw + SIGNED_LEN, sizeof(mac)) == 0;
}

static bool find(const struct pins *pins, const struct pin_key *key, uint64_t id, uint32_t *index)
{
	uint32_t at = (uint32_t)id & pins->mask;
	for (; key->slots[at].index1; at = (at + 1) & pins->mask) {
		if (key->slots[at].id == id) {
			*index = key->slots[at].index1 - 1;
			return true;
		}
	}
	return false;
}

/* A genuine one: how old it is, and whom it names. */
static bool understand(const struct pins *pins, const struct pin_key *key,
		       const uint8_t raw[RAW_LEN], uint64_t now_s, struct pin *out)
{
	uint64_t id = 0, issued = 0;
	for (unsigned i = 0; i < ID_LEN; i++)
		id |= (uint64_t)raw[i] << (8 * i);
	for (unsigned i = 0; i < ISSUED_LEN; i++)
		issued = issued << 8 | raw[ID_LEN + i];
	uint64_t age = now_s > issued ? now_s - issued : 0;
	if (issued > now_s + AHEAD_MAX_S || (pins->ttl_s && age > pins->ttl_s))
		return false;
	out->age_s = (uint32_t)age;
	out->old_key = key != &pins->keys[0];
	return find(pins, key, id, &out->index);
}

bool pins_read(const struct pins *pins, struct view text, uint64_t now_s, struct pin *out)
{
	uint8_t raw[RAW_LEN];
	char kid[2];
	if (text.len != PIN_TEXT_LEN || memcmp(text.ptr, "v1.", 3) != 0 || text.ptr[5] != '.' ||
	    base64_read(view_skip(text, HEAD_LEN), BASE64_URL, (char *)raw, sizeof(raw)) != RAW_LEN)
		return false;
	for (uint32_t k = 0; k < pins->n_keys; k++) {
		const struct pin_key *key = &pins->keys[k];
		hex_write(&key->kid, 1, kid);
		if (memcmp(kid, text.ptr + 3, sizeof(kid)) == 0 && is_genuine(key, raw))
			return understand(pins, key, raw, now_s, out);
	}
	return false;
}
